//! Each database role can do what its service does, and nothing else.

#![expect(clippy::unwrap_used, reason = "helpers of tests may fail like tests")]

#[path = "roles/catalog.rs"]
mod catalog;
#[path = "roles/states.rs"]
mod states;

use std::collections::BTreeSet;

use local_stack::Stack;
use read_model::{Error, PoolSettings, schema};
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};

const ROLES: [&str; 4] = ["projector", "command", "query", "reader"];
const REFUSED: &str = "42501";

/// What each role, in that order, may do: select, insert, update, delete, truncate. A new table belongs here and in
/// the migration that gives these rights.
const TABLES: [(&str, [&str; 4]); 24] = [
    ("_sqlx_migrations", ["S", "S", "S", ""]),
    ("access_snapshots", ["", "SID", "S", ""]),
    ("aggregate_snapshots", ["", "SIUD", "", ""]),
    ("email_shard_lookup", ["SIUD", "", "S", "S"]),
    ("password_history", ["SIUD", "", "", "S"]),
    ("permissions", ["SIU", "", "S", "S"]),
    ("projection_checkpoint", ["SIU", "", "S", "S"]),
    ("projection_failure", ["SIUD", "", "", ""]),
    ("projection_identity", ["SI", "SI", "S", ""]),
    ("role_permissions", ["SIUD", "", "S", "S"]),
    ("roles", ["SIU", "", "S", "S"]),
    ("security_audit_log", ["SIUD", "", "S", "S"]),
    ("service_keys", ["SIUD", "", "S", "S"]),
    ("session_shard_lookup", ["SID", "", "", "S"]),
    ("shard_map", ["SIU", "", "", ""]),
    ("shard_placement", ["SIU", "", "", ""]),
    ("snapshot_positions", ["", "SIU", "", ""]),
    ("time_series", ["S", "", "", ""]),
    ("user_passkeys", ["SIUD", "", "S", "S"]),
    ("user_role_cache", ["SIUD", "", "S", "S"]),
    ("user_roles", ["SIUD", "", "S", "S"]),
    ("user_sessions", ["SIUD", "", "S", "S"]),
    ("username_shard_lookup", ["SIUD", "", "S", "S"]),
    ("users", ["SIUD", "", "S", "S"]),
];

const FUNCTIONS: [(&str, [bool; 4]); 9] = [
    ("detached_months", [true, false, false, false]),
    ("ensure_month", [true, false, false, false]),
    ("erase_detached_audit", [true, false, false, false]),
    ("month_table", [false, false, false, false]),
    ("reading_user", [false, false, false, true]),
    ("refresh_user_role_cache", [true, false, false, false]),
    ("refresh_user_role_cache_of_roles", [true, false, false, false]),
    ("retained_from", [true, false, false, false]),
    ("retire_months", [true, false, false, false]),
];

/// Tables with rows of people, which row-level security guards, and the column that names the person.
const OF_PEOPLE: [(&str, &str); 11] = [
    ("email_shard_lookup", "user_id"),
    ("password_history", "user_id"),
    ("security_audit_log", "user_id"),
    ("service_keys", "user_id"),
    ("session_shard_lookup", "user_id"),
    ("user_passkeys", "user_id"),
    ("user_role_cache", "user_id"),
    ("user_roles", "user_id"),
    ("user_sessions", "user_id"),
    ("username_shard_lookup", "user_id"),
    ("users", "id"),
];

/// Tables with what owners of ledgers and nodes save of people, which it guards as well.
const STATES: [&str; 2] = ["access_snapshots", "aggregate_snapshots"];

/// Of the tables of people, what the query service may not read.
const SECRET: [&str; 3] = [
    "user_sessions.refresh_token_hash",
    "user_sessions.session_token",
    "users.password_hash",
];

/// All text of people that a reader may read: none of it sealed, and no hash.
const PLAIN: [&str; 12] = [
    "security_audit_log.actor",
    "security_audit_log.event_description",
    "security_audit_log.event_status",
    "security_audit_log.event_type",
    "user_role_cache.permission_names",
    "user_role_cache.resource_actions",
    "user_role_cache.role_names",
    "user_roles.scope_id",
    "user_roles.scope_resource",
    "user_sessions.country_code",
    "user_sessions.methods",
    "user_sessions.revoked_reason",
];

struct Shard {
    stack: Stack,
    /// Of the superuser.
    pool: PgPool,
}

