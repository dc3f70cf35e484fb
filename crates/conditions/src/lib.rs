//! Conditions of permissions and grants: a bounded part of CEL over the attributes of a question.
//!
//! A condition is compiled once and shared; evaluating it borrows the attributes and takes a bounded number of steps,
//! whatever the condition and the attributes are. The language is described in docs/conditions.md.
//!
//! ```
//! use conditions::{Action, Attributes, Condition, Entity, Outcome};
//!
//! let condition = Condition::compile(r#"resource.properties.status == "open""#)?;
//! let properties = serde_json::json!({ "status": "open" });
//! let attributes = Attributes {
//!     subject: Entity { kind: "user", id: "alice", properties: None },
//!     resource: Entity { kind: "record", id: "record-1", properties: properties.as_object() },
//!     action: Action { name: "read", properties: None },
//!     context: None,
//!     now: chrono::DateTime::UNIX_EPOCH,
//! };
//! assert_eq!(condition.evaluate(&attributes), Outcome::True);
//! # Ok::<(), conditions::ConditionError>(())
//! ```
//!
//! To add a function: name it in `node::Function`, write it in `functions`, and add rows to
//! `tests/language/corpus.rs` and to docs/conditions.md. What a released function does never changes: conditions lie
//! in the log.

mod attributes;
mod error;
mod evaluation;
mod fence;
mod functions;
pub mod limits;
mod lowering;
mod node;
mod outcome;
mod reads;
mod steps;
mod value;

use cel::parser::{ParseErrors, PrattParser};

pub use attributes::{Action, Attributes, Entity};
pub use error::{ConditionError, Place, Problem};
pub use outcome::{Failure, Fault, Outcome};
pub use reads::{Read, Root};

use crate::evaluation::Evaluation;
use crate::node::Node;

/// A condition that can be evaluated. Share it by `Arc`.
#[derive(Debug)]
pub struct Condition {
    source: Box<str>,
    node: Node,
    reads: Box<[Read]>,
}

impl Condition {
    /// # Errors
    /// The first thing that is wrong with the source, and where.
    pub fn compile(source: &str) -> Result<Self, ConditionError> {
        let names = fence::names(source)?;
        let expression = PrattParser::new()
            .max_recursion_depth(RECURSION)
            .error_recovery_limit(1)
            .parse(source)
            .map_err(|errors| first(source, &errors))?;
        let (node, reads) = lowering::lower(source, names, &expression)?;
        Ok(Self {
            source: source.into(),
            node,
            reads: reads.into_iter().collect(),
        })
    }

    pub fn evaluate<'c>(&'c self, attributes: &Attributes<'_>) -> Outcome<'c> {
        match Evaluation::of(attributes).boolean(&self.node, None) {
            Ok(true) => Outcome::True,
            Ok(false) => Outcome::False,
            Err(failure) => Outcome::Failed(failure),
        }
    }

    /// As it was written.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The attributes that it may read, each once: no others need to be given.
    #[must_use]
    pub fn reads(&self) -> &[Read] {
        &self.reads
    }
}

/// Of the parser; the fence lets fewer brackets through.
const RECURSION: u16 = 32;

fn first(source: &str, errors: &ParseErrors) -> ConditionError {
    let placed = errors.errors.iter().find(|error| error.pos.0 > 0);
    let offset = placed.map_or(0, |error| {
        let line = usize::try_from(error.pos.0 - 1).unwrap_or_default();
        let column = usize::try_from(error.pos.1 - 1).unwrap_or_default();
        let before = source
            .split_inclusive('\n')
            .take(line)
            .map(str::len)
            .sum::<usize>();
        before + column
    });
    let said = placed.or(errors.errors.first());
    ConditionError {
        place: Place::of(source, offset),
        problem: Problem::Syntax(said.map_or_else(String::new, |error| error.msg.clone())),
    }
}
