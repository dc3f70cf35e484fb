//! How far each partition had come: by that a topic that was made anew, or cut, is told from one that
//! is whole.
//!
//! A chain shows what is changed within a partition, and a checkpoint what is missing behind it. Who
//! reads an empty partition from its beginning has neither: it would be taken for a new one, and its
//! users for people who never registered.

use std::time::Duration;

use rdkafka::Offset;
use rdkafka::consumer::BaseConsumer;
use rdkafka::error::KafkaError;
use schemas::Stream;
use schemas::catalog::PartitionEnd;

use crate::config::KafkaConfig;
use crate::identity_reader::IdentityError;
use crate::watermarks::{self, WatermarkError};

const TIMEOUT: Duration = Duration::from_secs(10);
const KEYS: &str = "keys";

/// The end of every partition of users, identifiers and keys at this moment. Blocks.
pub fn extent(config: &KafkaConfig, ledgers: i32) -> Result<Vec<PartitionEnd>, KafkaError> {
    let client: BaseConsumer = watermarks::client(config)?;
    let names = [Stream::Users.name(), Stream::Identifiers.name(), KEYS];
    let mut ends: Vec<PartitionEnd> = names
        .into_iter()
        .flat_map(|topic| {
            (0..ledgers).map(move |partition| PartitionEnd {
                topic: topic.to_owned(),
                partition,
                next_offset: 0,
            })
        })
        .collect();
    let found = ask(&client, config, &ends, Offset::End)?;
    for (end, found) in ends.iter_mut().zip(found) {
        end.next_offset = found;
    }
    Ok(ends)
}

/// Refuses a log of which something is missing that an earlier start saw.
pub(crate) fn check(
    client: &BaseConsumer,
    config: &KafkaConfig,
    recorded: &[PartitionEnd],
) -> Result<(), IdentityError> {
    let begins = ask(client, config, recorded, Offset::Beginning)?;
    let ends = ask(client, config, recorded, Offset::End)?;
    for ((known, begin), end) in recorded.iter().zip(begins).zip(ends) {
        let found = if begin > 0 {
            format!("begins at offset {begin}")
        } else if end < known.next_offset {
            format!("ends at offset {end}")
        } else {
            continue;
        };
        return Err(IdentityError::Lost {
            topic: topic(config, &known.topic),
            partition: known.partition,
            found,
            reached: known.next_offset,
        });
    }
    Ok(())
}

/// Offset of the catalog's first record that is still there. Blocks.
pub(crate) fn begin_of_catalog(client: &BaseConsumer, config: &KafkaConfig) -> Result<i64, KafkaError> {
    let catalog = PartitionEnd {
        topic: Stream::Catalog.name().to_owned(),
        partition: 0,
        next_offset: 0,
    };
    let begins = ask(client, config, &[catalog], Offset::Beginning)?;
    Ok(begins.first().copied().unwrap_or(0))
}

/// The first of these topics that holds anything. Blocks.
pub(crate) fn holding(
    client: &BaseConsumer,
    config: &KafkaConfig,
    streams: &[(Stream, i32)],
) -> Result<Option<String>, KafkaError> {
    for &(stream, partitions) in streams {
        let places: Vec<PartitionEnd> = (0..partitions)
            .map(|partition| PartitionEnd {
                topic: stream.name().to_owned(),
                partition,
                next_offset: 0,
            })
            .collect();
        if ask(client, config, &places, Offset::End)?
            .iter()
            .any(|end| *end > 0)
        {
            return Ok(Some(config.topics().of(stream)));
        }
    }
    Ok(None)
}

fn topic(config: &KafkaConfig, name: &str) -> String {
    format!("{}.{name}", config.topic_prefix)
}

/// One ListOffsets request a broker, for the first or the last offsets.
fn ask(
    client: &BaseConsumer,
    config: &KafkaConfig,
    places: &[PartitionEnd],
    which: Offset,
) -> Result<Vec<i64>, KafkaError> {
    let places: Vec<_> = places
        .iter()
        .map(|p| (topic(config, &p.topic), p.partition))
        .collect();
    watermarks::offsets(client, &places, which, TIMEOUT).map_err(|error| match error {
        WatermarkError::Kafka(error) => KafkaError::clone(&error),
        WatermarkError::Missing(..) | WatermarkError::Busy => {
            KafkaError::OffsetFetch(rdkafka::types::RDKafkaErrorCode::UnknownPartition)
        }
    })
}
