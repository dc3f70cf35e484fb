use schemas::catalog::{PermissionAttached, PermissionDefined, RoleDefined};
use schemas::log::SchemaRegistered;
use schemas::user::{RoleGranted, RoleRevoked, UserEvent, UserRegistered};
use schemas::{
    Actor, BlindIndex, ClaimId, EventId, Meta, PermissionId, Position, RequestId, RoleId, Sealed,
    Sha256Digest, Timestamp, UserId, frame, schema_text,
};
use uuid::Uuid;

use super::*;
use schemas::catalog::CatalogEvent;

const CATALOG: Place = (Stream::Catalog, 0);
const LEDGERS: i32 = 2;
const TOPIC: &str = "rolecall.users";

/// A log in memory, and a node's model that takes what a test hands it.
struct Fixture {
    applier: Applier,
    model: Arc<Model>,
    next: BTreeMap<Place, i64>,
    start: Instant,
    /// Of the records that come.
    prev_hash: Sha256Digest,
}

impl Fixture {
    fn new() -> Self {
        Self::knowing(SchemaIds::numbered())
    }

    fn knowing(ids: SchemaIds) -> Self {
        let model = Arc::new(Model::new(LEDGERS));
        Self {
            applier: Applier::new(Arc::clone(&model), ids),
            model,
            next: BTreeMap::new(),
            start: Instant::now(),
            prev_hash: Sha256Digest([0; 32]),
        }
    }

    /// The record comes; its offset.
    fn comes(&mut self, place: Place, id: &str, event: &Event, basis: &[Position]) -> i64 {
        let offset = *self.next.entry(place).or_default();
        self.next.insert(place, offset + 1);
        let meta = Meta {
            event_id: EventId::new_v7(),
            aggregate_id: id.to_owned(),
            sequence: 1,
            occurred_at: Timestamp::from_micros(0),
            actor: Actor::System,
            request_id: RequestId::new_v7(),
            causation_id: None,
            idempotency: None,
            chain_seq: offset,
            prev_hash: self.prev_hash,
            basis: basis.to_vec(),
        };
        let schema_id = SchemaIds::numbered().id_of(event.event_type()).unwrap();
        self.applier.take(TailItem::Record(Record {
            stream: place.0,
            partition: place.1,
            offset,
            timestamp_ms: 0,
            key: id.as_bytes().to_vec(),
            value: frame(schema_id, &event.encode(&meta).unwrap()),
            event_type: event.event_type(),
            headers: Vec::new(),
        }));
        offset
    }

    fn catalog(&mut self, event: CatalogEvent, basis: &[Position]) -> i64 {
        self.comes(CATALOG, "catalog", &Event::Catalog(event), basis)
    }

    fn user(&mut self, ledger: i32, user: UserId, event: UserEvent, basis: &[Position]) -> i64 {
        self.comes(
            (Stream::Users, ledger),
            &user.to_string(),
            &Event::User(event),
            basis,
        )
    }

    fn apply_after(&mut self, seconds: u64) {
        self.applier
            .apply(self.start + Duration::from_secs(seconds))
            .unwrap();
    }

    fn applied(&self, (stream, partition): Place) -> i64 {
        self.model.positions.next(stream, partition)
    }
}

fn at((stream, partition): Place, offset: i64) -> Position {
    Position {
        stream,
        partition,
        offset,
    }
}

fn role() -> RoleId {
    RoleId::from_uuid(Uuid::from_u128(7))
}

fn registered(user_id: UserId) -> UserEvent {
    let (sealed, index) = (Sealed::from_bytes(&[]), BlindIndex(Sha256Digest([0; 32])));
    UserEvent::Registered(UserRegistered {
        user_id,
        claim_id: ClaimId::new_v7(),
        username: sealed.clone(),
        username_index: index,
        email: sealed.clone(),
        email_index: index,
        phone_number: None,
        password_hash: sealed,
        email_verified: false,
        phone_verified: false,
    })
}

fn granted() -> UserEvent {
    UserEvent::RoleGranted(RoleGranted::of(role()))
}

fn revoked() -> UserEvent {
    UserEvent::RoleRevoked(RoleRevoked::of(role()))
}

fn role_defined() -> CatalogEvent {
    CatalogEvent::RoleDefined(RoleDefined {
        role_id: role(),
        name: "reader".to_owned(),
        description: None,
        parent_id: None,
        level: 0,
        is_system_role: false,
    })
}

#[test]
fn a_grant_waits_for_its_basis_and_a_revocation_does_not() {
    let mut log = Fixture::new();
    let (user, users) = (UserId::new_v7(), (Stream::Users, 0));
    log.user(0, user, registered(user), &[]);
    let revoked_at = log.user(0, user, revoked(), &[at(CATALOG, 3)]);
    log.user(0, user, granted(), &[at(CATALOG, 0)]);
    log.apply_after(0);
    assert_eq!(log.applied(users), revoked_at + 1);
    log.catalog(role_defined(), &[]);
    log.apply_after(0);
    assert_eq!(log.applied(users), revoked_at + 2);
}

