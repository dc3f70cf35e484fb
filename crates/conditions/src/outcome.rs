//! What an evaluation comes to.

use std::fmt;

/// What an evaluation comes to. `'c` is the condition's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome<'c> {
    True,
    False,
    /// Neither: an attribute is missing or of the wrong type, or the evaluation would cost too much.
    Failed(Failure<'c>),
}

impl Outcome<'_> {
    /// Whether what gives under this condition gives: not if it failed.
    #[must_use]
    pub fn gives(self) -> bool {
        self == Self::True
    }

    /// Whether what denies under this condition denies: also if it failed.
    #[must_use]
    pub fn denies(self) -> bool {
        self != Self::False
    }
}

/// Why an evaluation failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure<'c> {
    pub fault: Fault,
    /// The member that was looked for, where it is one of the condition's names.
    pub name: Option<&'c str>,
}

impl<'c> Failure<'c> {
    pub(crate) fn missing(name: &'c str) -> Self {
        Self {
            fault: Fault::Missing,
            name: Some(name),
        }
    }
}

impl From<Fault> for Failure<'_> {
    fn from(fault: Fault) -> Self {
        Self { fault, name: None }
    }
}

impl fmt::Display for Failure<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name {
            Some(name) => write!(f, "{}: {name}", self.fault),
            None => write!(f, "{}", self.fault),
        }
    }
}

/// The kinds of failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("there is no such member or item")]
    Missing,
    #[error("a value is of the wrong type")]
    WrongType,
    #[error("a number is beyond 64 bits")]
    OutOfRange,
    #[error("a calculation has no result")]
    Arithmetic,
    #[error("a text is no number or time")]
    BadText,
    #[error("the condition costs too much with these attributes")]
    TooCostly,
}
