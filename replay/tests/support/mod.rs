//! True logs in memory, built as a writer builds them.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::collections::BTreeMap;

use event_log::identity::LogIdentity;
use event_log::{Record, Topics};
use replay::verify::{Facts, Verdict, Verifier};
use schemas::catalog::{CatalogEvent, RoleDefined};
use schemas::log::{LedgerClaimed, LogCreated, LogEvent, SchemaRegistered};
use schemas::user::{RoleGranted, RoleRevoked, UserDeactivated, UserEvent, UserReactivated};
use schemas::{
    Actor, ChainHead, CloudEventHeaders, Event, EventId, EventType, LogId, Meta, Position, RequestId, RoleId,
    SchemaIds, Sha256Digest, Stream, Timestamp, UserId, WriterId, event_types, frame, schema_text, unframe,
};

pub const USERS: (Stream, i32) = (Stream::Users, 0);
pub const CATALOG: (Stream, i32) = (Stream::Catalog, 0);

/// A log of one ledger, with its records by partition.
pub struct Log {
    pub identity: LogIdentity,
    pub topics: Topics,
    pub records: Vec<Record>,
    places: BTreeMap<(Stream, i32), (ChainHead, i64)>,
    sequences: BTreeMap<String, i64>,
    clock: i64,
    pub basis: Vec<Position>,
}

impl Log {
    pub fn new() -> Self {
        Self::under("test")
    }

    /// With topics of this prefix, which the chain takes in.
    pub fn under(prefix: &str) -> Self {
        let created = LogCreated {
            log_id: LogId::new_v7(),
            ledgers: 1,
            groups: 1,
            ledger_function: domain::LEDGER_FUNCTION.to_owned(),
            chain_version: 1,
            index_key_id: "index".to_owned(),
            key_check: Sha256Digest::of(b"key"),
            administrator: UserId::new_v7(),
        };
        Self {
            identity: LogIdentity {
                created,
                schema_ids: SchemaIds::numbered(),
                shard_map: None,
            },
            topics: Topics::new(prefix),
            records: Vec::new(),
            places: BTreeMap::new(),
            sequences: BTreeMap::new(),
            clock: 1_700_000_000_000_000,
            basis: Vec::new(),
        }
    }

    pub fn append(&mut self, place: (Stream, i32), aggregate: &str, event: impl Into<AnyEvent>) -> &Record {
        let last = self.sequences.get(aggregate).copied().unwrap_or_default();
        self.append_as(place, aggregate, last + 1, event)
    }

