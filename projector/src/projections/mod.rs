//! From events to rows. A batch is folded in memory to the last state of each row, then written by
//! a few statements over whole arrays; so batch boundaries cannot show in the tables.
//!
//! To add a projection: write a file with a `fold` over its events, matching every one of them,
//! and a `write`; give it a field in [`Batch`] and a place in its order of writes.

mod audit;
mod audit_copy;
mod catalog;
mod erasures;
mod lookups;
mod passkeys;
mod password_history;
mod replacing;
mod role_cache;
mod role_permissions;
mod service_keys;
mod sessions;
pub(crate) mod shard_placement;
mod user_roles;
mod users;

use chrono::{DateTime, NaiveDate, Utc};
use read_model::{AUDITS_CATALOG, ShardId};
use schemas::{Event, Meta, Stream, Timestamp};
use sqlx::PgConnection;
use sqlx::types::ipnetwork::IpNetwork;
use uuid::Uuid;

use crate::decode::Decoded;

pub use replacing::replace_catalog;

/// Where the rows of a partition lie.
#[derive(Clone, Debug)]
pub struct Place {
    pub stream: Stream,
    /// The partition; of the catalog, [`read_model::digest::CATALOG_LEDGER`].
    pub ledger: i16,
    pub shard_id: ShardId,
    pub ledgers: i32,
}

impl Place {
    fn audits_catalog(&self) -> bool {
        self.shard_id == AUDITS_CATALOG
    }
}

/// An event's circumstances.
pub(crate) struct At<'a> {
    pub meta: &'a Meta,
    pub offset: i64,
    pub place: &'a Place,
}

impl At<'_> {
    fn time(&self) -> DateTime<Utc> {
        self.meta.occurred_at.to_utc()
    }

    /// The user to whom an event of the users stream happened.
    fn user(&self) -> Result<Uuid, RowError> {
        Uuid::try_parse(&self.meta.aggregate_id).map_err(|_| RowError::Value("aggregate_id is no user id"))
    }

    fn actor_id(&self) -> Option<Uuid> {
        match self.meta.actor {
            schemas::Actor::User(id) | schemas::Actor::Service(id) => Some(id.as_uuid()),
            schemas::Actor::System | schemas::Actor::Anonymous => None,
        }
    }
}

/// Rows cannot be made or written.
#[derive(Debug, thiserror::Error)]
pub enum RowError {
    #[error("{0}")]
    Value(&'static str),
    #[error("{changed} of {expected} rows of {table} exist to be changed")]
    Missing {
        table: &'static str,
        expected: usize,
        changed: u64,
    },
    #[error("writing rows")]
    Sql(#[from] sqlx::Error),
    #[error(transparent)]
    ReadModel(#[from] read_model::Error),
}

/// The rows of one batch of one partition.
#[derive(Default)]
pub(crate) struct Batch {
    users: users::Users,
    sessions: sessions::Sessions,
    service_keys: service_keys::ServiceKeys,
    user_roles: user_roles::UserRoles,
    password_history: password_history::PasswordHistory,
    passkeys: passkeys::Passkeys,
    lookups: lookups::Lookups,
    catalog: catalog::Catalog,
    role_permissions: role_permissions::RolePermissions,
    shard_placement: shard_placement::ShardPlacement,
    audit: audit::Audit,
    role_cache: role_cache::RoleCache,
    erasures: erasures::Erasures,
}

impl Batch {
    pub fn fold<'a>(place: &Place, events: impl IntoIterator<Item = &'a Decoded>) -> Result<Self, RowError> {
        let mut batch = Self::default();
        for event in events {
            let at = At {
                meta: &event.stored.meta,
                offset: event.offset,
                place,
            };
            match &event.stored.data {
                Event::User(user_event) => {
                    batch.users.fold(&at, user_event)?;
                    batch.sessions.fold(&at, user_event)?;
                    batch.service_keys.fold(&at, user_event)?;
                    batch.user_roles.fold(&at, user_event)?;
                    batch.password_history.fold(&at, user_event)?;
                    batch.passkeys.fold(&at, user_event)?;
                    batch.lookups.fold_user(&at, user_event)?;
                    batch.audit.fold_user(&at, user_event)?;
                    batch.role_cache.fold(&at, user_event)?;
                    batch.erasures.fold(&at, user_event)?;
                }
                Event::Identifier(identifier_event) => batch.lookups.fold_identifier(&at, identifier_event),
                Event::Catalog(catalog_event) => {
                    batch.catalog.fold(&at, catalog_event);
                    batch.role_permissions.fold(&at, catalog_event);
                    batch.shard_placement.fold(&at, catalog_event);
                    batch.audit.fold_catalog(&at, catalog_event);
                }
                // The log's own events are for its readers and writers; no row tells of them.
                Event::Log(_) => {}
            }
        }
        Ok(batch)
    }

    /// Days that `security_audit_log` must have partitions for.
    pub fn audit_days(&self) -> Vec<NaiveDate> {
        self.audit.days()
    }

    /// Writes everything: what is referred to goes before what refers to it.
    pub async fn write(&self, tx: &mut PgConnection, place: &Place) -> Result<(), RowError> {
        if place.stream == Stream::Catalog {
            role_cache::lock_out_users(tx).await?;
            self.catalog.write(tx).await?;
            self.role_permissions.write(tx).await?;
            let attached = self.role_permissions.touched_roles();
            let changed = self.catalog.touch_roles(tx, attached).await?;
            role_cache::refresh_roles(tx, &changed).await?;
            self.shard_placement.write(tx).await?;
        } else {
            self.role_cache.lock_out_catalog(tx).await?;
            self.users.write(tx, place).await?;
            self.sessions.write(tx, place).await?;
            self.service_keys.write(tx, place).await?;
            self.user_roles.write(tx, place).await?;
            self.password_history.write(tx, place).await?;
            self.passkeys.write(tx, place).await?;
            self.lookups.write(tx, place).await?;
            self.role_cache.write(tx).await?;
        }
        self.audit.write(&mut *tx).await?;
        // At last: what the batch has just written about the person goes too.
        self.erasures.write(tx).await
    }
}

fn network(text: Option<&String>) -> Result<Option<IpNetwork>, RowError> {
    text.map(|text| {
        text.parse()
            .map_err(|_| RowError::Value("ip_network is no network"))
    })
    .transpose()
}

fn text(sealed: Option<&schemas::Sealed>) -> Option<String> {
    sealed.map(schemas::Sealed::to_base64)
}

fn utc(time: Timestamp) -> DateTime<Utc> {
    time.to_utc()
}

/// Each of these rows must have been there: its first event stands before in the same partition.
fn all_changed(table: &'static str, expected: usize, changed: u64) -> Result<(), RowError> {
    if changed == expected as u64 {
        return Ok(());
    }
    Err(RowError::Missing {
        table,
        expected,
        changed,
    })
}
