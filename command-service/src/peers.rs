//! Other command services: the call that brings a command to its ledger's owner, and its answer.
//!
//! Both ways carry an HMAC under the token key, over the receiving instance, the time and the body, and an
//! answer's also over its call. So a call cannot be made up, changed, sent to another instance or, after a minute,
//! sent again; and an answer is taken for its own call only.

mod call;
mod endpoint;
mod seal;

pub use call::PeerCalls;
pub use endpoint::router;
