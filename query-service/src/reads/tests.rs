//! Reads from a real PostgreSQL.

use std::time::Duration;

use schemas::catalog::{CatalogEvent, ShardMapChanged};
use schemas::{DataKey, Position, Stream, sealed_field as field};
use serde_json::json;
use sqlx::PgPool;
use uuid::Uuid;

use crate::testing::{ADMIN, BOB, LOG, TestApp, one_database, reach, session};

async fn insert_bob(pool: &PgPool, key: &DataKey, ledger: i32) {
    let seal = |field, text| key.seal(LOG, BOB, field, text).unwrap().to_base64();
    sqlx::query(
        "INSERT INTO users (id, ledger, shard_id, username, username_index, email, email_index, password_hash,
                            is_service, is_active, created_at, updated_at, version, rights_position, rights_changed_at)
         VALUES ($1, $2::int::smallint, 0, $3, '', $4, '', '', false, true, 'epoch', 'epoch', 1, 0, 'epoch')",
    )
    .bind(BOB.as_uuid())
    .bind(ledger)
    .bind(seal(field::USERNAME, "bob"))
    .bind(seal(field::EMAIL, "bob@example.org"))
    .execute(pool)
    .await
    .unwrap();
    sqlx::query(
        "INSERT INTO user_sessions (id, user_id, ledger, shard_id, session_token, refresh_token_hash, ip_address,
                                    ip_address_sealed, device_fingerprint, country_code, city, device_id, methods, created_at,
                                    expires_at, idle_timeout, last_activity_at, is_active)
         VALUES ($1, $2, $3::int::smallint, 0, 'a', 'b', '10.1.0.0/16', $4, $5, 'DE', $6, $7, '{pwd,otp}', 'epoch',
                 '2999-01-01Z', '7 days', '2998-12-30Z', true)",
    )
    .bind(session(BOB).as_uuid())
    .bind(BOB.as_uuid())
    .bind(ledger)
    .bind(seal(field::IP_ADDRESS, "10.1.2.3"))
    .bind(seal(field::DEVICE_FINGERPRINT, "canvas 17"))
    .bind(seal(field::CITY, "Berlin"))
    .bind(Uuid::from_u128(0xDE))
    .execute(pool)
    .await
    .unwrap();
    sqlx::raw_sql("SELECT ensure_month('security_audit_log', '2026-03-01')")
        .execute(pool)
        .await
        .unwrap();
    sqlx::query(
        "INSERT INTO security_audit_log (id, user_id, event_type, event_status, event_description, request_id,
                                         risk_score, is_suspicious, occurred_at, partition_date, actor, ledger, log_offset)
         SELECT gen_random_uuid(), $1, 'user.logged_in', 'success', '', gen_random_uuid(),
                0, false, '2026-03-02Z', '2026-03-02', 'system', $2::int::smallint, n
         FROM generate_series(1, 3) n",
    )
    .bind(BOB.as_uuid())
    .bind(ledger)
    .execute(pool)
    .await
    .unwrap();
}

#[tokio::test]
async fn rows_come_from_a_moment_that_reflects_what_is_demanded() {
    let (stack, dsn, pool) = one_database().await;
    let key = DataKey::generate();
    let test = TestApp::with_shard(&dsn, Some(key.clone()));
    let path = format!("/v1/users/{BOB}");

    let answer = test.get(&path, BOB).await;
    assert_eq!(
        answer.slug(),
        "dependency-unavailable",
        "the shard has no tables yet"
    );
    read_model::schema::migrate(&pool).await.unwrap();
    let answer = test.get(&path, BOB).await;
    assert_eq!(
        answer.slug(),
        "not-yet",
        "the log has the user, the shard has not"
    );

    let ledger = test.app.node.ledger(BOB);
    insert_bob(&pool, &key, ledger).await;
    let answer = test.get(&path, BOB).await;
    assert_eq!(
        answer.slug(),
        "not-yet",
        "a row without a checkpoint says nothing"
    );
    let first = Position {
        stream: Stream::Users,
        partition: ledger,
        offset: 0,
    };
    reach(&pool, first).await;
    let answer = test.get(&path, BOB).await;
    assert_eq!(
        (&answer.body["username"], &answer.body["email"]),
        (&json!("bob"), &json!("bob@example.org"))
    );
    assert_eq!(
        answer.header("rolecall-token"),
        test.app.token([first]).to_string()
    );

    the_checkpoint_is_waited_for(&test, &pool, &path).await;
    sessions_and_audit(&test, &path).await;
    erased_people_and_wrong_keys(&dsn, &path).await;
    a_copy_is_read_by_those_who_mean_it(&test, &pool, &path).await;
    an_erased_row_opens_as_nothing(&test, &pool, &path).await;

    pool.close().await;
    stack.shutdown().await.unwrap();
}

async fn the_checkpoint_is_waited_for(test: &TestApp, pool: &PgPool, path: &str) {
    let before = test.get_at_least(path, BOB, Some("latest")).await;
    assert_eq!((before.status, before.slug()), (503, "not-yet"));
    let (last, catalog) = (test.log_in(BOB), test.app.node.catalog_basis().unwrap());
    reach(pool, catalog).await;
    let applied = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        reach(pool, last).await;
    };
    let (answer, ()) = tokio::join!(test.get_at_least(path, BOB, Some("latest")), applied);
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(
        answer.header("rolecall-token"),
        test.app.token([catalog, last]).to_string()
    );
    let token = test.token_of(last);
    assert_eq!(test.get_at_least(path, BOB, Some(&token)).await.status, 200);
}

