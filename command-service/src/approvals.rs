//! Changes that take two people: asked for here by the first, made once the second approves.
//!
//! The catalog decides what has to wait and holds it. A change of the catalog is made with the approval, in one
//! transaction. A grant stands on another ledger and follows: by whoever approved, or, after a crash in between, by the
//! catalog's owner.

use domain::catalog::{Approval, Catalog, CatalogCommand, CloseApproval, Proposal, Propose};
use domain::rolecall_permissions::Permission;
use domain::user::{GrantRole, Status, User, UserCommand};
use event_log::{BusError, CommandContext, Receipt};
use schemas::catalog::{CatalogEvent, ChangeKind, ProposedChange};
use schemas::user::UserEvent;
use schemas::{Actor, ApprovalId, Idempotency, Position, RequestId, Timestamp, UserId};
use serde::Serialize;
use service_kit::at_least::Written;
use service_kit::problem::{Problem, ProblemType};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::app::App;
use crate::authorise::Whose;
use crate::call::Call;
use crate::refusals::{Refusal as _, problem};

/// What a call answers whose change may have to wait.
#[derive(Clone, Copy, Debug, Default, Serialize, ToSchema)]
pub struct Changed {
    /// Set where the change waits: a second person approves it under this id.
    #[serde(skip_serializing_if = "Option::is_none")]
    approval_id: Option<Uuid>,
    /// Then `pending`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "pending")]
    status: Option<&'static str>,
}

/// How many people a grant takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    One,
    /// It takes two to give the role, but the user holds it as long already: one, while that is so.
    OneWhileHeld,
    Two,
}

impl App {
    /// Makes the change if one person may (200), else lets it wait for a second one (202). Asked for again while it
    /// waits, it is the same approval.
    pub async fn propose(
        &self,
        call: &Call,
        proposal: Proposal,
        context: CommandContext,
        basis: &[Position],
    ) -> Result<Written<Changed>, Problem> {
        let command = CatalogCommand::Propose(Box::new(Propose {
            approval_id: ApprovalId::new_v7(),
            requested_by: call.caller.user_id,
            expires_at: Timestamp::now().plus(self.approval_ttl),
            proposal: proposal.clone(),
        }));
        let receipt = self
            .bus
            .execute::<Catalog>("catalog", command, context)
            .await
            .map_err(problem)?;
        let requested = receipt.records.iter().find_map(|record| match &record.event {
            CatalogEvent::ApprovalRequested(event) => Some(event.approval_id),
            _ => None,
        });
        let waits = match requested {
            None if receipt.records.is_empty() => self.waiting(&proposal).await?,
            known => known,
        };
        let token = call.open.token(self, basis, &receipt);
        let Some(approval) = waits else {
            return Ok(Written::new(Changed::default(), token));
        };
        let changed = Changed {
            approval_id: Some(approval.as_uuid()),
            status: Some("pending"),
        };
        Ok(Written::accepted(changed, token))
    }

    async fn waiting(&self, proposal: &Proposal) -> Result<Option<ApprovalId>, Problem> {
        let catalog = self.bus.catalog().await.map_err(problem)?.aggregate;
        let change = proposal.describe(&catalog).map_err(|refusal| refusal.problem())?;
        let found = catalog.pending_approval(&change, Timestamp::now());
        Ok(found.map(|(id, _)| id))
    }

    /// How many people this grant takes.
    pub async fn grant_takes(&self, user: UserId, grant: &GrantRole) -> Result<Takes, Problem> {
        let catalog = self.node.catalog();
        let role = catalog.role(grant.role_id);
        if !role.is_some_and(|role| catalog.gives_danger(role)) {
            return Ok(Takes::One);
        }
        let is_nobody = |state: &User| matches!(state.status(), Status::Unregistered | Status::Erased);
        let state = self.state_of(user, is_nobody).await?;
        if is_nobody(&state) {
            return Err(ProblemType::NoSuchUser.into());
        }
        let now = Timestamp::now();
        if !grant.terms().is_live(now) {
            return Err(ProblemType::ExpiryInPast.into());
        }
        Ok(match state.grants.hold(&grant.key(), &grant.terms(), now) {
            true => Takes::OneWhileHeld,
            false => Takes::Two,
        })
    }

