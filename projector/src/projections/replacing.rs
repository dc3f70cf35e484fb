//! The catalog's rows that were made in another database, put in the place of those here: as a batch of the catalog would
//! write them, with its locks and with all that is computed from them.

use read_model::catalog_rows;
use read_model::digest::CatalogPart;
use sqlx::{PgConnection, PgPool};

use super::{RowError, role_cache, shard_placement};

/// For whoever holds the catalog's checkpoint: no batch of it comes between, and those of users wait. Gives how many
/// roles give something else now.
pub async fn replace_catalog(
    tx: &mut PgConnection,
    new: &PgPool,
    parts: &[CatalogPart],
) -> Result<usize, RowError> {
    role_cache::lock_out_users(tx).await?;
    let limit: String = sqlx::query_scalar("SELECT current_setting('statement_timeout')")
        .fetch_one(&mut *tx)
        .await?;
    let mut from = new.acquire().await?;
    let mut changed = Vec::new();
    for part in parts {
        match part {
            CatalogPart::Roles => {
                changed = catalog_rows::replace(&mut from, tx).await?;
                role_cache::refresh_roles(tx, &changed).await?;
            }
            CatalogPart::Audit => catalog_rows::replace_audit(&mut from, tx).await?,
            CatalogPart::Placement => {
                let applied = shard_placement::applied(new).await?;
                shard_placement::replace(tx, applied.as_ref()).await?;
            }
        }
        // What computes from them takes its time; the rest keeps to the caller's.
        sqlx::query("SELECT set_config('statement_timeout', $1, true)")
            .bind(&limit)
            .execute(&mut *tx)
            .await?;
    }
    Ok(changed.len())
}
