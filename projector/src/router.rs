//! One tail for all partitions, given out to the workers' bounded queues.
//!
//! A worker that falls behind has its partition paused, so a shard that is down holds up nobody
//! else. Where several workers follow one partition (the catalog), it is paused only when all of
//! them are full; one that overflows meanwhile misses records, and the tail is opened anew from
//! what it lacks once it has room.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use event_log::{DecodeError, TailError, TailItem};
use schemas::Stream;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use crate::apply::{Backoff, chain};
use crate::inbox::Item;
use crate::progress::Lane;
use crate::source::{Log, Tail};

/// Records waiting for one worker.
pub const QUEUE: usize = 4096;
const TAKE: usize = 1024;
/// A broker that starts may not know its partitions yet; one that is asked this often does.
const STRIKES: u32 = 10;
/// Workers of several shards come up at nearly the same time: one opening serves them all.
const GATHER: Duration = Duration::from_millis(50);

/// A worker's end of a partition.
pub struct Follower {
    pub lane: Lane,
    pub next_offset: i64,
    pub queue: mpsc::Sender<Item>,
}

#[derive(Default)]
struct Route {
    followers: Vec<Follows>,
    paused: bool,
}

struct Follows {
    /// Offset of the next item it takes.
    expected: i64,
    /// Its queue overflowed: it takes nothing until the tail is opened anew.
    behind: bool,
    /// An end that found the queue full.
    end: Option<i64>,
    queue: mpsc::Sender<Item>,
}

pub struct Router<L: Log> {
    log: L,
    routes: HashMap<Lane, Route>,
    /// How often in a row a partition could not be read.
    strikes: HashMap<Lane, u32>,
    new: mpsc::UnboundedReceiver<Follower>,
    drained: Arc<Notify>,
    shutdown: CancellationToken,
}

/// Why a tail is left.
enum Leave {
    Shutdown,
    /// Somebody needs earlier records.
    Reopen,
    Failed(TailError),
}

impl<L: Log> Router<L> {
    pub fn new(
        log: L,
        new: mpsc::UnboundedReceiver<Follower>,
        drained: Arc<Notify>,
        shutdown: CancellationToken,
    ) -> Self {
        Self {
            log,
            routes: HashMap::new(),
            strikes: HashMap::new(),
            new,
            drained,
            shutdown,
        }
    }

    pub async fn run(mut self) {
        let shutdown = self.shutdown.clone();
        let mut backoff = Backoff::default();
        while let Some(follower) = shutdown.run_until_cancelled(self.new.recv()).await.flatten() {
            self.add(follower);
            loop {
                match self.follow(&mut backoff).await {
                    Leave::Shutdown => return,
                    Leave::Reopen => {}
                    Leave::Failed(error) => self.fail(&error, &mut backoff).await,
                }
                self.forget_gone();
                if self.routes.is_empty() {
                    break;
                }
            }
        }
    }

    async fn follow(&mut self, backoff: &mut Backoff) -> Leave {
        tokio::time::sleep(GATHER).await;
        while let Ok(follower) = self.new.try_recv() {
            self.add(follower);
        }
        let start = self.start();
        let mut tail = match self.log.open(&start) {
            Ok(tail) => tail,
            Err(error) => return Leave::Failed(error),
        };
        let shutdown = self.shutdown.clone();
        loop {
            let outcome = tokio::select! {
                biased;
                () = shutdown.cancelled() => return Leave::Shutdown,
                Some(follower) = self.new.recv() => {
                    self.add(follower);
                    return Leave::Reopen;
                }
                () = self.drained.notified() => self.relieve(&tail),
                items = tail.next(TAKE) => items.and_then(|items| self.give(&tail, items).map(|()| true)),
            };
            match outcome {
                Ok(true) => *backoff = Backoff::default(),
                Ok(false) => return Leave::Reopen,
                Err(error) => return Leave::Failed(error),
            }
        }
    }

    fn add(&mut self, follower: Follower) {
        let follows = Follows {
            expected: follower.next_offset,
            behind: false,
            end: None,
            queue: follower.queue,
        };
        self.routes
            .entry(follower.lane)
            .or_default()
            .followers
            .push(follows);
    }

    /// Where each partition is to be read from, with everybody's gaps healed by that.
    fn start(&mut self) -> Vec<(Stream, i32, i64)> {
        let mut start = Vec::with_capacity(self.routes.len());
        for (&(stream, partition), route) in &mut self.routes {
            route.paused = false;
            let mut from = i64::MAX;
            for follows in &mut route.followers {
                follows.behind = false;
                from = from.min(follows.expected);
            }
            if !route.followers.is_empty() {
                start.push((stream, partition, from));
            }
        }
        start
    }

