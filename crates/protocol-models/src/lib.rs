//! Protocols of Rolecall whose interleavings are too many to be thought through, as models that a
//! checker walks through whole: every order of steps, crashes and lost answers within the bounds.
//!
//! - [`claims`]: how a new user gets an e-mail address and a user name. The decisions are those of
//!   `domain` itself; the steps around them are those of the command service.
//! - [`writers`]: how instances take a writer group over from each other on Kafka transactions.
//! - [`recovery`]: from every state, is there still a way to a good one?
//!
//! Each model can be run with a [`claims::Flaw`] or [`writers::Flaw`] built in, which the checker must
//! find: a model that finds nothing in a broken protocol proves nothing about the right one.
//!
//! To add a protocol: a module with a [`stateright::Model`], its flaws, and a file in `tests` that
//! checks the right one and shows that each flaw is found.

pub mod claims;
pub mod recovery;
pub mod writers;
