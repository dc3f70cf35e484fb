//! GET /v1/users: the account that a name belongs to.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use domain::rolecall_permissions::Permission;
use read_model::queries::Name;
use schemas::IndexKey;
use schemas::identifier::IdentifierKind;
use serde::{Deserialize, Serialize};
use service_kit::at_least::AtLeast;
use service_kit::auth::Caller;
use service_kit::json::Json;
use service_kit::params::Query;
use service_kit::problem::{Problem, ProblemDetails, ProblemType};
use utoipa::{IntoParams, ToSchema};

use crate::app::App;
use crate::endpoints::user::{self, UserAnswer};
use crate::names;

/// One of both.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct UsersQuery {
    /// A user name, in any form that it may be typed in.
    #[param(example = "alice", max_length = 256)]
    username: Option<String>,
    /// An e-mail address.
    #[param(example = "alice@example.org", max_length = 320)]
    email: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub struct UsersAnswer {
    /// One, or none.
    users: Vec<UserAnswer>,
}

/// The account that a name belongs to
///
/// Needs the permission `rolecall.user_read`. Names are stored encrypted, so only a whole one is found. A call with any
/// `Rolecall-At-Least` is answered from the end of the log.
#[utoipa::path(
    get,
    path = "/v1/users",
    tag = "users",
    params(UsersQuery),
    responses(
        (status = 200, description = "Whose name it is, if anybody's", body = UsersAnswer),
        (status = 400, description = "Not one name, or a malformed one", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 401, description = "No valid access token", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 403, description = "A permission is missing", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 503, description = "Not applied yet, a shard does not answer, or this service has no index key", body = ProblemDetails, content_type = "application/problem+json"),
    ),
)]
pub async fn users(
    State(app): State<Arc<App>>,
    caller: Caller,
    at_least: AtLeast,
    Query(query): Query<UsersQuery>,
) -> Result<Response, Problem> {
    let at_least = names::demanded(at_least);
    app.reach(caller, &at_least).await?;
    app.require(caller, Permission::UserRead)?;
    let key = app.index_key.as_ref().ok_or_else(|| {
        Problem::new(ProblemType::DependencyUnavailable)
            .detail("this service was given no index key to find names with")
    })?;
    let (found, token) = app.user_named(caller, query.name(key)?, &at_least).await?;
    let mut users = Vec::new();
    if let Some(row) = found {
        let personal = app.data_keys.of(app.node.log_id(), row.id).await?;
        users.push(user::answer(row, &personal)?);
    }
    Ok((token, Json(UsersAnswer { users })).into_response())
}

impl UsersQuery {
    fn name(&self, key: &IndexKey) -> Result<Name, Problem> {
        let (kind, text) = match (&self.username, &self.email) {
            (Some(name), None) => (IdentifierKind::Username, name),
            (None, Some(address)) => (IdentifierKind::Email, address),
            _ => return Err(invalid("give a username or an email")),
        };
        let index = key
            .index(kind, text)
            .map_err(|error| invalid(&error.to_string()))?;
        Ok(match kind {
            IdentifierKind::Email => Name::Email(index),
            IdentifierKind::Username | IdentifierKind::Other => Name::Username(index),
        })
    }
}

fn invalid(detail: &str) -> Problem {
    Problem::new(ProblemType::InvalidParameter).detail(detail.to_owned())
}
