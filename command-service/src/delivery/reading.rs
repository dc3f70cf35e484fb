//! Reading the users partitions on, and delivering what they owe to people.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use event_log::{DecodeError, Record, Tail, TailError, TailItem, decode};
use rdkafka::error::KafkaError;
use schemas::user::UserEvent;
use schemas::{Event, Meta, Stream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::channels::SendError;
use super::messages::{Message, owed};
use super::window::{Turn, Window};
use super::{LAST, Outbox};

const ITEMS: usize = 500;
const BACKOFF: Duration = Duration::from_millis(500);
const BACKOFF_MAX: Duration = Duration::from_secs(60);
/// How soon what arrived is saved, so that it is not sent again.
const SAVE: Duration = Duration::from_millis(500);
/// Where nothing was to be sent, there is no hurry: after so many of those.
const SELDOM: u32 = 20;

#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error(transparent)]
    Tail(#[from] TailError),
    #[error(transparent)]
    Record(#[from] DecodeError),
    #[error("the position of the outbox")]
    Position(#[from] KafkaError),
}

/// What is under way of each partition.
type Windows = BTreeMap<i32, Window>;

impl Outbox {
    /// Until told to stop; what fails is tried again.
    pub(super) async fn deliver(self: &Arc<Self>, partitions: &[i32], stop: &CancellationToken) {
        if partitions.is_empty() {
            return stop.cancelled().await;
        }
        let mut wait = BACKOFF;
        while !stop.is_cancelled() {
            let began = tokio::time::Instant::now();
            match self.read_on(partitions, stop).await {
                Ok(()) => return,
                Err(error) => tracing::warn!(%error, "The outbox is not read at the moment: {error}"),
            }
            if began.elapsed() > BACKOFF_MAX {
                wait = BACKOFF;
            }
            stop.run_until_cancelled(tokio::time::sleep(jittered(wait))).await;
            wait = (wait * 2).min(BACKOFF_MAX);
        }
    }

    async fn read_on(
        self: &Arc<Self>,
        partitions: &[i32],
        stop: &CancellationToken,
    ) -> Result<(), ReadError> {
        let mut saved = self.positions.get(partitions).await?;
        for partition in partitions {
            saved.entry(*partition).or_insert(0);
        }
        let start: Vec<_> = saved.iter().map(|(p, next)| (Stream::Users, *p, *next)).collect();
        let mut tail = Tail::open(&self.kafka, &start)?;
        let mut windows: Windows = saved.iter().map(|(p, next)| (*p, Window::from(*next))).collect();
        let mut under_way = JoinSet::new();
        let mut save = tokio::time::interval(SAVE);
        let (mut has_told, mut ticks) = (false, 0_u32);
        loop {
            hold_back(&tail, &mut windows)?;
            tokio::select! {
                items = tail.next(ITEMS) => {
                    for item in items? {
                        self.take(item, &mut windows, &mut under_way)?;
                    }
                }
                Some(arrived) = under_way.join_next() => {
                    note(&mut windows, arrived);
                    has_told = true;
                }
                _ = save.tick() => {
                    ticks = ticks.wrapping_add(1);
                    if has_told || ticks.is_multiple_of(SELDOM) {
                        has_told = !self.saved(&mut saved, &windows).await;
                    }
                }
                () = stop.cancelled() => break,
            }
        }
        let rest = async {
            while let Some(arrived) = under_way.join_next().await {
                note(&mut windows, arrived);
            }
        };
        tokio::time::timeout(LAST, rest).await.unwrap_or(());
        self.save(&mut saved, &windows).await?;
        Ok(())
    }

    /// Begins to deliver what an item of the log owes.
    fn take(
        self: &Arc<Self>,
        item: TailItem,
        windows: &mut Windows,
        under_way: &mut JoinSet<(i32, i64)>,
    ) -> Result<(), ReadError> {
        let ((_, partition), next) = item.place_and_next();
        let Some(window) = windows.get_mut(&partition) else {
            return Ok(());
        };
        if let TailItem::Record(record) = item
            && let Some((meta, event)) = self.owed(&record)?
        {
            window.begin(record.offset);
            let (outbox, offset) = (Arc::clone(self), record.offset);
            under_way.spawn(async move {
                outbox.tell(&meta, &event).await;
                (partition, offset)
            });
        }
        window.read(next);
        Ok(())
    }

    fn owed(&self, record: &Record) -> Result<Option<(Meta, UserEvent)>, ReadError> {
        let stored = decode(record, &self.ids)?;
        Ok(match stored.data {
            Event::User(event) if owed(&event).is_some() => Some((stored.meta, event)),
            Event::User(_) | Event::Identifier(_) | Event::Catalog(_) | Event::Log(_) => None,
        })
    }

    /// False if Kafka does not take it, and then with what comes. To begin anew would send again what has arrived.
    async fn saved(&self, saved: &mut BTreeMap<i32, i64>, windows: &Windows) -> bool {
        let outcome = self.save(saved, windows).await;
        if let Err(error) = &outcome {
            tracing::warn!(%error, "What was delivered is not remembered yet: {error}");
        }
        outcome.is_ok()
    }

    async fn save(&self, saved: &mut BTreeMap<i32, i64>, windows: &Windows) -> Result<(), KafkaError> {
        let reached = windows
            .iter()
            .map(|(partition, window)| (*partition, window.position()));
        let moved: BTreeMap<i32, i64> = reached
            .filter(|(partition, position)| saved.get(partition).is_none_or(|saved| position > saved))
            .collect();
        if !moved.is_empty() {
            self.positions.set(&moved).await?;
            saved.extend(moved);
        }
        Ok(())
    }

    /// Tries for as long as it takes. Each time it is asked anew what there is to tell: tokens expire, and
    /// people change their address or are gone.
    async fn tell(&self, meta: &Meta, event: &UserEvent) {
        let (mut told, mut wait) = (0, BACKOFF);
        loop {
            let failed = match self.messages(meta, event).await {
                Ok(messages) => self.send(meta, &messages, &mut told).await,
                Err(problem) => Some(format!("{}", problem.status())),
            };
            let Some(why) = failed else { return };
            metrics::counter!("messages_retried_total").increment(1);
            tracing::warn!(event.id = %meta.event_id, "A message about event {} waits: {why}", meta.event_id);
            tokio::time::sleep(jittered(wait)).await;
            wait = (wait * 2).min(BACKOFF_MAX);
        }
    }

    /// Sends what was not told yet, in order. Why that does not work for now, if it does not.
    async fn send(&self, meta: &Meta, messages: &[Message], told: &mut usize) -> Option<String> {
        for (number, message) in messages.iter().enumerate().skip(*told) {
            let id = format!("{}.{number}", meta.event_id);
            match self.channels.send(message, &id).await {
                Ok(()) => metrics::counter!("messages_sent_total").increment(1),
                Err(SendError::Refused(why)) => {
                    metrics::counter!("messages_refused_total").increment(1);
                    // The gateway's own words may hold the address.
                    tracing::warn!(event.id = %meta.event_id, "A message about event {} was refused: {why}", meta.event_id);
                }
                Err(SendError::NotNow(why)) => return Some(why),
            }
            *told = number + 1;
        }
        None
    }
}

/// A partition of which much is under way is not read on; its neighbours are.
fn hold_back(tail: &Tail, windows: &mut Windows) -> Result<(), TailError> {
    for (partition, window) in windows {
        let told = match window.turn() {
            Some(Turn::Pause) => tail.pause(Stream::Users, *partition),
            Some(Turn::Resume) => tail.resume(Stream::Users, *partition),
            None => Ok(()),
        };
        match told {
            // It is over, and what it gives next says why.
            Ok(()) | Err(TailError::Ended) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn note(windows: &mut Windows, arrived: Result<(i32, i64), tokio::task::JoinError>) {
    match arrived {
        Ok((partition, offset)) => {
            if let Some(window) = windows.get_mut(&partition) {
                window.arrived(offset);
            }
        }
        // It stays under way for the window, and so is told again after a restart.
        Err(panic) => tracing::error!(%panic, "A delivery failed: {panic}"),
    }
}

fn jittered(wait: Duration) -> Duration {
    wait.mul_f64(0.5 + rand::random::<f64>() / 2.0)
}
