//! What the end-to-end tests share: a stack with the services on it, a client, the log as its
//! readers see it, and a runner.
//!
//! Each file of `tests/` starts one stack and runs its scenarios on it. Scenarios make their own
//! users and roles under names of their own ([`unique`]), so they need not know of each other.
//! They wait on tokens and positions, never on time.
//!
//! To add a scenario: write an `async fn(Arc<World>)` whose name is a sentence, and name it in the
//! list at the end of its file.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod authenticator;
mod client;
mod digests;
mod history;
mod instance;
mod load;
mod people;
mod suite;
mod world;

pub use authenticator::{ORIGIN, SoftPasskey};
pub use client::{Answer, Call, Client, http};
pub use history::History;
pub use instance::{Claims, Instance, until};
pub use load::Load;
pub use people::{PASSWORD, Person, question, registration, unique};
pub use suite::{Scenario, Suite};
pub use world::{World, programs};

/// A scenario's name is its function's.
#[macro_export]
macro_rules! scenarios {
    ($($function:path),+ $(,)?) => {
        vec![$($crate::Scenario::new(stringify!($function), $function)),+]
    };
}
