//! Why a source is not a condition.

use std::fmt;

use crate::limits::{MAX_BRACKETS, MAX_CHOICES, MAX_DEPTH, MAX_SOURCE_BYTES, MAX_TOKENS};

/// What is wrong with a source, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct ConditionError {
    pub place: Place,
    pub problem: Problem,
}

/// Both from 1 on; a column is a character, as Unicode counts them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub line: usize,
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

impl Place {
    /// Of a byte of the source; its end for what lies beyond.
    pub(crate) fn of(source: &str, offset: usize) -> Self {
        let before = source
            .char_indices()
            .take_while(|(at, _)| *at < offset)
            .map(|(_, character)| character);
        let start = Self { line: 1, column: 1 };
        before.fold(start, |place, character| match character {
            '\n' => Self {
                line: place.line + 1,
                column: 1,
            },
            _ => Self {
                line: place.line,
                column: place.column + 1,
            },
        })
    }
}

/// What is wrong with a source.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    #[error("a condition is not empty")]
    Empty,
    #[error("a condition has at most {MAX_SOURCE_BYTES} bytes")]
    TooLong,
    #[error("a condition has at most {MAX_TOKENS} names, literals, operators and brackets")]
    TooManyTokens,
    #[error("brackets stand in at most {MAX_BRACKETS} others")]
    TooManyBrackets,
    #[error("a condition has at most {MAX_CHOICES} `a ? b : c`")]
    TooManyChoices,
    #[error("operations stand in at most {MAX_DEPTH} others")]
    TooDeep,
    /// In the words of the parser.
    #[error("{0}")]
    Syntax(String),
    #[error("`{0}` is unknown; there are subject, resource, action, context and now")]
    UnknownName(String),
    #[error("{of} has no `{name}`, only {has}; attributes stand in its properties")]
    UnknownMember {
        of: &'static str,
        has: &'static str,
        name: String,
    },
    #[error("`{0}` is read by its members: subject.id, subject.properties.role")]
    WholeEntity(&'static str),
    #[error("there is no function `{0}` that is called like this")]
    UnknownFunction(String),
    /// CEL has it, conditions have not.
    #[error("{0} are not part of conditions")]
    NotPartOf(&'static str),
    #[error("exists and all do not stand within one another")]
    NestedLoop,
    #[error("{0}")]
    Literal(&'static str),
    #[error("a condition is true or false, and this is neither")]
    NotBoolean,
}
