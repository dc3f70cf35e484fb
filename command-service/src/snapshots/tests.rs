//! On a real PostgreSQL.

use std::sync::Arc;

use read_model::PoolSettings;

use super::*;

#[path = "../../../crates/event-log/tests/conformance/store_cases.rs"]
mod store_cases;

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_in_postgresql_conform() {
    let stack = local_stack::Stack::builder()
        .kafka_nodes(0)
        .registry(false)
        .redis(false)
        .shards(2);
    let stack = stack.start().await.unwrap();
    let connect = || Shards::connect_lazy(&stack.shard_dsns(), &PoolSettings::saving()).unwrap();
    // No projector made the tables; several make them at once.
    let log_id = LogId::new_v7();
    let first = [(); 4].map(|()| ShardSnapshots::new(connect(), log_id, 1));
    let loads = first.iter().map(|store| store.load((Stream::Users, 0)));
    for loaded in futures::future::join_all(loads).await {
        assert_eq!(loaded, Ok(None));
    }
    let shards = connect();
    for ledger in 0..16 {
        shards.prepared(ledger, log_id, 1).await.unwrap();
    }
    // A log for each case, whoever claimed the shards.
    let of_a_new_log = || ShardSnapshots::new(shards.clone(), LogId::new_v7(), 1);
    store_cases::all(|| Arc::new(of_a_new_log())).await;
    let foreign = ShardSnapshots::new(connect(), LogId::new_v7(), 1);
    let refused = foreign.load((Stream::Users, 0)).await.unwrap_err().to_string();
    assert!(refused.contains(&format!("of log {log_id}")), "{refused}");
    stack.shutdown().await.unwrap();
}
