//! Takeover and doubt are one procedure.
//!
//! 1. Read on, as far as it is committed, for a claim of another instance behind one's own: then the group is given up.
//! 2. Claim the transactional id: Kafka answers when every former transaction is settled.
//! 3. Read up to the high watermark. Nobody else can write any more, so what is not there by then
//!    never will be: each append in doubt is now known to be applied or not.
//! 4. Commit a `ledger.claimed` to each partition, chained onto what was read.
//!
//! The claim comes last, as it must continue the chain; a rival that claims between 2 and 4 fences
//! this commit, and the procedure starts again.

use schemas::log::{LedgerClaimed, LogEvent};
use schemas::{Event, Position, Stored, Stream, Timestamp};

use crate::group_log::{Append, GroupLog, flow};
use crate::owners::Instance;
use crate::snapshots::NotFetched;
use crate::writer_log::{CommitError, WriterLog, WriterLogError, WriterTransaction};

/// How far is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Upto {
    /// What is committed now. Transactions that are open, as a dead owner's is until it times out, are not waited for.
    Stable,
    /// The high watermark: everything that may be committed.
    All,
}

/// Reads what is committed behind the heads, as far as it goes at this moment.
/// `each` sees every event as it comes; `reader` is only good for these heads, and until they move otherwise.
pub(crate) fn read_on<L: WriterLog>(
    log: &L,
    reader: &mut L::Reader,
    heads: &mut GroupLog,
    upto: Upto,
    each: &mut dyn FnMut(Stored<Event>, Position),
) -> Result<(), WriterLogError> {
    let partitions = heads.partitions();
    let mut ends = log.high_watermarks(&partitions)?;
    heads.require_reached(&ends)?;
    if upto == Upto::Stable {
        ends = log.stable_ends(&partitions)?;
    }
    let range: Vec<_> = partitions
        .iter()
        .zip(ends)
        .map(|(&(stream, partition), until)| (stream, partition, heads.end(stream, partition), until))
        .collect();
    log.read(reader, &range, &mut |record| {
        flow(
            heads
                .read(&record)
                .map(|(stored, position)| each(stored, position)),
        )
    })
}

/// Step 4; gives where the claims stand.
pub(crate) fn write_claim<T: WriterTransaction>(
    transaction: &mut T,
    heads: &mut GroupLog,
    group: i32,
    instance: &Instance,
) -> Result<Vec<Position>, ClaimError> {
    let mut batch = heads.prepare();
    for (stream, partition) in heads.partitions() {
        heads
            .add(
                &mut batch,
                &claim_of(stream, partition, group, instance),
                Timestamp::now(),
            )
            .map_err(|error| ClaimError::Encode(error.to_string()))?;
    }
    let committed = transaction.commit(&batch.outgoing)?;
    let placed = heads.committed(batch, &committed);
    Ok(placed.into_iter().map(|(_, position)| position).collect())
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum ClaimError {
    #[error(transparent)]
    Log(#[from] WriterLogError),
    #[error(transparent)]
    Commit(#[from] CommitError),
    #[error("the claim cannot be written: {0}")]
    Encode(String),
    #[error("fetching saved aggregates: {0}")]
    Snapshot(#[from] NotFetched),
}

fn claim_of(stream: Stream, partition: i32, group: i32, instance: &Instance) -> Append {
    let claimed = LogEvent::LedgerClaimed(LedgerClaimed {
        instance: instance.id,
        address: instance.address.clone(),
        group,
    });
    Append {
        aggregate_id: format!("ledger-{partition}"),
        ..Append::of_log(stream, partition, vec![claimed])
    }
}
