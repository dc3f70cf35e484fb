//! Brings shards up and keeps their workers running.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use event_log::identity::LogIdentity;
use read_model::checkpoint::Checkpoint;
use read_model::digest::CATALOG_LEDGER;
use read_model::time_series::Retention;
use read_model::{Duty, Shard, ShardId, Shards};
use schemas::{LogId, SchemaIds, Stream};
use service_kit::Readiness;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::apply::Backoff;
use crate::assignment::Assignment;
use crate::inbox::Inbox;
use crate::opening::{Opening, lanes};
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
}

impl From<LogIdentity> for Known {
    fn from(identity: LogIdentity) -> Self {
        let LogIdentity {
            created,
            schema_ids,
            shard_map: _,
        } = identity;
        Self {
            log_id: created.log_id,
            ledgers: created.ledgers,
            schema_ids,
        }
    }
}

/// Projects a log into shards.
#[derive(Clone)]
pub struct Projection<L> {
    pub log: L,
    pub known: Known,
    /// The shards to fill, and the map that says with what. Further ones are filled as they come.
    pub shards: Shards,
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

/// Why a shard is filled anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Again {
    No,
    /// Its database was set back.
    SetBack,
    /// The shard map or the configuration says something else of it.
    OtherDuty,
}

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
    pub fn new(log: L, known: Known, shards: &Shards, readiness: Readiness) -> Self {
        Self {
            log,
            known,
            shards: shards.clone(),
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
        let (endings, outcome) = Arc::clone(&run).fill_all(&stop).await;
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
    /// Fills all shards, those too that are added later, until all have ended; one that cannot be filled ends the
    /// others.
    async fn fill_all(self: Arc<Self>, stop: &CancellationToken) -> (Vec<Ending>, Result<(), ShardError>) {
        let mut added = self.projection.shards.changes();
        let (mut shards, mut begun) = (JoinSet::new(), HashSet::new());
        let (mut endings, mut outcome) = (Vec::new(), Ok(()));
        loop {
            for shard in added.borrow_and_update().iter() {
                if begun.insert(shard.id) {
                    shards.spawn(Arc::clone(&self).fill(shard.id));
                }
            }
            let ended = tokio::select! {
                ended = shards.join_next() => ended,
                Ok(()) = added.changed(), if outcome.is_ok() && !self.is_bounded() => continue,
            };
            match ended {
                None => return (endings, outcome),
                Some(Ok(Ok(of_shard))) => endings.extend(of_shard),
                Some(Ok(Err(error))) => outcome = Err(error),
                Some(Err(panic)) => {
                    outcome = Err(ShardError {
                        shard: -1,
                        reason: panic.to_string(),
                    });
                }
            }
            if outcome.is_err() {
                stop.cancel();
            }
        }
    }

    /// Fills a shard whenever it is this instance's.
    async fn fill(self: Arc<Self>, shard: ShardId) -> Result<Vec<Ending>, ShardError> {
        let status = Status::new(self.projection.readiness.clone(), shard);
        let assignment = &self.projection.assignment;
        status.down("not told yet whose the shard is");
        loop {
            let begins = assignment.begins(shard, || status.left(&lanes(&self.duty(shard))));
            if self.shutdown.run_until_cancelled(begins).await.is_none() {
                return Ok(Vec::new());
            }
            let turn = self.shutdown.child_token();
            let filling = self.fill_turn(shard, &status, &turn);
            tokio::pin!(filling);
            tokio::select! {
                endings = &mut filling => {
                    if self.is_bounded() || self.shutdown.is_cancelled() || endings.is_err() {
                        return endings;
                    }
                    // All halted, and says so; whoever is given the shard tries again.
                    if self.shutdown.run_until_cancelled(assignment.ends(shard)).await.is_none() {
                        return endings;
                    }
                }
                () = assignment.ends(shard) => {
                    turn.cancel();
                    filling.await?;
                }
            }
            tracing::info!(shard.id = shard, "Shard {shard} goes to another projector");
        }
    }

    /// Fills a shard until its turn ends; anew from its checkpoints whenever they are not where a worker
    /// left them. Then all partitions start again, since what one took for applied may be lost to the
    /// others too. Another projector that goes on alternates with this one; one that is gone is replaced.
    async fn fill_turn(
        &self,
        shard: ShardId,
        status: &Status,
        turn: &CancellationToken,
    ) -> Result<Vec<Ending>, ShardError> {
        let mut backoff = Backoff::default();
        loop {
            let began = Instant::now();
            let (endings, again) = self.fill_once(shard, status, turn).await?;
            match again {
                Again::OtherDuty => continue,
                Again::SetBack => {}
                Again::No if endings.iter().any(|(_, _, ended)| *ended == Ended::Fenced) => {}
                Again::No => return Ok(endings),
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

    /// Until its workers end, or are to begin anew.
    async fn fill_once(
        &self,
        id: ShardId,
        status: &Status,
        turn: &CancellationToken,
    ) -> Result<(Vec<Ending>, Again), ShardError> {
        let (map, Some(shard)) = (self.projection.shards.map(), self.projection.shards.get(id)) else {
            return Ok((Vec::new(), Again::No));
        };
        let duty = map.duty(id, self.projection.known.ledgers);
        status.owned(&lanes(&duty));
        status.down("connecting");
        let upkeep = Upkeep::new(self.projection.audit_retention);
        let opening = Opening {
            shard: &shard,
            map: &map,
            duty: &duty,
            shards: &self.projection.shards,
            keeps_map: self.is_bounded(),
            status,
            known: &self.projection.known,
            topics: self.projection.log.topics(),
            upkeep: &upkeep,
        };
        let stop = turn.child_token();
        let opened = tokio::select! {
            () = stop.cancelled() => return Ok((Vec::new(), Again::No)),
            // Such as another server in place of one that is down.
            () = self.other_duty(&shard, &duty) => return Ok((Vec::new(), Again::OtherDuty)),
            opened = opening.open() => opened?,
        };
        let Some(opened) = opened else {
            return Ok((Vec::new(), Again::OtherDuty));
        };
        let context = self.context(&shard, &duty, (status, upkeep), &stop);
        // All before the first worker starts: a partition not named here counts as another shard's.
        for (lane, (checkpoint, _)) in &opened {
            context.progress.applied(*lane, checkpoint.next_offset);
            status.restarted(*lane);
        }
        let mut workers = JoinSet::new();
        for (lane, (checkpoint, had_failure)) in opened {
            let worker = self.worker(&context, id, lane, checkpoint, had_failure);
            workers.spawn(async move { (id, lane, worker.run().await) });
        }
        status.up();
        let other_duty = async {
            let other = stop.run_until_cancelled(self.other_duty(&shard, &duty)).await;
            stop.cancel();
            other.is_some()
        };
        let (endings, set_back, other_duty) =
            tokio::join!(self.endings(id, workers, &stop), context.watch(), other_duty);
        context.settled().await;
        let again = match (set_back, other_duty) {
            (true, _) => Again::SetBack,
            (false, true) => Again::OtherDuty,
            (false, false) => Again::No,
        };
        if again == Again::OtherDuty {
            // What is not this shard's any more says nothing any more.
            status.left(&lanes(&duty));
        }
        Ok((endings?, again))
    }

    fn context(
        &self,
        shard: &Shard,
        duty: &Duty,
        (status, upkeep): (&Status, Upkeep),
        stop: &CancellationToken,
    ) -> Arc<ShardContext> {
        let filling = duty.filling.iter();
        let filling = filling.flat_map(|it| [(Stream::Users, *it), (Stream::Identifiers, *it)]);
        Arc::new(ShardContext {
            pool: shard.pool.clone(),
            upkeep,
            progress: Progress::new(filling),
            status: status.clone(),
            schema_ids: self.schema_ids.clone(),
            shards: self.projection.shards.clone(),
            ledgers: self.projection.known.ledgers,
            keeps_map: self.is_bounded(),
            topics: self.projection.log.topics(),
            shutdown: stop.clone(),
            applying: TaskTracker::new(),
        })
    }

    /// Waits until a newer map wants something else of the shard, or the configuration names other servers.
    async fn other_duty(&self, shard: &Shard, duty: &Duty) {
        if self.is_bounded() {
            return std::future::pending().await;
        }
        let shards = &self.projection.shards;
        let (mut maps, mut list) = (shards.maps(), shards.changes());
        loop {
            let servers = list.borrow_and_update().iter().any(|it| it.is_same(shard));
            let same = maps
                .borrow_and_update()
                .duty(shard.id, self.projection.known.ledgers)
                == *duty;
            if !servers || !same {
                return;
            }
            let changed = tokio::select! {
                changed = maps.changed() => changed,
                changed = list.changed() => changed,
            };
            if changed.is_err() {
                return std::future::pending().await; // the run ends
            }
        }
    }

    fn duty(&self, shard: ShardId) -> Duty {
        let (map, ledgers) = (self.projection.shards.map(), self.projection.known.ledgers);
        map.duty(shard, ledgers)
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
