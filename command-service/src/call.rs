//! What every command's request brings besides its body.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use domain::user::User;
use event_log::{CommandContext, Receipt};
use schemas::user::UserEvent;
use schemas::{Actor, Idempotency, Position, UserId};
use serde::Serialize;
use service_kit::at_least::AtLeast;
use service_kit::auth::Caller;
use service_kit::client_info::ClientInfo;
use service_kit::consistency::ConsistencyToken;
use service_kit::idempotency::IdempotencyKey;
use service_kit::problem::Problem;
use service_kit::request_id::RequestContext;

use crate::app::App;
use crate::refusals::problem;

/// A call by somebody who is signed in.
pub struct Call {
    pub caller: Caller,
    pub open: OpenCall,
}

/// A call that needs no access token, and therefore does not look at one: a client that refreshes
/// sends the expired one along, and an OAuth client its own credentials.
#[derive(Clone)]
pub struct OpenCall {
    /// Anonymous, unless made [`Self::by`] somebody.
    actor: Actor,
    pub request: RequestContext,
    pub idempotency_key: Option<IdempotencyKey>,
    pub at_least: AtLeast,
    pub client: ClientInfo,
}

impl FromRequestParts<Arc<App>> for OpenCall {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let Ok(request) = RequestContext::from_request_parts(parts, app).await;
        let Ok(client) = ClientInfo::from_request_parts(parts, app).await;
        let located = app.places.locate(client.address);
        let client = ClientInfo {
            country_code: located.country_code,
            city: located.city,
            ..client
        };
        Ok(Self {
            actor: Actor::Anonymous,
            request,
            idempotency_key: IdempotencyKey::from_headers(&parts.headers)?,
            at_least: AtLeast::from_request_parts(parts, app).await?,
            client,
        })
    }
}

impl FromRequestParts<Arc<App>> for Call {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let caller = Caller::from_request_parts(parts, app).await?;
        let open = OpenCall::from_request_parts(parts, app).await?.by(caller.actor());
        Ok(Self { caller, open })
    }
}

impl Call {
    /// The command's context; `request` is what it asks for, without its secrets.
    pub fn context(
        &self,
        app: &App,
        operation: &str,
        request: &impl Serialize,
        basis: Vec<Position>,
    ) -> CommandContext {
        self.open.context(app, operation, request, basis)
    }
}

impl OpenCall {
    /// The same call, made by somebody: the event names its actor, and idempotency keys are kept apart
    /// by it.
    pub fn by(self, actor: Actor) -> Self {
        Self { actor, ..self }
    }

    /// The command's context. `operation` keeps apart the idempotency keys of different calls;
    /// `request` is what is asked for without its secrets, to tell a retry from another request.
    pub fn context(
        &self,
        app: &App,
        operation: &str,
        request: &impl Serialize,
        basis: Vec<Position>,
    ) -> CommandContext {
        CommandContext {
            actor: self.actor,
            request_id: self.request.request_id,
            causation_id: None,
            idempotency: self.idempotency(app, operation, request),
            basis,
            traceparent: self
                .request
                .traceparent
                .as_ref()
                .map(|trace| trace.as_str().to_owned()),
            new_data_key: None,
        }
    }

    fn idempotency(&self, app: &App, operation: &str, request: &impl Serialize) -> Option<Idempotency> {
        let key = self.idempotency_key.as_ref()?;
        let actor = self.actor.to_string();
        // Plain structs of strings and numbers always serialise.
        let request = serde_json::to_vec(request).unwrap_or_default();
        Some(Idempotency {
            key_digest: app.index_key.digest(
                "idempotency-key",
                &[actor.as_bytes(), operation.as_bytes(), key.as_str().as_bytes()],
            ),
            request_digest: app.index_key.digest("idempotency-request", &[&request]),
        })
    }

    /// The token of an answer: what the caller demanded, what the decision relied on, what it wrote.
    pub fn token<E>(&self, app: &App, basis: &[Position], receipt: &Receipt<E>) -> ConsistencyToken {
        let written = receipt
            .records
            .iter()
            .map(|record| record.position)
            .chain(receipt.last);
        self.token_of(app, basis.iter().copied().chain(written))
    }

    pub fn token_of(&self, app: &App, positions: impl IntoIterator<Item = Position>) -> ConsistencyToken {
        let mut token = self
            .at_least
            .token
            .clone()
            .unwrap_or_else(|| ConsistencyToken::new(app.node.log_id()));
        for position in positions {
            token.include(position);
        }
        token
    }
}

impl App {
    /// The answer of an earlier try, if the call has its idempotency key.
    pub async fn replayed(
        &self,
        user: UserId,
        context: &CommandContext,
    ) -> Result<Option<Receipt<UserEvent>>, Problem> {
        let Some(idempotency) = &context.idempotency else {
            return Ok(None);
        };
        let first = self.bus.replayed::<User>(&user.to_string(), idempotency).await;
        first.map_err(problem)
    }
}
