//! A condition as it is evaluated: what the parser found, checked and with all names resolved.

use crate::reads::Root;
use crate::value::Value;

#[derive(Debug)]
pub(crate) enum Node {
    Constant(Value<'static>),
    Given(Given),
    /// The item that [`Node::Loop`] is at.
    Item,
    Field(Box<Node>, Box<str>),
    Has(Box<Node>, Box<str>),
    Index(Box<[Node; 2]>),
    List(Box<[Node]>),
    Not(Box<Node>),
    Negate(Box<Node>),
    And(Box<[Node; 2]>),
    Or(Box<[Node; 2]>),
    Choose(Box<[Node; 3]>),
    Equal(Box<[Node; 2]>),
    Unequal(Box<[Node; 2]>),
    Compare(Comparison, Box<[Node; 2]>),
    In(Box<[Node; 2]>),
    Arithmetic(Operator, Box<[Node; 2]>),
    Call(Function, Box<[Node]>),
    /// `list.exists(item, body)`, or `all`; never within another.
    Loop {
        quantifier: Quantifier,
        over: Box<Node>,
        body: Box<Node>,
    },
}

/// What every question has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Given {
    SubjectType,
    SubjectId,
    ResourceType,
    ResourceId,
    ActionName,
    Properties(Root),
    Now,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Quantifier {
    Exists,
    All,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Function {
    Size,
    StartsWith,
    EndsWith,
    Contains,
    Int,
    Double,
    String,
    Timestamp,
    Duration,
    Year,
    Month,
    Date,
    Weekday,
    Hours,
    Minutes,
}

impl Function {
    /// By its name in a condition, how it is called, and with how many arguments, the receiver not counted.
    pub fn find(name: &str, is_method: bool, arguments: usize) -> Option<Self> {
        let function = match (name, is_method, arguments) {
            ("size", false, 1) | ("size", true, 0) => Self::Size,
            ("startsWith", true, 1) => Self::StartsWith,
            ("endsWith", true, 1) => Self::EndsWith,
            ("contains", true, 1) => Self::Contains,
            ("int", false, 1) => Self::Int,
            ("double", false, 1) => Self::Double,
            ("string", false, 1) => Self::String,
            ("timestamp", false, 1) => Self::Timestamp,
            ("duration", false, 1) => Self::Duration,
            ("getFullYear", true, 0) => Self::Year,
            ("getMonth", true, 0) => Self::Month,
            ("getDate", true, 0) => Self::Date,
            ("getDayOfWeek", true, 0) => Self::Weekday,
            ("getHours", true, 0) => Self::Hours,
            ("getMinutes", true, 0) => Self::Minutes,
            _ => return None,
        };
        Some(function)
    }
}
