//! A log with many people in it, written through the event log's own writer: everything as the
//! command service would write it, but without a password hash for each.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use domain::catalog::{AttachPermission, Catalog, CatalogCommand, DefinePermission, DefineRole};
use domain::identifier::{Confirm, Identifier, IdentifierCommand, Reserve};
use domain::user::{GrantRole, LogIn, MAX_SESSIONS, Register, User, UserCommand};
use event_log::identity::LogIdentity;
use event_log::{
    Bus, CommandContext, Group, GroupSpec, Instance, KafkaConfig, KafkaWriterLog, LogSpec, NewDataKey,
    Owners, create_log,
};
use futures::{StreamExt, TryStreamExt};
use local_stack::Stack;
use schemas::identifier::IdentifierKind;
use schemas::user::{UserLoggedIn, UserRegistered};
use schemas::{
    ClaimId, DataKey, DeviceId, IndexKey, KeyEncryptionKey, LogId, PermissionId, Position, Registry,
    RequestId, RoleId, Sealed, SessionId, Sha256Digest, Timestamp, UserId, sealed_field,
};
use service_kit::keys::{KeyFiles, generate_key_files};
use std::time::Duration;

pub const LEDGERS: i32 = 16;
pub const ROLES: usize = 100;
/// Users whose events are made at the same time: enough to fill every transaction.
const AT_ONCE: usize = 2_048;
/// One user in so many has identifiers in the log too.
const NAMED_ONE_IN: usize = 5;

/// Which users are signed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignedIn {
    /// Those with identifiers.
    Some,
    All,
}

/// What the log holds.
#[derive(Clone)]
pub struct People {
    pub users: Arc<[UserId]>,
    pub events: usize,
}

pub fn role_name(role: usize) -> String {
    format!("bench-role-{:02}", role % ROLES)
}

/// The resource that only this role may read.
pub fn resource(role: usize) -> String {
    format!("resource-{:02}", role % ROLES)
}

/// The roles that a user holds from the beginning.
pub fn roles_of(user: usize) -> [usize; 2] {
    [user % ROLES, (user + 1) % ROLES]
}

/// The n-th grant that nobody has made before, as user and role.
pub fn fresh_grant(number: usize, users: usize) -> (usize, usize) {
    let user = number % users;
    (user, (user + 2 + number / users) % ROLES)
}

struct Seeder {
    bus: Bus,
    keys: KeyFiles,
    key: KeyEncryptionKey,
    index: IndexKey,
    log: LogId,
    roles: Vec<RoleId>,
    catalog: Vec<Position>,
    signed_in: SignedIn,
}

/// Makes a log under `prefix` with `users` people; its keys lie where the services will look.
pub async fn seed(
    stack: &Stack,
    prefix: &str,
    groups: i32,
    users: usize,
    signed_in: SignedIn,
) -> Result<People> {
    let keys = generate_key_files(&stack.data_dir().join(prefix).join("keys"))?;
    let (key, index) = (keys.key_encryption_key()?, keys.index_key()?);
    let kafka = KafkaConfig::plain(stack.kafka_bootstrap(), prefix);
    let spec = LogSpec {
        ledgers: LEDGERS,
        groups,
        replication: 1,
        index_key_id: index.id(),
        held: None,
    };
    let identity = open_log(
        &kafka,
        &spec,
        &key,
        &Registry::new(&stack.registry_url(), reqwest::Client::builder())?,
    )
    .await?;
    let created = &identity.created;
    let (bus, instance) = (Bus::new(LEDGERS), Instance::alone());
    let (log, ids) = (
        Arc::new(KafkaWriterLog::new(&kafka, created.log_id)?),
        Arc::new(identity.schema_ids.clone()),
    );
    let specs = (0..groups).map(|number| GroupSpec::of_ledgers(number, groups, LEDGERS));
    for spec in specs.chain([GroupSpec::catalog()]) {
        bus.route(
            &spec.partitions,
            Group::start(
                Arc::clone(&log),
                &spec,
                Arc::clone(&ids),
                instance.clone(),
                Owners::default(),
            ),
        );
    }
    bus.settled().await;
    ensure!(
        bus.not_serving().is_empty(),
        "ledgers not served: {:?}",
        bus.not_serving()
    );
    let roles = (0..ROLES).map(|_| RoleId::new_v7()).collect();
    let mut seeder = Seeder {
        bus,
        keys,
        key,
        index,
        log: created.log_id,
        roles,
        catalog: Vec::new(),
        signed_in,
    };
    seeder.catalog().await?;
    let seeder = &seeder;
    let made: Vec<(UserId, usize)> = futures::stream::iter(0..users)
        .map(|number| seeder.person(number))
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    seeder.bus.shut_down().await;
    ensure!(seeder.keys.index_key_file.is_some(), "the key files are gone");
    let events = made.iter().map(|(_, events)| events).sum();
    Ok(People {
        users: made.into_iter().map(|(user, _)| user).collect(),
        events,
    })
}

/// Tries again while the topics are still being made.
async fn open_log(
    kafka: &KafkaConfig,
    spec: &LogSpec,
    key: &KeyEncryptionKey,
    registry: &Registry,
) -> Result<LogIdentity> {
    loop {
        match create_log(kafka, spec, key, registry).await {
            Err(error) if !error.is_permanent() => tokio::time::sleep(Duration::from_millis(200)).await,
            outcome => return Ok(outcome?),
        }
    }
}

