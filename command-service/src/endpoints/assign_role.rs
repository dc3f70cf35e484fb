//! PUT /v1/users/{id}/roles/{role}: grant a role, for good or until a time, everywhere or within a scope.

use std::sync::Arc;

use axum::extract::State;
use chrono::{DateTime, Datelike, Utc};
use domain::catalog::Proposal;
use domain::rolecall_permissions::Permission;
use domain::user::{self, GrantRole, User, UserCommand};
use event_log::BusError;
use schemas::{GrantScope, RoleId, Timestamp, UserId};
use serde::{Deserialize, Serialize};
use service_kit::at_least::{Written, WrittenBody};
use service_kit::json::OptionalJson;
use service_kit::params::Path;
use service_kit::problem::{Problem, ProblemDetails, ProblemType};
use utoipa::ToSchema;

use crate::app::App;
use crate::approvals::{Changed, Takes};
use crate::call::Call;
use crate::refusals::problem;
use crate::scopes::Scope;

/// A grant that changes in between changes who may make it; more often than this is no accident.
const TRIES: usize = 3;

#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AssignRoleRequest {
    /// The grant counts until then; for good when absent.
    pub expires_at: Option<DateTime<Utc>>,
    /// What the grant is limited to; without, it counts for all resources. The same role under several scopes are several
    /// grants.
    pub scope: Option<Scope>,
}

#[derive(Serialize)]
struct Fingerprint {
    user: UserId,
    role: RoleId,
    expires_at: Option<Timestamp>,
    /// What was asked for before there were scopes is the same request still.
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<GrantScope>,
}

#[utoipa::path(put, path = "/v1/users/{id}/roles/{role}", tag = "roles", security(("bearer" = [])),
    params(("id" = uuid::Uuid, Path, description = "User id"), ("role" = String, Path, description = "Role name")),
    request_body = Option<AssignRoleRequest>, responses(
    (status = 200, body = WrittenBody<Changed>),
    (status = 202, body = WrittenBody<Changed>, description = "The role has a dangerous permission: a second person has to approve"),
    (status = 403, body = ProblemDetails),
    (status = 404, body = ProblemDetails),
    (status = 422, body = ProblemDetails),
    (status = "default", body = ProblemDetails),
))]
#[tracing::instrument(name = "http.user.assign_role", skip_all, fields(user.id = %user))]
pub async fn assign_role(
    State(app): State<Arc<App>>,
    call: Call,
    Path((user, role)): Path<(UserId, String)>,
    OptionalJson(request): OptionalJson<AssignRoleRequest>,
) -> Result<Written<Changed>, Problem> {
    let basis = app.authorise_at_latest(&call, Permission::RoleGrant).await?;
    let role_id = app
        .node
        .catalog()
        .role_by_name(&role)
        .map(|role| role.id)
        .ok_or(ProblemType::NoSuchRole)?;
    let expires_at = request.expires_at.map(expiry).transpose()?;
    app.refuse_escalation(call.caller, role_id, expires_at)?;
    let scope = request.scope.map(GrantScope::try_from).transpose()?;
    let fingerprint = Fingerprint {
        user,
        role: role_id,
        expires_at,
        scope: scope.clone(),
    };
    let context = call.context(&app, "assign-role", &fingerprint, basis.clone());
    // A grant that was carried out under this key stays the answer, whatever it would take now.
    if let Some(first) = app.replayed(user, &context).await? {
        let token = call.open.token(&app, &basis, &first);
        return Ok(Written::new(Changed::default(), token));
    }
    for _ in 0..TRIES {
        let mut grant = GrantRole {
            role_id,
            scope: scope.clone(),
            expires_at,
            approval_id: None,
            only_held: false,
        };
        match app.grant_takes(user, &grant).await? {
            Takes::One => {}
            Takes::OneWhileHeld => grant.only_held = true,
            Takes::Two => {
                let proposal = Proposal::GrantRole {
                    user_id: user,
                    role_id,
                    scope,
                    expires_at,
                };
                return app.propose(&call, proposal, context, &basis).await;
            }
        }
        let command = UserCommand::GrantRole(grant);
        let id = user.to_string();
        match app.bus.execute::<User>(&id, command, context.clone()).await {
            Ok(receipt) => {
                let token = call.open.token(&app, &basis, &receipt);
                return Ok(Written::new(Changed::default(), token));
            }
            // Revoked in between: it takes two again.
            Err(BusError::Refused(user::Error::GrantShortened)) => {}
            Err(error) => return Err(problem(error)),
        }
    }
    Err(ProblemType::NotApplied.into())
}

/// The parser takes years of more than four digits, which RFC 3339 does not have and other readers
/// of the log cannot represent.
pub fn expiry(at: DateTime<Utc>) -> Result<Timestamp, Problem> {
    if at.year() <= 9999 {
        return Ok(at.into());
    }
    let detail = "is after the year 9999; leave it out for a grant that does not expire";
    Err(Problem::new(ProblemType::InvalidBody)
        .detail(format!("expires_at {detail}"))
        .field("expires_at", detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> bool {
        let request = serde_json::json!({ "expires_at": text });
        let request: AssignRoleRequest = serde_json::from_value(request).unwrap();
        expiry(request.expires_at.unwrap()).is_err()
    }

    #[test]
    fn an_expiry_has_a_year_of_four_digits() {
        assert!(!refused("2100-01-01T00:00:00Z"));
        assert!(!refused("9999-12-31T23:59:59.999999Z"));
        assert!(refused("9999-12-31T23:59:59-00:01"));
        assert!(refused("+10000-01-01T00:00:00Z"));
        assert!(refused("+262142-12-31T23:59:59Z"));
    }
}