impl Shard {
    async fn start() -> Self {
        let builder = Stack::builder()
            .kafka_nodes(0)
            .registry(false)
            .redis(false)
            .shards(1);
        let stack = builder.start().await.unwrap();
        let pool = PoolSettings::owning().pool(&stack.shard_dsns()[0]).unwrap();
        Self { stack, pool }
    }

    /// With its tables, made by their owner.
    async fn migrated() -> Self {
        let shard = Self::start().await;
        schema::migrate(
            &PoolSettings::owning()
                .pool(&shard.stack.service_dsns()[0])
                .unwrap(),
        )
        .await
        .unwrap();
        shard
    }

    async fn connect(&self, role: &str) -> PgConnection {
        let dsn = self.stack.shard_dsns_of(&format!("rolecall_{role}")).remove(0);
        PgConnection::connect(&dsn).await.unwrap()
    }

    async fn end(self) {
        self.pool.close().await;
        self.stack.shutdown().await.unwrap();
    }
}

/// Whether the role may, whatever else the statement fails for.
async fn may(connection: &mut PgConnection, statement: String) -> bool {
    let mut transaction = connection.begin().await.unwrap();
    let done = sqlx::raw_sql(AssertSqlSafe(statement))
        .execute(&mut *transaction)
        .await;
    transaction.rollback().await.unwrap();
    let code = done
        .err()
        .and_then(|error| Some(error.as_database_error()?.code()?.into_owned()));
    code.as_deref() != Some(REFUSED)
}

async fn verbs(connection: &mut PgConnection, table: &str, column: &str) -> String {
    let mut allowed = String::new();
    for (verb, statement) in [
        ("S", format!("SELECT FROM {table} LIMIT 0")),
        ("I", format!("INSERT INTO {table} DEFAULT VALUES")),
        ("U", format!("UPDATE {table} SET {column} = DEFAULT WHERE false")),
        ("D", format!("DELETE FROM {table} WHERE false")),
        ("T", format!("TRUNCATE {table}")),
    ] {
        if may(connection, statement).await {
            allowed.push_str(verb);
        }
    }
    allowed
}

#[tokio::test]
async fn every_verb_of_every_role_on_every_table() {
    let shard = Shard::migrated().await;
    sqlx::raw_sql("SELECT ensure_month('security_audit_log', '2026-03-01')")
        .execute(&shard.pool)
        .await
        .unwrap();
    let tables: Vec<(String, String, bool)> = sqlx::query_as(
        "SELECT relname::text, attname::text, relispartition FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid
         WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND attnum = 1 ORDER BY relname",
    )
    .fetch_all(&shard.pool)
    .await
    .unwrap();
    let mut connections = vec![];
    for role in ROLES {
        connections.push(shard.connect(role).await);
    }
    let mut found = vec![];
    for (table, column, is_partition) in &tables {
        let mut of_roles = vec![];
        for connection in &mut connections {
            of_roles.push(verbs(connection, table, column).await);
        }
        if *is_partition {
            assert!(
                of_roles.iter().all(String::is_empty),
                "only through its table: {table} {of_roles:?}"
            );
        } else {
            found.push((table.as_str(), of_roles));
        }
    }
    let expected = TABLES.map(|(table, of_roles)| (table, of_roles.map(str::to_owned).to_vec()));
    assert_eq!(found, expected);

    for (mut connection, role) in connections.into_iter().zip(ROLES) {
        for statement in [
            "CREATE TABLE own (id int)",
            "CREATE TEMP TABLE own (id int)",
            "DROP TABLE users",
        ] {
            let allowed = may(&mut connection, statement.to_owned()).await;
            assert_eq!(allowed, statement.contains("TEMP"), "{role}: {statement}");
        }
    }
    shard.end().await;
}

#[tokio::test]
async fn functions_are_for_those_who_call_them() {
    let shard = Shard::migrated().await;
    let mut found: Vec<(String, Vec<bool>, bool)> = sqlx::query_as(
        "SELECT proname::text,
                (SELECT array_agg(has_function_privilege('rolecall_' || role, pg_proc.oid, 'EXECUTE') ORDER BY n)
                 FROM unnest($1::text[]) WITH ORDINALITY AS r (role, n)),
                EXISTS (SELECT FROM aclexplode(coalesce(proacl, acldefault('f', proowner))) WHERE grantee = 0)
         FROM pg_proc WHERE pronamespace = 'public'::regnamespace ORDER BY proname",
    )
    .bind(ROLES.map(str::to_owned).to_vec())
    .fetch_all(&shard.pool)
    .await
    .unwrap();
    assert!(
        found.iter().all(|(_, _, by_everybody)| !by_everybody),
        "{found:?}"
    );
    let found: Vec<_> = found
        .drain(..)
        .map(|(name, of_roles, _)| (name, of_roles))
        .collect();
    let expected: Vec<_> = FUNCTIONS
        .iter()
        .map(|(name, of)| ((*name).to_owned(), of.to_vec()))
        .collect();
    assert_eq!(found, expected);
    shard.end().await;
}

