//! What the databases of a configuration hold, asked before anything is done with them.

use std::time::Duration;

use futures::future::join_all;
use schemas::LogId;
use schemas::catalog::ShardMapChanged;
use sqlx::{PgPool, Postgres, Transaction};
use uuid::Uuid;

use crate::schema::{self, Identity};
use crate::{Error, Shard, Shards};

/// A shard that says nothing for so long is asked again by whoever uses it first.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a configuration's shards hold.
#[derive(Debug)]
pub struct Holdings<'a> {
    shards: &'a Shards,
    /// Of each that answered: whose it is, if anybody's.
    answered: Vec<(Shard, Option<Identity>)>,
}

impl Shards {
    /// Asks all of them at once, and changes nothing. Refuses one database in place of two.
    pub async fn holdings(&self) -> Result<Holdings<'_>, Error> {
        let asked = join_all(self.iter().map(async |shard| {
            let identity = tokio::time::timeout(PATIENCE, schema::identity(&shard.pool)).await;
            (shard, identity)
        }));
        let answered = asked.await.into_iter().filter_map(|(shard, asked)| {
            let reason = match asked {
                Ok(Ok(identity)) => return Some((shard, identity)),
                Ok(Err(Error::Sql(error))) => error.to_string(),
                Ok(Err(error)) => error.to_string(),
                Err(_) => format!("no answer in {PATIENCE:?}"),
            };
            tracing::warn!(
                shard.id = shard.id,
                "Asking shard {} whose it is: {reason}",
                shard.id
            );
            None
        });
        let holdings = Holdings {
            shards: self,
            answered: answered.collect(),
        };
        holdings.check_distinct().await?;
        Ok(holdings)
    }
}

impl Holdings<'_> {
    /// The log whose rows the first of them holds.
    pub fn log(&self) -> Option<LogId> {
        let mut identities = self.answered.iter().filter_map(|(_, identity)| *identity);
        identities.next().map(|identity| identity.log_id)
    }

    /// Refuses shards that are not those of the log: fewer than it has, of another log, or in another order. From then
    /// on they are read by the log's map.
    pub fn check(
        &self,
        log_id: LogId,
        ledgers: i32,
        recorded: Option<&ShardMapChanged>,
    ) -> Result<(), Error> {
        if let Some(map) = recorded {
            let (version, configured) = (map.version, self.shards.count());
            if map.shards > configured {
                let recorded = map.shards;
                return Err(Error::ShardCount {
                    version,
                    recorded,
                    configured,
                });
            }
            self.shards.take_map(map);
        }
        for (shard, found) in &self.answered {
            let identity = Identity {
                log_id,
                ledgers,
                shard_id: shard.id,
            };
            found.map_or(Ok(()), |found| identity.check(found))?;
        }
        Ok(())
    }

    /// Those that are claimed differ by what they are claimed as. The others are told apart by a lock on a
    /// number of this call, held in one and seen in the other.
    async fn check_distinct(&self) -> Result<(), Error> {
        let (random, ..) = Uuid::new_v4().as_fields();
        let number = i32::try_from(random >> 1).unwrap_or(i32::MAX);
        let unclaimed = self.answered.iter().filter(|(_, identity)| identity.is_none());
        let mut held = Vec::new();
        for (shard, _) in unclaimed {
            match seen_then_held(&shard.pool, number, shard.id).await {
                Ok((Some(other), _)) => return Err(Error::SameDatabase(other, shard.id)),
                Ok((None, lock)) => held.push(lock),
                // What it is claimed as, in the end, tells it from the others too.
                Err(error) => tracing::warn!("Asking shard {}: {error}", shard.id),
            }
        }
        Ok(())
    }
}

async fn seen_then_held(
    pool: &PgPool,
    number: i32,
    own: i32,
) -> Result<(Option<i32>, Transaction<'static, Postgres>), sqlx::Error> {
    let mut transaction = pool.begin().await?;
    let seen = sqlx::query_scalar(
        "SELECT objid::integer FROM pg_locks WHERE locktype = 'advisory' AND classid::bigint = $1
         AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
    )
    .bind(i64::from(number))
    .fetch_optional(&mut *transaction)
    .await?;
    sqlx::query("SELECT pg_advisory_xact_lock($1, $2)")
        .bind(number)
        .bind(own)
        .execute(&mut *transaction)
        .await?;
    Ok((seen, transaction))
}
