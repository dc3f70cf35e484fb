//! The contract holds: what is written reads back, and released bytes stay readable.

use schemas::catalog::{
    ApprovalApplied, ApprovalGiven, ApprovalRefused, ApprovalRequested, ApprovalWithdrawn, CatalogEvent,
    ChangeKind, PermissionDefined, ProposedChange, RoleChanged, RoleDefined, RoleLevel,
};
use schemas::identifier::{IdentifierEvent, IdentifierKind, IdentifierReserved};
use schemas::log::{LedgerClaimed, LogCreated, LogEvent, SchemaRegistered};
use schemas::user::{
    ClaimAbandoned, DeviceFailures, EmailVerificationRequested, EmailVerified, ErasureCompleted, Factor,
    FactorKind, HeldName, LockReason, LoginFailed, NamesReleased, PasskeyAdded, PasskeyCloneSuspected,
    PasskeyCounted, PasskeyRemoved, PasswordChangeCause, PasswordChanged, PasswordRehashed,
    PasswordResetRequested, PhoneVerificationFailed, PhoneVerificationRequested, PhoneVerified,
    ProfileChanged, RecoveryCodesReplaced, RefreshReuseDetected, RevokeReason, RoleGrantExpired, RoleGranted,
    RoleRevoked, ServiceAccountCreated, ServiceKeyIssued, ServiceKeyRevoked, SessionRefreshed,
    SessionRevoked, SessionSteppedUp, SessionsRevoked, TotpDisabled, TotpEnabled, TotpEnrolmentStarted,
    UserDeactivated, UserErased, UserEvent, UserLocked, UserLoggedIn, UserReactivated, UserRegistered,
    UserUnlocked,
};
use schemas::{
    Actor, BlindIndex, Event, GrantScope, Idempotency, Meta, Position, Sealed, Sha256Digest, Stored, Stream,
    Timestamp, event_types,
};
use uuid::Uuid;

fn id<T>(n: u128) -> schemas::Id<T> {
    Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0000 + n).into()
}

fn at(n: i64) -> Timestamp {
    Timestamp::from_micros(1_790_000_000_000_000 + n)
}

fn sealed(n: u8) -> Sealed {
    Sealed::from_bytes(&[n; 40])
}

fn hash(n: u8) -> Sha256Digest {
    Sha256Digest([n; 32])
}

fn meta() -> Meta {
    Meta {
        event_id: id(1),
        aggregate_id: id::<()>(2).to_string(),
        sequence: 3,
        occurred_at: at(4),
        actor: Actor::User(id(5)),
        request_id: id(6),
        causation_id: Some(id(7)),
        idempotency: Some(Idempotency {
            key_digest: hash(8),
            request_digest: hash(9),
        }),
        chain_seq: 10,
        prev_hash: hash(11),
        basis: vec![Position {
            stream: Stream::Catalog,
            partition: 0,
            offset: 12,
        }],
    }
}

