//! Following a log while it is written.

use std::sync::Arc;
use std::time::{Duration, Instant};

use event_log::{KafkaConfig, KafkaWriterLog, Tail, TailItem};
use schemas::{LogId, SchemaIds, Stream};

use crate::owner::{Owner, grant, records};

/// Whatever is paused and resumed, each record comes once and in order, and no end runs ahead.
pub async fn a_paused_tail_misses_nothing(config: &KafkaConfig) {
    let log = Arc::new(KafkaWriterLog::new(config, LogId::new_v7()).unwrap());
    let owner = Owner::claim(&log).await;
    let user = owner.registered().await;
    let partition = owner.bus.partition_of::<domain::user::User>(&user.to_string());
    let place = (Stream::Users, partition);
    let mut tail = Tail::open(config, &[(Stream::Users, partition, 0), (Stream::Catalog, 0, 0)]).unwrap();
    let writing = tokio::spawn(async move {
        for number in 0..400 {
            owner.user(user, grant(number)).await.unwrap();
        }
    });
    let (mut next, mut seq, mut paused) = (0, 0, None::<Instant>);
    let deadline = Instant::now() + Duration::from_secs(60);
    let ids = SchemaIds::numbered();
    // The claim, the registration, and the grants.
    while seq < 402 {
        assert!(
            Instant::now() < deadline,
            "stuck at sequence {seq}, offset {next}"
        );
        match paused {
            None if rand::random_ratio(1, 5) => {
                tail.pause(place.0, place.1).unwrap();
                paused = Some(Instant::now() + Duration::from_millis(rand::random_range(0..60)));
            }
            Some(until) if Instant::now() > until => {
                tail.resume(place.0, place.1).unwrap();
                paused = None;
            }
            _ => {}
        }
        let Ok(items) =
            tokio::time::timeout(Duration::from_millis(10), tail.next(rand::random_range(1..50))).await
        else {
            continue;
        };
        for item in items.unwrap() {
            match item {
                TailItem::Record(record) if (record.stream, record.partition) == place => {
                    let found = event_log::decode(&record, &ids).unwrap().meta.chain_seq;
                    assert!(
                        record.offset >= next,
                        "record {} after the end {next}",
                        record.offset
                    );
                    assert_eq!(found, seq, "at offset {}", record.offset);
                    (seq, next) = (seq + 1, record.offset + 1);
                }
                TailItem::End {
                    stream,
                    partition,
                    next_offset,
                } if (stream, partition) == place => {
                    assert!(next_offset >= next, "an end at {next_offset} after {next}");
                    next = next_offset;
                }
                _ => {}
            }
        }
    }
    writing.await.unwrap();
    let count = records(&log)
        .iter()
        .filter(|it| (it.stream, it.partition) == place)
        .count();
    assert_eq!(i64::try_from(count).unwrap(), seq);
}
