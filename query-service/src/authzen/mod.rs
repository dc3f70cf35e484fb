//! OpenID AuthZEN Authorization API 1.0: its bodies, and deciding on them. Its callers know no problem documents; what
//! surrounds the routes gives them each problem as a plain string.

mod answer;
mod attributes;
mod body;
mod decide;
mod incoming;
mod object;
mod page;
mod search;
mod subjects;
#[cfg(test)]
mod tests;

pub use answer::{Answer, Answers, BatchAnswer};
pub use body::{Action, Batch, Evaluation, Resource, Semantic, Subject};
pub use decide::{FoundResources, MAX_EVALUATIONS, Question};
pub use incoming::Incoming;
pub use object::{bad_request, parse};
pub use page::Page;
pub use search::{
    ActionSearch, Found, FoundAction, FoundContext, FoundEntity, ResourceSearch, Search, SubjectSearch,
};
