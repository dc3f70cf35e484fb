//! Users and sessions of one shard in one table each, against the same tables cut by a hash of the user.
//!
//! A unique index of such a table must hold the user's id too, and whoever asks by anything else asks every part.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use local_stack::Stack;
use rand::RngExt;
use read_model::{PoolSettings, schema};
use sqlx::{AssertSqlSafe, PgPool};
use uuid::Uuid;

use crate::report::{Row, Section};
use crate::stats::{Samples, count, millis};
use crate::world::databases;

/// Parts; 1 is the table as it is.
const VARIANTS: [usize; 3] = [1, 8, 16];
const SESSIONS_A_USER: usize = 10;
/// Rows of a statement, as in a batch of the projector under load.
const BATCH: usize = 1_000;
const CHANGED: usize = 500;
const CHANGES: usize = 100;
const LOOK_UPS: usize = 3_000;

/// One of the two, with what the read model has of indexes. `{t}` stands for the table of a variant.
struct Table {
    name: &'static str,
    /// Names the user.
    user: &'static str,
    unique: &'static [&'static str],
    more: &'static str,
    rows: usize,
    source: &'static str,
    change: &'static str,
    change_by_user: &'static str,
    look_ups: &'static [(&'static str, &'static str)],
}

fn tables(users: usize) -> [Table; 2] {
    [
        Table {
            name: "users",
            user: "id",
            unique: &["id", "ledger, email_index", "ledger, username_index"],
            more: "",
            rows: users,
            source: "SELECT n, numbered(n) AS id, 0 AS ledger, 0 AS shard_id, repeat(md5('a' || n), 2) AS username,
                 decode(md5('name' || n), 'hex') AS username_index, repeat(md5('b' || n), 2) AS email,
                 decode(md5('mail' || n), 'hex') AS email_index, repeat(md5('p' || n), 5) AS password_hash, false AS is_service,
                 true AS is_active, now() AS created_at, now() AS updated_at, 1 AS version, n AS rights_position,
                 now() AS rights_changed_at FROM generate_series(1, $1) n",
            change: "UPDATE {t} t SET last_login_at = now(), version = version + 1
                 FROM unnest($1::uuid[], $2::uuid[]) AS c (id, user_id) WHERE t.id = c.id",
            change_by_user: "UPDATE {t} t SET last_login_at = now(), version = version + 1
                 FROM unnest($1::uuid[], $2::uuid[]) AS c (id, user_id) WHERE t.id = c.id",
            look_ups: &[("by id", "SELECT t.* FROM {t} t WHERE id = $1 AND $2::uuid IS NOT NULL")],
        },
        Table {
            name: "user_sessions",
            user: "user_id",
            unique: &["id", "session_token", "refresh_token_hash"],
            more: "CREATE INDEX ON {t} (user_id, created_at DESC)",
            rows: users * SESSIONS_A_USER,
            source: "SELECT n, numbered(n) AS id, md5('user' || n / 10)::uuid AS user_id, 0 AS ledger, 0 AS shard_id,
                 repeat(md5('t' || n), 2) AS session_token, repeat(md5('r' || n), 2) AS refresh_token_hash,
                 md5('d' || n)::uuid AS device_id, '{pwd}'::text[] AS methods,
                 '10.1.0.0/16'::inet AS ip_address, repeat(md5('i' || n), 2) AS ip_address_sealed,
                 repeat(md5('u' || n), 3) AS user_agent, now() AS created_at, now() AS expires_at,
                 now() AS last_activity_at, true AS is_active FROM generate_series(1, $1) n",
            change: "UPDATE {t} t SET refresh_token_hash = md5(t.refresh_token_hash), last_activity_at = now()
                 FROM unnest($1::uuid[], $2::uuid[]) AS c (id, user_id) WHERE t.id = c.id",
            change_by_user: "UPDATE {t} t SET refresh_token_hash = md5(t.refresh_token_hash), last_activity_at = now()
                 FROM unnest($1::uuid[], $2::uuid[]) AS c (id, user_id) WHERE t.id = c.id AND t.user_id = c.user_id",
            look_ups: &[
                (
                    "a user's newest",
                    "SELECT t.* FROM {t} t WHERE user_id = $2 AND $1::uuid IS NOT NULL
                     ORDER BY created_at DESC, id DESC LIMIT 10",
                ),
                ("by id", "SELECT t.* FROM {t} t WHERE id = $1 AND $2::uuid IS NOT NULL"),
            ],
        },
    ]
}

