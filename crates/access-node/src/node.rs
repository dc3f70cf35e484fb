//! The node: what it knows, and asking it.

#[cfg(feature = "testing")]
mod fed;

mod callers;
mod keys;

use std::sync::Arc;
use std::time::Duration;

use access::{Asked, CompiledCatalog, Decision, Query, Reason, UserAccess};
use domain::ledger::ledger_of;
use event_log::identity::LogIdentity;
use event_log::{HighWatermarks, KafkaConfig, Owners, TailError, WatermarkError};
use parking_lot::RwLock;
use schemas::{LogId, Position, SessionId, Stream, Timestamp, UserId};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::expiries::DueGrant;
use crate::follower::Follower;
use crate::model::{Aside, Model};
use crate::partition::UsersPartition;
use crate::sessions::SessionStanding;
use crate::warm::WarmStart;

#[cfg(feature = "testing")]
pub use fed::FedNode;

#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    #[error("asking for the end of the log: {0}")]
    Watermarks(String),
}

/// The node has not applied a position yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not applied yet: {0:?}")]
pub struct NotYet(pub Position);

/// Whether the node can answer.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Standing {
    Loading,
    Following,
    Stopped(String),
}

/// A user's rights as the node has them.
#[derive(Clone, Debug)]
pub struct UserView {
    pub access: UserAccess,
}

/// Who knows where the log ends.
enum Ends {
    Kafka(HighWatermarks),
    /// What is applied is all there is.
    #[cfg(feature = "testing")]
    Applied,
}

/// The log in memory.
pub struct AccessNode {
    model: Arc<Model>,
    ends: Ends,
    standing: watch::Receiver<Standing>,
    log_id: LogId,
    ledgers: i32,
}

impl AccessNode {
    /// Starts to follow the log, from its beginning or from where snapshots reach; [`Self::caught_up`] tells
    /// when it has arrived.
    pub fn start(
        config: &KafkaConfig,
        identity: &LogIdentity,
        warm: Option<WarmStart>,
    ) -> Result<Arc<Self>, NodeError> {
        let ledgers = identity.created.ledgers;
        let watermarks = HighWatermarks::new(config, followed(ledgers).collect())
            .map_err(|error| NodeError::Watermarks(error.to_string()))?;
        let model = Arc::new(Model::new(ledgers));
        let (standing, watch) = watch::channel(Standing::Loading);
        let ends = Ends::Kafka(watermarks);
        let node = Arc::new(Self {
            model,
            ends,
            standing: watch,
            log_id: identity.created.log_id,
            ledgers,
        });
        let (config, ids) = (config.clone(), identity.schema_ids.clone());
        let following = Arc::clone(&node);
        tokio::spawn(async move {
            let loaded = match &warm {
                Some(warm) => warm.load(&following.model).await,
                None => Vec::new(),
            };
            let (places, model) = (followed(ledgers), Arc::clone(&following.model));
            match Follower::open(&config, places, model, ids, &loaded) {
                Ok(follower) => follow(follower, following, standing).await,
                Err(error) => stop(&standing, &error),
            }
        });
        Ok(node)
    }

    pub fn log_id(&self) -> LogId {
        self.log_id
    }

    /// Why the node cannot answer; `None` when it can.
    pub fn trouble(&self) -> Option<String> {
        match &*self.standing.borrow() {
            Standing::Following => None,
            Standing::Loading => Some("the log is being read".to_owned()),
            Standing::Stopped(why) => Some(why.clone()),
        }
    }

    /// Waits until the log as it was at start is applied.
    pub async fn caught_up(&self) {
        let mut standing = self.standing.clone();
        // A dropped sender has left its last standing behind.
        standing.wait_for(|s| *s != Standing::Loading).await.ok();
    }

    /// Which instance owns each ledger, by the claims applied.
    pub fn owners(&self) -> &Owners {
        &self.model.owners
    }

    pub fn catalog(&self) -> Arc<CompiledCatalog> {
        self.model.engine.catalog()
    }

    /// The rest of the catalog.
    pub fn aside(&self) -> Arc<Aside> {
        self.model.aside.load_full()
    }

    /// Whether the user may; decided on what is applied at this moment.
    pub fn check(&self, user: UserId, query: Query<'_>, now: Timestamp) -> Decision {
        let asked = self.model.engine.ask(user);
        if self.is_refused(user, &asked) {
            return Reason::NotCurrent.into();
        }
        asked.check(query, now)
    }