#[test]
fn the_catalog_goes_on_without_a_ledger_that_lags_and_refuses_its_users() {
    let mut log = Fixture::new();
    log.catalog(role_defined(), &[at((Stream::Users, 1), 0)]);
    log.apply_after(0);
    log.apply_after(4);
    assert_eq!(log.applied(CATALOG), 0);
    log.apply_after(6);
    assert_eq!(log.applied(CATALOG), 1);
    let positions = &log.model.positions;
    assert!(positions.is_refused(1) && !positions.is_refused(0));
    let user = UserId::new_v7();
    log.user(1, user, registered(user), &[]);
    log.apply_after(6);
    assert!(!log.model.positions.is_refused(1));
}

#[test]
fn a_ledger_that_waits_too_long_for_the_catalog_is_refused_alone() {
    let mut log = Fixture::new();
    let user = UserId::new_v7();
    log.user(0, user, registered(user), &[]);
    log.user(0, user, granted(), &[at(CATALOG, 0)]);
    log.apply_after(0);
    assert!(!log.model.positions.is_refused(0));
    log.apply_after(6);
    assert!(log.model.positions.is_refused(0) && !log.model.positions.is_refused(1));
    assert_eq!(log.applied((Stream::Users, 0)), 1);
    log.catalog(role_defined(), &[]);
    log.apply_after(6);
    assert!(!log.model.positions.is_refused(0));
}

#[test]
fn a_type_is_waited_for_until_the_catalog_registers_it() {
    let ids = SchemaIds::numbered();
    let registration = |name: &str, version: i32| {
        let event_type = schemas::find_event_type(name, version).unwrap();
        Event::Log(LogEvent::SchemaRegistered(SchemaRegistered {
            event_type: name.to_owned(),
            event_version: version,
            schema_id: ids.id_of(event_type).unwrap(),
            fingerprint: schema_text(event_type).unwrap().1,
        }))
    };
    let mut known = SchemaIds::default();
    let Event::Log(LogEvent::SchemaRegistered(own)) = registration("schema.registered", 1) else {
        unreachable!()
    };
    known.learn(&own).unwrap();
    let mut log = Fixture::knowing(known);
    let user = UserId::new_v7();
    log.user(0, user, registered(user), &[]);
    log.apply_after(0);
    assert_eq!(log.applied((Stream::Users, 0)), 0);
    log.comes(CATALOG, "log", &registration("user.registered", 2), &[]);
    log.apply_after(0);
    assert_eq!(log.applied((Stream::Users, 0)), 1);
}

#[test]
fn a_lost_event_is_never_passed_over() {
    let mut log = Fixture::new();
    log.catalog(role_defined(), &[]);
    log.apply_after(0);
    log.next.insert(CATALOG, 5);
    log.catalog(
        CatalogEvent::PermissionDefined(PermissionDefined {
            permission_id: PermissionId::new_v7(),
            name: "article.read".to_owned(),
            resource: "article".to_owned(),
            action: "read".to_owned(),
            description: None,
            category: None,
            is_dangerous: false,
        }),
        &[],
    );
    let outcome = log.applier.apply(log.start);
    assert!(matches!(
        outcome,
        Err(TailError::Gap {
            expected: 1,
            found: 5,
            ..
        })
    ));
}

/// A node that was loaded up to what `log` has in ledger 0, and goes on with what comes to it.
fn loaded_from(log: &Fixture) -> Fixture {
    let mut node = Fixture::new();
    let reach = log.model.reach(0, TOPIC).unwrap();
    node.model.restore(0, reach, vec![log.model.rows(0)]);
    node.applier.resume(0, reach);
    node.next.insert((Stream::Users, 0), reach.last_offset + 1);
    node
}

#[test]
fn a_loaded_ledger_goes_on_behind_its_snapshot() {
    let mut log = Fixture::new();
    let user = UserId::new_v7();
    log.user(0, user, registered(user), &[]);
    log.user(0, user, granted(), &[]);
    log.apply_after(0);
    let mut node = loaded_from(&log);
    assert_eq!(node.applied((Stream::Users, 0)), 2);
    // Another partition's event may rest on what was loaded.
    node.catalog(role_defined(), &[at((Stream::Users, 0), 1)]);
    node.apply_after(0);
    assert_eq!(node.applied(CATALOG), 1);
    node.prev_hash = log.model.reach(0, TOPIC).unwrap().chain.hash;
    node.user(0, user, revoked(), &[]);
    node.apply_after(0);
    let access = node.model.engine.ask(user).access().unwrap();
    assert!(access.is_active() && access.grants().is_empty());
    assert_eq!(node.model.next_seq(0), Some(3));
}

#[test]
fn a_log_that_does_not_go_on_from_a_snapshot_is_refused() {
    let mut log = Fixture::new();
    let user = UserId::new_v7();
    log.user(0, user, registered(user), &[]);
    log.apply_after(0);
    let mut node = loaded_from(&log);
    node.prev_hash = Sha256Digest([9; 32]);
    node.user(0, user, granted(), &[]);
    let outcome = node.applier.apply(node.start);
    assert!(
        matches!(outcome, Err(TailError::Fork { offset: 1, .. })),
        "{outcome:?}"
    );
}

#[test]
fn a_detached_permission_does_not_wait() {
    let attached = CatalogEvent::PermissionAttached(PermissionAttached {
        role_id: role(),
        permission_id: PermissionId::new_v7(),
    });
    assert!(waits_for_basis(&Event::Catalog(attached)));
    assert!(!waits_for_basis(&Event::User(revoked())));
}
