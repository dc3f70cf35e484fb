//! The form in which states are saved, frozen for each version of it.
//!
//! A state that is read back by a program that means something else by it is a wrong answer, and nothing else
//! would notice: its seal is genuine.

use std::path::Path;

use schemas::catalog::{
    ApprovalRequested, BootstrapEpochRaised, ChangeKind, ExtentRecorded, PartitionEnd, PermissionAttached,
    PermissionDefined, ProposedChange, RoleDefined,
};
use schemas::identifier::{IdentifierConfirmed, IdentifierKind, IdentifierReleased, IdentifierReserved};
use schemas::user::{
    ClaimAbandoned, DeviceFailures, EmailVerificationRequested, LockReason, LoginFailed, PasskeyAdded,
    PasswordChangeCause, PasswordChanged, PasswordRehashed, PhoneVerificationFailed,
    PhoneVerificationRequested, ProfileChanged, RoleGranted, ServiceAccountCreated, ServiceKeyIssued,
    ServiceKeyRevoked, SessionRefreshed, TotpEnabled, TotpEnrolmentStarted, UserDeactivated, UserErased,
    UserLocked, UserLoggedIn, UserRegistered,
};
use schemas::{
    Actor, BlindIndex, GrantScope, Idempotency, Meta, Position, Sealed, Sha256Digest, Stored, Timestamp,
};
use uuid::Uuid;

use super::*;
use crate::entry::Entry;

fn id<T>(n: u128) -> schemas::Id<T> {
    Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0000 + n).into()
}

fn at(n: i64) -> Timestamp {
    Timestamp::from_micros(1_790_000_000_000_000 + n)
}

fn sealed(n: u8) -> Sealed {
    Sealed::from_bytes(&[n; 8])
}

fn hash(n: u8) -> Sha256Digest {
    Sha256Digest([n; 32])
}

/// As they stand in the log, each the answer to a key.
fn recorded<A: LedgerAggregate>(aggregate_id: &str, events: Vec<A::Event>) -> Vec<(Stored<Event>, Position)> {
    let recorded = (1..).zip(events).map(|(sequence, event)| {
        let number = u8::try_from(sequence).unwrap();
        let meta = Meta {
            event_id: id(100 + u128::from(number)),
            aggregate_id: aggregate_id.to_owned(),
            sequence,
            occurred_at: at(sequence),
            actor: Actor::User(id(5)),
            request_id: id(6),
            causation_id: Some(id(7)),
            idempotency: Some(Idempotency {
                key_digest: hash(number),
                request_digest: hash(9),
            }),
            chain_seq: sequence,
            prev_hash: hash(11),
            basis: vec![Position {
                stream: Stream::Catalog,
                partition: 0,
                offset: 12,
            }],
        };
        let position = Position {
            stream: A::STREAM,
            partition: 1,
            offset: sequence,
        };
        (
            Stored {
                meta,
                data: A::wrap(event),
            },
            position,
        )
    });
    recorded.collect()
}

/// The state after each event.
fn states<A: LedgerAggregate>(events: Vec<A::Event>) -> Vec<serde_json::Value> {
    let mut entry = Entry::<A>::default();
    let states = recorded::<A>("aggregate", events)
        .into_iter()
        .map(|(stored, position)| {
            let Stored { meta, data } = stored;
            let data = A::unwrap(data).unwrap();
            entry.replay(Stored { meta, data }, position);
            serde_json::from_slice(&entry.to_state().unwrap()).unwrap()
        });
    states.collect()
}

fn is_frozen<A: LedgerAggregate>(name: &str, events: Vec<A::Event>) {
    let states = states::<A>(events);
    let file = format!("golden/{name}.state.v{}.json", A::STATE_VERSION);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(&file);
    if !path.exists() {
        std::fs::write(&path, serde_json::to_string_pretty(&states).unwrap()).unwrap();
        panic!("{file} was missing and is written now: commit it");
    }
    let golden: Vec<serde_json::Value> =
        serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    assert_eq!(golden.len(), states.len());
    for (golden, state) in golden.iter().zip(&states) {
        assert_eq!(
            golden, state,
            "The saved state of {name} is another one than {file} (left) says. Raise its STATE_VERSION, so that no \
             state of the former form is read as one of this, and run this test again: it writes the new file, \
             which is to be committed"
        );
    }
}

#[test]
fn the_state_of_a_user_is_frozen() {
    is_frozen::<User>("user", user_events());
}

