//! What is wrong, where, in words.

use std::fmt;

/// How the log differs from what its writers left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Bytes of this event are not those that were written.
    Altered,
    /// Events that were written are not there.
    Missing,
    /// This event was not written here.
    Inserted,
    /// The chain holds, but the event breaks a rule that every writer keeps.
    Irregular,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Altered => "altered",
            Self::Missing => "missing",
            Self::Inserted => "inserted",
            Self::Irregular => "irregular",
        })
    }
}

/// The first fault of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub kind: Kind,
    pub topic: String,
    pub partition: i32,
    /// Of the altered or inserted event; for missing ones, where the gap ends.
    pub offset: i64,
    /// Of that event's place in the chain; for missing ones, of the first of them.
    pub chain_seq: i64,
    pub words: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            kind,
            topic,
            partition,
            offset,
            chain_seq,
            words,
        } = self;
        write!(
            f,
            "{kind}: {topic} partition {partition} offset {offset} chain_seq {chain_seq}: {words}"
        )
    }
}
