//! The shards of a configuration, and the map that says which ledger lies on which.
//!
//! Both change while a program runs: the map by the log's tail, the servers by the file that names them.

use std::sync::Arc;
use std::time::Duration;

use schemas::LogId;
use schemas::catalog::ShardMapChanged;
use sqlx::PgPool;
use tokio::sync::{OnceCell, watch};

use crate::digest::CATALOG_LEDGER;
use crate::pools::{PoolSettings, refuse_same_database};
use crate::schema::{self, Identity};
use crate::{Error, ShardId, ShardMap};

/// Each shard has a copy of the catalog; its audit log is kept by one, else each would tell it again.
pub const AUDITS_CATALOG: ShardId = 0;

/// One shard's servers. Clones share their connections.
#[derive(Clone, Debug)]
pub struct Shard {
    pub id: ShardId,
    /// Of the primary.
    pub pool: PgPool,
    /// Of each server that follows the primary.
    pub replicas: Arc<[PgPool]>,
    /// It has its tables and is claimed for the log.
    prepared: Arc<OnceCell<()>>,
    /// What the configuration says of it.
    dsns: Arc<str>,
}

impl Shard {
    /// A database that no configuration names.
    pub fn new(id: ShardId, pool: PgPool) -> Self {
        Self {
            id,
            pool,
            replicas: Arc::new([]),
            prepared: Arc::default(),
            dsns: "".into(),
        }
    }

    fn open(id: ShardId, dsns: &str, settings: &PoolSettings) -> Result<Self, Error> {
        let pool = |dsn| settings.pool(dsn).map_err(|error| Error::Dsn(id, error));
        let mut servers = dsns.split_whitespace();
        let primary = pool(servers.next().unwrap_or_default())?;
        Ok(Self {
            replicas: servers.map(pool).collect::<Result<_, _>>()?,
            dsns: dsns.into(),
            ..Self::new(id, primary)
        })
    }

    /// Connections to another database of the primary.
    pub fn beside(&self, database: &str, settings: &PoolSettings) -> Result<PgPool, Error> {
        let primary = self.dsns.split_whitespace().next().unwrap_or_default();
        settings
            .pool_of(primary, Some(database))
            .map_err(|error| Error::Dsn(self.id, error))
    }

    /// Whether both are the same servers by the same connections.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.prepared, &other.prepared)
    }

    /// Has its tables and is claimed for the log from then on: for whoever writes there, as the projector may not have
    /// been there yet.
    pub async fn prepare(&self, log_id: LogId, ledgers: i32) -> Result<(), Error> {
        let shard_id = self.id;
        let identity = Identity {
            log_id,
            ledgers,
            shard_id,
        };
        let preparing = || schema::prepare(&self.pool, identity);
        self.prepared.get_or_try_init(preparing).await.copied()
    }
}

/// All shards; a shard's id is the place of its line in the list. Clones share it.
#[derive(Clone, Debug)]
pub struct Shards(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    settings: Option<PoolSettings>,
    list: watch::Sender<Vec<Shard>>,
    map: watch::Sender<Arc<ShardMap>>,
}

impl Shards {
    /// Each line names a primary and, behind spaces, its replicas. Connects to nothing yet: a shard that is down must
    /// not keep a service from starting.
    pub fn connect_lazy<S: AsRef<str>>(lines: &[S], settings: &PoolSettings) -> Result<Self, Error> {
        if lines.is_empty() {
            let none = sqlx::Error::Configuration("no shard is configured".into());
            return Err(Error::Dsn(0, none));
        }
        let lines: Vec<&str> = lines.iter().map(AsRef::as_ref).collect();
        let shards = opened(&lines, &[], settings)?;
        let map = ShardMap::new(shards.iter().map(|shard| shard.id));
        Ok(Self::with(shards, map, Some(settings.clone())))
    }

    /// These alone, and a map that stays as it is unless a newer one is taken.
    pub fn fixed(shards: Vec<Shard>, map: ShardMap) -> Self {
        Self::with(shards, map, None)
    }

    fn with(shards: Vec<Shard>, map: ShardMap, settings: Option<PoolSettings>) -> Self {
        Self(Arc::new(Inner {
            settings,
            list: watch::Sender::new(shards),
            map: watch::Sender::new(Arc::new(map)),
        }))
    }

    /// Takes up what the configuration says now: further shards, and other servers of those that there are.
    pub fn reconfigure(&self, lines: &[&str]) -> Result<(), Error> {
        let Some(settings) = &self.0.settings else {
            return Ok(());
        };
        let known = self.0.list.borrow().clone();
        let configured = lines.len();
        if configured < known.len() {
            let known = known.len();
            return Err(Error::ShardsVanished { known, configured });
        }
        let shards = opened(lines, &known, settings)?;
        let is_same = |(a, b): (&Shard, &Shard)| a.is_same(b);
        if shards.len() > known.len() || !shards.iter().zip(&known).all(is_same) {
            self.0.list.send_replace(shards);
        }
        Ok(())
    }

    /// Tells of every change of [`Self::iter`].
    pub fn changes(&self) -> watch::Receiver<Vec<Shard>> {
        self.0.list.subscribe()
    }

    pub fn map(&self) -> Arc<ShardMap> {
        Arc::clone(&self.0.map.borrow())
    }

    /// Tells of every newer map.
    pub fn maps(&self) -> watch::Receiver<Arc<ShardMap>> {
        self.0.map.subscribe()
    }

