//! Digests over the rows of a ledger, and of a shard's catalog copy: equal for live tables and a
//! rebuild at the same positions, whatever the batches and the order between partitions were. Audit
//! rows count from the first month that the shard still keeps; a rebuild keeps the same months.

use std::collections::BTreeMap;
use std::fmt;

use chrono::NaiveDate;
use futures::TryStreamExt;
use schemas::Sha256Digest;
use sha2::{Digest as _, Sha256};
use sqlx::{PgConnection, PgPool};

use crate::Error;
use crate::checkpoint::{self, Placed};
use crate::queries::Snapshot;
use crate::time_series;

/// Digests and the positions at which they hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DigestsAt {
    pub catalog: Sha256Digest,
    /// Of the catalog's audit rows, which lie on one shard only; the others have none.
    pub catalog_audit: Sha256Digest,
    /// Of the shard map as applied, and the places of ledgers by it.
    pub placement: Sha256Digest,
    pub ledgers: BTreeMap<i32, Sha256Digest>,
    /// The first month of audit rows that is still kept; `None` keeps all.
    pub audit_from: Option<NaiveDate>,
    pub checkpoints: Vec<Placed>,
}

impl DigestsAt {
    pub fn of_catalog(&self) -> CatalogDigests {
        CatalogDigests {
            roles: self.catalog,
            audit: self.catalog_audit,
            placement: self.placement,
        }
    }
}

/// A part of what a shard has by the catalog's events; each can be replaced by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CatalogPart {
    /// The copy of roles and permissions.
    Roles,
    /// What the audit log tells of the catalog.
    Audit,
    /// The shard map, and the places of ledgers by it.
    Placement,
}

impl CatalogPart {
    pub const ALL: [Self; 3] = [Self::Roles, Self::Audit, Self::Placement];
}

impl fmt::Display for CatalogPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Roles => "roles and permissions",
            Self::Audit => "audit rows of the catalog",
            Self::Placement => "places of ledgers",
        })
    }
}

/// Of each part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CatalogDigests {
    pub roles: Sha256Digest,
    pub audit: Sha256Digest,
    pub placement: Sha256Digest,
}

impl CatalogDigests {
    pub fn of(&self, part: CatalogPart) -> Sha256Digest {
        match part {
            CatalogPart::Roles => self.roles,
            CatalogPart::Audit => self.audit,
            CatalogPart::Placement => self.placement,
        }
    }

    pub fn differing(&self, other: &Self) -> Vec<CatalogPart> {
        let mut parts = CatalogPart::ALL.to_vec();
        parts.retain(|part| self.of(*part) != other.of(*part));
        parts
    }
}

/// `shard_id` columns are left out: they tell where a row lies, not what happened.
const LEDGER_TABLES: [(&str, &str); 11] = [
    (
        "users",
        "SELECT ROW(id, username, username_index, email, email_index, password_hash, phone_number, is_service,
            email_verified, phone_verified, is_active, failed_login_attempts, locked_until, created_at, updated_at, last_login_at,
            last_login_ip, last_login_ip_sealed, deleted_at, totp_enabled, passkeys, version, rights_position,
            rights_changed_at)::text
         FROM users WHERE ledger = $1 ORDER BY id",
    ),
    (
        "user_sessions",
        "SELECT ROW(id, user_id, session_token, refresh_token_hash, ip_address, ip_address_sealed, user_agent,
            device_fingerprint, country_code, city, device_id, methods, created_at, expires_at, idle_timeout,
            last_activity_at, is_active, revoked_at, revoked_reason)::text
         FROM user_sessions WHERE ledger = $1 ORDER BY id",
    ),
    (
        "user_passkeys",
        "SELECT ROW(id, user_id, name, is_backed_up, created_at, last_used_at, removed_at)::text
         FROM user_passkeys WHERE ledger = $1 ORDER BY id",
    ),
    (
        "service_keys",
        "SELECT ROW(id, user_id, role_ids, issued_at, issued_by, expires_at, revoked_at)::text
         FROM service_keys WHERE ledger = $1 ORDER BY id",
    ),
    (
        "user_roles",
        "SELECT ROW(id, user_id, role_id, granted_at, expires_at, granted_by, is_active, scope_resource, scope_id,
            scope_is_prefix)::text
         FROM user_roles WHERE ledger = $1 ORDER BY id",
    ),
    (
        "password_history",
        "SELECT ROW(id, user_id, password_hash, created_at, version)::text
         FROM password_history WHERE ledger = $1 ORDER BY id",
    ),
    (
        "email_shard_lookup",
        "SELECT ROW(email, user_id, claim_id, created_at, updated_at)::text
         FROM email_shard_lookup WHERE ledger = $1 ORDER BY email COLLATE \"C\"",
    ),
    (
        "username_shard_lookup",
        "SELECT ROW(username, user_id, claim_id, created_at, updated_at)::text
         FROM username_shard_lookup WHERE ledger = $1 ORDER BY username COLLATE \"C\"",
    ),
    (
        "session_shard_lookup",
        "SELECT ROW(session_token, user_id, expires_at, created_at)::text
         FROM session_shard_lookup WHERE ledger = $1 ORDER BY session_token COLLATE \"C\"",
    ),
    AUDIT,
    (
        "user_role_cache",
        "SELECT ROW(user_id, username, email, user_active, role_names, permission_names, resource_actions, role_count,
            permission_count, cache_updated_at)::text
         FROM user_role_cache WHERE ledger = $1 ORDER BY user_id",
    ),
];

