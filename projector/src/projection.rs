//! Brings shards up and keeps their workers running.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use event_log::identity::LogIdentity;
use read_model::checkpoint::Checkpoint;
use read_model::digest::CATALOG_LEDGER;
use read_model::time_series::Retention;
use read_model::{Shard, ShardId, ShardMap};
use schemas::catalog::ShardMapChanged;
use schemas::{LogId, SchemaIds, Stream};
use service_kit::Readiness;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::apply::Backoff;
use crate::assignment::Assignment;
use crate::inbox::Inbox;
use crate::opening::Opening;
use crate::progress::{Lane, Progress};
use crate::projections::Place;
use crate::router::{Follower, QUEUE, Router};
use crate::shard::ShardContext;
use crate::source::Log;
use crate::status::Status;
use crate::upkeep::Upkeep;
use crate::worker::{Ended, MAX_BATCH, Pending, Worker};

/// A shard whose workers ran for so long is taken up again without much delay.
const STEADY: Duration = Duration::from_secs(10);

/// What the projector knows of the log before it reads it.
#[derive(Clone, Debug)]
pub struct Known {
    pub log_id: LogId,
    pub ledgers: i32,
    pub schema_ids: SchemaIds,
    pub shard_map: Option<ShardMapChanged>,
}

impl From<LogIdentity> for Known {
    fn from(identity: LogIdentity) -> Self {
        let LogIdentity {
            created,
            schema_ids,
            shard_map,
        } = identity;
        Self {
            log_id: created.log_id,
            ledgers: created.ledgers,
            schema_ids,
            shard_map,
        }
    }
}

/// Projects a log into shards.
#[derive(Clone)]
pub struct Projection<L> {
    pub log: L,
    pub known: Known,
    /// The shards to fill, of those that `map` knows.
    pub shards: Vec<Shard>,
    pub map: ShardMap,
    /// Which of the shards, where several projectors share the work.
    pub assignment: Assignment,
    pub readiness: Readiness,
    /// Of audit rows; without it they are kept for ever.
    pub audit_retention: Option<Retention>,
    /// Stop before these offsets, and return when all partitions are there.
    pub stop_at: Option<HashMap<Lane, i64>>,
    /// Most events in one transaction.
    pub batch_limit: usize,
}

/// How the worker of a partition on a shard came to its end.
pub type Ending = (ShardId, Lane, Ended);

/// A shard cannot be filled, and waiting cannot help.
#[derive(Debug, thiserror::Error)]
#[error("shard {shard}: {reason}")]
pub struct ShardError {
    pub shard: ShardId,
    pub reason: String,
}

/// What all tasks of one run share.
struct Run<L> {
    projection: Projection<L>,
    schema_ids: watch::Sender<SchemaIds>,
    drained: Arc<Notify>,
    followers: mpsc::UnboundedSender<Follower>,
    shutdown: CancellationToken,
}

impl<L: Log> Projection<L> {
    pub fn new(log: L, known: Known, shards: &read_model::Shards, readiness: Readiness) -> Self {
        let map = shards.map().clone();
        let shards = shards.iter().cloned().collect();
        Self {
            log,
            known,
            shards,
            map,
            assignment: Assignment::every_shard(),
            readiness,
            audit_retention: None,
            stop_at: None,
            batch_limit: MAX_BATCH,
        }
    }

