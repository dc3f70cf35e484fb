//! Random histories that the command side could have written.

mod catalog;
mod erasures;
mod factors;
mod programs;

use std::collections::BTreeMap;

use domain::ledger::ledger_of;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use schemas::catalog::CatalogEvent;
use schemas::identifier::*;
use schemas::user::*;
use schemas::*;
use uuid::Uuid;

use super::LogBuilder;

const CATALOG: (Stream, i32) = (Stream::Catalog, 0);

/// How often each kind of event comes.
#[derive(Clone, Copy)]
pub struct Mix {
    pub users: usize,
    pub events: usize,
    /// One in so many is of the catalog.
    pub catalog_every: usize,
}

pub struct History {
    rng: StdRng,
    pub log: LogBuilder,
    ledgers: i32,
    clock: i64,
    /// Longest time between two events, in microseconds.
    pub step: i64,
    sequences: BTreeMap<String, i64>,
    users: Vec<Person>,
    programs: Vec<programs::Program>,
    roles: Vec<(RoleId, Option<RoleId>)>,
    permissions: Vec<PermissionId>,
    attached: Vec<(RoleId, PermissionId)>,
    names: u32,
    catalog_at: i64,
}

struct Person {
    id: UserId,
    sessions: Vec<SessionId>,
    /// What was granted and not revoked.
    grants: Vec<(RoleId, Option<GrantScope>)>,
    passkeys: Vec<CredentialId>,
    active: bool,
}

impl History {
    pub fn new(seed: u64, ledgers: i32) -> Self {
        Self {
            rng: StdRng::seed_from_u64(seed),
            log: LogBuilder::default(),
            ledgers,
            clock: 1_790_000_000_000_000,
            step: 3_000_000,
            sequences: BTreeMap::new(),
            users: vec![],
            programs: vec![],
            roles: vec![],
            permissions: vec![],
            attached: vec![],
            names: 0,
            catalog_at: 0,
        }
    }

    pub fn generate(mut self, mix: Mix) -> LogBuilder {
        self.fill(mix);
        self.log
    }

    pub fn fill(&mut self, mix: Mix) {
        for _ in 0..4 {
            self.define_role();
            self.define_permission();
        }
        for _ in 0..8 {
            self.attach();
        }
        for _ in 0..mix.users {
            self.register();
        }
        for i in 0..mix.events {
            if i % mix.catalog_every == mix.catalog_every - 1 {
                self.change_catalog();
            } else {
                self.happen();
            }
        }
    }

    fn uuid(&mut self) -> Uuid {
        uuid::Builder::from_unix_timestamp_millis((self.clock / 1000) as u64, &self.rng.random()).into_uuid()
    }

    fn sealed(&mut self, length: usize) -> Sealed {
        let bytes: Vec<u8> = (0..length).map(|_| self.rng.random()).collect();
        Sealed::from_bytes(&bytes)
    }

    fn pick(&mut self, count: usize) -> usize {
        self.rng.random_range(0..count)
    }

    fn some_role(&mut self) -> RoleId {
        let at = self.pick(self.roles.len());
        self.roles[at].0
    }

    fn some_permission(&mut self) -> PermissionId {
        let at = self.pick(self.permissions.len());
        self.permissions[at]
    }

    fn append(&mut self, lane: (Stream, i32), aggregate: &str, event: Event) -> i64 {
        self.clock += self.rng.random_range(1..self.step);
        let sequence = self.sequences.entry(aggregate.to_owned()).or_default();
        *sequence += 1;
        let sequence = *sequence;
        let basis = match lane.0 {
            Stream::Users => {
                vec![Position {
                    stream: Stream::Catalog,
                    partition: 0,
                    offset: self.catalog_at,
                }]
            }
            Stream::Identifiers | Stream::Catalog => vec![],
        };
        let meta = Meta {
            event_id: self.uuid().into(),
            aggregate_id: aggregate.to_owned(),
            sequence,
            occurred_at: Timestamp::from_micros(self.clock),
            actor: Actor::User(UserId::from_uuid(Uuid::from_u128(9))),
            request_id: self.uuid().into(),
            causation_id: None,
            idempotency: None,
            chain_seq: 0,
            prev_hash: GENESIS,
            basis,
        };
        let gap = i64::from(self.rng.random_ratio(1, 5));
        self.log.append(lane, meta, &event, gap)
    }