#[test]
fn the_state_of_a_service_account_is_frozen() {
    is_frozen::<User>("service_account", service_account_events());
}

#[test]
fn the_state_of_an_identifier_is_frozen() {
    let events = identifier_events("name").into_iter();
    let events = events.filter_map(|(stored, _)| Identifier::unwrap(stored.data));
    is_frozen::<Identifier>("identifier", events.collect());
}

#[test]
fn the_state_of_the_catalog_is_frozen() {
    is_frozen::<Catalog>("catalog", catalog_events());
}

fn scope() -> GrantScope {
    GrantScope {
        resource: "document".to_owned(),
        id: Some("reports/".to_owned()),
        is_prefix: true,
    }
}

fn user_events() -> Vec<UserEvent> {
    vec![
        UserEvent::ClaimAbandoned(ClaimAbandoned { claim_id: id(31) }),
        UserEvent::Registered(UserRegistered {
            user_id: id(2),
            claim_id: id(30),
            username: sealed(1),
            username_index: BlindIndex(hash(2)),
            email: sealed(3),
            email_index: BlindIndex(hash(4)),
            phone_number: Some(sealed(20)),
            password_hash: sealed(5),
            email_verified: false,
            phone_verified: false,
        }),
        UserEvent::RoleGranted(RoleGranted {
            expires_at: Some(at(1_000)),
            ..RoleGranted::of(id(40))
        }),
        UserEvent::RoleGranted(RoleGranted::of(id(41))),
        UserEvent::RoleGranted(RoleGranted {
            scope: Some(scope()),
            ..RoleGranted::of(id(41))
        }),
        UserEvent::LoggedIn(UserLoggedIn {
            session_id: id(32),
            nonce: sealed(6),
            refresh_token_hash: hash(7),
            expires_at: at(2_000),
            device_id: id(46),
            despite_lock: false,
            ip_network: Some("192.0.0.0/16".to_owned()),
            ip_address: Some(sealed(21)),
            user_agent: Some(sealed(22)),
            device_fingerprint: Some(sealed(23)),
            country_code: Some("DE".to_owned()),
            city: Some(sealed(24)),
            authenticated_at: Some(at(5)),
            methods: vec!["pwd".to_owned()],
            factor: None,
            idle_timeout: Some(1_500_000),
            is_new_device: true,
            risk_score: 10,
            risk_reasons: vec!["new_device".to_owned()],
        }),
        UserEvent::SessionRefreshed(SessionRefreshed {
            session_id: id(32),
            generation: 2,
            nonce: sealed(13),
            refresh_token_hash: hash(14),
            refreshed_at: at(17),
            ip_network: Some("198.51.0.0/16".to_owned()),
            ip_address: None,
            user_agent: None,
            country_code: Some("NO".to_owned()),
            city: None,
            risk_score: 0,
            risk_reasons: vec![],
        }),
        UserEvent::TotpEnrolmentStarted(TotpEnrolmentStarted {
            secret: sealed(30),
            expires_at: at(4_000),
        }),
        UserEvent::TotpEnabled(TotpEnabled {
            session_id: id(32),
            totp_step: 57_600_000,
            enabled_at: at(30),
            recovery_code_nonce: sealed(31),
            recovery_code_hashes: vec![hash(32), hash(33)],
        }),
        UserEvent::PasskeyAdded(PasskeyAdded {
            credential_id: id(50),
            credential_index: BlindIndex(hash(34)),
            passkey: sealed(35),
            name: sealed(36),
            signature_counter: 7,
            is_backed_up: true,
            ceremony_id: id(51),
            session_id: id(32),
            added_at: at(31),
        }),
        UserEvent::LoginFailed(LoginFailed {
            count: 2,
            first_at: at(18),
            last_at: at(19),
            known_devices: vec![DeviceFailures {
                device_id: id(46),
                count: 1,
            }],
            ip_network: None,
            ip_address: None,
            user_agent: None,
        }),
        UserEvent::Locked(UserLocked {
            reason: LockReason::FailedLogins,
            locked_until: at(3_000),
        }),
        UserEvent::PasswordChanged(PasswordChanged {
            password_hash: sealed(25),
            revoked_sessions: vec![],
            cause: PasswordChangeCause::Reset,
            known_device: Some(id(79)),
        }),
        UserEvent::PasswordRehashed(PasswordRehashed {
            password_hash: sealed(26),
        }),
        UserEvent::ProfileChanged(ProfileChanged {
            claim_id: Some(id(47)),
            username: None,
            username_index: None,
            email: Some(sealed(30)),
            email_index: Some(BlindIndex(hash(31))),
            former_email: Some(sealed(3)),
            changes_phone_number: true,
            phone_number: Some(sealed(32)),
        }),
        UserEvent::EmailVerificationRequested(EmailVerificationRequested {
            token_id: id(60),
            email_index: BlindIndex(hash(31)),
            nonce: sealed(33),
            token_hash: hash(34),
            expires_at: at(4_000),
        }),
        UserEvent::PhoneVerificationRequested(PhoneVerificationRequested {
            code_id: id(61),
            nonce: sealed(35),
            expires_at: at(4_000),
        }),
        UserEvent::PhoneVerificationFailed(PhoneVerificationFailed { code_id: id(61) }),
        UserEvent::Deactivated(UserDeactivated {
            revoked_sessions: vec![id(32)],
        }),
        UserEvent::Erased(UserErased {
            revoked_sessions: vec![],
        }),
    ]
}

