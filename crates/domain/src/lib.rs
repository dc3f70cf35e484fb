//! What Rolecall decides, and nothing else: commands become events by pure functions of the state
//! and a clock reading that comes in from outside. What they add up to is told the access model
//! ([`access`]), so the services' memory, replay and tests share one definition of "allowed".
//!
//! To add a command: write its file under `user/`, `identifier/` or `catalog/` (a serialisable
//! struct and its [`Decide`]), then name it in that aggregate's command enum. A new event is folded
//! in the aggregate's `apply`, and in `rights.rs`, which says whether it touches rights.

pub mod catalog;
pub mod decider;
pub mod identifier;
pub mod ledger;
pub mod rights;
pub mod rolecall_permissions;
pub mod user;

#[cfg(test)]
mod testing;

/// Who works with decisions works with the access model too.
pub use access;
pub use catalog::{Catalog, CatalogCommand};
pub use decider::{Context, Decide};
pub use identifier::{Identifier, IdentifierCommand};
pub use ledger::{LEDGER_FUNCTION, ledger_of};
pub use user::{User, UserCommand};
