//! The rows of one ledger on one shard, all of them: removing them, and putting others in their place.

use futures::StreamExt as _;
use schemas::Stream;
use sqlx::{AssertSqlSafe, PgConnection};

use crate::{Error, time_series};

/// What the users of a ledger have; first what others refer to. Each has a column `ledger`.
const OF_USERS: [&str; 9] = [
    "users",
    "user_sessions",
    "user_roles",
    "password_history",
    "user_passkeys",
    "service_keys",
    "session_shard_lookup",
    "security_audit_log",
    "user_role_cache",
];
const OF_IDENTIFIERS: [&str; 2] = ["email_shard_lookup", "username_shard_lookup"];

/// The tables that the projection of a partition writes rows of its ledger into. The catalog's are every shard's.
pub const fn tables(stream: Stream) -> &'static [&'static str] {
    match stream {
        Stream::Users => &OF_USERS,
        Stream::Identifiers => &OF_IDENTIFIERS,
        Stream::Catalog => &[],
    }
}

/// Removes what the projection of a partition wrote.
pub async fn delete(tx: &mut PgConnection, stream: Stream, ledger: i32) -> Result<(), Error> {
    // As long as it takes: it is bounded by the ledger, and cut short it would begin anew for ever.
    sqlx::query("SET LOCAL statement_timeout = 0")
        .execute(&mut *tx)
        .await?;
    for table in tables(stream).iter().rev() {
        let delete = format!("DELETE FROM {table} WHERE ledger = $1::integer::smallint");
        sqlx::query(AssertSqlSafe(delete))
            .bind(ledger)
            .execute(&mut *tx)
            .await?;
    }
    Ok(())
}

/// As [`delete`], where the ledger will be kept up no more: nor will the audit months that were let go, of which rows of
/// the ledger may be left.
pub async fn leave(tx: &mut PgConnection, stream: Stream, ledger: i32) -> Result<(), Error> {
    delete(tx, stream, ledger).await?;
    match stream {
        Stream::Users => Ok(time_series::erase_detached_ledger(tx, ledger).await?),
        Stream::Identifiers | Stream::Catalog => Ok(()),
    }
}

/// Adds what the projection of a partition wrote into another database. Gives how many bytes that were.
pub async fn copy(
    from: &mut PgConnection,
    to: &mut PgConnection,
    stream: Stream,
    ledger: i32,
) -> Result<usize, Error> {
    let (mut bytes, which) = (0, format!("ledger = {ledger}"));
    for &table in tables(stream) {
        bytes += copy_rows(from, to, (table, table), &which).await?;
    }
    Ok(bytes)
}

/// Adds rows of another database's table to one that has the same columns.
pub(crate) async fn copy_rows(
    from: &mut PgConnection,
    to: &mut PgConnection,
    (table, into): (&str, &str),
    which: &str,
) -> Result<usize, Error> {
    let columns = columns(from, table).await?;
    let out = format!("COPY (SELECT {columns} FROM {table} WHERE {which}) TO STDOUT (FORMAT binary)");
    let mut rows = from.copy_out_raw(&out).await?;
    let into = format!("COPY {into} ({columns}) FROM STDIN (FORMAT binary)");
    let mut sink = to.copy_in_raw(&into).await?;
    let mut bytes = 0;
    while let Some(chunk) = rows.next().await {
        let chunk = chunk?;
        bytes += chunk.len();
        sink.send(chunk).await?;
    }
    sink.finish().await?;
    Ok(bytes)
}

/// Those of a table that are written, by commas.
pub(crate) async fn columns(connection: &mut PgConnection, table: &str) -> Result<String, Error> {
    Ok(sqlx::query_scalar(
        "SELECT string_agg(quote_ident(column_name), ', ' ORDER BY ordinal_position)
         FROM information_schema.columns
         WHERE table_schema = current_schema() AND table_name = $1 AND is_generated = 'NEVER'",
    )
    .bind(table)
    .fetch_one(connection)
    .await?)
}