fn service_account_events() -> Vec<UserEvent> {
    let key = |number, expires_at| {
        UserEvent::ServiceKeyIssued(ServiceKeyIssued {
            key_id: id(number),
            nonce: sealed(3),
            key_hash: hash(4),
            roles: Some(vec![id(40)]),
            expires_at,
        })
    };
    vec![
        UserEvent::ServiceAccountCreated(ServiceAccountCreated {
            user_id: id(2),
            claim_id: id(30),
            username: sealed(1),
            username_index: BlindIndex(hash(2)),
        }),
        key(50, None),
        key(51, Some(at(1_000))),
        UserEvent::ServiceKeyRevoked(ServiceKeyRevoked { key_id: id(50) }),
    ]
}

/// Reserved, held and free again.
pub(crate) fn identifier_events(aggregate_id: &str) -> Vec<(Stored<Event>, Position)> {
    let (kind, index_key_id) = (IdentifierKind::Email, "key".to_owned());
    recorded::<Identifier>(
        aggregate_id,
        vec![
            IdentifierEvent::Reserved(IdentifierReserved {
                kind,
                user_id: id(2),
                claim_id: id(30),
                expires_at: at(1_000),
                index_key_id: index_key_id.clone(),
            }),
            IdentifierEvent::Confirmed(IdentifierConfirmed {
                kind,
                user_id: id(2),
                claim_id: id(30),
                index_key_id: index_key_id.clone(),
            }),
            IdentifierEvent::Released(IdentifierReleased {
                kind,
                user_id: id(2),
                claim_id: id(30),
                index_key_id,
            }),
        ],
    )
}

fn catalog_events() -> Vec<CatalogEvent> {
    let role = |number, parent: Option<u128>, level| {
        CatalogEvent::RoleDefined(RoleDefined {
            role_id: id(number),
            name: format!("role {number}"),
            description: Some("what it is for".to_owned()),
            parent_id: parent.map(id),
            level,
            is_system_role: true,
        })
    };
    vec![
        role(40, None, 0),
        role(41, Some(40), 1),
        CatalogEvent::PermissionDefined(PermissionDefined {
            permission_id: id(50),
            name: "user.lock".to_owned(),
            resource: "user".to_owned(),
            action: "lock".to_owned(),
            description: Some("what it allows".to_owned()),
            category: Some("users".to_owned()),
            is_dangerous: true,
        }),
        CatalogEvent::PermissionAttached(PermissionAttached {
            role_id: id(41),
            permission_id: id(50),
        }),
        CatalogEvent::BootstrapEpochRaised(BootstrapEpochRaised {
            epoch: 1,
            administrator: id(2),
        }),
        CatalogEvent::ApprovalRequested(Box::new(ApprovalRequested {
            approval_id: id(60),
            requested_by: id(2),
            requested_at: at(1),
            expires_at: at(1_000),
            change: ProposedChange {
                user_id: Some(id(3)),
                role_id: Some(id(41)),
                role: Some("role 41".to_owned()),
                expires_at: Some(at(2_000)),
                scope: Some(scope()),
                ..ProposedChange::of(ChangeKind::GrantRole)
            },
        })),
        CatalogEvent::ExtentRecorded(ExtentRecorded {
            ends: vec![PartitionEnd {
                topic: "users".to_owned(),
                partition: 1,
                next_offset: 7,
            }],
        }),
    ]
}
