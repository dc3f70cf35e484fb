//! What a new log starts with: Rolecall's own permissions and the first administrator.

use std::path::Path;
use std::sync::Arc;

use axum::http::StatusCode;
use domain::catalog::{Catalog, CatalogCommand, RaiseBootstrapEpoch};
use domain::rolecall_permissions::{administrator_role_id, bootstrap_commands};
use domain::user::{GrantRole, User, UserCommand};
use event_log::CommandContext;
use passwords::LEAST_ALONE;
use schemas::{ClaimId, RequestId, UserId};
use service_kit::problem::{Problem, ProblemType};

use crate::app::App;
use crate::config::Config;
use crate::endpoints::register::{NewUser, derived, registration};
use crate::passwords::check_strength;
use crate::refusals::problem;

#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    #[error(
        "the log has no administrator of bootstrap epoch {epoch} yet: name a file with the password in ROLECALL_ADMIN_PASSWORD_FILE"
    )]
    NoPassword { epoch: i32 },
    #[error("reading {path}: {cause}")]
    Password { path: String, cause: std::io::Error },
    #[error(
        "the administrator of bootstrap epoch {epoch} is a new user: name a user name and an e-mail address that are free in ROLECALL_ADMIN_USERNAME and ROLECALL_ADMIN_EMAIL ({reason})"
    )]
    Taken { epoch: i32, reason: String },
    #[error("making an administrator: {reason}")]
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

/// Brings the catalog's built-in part up to this version, and finishes the registration of the
/// administrator of the configured epoch. Everything here is safe to repeat, by several services at
/// once too; an administrator who was changed later stays so.
///
/// Epoch 0 has the administrator that `log.created` names. A higher epoch makes one more, a new user:
/// whoever was administrator before stays what people made of him, and his password stays forgotten.
pub async fn bootstrap(app: &Arc<App>, first: UserId, config: &Config) -> Result<(), BootstrapError> {
    let catalog = app.bus.catalog().await.map_err(problem)?.aggregate;
    for command in bootstrap_commands() {
        execute(app, &catalog, command).await?;
    }
    let epoch = config.bootstrap_epoch;
    if epoch > catalog.bootstrap_epoch() {
        // What must be right to make the administrator is looked at before the log names one.
        password(config)?;
        let administrator = UserId::new_v7();
        let raise = CatalogCommand::RaiseBootstrapEpoch(RaiseBootstrapEpoch { epoch, administrator });
        execute(app, &catalog, raise).await?;
    }
    let raised = app.bus.catalog().await.map_err(problem)?.aggregate.bootstrap;
    let administrator = match raised {
        None => first,
        Some(raised) if raised.epoch == epoch => raised.administrator,
        Some(raised) => {
            tracing::info!("The log's bootstrap epoch is {}: {epoch} is over", raised.epoch);
            return Ok(());
        }
    };
    let id = administrator.to_string();
    let known = app.bus.inspect::<User>(&id).await.map_err(problem)?;
    if known.aggregate.account.is_none() {
        register(app, &known.aggregate, administrator, config).await?;
        tracing::info!(user.id = %administrator, "Registered the administrator of bootstrap epoch {epoch}");
    }
    grant(app, administrator).await
}

/// Deciding here first saves a round trip to Kafka for each that changes nothing.
async fn execute(app: &App, catalog: &Catalog, command: CatalogCommand) -> Result<(), BootstrapError> {
    if needs(catalog, &command) {
        let executed = app.bus.execute::<Catalog>("catalog", command, system());
        executed.await.map_err(problem)?;
    }
    Ok(())
}