    /// Goes by this map from now on, unless it is an older one.
    pub fn take_map(&self, recorded: &ShardMapChanged) {
        let is_newer = |map: &ShardMap| recorded.version > map.version();
        if !is_newer(&self.0.map.borrow()) {
            return;
        }
        self.0.map.send_if_modified(|map| {
            let newer = is_newer(map);
            if newer {
                *map = Arc::new(ShardMap::from(recorded));
            }
            newer
        });
    }

    /// Why not every ledger can be found where the map has it.
    pub fn misfit(&self, ledgers: i32) -> Option<Error> {
        (0..ledgers).find_map(|ledger| self.of_ledger(ledger).err())
    }

    pub fn iter(&self) -> impl Iterator<Item = Shard> + use<> {
        self.0.list.borrow().clone().into_iter()
    }

    /// How many are configured.
    pub fn count(&self) -> i32 {
        i32::try_from(self.0.list.borrow().len()).unwrap_or(i32::MAX)
    }

    /// The shard that holds a ledger.
    pub fn of_ledger(&self, ledger: i32) -> Result<Shard, Error> {
        let map = self.map();
        let shard = map.shard_of(ledger);
        self.get(shard).ok_or_else(|| Error::NoSuchShard {
            version: map.version(),
            ledger,
            shard,
        })
    }

    /// The shard that tells the catalog's events in its audit log.
    pub fn of_catalog_audit(&self) -> Result<Shard, Error> {
        self.on(AUDITS_CATALOG)
    }

    /// For what every shard has: roles, permissions and what hangs on them.
    pub fn on(&self, shard: ShardId) -> Result<Shard, Error> {
        self.get(shard).ok_or_else(|| Error::NoSuchShard {
            version: self.map().version(),
            ledger: i32::from(CATALOG_LEDGER),
            shard,
        })
    }

    /// As [`Self::of_ledger`], prepared for whoever writes there.
    pub async fn prepared(&self, ledger: i32, log_id: LogId, ledgers: i32) -> Result<Shard, Error> {
        let shard = self.of_ledger(ledger)?;
        shard.prepare(log_id, ledgers).await?;
        Ok(shard)
    }

    pub fn get(&self, id: ShardId) -> Option<Shard> {
        let list = self.0.list.borrow();
        list.iter().find(|shard| shard.id == id).cloned()
    }
}

/// One shard for each line; of those that are the same as before, what was before.
fn opened(lines: &[&str], known: &[Shard], settings: &PoolSettings) -> Result<Vec<Shard>, Error> {
    refuse_same_database(lines)?;
    let shards = (0..).zip(lines).map(|(id, line): (ShardId, _)| {
        let mut known = known.iter();
        match known.find(|shard| shard.id == id && *shard.dsns == **line) {
            Some(known) => Ok(known.clone()),
            None => Shard::open(id, line, settings),
        }
    });
    shards.collect()
}

/// How often the file of shards is read again.
pub(crate) const LOOK: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn shards(lines: &[&str]) -> Result<Shards, Error> {
        Shards::connect_lazy(lines, &PoolSettings::projecting())
    }

    #[tokio::test]
    async fn a_shard_is_a_primary_and_its_replicas() {
        let shards = shards(&["postgres://h/a postgres://r/a  postgres://s/a", "postgres://h/b"]).unwrap();
        let found: Vec<_> = shards.iter().map(|it| (it.id, it.replicas.len())).collect();
        assert_eq!(found, [(0, 2), (1, 0)]);
    }

    #[tokio::test]
    async fn one_database_is_not_taken_for_two() {
        for twice in [
            &["postgres://h/a", "postgres://h:5432/a"][..],
            &["postgres://h/a", "postgres://r/b postgres://h/a"],
        ] {
            assert!(matches!(shards(twice), Err(Error::SameDatabase(0, 1))));
        }
    }

    #[tokio::test]
    async fn further_shards_join_and_the_others_stay() {
        let (a, b) = ("postgres://h/a", "postgres://h/b");
        let shards = shards(&[a]).unwrap();
        let (before, mut changes) = (shards.get(0).unwrap(), shards.changes());
        shards.reconfigure(&[a]).unwrap();
        assert!(!changes.has_changed().unwrap());
        shards.reconfigure(&[a, b]).unwrap();
        assert!(changes.has_changed().unwrap());
        assert!(shards.get(0).unwrap().is_same(&before));
        changes.mark_unchanged();
        shards.reconfigure(&["postgres://h/a postgres://r/a", b]).unwrap();
        assert!(changes.has_changed().unwrap());
        assert!(!shards.get(0).unwrap().is_same(&before));
        let fewer = shards.reconfigure(&[a]);
        assert!(matches!(
            fewer,
            Err(Error::ShardsVanished {
                known: 2,
                configured: 1
            })
        ));
    }

    #[tokio::test]
    async fn only_a_newer_map_is_taken_and_a_shard_that_is_not_configured_shows() {
        let shards = shards(&["postgres://h/a", "postgres://h/b"]).unwrap();
        let map = |version, placement: [i32; 2]| ShardMapChanged {
            version,
            placement: placement.to_vec(),
            shards: 3,
            ..ShardMapChanged::default()
        };
        shards.take_map(&map(2, [1, 2]));
        shards.take_map(&map(1, [0, 0]));
        assert_eq!(shards.of_ledger(0).unwrap().id, 1);
        let missing = shards.misfit(2).unwrap().to_string();
        assert_eq!(
            missing,
            "ledger 1 lies on shard 2 by shard map 2 of the log, and the configuration has no such shard"
        );
        shards
            .reconfigure(&["postgres://h/a", "postgres://h/b", "postgres://h/c"])
            .unwrap();
        assert!(shards.misfit(2).is_none());
    }
}
