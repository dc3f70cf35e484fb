//! Aggregates that are not in memory: their states come from the store, or from the log where the store
//! has not what its owner remembers.
//!
//! Whoever needs one holds its lock and asks; all that ask at the same time are served together, so that a
//! store that is down costs one reading of the partition and not one for each.

use std::collections::{HashMap, HashSet};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use schemas::{Event, LogId, Position, Stored};
use tokio::sync::{mpsc, oneshot};

use super::marks::Marks;
use super::shared::{GroupSnapshots, LogScan, sealing};
use super::{Place, Snapshots, StateRow, StoreError};
use crate::aggregate::LedgerAggregate;
use crate::entry::Entry;

/// Asked for at once.
const BATCH: usize = 1_000;
/// A store that takes longer is down.
const ANSWER: Duration = Duration::from_secs(2);
/// One that was down is not asked for so long.
const DOWN: Duration = Duration::from_secs(2);

type History = Vec<(Stored<Event>, Position)>;

pub(crate) enum Fetched {
    Row(StateRow),
    /// Everything that happened to it.
    History(History),
}

#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum NotFetched {
    #[error("the log cannot be read: {0}")]
    Log(String),
    #[error("the log has not what its owner remembers")]
    Replaced,
    #[error("the group is gone")]
    Gone,
}

/// One that somebody waits for.
pub(super) struct Wanted {
    place: Place,
    id: String,
    sequences: RangeInclusive<i64>,
    /// Its row is of no use.
    from_log: bool,
    reply: oneshot::Sender<Result<Fetched, NotFetched>>,
}

impl Wanted {
    fn answer(self, outcome: Result<Fetched, NotFetched>) {
        // Who asked may have given up.
        self.reply.send(outcome).unwrap_or_else(drop);
    }
}

impl GroupSnapshots {
    /// Brings an aggregate's state into memory; it must be of one of these sequences.
    pub(crate) async fn fill<A: LedgerAggregate>(
        &self,
        place: Place,
        id: &str,
        entry: &mut Entry<A>,
        sequences: RangeInclusive<i64>,
    ) -> Result<(), NotFetched> {
        let history = match self.fetch(place, id, sequences.clone(), false).await? {
            Fetched::History(history) => history,
            Fetched::Row(row) => match entry.fill(row.sequence, &row.state) {
                Ok(()) => return Ok(()),
                Err(error) => {
                    tracing::error!(%error, "A saved state cannot be read; its version should be another one");
                    match self.fetch(place, id, sequences, true).await? {
                        Fetched::History(history) => history,
                        Fetched::Row(_) => return Err(NotFetched::Gone),
                    }
                }
            },
        };
        let own = history
            .into_iter()
            .filter_map(|(Stored { meta, data }, position)| {
                Some((
                    Stored {
                        meta,
                        data: A::unwrap(data)?,
                    },
                    position,
                ))
            });
        if entry.fill_from_log(own.collect()) {
            return Ok(());
        }
        Err(NotFetched::Replaced)
    }

    async fn fetch(
        &self,
        place: Place,
        id: &str,
        sequences: RangeInclusive<i64>,
        from_log: bool,
    ) -> Result<Fetched, NotFetched> {
        let (reply, answer) = oneshot::channel();
        let wanted = Wanted {
            place,
            id: id.to_owned(),
            sequences,
            from_log,
            reply,
        };
        self.cold.send(wanted).await.map_err(|_| NotFetched::Gone)?;
        answer.await.unwrap_or(Err(NotFetched::Gone))
    }
}

/// Starts to serve who asks; ends with the sender.
pub(super) fn start(
    settings: &Snapshots,
    log_id: LogId,
    marks: Arc<Mutex<Marks>>,
    scan: Arc<dyn LogScan>,
) -> mpsc::Sender<Wanted> {
    let (rows, asked) = mpsc::channel(BATCH);
    let (histories, asked_of_log) = mpsc::unbounded_channel();
    let rows_server = Rows {
        settings: settings.clone(),
        log_id,
        marks,
        histories,
        down_until: None,
    };
    tokio::spawn(rows_server.serve(asked));
    tokio::spawn(serve_histories(scan, asked_of_log));
    rows
}

struct Rows {
    settings: Snapshots,
    log_id: LogId,
    marks: Arc<Mutex<Marks>>,
    histories: mpsc::UnboundedSender<Wanted>,
    down_until: Option<Instant>,
}

impl Rows {
    async fn serve(mut self, mut asked: mpsc::Receiver<Wanted>) {
        let mut batch = Vec::new();
        while asked.recv_many(&mut batch, BATCH).await > 0 {
            for (place, wanted) in by_place(batch.drain(..)) {
                self.answer(place, wanted).await;
            }
        }
    }

