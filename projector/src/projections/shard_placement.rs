//! `shard_map` and `shard_placement`: the log's shard map as applied, and the `shard_id` columns of look-ups that follow it.

use read_model::ShardMap;
use schemas::catalog::{CatalogEvent, ShardMapChanged};
use sqlx::types::Json;
use sqlx::{PgConnection, PgPool};

use super::{At, RowError};

/// Name of the lock between the catalog's batches and those of identifiers on one shard: a look-up written by the map
/// before would stay as it is.
const LOCK: i64 = 0x726f_6c65_706c_6163;

#[derive(Default)]
pub(super) struct ShardPlacement(Option<ShardMapChanged>);

impl ShardPlacement {
    pub fn fold(&mut self, _: &At<'_>, event: &CatalogEvent) {
        match event {
            CatalogEvent::ShardMapChanged(map) => self.0 = Some(map.clone()),
            CatalogEvent::RoleDefined(_)
            | CatalogEvent::RoleChanged(_)
            | CatalogEvent::RoleDeleted(_)
            | CatalogEvent::PermissionDefined(_)
            | CatalogEvent::PermissionDeleted(_)
            | CatalogEvent::PermissionAttached(_)
            | CatalogEvent::PermissionDetached(_)
            | CatalogEvent::BootstrapEpochRaised(_)
            | CatalogEvent::ExtentRecorded(_)
            | CatalogEvent::ApprovalRequested(_)
            | CatalogEvent::ApprovalGiven(_)
            | CatalogEvent::ApprovalRefused(_)
            | CatalogEvent::ApprovalWithdrawn(_)
            | CatalogEvent::ApprovalApplied(_) => {}
        }
    }

    pub async fn write(&self, tx: &mut PgConnection) -> Result<(), RowError> {
        match &self.0 {
            Some(map) => put(tx, map).await,
            None => Ok(()),
        }
    }
}

async fn put(tx: &mut PgConnection, map: &ShardMapChanged) -> Result<(), RowError> {
    sqlx::query("SELECT pg_advisory_xact_lock($1)")
        .bind(LOCK)
        .execute(&mut *tx)
        .await?;
    let ledgers: Vec<i16> = (0..).take(map.placement.len()).collect();
    let moved = sqlx::query(
        "INSERT INTO shard_placement (ledger, shard_id) SELECT * FROM unnest($1::int2[], $2::int4[])
         ON CONFLICT (ledger) DO UPDATE SET shard_id = excluded.shard_id
         WHERE shard_placement.shard_id <> excluded.shard_id",
    )
    .bind(ledgers)
    .bind(&map.placement)
    .execute(&mut *tx)
    .await?;
    sqlx::query(
        "INSERT INTO shard_map (map) VALUES ($1) ON CONFLICT (singleton) DO UPDATE SET map = excluded.map",
    )
    .bind(Json(map))
    .execute(&mut *tx)
    .await?;
    // Most maps only begin or end a move, and every look-up stays where it points.
    if moved.rows_affected() > 0 {
        follow(tx).await?;
    }
    Ok(())
}

/// Puts what another database has applied in the place of what is here. Where that is no map yet, the places stay those
/// that a projector began with.
pub(super) async fn replace(
    tx: &mut PgConnection,
    applied: Option<&ShardMapChanged>,
) -> Result<(), RowError> {
    let Some(map) = applied else {
        sqlx::query("DELETE FROM shard_map").execute(tx).await?;
        return Ok(());
    };
    put(tx, map).await?;
    sqlx::query("DELETE FROM shard_placement WHERE NOT ledger = ANY ($1)")
        .bind((0..).take(map.placement.len()).collect::<Vec<i16>>())
        .execute(tx)
        .await?;
    Ok(())
}

/// Has the look-ups point to where their users lie now.
async fn follow(tx: &mut PgConnection) -> Result<(), RowError> {
    // As long as it takes: it is bounded by the shard's look-ups, and cut short it would be tried again at the same
    // size for ever.
    sqlx::query("SET LOCAL statement_timeout = 0")
        .execute(&mut *tx)
        .await?;
    for statement in [
        "UPDATE email_shard_lookup l SET shard_id = p.shard_id FROM shard_placement p
         WHERE p.ledger = l.user_ledger AND p.shard_id <> l.shard_id",
        "UPDATE username_shard_lookup l SET shard_id = p.shard_id FROM shard_placement p
         WHERE p.ledger = l.user_ledger AND p.shard_id <> l.shard_id",
    ] {
        sqlx::query(statement).execute(&mut *tx).await?;
    }
    Ok(())
}

/// First in the transaction, so that all statements after it see the other's rows.
pub(super) async fn lock_out_catalog(tx: &mut PgConnection) -> Result<(), RowError> {
    sqlx::query("SELECT pg_advisory_xact_lock_shared($1)")
        .bind(LOCK)
        .execute(tx)
        .await?;
    Ok(())
}

/// Before the first batch there is a row for each ledger; the catalog's events make it right.
pub(crate) async fn begin(pool: &PgPool, map: &ShardMap, ledgers: i32) -> Result<(), sqlx::Error> {
    let all = (0..ledgers).filter_map(|ledger| Some((i16::try_from(ledger).ok()?, map.shard_of(ledger))));
    let (ledgers, shards): (Vec<i16>, Vec<i32>) = all.unzip();
    sqlx::query(
        "INSERT INTO shard_placement (ledger, shard_id) SELECT * FROM unnest($1::int2[], $2::int4[])
         ON CONFLICT (ledger) DO NOTHING",
    )
    .bind(ledgers)
    .bind(shards)
    .execute(pool)
    .await?;
    Ok(())
}

/// The map as applied here, if there was any.
pub(crate) async fn applied(pool: &PgPool) -> Result<Option<ShardMapChanged>, sqlx::Error> {
    let found: Option<Json<ShardMapChanged>> = sqlx::query_scalar("SELECT map FROM shard_map")
        .fetch_optional(pool)
        .await?;
    Ok(found.map(|Json(map)| map))
}
