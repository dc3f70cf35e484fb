//! Names in a real PostgreSQL, while they pass from one to another.

use domain::ledger::ledger_of;
use schemas::identifier::IdentifierKind;
use schemas::{BlindIndex, DataKey, Position, Stream, UserId, sealed_field as field};
use serde_json::json;
use sqlx::PgPool;

use crate::testing::{ADMIN, ALICE, Answer, BOB, LEDGERS, LOG, TestApp, one_shard, reach};

const NAME: &str = "sought";

/// The row of a user whose name is another one.
async fn insert(pool: &PgPool, test: &TestApp, key: &DataKey, user: UserId) {
    let sealed = key.seal(LOG, user, field::USERNAME, NAME).unwrap();
    sqlx::query(
        "INSERT INTO users (id, ledger, shard_id, username, username_index, email, email_index, password_hash,
                            is_service, is_active, created_at, updated_at, version, rights_position, rights_changed_at)
         VALUES ($1, $2::int::smallint, 0, $3, uuid_send($1), '', uuid_send($1), '', false, true, 'epoch', 'epoch', 1, 0,
                 'epoch')",
    )
    .bind(user.as_uuid())
    .bind(test.app.node.ledger(user))
    .bind(sealed.to_base64())
    .execute(pool)
    .await
    .unwrap();
}

async fn give(pool: &PgPool, user: UserId, index: &[u8]) {
    sqlx::query("UPDATE users SET username_index = $2 WHERE id = $1")
        .bind(user.as_uuid())
        .bind(index)
        .execute(pool)
        .await
        .unwrap();
}

async fn look_up(pool: &PgPool, index: BlindIndex, user: UserId) {
    sqlx::query(
        "INSERT INTO username_shard_lookup (username, user_id, shard_id, user_ledger, ledger, claim_id, created_at, updated_at)
         VALUES ($1, $2, 0, 0, $3::int::smallint, $2, 'epoch', 'epoch')",
    )
    .bind(index.to_hex())
    .bind(user.as_uuid())
    .bind(ledger_of(&index.to_hex(), LEDGERS))
    .execute(pool)
    .await
    .unwrap();
}

const fn at(stream: Stream, partition: i32, offset: i64) -> Position {
    Position {
        stream,
        partition,
        offset,
    }
}

async fn find(test: &TestApp, at_least: Option<&str>) -> Answer {
    let path = format!("/v1/users?username={NAME}");
    test.get_at_least(&path, ADMIN, at_least).await
}

fn found(answer: &Answer) -> &serde_json::Value {
    assert_eq!(answer.status, 200, "{}", answer.text);
    &answer.body["users"][0]["id"]
}

#[tokio::test]
async fn a_name_is_its_last_holders_though_the_token_names_another_ledger() {
    let (stack, dsn, pool) = one_shard().await;
    let key = DataKey::generate();
    let test = TestApp::with_shard(&dsn, Some(key.clone()));
    let index_key = test.app.index_key.as_ref().unwrap();
    let index = index_key.index(IdentifierKind::Username, NAME).unwrap();
    let of_name = index.0.0.as_slice();
    assert_ne!(test.app.node.ledger(ALICE), test.app.node.ledger(BOB));
    // Bob had the name, and both look-up and row still say so; Alice has it by now.
    for user in [ALICE, BOB] {
        insert(&pool, &test, &key, user).await;
    }
    give(&pool, BOB, of_name).await;
    look_up(&pool, index, BOB).await;
    for ledger in 0..LEDGERS {
        reach(&pool, at(Stream::Users, ledger, 1_000)).await;
    }
    reach(&pool, at(Stream::Catalog, 0, 1_000)).await;
    let of_bob = test.log_in(BOB);
    reach(&pool, at(Stream::Users, of_bob.partition, of_bob.offset - 1)).await;
    let token = test.token_of(test.log_in(ALICE));
    assert_eq!(
        *found(&find(&test, None).await),
        json!(BOB),
        "nothing is demanded"
    );
    for demanded in [token.as_str(), "latest"] {
        let answer = find(&test, Some(demanded)).await;
        assert_eq!((answer.status, answer.slug()), (503, "not-yet"), "{demanded}");
    }
    give(&pool, BOB, BOB.as_uuid().as_bytes()).await;
    give(&pool, ALICE, of_name).await;
    reach(&pool, of_bob).await;
    for demanded in [Some(token.as_str()), Some("latest"), None] {
        assert_eq!(*found(&find(&test, demanded).await), json!(ALICE));
    }

    // Read while it passes from one to the other, it is nobody's by the order of reading.
    sqlx::raw_sql("DELETE FROM username_shard_lookup")
        .execute(&pool)
        .await
        .unwrap();
    give(&pool, BOB, of_name).await;
    for demanded in [Some(token.as_str()), None] {
        let answer = find(&test, demanded).await;
        assert_eq!((answer.status, answer.slug()), (503, "not-yet"));
    }
    pool.close().await;
    stack.shutdown().await.unwrap();
}
