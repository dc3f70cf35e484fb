//! Which partitions Kafka has, and which the log must have.

use std::collections::BTreeMap;

use event_log::KafkaConfig;
use event_log::identity::IdentityError;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaRespErr;
use schemas::Stream;

use crate::error::Error;
use crate::reading::{PATIENCE, Place, unreachable};

/// The partitions of each topic, counted in Kafka itself: the catalog's word may be forged.
#[derive(Debug)]
pub(super) struct Partitions {
    chained: BTreeMap<Stream, i32>,
    keys: (String, i32),
}

impl Partitions {
    pub(super) async fn count(config: &KafkaConfig) -> Result<Self, Error> {
        let asked = config.clone();
        let counted = tokio::task::spawn_blocking(move || count(&asked)).await;
        counted
            .map_err(|error| Error::Interrupted(error.to_string()))?
            .map_err(|error| unreachable(config, Some(error.to_string())))
    }

    /// Every chained partition there is.
    pub(super) fn present(&self) -> Vec<Place> {
        let of = |(&stream, &count): (&Stream, &i32)| (0..count).map(move |partition| (stream, partition));
        self.chained.iter().flat_map(of).collect()
    }

    /// The partitions of ledgers that a log with this many has, and Kafka has not.
    pub(super) fn absent(&self, ledgers: i32) -> Vec<Place> {
        let missing = |stream| {
            let found = self.chained.get(&stream).copied().unwrap_or_default();
            (found..ledgers).map(move |partition| (stream, partition))
        };
        [Stream::Users, Stream::Identifiers]
            .into_iter()
            .flat_map(missing)
            .collect()
    }

    /// Keys are not chained, but without them the log is not as it was created either.
    pub(super) fn check_keys(&self, ledgers: i32) -> Result<(), Error> {
        let (topic, found) = self.keys.clone();
        if found == ledgers {
            return Ok(());
        }
        let expected = ledgers;
        Err(IdentityError::Partitions {
            topic,
            found,
            expected,
        }
        .into())
    }
}

fn count(config: &KafkaConfig) -> Result<Partitions, KafkaError> {
    let client: BaseConsumer = config.client().create()?;
    let topics = config.topics();
    let mut chained = BTreeMap::new();
    for stream in Stream::ALL {
        chained.insert(stream, count_of(&client, &topics.of(stream))?);
    }
    let keys = (topics.keys(), count_of(&client, &topics.keys())?);
    Ok(Partitions { chained, keys })
}

/// 0 where there is no such topic. A topic that may not be seen is an error, not a missing one.
fn count_of(client: &BaseConsumer, topic: &str) -> Result<i32, KafkaError> {
    let metadata = client.fetch_metadata(Some(topic), PATIENCE)?;
    let Some(found) = metadata.topics().iter().find(|found| found.name() == topic) else {
        return Ok(0);
    };
    match found.error() {
        None => Ok(i32::try_from(found.partitions().len()).unwrap_or(i32::MAX)),
        Some(
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART
            | RDKafkaRespErr::RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC,
        ) => Ok(0),
        Some(error) => Err(KafkaError::MetadataFetch(error.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(catalog: i32, users: i32, identifiers: i32) -> Partitions {
        let counts = [
            (Stream::Catalog, catalog),
            (Stream::Users, users),
            (Stream::Identifiers, identifiers),
        ];
        Partitions {
            chained: counts.into_iter().collect(),
            keys: ("keys".to_owned(), users),
        }
    }

    #[test]
    fn a_deleted_partition_is_absent() {
        assert_eq!(counted(1, 2, 2).absent(2), []);
        let found = counted(0, 2, 1);
        assert_eq!(found.absent(2), [(Stream::Identifiers, 1)]);
        assert_eq!(found.present().len(), 3);
        assert!(found.check_keys(3).is_err() && found.check_keys(2).is_ok());
    }
}
