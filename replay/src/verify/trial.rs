//! The catalog is judged first: what it says of the log, the checks of all other partitions rest on.

use std::collections::BTreeMap;

use event_log::identity::{IdentityError, LogIdentity};
use event_log::{Record, Topics};
use schemas::log::{LogCreated, LogEvent};
use schemas::{Event, SchemaIdError, SchemaIds, Stream};

use super::expect::ExpectedHead;
use super::rules::decode;
use super::verifier::{Facts, Verifier};
use crate::error::Error;
use crate::reading::{Item, Place, known_rules};

pub const CATALOG: Place = (Stream::Catalog, 0);

/// Follows the catalog's chain and notes what it says of its log.
pub struct Trial {
    topics: Topics,
    verifier: Verifier,
    created: Option<LogCreated>,
    schema_ids: SchemaIds,
    refused: Option<SchemaIdError>,
}

/// What may be believed.
pub struct Judgement {
    pub facts: Facts,
    /// Where it may not be: what a log like that would be refused for, were it true.
    pub doubt: Option<Error>,
}

impl Trial {
    pub fn new(topics: Topics) -> Self {
        Self {
            verifier: Verifier::new(Facts::unknown(topics.clone()), &[CATALOG]),
            topics,
            created: None,
            schema_ids: SchemaIds::default(),
            refused: None,
        }
    }

    /// Heads of other partitions are none of its business.
    pub fn expect(&mut self, head: &ExpectedHead) -> Result<(), Error> {
        if (head.stream, head.partition) == CATALOG {
            self.verifier.expect(head.clone())?;
        }
        Ok(())
    }

    /// Takes the next record of the catalog.
    pub fn take(&mut self, item: Item<'_>) {
        if let Item::Record(record) = &item {
            self.listen(record);
        }
        self.verifier.take(item);
    }

    fn listen(&mut self, record: &Record) {
        if !matches!(record.event_type.name, "log.created" | "schema.registered") {
            return;
        }
        // What cannot be decoded, the verifier finds.
        match decode(record).map(|stored| stored.data) {
            Ok(Event::Log(LogEvent::Created(event))) => {
                self.created.get_or_insert(event);
            }
            Ok(Event::Log(LogEvent::SchemaRegistered(event))) => {
                if let Err(error) = self.schema_ids.learn(&event) {
                    self.refused.get_or_insert(error);
                }
            }
            _ => {}
        }
    }

    /// Refuses a log whose catalog is sound and whose rules this program does not know.
    pub fn finish(self) -> Result<Judgement, Error> {
        let is_sound = self.verifier.finish(&BTreeMap::new()).is_sound();
        let refused = self.refused.map(|error| IdentityError::from(error).into());
        let rules = self.created.as_ref().map(known_rules).transpose().err();
        let doubt = rules.or(refused);
        let created = self.created.filter(|_| is_sound);
        match (created, doubt) {
            (Some(_), Some(error)) => Err(error),
            (Some(created), None) => {
                let schema_ids = self.schema_ids;
                let log = LogIdentity {
                    created,
                    schema_ids,
                    shard_map: None, // verifying needs no shards
                };
                let facts = Facts::of(self.topics, log);
                Ok(Judgement { facts, doubt: None })
            }
            (None, doubt) => Ok(Judgement {
                facts: Facts::unknown(self.topics),
                doubt,
            }),
        }
    }
}