/// `table.column` of people's tables that the role may read.
async fn columns(pool: &PgPool, role: &str, is_text: bool) -> BTreeSet<String> {
    let found: Vec<String> = sqlx::query_scalar(
        "SELECT attrelid::regclass || '.' || attname FROM pg_attribute
         WHERE attrelid = ANY ($1::text[]::regclass[]) AND attnum > 0 AND NOT attisdropped
           AND has_column_privilege($2, attrelid, attnum, 'SELECT')
           AND (NOT $3 OR atttypid::regtype::text ~ '^(text|character|bytea|json)')",
    )
    .bind(OF_PEOPLE.map(|(table, _)| table.to_owned()).to_vec())
    .bind(format!("rolecall_{role}"))
    .bind(is_text)
    .fetch_all(pool)
    .await
    .unwrap();
    found.into_iter().collect()
}

#[tokio::test]
async fn secrets_are_the_projectors_and_sealed_columns_are_not_for_readers() {
    let shard = Shard::migrated().await;
    let all = columns(&shard.pool, "projector", false).await;
    let query = columns(&shard.pool, "query", false).await;
    let is_unread = |column: &&String| {
        column.starts_with("session_shard_lookup.") || column.starts_with("password_history.")
    };
    let kept_back: Vec<_> = all
        .difference(&query)
        .filter(|column| !is_unread(column))
        .collect();
    assert_eq!(kept_back, SECRET);
    assert_eq!(query.iter().filter(is_unread).count(), 0);
    let read: Vec<String> = columns(&shard.pool, "reader", true).await.into_iter().collect();
    assert_eq!(read, PLAIN);
    assert!(columns(&shard.pool, "command", false).await.is_empty());
    shard.end().await;
}

/// Rows of two people in each of these tables.
const PEOPLE: &str = "
    SELECT ensure_month('security_audit_log', '2026-03-01');
    INSERT INTO roles (id, name, is_system_role, level, created_at, updated_at)
    VALUES ('00000000-0000-0000-0000-0000000000aa', 'r', false, 0, 'epoch', 'epoch');
    CREATE TEMP TABLE person AS SELECT id::uuid, id AS text FROM (VALUES
        ('00000000-0000-0000-0000-000000000001'), ('00000000-0000-0000-0000-000000000002')) AS p (id);
    INSERT INTO users (id, ledger, shard_id, username, username_index, email, email_index, password_hash, is_service, is_active,
                       created_at, updated_at, version, rights_position, rights_changed_at)
    SELECT id, 0, 0, '', text::bytea, '', text::bytea, '', false, true, 'epoch', 'epoch', 1, 0, 'epoch' FROM person;
    INSERT INTO user_sessions (id, user_id, ledger, shard_id, session_token, refresh_token_hash, device_id, methods,
                               created_at, expires_at, last_activity_at, is_active)
    SELECT id, id, 0, 0, text, text, id, '{pwd}', 'epoch', 'epoch', 'epoch', true FROM person;
    INSERT INTO user_passkeys (id, user_id, ledger, shard_id, name, is_backed_up, created_at)
    SELECT id, id, 0, 0, '', false, 'epoch' FROM person;
    INSERT INTO service_keys (id, user_id, ledger, shard_id, issued_at)
    SELECT id, id, 0, 0, 'epoch' FROM person;
    INSERT INTO password_history (id, user_id, ledger, shard_id, password_hash, created_at, version)
    SELECT id, id, 0, 0, '', 'epoch', 1 FROM person;
    INSERT INTO user_roles (id, user_id, role_id, ledger, shard_id, granted_at, is_active)
    SELECT id, id, '00000000-0000-0000-0000-0000000000aa', 0, 0, 'epoch', true FROM person;
    SELECT refresh_user_role_cache(ARRAY(SELECT id FROM person));
    INSERT INTO security_audit_log (id, user_id, event_type, event_status, event_description, request_id, risk_score,
                                    is_suspicious, occurred_at, partition_date, actor, ledger, log_offset)
    SELECT id, id, '', 'success', '', id, 0, false, '2026-03-02Z', '2026-03-02', 'system', 0, 0 FROM person;
    INSERT INTO email_shard_lookup SELECT text, id, 0, 0, 0, id, 'epoch', 'epoch' FROM person;
    INSERT INTO username_shard_lookup SELECT text, id, 0, 0, 0, id, 'epoch', 'epoch' FROM person;
    INSERT INTO session_shard_lookup SELECT text, id, 0, 0, 'epoch', 'epoch' FROM person;";