    /// Runs until `shutdown`, or until all partitions are at `stop_at`. A shard that is down is
    /// waited for; the others go on.
    pub async fn run(self, shutdown: CancellationToken) -> Result<Vec<Ending>, ShardError> {
        let (followers, new) = mpsc::unbounded_channel();
        let stop = shutdown.child_token();
        let bounded = self.stop_at.is_some();
        let run = Arc::new(Run {
            schema_ids: watch::Sender::new(self.known.schema_ids.clone()),
            drained: Arc::new(Notify::new()),
            followers,
            shutdown: stop.clone(),
            projection: self,
        });
        let router = Router::new(
            run.projection.log.clone(),
            new,
            Arc::clone(&run.drained),
            stop.clone(),
        );
        let router = tokio::spawn(router.run());
        let mut shards = JoinSet::new();
        for shard in &run.projection.shards {
            shards.spawn(Arc::clone(&run).fill(shard.clone()));
        }
        let mut endings = Vec::new();
        let mut outcome = Ok(());
        while let Some(ended) = shards.join_next().await {
            match ended {
                Ok(Ok(of_shard)) => endings.extend(of_shard),
                Ok(Err(error)) => outcome = Err(error),
                Err(panic) => {
                    outcome = Err(ShardError {
                        shard: -1,
                        reason: panic.to_string(),
                    })
                }
            }
            if outcome.is_err() {
                stop.cancel();
            }
        }
        if outcome.is_ok() && !bounded {
            shutdown.cancelled().await; // everything halted: stay up and say so
        }
        stop.cancel();
        if let Err(panic) = router.await {
            tracing::error!(%panic, "The router failed: {panic}");
        }
        outcome.map(|()| endings)
    }
}

impl<L: Log> Run<L> {
    /// Fills a shard whenever it is this instance's.
    async fn fill(self: Arc<Self>, shard: Shard) -> Result<Vec<Ending>, ShardError> {
        let lanes = self.lanes(shard.id);
        let status = Status::new(self.projection.readiness.clone(), shard.id);
        let assignment = &self.projection.assignment;
        status.down("not told yet whose the shard is");
        loop {
            let begins = assignment.begins(shard.id, || status.left(&lanes));
            if self.shutdown.run_until_cancelled(begins).await.is_none() {
                return Ok(Vec::new());
            }
            status.owned(&lanes);
            let turn = self.shutdown.child_token();
            let filling = self.fill_turn(&shard, &lanes, &status, &turn);
            tokio::pin!(filling);
            tokio::select! {
                endings = &mut filling => {
                    if self.is_bounded() || self.shutdown.is_cancelled() || endings.is_err() {
                        return endings;
                    }
                    // All halted, and says so; whoever is given the shard tries again.
                    if self.shutdown.run_until_cancelled(assignment.ends(shard.id)).await.is_none() {
                        return endings;
                    }
                }
                () = assignment.ends(shard.id) => {
                    turn.cancel();
                    filling.await?;
                }
            }
            tracing::info!(
                shard.id = shard.id,
                "Shard {} goes to another projector",
                shard.id
            );
        }
    }

    /// Fills a shard until its turn ends; anew from its checkpoints whenever they are not where a worker
    /// left them. Then all partitions start again, since what one took for applied may be lost to the
    /// others too. Another projector that goes on alternates with this one; one that is gone is replaced.
    async fn fill_turn(
        &self,
        shard: &Shard,
        lanes: &[Lane],
        status: &Status,
        turn: &CancellationToken,
    ) -> Result<Vec<Ending>, ShardError> {
        let mut backoff = Backoff::default();
        loop {
            let began = Instant::now();
            let (endings, set_back) = self.fill_once(shard, lanes, status, turn).await?;
            if !set_back && endings.iter().all(|(_, _, ended)| *ended != Ended::Fenced) {
                return Ok(endings);
            }
            if began.elapsed() > STEADY {
                backoff = Backoff::default();
            }
            let wait = tokio::time::sleep(backoff.next_wait());
            if turn.run_until_cancelled(wait).await.is_none() {
                return Ok(endings);
            }
        }
    }

