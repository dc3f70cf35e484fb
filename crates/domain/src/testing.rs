//! `given(events).when(command).then(events)`, and small values to say it with.

use std::fmt::Debug;

use cqrs_es::Aggregate;
use schemas::identifier::{IdentifierEvent, IdentifierKind, IdentifierReserved};
use schemas::user::{
    Factor, FactorKind, LoginFailed, PasskeyAdded, RoleGranted, RoleRevoked, ServiceAccountCreated,
    ServiceKeyIssued, SessionRefreshed, TotpEnabled, TotpEnrolmentStarted, UserDeactivated, UserEvent,
    UserLoggedIn, UserRegistered,
};
use schemas::{
    BlindIndex, CeremonyId, ClaimId, CredentialId, DeviceId, GrantScope, OneTimeId, PermissionId, RoleId,
    Sealed, SessionId, Sha256Digest, Timestamp, UserId,
};
use uuid::Uuid;

use crate::catalog::{AttachPermission, Catalog, DefinePermission, DefineRole};
use crate::decider::{Context, Decide};
use crate::user::{Shown, User};

pub(crate) const NOW: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);

/// So many minutes from now.
pub(crate) fn minutes(count: i64) -> Timestamp {
    Timestamp::from_micros(NOW.as_micros() + count * 60_000_000)
}

pub(crate) struct Given<A: Aggregate> {
    state: A,
    now: Timestamp,
}

pub(crate) fn given<A: Aggregate>(events: impl IntoIterator<Item = A::Event>) -> Given<A> {
    Given {
        state: A::default(),
        now: NOW,
    }
    .after(events)
}

impl<A: Aggregate> Given<A> {
    pub(crate) fn after(mut self, events: impl IntoIterator<Item = A::Event>) -> Self {
        events.into_iter().for_each(|event| self.state.apply(event));
        self
    }

    /// The command succeeded before.
    pub(crate) fn and(self, command: impl Decide<A>) -> Self {
        let events = self.decide(command).unwrap();
        self.after(events)
    }

    pub(crate) fn at(self, now: Timestamp) -> Self {
        Self { now, ..self }
    }

    pub(crate) fn state(&self) -> &A {
        &self.state
    }

    #[track_caller]
    pub(crate) fn decided(&self, command: impl Decide<A>) -> Vec<A::Event> {
        self.decide(command).unwrap()
    }

    fn decide(&self, command: impl Decide<A>) -> Result<Vec<A::Event>, A::Error> {
        command.decide(&self.state, &Context { now: self.now })
    }

    pub(crate) fn when(self, command: impl Decide<A>) -> Outcome<A> {
        Outcome(self.decide(command))
    }
}

pub(crate) struct Outcome<A: Aggregate>(Result<Vec<A::Event>, A::Error>);

impl<A: Aggregate<Error: PartialEq + Debug>> Outcome<A> {
    #[track_caller]
    pub(crate) fn then(self, events: impl IntoIterator<Item = A::Event>) {
        assert_eq!(self.0, Ok(events.into_iter().collect()));
    }

    #[track_caller]
    pub(crate) fn then_nothing(self) {
        self.then([]);
    }

    #[track_caller]
    pub(crate) fn then_error(self, error: A::Error) {
        assert_eq!(self.0, Err(error));
    }
}

pub(crate) fn user(number: u128) -> UserId {
    UserId::from_uuid(Uuid::from_u128(number))
}

pub(crate) fn claim(number: u128) -> ClaimId {
    ClaimId::from_uuid(Uuid::from_u128(number))
}

pub(crate) const fn session(number: u128) -> SessionId {
    SessionId::from_uuid(Uuid::from_u128(number))
}

pub(crate) fn device(number: u128) -> DeviceId {
    DeviceId::from_uuid(Uuid::from_u128(number))
}

pub(crate) fn one_time(number: u128) -> OneTimeId {
    OneTimeId::from_uuid(Uuid::from_u128(number))
}

pub(crate) fn role(number: u128) -> RoleId {
    RoleId::from_uuid(Uuid::from_u128(number))
}

pub(crate) fn permission(number: u128) -> PermissionId {
    PermissionId::from_uuid(Uuid::from_u128(number))
}

pub(crate) fn sealed(text: &str) -> Sealed {
    Sealed::from_bytes(text.as_bytes())
}