/// One of every event, with every optional field set.
fn samples() -> Vec<Event> {
    let (network, sealed_some) = (Some("192.0.0.0/16".to_owned()), || Some(sealed(20)));
    let users = vec![
        UserEvent::Registered(UserRegistered {
            user_id: id(2),
            claim_id: id(30),
            username: sealed(1),
            username_index: BlindIndex(hash(2)),
            email: sealed(3),
            email_index: BlindIndex(hash(4)),
            phone_number: sealed_some(),
            password_hash: sealed(5),
            email_verified: true,
            phone_verified: false,
        }),
        UserEvent::ClaimAbandoned(ClaimAbandoned { claim_id: id(31) }),
        UserEvent::ProfileChanged(ProfileChanged {
            claim_id: Some(id(47)),
            username: sealed_some(),
            username_index: Some(BlindIndex(hash(21))),
            email: sealed_some(),
            email_index: Some(BlindIndex(hash(22))),
            former_email: sealed_some(),
            changes_phone_number: true,
            phone_number: sealed_some(),
        }),
        UserEvent::NamesReleased(NamesReleased {
            names: vec![HeldName {
                kind: IdentifierKind::Username,
                index: BlindIndex(hash(23)),
                claim_id: id(48),
            }],
        }),
        UserEvent::LoggedIn(UserLoggedIn {
            session_id: id(32),
            nonce: sealed(6),
            refresh_token_hash: hash(7),
            expires_at: at(8),
            device_id: id(46),
            despite_lock: true,
            ip_network: network.clone(),
            ip_address: sealed_some(),
            user_agent: sealed_some(),
            device_fingerprint: sealed_some(),
            country_code: Some("DE".to_owned()),
            city: sealed_some(),
            authenticated_at: Some(at(7)),
            methods: ["pwd", "otp", "mfa"].map(str::to_owned).to_vec(),
            factor: Some(Factor {
                kind: FactorKind::RecoveryCode,
                credential_id: Some(id(48)),
                totp_step: Some(57_600_000),
                recovery_code_hash: Some(hash(18)),
                ceremony_id: Some(id(49)),
            }),
            idle_timeout: Some(900_000_000),
            is_new_device: true,
            risk_score: 60,
            risk_reasons: vec!["new_device".to_owned()],
        }),
        UserEvent::LoginFailed(LoginFailed {
            count: 2,
            first_at: at(9),
            last_at: at(10),
            known_devices: vec![DeviceFailures {
                device_id: id(46),
                count: 1,
            }],
            ip_network: network.clone(),
            ip_address: sealed_some(),
            user_agent: sealed_some(),
        }),
        UserEvent::Locked(UserLocked {
            reason: LockReason::FailedLogins,
            locked_until: at(11),
        }),
        UserEvent::Unlocked(UserUnlocked {}),
        UserEvent::EmailVerificationRequested(EmailVerificationRequested {
            token_id: id(60),
            email_index: BlindIndex(hash(24)),
            nonce: sealed(25),
            token_hash: hash(26),
            expires_at: at(20),
        }),
        UserEvent::EmailVerified(EmailVerified {
            email_index: BlindIndex(hash(24)),
        }),
        UserEvent::PhoneVerificationRequested(PhoneVerificationRequested {
            code_id: id(61),
            nonce: sealed(27),
            expires_at: at(21),
        }),
        UserEvent::PhoneVerificationFailed(PhoneVerificationFailed { code_id: id(61) }),
        UserEvent::PhoneVerified(PhoneVerified { code_id: id(61) }),
        UserEvent::PasswordResetRequested(PasswordResetRequested {
            token_id: id(62),
            nonce: sealed(28),
            token_hash: hash(29),
            expires_at: at(22),
            ip_network: network.clone(),
            ip_address: sealed_some(),
            user_agent: sealed_some(),
        }),
        UserEvent::PasswordChanged(PasswordChanged {
            password_hash: sealed(12),
            revoked_sessions: vec![id(33)],
            cause: PasswordChangeCause::Reset,
            known_device: Some(id(75)),
        }),
        UserEvent::PasswordRehashed(PasswordRehashed {
            password_hash: sealed(12),
        }),
        UserEvent::SessionRefreshed(SessionRefreshed {
            session_id: id(34),
            generation: 2,
            nonce: sealed(13),
            refresh_token_hash: hash(14),
            refreshed_at: at(17),
            ip_network: network,
            ip_address: sealed_some(),
            user_agent: sealed_some(),
            country_code: Some("DE".to_owned()),
            city: sealed_some(),
            risk_score: 40,
            risk_reasons: vec!["new_network".to_owned()],
        }),
        UserEvent::RefreshReuseDetected(RefreshReuseDetected {
            session_id: id(35),
            presented_generation: 1,
            current_generation: 2,
        }),
        UserEvent::SessionRevoked(SessionRevoked {
            session_id: id(36),
            reason: RevokeReason::Logout,
        }),
        UserEvent::SessionsRevoked(SessionsRevoked {
            session_ids: vec![id(37)],
            reason: RevokeReason::Administrator,
        }),
        UserEvent::RoleGranted(RoleGranted {
            role_id: id(38),
            expires_at: Some(at(15)),
            approval_id: Some(id(48)),
            scope: Some(scope()),
        }),
        UserEvent::RoleRevoked(RoleRevoked {
            role_id: id(39),
            scope: Some(scope()),
        }),
        UserEvent::RoleGrantExpired(RoleGrantExpired {
            role_id: id(47),
            expires_at: at(18),
            scope: Some(scope()),
        }),
        UserEvent::ServiceAccountCreated(ServiceAccountCreated {
            user_id: id(2),
            claim_id: id(50),
            username: sealed(21),
            username_index: BlindIndex(hash(22)),
        }),
        UserEvent::ServiceKeyIssued(ServiceKeyIssued {
            key_id: id(51),
            nonce: sealed(23),
            key_hash: hash(24),
            roles: Some(vec![id(38)]),
            expires_at: Some(at(25)),
        }),
        UserEvent::ServiceKeyRevoked(ServiceKeyRevoked { key_id: id(51) }),
        UserEvent::Deactivated(UserDeactivated {
            revoked_sessions: vec![],
        }),
        UserEvent::Reactivated(UserReactivated {}),
        UserEvent::Erased(UserErased {
            revoked_sessions: vec![id(63)],
        }),
        UserEvent::ErasureCompleted(ErasureCompleted {}),
    ];
    let users = users.into_iter().chain(factor_samples());
    let claim = (IdentifierKind::Email, id(2), id(30));
    let identifiers = vec![
        IdentifierEvent::Reserved(IdentifierReserved {
            kind: claim.0,
            user_id: claim.1,
            claim_id: claim.2,
            expires_at: at(16),
            index_key_id: "0011223344556677/nfkc-lower-1".to_owned(),
        }),
        IdentifierEvent::Confirmed(schemas::identifier::IdentifierConfirmed {
            kind: claim.0,
            user_id: claim.1,
            claim_id: claim.2,
            index_key_id: "0011223344556677/nfkc-lower-1".to_owned(),
        }),
        IdentifierEvent::Released(schemas::identifier::IdentifierReleased {
            kind: IdentifierKind::Username,
            user_id: claim.1,
            claim_id: claim.2,
            index_key_id: "0011223344556677/nfkc-lower-1".to_owned(),
        }),
    ];
    let text = |text: &str| Some(text.to_owned());
    let catalog = vec![
        CatalogEvent::RoleDefined(RoleDefined {
            role_id: id(40),
            name: "editor".to_owned(),
            description: text("Edits"),
            parent_id: Some(id(41)),
            level: 1,
            is_system_role: false,
        }),
        CatalogEvent::RoleChanged(RoleChanged {
            role_id: id(40),
            description: None,
            parent_id: None,
            level: 0,
            descendants: vec![RoleLevel {
                role_id: id(42),
                level: 1,
            }],
        }),
        CatalogEvent::RoleDeleted(schemas::catalog::RoleDeleted {
            role_id: id(40),
            name: "editor".to_owned(),
        }),
        CatalogEvent::PermissionDefined(PermissionDefined {
            permission_id: id(43),
            name: "document.read".to_owned(),
            resource: "document".to_owned(),
            action: "read".to_owned(),
            description: text("Reads"),
            category: text("documents"),
            is_dangerous: true,
        }),
        CatalogEvent::PermissionDeleted(schemas::catalog::PermissionDeleted {
            permission_id: id(43),
            name: "document.read".to_owned(),
        }),
        CatalogEvent::PermissionAttached(schemas::catalog::PermissionAttached {
            role_id: id(40),
            permission_id: id(43),
        }),
        CatalogEvent::PermissionDetached(schemas::catalog::PermissionDetached {
            role_id: id(40),
            permission_id: id(43),
        }),
    ];
    let catalog = catalog.into_iter().chain([CatalogEvent::BootstrapEpochRaised(
        schemas::catalog::BootstrapEpochRaised {
            epoch: 1,
            administrator: id(47),
        },
    )]);
    let catalog = catalog.chain(approvals());
    let catalog = catalog.chain([CatalogEvent::ExtentRecorded(schemas::catalog::ExtentRecorded {
        ends: vec![schemas::catalog::PartitionEnd {
            topic: "users".to_owned(),
            partition: 3,
            next_offset: 18,
        }],
    })]);
    let catalog = catalog.chain([CatalogEvent::ShardMapChanged(schemas::catalog::ShardMapChanged {
        version: 1,
        placement: vec![1, 0, 1],
        shards: 2,
        filling: vec![schemas::catalog::LedgerCopy { ledger: 0, shard: 0 }],
        leaving: vec![schemas::catalog::LedgerCopy { ledger: 2, shard: 0 }],
    })]);
    let log = vec![
        LogEvent::Created(LogCreated {
            log_id: id(44),
            ledgers: 16,
            groups: 4,
            ledger_function: "sha256-8be-mod".to_owned(),
            chain_version: 1,
            index_key_id: "0011223344556677/nfkc-lower-1".to_owned(),
            key_check: hash(15),
            administrator: id(45),
        }),
        LogEvent::SchemaRegistered(SchemaRegistered {
            event_type: "user.locked".to_owned(),
            event_version: 1,
            schema_id: 17,
            fingerprint: hash(16),
        }),
        LogEvent::LedgerClaimed(LedgerClaimed {
            instance: id(46),
            address: "http://10.0.0.7:8080".to_owned(),
            group: -1,
        }),
    ];
    users
        .map(Event::User)
        .chain(identifiers.into_iter().map(Event::Identifier))
        .chain(catalog.into_iter().map(Event::Catalog))
        .chain(log.into_iter().map(Event::Log))
        .collect()
}

