//! Other command services: the call that brings a command to its ledger's owner, and its answer.
//!
//! Both ways carry an HMAC under the token key. A call's is over who is called, who calls, the number of the call,
//! the time and the body; an answer's over its call, its status and its body. The owner takes each number once.
//!
//! So whoever is on the wire between instances without that key can
//! - make up no call, change none, send none to another instance, nor one again (`numbers.rs`);
//! - make up no answer, not even "not the owner": what is not sealed counts as no answer, after which the outcome
//!   is unknown, since the call may have been passed on;
//! - still read (the bodies are not encrypted: what they say of persons is, by the events' own rules), drop, or
//!   hold a call back for up to a minute and have it carried out once then, after its sender gave up: that
//!   one was told "outcome unknown".
//!
//! Whoever sets an instance's clock back has old calls count as fresh, of senders that it has forgotten.

mod call;
mod endpoint;
mod numbers;
mod seal;
#[cfg(test)]
mod tests;

pub use call::PeerCalls;
pub use endpoint::router;
pub use numbers::Numbers;