    /// To be asked once user and catalog are held: a catalog that went on without the ledger said so before, and while
    /// they are held nothing of the user catches up.
    fn is_refused(&self, user: UserId, asked: &Asked<'_>) -> bool {
        let ledger = asked.ledger().unwrap_or_else(|| ledger_by_id(user, self.ledgers));
        self.model.positions.is_refused(ledger)
    }

    /// Waits until the present end of the user's partition is applied; `None` where that is not known to be.
    async fn reach_end_of(&self, user: UserId, at_most: Duration) -> Option<()> {
        let place = (Stream::Users, self.ledger(user));
        let mut wanted = self.latest().await.ok()?;
        wanted.retain(|p| (p.stream, p.partition) == place);
        self.wait_for(&wanted, at_most).await.ok()
    }

    /// The user as known, and the catalog, as [`Self::check`] sees the two; `None` where it would not decide.
    pub fn rights(&self, user: UserId) -> Option<(Option<UserAccess>, Arc<CompiledCatalog>)> {
        let asked = self.model.engine.ask(user);
        (!self.is_refused(user, &asked)).then(|| (asked.access(), asked.catalog()))
    }

    pub fn user(&self, user: UserId) -> Option<UserView> {
        let access = self.model.engine.ask(user).access()?;
        Some(UserView { access })
    }

    /// Whether the user's ledger lags so far behind the others that nothing is said of its users.
    pub fn lags(&self, user: UserId) -> bool {
        self.model.positions.is_refused(self.ledger(user))
    }

    pub fn session_standing(&self, user: UserId, session: SessionId, now: Timestamp) -> SessionStanding {
        let ledger = self.ledger(user);
        if self.model.positions.is_refused(ledger) {
            return SessionStanding::Unknown;
        }
        let users = self.partition(ledger).read();
        users.standing(&self.model.engine, user, session, now)
    }

    /// As [`Self::session_standing`], but a session not heard of is waited for until the node has
    /// reached the present end of its partition: then there is none, and it counts as ended. Still
    /// unknown means that the end was not reached in time.
    pub async fn settled_session_standing(
        &self,
        user: UserId,
        session: SessionId,
        now: Timestamp,
        at_most: Duration,
    ) -> SessionStanding {
        let standing = self.session_standing(user, session, now);
        if standing != SessionStanding::Unknown {
            return standing;
        }
        match tokio::time::timeout(at_most, self.reach_end_of(user, at_most)).await {
            Ok(Some(())) => match self.session_standing(user, session, now) {
                SessionStanding::Unknown if !self.lags(user) => SessionStanding::Ended,
                known => known,
            },
            Ok(None) | Err(_) => SessionStanding::Unknown,
        }
    }

    /// Whose live session this is.
    pub fn session_owner(&self, session: SessionId) -> Option<UserId> {
        self.model
            .users
            .iter()
            .find_map(|users| users.read().session_owner(session))
    }

    /// Grants of a ledger's users whose expiry has come by `now` and of whose end no event was
    /// applied, the first to end first. Takes no longer with more users.
    pub fn due_grants(&self, ledger: i32, now: Timestamp, at_most: usize) -> Vec<DueGrant> {
        let index = usize::try_from(ledger).unwrap_or(usize::MAX);
        let users = self.model.users.get(index);
        users.map_or_else(Vec::new, |users| users.read().due_grants(now, at_most))
    }

    /// The grant's owner has said that it is over, or that there is no such grant any more.
    pub fn forget_due(&self, grant: &DueGrant) {
        self.partition(self.ledger(grant.user_id))
            .write()
            .forget_due(grant);
    }

    pub fn user_count(&self) -> usize {
        self.model.engine.user_count()
    }

    /// What an answer about this user rests on at least: its ledger and the catalog as applied.
    /// Read before deciding, so that the answer is never older than what it says.
    pub fn basis(&self, user: UserId) -> Vec<Position> {
        self.basis_of_ledger(self.ledger(user))
    }

    /// As [`Self::basis`], for all users of a ledger.
    pub fn basis_of_ledger(&self, ledger: i32) -> Vec<Position> {
        let positions = &self.model.positions;
        let places = [(Stream::Catalog, 0), (Stream::Users, ledger)];
        places
            .into_iter()
            .filter_map(|(stream, partition)| positions.last(stream, partition))
            .collect()
    }