    pub fn append_as(
        &mut self,
        (stream, partition): (Stream, i32),
        aggregate: &str,
        sequence: i64,
        event: impl Into<AnyEvent>,
    ) -> &Record {
        let AnyEvent(event) = event.into();
        let (head, offset) = self
            .places
            .get(&(stream, partition))
            .copied()
            .unwrap_or((ChainHead::START, 0));
        self.sequences.insert(aggregate.to_owned(), sequence);
        self.clock += 1_000;
        let meta = Meta {
            event_id: EventId::new_v7(),
            aggregate_id: aggregate.to_owned(),
            sequence,
            occurred_at: Timestamp::from_micros(self.clock),
            actor: Actor::System,
            request_id: RequestId::new_v7(),
            causation_id: None,
            idempotency: None,
            chain_seq: head.next_seq,
            prev_hash: head.hash,
            basis: self.basis.clone(),
        };
        let id = self.identity.schema_ids.id_of(event.event_type()).unwrap();
        let (key, value) = (
            aggregate.as_bytes().to_vec(),
            frame(id, &event.encode(&meta).unwrap()),
        );
        let headers = CloudEventHeaders::of(self.identity.created.log_id, &event, &meta);
        let headers = headers
            .iter()
            .map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()))
            .collect();
        let head = head.after(&self.topics.of(stream), partition, &key, &value);
        // Every third record is followed by a transaction marker, which takes an offset.
        let next = offset + if head.next_seq % 3 == 0 { 2 } else { 1 };
        self.places.insert((stream, partition), (head, next));
        let event_type = event.event_type();
        self.records.push(Record {
            stream,
            partition,
            offset,
            timestamp_ms: 0,
            key,
            value,
            event_type,
            headers,
        });
        self.records.last().unwrap()
    }

    /// Continues the chain behind a record made elsewhere.
    pub fn take(&mut self, record: &Record) {
        let place = (record.stream, record.partition);
        let (head, _) = self.places.get(&place).copied().unwrap_or((ChainHead::START, 0));
        let topic = self.topics.of(record.stream);
        let head = head.after(&topic, record.partition, &record.key, &record.value);
        self.places.insert(place, (head, record.offset + 1));
        self.records.push(record.clone());
    }

    pub fn claim(&mut self, place: (Stream, i32)) {
        let claim = LedgerClaimed {
            instance: WriterId::new_v7(),
            address: "http://127.0.0.1:8080".to_owned(),
            group: 0,
        };
        self.append_as(
            place,
            &format!("ledger-{}", place.1),
            1,
            LogEvent::LedgerClaimed(claim),
        );
    }

    pub fn created(&mut self) {
        let created = self.identity.created.clone();
        self.append(CATALOG, "log", LogEvent::Created(created));
    }

    pub fn schema(&mut self, sequence: i64) {
        self.schema_of(sequence, UserEvent::TYPES[0]);
    }

    fn schema_of(&mut self, sequence: i64, event_type: &'static EventType) {
        let registered = SchemaRegistered {
            event_type: event_type.name.to_owned(),
            event_version: event_type.version,
            schema_id: self.identity.schema_ids.id_of(event_type).unwrap(),
            fingerprint: schema_text(event_type).unwrap().1,
        };
        self.append_as(CATALOG, "log", sequence, LogEvent::SchemaRegistered(registered));
    }

    /// A log from its creation on: a catalog that names every schema id, and a user.
    pub fn whole(prefix: &str) -> Self {
        let mut log = Self::under(prefix);
        log.created();
        for (sequence, event_type) in (2..).zip(event_types()) {
            log.schema_of(sequence, event_type);
        }
        log.claim(CATALOG);
        log.append(CATALOG, "catalog", Self::role("editor"));
        log.claim(USERS);
        let user = UserId::new_v7().to_string();
        for _ in 0..4 {
            log.append(USERS, &user, UserEvent::Reactivated(UserReactivated {}));
        }
        log
    }

    /// A users partition: two claims, and `count` events of three users, all of one size.
    pub fn with_users(count: usize) -> Self {
        let mut log = Self::new();
        let users = [UserId::new_v7(), UserId::new_v7(), UserId::new_v7()].map(|id| id.to_string());
        for index in 0..count {
            if index % 7 == 0 {
                log.claim(USERS);
            }
            let event = match index % 4 {
                0 => UserEvent::RoleGranted(RoleGranted::of(RoleId::new_v7())),
                1 => UserEvent::RoleRevoked(RoleRevoked::of(RoleId::new_v7())),
                2 => UserEvent::Deactivated(UserDeactivated {
                    revoked_sessions: vec![],
                }),
                _ => UserEvent::Reactivated(UserReactivated {}),
            };
            log.append(USERS, &users[index * 5 % 3], event);
        }
        log
    }

    pub fn role(name: &str) -> CatalogEvent {
        CatalogEvent::RoleDefined(RoleDefined {
            role_id: RoleId::new_v7(),
            name: name.to_owned(),
            description: None,
            parent_id: None,
            level: 0,
            is_system_role: false,
        })
    }

    pub fn verifier(&self) -> Verifier {
        Verifier::new(
            Facts::of(self.topics.clone(), self.identity.clone()),
            &[CATALOG, USERS],
        )
    }

    pub fn verify(&self, records: &[Record]) -> Verdict {
        let mut verifier = self.verifier();
        for record in records {
            verifier.feed(record);
        }
        verifier.finish(&self.ends())
    }

    pub fn ends(&self) -> BTreeMap<(Stream, i32), i64> {
        self.places
            .iter()
            .map(|(&place, &(_, next))| (place, next))
            .collect()
    }
}

/// Puts another event into a record, as a forger would who leaves the rest of it alone.
pub fn alter(record: &mut Record, change: impl FnOnce(&mut LogEvent)) {
    let (id, body) = unframe(&record.value).unwrap();
    let mut stored = Event::decode_as(record.event_type, body).unwrap();
    match &mut stored.data {
        Event::Log(event) => change(event),
        other => panic!("not about the log: {other:?}"),
    }
    record.value = frame(id, &stored.data.encode(&stored.meta).unwrap());
}

pub fn alter_creation(record: &mut Record, change: impl FnOnce(&mut LogCreated)) {
    alter(record, |event| match event {
        LogEvent::Created(created) => change(created),
        other => panic!("not log.created: {other:?}"),
    });
}

pub struct AnyEvent(Event);

impl From<UserEvent> for AnyEvent {
    fn from(event: UserEvent) -> Self {
        Self(Event::User(event))
    }
}

impl From<LogEvent> for AnyEvent {
    fn from(event: LogEvent) -> Self {
        Self(Event::Log(event))
    }
}

impl From<CatalogEvent> for AnyEvent {
    fn from(event: CatalogEvent) -> Self {
        Self(Event::Catalog(event))
    }
}
