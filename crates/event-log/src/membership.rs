//! Who of several instances takes which share: a member of a Kafka consumer group that consumes nothing.
//!
//! Kafka's group coordinator notices who came, left or died, and hands out the partitions of a topic.
//! That is advice about who *should* work on something. Who *may* is decided elsewhere, by fencing or by a
//! conditional update, since a member that was paused learns of its loss only afterwards.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::KafkaError;
use tokio::sync::{oneshot, watch};

use crate::config::KafkaConfig;

const POLL: Duration = Duration::from_millis(100);
const METADATA: Duration = Duration::from_secs(2);
/// A coordinator that is not told of a leave within this time finds out by the member's silence.
const LEAVE: Duration = Duration::from_secs(2);

/// Topic and partition of each thing to be shared out.
pub type Share = BTreeSet<(String, i32)>;

/// Steps back from sharing, and comes back.
#[derive(Clone, Debug, Default)]
pub(crate) struct Attendance(Arc<AtomicBool>);

impl Attendance {
    /// Away, others get all of this instance's share.
    pub(crate) fn stay_away(&self, away: bool) {
        self.0.store(away, Ordering::Relaxed);
    }

    pub(crate) fn is_away(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Dropping it leaves the group, and others take over what it had.
pub struct Membership {
    share: watch::Receiver<Option<Share>>,
    attendance: Attendance,
    stop: Arc<AtomicBool>,
    /// Ends with the thread that is the member.
    left: oneshot::Receiver<()>,
}

impl Membership {
    /// Joins the group (its name under the log's prefix) that shares out the partitions of these topics.
    /// Members with other topics may share the group; each partition goes to one that wants its topic.
    pub fn join(config: &KafkaConfig, group: &str, topics: &[String]) -> Result<Self, KafkaError> {
        let (told, share) = watch::channel(None);
        let consumer: BaseConsumer<Member> = config.member(group).create_with_context(Member { told })?;
        let (topics, attendance) = (topics.to_vec(), Attendance::default());
        let asked = attendance.clone();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let (leaving, left) = oneshot::channel();
        std::thread::Builder::new()
            .name("rolecall-member".to_owned())
            .spawn(move || {
                await_topics(&consumer, &topics, &stopped);
                let mut is_away = true;
                while !stopped.load(Ordering::Relaxed) {
                    if asked.is_away() != is_away {
                        is_away = attend(&consumer, &topics, is_away);
                    }
                    // Nothing is fetched: what comes out here is an error, and the client itself tries again.
                    if let Some(Err(error)) = consumer.poll(POLL) {
                        tracing::debug!(%error, "The group of instances");
                    }
                }
                consumer.unsubscribe();
                drop(consumer);
                drop::<oneshot::Sender<()>>(leaving);
            })
            .map_err(|error| KafkaError::ClientCreation(error.to_string()))?;
        Ok(Self {
            share,
            attendance,
            stop,
            left,
        })
    }

    /// What this instance should work on, now and from now on; `None` until the coordinator has said so once.
    pub fn share(&self) -> watch::Receiver<Option<Share>> {
        self.share.clone()
    }

    pub(crate) fn attendance(&self) -> Attendance {
        self.attendance.clone()
    }

    /// Leaves, and returns when the group knows: a program that ends before is missed only by its silence.
    pub async fn leave(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if tokio::time::timeout(LEAVE, &mut self.left).await.is_err() {
            tracing::debug!("The group of instances is not told of the leave in time");
        }
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Waits until this member's client knows the topics. One that joins while a broker has not heard of a new topic is given
/// an empty share, and where the client hears of it in the middle of joining, it never asks for another.
fn await_topics(consumer: &BaseConsumer<Member>, topics: &[String], stopped: &AtomicBool) {
    let is_known = |topic: &String| {
        let found = consumer.fetch_metadata(Some(topic), METADATA);
        found.is_ok_and(|found| found.topics().iter().any(|it| !it.partitions().is_empty()))
    };
    while !stopped.load(Ordering::Relaxed) && !topics.iter().all(is_known) {
        std::thread::sleep(POLL);
    }
}

fn subscribe(consumer: &BaseConsumer<Member>, topics: &[String]) -> Result<(), KafkaError> {
    let names: Vec<&str> = topics.iter().map(String::as_str).collect();
    consumer.subscribe(&names)
}

/// Comes, or comes back, if it is away, or else leaves; whether it is away then.
fn attend(consumer: &BaseConsumer<Member>, topics: &[String], is_away: bool) -> bool {
    if is_away {
        let joined = subscribe(consumer, topics);
        return joined
            .inspect_err(|error| tracing::warn!(%error, "Joining the group of instances"))
            .is_err();
    }
    consumer.unsubscribe();
    consumer.context().told.send_replace(Some(Share::new()));
    true
}

struct Member {
    told: watch::Sender<Option<Share>>,
}

impl ClientContext for Member {}

impl ConsumerContext for Member {
    fn post_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Assign(added) = rebalance
            && let Err(error) = consumer.pause(added)
        {
            tracing::warn!(%error, "Partitions that are only shared out are fetched as well");
        }
        match consumer.assignment() {
            Ok(assigned) => {
                let elements = assigned.elements();
                let share = elements.iter().map(|it| (it.topic().to_owned(), it.partition()));
                self.told.send_replace(Some(share.collect()));
            }
            Err(error) => tracing::warn!(%error, "The group does not tell this instance's share"),
        }
    }
}