    /// As [`Self::basis`], for an answer about the catalog alone.
    pub fn catalog_basis(&self) -> Option<Position> {
        self.model.positions.last(Stream::Catalog, 0)
    }

    /// Waits until all positions are applied.
    pub async fn wait_for(&self, wanted: &[Position], at_most: Duration) -> Result<(), NotYet> {
        self.model
            .positions
            .wait_for(wanted, Instant::now() + at_most)
            .await
            .map_err(NotYet)
    }

    /// As [`Self::wait_for`]; a position beyond the end of the log is not waited for at all.
    pub async fn wait_for_logged(&self, wanted: &[Position], at_most: Duration) -> Result<(), NotYet> {
        tokio::select! {
            biased;
            reached = self.wait_for(wanted, at_most) => reached,
            beyond = self.beyond_the_end(wanted) => Err(NotYet(beyond)),
        }
    }

    /// Ends only with a position that is known to lie beyond what is in the log.
    async fn beyond_the_end(&self, wanted: &[Position]) -> Position {
        let Ok(last) = self.latest().await else {
            return std::future::pending().await;
        };
        let is_in_log = |position: &&Position| {
            let place = (position.stream, position.partition);
            let mut ends = last.iter();
            // Checks rest on nothing in the identifiers, so the node does not follow them.
            position.stream == Stream::Identifiers
                || ends.any(|end| (end.stream, end.partition) == place && position.offset <= end.offset)
        };
        match wanted.iter().find(|position| !is_in_log(position)) {
            Some(position) => *position,
            None => std::future::pending().await,
        }
    }

    /// Everything in the log at this moment, as positions to wait for.
    pub async fn latest(&self) -> Result<Vec<Position>, WatermarkError> {
        let ends = match &self.ends {
            Ends::Kafka(watermarks) => watermarks.latest().await?,
            #[cfg(feature = "testing")]
            Ends::Applied => self.applied(),
        };
        let behind = |&((stream, partition), end): &((Stream, i32), i64)| {
            (end > 0).then_some(Position {
                stream,
                partition,
                offset: end - 1,
            })
        };
        Ok(ends.iter().filter_map(behind).collect())
    }

    /// The ledger of a user: known of whom the node has heard.
    pub fn ledger(&self, user: UserId) -> i32 {
        let known = self.model.engine.ask(user).ledger();
        known.unwrap_or_else(|| ledger_by_id(user, self.ledgers))
    }

    pub(crate) fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// Of a user's ledger: there is one for each.
    fn partition(&self, ledger: i32) -> &RwLock<UsersPartition> {
        &self.model.users[usize::try_from(ledger).unwrap_or(0)]
    }
}

fn ledger_by_id(user: UserId, ledgers: i32) -> i32 {
    let mut text = uuid::Uuid::encode_buffer();
    ledger_of(user.as_uuid().hyphenated().encode_lower(&mut text), ledgers)
}

fn followed(ledgers: i32) -> impl Iterator<Item = (Stream, i32)> {
    (0..ledgers)
        .map(|partition| (Stream::Users, partition))
        .chain([(Stream::Catalog, 0)])
}

async fn follow(follower: Follower, node: Arc<AccessNode>, standing: watch::Sender<Standing>) {
    let arrive = async {
        let mut wait = Duration::from_millis(100);
        loop {
            match node.latest().await {
                Ok(wanted) if node.wait_for(&wanted, Duration::from_secs(60)).await.is_ok() => break,
                Ok(_) => {}
                Err(error) => tracing::warn!("Asking for the end of the log: {error}"),
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(Duration::from_secs(3));
        }
        tracing::info!(users = node.user_count(), "The log is applied up to its end");
        standing.send_replace(Standing::Following);
        std::future::pending::<()>().await;
    };
    tokio::select! {
        outcome = follower.run() => {
            stop(&standing, &outcome.err().unwrap_or(TailError::Ended));
        }
        () = arrive => {}
    }
}

fn stop(standing: &watch::Sender<Standing>, error: &TailError) {
    tracing::error!("The log cannot be followed: {error}");
    standing.send_replace(Standing::Stopped(error.to_string()));
}