pub async fn run(stack: &Stack, users: usize) -> Result<Section> {
    let dsns = databases(stack, "bench_hash", 1).await?;
    let settings = PoolSettings {
        max_connections: 1,
        ..PoolSettings::projecting()
    };
    let pool = settings.pool(dsns.first().context("a database")?)?;
    schema::migrate(&pool).await?;
    // In order of time, as ids of version 7 are.
    execute(
        &pool,
        "SET statement_timeout = 0; CREATE FUNCTION numbered(n bigint) RETURNS uuid LANGUAGE sql IMMUTABLE AS
         $$ SELECT (lpad(to_hex(n), 12, '0') || substr(md5(n::text), 1, 20))::uuid $$",
    )
    .await?;
    let mut rows = Vec::new();
    for table in tables(users) {
        rows.extend(table.measure(&pool).await?);
    }
    pool.close().await;
    Ok(Section {
        name: "hash-partitions",
        rows,
    })
}

async fn execute(pool: &PgPool, sql: impl Into<String>) -> Result<()> {
    sqlx::raw_sql(AssertSqlSafe(sql.into())).execute(pool).await?;
    Ok(())
}

impl Table {
    fn variant(&self, parts: usize) -> String {
        format!("{}_{parts}", self.name)
    }

    fn of(&self, parts: usize, sql: &str) -> AssertSqlSafe<String> {
        AssertSqlSafe(sql.replace("{t}", &self.variant(parts)))
    }

    async fn create(&self, pool: &PgPool, parts: usize) -> Result<()> {
        let (name, variant) = (self.name, self.variant(parts));
        let mut sql = format!("CREATE TABLE {variant} (LIKE {name} INCLUDING DEFAULTS)");
        let with = "WITH (fillfactor = 85)";
        if parts == 1 {
            sql += &format!(" {with};");
        } else {
            sql += &format!(" PARTITION BY HASH ({});", self.user);
            for part in 0..parts {
                sql += &format!(
                    "CREATE TABLE {variant}_{part} PARTITION OF {variant}
                     FOR VALUES WITH (MODULUS {parts}, REMAINDER {part}) {with};"
                );
            }
        }
        for columns in self.unique {
            let user = if parts == 1 || *columns == self.user {
                String::new()
            } else {
                format!(", {}", self.user)
            };
            sql += &format!("CREATE UNIQUE INDEX ON {variant} ({columns}{user});");
        }
        sql += &self.more.replace("{t}", &variant);
        execute(pool, sql).await
    }

    async fn measure(&self, pool: &PgPool) -> Result<Vec<Row>> {
        let source = format!(
            "CREATE TABLE source AS {}",
            self.source.replace("$1", &self.rows.to_string())
        );
        execute(
            pool,
            format!("DROP TABLE IF EXISTS source; {source}; ALTER TABLE source ADD PRIMARY KEY (n)"),
        )
        .await?;
        for parts in VARIANTS {
            self.create(pool, parts).await?;
        }
        let rows = count(self.rows as f64);
        let mut all = self.compared(
            &format!("{BATCH} inserted, {rows} in the end"),
            self.insert(pool).await?,
        );
        execute(pool, "VACUUM (ANALYZE)").await?;
        let changed = self.change(pool, self.change).await?;
        all.extend(self.compared(&format!("{CHANGED} changed by id"), changed));
        if self.change_by_user != self.change {
            let changed = self.change(pool, self.change_by_user).await?;
            all.extend(self.compared(&format!("{CHANGED} changed by id and user"), changed));
        }
        for (what, sql) in self.look_ups {
            all.extend(self.compared(&format!("one look-up, {what}"), self.look_up(pool, sql).await?));
        }
        Ok(all)
    }