    fn user_event(&mut self, user: UserId, event: UserEvent) {
        let key = user.to_string();
        let lane = (Stream::Users, ledger_of(&key, self.ledgers));
        self.append(lane, &key, Event::User(event));
    }

    fn catalog_event(&mut self, event: CatalogEvent) {
        self.catalog_at = self.append(CATALOG, "catalog", Event::Catalog(event));
    }

    fn identifier_event(&mut self, index: BlindIndex, event: IdentifierEvent) {
        let key = index.to_hex();
        let lane = (Stream::Identifiers, ledger_of(&key, self.ledgers));
        self.append(lane, &key, Event::Identifier(event));
    }

    fn register(&mut self) {
        let user_id = UserId::from_uuid(self.uuid());
        let claim_id = ClaimId::from_uuid(self.uuid());
        let email_index = BlindIndex(Sha256Digest(self.rng.random()));
        let username_index = BlindIndex(Sha256Digest(self.rng.random()));
        let of = [
            (IdentifierKind::Email, email_index),
            (IdentifierKind::Username, username_index),
        ];
        for (kind, index) in of {
            let expires_at = Timestamp::from_micros(self.clock + 60_000_000);
            let index_key_id = "key".to_owned();
            let reserved = IdentifierReserved {
                kind,
                user_id,
                claim_id,
                expires_at,
                index_key_id,
            };
            self.identifier_event(index, IdentifierEvent::Reserved(reserved));
        }
        let registered = UserRegistered {
            user_id,
            claim_id,
            username: self.sealed(36),
            username_index,
            email: self.sealed(48),
            email_index,
            phone_number: None,
            password_hash: self.sealed(125),
            email_verified: true,
            phone_verified: false,
        };
        self.user_event(user_id, UserEvent::Registered(registered));
        for (kind, index) in of {
            let confirmed = IdentifierConfirmed {
                kind,
                user_id,
                claim_id,
                index_key_id: "key".to_owned(),
            };
            self.identifier_event(index, IdentifierEvent::Confirmed(confirmed));
        }
        if self.rng.random_ratio(1, 20) {
            let (kind, index) = of[self.pick(of.len())];
            let released = IdentifierReleased {
                kind,
                user_id,
                claim_id,
                index_key_id: "key".to_owned(),
            };
            self.identifier_event(index, IdentifierEvent::Released(released));
        }
        self.users.push(Person {
            id: user_id,
            sessions: vec![],
            grants: vec![],
            passkeys: vec![],
            active: true,
        });
    }

    fn happen(&mut self) {
        if self.rng.random_ratio(1, 10) {
            self.happen_to_programs();
            return;
        }
        let i = self.pick(self.users.len());
        let id = self.users[i].id;
        let event = match self.pick(13) {
            0..=2 => self.log_in(i),
            3..=5 => self.grant(i),
            6 => self.revoke_role(i),
            7 | 8 => self.refresh(i),
            9 => self.end_session(i),
            10 => Some(self.fail()),
            11 => self.change_factors(i),
            _ => self.change_account(i),
        };
        if let Some(event) = event {
            self.user_event(id, event);
        }
    }

    fn log_in(&mut self, i: usize) -> Option<UserEvent> {
        let session_id = SessionId::from_uuid(self.uuid());
        self.users[i].sessions.push(session_id);
        let (device, nonce) = (self.uuid().into(), self.sealed(44));
        let (hash, until) = (Sha256Digest(self.rng.random()), self.clock + 3_600_000_000);
        let until = Timestamp::from_micros(until);
        Some(UserEvent::LoggedIn(UserLoggedIn {
            despite_lock: self.rng.random_ratio(1, 3),
            ip_network: Some("203.0.0.0/16".to_owned()),
            ip_address: Some(self.sealed(42)),
            user_agent: Some(self.sealed(60)),
            country_code: Some("NO".to_owned()),
            authenticated_at: Some(Timestamp::from_micros(self.clock)),
            idle_timeout: self.rng.random_ratio(1, 2).then_some(1_800_000_000),
            risk_score: self.rng.random_range(0..=100),
            ..UserLoggedIn::by_password(session_id, device, nonce, hash, until)
        }))
    }