fn system(basis: &[Position]) -> CommandContext {
    CommandContext {
        basis: basis.to_vec(),
        ..CommandContext::system(RequestId::new_v7())
    }
}

impl Seeder {
    async fn catalog(&mut self) -> Result<()> {
        for (number, role_id) in self.roles.iter().copied().enumerate() {
            let (role, permission) = (role_name(number), format!("read-{number:02}"));
            let commands = [
                CatalogCommand::DefineRole(DefineRole {
                    role_id,
                    name: role.clone(),
                    description: None,
                    parent: None,
                    is_system_role: false,
                }),
                CatalogCommand::DefinePermission(DefinePermission {
                    permission_id: PermissionId::new_v7(),
                    name: permission.clone(),
                    resource: resource(number),
                    action: "read".to_owned(),
                    description: None,
                    category: None,
                    is_dangerous: false,
                    system: false,
                }),
                CatalogCommand::AttachPermission(AttachPermission {
                    role,
                    permission,
                    system: false,
                }),
            ];
            for command in commands {
                let receipt = self
                    .bus
                    .execute::<Catalog>("catalog", command, system(&[]))
                    .await?;
                self.catalog = receipt.last.into_iter().collect();
            }
        }
        Ok(())
    }

    /// Registers somebody, grants two roles; gives the id and how many events that took.
    async fn person(&self, number: usize) -> Result<(UserId, usize)> {
        let (user_id, claim_id, data_key) = (UserId::new_v7(), ClaimId::new_v7(), DataKey::generate());
        let id = user_id.to_string();
        let (name, email) = (
            format!("user-{number:06}"),
            format!("user-{number:06}@example.org"),
        );
        let seal = |field: &str, text: &str| data_key.seal(self.log, user_id, field, text).context("sealing");
        let registration = UserRegistered {
            user_id,
            claim_id,
            username: seal(sealed_field::USERNAME, &name)?,
            username_index: self.index.index(IdentifierKind::Username, &name)?,
            email: seal(sealed_field::EMAIL, &email)?,
            email_index: self.index.index(IdentifierKind::Email, &email)?,
            phone_number: None,
            // As long as a real one; nobody signs in with it.
            password_hash: seal(sealed_field::PASSWORD_HASH, &"x".repeat(97))?,
            email_verified: false,
            phone_verified: false,
        };
        let identifiers = [
            (IdentifierKind::Email, registration.email_index.to_hex()),
            (IdentifierKind::Username, registration.username_index.to_hex()),
        ];
        let named = number.is_multiple_of(NAMED_ONE_IN);
        if named {
            for (kind, index) in &identifiers {
                let expires_at = Timestamp::now().plus(Duration::from_secs(60));
                let index_key_id = self.index.id();
                let reserve = Reserve {
                    kind: *kind,
                    user_id,
                    claim_id,
                    expires_at,
                    index_key_id,
                };
                self.identifier(index, IdentifierCommand::Reserve(reserve))
                    .await?;
            }
        }
        let new_data_key = NewDataKey {
            user_id,
            wrapped: self.key.wrap(self.log, user_id, &data_key)?,
            key_encryption_key_id: self.key.id(),
        };
        let context = CommandContext {
            new_data_key: Some(new_data_key),
            ..system(&[])
        };
        let register = UserCommand::Register(Box::new(Register { registration }));
        self.bus.execute::<User>(&id, register, context).await?;
        for role in roles_of(number) {
            let grant = UserCommand::GrantRole(GrantRole {
                role_id: self.roles[role],
                scope: None,
                expires_at: None,
                approval_id: None,
                only_held: false,
            });
            self.bus
                .execute::<User>(&id, grant, system(&self.catalog))
                .await?;
        }
        if named {
            for (_, index) in &identifiers {
                self.identifier(index, IdentifierCommand::Confirm(Confirm { user_id, claim_id }))
                    .await?;
            }
        } else if self.signed_in == SignedIn::Some {
            return Ok((user_id, 3));
        }
        let login = login(
            seal(sealed_field::NONCE, "0123456789abcdef")?,
            seal(sealed_field::IP_ADDRESS, "203.0.113.7")?,
        );
        let log_in = UserCommand::LogIn(Box::new(LogIn {
            login,
            credentials: 1,
            signature_counter: None,
            max_sessions: MAX_SESSIONS,
        }));
        self.bus.execute::<User>(&id, log_in, system(&[])).await?;
        Ok((user_id, if named { 8 } else { 4 }))
    }

    async fn identifier(&self, index: &str, command: IdentifierCommand) -> Result<()> {
        self.bus
            .execute::<Identifier>(index, command, system(&[]))
            .await?;
        Ok(())
    }
}

fn login(nonce: Sealed, address: Sealed) -> UserLoggedIn {
    let until = Timestamp::now().plus(Duration::from_secs(30 * 24 * 3600));
    let (session, device) = (SessionId::new_v7(), DeviceId::new_v7());
    UserLoggedIn {
        ip_network: Some("203.0.0.0/16".to_owned()),
        ip_address: Some(address.clone()),
        user_agent: Some(address),
        ..UserLoggedIn::by_password(session, device, nonce, Sha256Digest(rand::random()), until)
    }
}