fn factor_samples() -> Vec<UserEvent> {
    vec![
        UserEvent::TotpEnrolmentStarted(TotpEnrolmentStarted {
            secret: sealed(30),
            expires_at: at(30),
        }),
        UserEvent::TotpEnabled(TotpEnabled {
            session_id: id(32),
            totp_step: 57_600_000,
            enabled_at: at(31),
            recovery_code_nonce: sealed(31),
            recovery_code_hashes: vec![hash(31), hash(32)],
        }),
        UserEvent::TotpDisabled(TotpDisabled {
            by_administrator: true,
        }),
        UserEvent::RecoveryCodesReplaced(RecoveryCodesReplaced {
            recovery_code_nonce: sealed(33),
            recovery_code_hashes: vec![hash(33)],
        }),
        UserEvent::SessionSteppedUp(SessionSteppedUp {
            session_id: id(32),
            methods: ["otp", "mfa"].map(str::to_owned).to_vec(),
            factor: Factor {
                kind: FactorKind::Passkey,
                credential_id: Some(id(50)),
                totp_step: Some(57_600_001),
                recovery_code_hash: Some(hash(34)),
                ceremony_id: Some(id(51)),
            },
            verified_at: at(32),
        }),
        UserEvent::PasskeyAdded(PasskeyAdded {
            credential_id: id(50),
            credential_index: BlindIndex(hash(35)),
            passkey: sealed(34),
            name: sealed(35),
            signature_counter: 7,
            is_backed_up: true,
            ceremony_id: id(52),
            session_id: id(32),
            added_at: at(33),
        }),
        UserEvent::PasskeyRemoved(PasskeyRemoved {
            credential_id: id(50),
            by_administrator: true,
        }),
        UserEvent::PasskeyCounted(PasskeyCounted {
            credential_id: id(50),
            signature_counter: 8,
        }),
        UserEvent::PasskeyCloneSuspected(PasskeyCloneSuspected {
            credential_id: id(50),
            ceremony_id: id(53),
            known_counter: 8,
            presented_counter: 3,
        }),
    ]
}

