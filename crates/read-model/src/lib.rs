//! The PostgreSQL side of Rolecall: schema, shard map, pools, checkpoints, digests and the reads
//! that services make. Rows depend on events and their positions alone, so that a rebuild from
//! the log gives the same digest as the live tables.
//!
//! To add a table: write the next file in `migrations/`, list it in `0020_access.sql` (who may do what) and in
//! `tests/roles.rs`, list it in `digest.rs` and in `ledger_rows.rs` or `catalog_rows.rs`, put its reads into a file of
//! `queries/`, its indexes into docs/indexes.md, and add its projection to the projector.

pub mod access_snapshots;
pub mod catalog_rows;
pub mod checkpoint;
pub mod digest;
mod error;
mod holdings;
pub mod ledger_rows;
mod options;
mod pools;
pub mod queries;
mod rights;
pub mod schema;
mod shard_map;
mod shards;
pub mod snapshots;
pub mod time_series;

pub use digest::{catalog_digest, digest};
pub use error::{Error, is_transient};
pub use holdings::Holdings;
pub use options::ShardOptions;
pub use pools::PoolSettings;
pub use rights::touches_rights;
pub use shard_map::{Duty, ShardId, ShardMap, heaviest};
pub use shards::{AUDITS_CATALOG, Shard, Shards};

/// The `session_token` column: a hash, so that the table gives no usable token away.
pub fn session_token(session: schemas::SessionId) -> String {
    schemas::Sha256Digest::of(session.to_string().as_bytes()).to_hex()
}