    async fn answer(&mut self, place: Place, wanted: Vec<Wanted>) {
        let (from_log, wanted): (Vec<_>, Vec<_>) = wanted.into_iter().partition(|it| it.from_log);
        self.refuse(place, from_log);
        match self.rows(place, &wanted).await {
            Ok(rows) => self.give_out(place, wanted, rows),
            Err(error) => {
                tracing::warn!(?place, "Snapshots cannot be read: {error}; reading the log");
                wanted.into_iter().for_each(|it| self.leave_to_log(it));
            }
        }
    }

    async fn rows(&mut self, place: Place, wanted: &[Wanted]) -> Result<Vec<StateRow>, StoreError> {
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        if self.down_until.is_some_and(|until| Instant::now() < until) {
            return Err(StoreError("the store was down a moment ago".to_owned()));
        }
        let ids = wanted.iter().map(|it| it.id.clone()).collect();
        let fetched = tokio::time::timeout(ANSWER, self.settings.store.fetch(place, ids)).await;
        let fetched = fetched.unwrap_or_else(|_| Err(StoreError("no answer in time".to_owned())));
        self.down_until = fetched.is_err().then(|| Instant::now() + DOWN);
        fetched
    }

    fn give_out(&self, place: Place, wanted: Vec<Wanted>, rows: Vec<StateRow>) {
        let of = sealing(self.log_id, place);
        let mut rows: HashMap<String, StateRow> = rows.into_iter().map(|row| (row.id.clone(), row)).collect();
        let mut refused = Vec::new();
        for it in wanted {
            let row = rows.remove(&it.id);
            match row
                .filter(|row| it.sequences.contains(&row.sequence) && self.settings.key.is_genuine(of, row))
            {
                Some(row) => it.answer(Ok(Fetched::Row(row))),
                None => refused.push(it),
            }
        }
        self.refuse(place, refused);
    }

    /// Their rows are not what their owner wrote last: edited, removed, or from an older copy.
    fn refuse(&self, place: Place, wanted: Vec<Wanted>) {
        if wanted.is_empty() {
            return;
        }
        metrics::counter!("snapshot_rows_refused_total").increment(wanted.len() as u64);
        tracing::warn!(
            ?place,
            rows = wanted.len(),
            "Saved aggregates are not what this owner remembers; reading them from the log"
        );
        for it in wanted {
            self.marks.lock().spoilt(place, &it.id);
            self.leave_to_log(it);
        }
    }

    fn leave_to_log(&self, wanted: Wanted) {
        if let Err(mpsc::error::SendError(wanted)) = self.histories.send(wanted) {
            wanted.answer(Err(NotFetched::Gone));
        }
    }
}

async fn serve_histories(scan: Arc<dyn LogScan>, mut asked: mpsc::UnboundedReceiver<Wanted>) {
    let mut batch = Vec::new();
    while asked.recv_many(&mut batch, BATCH).await > 0 {
        for (place, mut wanted) in by_place(batch.drain(..)) {
            wanted.retain(|it| !it.reply.is_closed());
            if wanted.is_empty() {
                continue;
            }
            let ids: HashSet<String> = wanted.iter().map(|it| it.id.clone()).collect();
            let scan = Arc::clone(&scan);
            let read = tokio::task::spawn_blocking(move || read_histories(&*scan, place, &ids)).await;
            let mut histories = match read {
                Ok(Ok(histories)) => Ok(histories),
                Ok(Err(error)) => Err(NotFetched::Log(error.to_string())),
                Err(error) => Err(NotFetched::Log(error.to_string())),
            };
            for it in wanted {
                let outcome = match &mut histories {
                    Ok(histories) => Ok(Fetched::History(histories.remove(&it.id).unwrap_or_default())),
                    Err(error) => Err(error.clone()),
                };
                it.answer(outcome);
            }
        }
    }
}

fn read_histories(
    scan: &dyn LogScan,
    place: Place,
    ids: &HashSet<String>,
) -> Result<HashMap<String, History>, crate::writer_log::WriterLogError> {
    metrics::counter!("snapshot_log_reads_total").increment(1);
    let mut histories: HashMap<String, History> = HashMap::new();
    scan.scan(place, &|id| ids.contains(id), &mut |stored, position| {
        let history = histories.entry(stored.meta.aggregate_id.clone()).or_default();
        history.push((stored, position));
    })?;
    Ok(histories)
}

fn by_place(wanted: impl Iterator<Item = Wanted>) -> HashMap<Place, Vec<Wanted>> {
    let mut places: HashMap<Place, Vec<Wanted>> = HashMap::new();
    for it in wanted {
        places.entry(it.place).or_default().push(it);
    }
    places
}