    /// Until its workers end; true if that is because the database was set back.
    async fn fill_once(
        &self,
        shard: &Shard,
        lanes: &[Lane],
        status: &Status,
        turn: &CancellationToken,
    ) -> Result<(Vec<Ending>, bool), ShardError> {
        status.down("connecting");
        let upkeep = Upkeep::new(self.projection.audit_retention);
        let opening = Opening {
            shard,
            lanes,
            status,
            known: &self.projection.known,
            topics: self.projection.log.topics(),
            upkeep: &upkeep,
        };
        let opened = turn.run_until_cancelled(opening.open()).await;
        let Some(checkpoints) = opened.transpose()? else {
            return Ok((Vec::new(), false));
        };
        let stop = turn.child_token();
        let context = Arc::new(ShardContext {
            pool: shard.pool.clone(),
            upkeep,
            progress: Progress::default(),
            status: status.clone(),
            schema_ids: self.schema_ids.clone(),
            placement: self.projection.map.placement(self.projection.known.ledgers),
            map_version: (self.projection.known.shard_map.as_ref()).map_or(0, |map| map.version),
            topics: self.projection.log.topics(),
            shutdown: stop.clone(),
            applying: TaskTracker::new(),
        });
        // All before the first worker starts: a partition not named here counts as another shard's.
        for (lane, (checkpoint, _)) in &checkpoints {
            context.progress.applied(*lane, checkpoint.next_offset);
            status.restarted(*lane);
        }
        let mut workers = JoinSet::new();
        for (lane, (checkpoint, had_failure)) in checkpoints {
            let worker = self.worker(&context, shard.id, lane, checkpoint, had_failure);
            let id = shard.id;
            workers.spawn(async move { (id, lane, worker.run().await) });
        }
        status.up();
        let (endings, set_back) = tokio::join!(self.endings(shard.id, workers, &stop), context.watch());
        context.settled().await;
        Ok((endings?, set_back))
    }

    /// Waits until all workers of a shard have ended; then `stop` is cancelled, if it was not before.
    async fn endings(
        &self,
        shard: ShardId,
        mut workers: JoinSet<Ending>,
        stop: &CancellationToken,
    ) -> Result<Vec<Ending>, ShardError> {
        let _stop_at_last = stop.clone().drop_guard();
        let mut endings = Vec::new();
        while let Some(ended) = workers.join_next().await {
            let ended = ended.map_err(|panic| ShardError {
                shard,
                reason: panic.to_string(),
            })?;
            // Others wait for the catalog: without it a run that is to end never would.
            let hopeless = ended.1.0 == Stream::Catalog && ended.2 == Ended::Halted && self.is_bounded();
            if ended.2 == Ended::Fenced || hopeless {
                stop.cancel();
            }
            endings.push(ended);
        }
        Ok(endings)
    }

    fn is_bounded(&self) -> bool {
        self.projection.stop_at.is_some()
    }

    /// The catalog, and users and identifiers of the shard's ledgers.
    fn lanes(&self, shard: ShardId) -> Vec<Lane> {
        let ledgers = self
            .projection
            .map
            .ledgers_of(shard, self.projection.known.ledgers);
        let of_ledgers = ledgers
            .into_iter()
            .flat_map(|it| [(Stream::Users, it), (Stream::Identifiers, it)]);
        [(Stream::Catalog, 0)].into_iter().chain(of_ledgers).collect()
    }

    fn worker(
        &self,
        context: &Arc<ShardContext>,
        shard_id: ShardId,
        lane: Lane,
        checkpoint: Checkpoint,
        had_failure: bool,
    ) -> Worker {
        let projection = &self.projection;
        let (queue, inbox) = mpsc::channel(QUEUE);
        let follower = Follower {
            lane,
            next_offset: checkpoint.next_offset,
            queue,
        };
        if self.followers.send(follower).is_err() {
            tracing::debug!("The router is gone: the run ends");
        }
        let ledger = if lane.0 == Stream::Catalog {
            CATALOG_LEDGER
        } else {
            i16::try_from(lane.1).unwrap_or(i16::MAX)
        };
        Worker {
            shard: Arc::clone(context),
            lane,
            topic: projection.log.topics().of(lane.0),
            place: Arc::new(Place {
                stream: lane.0,
                ledger,
                shard_id,
                ledgers: projection.known.ledgers,
                map: projection.map.clone(),
            }),
            inbox: Inbox::new(inbox),
            drained: Arc::clone(&self.drained),
            checkpoint,
            stop_at: projection
                .stop_at
                .as_ref()
                .map(|stop| stop.get(&lane).copied().unwrap_or(0)),
            batch_limit: projection.batch_limit,
            max_batch: projection.batch_limit,
            pending: Pending::default(),
            had_failure,
        }
    }
}
