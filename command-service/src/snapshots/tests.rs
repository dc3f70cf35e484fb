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
    let shards = Shards::connect_lazy(&stack.shard_dsns(), &PoolSettings::saving()).unwrap();
    // No projector made the tables; several make them at once.
    let first = [(); 4].map(|()| ShardSnapshots::new(shards.clone(), LogId::new_v7()));
    let loads = first.iter().map(|store| store.load((Stream::Users, 0)));
    for loaded in futures::future::join_all(loads).await {
        assert_eq!(loaded, Ok(None));
    }
    store_cases::all(|| Arc::new(ShardSnapshots::new(shards.clone(), LogId::new_v7()))).await;
    stack.shutdown().await.unwrap();
}