    fn grant(&mut self, i: usize) -> Option<UserEvent> {
        let role_id = self.some_role();
        let scope = self.rng.random_ratio(1, 3).then(|| GrantScope {
            resource: "document".to_owned(),
            id: Some(self.rng.random_range(0..3).to_string()),
            is_prefix: self.rng.random(),
        });
        let grant = (role_id, scope.clone());
        if !self.users[i].grants.contains(&grant) {
            self.users[i].grants.push(grant);
        }
        let expires_at = self
            .rng
            .random_ratio(1, 2)
            .then(|| Timestamp::from_micros(self.clock + 9_000_000));
        Some(UserEvent::RoleGranted(RoleGranted {
            expires_at,
            scope,
            ..RoleGranted::of(role_id)
        }))
    }

    fn revoke_role(&mut self, i: usize) -> Option<UserEvent> {
        let (role_id, scope) = self.users[i].grants.pop()?;
        Some(UserEvent::RoleRevoked(RoleRevoked {
            scope,
            ..RoleRevoked::of(role_id)
        }))
    }

    fn refresh(&mut self, i: usize) -> Option<UserEvent> {
        let session_id = *self.users[i].sessions.last()?;
        Some(UserEvent::SessionRefreshed(SessionRefreshed {
            session_id,
            generation: 2,
            nonce: self.sealed(44),
            refresh_token_hash: Sha256Digest(self.rng.random()),
            refreshed_at: Timestamp::from_micros(self.clock),
            ip_network: self.rng.random_ratio(1, 2).then(|| "2001:db8::/32".to_owned()),
            ip_address: None,
            user_agent: None,
            country_code: self.rng.random_ratio(1, 2).then(|| "SE".to_owned()),
            city: None,
            risk_score: self.rng.random_range(0..=100),
            risk_reasons: vec![],
        }))
    }

    fn end_session(&mut self, i: usize) -> Option<UserEvent> {
        let session_id = self.users[i].sessions.pop()?;
        Some(match self.pick(3) {
            0 => UserEvent::SessionRevoked(SessionRevoked {
                session_id,
                reason: RevokeReason::Logout,
            }),
            1 => UserEvent::RefreshReuseDetected(RefreshReuseDetected {
                session_id,
                presented_generation: 1,
                current_generation: 2,
            }),
            _ => UserEvent::SessionsRevoked(SessionsRevoked {
                session_ids: std::mem::take(&mut self.users[i].sessions)
                    .into_iter()
                    .chain([session_id])
                    .collect(),
                reason: RevokeReason::Administrator,
            }),
        })
    }

    fn fail(&mut self) -> UserEvent {
        let now = Timestamp::from_micros(self.clock);
        if self.rng.random_ratio(1, 3) {
            return UserEvent::Locked(UserLocked {
                reason: LockReason::FailedLogins,
                locked_until: now,
            });
        }
        let (ip_network, ip_address, user_agent) =
            (Some("198.51.0.0/16".to_owned()), None, Some(self.sealed(50)));
        UserEvent::LoginFailed(LoginFailed {
            count: 2,
            first_at: now,
            last_at: now,
            known_devices: vec![DeviceFailures {
                device_id: self.uuid().into(),
                count: self.rng.random_range(0..3),
            }],
            ip_network,
            ip_address,
            user_agent,
        })
    }

    fn change_account(&mut self, i: usize) -> Option<UserEvent> {
        let revoked_sessions = std::mem::take(&mut self.users[i].sessions);
        let active = self.users[i].active;
        if self.rng.random_ratio(1, 4) {
            self.users[i].sessions = revoked_sessions;
            return Some(UserEvent::PasswordRehashed(PasswordRehashed {
                password_hash: self.sealed(125),
            }));
        }
        if self.rng.random_ratio(1, 2) {
            return Some(UserEvent::PasswordChanged(PasswordChanged {
                password_hash: self.sealed(125),
                revoked_sessions,
                cause: PasswordChangeCause::Change,
                known_device: None,
            }));
        }
        self.users[i].active = !active;
        Some(if active {
            UserEvent::Deactivated(UserDeactivated { revoked_sessions })
        } else {
            self.users[i].sessions = revoked_sessions;
            UserEvent::Reactivated(UserReactivated {})
        })
    }
}
