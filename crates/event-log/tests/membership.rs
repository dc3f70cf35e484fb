//! Sharing out what is not there yet.

use std::time::Duration;

use event_log::{KafkaConfig, Membership, create_projectors};
use local_stack::Stack;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use schemas::Stream;

const SHARDS: i32 = 3;

/// As one whose broker has not heard of a new topic.
#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_comes_before_its_topic_gets_its_share_when_that_is_there() {
    let builder = Stack::builder().registry(false).redis(false).postgres_clusters(0);
    let stack = builder.start().await.unwrap();
    let config = KafkaConfig::plain(stack.kafka_bootstrap(), "early");
    let (topics, own) = (config.topics(), config.topics().projectors());
    let member = Membership::join(&config, "projectors", std::slice::from_ref(&own)).unwrap();
    let mut share = member.share();
    // The coordinator has told it of nothing, or nothing was told: then the topic comes.
    let told = share.wait_for(Option::is_some);
    if let Ok(told) = tokio::time::timeout(Duration::from_secs(5), told).await {
        assert!(told.unwrap().as_ref().is_some_and(|share| share.is_empty()));
    }
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", stack.kafka_bootstrap());
    let admin: AdminClient<DefaultClientContext> = client.create().unwrap();
    let catalog = topics.of(Stream::Catalog);
    let catalog = NewTopic::new(&catalog, 1, TopicReplication::Fixed(1));
    let made = admin.create_topics(&[catalog], &AdminOptions::new()).await;
    made.unwrap().into_iter().for_each(|it| drop(it.unwrap()));
    while let Err(error) = create_projectors(&config, SHARDS).await {
        println!("{error}"); // the catalog is still being made
    }
    let all = (0..SHARDS).map(|shard| (own.clone(), shard)).collect();
    let has_all = share.wait_for(|share| share.as_ref() == Some(&all));
    let shared = tokio::time::timeout(Duration::from_secs(60), has_all).await;
    assert!(shared.is_ok(), "not in time");
    drop(shared);
    member.leave().await;
    stack.shutdown().await.unwrap();
}
