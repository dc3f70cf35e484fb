//! What a ledger has is projected anew beside the live tables, and put in their place while everything goes on.

use std::sync::Arc;

use domain::ledger::ledger_of;
use tests::{Load, World};

use crate::moving::{everything_is_in_its_place, shards};
use crate::readers::Readers;

pub async fn rows_that_are_wrong_are_put_right_under_load(world: Arc<World>) {
    let bob = world.person("bob").await;
    world.projected().await;
    let ledger = ledger_of(&bob.id.to_string(), world.ledgers());
    let live = world.shards().await.of_ledger(ledger).unwrap();
    let number = ledger.to_string();
    let told = shards(&world, &["rebuild", &number, "--verify"]).await;
    assert!(
        told.contains(&format!("ledger {ledger} is what the log says")),
        "{told}"
    );

    for damage in [
        "UPDATE users SET failed_login_attempts = 7 WHERE id = $1",
        "DELETE FROM security_audit_log WHERE user_id = $1",
        "DELETE FROM session_shard_lookup WHERE user_id = $1",
    ] {
        sqlx::query(damage)
            .bind(bob.id.as_uuid())
            .execute(&live.pool)
            .await
            .unwrap();
    }
    let (code, told) = world
        .run("rolecall-shards", &["rebuild", &number, "--verify"])
        .await;
    assert_eq!(code, 1, "{told}");
    assert!(
        told.contains(&format!("ledger {ledger} is not what the log says")),
        "{told}"
    );

    let (load, readers) = (Load::start(&world, 4).await, Readers::start(&world, 4).await);
    let told = shards(&world, &["rebuild", &number]).await;
    load.more(50).await;
    readers.reckon().await;
    load.reckon().await;
    assert!(told.contains("was put in place anew"), "{told}");
    everything_is_in_its_place(&world).await;
    let databases: i64 =
        sqlx::query_scalar("SELECT count(*) FROM pg_database WHERE datname LIKE 'rolecall_rebuild%'")
            .fetch_one(&live.pool)
            .await
            .unwrap();
    assert_eq!(databases, 0, "nothing of it is left");
}

pub async fn a_ledger_that_is_right_is_put_in_place_anew_under_load(world: Arc<World>) {
    let (load, readers) = (Load::start(&world, 4).await, Readers::start(&world, 8).await);
    for ledger in ["0", "5", "11"] {
        let told = shards(&world, &["rebuild", ledger, "--always"]).await;
        assert!(
            told.contains("is what the log says") && told.contains("anew"),
            "{told}"
        );
    }
    load.more(50).await;
    let right = readers.reckon().await;
    load.reckon().await;
    println!("        {right} answers were right");
    everything_is_in_its_place(&world).await;
}
