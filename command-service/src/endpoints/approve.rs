//! POST /v1/approvals/{id}/approve: approve, as a second person, a change that waits.

use std::sync::Arc;

use axum::extract::State;
use domain::catalog::{Approval, Approve, Catalog, CatalogCommand};
use schemas::catalog::ChangeKind;
use schemas::{ApprovalId, Position};
use service_kit::at_least::{Empty, Written, WrittenBody};
use service_kit::params::Path;
use service_kit::problem::{Problem, ProblemDetails, ProblemType};
use uuid::Uuid;

use crate::app::App;
use crate::call::Call;
use crate::refusals::problem;

#[utoipa::path(post, path = "/v1/approvals/{id}/approve", tag = "approvals", security(("bearer" = [])),
    params(("id" = uuid::Uuid, Path, description = "Approval id")), responses(
    (status = 200, body = WrittenBody<Empty>, description = "The change is made"),
    (status = 403, body = ProblemDetails, description = "One's own request, or what the change needs is missing"),
    (status = 404, body = ProblemDetails, description = "No change waits under this id"),
    (status = 409, body = ProblemDetails, description = "The change is no longer what was asked for"),
    (status = "default", body = ProblemDetails),
))]
#[tracing::instrument(name = "http.approval.approve", skip_all, fields(approval.id = %id))]
pub async fn approve(
    State(app): State<Arc<App>>,
    call: Call,
    Path(id): Path<ApprovalId>,
) -> Result<Written, Problem> {
    // Whoever asked may have made an account for a program, and hold its key.
    if call.caller.session_id().is_none() {
        return Err(Problem::new(ProblemType::Forbidden).detail("a person approves, not a program"));
    }
    // Of both persons' ledgers.
    app.reach_latest(&call).await?;
    let context = call.context(&app, "approve", &id, app.users_basis().await?);
    if let Some(idempotency) = &context.idempotency
        && let Some(receipt) = app
            .bus
            .replayed::<Catalog>("catalog", idempotency)
            .await
            .map_err(problem)?
    {
        return Ok(Written::at(call.open.token(&app, &[], &receipt)));
    }
    let approval = app.approval(id).await?;
    let basis = app.require_for_change(call.caller, &approval.change)?;
    if app
        .require_for_change(approval.requested_by, &approval.change)
        .is_err()
    {
        return Err(
            Problem::new(ProblemType::Conflict).detail("whoever asked for the change may no longer make it")
        );
    }
    let command = CatalogCommand::Approve(Approve {
        approval_id: id,
        approved_by: call.caller.user_id,
        new_id: Uuid::now_v7(),
    });
    let receipt = app
        .bus
        .execute::<Catalog>("catalog", command, context)
        .await
        .map_err(problem)?;
    let mut positions: Vec<Position> = receipt.records.iter().map(|it| it.position).collect();
    positions.extend(receipt.last);
    if approval.change.kind == ChangeKind::GrantRole {
        let by = approval.approved_by.unwrap_or(call.caller.user_id);
        let granted = app
            .finish_grant(id, &approval.change, by, positions.clone())
            .await?;
        positions.extend(granted.records.iter().map(|it| it.position));
        positions.extend(granted.last);
    }
    Ok(Written::at(
        call.open.token_of(&app, basis.into_iter().chain(positions)),
    ))
}

impl App {
    /// A change that waits, or is approved and not yet made.
    pub async fn approval(&self, id: ApprovalId) -> Result<Approval, Problem> {
        let catalog = self.bus.catalog().await.map_err(problem)?.aggregate;
        let found = catalog.approvals.get(&id).cloned();
        Ok(found.ok_or(ProblemType::NoSuchApproval)?)
    }
}