const AUDIT: (&str, &str) = (
    "security_audit_log",
    "SELECT ROW(a.*)::text FROM security_audit_log a WHERE ledger = $1 ORDER BY id",
);

/// The same on every shard. The audit rows of catalog events are not, and have a digest of their own.
const CATALOG_TABLES: [(&str, &str); 3] = [
    (
        "roles",
        "SELECT ROW(r.*)::text FROM roles r WHERE $1 = -1 ORDER BY id",
    ),
    (
        "permissions",
        "SELECT ROW(p.*)::text FROM permissions p WHERE $1 = -1 ORDER BY id",
    ),
    (
        "role_permissions",
        "SELECT ROW(rp.*)::text FROM role_permissions rp WHERE $1 = -1 ORDER BY id",
    ),
];

/// Before the first map is applied, the places are those that a projector began with.
const PLACEMENT_TABLES: [(&str, &str); 2] = [
    (
        "shard_map",
        "SELECT ROW(m.*)::text FROM shard_map m WHERE $1 = -1 ORDER BY singleton",
    ),
    (
        "shard_placement",
        "SELECT ROW(p.*)::text FROM shard_placement p WHERE $1 = -1 AND EXISTS (SELECT FROM shard_map) ORDER BY ledger",
    ),
];

/// `security_audit_log.ledger` of catalog events.
pub const CATALOG_LEDGER: i16 = -1;

/// Digest of all rows of a ledger on its shard.
pub async fn digest(pool: &PgPool, ledger: i32) -> Result<Sha256Digest, Error> {
    of_ledger(Snapshot::begin(pool).await?.connection(), ledger).await
}

/// As [`digest`], in the caller's snapshot.
pub async fn digest_in(snapshot: &mut Snapshot, ledger: i32) -> Result<Sha256Digest, Error> {
    of_ledger(snapshot.connection(), ledger).await
}

/// As [`digest`], in the caller's transaction, which sees what it wrote.
pub async fn digest_within(tx: &mut PgConnection, ledger: i32) -> Result<Sha256Digest, Error> {
    of_ledger(tx, ledger).await
}

/// Digest of a shard's copy of roles and permissions.
pub async fn catalog_digest(pool: &PgPool) -> Result<Sha256Digest, Error> {
    of_tables(
        Snapshot::begin(pool).await?.connection(),
        &CATALOG_TABLES,
        CATALOG_LEDGER,
    )
    .await
}

/// As [`catalog_digest`], of every part.
pub async fn catalog_digests(pool: &PgPool) -> Result<CatalogDigests, Error> {
    catalog_digests_within(Snapshot::begin(pool).await?.connection()).await
}

/// As [`catalog_digests`], in the caller's transaction, which sees what it wrote.
pub async fn catalog_digests_within(tx: &mut PgConnection) -> Result<CatalogDigests, Error> {
    Ok(CatalogDigests {
        roles: of_tables(tx, &CATALOG_TABLES, CATALOG_LEDGER).await?,
        audit: of_tables(tx, &[AUDIT], CATALOG_LEDGER).await?,
        placement: of_tables(tx, &PLACEMENT_TABLES, CATALOG_LEDGER).await?,
    })
}

/// Digests of a shard's catalog copy and ledgers, in one snapshot with its checkpoints.
pub async fn digests(pool: &PgPool, ledgers: &[i32]) -> Result<DigestsAt, Error> {
    let mut snapshot = Snapshot::begin(pool).await?;
    let connection = snapshot.connection();
    // Takes no snapshot yet: no month is let go after the look.
    sqlx::query("LOCK TABLE security_audit_log IN ACCESS SHARE MODE")
        .execute(&mut *connection)
        .await?;
    let audit_from = time_series::kept_from(connection, time_series::AUDIT).await?;
    let of_catalog = catalog_digests_within(connection).await?;
    let mut found = BTreeMap::new();
    for &ledger in ledgers {
        found.insert(ledger, of_ledger(connection, ledger).await?);
    }
    Ok(DigestsAt {
        catalog: of_catalog.roles,
        catalog_audit: of_catalog.audit,
        placement: of_catalog.placement,
        ledgers: found,
        audit_from,
        checkpoints: checkpoint::all(connection).await?,
    })
}

async fn of_ledger(connection: &mut PgConnection, ledger: i32) -> Result<Sha256Digest, Error> {
    let ledger = i16::try_from(ledger).map_err(|_| Error::Corrupt {
        column: "ledger",
        value: ledger.to_string(),
    })?;
    of_tables(connection, &LEDGER_TABLES, ledger).await
}

async fn of_tables(
    connection: &mut PgConnection,
    tables: &[(&str, &'static str)],
    ledger: i16,
) -> Result<Sha256Digest, Error> {
    let mut hasher = Sha256::new();
    for (name, sql) in tables {
        hasher.update(name.as_bytes());
        hasher.update(table(connection, sql, ledger).await?.0);
    }
    Ok(Sha256Digest(hasher.finalize().into()))
}

async fn table(connection: &mut PgConnection, sql: &'static str, ledger: i16) -> Result<Sha256Digest, Error> {
    let mut hasher = Sha256::new();
    let mut rows = sqlx::query_scalar::<_, String>(sql)
        .bind(ledger)
        .fetch(connection);
    while let Some(row) = rows.try_next().await? {
        // Length first: two rows never read as one.
        hasher.update((row.len() as u64).to_be_bytes());
        hasher.update(row.as_bytes());
    }
    Ok(Sha256Digest(hasher.finalize().into()))
}