async fn register(
    app: &Arc<App>,
    state: &User,
    administrator: UserId,
    config: &Config,
) -> Result<(), BootstrapError> {
    let new_user = NewUser {
        user_id: administrator,
        claim_id: claim_of(app, state, administrator, config),
        username: config.admin_username.clone(),
        email: config.admin_email.clone(),
        phone_number: None,
    };
    let (registered, key) = registration(app, &new_user, password(config)?).await?;
    let context = CommandContext {
        new_data_key: Some(key),
        ..system()
    };
    // Another instance may be at the same.
    let refused = match app.register(registered, context, true).await {
        Ok(_) => return Ok(()),
        Err(refused) if refused.status() == StatusCode::CONFLICT => refused,
        Err(refused) if refused.kind == ProblemType::IdempotencyMismatch => refused,
        Err(failed) => return Err(failed.into()),
    };
    // Another service of this epoch may have come first, under other names.
    let id = administrator.to_string();
    let known = app.bus.inspect::<User>(&id).await.map_err(problem)?;
    match known.aggregate.account {
        Some(_) => Ok(()),
        None => Err(BootstrapError::Taken {
            epoch: config.bootstrap_epoch,
            reason: refused.details().title,
        }),
    }
}

/// The same in every try under these names, so that a crash half way leaves nothing taken, until somebody
/// who wanted them has had it abandoned: an abandoned claim is refused for ever.
fn claim_of(app: &App, state: &User, administrator: UserId, config: &Config) -> ClaimId {
    let user = administrator.as_uuid();
    let (username, email) = (config.admin_username.as_bytes(), config.admin_email.as_bytes());
    let numbered = |number: u32| -> ClaimId {
        let number = number.to_be_bytes();
        let parts = [user.as_bytes().as_slice(), username, email, &number];
        derived(app.index_key.digest("bootstrap-claim", &parts).0).into()
    };
    let mut free = (0..u32::MAX)
        .map(numbered)
        .filter(|claim| !state.abandoned_claims.contains(claim));
    free.next().unwrap_or_else(ClaimId::new_v7)
}

/// The configured one, if it is strong enough.
fn password(config: &Config) -> Result<String, BootstrapError> {
    let epoch = config.bootstrap_epoch;
    let file = config.admin_password_file.as_deref();
    let password = read_password(file.ok_or(BootstrapError::NoPassword { epoch })?)?;
    check_strength(
        &password,
        LEAST_ALONE,
        &[&config.admin_username, &config.admin_email],
    )?;
    Ok(password)
}

