//! DELETE /v1/approvals/{id}: withdraw what one asked for, or refuse it.

use std::sync::Arc;

use axum::extract::State;
use domain::catalog::{Catalog, CatalogCommand, EndApproval};
use schemas::ApprovalId;
use service_kit::at_least::{Empty, Written, WrittenBody};
use service_kit::params::Path;
use service_kit::problem::{Problem, ProblemDetails};

use crate::app::App;
use crate::call::Call;
use crate::refusals::problem;

#[utoipa::path(delete, path = "/v1/approvals/{id}", tag = "approvals", security(("bearer" = [])),
    params(("id" = uuid::Uuid, Path, description = "Approval id")), responses(
    (status = 200, body = WrittenBody<Empty>, description = "The change will not be made"),
    (status = 403, body = ProblemDetails, description = "Neither one's own request nor one that one could approve"),
    (status = 404, body = ProblemDetails, description = "No change waits under this id"),
    (status = "default", body = ProblemDetails),
))]
#[tracing::instrument(name = "http.approval.end", skip_all, fields(approval.id = %id))]
pub async fn end_approval(
    State(app): State<Arc<App>>,
    call: Call,
    Path(id): Path<ApprovalId>,
) -> Result<Written, Problem> {
    app.reach_latest(&call).await?;
    let context = call.context(&app, "end-approval", &id, Vec::new());
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
    let caller = call.caller.user_id;
    let mut basis = Vec::new();
    if approval.requested_by != caller {
        basis = app.require_for_change(call.caller, &approval.change)?;
    }
    let command = CatalogCommand::EndApproval(EndApproval {
        approval_id: id,
        ended_by: caller,
    });
    let receipt = app
        .bus
        .execute::<Catalog>("catalog", command, context)
        .await
        .map_err(problem)?;
    Ok(Written::at(call.open.token(&app, &basis, &receipt)))
}
