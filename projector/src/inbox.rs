//! What a worker is fed, and how much of it at a time.

use std::sync::Arc;
use std::time::Duration;

use event_log::Record;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use crate::worker::MAX_BATCH;

/// How long after a transaction the next one is gathered for. A transaction costs the database as much
/// as hundreds of rows, so where events come one by one this buys fewer transactions with rows that
/// are up to so much later. An event after a quiet time is not held back.
const GATHER: Duration = Duration::from_millis(20);
/// So many are worth a transaction at once: a replay never waits.
const ENOUGH: usize = 256;

#[derive(Clone, Debug)]
pub enum Item {
    Record(Arc<Record>),
    /// Everything before this offset was given: behind the last record lie only markers.
    End(i64),
    /// The log cannot be read on here.
    Broken {
        /// Of the broken record, where it is one record.
        offset: Option<i64>,
        reason: String,
    },
}

pub struct Inbox {
    queue: mpsc::Receiver<Item>,
    gather_until: Option<Instant>,
}

impl Inbox {
    pub const fn new(queue: mpsc::Receiver<Item>) -> Self {
        Self {
            queue,
            gather_until: None,
        }
    }

    /// A transaction was committed just now.
    pub fn committed(&mut self) {
        self.gather_until = Some(Instant::now() + GATHER);
    }

    /// At least one item, or none if no more will come. Not cancel-safe.
    pub async fn take(&mut self) -> Vec<Item> {
        let mut items = Vec::new();
        let mut taken = self.queue.recv_many(&mut items, MAX_BATCH).await;
        if let Some(until) = self.gather_until {
            while taken > 0 && items.len() < ENOUGH && Instant::now() < until {
                let more = self.queue.recv_many(&mut items, MAX_BATCH);
                taken = timeout_at(until, more).await.unwrap_or(0);
            }
        }
        items
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt as _, poll};

    use super::*;

    const FOR_EVER: Duration = Duration::from_secs(3600);

    fn inbox(gather_until: Option<Instant>) -> (mpsc::Sender<Item>, Inbox) {
        let (sender, queue) = mpsc::channel(2 * ENOUGH);
        (sender, Inbox { queue, gather_until })
    }

    fn fill(sender: &mpsc::Sender<Item>, count: usize) {
        for _ in 0..count {
            sender.try_send(Item::End(0)).unwrap();
        }
    }

    #[tokio::test]
    async fn an_item_after_a_quiet_time_is_given_at_once() {
        for before in [None, Some(Instant::now())] {
            let (sender, mut inbox) = inbox(before);
            fill(&sender, 1);
            assert_eq!(inbox.take().now_or_never().unwrap().len(), 1, "{before:?}");
        }
    }

    #[tokio::test]
    async fn soon_after_a_transaction_what_comes_one_by_one_is_gathered() {
        let (sender, mut inbox) = inbox(Some(Instant::now() + FOR_EVER));
        let taking = inbox.take();
        tokio::pin!(taking);
        for _ in 1..ENOUGH {
            fill(&sender, 1);
            assert!(poll!(&mut taking).is_pending());
            tokio::task::yield_now().await;
        }
        fill(&sender, 1);
        assert_eq!(taking.now_or_never().unwrap().len(), ENOUGH);
    }

    #[tokio::test]
    async fn what_was_gathered_is_given_when_the_time_is_over_or_no_more_will_come() {
        let (sender, mut lasting) = inbox(None);
        lasting.committed();
        fill(&sender, 3);
        assert_eq!(lasting.take().await.len(), 3);
        let (sender, mut ending) = inbox(Some(Instant::now() + FOR_EVER));
        fill(&sender, 2);
        drop(sender);
        assert_eq!(ending.take().await.len(), 2);
        assert!(ending.take().await.is_empty());
    }
}
