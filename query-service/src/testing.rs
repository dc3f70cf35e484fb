//! The service without Kafka: a node fed by hand, and shards that do not answer, or one that is filled by hand.

use std::sync::Arc;
use std::time::Duration;

use access_node::FedNode;
use axum::body::Body;
use axum::http::{HeaderMap, Request, header};
use domain::catalog::Catalog;
use domain::rolecall_permissions::{administrator_role_id, bootstrap_commands};
use domain::{Context, Decide};
use event_log::Topics;
use local_stack::Stack;
use read_model::{Shards, schema};
use schemas::catalog::{CatalogEvent, PermissionAttached, PermissionDefined, RoleDefined};
use schemas::user::{RevokeReason, RoleRevoked, UserRegistered};
use schemas::user::{RoleGranted, SessionRevoked, UserDeactivated, UserEvent, UserLoggedIn};
use schemas::{
    BlindIndex, DataKey, DeviceId, IndexKey, LogId, PermissionId, RoleId, Sealed, SessionId, Sha256Digest,
};
use schemas::{ClaimId, Position, Stream, Timestamp, UserId};
use serde_json::Value;
use service_kit::assurance::Authentication;
use service_kit::jwt::{AccessClaims, Signer, TokenConfig, Verifier};
use service_kit::key_folder::KeyFolder;
use service_kit::signing::{Algorithm, PrivateKey};
use sqlx::PgPool;
use tower::ServiceExt;
use uuid::Uuid;

use crate::app::{App, Decisions};
use crate::personal_data::DataKeys;
use crate::reads::{ShardReads, pool_settings};
use crate::routes;

pub const LOG: LogId = LogId::from_uuid(Uuid::from_u128(0x10));
pub const LEDGERS: i32 = 4;
pub const ADMIN: UserId = UserId::from_uuid(Uuid::from_u128(0xAD));
pub const ALICE: UserId = UserId::from_uuid(Uuid::from_u128(0xA1));
pub const BOB: UserId = UserId::from_uuid(Uuid::from_u128(0xB0));
pub const NOBODY: UserId = UserId::from_uuid(Uuid::from_u128(0x40));
pub const EDITOR: RoleId = RoleId::from_uuid(Uuid::from_u128(0xED));

pub struct TestApp {
    pub fed: FedNode,
    pub app: Arc<App>,
    signer: Signer,
}

pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
    /// Null when the body is not JSON.
    pub body: Value,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn slug(&self) -> &str {
        self.body["type"]
            .as_str()
            .unwrap_or_default()
            .rsplit('/')
            .next()
            .unwrap()
    }
}

impl TestApp {
    /// An administrator, Alice and Bob are signed in; editors may write documents. No shard
    /// answers.
    pub fn new() -> Self {
        Self::with_shard("postgres://x@127.0.0.1:1/x", None)
    }

    /// As [`Self::new`], with one shard, and one data key for all unless they are erased.
    pub fn with_shard(dsn: &str, data_key: Option<DataKey>) -> Self {
        let fed = FedNode::new(LOG, LEDGERS);
        let keys = KeyFolder::fixed(PrivateKey::generate(Algorithm::EdDsa));
        let tokens = TokenConfig::default();
        let mut settings = pool_settings(2);
        settings.acquire_timeout = Duration::from_millis(500);
        let shards = Shards::connect_lazy(&[dsn], &settings).unwrap();
        let app = Arc::new(App {
            node: Arc::clone(&fed.node),
            verifier: Verifier::new(Arc::clone(&keys), tokens.clone()),
            tokens: tokens.clone(),
            data_keys: DataKeys::Fixed(data_key),
            index_key: Some(IndexKey::parse(&[7; 32]).unwrap()),
            shards: ShardReads::new(shards, Topics::new("rolecall"), LOG, LEDGERS),
            public_url: "https://pdp.example.org".to_owned(),
            decisions: Decisions::default(),
            key_guesses: service_kit::service_key::KeyGuesses::default(),
        });
        let test = Self {
            fed,
            app,
            signer: Signer::new(keys, tokens),
        };
        test.fill();
        test
    }

