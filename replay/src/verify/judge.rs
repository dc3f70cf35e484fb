//! Who is to blame when a record does not fit.
//!
//! A record alone cannot tell: a wrong `prev_hash` means that the record before was altered, or
//! that this field was. Its successor decides. If the successor holds this record's hash, the two
//! are as they were written; if it continues what stood before, this record has no place there.

use schemas::{ChainHead, Meta, Sha256Digest};

use super::finding::Kind;

/// What a record says of its place in the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    pub chain_seq: i64,
    pub prev_hash: Sha256Digest,
}

impl Claim {
    pub(super) fn of(meta: &Meta) -> Self {
        Self {
            chain_seq: meta.chain_seq,
            prev_hash: meta.prev_hash,
        }
    }
}

impl From<ChainHead> for Claim {
    fn from(head: ChainHead) -> Self {
        Self {
            chain_seq: head.next_seq,
            prev_hash: head.hash,
        }
    }
}

/// The chain up to the suspect.
#[derive(Clone, Copy, Debug)]
pub(super) struct Before {
    pub head: ChainHead,
    /// The head one record earlier.
    pub earlier: ChainHead,
    /// Offset of the last record in order.
    pub offset: Option<i64>,
}

impl Before {
    pub(super) const START: Self = Self {
        head: ChainHead::START,
        earlier: ChainHead::START,
        offset: None,
    };

    pub(super) fn then(self, offset: i64, hash: Sha256Digest) -> Self {
        let head = ChainHead {
            next_seq: self.head.next_seq + 1,
            hash,
        };
        Self {
            head,
            earlier: self.head,
            offset: Some(offset),
        }
    }
}

/// What was noticed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The value holds no event of the type that the headers name.
    Unreadable(String),
    Chain,
    Header(String),
    Rule(String),
}

#[derive(Clone, Debug)]
pub(super) struct Suspect {
    pub offset: i64,
    pub link: Sha256Digest,
    /// None if unreadable.
    pub claim: Option<Claim>,
    pub fault: Fault,
}

/// The record behind the suspect.
#[derive(Clone, Copy, Debug)]
pub(super) struct Next {
    pub offset: i64,
    pub claim: Option<Claim>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Judgement {
    pub kind: Kind,
    pub offset: i64,
    pub chain_seq: i64,
    pub words: String,
}

pub(super) fn judge(before: &Before, suspect: &Suspect, next: Option<&Next>) -> Judgement {
    let due = Claim::from(before.head);
    let follows = next.and_then(|next| Some((next.offset, next.claim?)));
    if let Some((offset, claim)) = follows
        && claim == due
    {
        let words = format!("offset {offset} continues the chain as if this event were not there");
        return Judgement {
            kind: Kind::Inserted,
            offset: suspect.offset,
            chain_seq: due.chain_seq,
            words,
        };
    }
    let proven = follows.is_some_and(|(_, claim)| claim.prev_hash == suspect.link);
    match (&suspect.fault, suspect.claim) {
        (Fault::Chain, Some(claim)) => match follows {
            Some((offset, next)) if !proven && next.chain_seq == due.chain_seq + 1 => {
                misplaced(suspect, claim, due, offset)
            }
            _ => out_of_chain(before, suspect, claim, proven),
        },
        (fault, _) => {
            let (kind, words) = by_itself(fault, proven, follows.map(|(offset, _)| offset));
            Judgement {
                kind,
                offset: suspect.offset,
                chain_seq: due.chain_seq,
                words,
            }
        }
    }
}

/// The chain goes on behind the suspect, but not from it.
fn misplaced(suspect: &Suspect, claim: Claim, due: Claim, next: i64) -> Judgement {
    let words = if claim.chain_seq == due.chain_seq {
        format!(
            "it holds another prev_hash than its predecessor's, and offset {next} holds another hash than its own"
        )
    } else {
        let (found, due) = (claim.chain_seq, due.chain_seq);
        format!(
            "it says chain_seq {found} where {due} is due, and offset {next} holds another hash than its own"
        )
    };
    Judgement {
        kind: Kind::Altered,
        offset: suspect.offset,
        chain_seq: due.chain_seq,
        words,
    }
}

/// The suspect is as it was written, or nothing behind it speaks against that.
fn out_of_chain(before: &Before, suspect: &Suspect, claim: Claim, proven: bool) -> Judgement {
    let due = before.head.next_seq;
    let found = claim.chain_seq;
    let at = |kind, offset, chain_seq, words| Judgement {
        kind,
        offset,
        chain_seq,
        words,
    };
    if found > due {
        let behind = before
            .offset
            .map_or("the beginning".to_owned(), |offset| format!("offset {offset}"));
        let gone = match found - due {
            1 => "1 event is".to_owned(),
            count => format!("{count} events, up to chain_seq {}, are", found - 1),
        };
        let words = format!("{gone} missing between {behind} and offset {}", suspect.offset);
        return at(Kind::Missing, suspect.offset, due, words);
    }
    if let Some(previous) = before.offset
        && claim == Claim::from(before.earlier)
        && suspect.link != before.head.hash
        && proven
    {
        // Two different events claim one place; the chain goes on from the second.
        let words = format!(
            "it stands where offset {} belongs, from which the chain goes on",
            suspect.offset
        );
        return at(Kind::Inserted, previous, found, words);
    }
    if found < due {
        let words = format!("it repeats chain_seq {found} where {due} is due");
        return at(Kind::Inserted, suspect.offset, found, words);
    }
    match before.offset {
        Some(previous) => {
            let doubt = if proven {
                ""
            } else {
                " (unless it is that record's prev_hash: nothing behind proves it)"
            };
            let words = format!(
                "its hash is not the prev_hash that offset {} holds{doubt}",
                suspect.offset
            );
            at(Kind::Altered, previous, due - 1, words)
        }
        None => {
            let words = "it is the first event, but its prev_hash is not that of a beginning".to_owned();
            at(Kind::Altered, suspect.offset, due, words)
        }
    }
}

/// Faults that do not come from the chain.
fn by_itself(fault: &Fault, proven: bool, next: Option<i64>) -> (Kind, String) {
    let reason = match fault {
        Fault::Header(reason) => return (Kind::Altered, reason.clone()),
        Fault::Unreadable(reason) if proven => {
            let words = format!("its value is as written, but ce_dataschema names another type: {reason}");
            return (Kind::Altered, words);
        }
        Fault::Chain => "it does not continue the chain",
        Fault::Unreadable(reason) | Fault::Rule(reason) => reason,
    };
    match next {
        Some(_) if proven => (
            Kind::Irregular,
            format!("{reason}; the chain holds, so it was written like that"),
        ),
        Some(next) => (
            Kind::Altered,
            format!("{reason}, and offset {next} holds another hash than its own"),
        ),
        None => (
            Kind::Altered,
            format!("{reason}; nothing behind it proves its bytes"),
        ),
    }
}