pub(crate) fn digest(text: &str) -> Sha256Digest {
    Sha256Digest::of(text.as_bytes())
}

/// By [`user`] 1 under [`claim`] 1.
pub(crate) fn registration() -> UserRegistered {
    UserRegistered {
        user_id: user(1),
        claim_id: claim(1),
        username: sealed("alice"),
        username_index: BlindIndex(digest("alice")),
        email: sealed("alice@example.org"),
        email_index: BlindIndex(digest("alice@example.org")),
        phone_number: None,
        password_hash: sealed("first hash"),
        email_verified: false,
        phone_verified: false,
    }
}

pub(crate) fn registered() -> UserEvent {
    UserEvent::Registered(registration())
}

/// From [`device`] 1. Refresh token hash: [`digest`] of "token 1".
pub(crate) fn login(session_id: SessionId, expires_at: Timestamp) -> UserLoggedIn {
    UserLoggedIn::by_password(
        session_id,
        device(1),
        sealed("nonce 1"),
        digest("token 1"),
        expires_at,
    )
}

/// To refresh token "token `generation`", from no known place.
pub(crate) fn refreshed(session_id: SessionId, generation: i32, at: Timestamp) -> SessionRefreshed {
    SessionRefreshed {
        session_id,
        generation,
        nonce: sealed("next nonce"),
        refresh_token_hash: digest(&format!("token {generation}")),
        refreshed_at: at,
        ip_network: None,
        ip_address: None,
        user_agent: None,
        country_code: None,
        city: None,
        risk_score: 0,
        risk_reasons: vec![],
    }
}

/// Until an hour from now.
pub(crate) fn logged_in(session_id: SessionId) -> UserEvent {
    UserEvent::LoggedIn(login(session_id, minutes(60)))
}

pub(crate) fn login_failure(count: i32) -> LoginFailed {
    LoginFailed {
        count,
        first_at: NOW,
        last_at: NOW,
        known_devices: vec![],
        ip_network: None,
        ip_address: None,
        user_agent: None,
    }
}

pub(crate) const fn credential(number: u128) -> CredentialId {
    CredentialId::from_uuid(Uuid::from_u128(number))
}

/// Made at that time.
pub(crate) fn ceremony(number: u128, made: Timestamp) -> CeremonyId {
    let millis = u128::try_from(made.as_micros() / 1_000).unwrap();
    let version_and_variant = (7 << 76) | (2 << 62);
    CeremonyId::from_uuid(Uuid::from_u128((millis << 80) | version_and_variant | number))
}

/// With the secret "secret", for ten minutes.
pub(crate) fn totp_started() -> UserEvent {
    UserEvent::TotpEnrolmentStarted(TotpEnrolmentStarted {
        secret: sealed("secret"),
        expires_at: minutes(10),
    })
}

/// By step 1 in [`session`] 1, with the codes "first code" and "second code".
pub(crate) fn totp_enabled() -> UserEvent {
    UserEvent::TotpEnabled(TotpEnabled {
        session_id: session(1),
        totp_step: 1,
        enabled_at: NOW,
        recovery_code_nonce: sealed("nonce"),
        recovery_code_hashes: vec![digest("first code"), digest("second code")],
    })
}

/// Signed in as [`session`] 1, which enabled one-time passwords now.
pub(crate) fn with_totp() -> Given<User> {
    given([
        registered(),
        logged_in(session(1)),
        totp_started(),
        totp_enabled(),
    ])
}

/// In [`session`] 1, with the counter 7.
pub(crate) fn passkey_added(number: u128) -> UserEvent {
    UserEvent::PasskeyAdded(PasskeyAdded {
        credential_id: credential(number),
        credential_index: BlindIndex(digest(&format!("passkey {number}"))),
        passkey: sealed("passkey"),
        name: sealed("name"),
        signature_counter: 7,
        is_backed_up: false,
        ceremony_id: ceremony(number << 32, NOW),
        session_id: session(1),
        added_at: NOW,
    })
}

const fn factor(kind: FactorKind) -> Factor {
    Factor {
        kind,
        credential_id: None,
        totp_step: None,
        recovery_code_hash: None,
        ceremony_id: None,
    }
}