/// Granted in the same start as registered, or in the next after a crash in between. Afterwards the
/// administrator is left as people made him: a later event than the registration tells.
async fn grant(app: &App, administrator: UserId) -> Result<(), BootstrapError> {
    let id = administrator.to_string();
    let current = app.bus.inspect::<User>(&id).await.map_err(problem)?;
    let catalog = app.bus.catalog().await.map_err(problem)?;
    // Claims that were abandoned before he was registered are events too.
    let before = i64::try_from(current.aggregate.abandoned_claims.len()).unwrap_or(i64::MAX);
    if current.sequence > before.saturating_add(1) {
        return Ok(());
    }
    let command = UserCommand::GrantRole(GrantRole {
        role_id: administrator_role_id(),
        scope: None,
        expires_at: None,
        approval_id: None,
        only_held: false,
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

fn needs(catalog: &Catalog, command: &CatalogCommand) -> bool {
    use domain::decider::{Context, Decide};
    let now = schemas::Timestamp::now();
    !matches!(command.clone().decide(catalog, &Context { now }), Ok(events) if events.is_empty())
}

fn system() -> CommandContext {
    CommandContext::system(RequestId::new_v7())
}

fn read_password(path: &Path) -> Result<String, BootstrapError> {
    let text = std::fs::read_to_string(path).map_err(|cause| BootstrapError::Password {
        path: path.display().to_string(),
        cause,
    })?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

#[cfg(test)]
mod tests {
    use access_node::AccessNode;
    use clap::Parser as _;
    use domain::user::{AbandonClaim, Deactivate, GrantKey};
    use schemas::identifier::IdentifierKind;
    use service_kit::health::Readiness;
    use service_kit::keys::generate_key_files;

    use super::*;
    use crate::startup::{app, bus, open_log, own_ledgers};

    async fn is_administrator(app: &App, name: &str, user: UserId, abandoned: i64) {
        let index = app.index_key.index(IdentifierKind::Username, name).unwrap();
        assert_eq!(app.names.holder_of(index).await.unwrap(), Some(user));
        let found = app.bus.inspect::<User>(&user.to_string()).await.unwrap();
        // Registered once and granted once; a claim whose names were taken was abandoned.
        assert_eq!(found.sequence, abandoned + 2);
        assert!(
            found
                .aggregate
                .grants
                .get(&GrantKey::unlimited(administrator_role_id()))
                .is_some()
        );
    }

    /// The log decides between them, so they share one owner of it.
    #[tokio::test(flavor = "multi_thread")]
    async fn two_services_started_at_once_make_one_administrator_an_epoch() {
        let stack = local_stack::Stack::builder().start().await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let password = folder.path().join("password");
        std::fs::write(&password, "correct horse battery staple").unwrap();
        let (bootstrap_servers, registry) = (stack.kafka_bootstrap(), stack.registry_url());
        let mut config = Config::parse_from([
            "command-service",
            "--kafka",
            &bootstrap_servers,
            "--schema-registry-url",
            &registry,
            "--admin-password-file",
            password.to_str().unwrap(),
            "--plaintext",
            "allowed",
            "--kafka-security",
            "plaintext",
        ]);
        config.keys = generate_key_files(&folder.path().join("keys")).unwrap();
        let kafka = config.kafka_config().unwrap();
        let identity = open_log(&config, &kafka, None, &Readiness::awaiting([]))
            .await
            .unwrap();
        let node = AccessNode::start(&kafka, &identity, None).unwrap();
        let (instance, bus) = bus(&config, &identity, &node).unwrap();
        let start = || {
            let way = (instance.clone(), bus.clone());
            Arc::new(app(&config, &kafka, &identity, way, Arc::clone(&node)).unwrap())
        };
        let (one, other) = (start(), start());
        let _ownership = own_ledgers(&config, None, &one, &kafka, &identity).unwrap();
        let first = identity.created.administrator;
        let at_once = async |config: &Config| {
            let (a, b) = tokio::join!(bootstrap(&one, first, config), bootstrap(&other, first, config));
            a.and(b)
        };
        // Somebody wanted the name while an earlier start had crashed half way.
        let id = first.to_string();
        let claim_id = claim_of(&one, &User::default(), first, &config);
        let abandon = UserCommand::AbandonClaim(AbandonClaim { claim_id });
        bus.execute::<User>(&id, abandon, system()).await.unwrap();
        at_once(&config).await.unwrap();
        is_administrator(&one, "admin", first, 1).await;

        let deactivate = UserCommand::Deactivate(Deactivate {});
        bus.execute::<User>(&id, deactivate, system()).await.unwrap();
        at_once(&config).await.unwrap();
        let found = bus.inspect::<User>(&id).await.unwrap();
        assert!(found.aggregate.account.is_some_and(|account| account.deactivated));

        let mut raised = config.clone();
        raised.bootstrap_epoch = 3;
        let taken = at_once(&raised).await.unwrap_err();
        assert!(matches!(taken, BootstrapError::Taken { epoch: 3, .. }), "{taken}");
        raised.admin_username = "second".to_owned();
        raised.admin_email = "second@example.org".to_owned();
        at_once(&raised).await.unwrap();
        let catalog = bus.catalog().await.unwrap();
        let second = catalog.aggregate.bootstrap.unwrap();
        assert_eq!(second.epoch, 3);
        is_administrator(&other, "second", second.administrator, 1).await;

        // Neither the same epoch nor an older one makes anybody.
        for epoch in [3, 2, 0] {
            let older = Config {
                bootstrap_epoch: epoch,
                admin_username: "third".to_owned(),
                admin_email: "third@example.org".to_owned(),
                ..config.clone()
            };
            at_once(&older).await.unwrap();
            let third = one.index_key.index(IdentifierKind::Username, "third").unwrap();
            assert_eq!(one.names.holder_of(third).await.unwrap(), None);
        }
        assert_eq!(bus.catalog().await.unwrap().last, catalog.last);
        bus.shut_down().await;
        stack.shutdown().await.unwrap();
    }
}