async fn sessions_and_audit(test: &TestApp, path: &str) {
    let answer = test.get(&format!("{path}/sessions"), BOB).await;
    let session = &answer.body["sessions"][0];
    assert_eq!(
        (&session["current"], &session["live"]),
        (&json!(true), &json!(true))
    );
    assert_eq!(
        (&session["ip_address"], &session["network"]),
        (&json!("10.1.2.3"), &json!("10.1.0.0/16"))
    );
    // Used again two days before its end, it would have idled past that.
    let mut session = session.clone();
    let told = [
        "device_id",
        "device_fingerprint",
        "country_code",
        "city",
        "assurance",
        "methods",
        "expires_at",
    ]
    .map(|name| session[name].take());
    let device = "00000000-0000-0000-0000-0000000000de";
    let expected = json!([
        device,
        "canvas 17",
        "DE",
        "Berlin",
        "aal2",
        ["pwd", "otp"],
        "2999-01-01T00:00:00.000000Z"
    ]);
    assert_eq!(json!(told), expected);
    let by_admin = test.get(&format!("{path}/sessions"), ADMIN).await;
    assert_eq!(by_admin.body["sessions"][0]["current"], false);

    let page = test.get(&format!("{path}/audit?limit=2"), BOB).await;
    let next = page.body["next"].as_str().unwrap();
    let rest = test
        .get(&format!("{path}/audit?limit=2&before={next}"), BOB)
        .await;
    let offsets = |events: &serde_json::Value| -> Vec<i64> {
        events
            .as_array()
            .unwrap()
            .iter()
            .map(|event| event["offset"].as_i64().unwrap())
            .collect()
    };
    assert_eq!(
        (offsets(&page.body["events"]), offsets(&rest.body["events"])),
        (vec![3, 2], vec![1])
    );
    assert_eq!(rest.body.get("next"), None);
}

async fn erased_people_and_wrong_keys(dsn: &str, path: &str) {
    let erased = TestApp::with_shard(dsn, None).get(path, BOB).await;
    assert_eq!(
        (&erased.body["erased"], &erased.body["username"]),
        (&json!(true), &json!(null))
    );
    let other = TestApp::with_shard(dsn, Some(DataKey::generate()))
        .get(path, BOB)
        .await;
    assert_eq!((other.status, other.slug()), (500, "internal"));
}

#[tokio::test]
async fn ledgers_on_a_shard_that_is_not_configured_are_not_read() {
    let test = TestApp::new();
    let map = |version, shard| {
        let ledgers = usize::try_from(crate::testing::LEDGERS).unwrap();
        CatalogEvent::ShardMapChanged(ShardMapChanged {
            version,
            placement: vec![shard; ledgers],
            shards: 2,
            ..ShardMapChanged::default()
        })
    };
    test.fed.catalog(&map(1, 0));
    assert_eq!(test.app.shards_misfit(), None);
    test.fed.catalog(&map(2, 1));
    assert_eq!(
        test.app.shards_misfit().as_deref(),
        Some("ledger 0 lies on shard 1 by shard map 2 of the log, and the configuration has no such shard")
    );
    let answer = test.get(&format!("/v1/users/{BOB}"), BOB).await;
    assert_eq!((answer.status, answer.slug()), (503, "dependency-unavailable"));
}

/// Says by which maps the shard's copy of Bob's ledger may be read.
async fn serve(pool: &PgPool, since: i32, retired_by: Option<i32>) {
    sqlx::query("UPDATE projection_checkpoint SET since_map = $1, retired_by_map = $2")
        .bind(since)
        .bind(retired_by)
        .execute(pool)
        .await
        .unwrap();
}

/// The node goes by map 3.
async fn a_copy_is_read_by_those_who_mean_it(test: &TestApp, pool: &PgPool, path: &str) {
    test.fed.catalog(&CatalogEvent::ShardMapChanged(ShardMapChanged {
        version: 3,
        placement: vec![0; usize::try_from(crate::testing::LEDGERS).unwrap()],
        shards: 1,
        ..ShardMapChanged::default()
    }));
    for (since, retired_by, slug) in [
        (4, None, "not-yet"),
        (0, Some(4), "dependency-unavailable"),
        (2, Some(3), "dependency-unavailable"),
    ] {
        serve(pool, since, retired_by).await;
        let answer = test.get(path, BOB).await;
        assert_eq!(
            (answer.status, answer.slug()),
            (503, slug),
            "since {since}, {retired_by:?}"
        );
    }
    serve(pool, 3, None).await;
    assert_eq!(test.get(path, BOB).await.status, 200);
}

/// The shard may have heard of an erasure before the node has heard of the destroyed key.
async fn an_erased_row_opens_as_nothing(test: &TestApp, pool: &PgPool, path: &str) {
    sqlx::raw_sql(
        "UPDATE users SET username = '', email = '', deleted_at = 'epoch';
         INSERT INTO user_passkeys (id, user_id, ledger, shard_id, name, is_backed_up, created_at)
         SELECT id, id, ledger, 0, '', false, 'epoch' FROM users",
    )
    .execute(pool)
    .await
    .unwrap();
    let answer = test.get(path, BOB).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(
        [
            &answer.body["erased"],
            &answer.body["username"],
            &answer.body["email"]
        ],
        [&json!(true), &json!(null), &json!(null)]
    );
    let answer = test.get(&format!("{path}/passkeys"), BOB).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.body["passkeys"][0]["name"], json!(null));
}