fn scope() -> GrantScope {
    GrantScope {
        resource: "document".to_owned(),
        id: Some("reports/".to_owned()),
        is_prefix: true,
    }
}

fn approvals() -> [CatalogEvent; 5] {
    let approval_id = id(49);
    let text = |text: &str| Some(text.to_owned());
    let change = ProposedChange {
        kind: ChangeKind::GrantRole,
        user_id: Some(id(2)),
        role_id: Some(id(40)),
        role: text("editor"),
        expires_at: Some(at(19)),
        parent_id: Some(id(41)),
        parent: text("reader"),
        permission_id: Some(id(43)),
        permission: text("document.read"),
        resource: text("document"),
        action: text("read"),
        description: text("Reads"),
        category: text("documents"),
        is_dangerous: Some(true),
        scope: Some(scope()),
    };
    [
        CatalogEvent::ApprovalRequested(Box::new(ApprovalRequested {
            approval_id,
            requested_by: id(5),
            requested_at: at(20),
            expires_at: at(21),
            change,
        })),
        CatalogEvent::ApprovalGiven(ApprovalGiven {
            approval_id,
            approved_by: id(45),
        }),
        CatalogEvent::ApprovalRefused(ApprovalRefused { approval_id }),
        CatalogEvent::ApprovalWithdrawn(ApprovalWithdrawn { approval_id }),
        CatalogEvent::ApprovalApplied(ApprovalApplied {
            approval_id,
            applied: true,
        }),
    ]
}

#[test]
fn every_event_reads_back_as_written() {
    for event in samples() {
        let body = event.encode(&meta()).unwrap();
        let stored = Event::decode_as(event.event_type(), &body).unwrap();
        assert_eq!(
            stored,
            Stored {
                meta: meta(),
                data: event
            }
        );
    }
}

#[test]
fn every_released_type_has_a_sample() {
    let sampled: Vec<_> = samples().iter().map(|event| event.event_type().name).collect();
    for event_type in event_types() {
        assert!(
            sampled.contains(&event_type.name),
            "{} has no sample",
            event_type.name
        );
    }
}

