//! What downstream consumers rely on: records, headers, schemas.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use schemas::log::LogEvent;
use schemas::{Event, Position, Stream, event_types, link, schema_text, streams_of, unframe};
use serde_json::{Value, json};
use tests::World;
use uuid::Uuid;

pub async fn records_carry_cloud_events_and_confluent_framing(world: Arc<World>) {
    let request_id = Uuid::now_v7();
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let body = tests::registration(&tests::unique("traced"));
    let call = world.client.command("POST", "/v1/users").json(&body);
    let call = call
        .header("x-request-id", request_id.to_string())
        .header("traceparent", trace);
    let answer = call.send().await.expect(201);
    assert_eq!(answer.header("x-request-id"), request_id.to_string());
    let user = answer.body["user_id"].as_str().unwrap();

    let history = world.history().await;
    let of_user = |record: &&event_log::Record| record.key == user.as_bytes();
    let record = history.records.iter().find(of_user).unwrap();
    let headers: BTreeMap<&str, &str> = record
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), std::str::from_utf8(value).unwrap()))
        .collect();
    let stored = &history
        .events
        .iter()
        .find(|(_, it)| it.meta.aggregate_id == user)
        .unwrap()
        .1;
    let log_id = world.identity.created.log_id.to_string();
    assert!(headers["ce_source"].contains(&log_id), "{headers:?}");
    let expected = [
        ("ce_specversion", "1.0"),
        ("ce_type", "user.registered"),
        ("ce_subject", user),
        ("ce_id", &stored.meta.event_id.to_string()),
        ("ce_time", &stored.meta.occurred_at.to_string()),
        ("content-type", "application/avro"),
        ("traceparent", trace),
    ];
    for (name, value) in expected {
        assert_eq!(headers.get(name), Some(&value), "{name} in {headers:?}");
    }
    assert!(
        headers["ce_dataschema"].ends_with("user.registered/2"),
        "{headers:?}"
    );
    assert_eq!(stored.meta.request_id.to_string(), request_id.to_string());

    // A foreign consumer finds the schema under the id in the framing.
    assert_eq!(record.value[0], 0);
    let (id, avro) = unframe(&record.value).unwrap();
    assert_eq!(i32::from_be_bytes(record.value[1..5].try_into().unwrap()), id);
    assert_eq!(&record.value[5..], avro);
    let schema = registry(&world, &format!("/schemas/ids/{id}")).await;
    let schema: Value = serde_json::from_str(schema["schema"].as_str().unwrap()).unwrap();
    let ours: Value = serde_json::from_str(schema_text(record.event_type).unwrap().0).unwrap();
    assert_eq!(schema, ours);

    // Every partition is one chain of hashes, from its first record on.
    let mut heads: HashMap<(Stream, i32), (i64, schemas::Sha256Digest)> = HashMap::new();
    for (record, (position, stored)) in history.records.iter().zip(&history.events) {
        let (stream, partition) = (position.stream, position.partition);
        let head = heads.entry((stream, partition)).or_insert((0, schemas::GENESIS));
        assert_eq!(
            (stored.meta.chain_seq, stored.meta.prev_hash),
            *head,
            "{position:?}"
        );
        let topic = world.kafka().topics().of(stream);
        *head = (head.0 + 1, link(&topic, partition, &record.key, &record.value));
    }
    assert_eq!(heads.len(), 2 * world.ledgers() as usize + 1);
}

async fn registry(world: &World, path: &str) -> Value {
    let url = format!("{}{path}", world.stack.registry_url());
    let answer = world.http().get(url).send().await.unwrap();
    assert!(answer.status().is_success(), "{path}: {}", answer.status());
    answer.json().await.unwrap()
}

pub async fn every_schema_is_registered_and_fully_compatible(world: Arc<World>) {
    let subjects = registry(&world, "/subjects").await;
    let prefix = world.rolecall.topic_prefix();
    for event_type in event_types() {
        for stream in streams_of(event_type) {
            let subject = format!("{prefix}.{}-rolecall.{}", stream.name(), event_type.name);
            assert!(
                subjects.as_array().unwrap().contains(&json!(subject)),
                "{subject} is not registered"
            );
            let config = registry(&world, &format!("/config/{subject}")).await;
            assert_eq!(config["compatibilityLevel"], "FULL_TRANSITIVE", "{subject}");
        }
    }
}

pub async fn every_event_stands_on_its_basis(world: Arc<World>) {
    let history = world.history().await;
    let first = &history
        .events
        .iter()
        .find(|(it, _)| it.stream == Stream::Catalog)
        .unwrap()
        .1;
    assert!(
        matches!(first.data, Event::Log(LogEvent::Created(_))),
        "{first:?}"
    );
    // No basis names what came later: there is an order in which all of history can be applied.
    let mut queues: BTreeMap<(Stream, i32), Vec<_>> = BTreeMap::new();
    for (position, stored) in history.events.iter().rev() {
        queues
            .entry((position.stream, position.partition))
            .or_default()
            .push((position.offset, stored));
    }
    loop {
        // A basis may be a marker's offset: it is applied when all records before it are.
        let next: HashMap<(Stream, i32), i64> = queues
            .iter()
            .filter_map(|(place, queue)| Some((*place, queue.last()?.0)))
            .collect();
        let is_applied = |it: &Position| {
            next.get(&(it.stream, it.partition))
                .is_none_or(|next| *next > it.offset)
        };
        let ready = |queue: &&mut Vec<(i64, &schemas::Stored<Event>)>| {
            queue
                .last()
                .is_some_and(|(_, stored)| stored.meta.basis.iter().all(is_applied))
        };
        match queues.values_mut().find(ready) {
            Some(queue) => drop(queue.pop()),
            None => break,
        }
    }
    let waiting: usize = queues.values().map(Vec::len).sum();
    assert_eq!(waiting, 0, "events wait for each other");
}
