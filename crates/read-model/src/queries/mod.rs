//! The reads that services make. Each runs in a snapshot, and the checkpoints come from the same
//! one: a row and how current it is are never of two moments.
//!
//! To add a read: write a typed row and a function over [`Snapshot`] in the file of its table.

mod audit;
mod catalog;
mod passkeys;
mod roles;
mod service_keys;
mod sessions;
mod users;

use schemas::{Sealed, Timestamp};
use sqlx::{PgConnection, PgPool, Postgres, Row, Transaction};

pub use audit::{AuditCursor, AuditFilter, AuditOf, AuditRow, audit};
pub use catalog::{AttachedRow, PermissionRow, RoleRow, catalog_permissions, catalog_roles};
pub use passkeys::{PasskeyRow, passkeys_of_user};
pub use roles::{GrantRow, RoleCacheRow, grants_of_user, holders_of_roles, role_cache_of_user};
pub use service_keys::{ServiceKeyRow, service_keys_of};
pub use sessions::{SessionRow, session_by_id, sessions_of_user};
pub use users::{Name, UserRow, holder_of_name, rights_positions, user_by_id, user_by_name};

use crate::Error;
use crate::checkpoint::{self, Placed};

/// A read-only transaction that sees one moment of one server.
#[derive(Debug)]
pub struct Snapshot(Transaction<'static, Postgres>);

impl Snapshot {
    pub async fn begin(pool: &PgPool) -> Result<Self, Error> {
        Ok(Self(
            pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
                .await?,
        ))
    }

    /// How far this server had applied the log at that moment.
    pub async fn checkpoints(&mut self) -> Result<Vec<Placed>, Error> {
        checkpoint::all(self.connection()).await
    }

    pub(crate) fn connection(&mut self) -> &mut PgConnection {
        &mut self.0
    }
}

type PgRow = sqlx::postgres::PgRow;

fn sealed(row: &PgRow, column: &'static str) -> Result<Sealed, Error> {
    let text: String = row.try_get(column)?;
    unseal_text(&text, column)
}

fn optional_sealed(row: &PgRow, column: &'static str) -> Result<Option<Sealed>, Error> {
    let text: Option<String> = row.try_get(column)?;
    text.map(|text| unseal_text(&text, column)).transpose()
}

fn unseal_text(text: &str, column: &'static str) -> Result<Sealed, Error> {
    Sealed::from_base64(text).map_err(|_| Error::Corrupt {
        column,
        value: "no base64".to_owned(),
    })
}

fn time(row: &PgRow, column: &str) -> Result<Timestamp, Error> {
    Ok(row.try_get::<chrono::DateTime<chrono::Utc>, _>(column)?.into())
}

fn optional_time(row: &PgRow, column: &str) -> Result<Option<Timestamp>, Error> {
    Ok(row
        .try_get::<Option<chrono::DateTime<chrono::Utc>>, _>(column)?
        .map(Timestamp::from))
}
