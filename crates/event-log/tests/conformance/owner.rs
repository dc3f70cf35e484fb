//! An owner of all of a log's ledgers, and small commands for it.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use domain::catalog::{Catalog, CatalogCommand, DefineRole};
use domain::identifier::{Confirm, Identifier, IdentifierCommand, Release, Reserve};
use domain::user::{GrantRole, Register, RevokeRole, User, UserCommand};
use event_log::{
    Bus, BusError, CommandContext, Group, GroupSpec, GroupStatus, Instance, NewDataKey, Owners, Receipt,
    Record, Snapshots, WriterLog, decode,
};
use schemas::catalog::CatalogEvent;
use schemas::identifier::{IdentifierEvent, IdentifierKind};
use schemas::user::{UserEvent, UserRegistered};
use schemas::{
    BlindIndex, ChainHead, ClaimId, Event, Idempotency, RequestId, RoleId, SchemaIds, Sealed, Sha256Digest,
    Stored, Stream, Timestamp, UserId, link,
};
use uuid::Uuid;

pub const LEDGERS: i32 = 4;
const GROUPS: i32 = 2;

pub type Outcome<E, R> = Result<Receipt<E>, BusError<R>>;

/// One instance that serves all ledgers.
pub struct Owner {
    pub bus: Bus,
    pub status: Vec<tokio::sync::watch::Receiver<GroupStatus>>,
}

pub fn specs() -> Vec<GroupSpec> {
    let ledgers = (0..GROUPS).map(|number| GroupSpec::of_ledgers(number, GROUPS, LEDGERS));
    ledgers.chain([GroupSpec::catalog()]).collect()
}

impl Owner {
    /// Claims every group and returns when each serves or never will.
    pub async fn claim<L: WriterLog>(log: &Arc<L>) -> Self {
        let owner = Self::start(log);
        owner.bus.settled().await;
        owner
    }

    pub fn start<L: WriterLog>(log: &Arc<L>) -> Self {
        Self::start_from(log, None)
    }

    pub fn start_from<L: WriterLog>(log: &Arc<L>, snapshots: Option<&Snapshots>) -> Self {
        let (bus, ids, instance) = (
            Bus::new(LEDGERS),
            Arc::new(SchemaIds::numbered()),
            Instance::alone(),
        );
        let mut status = Vec::new();
        for spec in specs() {
            let group = Group::start_from(
                Arc::clone(log),
                &spec,
                Arc::clone(&ids),
                instance.clone(),
                Owners::default(),
                snapshots.cloned(),
            );
            status.push(group.status());
            bus.route(&spec.partitions, group);
        }
        Self { bus, status }
    }

    pub async fn user(&self, id: UserId, command: UserCommand) -> Outcome<UserEvent, domain::user::Error> {
        self.user_with(id, command, system()).await
    }

    pub async fn user_with(
        &self,
        id: UserId,
        command: UserCommand,
        context: CommandContext,
    ) -> Outcome<UserEvent, domain::user::Error> {
        self.bus.execute::<User>(&id.to_string(), command, context).await
    }

    pub async fn identifier(
        &self,
        index: BlindIndex,
        command: IdentifierCommand,
    ) -> Outcome<IdentifierEvent, domain::identifier::Error> {
        self.bus
            .execute::<Identifier>(&index.to_hex(), command, system())
            .await
    }

    pub async fn define_role(&self, name: &str) -> Outcome<CatalogEvent, domain::catalog::Error> {
        let command = CatalogCommand::DefineRole(DefineRole {
            role_id: RoleId::new_v7(),
            name: name.to_owned(),
            description: None,
            parent: None,
            is_system_role: false,
        });
        self.bus.execute::<Catalog>("catalog", command, system()).await
    }

    pub async fn registered(&self) -> UserId {
        let id = UserId::new_v7();
        self.user(id, register(id)).await.unwrap();
        id
    }

    /// Some groups may serve again after a doubt; waits until all do.
    pub async fn serves(&self) {
        for status in &self.status {
            status
                .clone()
                .wait_for(|it| *it == GroupStatus::Serving)
                .await
                .unwrap();
        }
    }

    pub async fn given_up(&self) {
        for status in &self.status {
            status
                .clone()
                .wait_for(|it| *it == GroupStatus::GivenUp)
                .await
                .unwrap();
        }
    }
}

pub fn system() -> CommandContext {
    CommandContext::system(RequestId::new_v7())
}

pub fn keyed(key: &str, request: &str) -> CommandContext {
    let digest = |text: &str| Sha256Digest::of(text.as_bytes());
    let idempotency = Idempotency {
        key_digest: digest(key),
        request_digest: digest(request),
    };
    CommandContext {
        idempotency: Some(idempotency),
        ..system()
    }
}

