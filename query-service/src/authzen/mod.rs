//! OpenID AuthZEN Authorization API 1.0: its bodies, its errors, and deciding on them.

mod answer;
mod body;
mod decide;
mod incoming;
mod plain;
#[cfg(test)]
mod tests;

pub use answer::{Answer, Answers, BatchAnswer};
pub use body::{Action, Batch, Context, Evaluation, Resource, Semantic, Subject, parse};
pub use decide::{MAX_EVALUATIONS, Question};
pub use incoming::Incoming;
pub use plain::Plain;