    /// Lets those pass who may make the change themselves, if one person were enough. The node must be at `latest`.
    pub fn require_for_change(
        &self,
        who: impl Into<Whose>,
        change: &ProposedChange,
    ) -> Result<Vec<Position>, Problem> {
        let who = who.into();
        let needed = match change.kind {
            ChangeKind::GrantRole => Permission::RoleGrant,
            ChangeKind::AttachPermission => Permission::PermissionAttach,
            ChangeKind::DefineRole => Permission::RoleDefine,
            ChangeKind::DefinePermission => Permission::PermissionDefine,
            ChangeKind::Other => return Err(unknown_change()),
        };
        let basis = self.require(who, needed)?;
        let (role, until) = match change.kind {
            ChangeKind::GrantRole => (change.role_id, change.expires_at),
            ChangeKind::DefineRole => (change.parent_id, None),
            ChangeKind::AttachPermission | ChangeKind::DefinePermission | ChangeKind::Other => (None, None),
        };
        if let Some(role) = role {
            self.refuse_escalation(who, role, until)?;
        }
        if let (ChangeKind::AttachPermission, Some(permission)) = (change.kind, &change.permission) {
            self.refuse_escalation_by(who, permission)?;
        }
        Ok(basis)
    }

    /// Makes a grant that was approved, and closes the approval. Safe to repeat: the grant has the key of its approval.
    pub async fn finish_grant(
        &self,
        id: ApprovalId,
        change: &ProposedChange,
        approved_by: UserId,
        basis: Vec<Position>,
    ) -> Result<Receipt<UserEvent>, Problem> {
        let (Some(user), Some(role_id)) = (change.user_id, change.role_id) else {
            return Err(unknown_change());
        };
        let digest = |purpose| self.index_key.digest(purpose, &[id.as_uuid().as_bytes()]);
        let context = CommandContext {
            actor: Actor::User(approved_by),
            idempotency: Some(Idempotency {
                key_digest: digest("approved-grant"),
                request_digest: digest("approved-grant-request"),
            }),
            basis,
            ..CommandContext::system(RequestId::new_v7())
        };
        let command = UserCommand::GrantRole(GrantRole {
            role_id,
            scope: change.scope.clone(),
            expires_at: change.expires_at,
            approval_id: Some(id),
            only_held: false,
        });
        let granted = self
            .bus
            .execute::<User>(&user.to_string(), command, context)
            .await;
        // Only what is certain closes it.
        if matches!(granted, Ok(_) | Err(BusError::Refused(_))) {
            let applied = granted.is_ok();
            let close = CatalogCommand::CloseApproval(CloseApproval {
                approval_id: id,
                applied,
            });
            let context = CommandContext::system(RequestId::new_v7());
            let closed = self.bus.execute::<Catalog>("catalog", close, context).await;
            if let Err(error) = closed {
                tracing::warn!(approval.id = %id, "Approval {id} is not closed yet: {error}");
            }
        }
        granted.map_err(problem)
    }

    /// What a crash or a fault left approved and not granted. By the catalog's owner.
    pub async fn finish_approvals(&self) {
        let aside = self.node.aside();
        let basis: Vec<Position> = self.node.catalog_basis().into_iter().collect();
        let approved = |(id, it): (&ApprovalId, &Approval)| Some((*id, it.approved_by?, it.change.clone()));
        for (id, by, change) in aside.approvals.iter().filter_map(approved) {
            match self.finish_grant(id, &change, by, basis.clone()).await {
                Ok(_) => {
                    tracing::info!(approval.id = %id, "Made the grant of approval {id} that a fault left open")
                }
                Err(problem) => {
                    let status = problem.status();
                    tracing::warn!(approval.id = %id, %status, "The grant of approval {id} is not made");
                }
            }
        }
    }
}

fn unknown_change() -> Problem {
    Problem::new(ProblemType::Conflict).detail("this version does not know the change")
}