/// A code of that time step.
pub(crate) const fn shown_step(step: i64) -> Shown {
    let factor = Factor {
        totp_step: Some(step),
        ..factor(FactorKind::Totp)
    };
    Shown {
        factor,
        signature_counter: None,
    }
}

pub(crate) fn shown_code(code: &str) -> Shown {
    let factor = Factor {
        recovery_code_hash: Some(digest(code)),
        ..factor(FactorKind::RecoveryCode)
    };
    Shown {
        factor,
        signature_counter: None,
    }
}

/// The answer to that challenge.
pub(crate) const fn shown_passkey(number: u128, challenge: CeremonyId, counter: i64) -> Shown {
    let factor = Factor {
        credential_id: Some(credential(number)),
        ceremony_id: Some(challenge),
        ..factor(FactorKind::Passkey)
    };
    Shown {
        factor,
        signature_counter: Some(counter),
    }
}

pub(crate) fn user_granted(role_id: RoleId, expires_at: Option<Timestamp>) -> UserEvent {
    UserEvent::RoleGranted(RoleGranted {
        expires_at,
        ..RoleGranted::of(role_id)
    })
}

/// Of documents.
pub(crate) fn scope(id: &str, is_prefix: bool) -> GrantScope {
    GrantScope {
        resource: "document".to_owned(),
        id: Some(id.to_owned()),
        is_prefix,
    }
}

pub(crate) fn user_revoked(role_id: RoleId) -> UserEvent {
    UserEvent::RoleRevoked(RoleRevoked::of(role_id))
}

/// By [`user`] 1 under [`claim`] 1.
pub(crate) fn service_creation() -> ServiceAccountCreated {
    ServiceAccountCreated {
        user_id: user(1),
        claim_id: claim(1),
        username: sealed("backup"),
        username_index: BlindIndex(digest("backup")),
    }
}

pub(crate) fn service_created() -> UserEvent {
    UserEvent::ServiceAccountCreated(service_creation())
}

/// For all roles and for good.
pub(crate) fn service_key(number: u128) -> ServiceKeyIssued {
    ServiceKeyIssued {
        key_id: Uuid::from_u128(number).into(),
        nonce: sealed("nonce"),
        key_hash: digest("key"),
        roles: None,
        expires_at: None,
    }
}

pub(crate) fn key_issued(number: u128, expires_at: Option<Timestamp>) -> UserEvent {
    UserEvent::ServiceKeyIssued(ServiceKeyIssued {
        expires_at,
        ..service_key(number)
    })
}

pub(crate) fn user_deactivated() -> UserEvent {
    UserEvent::Deactivated(UserDeactivated {
        revoked_sessions: vec![],
    })
}

/// Until an hour from now.
pub(crate) fn identifier_reserved(user_id: UserId, claim_id: ClaimId) -> IdentifierEvent {
    IdentifierEvent::Reserved(IdentifierReserved {
        kind: IdentifierKind::Email,
        user_id,
        claim_id,
        expires_at: minutes(60),
        index_key_id: "key".to_owned(),
    })
}

/// Takes its id from `number`.
pub(crate) fn define_role(number: u128, name: &str, parent: Option<&str>) -> DefineRole {
    DefineRole {
        role_id: role(number),
        name: name.to_owned(),
        description: None,
        parent: parent.map(str::to_owned),
        is_system_role: false,
    }
}

/// Its name is `resource:action`; takes its id from `number`.
pub(crate) fn define_permission(number: u128, resource: &str, action: &str) -> DefinePermission {
    DefinePermission {
        permission_id: permission(number),
        name: format!("{resource}:{action}"),
        resource: resource.to_owned(),
        action: action.to_owned(),
        description: None,
        category: None,
        is_dangerous: false,
        system: false,
    }
}

pub(crate) fn attach(role: &str, permission: &str) -> AttachPermission {
    AttachPermission {
        role: role.to_owned(),
        permission: permission.to_owned(),
        system: false,
    }
}

/// With the system role `root` and the permission `rolecall.own` of the resource `rolecall`.
pub(crate) fn with_system_things() -> Given<Catalog> {
    let root = DefineRole {
        is_system_role: true,
        ..define_role(900, "root", None)
    };
    let own = DefinePermission {
        name: "rolecall.own".to_owned(),
        system: true,
        ..define_permission(901, "rolecall", "own")
    };
    given([]).and(root).and(own)
}
