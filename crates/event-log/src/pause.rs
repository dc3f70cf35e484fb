//! An owner opens no transaction while another instance takes its group over.
//!
//! A broker that is asked for a transactional id aborts the transaction that is open under it, and Kafka's client asks
//! again only after half a second (librdkafka's `rd_kafka_idemp_pid_timer_restart`): with load nearly every planned
//! move would take that long. So the new owner has the former one pause first. It is a courtesy: who does not
//! pause is fenced all the same, and whoever paused goes on by itself if nobody claims.

use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};
use schemas::Stream;

use crate::bus::{Bus, Peers};
use crate::forward::Envelope;
use crate::writer_log::WriterLog;

/// Time enough to fence, to read the rest and to claim. If the new owner dies just then, nobody serves for so long.
const LENGTH: Duration = Duration::from_millis(1_500);
/// Markers that take longer are not waited for.
const MARKERS: Duration = Duration::from_millis(150);
const POLL: Duration = Duration::from_millis(2);
/// An owner that does not answer by then is gone, or stuck in a transaction.
const ASK: Duration = Duration::from_secs(1);
/// One that fails to take over again and again does not keep others from the group.
const NOT_AGAIN: Duration = Duration::from_secs(10);

/// Held while a transaction is written.
pub(crate) struct Pause {
    /// When the last one began.
    began: Mutex<Option<Instant>>,
    length: Duration,
}

impl Default for Pause {
    fn default() -> Self {
        Self::of(LENGTH)
    }
}

impl Pause {
    fn of(length: Duration) -> Self {
        Self {
            began: Mutex::default(),
            length,
        }
    }

    /// Waits for the transaction under way; none is opened then for [`LENGTH`]. `false`: it takes too long, or there was a
    /// pause not long ago.
    pub(crate) fn begin(&self, within: Duration) -> bool {
        let Some(mut began) = self.began.try_lock_for(within) else {
            return false;
        };
        if began.is_some_and(|began| began.elapsed() < NOT_AGAIN) {
            return false;
        }
        *began = Some(Instant::now());
        true
    }

    /// Waits while it is paused, and holds up the next pause; `None` if the group has another owner by then.
    pub(crate) fn turn(&self, is_replaced: impl Fn() -> bool) -> Option<MutexGuard<'_, Option<Instant>>> {
        loop {
            if is_replaced() {
                return None;
            }
            let began = self.began.lock();
            if began.is_none_or(|began| began.elapsed() >= self.length) {
                return Some(began);
            }
            drop(began);
            std::thread::sleep(POLL);
        }
    }
}

/// Waits for the markers of the last transaction, which are written behind its answer: a broker that is asked before has
/// the asker come again as well.
pub(crate) fn await_markers<L: WriterLog>(log: &L, partitions: &[(Stream, i32)]) {
    let deadline = Instant::now() + MARKERS;
    while Instant::now() < deadline {
        // In this order: what is written in between shows as a difference.
        match (log.stable_ends(partitions), log.high_watermarks(partitions)) {
            (Ok(stable), Ok(ends)) if stable != ends => std::thread::sleep(POLL),
            _ => return,
        }
    }
}

impl Bus {
    /// Has the group of this partition pause, if it is served here.
    pub(crate) async fn pause(&self, place: (Stream, i32), within: Duration) -> bool {
        let Some(pause) = self.pause_of(place) else {
            return false;
        };
        let paused = tokio::task::spawn_blocking(move || pause.begin(within.min(ASK)));
        paused.await.unwrap_or(false)
    }
}

impl Peers {
    /// Asks the owner of the partition, if it is another instance, to pause; whether it does. Returns soon in any case.
    pub(crate) async fn ask_to_pause(&self, (stream, partition): (Stream, i32)) -> bool {
        let Some(owner) = self.owner_elsewhere((stream, partition)) else {
            return false;
        };
        let envelope = Envelope::Pause {
            stream,
            partition,
            within: ASK,
        };
        let Ok(body) = serde_json::to_vec(&envelope) else {
            return false;
        };
        let asked = tokio::time::timeout(ASK, self.way.forward(&owner, body, ASK)).await;
        let paused = match asked {
            Ok(Ok(answer)) => serde_json::from_slice(&answer).unwrap_or(false),
            Ok(Err(_)) | Err(_) => false,
        };
        tracing::debug!(
            owner = owner.address,
            paused,
            "Asked the owner of {stream:?}-{partition} to pause"
        );
        paused
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    const SHORT: Duration = Duration::from_millis(1);
    /// Than the test takes.
    const LONGER: Duration = Duration::from_secs(3_600);

    #[test]
    fn a_pause_waits_for_the_transaction_under_way() {
        let pause = Pause::default();
        let turn = pause.turn(|| false);
        assert!(turn.is_some());
        assert!(!pause.begin(SHORT));
        drop(turn);
        assert!(pause.begin(SHORT));
    }

    #[test]
    fn nothing_is_written_in_a_pause_until_another_owns_the_group() {
        let pause = Arc::new(Pause::of(LONGER));
        assert!(pause.begin(SHORT));
        let replaced = Arc::new(AtomicBool::new(false));
        let (waiting, told) = (Arc::clone(&pause), Arc::clone(&replaced));
        let turn = std::thread::spawn(move || waiting.turn(|| told.load(Ordering::Relaxed)).is_some());
        assert!(!turn.is_finished());
        replaced.store(true, Ordering::Relaxed);
        assert!(!turn.join().unwrap());
    }

    #[test]
    fn a_pause_ends_by_itself_and_is_not_followed_by_another_at_once() {
        let pause = Pause::of(SHORT);
        assert!(pause.begin(SHORT));
        assert!(pause.turn(|| false).is_some());
        assert!(!pause.begin(SHORT));
        assert!(pause.turn(|| false).is_some());
    }
}