pub fn with_data_key(user_id: UserId) -> CommandContext {
    let key = schemas::KeyEncryptionKey::parse(&[7; 32]).unwrap();
    let wrapped = key
        .wrap(schemas::LogId::new_v7(), user_id, &schemas::DataKey::generate())
        .unwrap();
    let new_data_key = NewDataKey {
        user_id,
        wrapped,
        key_encryption_key_id: key.id(),
    };
    CommandContext {
        new_data_key: Some(new_data_key),
        ..system()
    }
}

fn sealed(text: &str) -> Sealed {
    Sealed::from_bytes(text.as_bytes())
}

pub fn index(text: &str) -> BlindIndex {
    BlindIndex(Sha256Digest::of(text.as_bytes()))
}

pub fn register(user_id: UserId) -> UserCommand {
    let registration = UserRegistered {
        user_id,
        claim_id: ClaimId::from_uuid(user_id.as_uuid()),
        username: sealed("name"),
        username_index: index(&format!("name of {user_id}")),
        email: sealed("mail"),
        email_index: index(&format!("mail of {user_id}")),
        phone_number: None,
        password_hash: sealed("hash"),
        email_verified: false,
        phone_verified: false,
    };
    UserCommand::Register(Box::new(Register { registration }))
}

pub fn role(number: u128) -> RoleId {
    RoleId::from_uuid(Uuid::from_u128(number))
}

pub fn grant(number: u128) -> UserCommand {
    UserCommand::GrantRole(GrantRole {
        role_id: role(number),
        scope: None,
        expires_at: None,
        approval_id: None,
        only_held: false,
    })
}

pub fn revoke(number: u128) -> UserCommand {
    UserCommand::RevokeRole(RevokeRole {
        role_id: role(number),
        scope: None,
    })
}

pub fn reserve(user_id: UserId) -> IdentifierCommand {
    IdentifierCommand::Reserve(Reserve {
        kind: IdentifierKind::Email,
        user_id,
        claim_id: ClaimId::from_uuid(user_id.as_uuid()),
        expires_at: Timestamp::now().plus(std::time::Duration::from_secs(60)),
        index_key_id: "key".to_owned(),
    })
}

pub fn confirm(user_id: UserId) -> IdentifierCommand {
    IdentifierCommand::Confirm(Confirm {
        user_id,
        claim_id: ClaimId::from_uuid(user_id.as_uuid()),
    })
}

pub fn release(user_id: UserId) -> IdentifierCommand {
    IdentifierCommand::Release(Release {
        user_id,
        claim_id: ClaimId::from_uuid(user_id.as_uuid()),
    })
}

/// Certainly not applied.
pub fn is_not_done<E>(error: &BusError<E>) -> bool {
    matches!(error, BusError::NotApplied | BusError::Unavailable)
}

/// All chained records, in order within each partition.
pub fn records<L: WriterLog>(log: &Arc<L>) -> Vec<Record> {
    let partitions: Vec<(Stream, i32)> = specs().into_iter().flat_map(|spec| spec.partitions).collect();
    let ends = log.high_watermarks(&partitions).unwrap();
    let range: Vec<_> = partitions
        .iter()
        .zip(ends)
        .map(|(&(stream, p), end)| (stream, p, 0, end))
        .collect();
    let mut records = Vec::new();
    log.read(&mut L::Reader::default(), &range, &mut |record| {
        records.push(record);
        ControlFlow::Continue(())
    })
    .unwrap();
    records
}

pub fn events<L: WriterLog>(log: &Arc<L>) -> Vec<Stored<Event>> {
    let ids = SchemaIds::numbered();
    records(log)
        .iter()
        .map(|record| decode(record, &ids).unwrap())
        .collect()
}

/// Of one aggregate: sequence and event.
pub fn history<L: WriterLog>(log: &Arc<L>, id: &str) -> Vec<(i64, Event)> {
    let own = events(log).into_iter().filter(|it| it.meta.aggregate_id == id);
    own.map(|it| (it.meta.sequence, it.data)).collect()
}

/// Every partition is one chain from its first record on, and every aggregate's events are numbered
/// without a gap.
pub fn chain_is_whole<L: WriterLog>(log: &Arc<L>) {
    let ids = SchemaIds::numbered();
    let mut heads: HashMap<(Stream, i32), ChainHead> = HashMap::new();
    let mut sequences: HashMap<(Stream, String), i64> = HashMap::new();
    for record in records(log) {
        let stored = decode(&record, &ids).unwrap();
        let place = (record.stream, record.partition);
        let head = heads.entry(place).or_insert(ChainHead::START);
        assert_eq!(
            (stored.meta.chain_seq, stored.meta.prev_hash),
            (head.next_seq, head.hash),
            "{place:?}"
        );
        *head = ChainHead {
            next_seq: head.next_seq + 1,
            hash: link(
                &log.topic(record.stream),
                record.partition,
                &record.key,
                &record.value,
            ),
        };
        if !matches!(stored.data, Event::Log(_)) {
            let last = sequences
                .entry((record.stream, stored.meta.aggregate_id.clone()))
                .or_default();
            assert_eq!(stored.meta.sequence, *last + 1, "{}", stored.meta.aggregate_id);
            *last += 1;
        }
    }
}