    fn give(&mut self, tail: &L::Tail, items: Vec<TailItem>) -> Result<(), TailError> {
        for item in items {
            let (lane, offset, item) = match item {
                TailItem::Record(record) => (
                    (record.stream, record.partition),
                    record.offset,
                    Item::Record(Arc::new(record)),
                ),
                TailItem::End {
                    stream,
                    partition,
                    next_offset,
                } => ((stream, partition), next_offset, Item::End(next_offset)),
            };
            self.strikes.remove(&lane);
            let Some(route) = self.routes.get_mut(&lane) else {
                continue;
            };
            for follows in &mut route.followers {
                follows.give(offset, item.clone());
            }
            if !route.paused && route.is_pressed() {
                tail.pause(lane.0, lane.1)?;
                route.paused = true;
            }
        }
        Ok(())
    }

    /// Some queue has room again. False if the tail must be opened anew.
    fn relieve(&mut self, tail: &L::Tail) -> Result<bool, TailError> {
        for (&(stream, partition), route) in &mut self.routes {
            for follows in &mut route.followers {
                if let Some(end) = follows.end.take() {
                    follows.give(end, Item::End(end));
                }
            }
            if route
                .followers
                .iter()
                .any(|it| it.behind && it.has_room() && !it.queue.is_closed())
            {
                return Ok(false);
            }
            if route.paused && !route.is_pressed() {
                tail.resume(stream, partition)?;
                route.paused = false;
            }
        }
        Ok(true)
    }

    /// A record that cannot even be taken in halts its partition alone, for those who have come to it.
    async fn fail(&mut self, error: &TailError, backoff: &mut Backoff) {
        let reason = chain(error);
        if let Some((lane, offset)) = self.broken(error)
            && let Some(route) = self.routes.get_mut(&lane)
        {
            // Whoever lacks records before it is given those first, by the tail that is opened anew.
            for follows in route.followers.extract_if(.., |it| it.has_come_to(offset)) {
                let reason = reason.clone();
                // In a task: its queue may be full, and nobody else should wait for that.
                tokio::spawn(async move { follows.queue.send(Item::Broken { offset, reason }).await });
            }
            if route.followers.is_empty() {
                return;
            }
        }
        tracing::warn!(error = reason, "Opening the log again: {reason}");
        tokio::time::sleep(backoff.next_wait()).await;
    }

    /// The partition that an error makes unreadable for good, and where if it is one record.
    fn broken(&mut self, error: &TailError) -> Option<(Lane, Option<i64>)> {
        match *error {
            TailError::Record(
                DecodeError::Header {
                    stream,
                    partition,
                    offset,
                    ..
                }
                | DecodeError::SchemaId {
                    stream,
                    partition,
                    offset,
                    ..
                }
                | DecodeError::Codec {
                    stream,
                    partition,
                    offset,
                    ..
                },
            ) => Some(((stream, partition), Some(offset))),
            TailError::Partition {
                stream, partition, ..
            } => {
                let strikes = self.strikes.entry((stream, partition)).or_default();
                *strikes += 1;
                (*strikes >= STRIKES).then_some(((stream, partition), None))
            }
            // The tail itself does not look at chains; the workers do.
            TailError::Kafka(_)
            | TailError::Gap { .. }
            | TailError::Fork { .. }
            | TailError::Stuck { .. }
            | TailError::Ended => None,
        }
    }

    fn forget_gone(&mut self) {
        for route in self.routes.values_mut() {
            route.followers.retain(|it| !it.queue.is_closed());
        }
        self.routes.retain(|_, route| !route.followers.is_empty());
    }
}

impl Route {
    /// Nobody can use more for now.
    fn is_pressed(&self) -> bool {
        self.followers
            .iter()
            .all(|it| it.behind || it.queue.is_closed() || !it.has_room())
    }
}

impl Follows {
    fn has_room(&self) -> bool {
        self.queue.capacity() > QUEUE / 2
    }

    /// Whether it was given everything before `offset`, and is not past it.
    fn has_come_to(&self, offset: Option<i64>) -> bool {
        !self.behind && offset.is_none_or(|offset| self.expected <= offset)
    }

    fn give(&mut self, offset: i64, item: Item) {
        let is_end = matches!(item, Item::End(_));
        if self.behind || offset < self.expected {
            return; // it lacks something before, or has had it
        }
        match self.queue.try_send(item) {
            Ok(()) => self.expected = if is_end { offset } else { offset + 1 },
            Err(mpsc::error::TrySendError::Full(_)) if is_end => self.end = Some(offset),
            Err(mpsc::error::TrySendError::Full(_)) => self.behind = true,
            Err(mpsc::error::TrySendError::Closed(_)) => {}
        }
    }
}

#[cfg(test)]
mod tests;
