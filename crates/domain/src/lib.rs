//! What Rolecall decides, and nothing else: commands become events by pure functions of the state
//! and a clock reading that comes in from outside. The access model answers checks the same way,
//! so the services' memory, replay and tests share one definition of "allowed".
//!
//! To add a command: write its file under `user/`, `identifier/` or `catalog/` (a serialisable
//! struct and its [`Decide`]), then name it in that aggregate's command enum. A new event is folded
//! in the aggregate's `apply`, and in `access/` where it touches rights or sessions.

pub mod access;
pub mod catalog;
pub mod decider;
pub mod identifier;
pub mod ledger;
pub mod rolecall_permissions;
pub mod user;

#[cfg(test)]
mod testing;

pub use catalog::{Catalog, CatalogCommand};
pub use decider::{Context, Decide};
pub use identifier::{Identifier, IdentifierCommand};
pub use ledger::{LEDGER_FUNCTION, ledger_of};
pub use user::{User, UserCommand};