    fn fill(&self) {
        let (mut catalog, ctx) = (
            Catalog::default(),
            Context {
                now: Timestamp::now(),
            },
        );
        for command in bootstrap_commands() {
            for event in command.decide(&catalog, &ctx).unwrap() {
                catalog.apply(&event);
                self.fed.catalog(&event);
            }
        }
        let permission_id = PermissionId::from_uuid(Uuid::from_u128(0xDE));
        self.fed
            .catalog(&CatalogEvent::PermissionDefined(PermissionDefined {
                permission_id,
                name: "document.write".to_owned(),
                resource: "document".to_owned(),
                action: "write".to_owned(),
                description: None,
                category: None,
                is_dangerous: false,
            }));
        self.fed.catalog(&CatalogEvent::RoleDefined(RoleDefined {
            role_id: EDITOR,
            name: "editor".to_owned(),
            description: None,
            parent_id: None,
            level: 0,
            is_system_role: false,
        }));
        let attached = PermissionAttached {
            role_id: EDITOR,
            permission_id,
        };
        self.fed.catalog(&CatalogEvent::PermissionAttached(attached));
        for user in [ADMIN, ALICE, BOB] {
            self.fed.user(user, &registered(user));
            self.log_in(user);
        }
        self.grant(ADMIN, administrator_role_id(), None);
    }

    /// Somebody whose ledger is neither the administrator's nor Alice's.
    pub fn elsewhere(&self) -> UserId {
        let taken = [ADMIN, ALICE].map(|user| self.app.node.ledger(user));
        let mut ids = (1..).map(|number| UserId::from_uuid(Uuid::from_u128(number)));
        let user = ids.find(|user| !taken.contains(&self.app.node.ledger(*user)));
        let user = user.unwrap();
        self.fed.user(user, &registered(user));
        user
    }

    pub fn log_in(&self, user: UserId) -> Position {
        let event = UserLoggedIn::by_password(
            session(user),
            DeviceId::new_v7(),
            Sealed::from_bytes(&[]),
            Sha256Digest([0; 32]),
            Timestamp::now().plus(Duration::from_secs(3_600)),
        );
        self.fed.user(user, &UserEvent::LoggedIn(event))
    }

    pub fn log_out(&self, user: UserId) -> Position {
        let (session_id, reason) = (session(user), RevokeReason::Logout);
        self.fed.user(
            user,
            &UserEvent::SessionRevoked(SessionRevoked { session_id, reason }),
        )
    }

    pub fn grant(&self, user: UserId, role_id: RoleId, expires_at: Option<Timestamp>) -> Position {
        self.fed.user(
            user,
            &UserEvent::RoleGranted(RoleGranted {
                expires_at,
                ..RoleGranted::of(role_id)
            }),
        )
    }

    pub fn revoke(&self, user: UserId, role_id: RoleId) -> Position {
        self.fed
            .user(user, &UserEvent::RoleRevoked(RoleRevoked::of(role_id)))
    }

    pub fn deactivate(&self, user: UserId) -> Position {
        let event = UserDeactivated {
            revoked_sessions: vec![session(user)],
        };
        self.fed.user(user, &UserEvent::Deactivated(event))
    }

    /// Of the user's session, whether or not it lives.
    pub fn access_token(&self, user: UserId) -> String {
        self.access_token_issued(user, Timestamp::now())
    }

    pub fn access_token_issued(&self, user: UserId, issued_at: Timestamp) -> String {
        let claims = AccessClaims {
            user_id: user,
            session_id: session(user),
            client_id: "rolecall".into(),
            authentication: Authentication::new(&["pwd".to_owned(), "otp".to_owned()], Some(issued_at)),
            issued_at,
            expires_at: issued_at.plus(Duration::from_secs(300)),
            token_id: Uuid::from_u128(3),
        };
        self.signer.issue(&claims).unwrap()
    }

    pub fn token_of(&self, position: Position) -> String {
        self.app.token([position]).to_string()
    }

    pub async fn send(&self, request: Request<Body>) -> Answer {
        let response = routes::router(Arc::clone(&self.app))
            .oneshot(request)
            .await
            .unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let bytes = axum::body::to_bytes(response.into_body(), usize::MAX)
            .await
            .unwrap();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let body = serde_json::from_str(&text).unwrap_or_default();
        Answer {
            status,
            headers,
            text,
            body,
        }
    }

    pub async fn get(&self, path: &str, caller: UserId) -> Answer {
        self.get_at_least(path, caller, None).await
    }

