//! Which attributes a condition reads.

use std::fmt;

/// The objects of a question that its sender fills.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Root {
    /// `subject.properties`
    Subject,
    /// `resource.properties`
    Resource,
    /// `action.properties`
    Action,
    /// `context`
    Context,
}

/// What a condition may read of one of them. What the sender does not fill, such as `subject.id`, is not listed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Read {
    pub root: Root,
    /// The member; None: any of them.
    pub member: Option<Box<str>>,
}

impl fmt::Display for Read {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.root {
            Root::Subject => "subject.properties",
            Root::Resource => "resource.properties",
            Root::Action => "action.properties",
            Root::Context => "context",
        })?;
        match &self.member {
            Some(member) => write!(f, ".{member}"),
            None => Ok(()),
        }
    }
}
