//! From records to events that prove to be the next ones of their partition.

use event_log::{DecodeError, Record, decode};
use schemas::{ChainHead, Event, SchemaIds, Stored};

/// An event, and the resume point behind it.
#[derive(Clone, Debug)]
pub struct Decoded {
    pub offset: i64,
    pub stored: Stored<Event>,
    /// Head of the partition's chain with this event.
    pub chain: ChainHead,
}

/// A record that cannot be applied, now or ever. Its partition halts there.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error("chain broken: the record has sequence {found}, the one before it leads to {expected}")]
    Sequence { expected: i64, found: i64 },
    #[error("chain broken: record {0} does not hold the hash of the record before it")]
    Hash(i64),
}

/// Reads a record that must continue the chain at `head`.
pub fn read(record: &Record, topic: &str, head: ChainHead, ids: &SchemaIds) -> Result<Decoded, RecordError> {
    let stored = decode(record, ids)?;
    let meta = &stored.meta;
    if meta.chain_seq != head.next_seq {
        return Err(RecordError::Sequence {
            expected: head.next_seq,
            found: meta.chain_seq,
        });
    }
    if meta.prev_hash != head.hash {
        return Err(RecordError::Hash(meta.chain_seq));
    }
    let chain = head.after(topic, record.partition, &record.key, &record.value);
    Ok(Decoded {
        offset: record.offset,
        stored,
        chain,
    })
}
