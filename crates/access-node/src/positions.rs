//! How far the node has applied each partition, and waiting for more.

use std::sync::atomic::{AtomicI64, Ordering};

use schemas::{Position, Stream};
use tokio::sync::watch;
use tokio::time::Instant;

/// Offset of the next record to apply, by partition.
pub(crate) struct Positions {
    users: Box<[AtomicI64]>,
    catalog: AtomicI64,
    moved: watch::Sender<()>,
}

impl Positions {
    pub(crate) fn new(ledgers: i32) -> Self {
        Self {
            users: (0..ledgers).map(|_| AtomicI64::new(0)).collect(),
            catalog: AtomicI64::new(0),
            moved: watch::Sender::new(()),
        }
    }

    fn slot(&self, stream: Stream, partition: i32) -> Option<&AtomicI64> {
        match stream {
            Stream::Users => self.users.get(usize::try_from(partition).ok()?),
            Stream::Catalog if partition == 0 => Some(&self.catalog),
            Stream::Catalog | Stream::Identifiers => None,
        }
    }

    pub(crate) fn next(&self, stream: Stream, partition: i32) -> i64 {
        self.slot(stream, partition).map_or(0, |slot| slot.load(Ordering::Acquire))
    }

    pub(crate) fn advance(&self, stream: Stream, partition: i32, next: i64) {
        if let Some(slot) = self.slot(stream, partition) {
            slot.fetch_max(next, Ordering::AcqRel);
        }
    }

    /// Wakes who waits; once a batch, not once a record.
    pub(crate) fn announce(&self) {
        self.moved.send_replace(());
    }

    /// Identifiers are not followed here: nothing a check depends on stands there.
    pub(crate) fn has(&self, position: &Position) -> bool {
        position.stream == Stream::Identifiers || self.next(position.stream, position.partition) > position.offset
    }

    pub(crate) async fn wait_for(&self, wanted: &[Position], deadline: Instant) -> Result<(), Position> {
        let mut moved = self.moved.subscribe();
        loop {
            moved.mark_unchanged();
            let Some(missing) = wanted.iter().find(|p| !self.has(p)) else { return Ok(()) };
            match tokio::time::timeout_at(deadline, moved.changed()).await {
                Ok(Ok(())) => {}
                _ => return wanted.iter().find(|p| !self.has(p)).map_or(Ok(()), |_| Err(*missing)),
            }
        }
    }
}