    /// A statement over each batch, for the variants in turn, so that what else the machine does meets them alike.
    async fn insert(&self, pool: &PgPool) -> Result<[Samples; 3]> {
        let columns: String = sqlx::query_scalar(
            "SELECT string_agg(attname, ', ') FROM pg_attribute
             WHERE attrelid = 'source'::regclass AND attnum > 0 AND attname <> 'n'",
        )
        .fetch_one(pool)
        .await?;
        let sql =
            format!("INSERT INTO {{t}} ({columns}) SELECT {columns} FROM source WHERE n > $1 AND n <= $2");
        let mut samples: [Samples; 3] = Default::default();
        for first in (0..self.rows).step_by(BATCH) {
            for (parts, samples) in VARIANTS.into_iter().zip(&mut samples) {
                let (first, last) = (first as i64, (first + BATCH) as i64);
                let inserting = sqlx::query(self.of(parts, &sql)).bind(first).bind(last);
                samples.push(timed(async || inserting.execute(pool).await.map(drop)).await?);
            }
        }
        Ok(samples)
    }

    async fn change(&self, pool: &PgPool, sql: &str) -> Result<[Samples; 3]> {
        let mut samples: [Samples; 3] = Default::default();
        for _ in 0..CHANGES {
            let (ids, users) = self.some(pool, CHANGED).await?;
            for (parts, samples) in VARIANTS.into_iter().zip(&mut samples) {
                let changing = sqlx::query(self.of(parts, sql)).bind(&ids).bind(&users);
                samples.push(timed(async || changing.execute(pool).await.map(drop)).await?);
            }
        }
        Ok(samples)
    }

    async fn look_up(&self, pool: &PgPool, sql: &str) -> Result<[Samples; 3]> {
        let mut samples: [Samples; 3] = Default::default();
        let (ids, users) = self.some(pool, LOOK_UPS).await?;
        for (id, user) in ids.into_iter().zip(users) {
            for (parts, samples) in VARIANTS.into_iter().zip(&mut samples) {
                let looking = sqlx::query(self.of(parts, sql)).bind(id).bind(user);
                samples.push(timed(async || looking.fetch_all(pool).await.map(drop)).await?);
            }
        }
        Ok(samples)
    }

    /// Ids of random rows, and their users.
    async fn some(&self, pool: &PgPool, wanted: usize) -> Result<(Vec<Uuid>, Vec<Uuid>)> {
        let numbers: Vec<i64> = (0..wanted)
            .map(|_| rand::rng().random_range(1..=self.rows as i64))
            .collect();
        let sql = format!("SELECT DISTINCT id, {} FROM source WHERE n = ANY($1)", self.user);
        let rows: Vec<(Uuid, Uuid)> = sqlx::query_as(AssertSqlSafe(sql))
            .bind(numbers)
            .fetch_all(pool)
            .await?;
        Ok(rows.into_iter().unzip())
    }

    fn compared(&self, what: &str, [whole, rest @ ..]: [Samples; 3]) -> Vec<Row> {
        let row = |(parts, cut): (usize, Samples)| {
            let text =
                |samples: &Samples| format!("p50 {}, p99 {}", millis(samples.p50()), millis(samples.p99()));
            Row::new(format!("{}: {what}", self.name), text(&whole))
                .against(format!("{parts} partitions: {}", text(&cut)))
                .ratio(whole.p50().as_secs_f64() / cut.p50().as_secs_f64())
        };
        VARIANTS.into_iter().skip(1).zip(rest).map(row).collect()
    }
}

async fn timed(run: impl AsyncFnOnce() -> Result<(), sqlx::Error>) -> Result<Duration> {
    let began = Instant::now();
    run().await?;
    Ok(began.elapsed())
}
