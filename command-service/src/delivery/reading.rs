//! Reading a partition on, and delivering what it owes to people.

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
use super::window::Window;
use super::{LAST, Outbox};

const ITEMS: usize = 500;
const BACKOFF: Duration = Duration::from_millis(500);
const BACKOFF_MAX: Duration = Duration::from_secs(60);
/// How often the position is saved, if it moved.
const SAVE: Duration = Duration::from_millis(500);

#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error(transparent)]
    Tail(#[from] TailError),
    #[error(transparent)]
    Record(#[from] DecodeError),
    #[error("the position of the outbox")]
    Position(#[from] KafkaError),
}

impl Outbox {
    /// Until told to stop; what fails is tried again.
    pub(super) async fn deliver(self: Arc<Self>, partition: i32, stop: CancellationToken) {
        let mut wait = BACKOFF;
        while !stop.is_cancelled() {
            let began = tokio::time::Instant::now();
            if let Err(error) = self.read_on(partition, &stop).await {
                tracing::warn!(%error, "The outbox of ledger {partition} is not read at the moment: {error}");
            }
            if began.elapsed() > BACKOFF_MAX {
                wait = BACKOFF;
            }
            stop.run_until_cancelled(tokio::time::sleep(jittered(wait))).await;
            wait = (wait * 2).min(BACKOFF_MAX);
        }
    }

    async fn read_on(self: &Arc<Self>, partition: i32, stop: &CancellationToken) -> Result<(), ReadError> {
        let mut saved = self.positions.get(partition).await?.unwrap_or(0);
        let mut tail = Tail::open(&self.kafka, &[(Stream::Users, partition, saved)])?;
        let mut window = Window::from(saved);
        let mut under_way = JoinSet::new();
        let mut save = tokio::time::interval(SAVE);
        loop {
            tokio::select! {
                items = tail.next(ITEMS), if window.has_room() => {
                    for item in items? {
                        let (_, next) = item.place_and_next();
                        if let TailItem::Record(record) = item
                            && let Some((meta, event)) = self.owed(&record)?
                        {
                            window.begin(record.offset);
                            let (outbox, offset) = (Arc::clone(self), record.offset);
                            under_way.spawn(async move {
                                outbox.tell(&meta, &event).await;
                                offset
                            });
                        }
                        window.read(next);
                    }
                }
                Some(arrived) = under_way.join_next() => note(&mut window, arrived),
                _ = save.tick() => self.save(partition, &mut saved, &window).await?,
                () = stop.cancelled() => break,
            }
        }
        let rest = async {
            while let Some(arrived) = under_way.join_next().await {
                note(&mut window, arrived);
            }
        };
        tokio::time::timeout(LAST, rest).await.unwrap_or(());
        self.save(partition, &mut saved, &window).await
    }

    fn owed(&self, record: &Record) -> Result<Option<(Meta, UserEvent)>, ReadError> {
        let stored = decode(record, &self.ids)?;
        Ok(match stored.data {
            Event::User(event) if owed(&event).is_some() => Some((stored.meta, event)),
            Event::User(_) | Event::Identifier(_) | Event::Catalog(_) | Event::Log(_) => None,
        })
    }

    async fn save(&self, partition: i32, saved: &mut i64, window: &Window) -> Result<(), ReadError> {
        if window.position() > *saved {
            self.positions.set(partition, window.position()).await?;
            *saved = window.position();
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

fn note(window: &mut Window, arrived: Result<i64, tokio::task::JoinError>) {
    match arrived {
        Ok(offset) => window.arrived(offset),
        // It stays under way for the window, and so is told again after a restart.
        Err(panic) => tracing::error!(%panic, "A delivery failed: {panic}"),
    }
}

fn jittered(wait: Duration) -> Duration {
    wait.mul_f64(0.5 + rand::random::<f64>() / 2.0)
}