/// Whose rows are seen in each table.
async fn seen(connection: &mut PgConnection, tables: &[(&str, &str)]) -> Vec<Vec<u128>> {
    let mut all = vec![];
    for (table, column) in tables {
        let sql = AssertSqlSafe(format!("SELECT {column} FROM {table} ORDER BY 1"));
        let ids: Vec<uuid::Uuid> = sqlx::query_scalar(sql).fetch_all(&mut *connection).await.unwrap();
        all.push(ids.iter().map(uuid::Uuid::as_u128).collect());
    }
    all
}

async fn set_user(connection: &mut PgConnection, user: u128) {
    let user = uuid::Uuid::from_u128(user);
    let set = AssertSqlSafe(format!("SET rolecall.user_id = '{user}'"));
    sqlx::raw_sql(set).execute(connection).await.unwrap();
}

#[tokio::test]
async fn readers_see_one_persons_rows_and_the_owner_none() {
    let shard = Shard::migrated().await;
    sqlx::raw_sql(PEOPLE).execute(&shard.pool).await.unwrap();
    let guarded: Vec<String> = sqlx::query_scalar(
        "SELECT relname::text FROM pg_class WHERE relrowsecurity AND relforcerowsecurity AND NOT relispartition
         ORDER BY relname",
    )
    .fetch_all(&shard.pool)
    .await
    .unwrap();
    let of_people = OF_PEOPLE.map(|(table, _)| table);
    assert_eq!(guarded, STATES.into_iter().chain(of_people).collect::<Vec<_>>());

    let mut reader = shard.connect("reader").await;
    let all_see = |rows: &[u128]| vec![rows.to_vec(); OF_PEOPLE.len()];
    assert_eq!(seen(&mut reader, &OF_PEOPLE).await, all_see(&[]));
    for user in [1, 2, 3] {
        set_user(&mut reader, user).await;
        let rows: Vec<u128> = (1..=2).filter(|it| *it == user).collect();
        assert_eq!(seen(&mut reader, &OF_PEOPLE).await, all_see(&rows), "as {user}");
    }
    sqlx::raw_sql("RESET rolecall.user_id")
        .execute(&mut reader)
        .await
        .unwrap();
    assert_eq!(seen(&mut reader, &OF_PEOPLE).await, all_see(&[]));

    let mut owner = shard.connect("owner").await;
    set_user(&mut owner, 1).await;
    assert_eq!(seen(&mut owner, &OF_PEOPLE).await, all_see(&[]));
    let month = [("security_audit_log_2026_03", "user_id")];
    assert_eq!(seen(&mut owner, &month).await, [vec![]]);

    let mut projector = shard.connect("projector").await;
    assert_eq!(seen(&mut projector, &OF_PEOPLE).await, all_see(&[1, 2]));
    let mut query = shard.connect("query").await;
    let queried: Vec<_> = OF_PEOPLE
        .into_iter()
        .filter(|(table, _)| !table.contains("lookup") && *table != "password_history")
        .collect();
    assert_eq!(seen(&mut query, &queried).await, vec![vec![1, 2]; queried.len()]);
    shard.end().await;
}

#[tokio::test]
async fn services_wait_for_the_owner_to_make_the_tables() {
    let shard = Shard::start().await;
    let dsn = shard.stack.service_dsns().remove(0);
    let projector = PoolSettings::projecting().pool(&dsn).unwrap();
    let refused = schema::migrate(&projector).await.unwrap_err();
    assert!(matches!(refused, Error::Unmigrated(_)), "{refused:?}");
    assert_eq!(schema::identity(&projector).await.unwrap(), None);
    schema::migrate(&PoolSettings::owning().pool(&dsn).unwrap())
        .await
        .unwrap();
    for settings in [
        PoolSettings::projecting(),
        PoolSettings::saving(),
        PoolSettings::reading("test"),
    ] {
        let pool = settings.pool(&dsn).unwrap();
        schema::migrate(&pool).await.unwrap();
        assert_eq!(schema::identity(&pool).await.unwrap(), None);
    }
    shard.end().await;
}