    pub async fn get_at_least(&self, path: &str, caller: UserId, at_least: Option<&str>) -> Answer {
        let bearer = format!("Bearer {}", self.access_token(caller));
        let mut request = Request::get(path).header(header::AUTHORIZATION, bearer);
        if let Some(at_least) = at_least {
            request = request.header("rolecall-at-least", at_least);
        }
        self.send(request.body(Body::empty()).unwrap()).await
    }

    pub fn post(&self, path: &str, caller: UserId, body: impl Into<Body>) -> Request<Body> {
        let bearer = format!("Bearer {}", self.access_token(caller));
        Request::post(path)
            .header(header::AUTHORIZATION, bearer)
            .header(header::CONTENT_TYPE, "application/json")
            .body(body.into())
            .unwrap()
    }
}

/// PostgreSQL alone, with one database: its address, and connections that may do everything.
pub async fn one_database() -> (Stack, String, PgPool) {
    let builder = Stack::builder()
        .kafka_nodes(0)
        .registry(false)
        .redis(false)
        .shards(1);
    let stack = builder.start().await.unwrap();
    let dsn = stack.shard_dsns().remove(0);
    let pool = pool_settings(2).pool(&dsn).unwrap();
    (stack, dsn, pool)
}

/// As [`one_database`], with the tables of a shard.
pub async fn one_shard() -> (Stack, String, PgPool) {
    let (stack, dsn, pool) = one_database().await;
    schema::migrate(&pool).await.unwrap();
    (stack, dsn, pool)
}

/// The shard has applied everything up to and with `position`.
pub async fn reach(pool: &PgPool, position: Position) {
    sqlx::query(
        "INSERT INTO projection_checkpoint (topic, partition, next_offset, chain_seq, chain_hash)
         VALUES ($1, $2, $3, 0, decode(repeat('00', 32), 'hex'))
         ON CONFLICT (topic, partition) DO UPDATE SET next_offset = excluded.next_offset",
    )
    .bind(format!("rolecall.{}", position.stream.name()))
    .bind(position.partition)
    .bind(position.offset + 1)
    .execute(pool)
    .await
    .unwrap();
}

/// The shard has applied all that the node has.
pub async fn catch_up(pool: &PgPool, test: &TestApp) {
    let node = &test.app.node;
    for partition in 0..LEDGERS {
        let basis = node.basis_of_ledger(partition);
        let own = basis
            .into_iter()
            .find(|position| position.stream == Stream::Users);
        // A ledger without events has a checkpoint all the same.
        let none = Position {
            stream: Stream::Users,
            partition,
            offset: -1,
        };
        reach(pool, own.unwrap_or(none)).await;
    }
    reach(pool, node.catalog_basis().unwrap()).await;
}

/// Rows of unrevoked grants, of users and a role who need no rows here.
pub async fn project_grants(pool: &PgPool, test: &TestApp, users: &[UserId], role: RoleId) {
    let ledgers = users.iter().map(|user| test.app.node.ledger(*user));
    let mut tx = pool.begin().await.unwrap();
    sqlx::raw_sql("SET LOCAL session_replication_role = replica")
        .execute(&mut *tx)
        .await
        .unwrap();
    sqlx::query(
        "INSERT INTO user_roles (id, user_id, role_id, ledger, shard_id, granted_at, is_active)
         SELECT gen_random_uuid(), user_id, $1, ledger, 0, 'epoch', true
         FROM unnest($2::uuid[], $3::int[]) AS n (user_id, ledger)",
    )
    .bind(role.as_uuid())
    .bind(users.iter().map(|user| user.as_uuid()).collect::<Vec<_>>())
    .bind(ledgers.collect::<Vec<_>>())
    .execute(&mut *tx)
    .await
    .unwrap();
    tx.commit().await.unwrap();
}

pub fn session(user: UserId) -> SessionId {
    SessionId::from_uuid(Uuid::from_u128(user.as_uuid().as_u128() << 64))
}

pub fn registered(user_id: UserId) -> UserEvent {
    let (nothing, index) = (Sealed::from_bytes(&[]), BlindIndex(Sha256Digest([0; 32])));
    UserEvent::Registered(UserRegistered {
        user_id,
        claim_id: ClaimId::from_uuid(Uuid::nil()),
        username: nothing.clone(),
        username_index: index,
        email: nothing.clone(),
        email_index: index,
        phone_number: None,
        password_hash: nothing,
        email_verified: false,
        phone_verified: false,
    })
}
