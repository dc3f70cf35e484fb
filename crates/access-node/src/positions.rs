//! How far the node has applied each partition, and waiting for more.

use std::sync::atomic::{AtomicI64, Ordering};

use schemas::{Position, Stream};
use tokio::sync::watch;
use tokio::time::Instant;

pub(crate) struct Positions {
    users: Box<[Place]>,
    catalog: Place,
    moved: watch::Sender<()>,
}

/// How far one partition is applied.
struct Place {
    /// Offset of the next record to apply.
    next: AtomicI64,
    /// Offset of the last record applied; -1 before the first. Behind it there may be markers.
    record: AtomicI64,
    /// Offset up to which it must be applied before its users are answered about; -1: none.
    refused_until: AtomicI64,
}

impl Default for Place {
    fn default() -> Self {
        Self {
            next: AtomicI64::new(0),
            record: AtomicI64::new(-1),
            refused_until: AtomicI64::new(-1),
        }
    }
}

impl Positions {
    pub(crate) fn new(ledgers: i32) -> Self {
        Self {
            users: (0..ledgers).map(|_| Place::default()).collect(),
            catalog: Place::default(),
            moved: watch::Sender::new(()),
        }
    }

    fn slot(&self, stream: Stream, partition: i32) -> Option<&Place> {
        match stream {
            Stream::Users => self.users.get(usize::try_from(partition).ok()?),
            Stream::Catalog if partition == 0 => Some(&self.catalog),
            Stream::Catalog | Stream::Identifiers => None,
        }
    }

    pub(crate) fn next(&self, stream: Stream, partition: i32) -> i64 {
        self.slot(stream, partition)
            .map_or(0, |slot| slot.next.load(Ordering::Acquire))
    }

    pub(crate) fn advance(&self, stream: Stream, partition: i32, next: i64) {
        if let Some(slot) = self.slot(stream, partition) {
            slot.next.fetch_max(next, Ordering::AcqRel);
        }
    }

    /// The record at `offset` is applied.
    pub(crate) fn applied(&self, stream: Stream, partition: i32, offset: i64) {
        if let Some(slot) = self.slot(stream, partition) {
            slot.record.fetch_max(offset, Ordering::AcqRel);
        }
        self.advance(stream, partition, offset + 1);
    }

    /// The last record applied, if there was one. Others wait for it too, such as readers of a
    /// shard, whose checkpoint need not move for markers.
    pub(crate) fn last(&self, stream: Stream, partition: i32) -> Option<Position> {
        let offset = self.slot(stream, partition)?.record.load(Ordering::Acquire);
        (offset >= 0).then_some(Position {
            stream,
            partition,
            offset,
        })
    }

    /// The users of a ledger are refused until its record at `offset` is applied: others went on.
    pub(crate) fn refuse_until(&self, ledger: i32, offset: i64) {
        if let Some(slot) = self.slot(Stream::Users, ledger)
            && slot.refused_until.fetch_max(offset, Ordering::AcqRel) < offset
        {
            tracing::warn!(
                ledger,
                offset,
                "Ledger {ledger} lags: its users are refused until {offset}"
            );
        }
    }

    pub(crate) fn is_refused(&self, ledger: i32) -> bool {
        self.slot(Stream::Users, ledger).is_some_and(|slot| {
            slot.next.load(Ordering::Acquire) <= slot.refused_until.load(Ordering::Acquire)
        })
    }

    /// Wakes who waits; once a batch, not once a record.
    pub(crate) fn announce(&self) {
        self.moved.send_replace(());
    }

    /// Identifiers are not followed here: nothing a check depends on stands there.
    pub(crate) fn has(&self, position: &Position) -> bool {
        position.stream == Stream::Identifiers
            || self.next(position.stream, position.partition) > position.offset
    }

    pub(crate) async fn wait_for(&self, wanted: &[Position], deadline: Instant) -> Result<(), Position> {
        let mut moved = self.moved.subscribe();
        loop {
            moved.mark_unchanged();
            let Some(missing) = wanted.iter().find(|p| !self.has(p)) else {
                return Ok(());
            };
            match tokio::time::timeout_at(deadline, moved.changed()).await {
                Ok(Ok(())) => {}
                _ => {
                    return wanted
                        .iter()
                        .find(|p| !self.has(p))
                        .map_or(Ok(()), |_| Err(*missing));
                }
            }
        }
    }
}