/// Golden bytes: what a released version wrote once must read as the same event for ever. A missing
/// file is written, so that a new event gets one; an existing one is never rewritten.
#[test]
fn released_bytes_stay_readable() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("golden");
    std::fs::create_dir_all(&folder).unwrap();
    for event in samples() {
        let event_type = event.event_type();
        let path = folder.join(format!("{}.v{}.hex", event_type.name, event_type.version));
        let golden = match std::fs::read_to_string(&path) {
            Ok(golden) => golden,
            Err(_) => {
                let golden = hex::encode(event.encode(&meta()).unwrap());
                std::fs::write(&path, &golden).unwrap();
                golden
            }
        };
        let stored = Event::decode_as(event_type, &hex::decode(golden.trim()).unwrap()).unwrap();
        assert_eq!(
            stored,
            Stored {
                meta: meta(),
                data: event
            },
            "{}",
            event_type.name
        );
    }
}

/// Bytes of former versions read as the newest, with what those did not know left out.
#[test]
fn bytes_of_former_versions_read_as_the_newest() {
    let golden = |name: &str| {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("golden/{name}.v1.hex"));
        let body = hex::decode(std::fs::read_to_string(path).unwrap().trim()).unwrap();
        Event::decode(name, 1, &body).unwrap().data
    };
    for event in samples() {
        let former = match event {
            Event::User(UserEvent::Registered(e)) => UserEvent::Registered(UserRegistered {
                email_verified: false,
                phone_verified: false,
                ..e
            }),
            Event::User(UserEvent::LoggedIn(e)) => UserEvent::LoggedIn(UserLoggedIn {
                authenticated_at: None,
                methods: vec!["pwd".to_owned()],
                factor: None,
                idle_timeout: None,
                is_new_device: false,
                risk_score: 0,
                risk_reasons: vec![],
                ..e
            }),
            Event::User(UserEvent::SessionRefreshed(e)) => UserEvent::SessionRefreshed(SessionRefreshed {
                country_code: None,
                city: None,
                risk_score: 0,
                risk_reasons: vec![],
                ..e
            }),
            Event::User(UserEvent::RoleGranted(e)) => UserEvent::RoleGranted(RoleGranted {
                expires_at: e.expires_at,
                ..RoleGranted::of(e.role_id)
            }),
            Event::User(UserEvent::RoleRevoked(e)) => UserEvent::RoleRevoked(RoleRevoked::of(e.role_id)),
            Event::User(UserEvent::RoleGrantExpired(e)) => {
                UserEvent::RoleGrantExpired(RoleGrantExpired { scope: None, ..e })
            }
            Event::Catalog(event) => {
                if let Some(former) = former_catalog_event(event) {
                    assert_eq!(golden(former.event_type().name), Event::Catalog(former));
                }
                continue;
            }
            _ => continue,
        };
        assert_eq!(golden(former.event_type().name), Event::User(former));
    }
}

fn former_catalog_event(event: CatalogEvent) -> Option<CatalogEvent> {
    Some(match event {
        CatalogEvent::ApprovalRequested(e) => {
            let change = ProposedChange {
                scope: None,
                ..e.change
            };
            CatalogEvent::ApprovalRequested(Box::new(ApprovalRequested { change, ..*e }))
        }
        _ => return None,
    })
}

#[test]
fn every_former_version_has_golden_bytes_that_read() {
    let newest = |name: &str| {
        event_types()
            .filter(|other| other.name == name)
            .map(|t| t.version)
            .max()
    };
    for event_type in event_types().filter(|t| Some(t.version) < newest(t.name)) {
        let file = format!("golden/{}.v{}.hex", event_type.name, event_type.version);
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(&file);
        let body = hex::decode(std::fs::read_to_string(path).expect(&file).trim()).unwrap();
        Event::decode_as(event_type, &body).expect(&file);
    }
}

#[test]
fn a_body_with_bytes_left_over_is_refused() {
    let event = &samples()[0];
    let mut body = event.encode(&meta()).unwrap();
    body.push(0);
    assert!(Event::decode_as(event.event_type(), &body).is_err());
}

#[test]
fn a_truncated_body_is_refused_at_every_length() {
    for event in samples() {
        let body = event.encode(&meta()).unwrap();
        for length in 0..body.len() {
            assert!(
                Event::decode_as(event.event_type(), &body[..length]).is_err(),
                "{length}"
            );
        }
    }
}

#[test]
fn an_unknown_name_or_version_is_a_typed_error() {
    assert!(matches!(
        Event::decode("user.beamed_up", 1, &[]),
        Err(schemas::CodecError::UnknownType { .. })
    ));
    assert!(matches!(
        Event::decode("user.locked", 99, &[]),
        Err(schemas::CodecError::UnknownType { .. })
    ));
}
