//! Where everything lies, and how far it is.

use std::collections::BTreeMap;

use event_log::HighWatermarks;
use read_model::ShardMap;
use read_model::checkpoint::Placed;
use schemas::Stream;

use crate::moving::standings;
use crate::place::Place;

/// Offset behind the last record of each partition, by topic.
type Ends = BTreeMap<(String, i32), i64>;

pub async fn run(place: &Place) -> anyhow::Result<()> {
    let map = ShardMap::from(&place.map);
    println!(
        "shard map {} of log {}: {} ledgers on {} shards",
        place.map.version, place.log_id, place.ledgers, place.map.shards
    );
    let ends = ends(place).await?;
    for shard in place.shards.iter() {
        let placed = match standings(&shard).await {
            Ok(placed) => placed,
            Err(error) => {
                println!("shard {}: {error:#}", shard.id);
                continue;
            }
        };
        let known = if shard.id < place.map.shards {
            ""
        } else {
            " (not in the map: see `add`)"
        };
        println!("shard {}{known}: {} replicas", shard.id, shard.replicas.len());
        let far = |ledger: i32| far(place, &ends, &placed, ledger);
        let of_map = |copies: &[schemas::catalog::LedgerCopy]| -> Vec<i32> {
            let own = copies.iter().filter(|copy| copy.shard == shard.id);
            own.map(|copy| copy.ledger).collect()
        };
        let kinds = [
            ("read", map.ledgers_of(shard.id, place.ledgers)),
            ("filling", of_map(&place.map.filling)),
            ("leaving", of_map(&place.map.leaving)),
        ];
        for (kind, ledgers) in kinds {
            for ledger in ledgers {
                println!("  ledger {ledger}: {kind}, {}", far(ledger));
            }
        }
        let users = place.kafka.topics().of(Stream::Users);
        let retired = placed.iter().filter(|it| it.topic == users);
        for it in retired.filter(|it| it.standing.retired_by_map.is_some()) {
            println!("  ledger {}: retired", it.partition);
        }
    }
    Ok(())
}

fn far(place: &Place, ends: &Ends, placed: &[Placed], ledger: i32) -> String {
    let mut behind = 0;
    for (_, topic) in place.topics_of_ledger() {
        let mut own = placed
            .iter()
            .filter(|it| it.topic == topic && it.partition == ledger);
        let Some(found) = own.next() else {
            return "no projector has taken it up".to_owned();
        };
        let end = ends.get(&(topic, ledger)).copied().unwrap_or(0);
        behind += (end - found.checkpoint.next_offset).max(0);
    }
    match behind {
        // Behind the last event lie a transaction's markers, which no checkpoint counts.
        0..=4 => "up to the log's end".to_owned(),
        behind => format!("{behind} offsets before the log's end"),
    }
}

async fn ends(place: &Place) -> anyhow::Result<Ends> {
    let ledgers = 0..place.ledgers;
    let places = ledgers.flat_map(|it| [(Stream::Users, it), (Stream::Identifiers, it)]);
    let ends = HighWatermarks::new(&place.kafka, places.collect())?
        .latest()
        .await?;
    let topics = place.kafka.topics();
    let end = |&((stream, partition), end): &((Stream, i32), i64)| ((topics.of(stream), partition), end);
    Ok(ends.iter().map(end).collect())
}
