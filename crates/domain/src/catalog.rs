//! Roles in their hierarchy, permissions, and which role has which.

mod approvals;
mod approve;
mod attach_permission;
mod change_shard_map;
mod close_approval;
mod compile;
mod danger;
mod define_permission;
mod define_role;
mod delete_permission;
mod delete_role;
mod detach_permission;
mod end_approval;
mod hierarchy;
mod propose;
mod raise_bootstrap_epoch;
mod record_extent;
mod state;
mod text;

#[cfg(test)]
pub(crate) mod properties;

use cqrs_es::Aggregate;
use cqrs_es::event_sink::EventSink;
use schemas::catalog::CatalogEvent;
use serde::{Deserialize, Serialize};

pub use approvals::{Approval, MAX_PENDING};
pub use approve::Approve;
pub use attach_permission::AttachPermission;
pub use change_shard_map::ChangeShardMap;
pub use close_approval::CloseApproval;
pub use danger::Deed;
pub use define_permission::DefinePermission;
pub use define_role::DefineRole;
pub use delete_permission::DeletePermission;
pub use delete_role::DeleteRole;
pub use detach_permission::DetachPermission;
pub use end_approval::EndApproval;
pub use hierarchy::MAX_DEPTH;
pub use propose::{Proposal, Propose};
pub use raise_bootstrap_epoch::RaiseBootstrapEpoch;
pub use record_extent::RecordExtent;
pub use state::{Catalog, Permission, Role};
pub use text::{MAX_DESCRIPTION_CHARS, MAX_NAME_BYTES};

use crate::decider::{self, Context, Decide};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CatalogCommand {
    DefineRole(DefineRole),
    DeleteRole(DeleteRole),
    DefinePermission(DefinePermission),
    DeletePermission(DeletePermission),
    AttachPermission(AttachPermission),
    DetachPermission(DetachPermission),
    Propose(Box<Propose>),
    Approve(Approve),
    EndApproval(EndApproval),
    CloseApproval(CloseApproval),
    RaiseBootstrapEpoch(RaiseBootstrapEpoch),
    RecordExtent(RecordExtent),
    ChangeShardMap(ChangeShardMap),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum Error {
    #[error("a name has 1 to {MAX_NAME_BYTES} letters (a-z), digits, or any of _.:-")]
    InvalidName,
    #[error("a description has at most {MAX_DESCRIPTION_CHARS} characters, none of them control characters")]
    InvalidDescription,
    #[error("no such role")]
    NoSuchRole,
    #[error("no such parent role")]
    NoSuchParent,
    #[error("no such permission")]
    NoSuchPermission,
    #[error("a role cannot stand below itself")]
    Cycle,
    #[error("a hierarchy has at most {MAX_DEPTH} levels")]
    TooDeep,
    #[error("other roles stand below the role")]
    RoleInUse,
    #[error("system roles are Rolecall's own")]
    SystemRole,
    #[error("permissions of the resource rolecall are Rolecall's own")]
    SystemPermission,
    #[error("the id names something else already")]
    IdInUse,
    #[error("no change waits under this approval")]
    NoSuchApproval,
    #[error("nobody approves what they asked for")]
    OwnApproval,
    #[error("what the change names is not what it was when it was asked for")]
    StaleApproval,
    #[error("at most {MAX_PENDING} changes wait for approval at once")]
    TooManyApprovals,
    #[error("the log has shard map {last} already, so the next is not {version}")]
    NotTheNextShardMap { version: i32, last: i32 },
    #[error("a shard map names the shard of each of the {ledgers} ledgers, not of {placed}")]
    IncompleteShardMap { ledgers: i32, placed: usize },
    #[error("the shard map places ledger {ledger} on shard {shard}, which does not exist")]
    NoSuchShard { ledger: usize, shard: i32 },
    #[error("the log has {known} shards, and a map of {shards} would forget some")]
    FewerShards { known: i32, shards: i32 },
    #[error("the shard map names ledger {ledger} on shard {shard} as a further copy, which it cannot be")]
    NotACopy { ledger: i32, shard: i32 },
    #[error("ledger {ledger} cannot move to shard {shard}: no copy is filled there")]
    NotFilled { ledger: i32, shard: i32 },
    #[error("ledger {ledger} cannot leave shard {shard} at once: its copy there is kept up for a while")]
    NotKeptUp { ledger: i32, shard: i32 },
}

impl Decide<Catalog> for CatalogCommand {
    fn decide(self, catalog: &Catalog, ctx: &Context) -> Result<Vec<CatalogEvent>, Error> {
        match self {
            Self::DefineRole(command) => command.decide(catalog, ctx),
            Self::DeleteRole(command) => command.decide(catalog, ctx),
            Self::DefinePermission(command) => command.decide(catalog, ctx),
            Self::DeletePermission(command) => command.decide(catalog, ctx),
            Self::AttachPermission(command) => command.decide(catalog, ctx),
            Self::DetachPermission(command) => command.decide(catalog, ctx),
            Self::Propose(command) => command.decide(catalog, ctx),
            Self::Approve(command) => command.decide(catalog, ctx),
            Self::EndApproval(command) => command.decide(catalog, ctx),
            Self::CloseApproval(command) => command.decide(catalog, ctx),
            Self::RaiseBootstrapEpoch(command) => command.decide(catalog, ctx),
            Self::RecordExtent(command) => command.decide(catalog, ctx),
            Self::ChangeShardMap(command) => command.decide(catalog, ctx),
        }
    }
}

impl Aggregate for Catalog {
    const TYPE: &'static str = "catalog";
    type Command = CatalogCommand;
    type Event = CatalogEvent;
    type Error = Error;
    type Services = Context;

    async fn handle(
        &mut self,
        command: CatalogCommand,
        ctx: &Context,
        sink: &EventSink<Self>,
    ) -> Result<(), Error> {
        decider::handle(self, command, ctx, sink).await
    }

    fn apply(&mut self, event: CatalogEvent) {
        Self::apply(self, &event);
    }
}
