//! What a new log starts with: Rolecall's own permissions and the first administrator.

use std::path::Path;
use std::sync::Arc;

use axum::http::StatusCode;
use domain::catalog::Catalog;
use domain::rolecall_permissions::{administrator_role_id, bootstrap_commands};
use domain::user::{GrantRole, User, UserCommand};
use event_log::CommandContext;
use schemas::{ClaimId, RequestId, UserId};
use service_kit::problem::Problem;
use uuid::Uuid;

use crate::app::App;
use crate::config::Config;
use crate::endpoints::register::{NewUser, registration};
use crate::passwords::check_strength;
use crate::refusals::problem;

#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    #[error(
        "the log has no administrator yet: name a file with the first one's password in ROLECALL_ADMIN_PASSWORD_FILE"
    )]
    NoPassword,
    #[error("reading {path}: {cause}")]
    Password { path: String, cause: std::io::Error },
    #[error("making the first administrator: {reason}")]
    Refused { reason: String, status: StatusCode },
}

impl BootstrapError {
    /// Whether trying again can help.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Refused { status, .. } if *status == StatusCode::SERVICE_UNAVAILABLE)
    }
}

impl From<Problem> for BootstrapError {
    fn from(problem: Problem) -> Self {
        let details = problem.details();
        let detail = details
            .detail
            .map(|detail| format!(": {detail}"))
            .unwrap_or_default();
        Self::Refused {
            reason: format!("{}{detail}", details.title),
            status: problem.status(),
        }
    }
}

/// Brings the catalog's built-in part up to this version, and finishes the first administrator's
/// registration. Everything here is safe to repeat; an administrator who was changed later stays so.
pub async fn bootstrap(app: &Arc<App>, administrator: UserId, config: &Config) -> Result<(), BootstrapError> {
    let catalog = app.bus.catalog().await.map_err(problem)?.aggregate;
    for command in bootstrap_commands() {
        // Deciding here first saves a round trip to Kafka for each that changes nothing.
        if needs(&catalog, &command) {
            app.bus
                .execute::<Catalog>("catalog", command, system())
                .await
                .map_err(problem)?;
        }
    }
    let admin = app
        .bus
        .inspect::<User>(&administrator.to_string())
        .await
        .map_err(problem)?;
    if admin.aggregate.account.is_none() {
        let password = read_password(config.admin_password_file.as_deref())?;
        check_strength(&password, &[&config.admin_username, &config.admin_email])?;
        let new_user = NewUser {
            user_id: administrator,
            claim_id: claim_of(administrator, &admin.aggregate),
            username: config.admin_username.clone(),
            email: config.admin_email.clone(),
            phone_number: None,
            password,
        };
        let (registered, key) = registration(app, new_user).await?;
        let context = CommandContext {
            new_data_key: Some(key),
            ..system()
        };
        // Another instance may be at the same.
        app.register(registered, context, true).await?;
        tracing::info!(user.id = %administrator, "Registered the first administrator");
    }
    grant(app, administrator).await
}

/// The same in every try, so that a crash half way leaves nothing taken, until somebody who wanted the
/// names has had it abandoned: an abandoned claim is refused for ever.
fn claim_of(administrator: UserId, state: &User) -> ClaimId {
    let first = administrator.as_uuid();
    let later = (1..u32::MAX).map(|number| Uuid::new_v5(&first, &number.to_be_bytes()));
    let claims = [first].into_iter().chain(later).map(ClaimId::from_uuid);
    let mut free = claims.filter(|claim| !state.abandoned_claims.contains(claim));
    free.next().unwrap_or_else(ClaimId::new_v7)
}

/// Granted in the same start as registered, or in the next after a crash in between. Afterwards the
/// administrator is left as people made him: a later event than the registration tells.
async fn grant(app: &App, administrator: UserId) -> Result<(), BootstrapError> {
    let id = administrator.to_string();
    let current = app.bus.inspect::<User>(&id).await.map_err(problem)?;
    let catalog = app.bus.catalog().await.map_err(problem)?;
    if current.sequence > 1 {
        return Ok(());
    }
    let command = UserCommand::GrantRole(GrantRole {
        role_id: administrator_role_id(),
        expires_at: None,
    });
    let context = CommandContext {
        basis: catalog.last.into_iter().collect(),
        ..system()
    };
    app.bus
        .execute::<User>(&id, command, context)
        .await
        .map_err(problem)?;
    Ok(())
}

fn needs(catalog: &Catalog, command: &domain::catalog::CatalogCommand) -> bool {
    use domain::decider::{Context, Decide};
    let now = schemas::Timestamp::now();
    !matches!(command.clone().decide(catalog, &Context { now }), Ok(events) if events.is_empty())
}

fn system() -> CommandContext {
    CommandContext::system(RequestId::new_v7())
}

fn read_password(path: Option<&Path>) -> Result<String, BootstrapError> {
    let path = path.ok_or(BootstrapError::NoPassword)?;
    let text = std::fs::read_to_string(path).map_err(|cause| BootstrapError::Password {
        path: path.display().to_string(),
        cause,
    })?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_abandoned_claim_is_followed_by_another_that_every_try_has() {
        let administrator = UserId::new_v7();
        let mut state = User::default();
        let first = claim_of(administrator, &state);
        assert_eq!(first.as_uuid(), administrator.as_uuid());
        state.abandoned_claims.insert(first);
        let second = claim_of(administrator, &state);
        assert_ne!(second, first);
        assert_eq!(second, claim_of(administrator, &state));
        state.abandoned_claims.insert(second);
        assert!(!state.abandoned_claims.contains(&claim_of(administrator, &state)));
    }
}
