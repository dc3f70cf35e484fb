//! Calls that may end the session they are made in, and what their retries get.
//!
//! A retry whose first answer was lost brings the token of the session that the first try ended. It gets that answer if
//! its idempotency key is the one of the event, for as long as the token itself lives.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use schemas::user::UserEvent;
use schemas::{Actor, SessionId, UserId};
use serde::Serialize;
use service_kit::at_least::Written;
use service_kit::auth::{Caller, claims_from_headers};
use service_kit::problem::{Problem, ProblemType};

use crate::app::App;
use crate::call::{Call, OpenCall};

/// A call that may be its session's last.
pub struct LastCall {
    /// None once the session has ended.
    caller: Option<Caller>,
    open: OpenCall,
    /// Whose the call says it is; none of a service account.
    session: Option<(UserId, SessionId)>,
}

impl FromRequestParts<Arc<App>> for LastCall {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let (caller, actor, session) = match Caller::from_request_parts(parts, app).await {
            Ok(caller) => {
                let session = caller.session_id().map(|session| (caller.user_id, session));
                (Some(caller), caller.actor(), session)
            }
            Err(refused) if refused.kind == ProblemType::SessionEnded => {
                let claims = claims_from_headers(&parts.headers, app)?.ok_or(refused)?;
                let session = (claims.user_id, claims.session_id);
                (None, Actor::User(claims.user_id), Some(session))
            }
            Err(refused) => return Err(refused),
        };
        Ok(Self {
            caller,
            open: OpenCall::from_request_parts(parts, app).await?.by(actor),
            session,
        })
    }
}

impl LastCall {
    /// As every other call, while its session lives.
    pub fn call(&self) -> Result<Call, Problem> {
        let caller = self.caller.ok_or(ProblemType::SessionEnded)?;
        let open = self.open.clone();
        Ok(Call { caller, open })
    }

    /// The outcome; where that is an ended session, the answer of the try that ended it, if there was one.
    pub async fn or_first_answer(
        &self,
        app: &App,
        operation: &str,
        request: &impl Serialize,
        outcome: Result<Written, Problem>,
    ) -> Result<Written, Problem> {
        let refused = match outcome {
            Err(refused) if refused.kind == ProblemType::SessionEnded => refused,
            settled => return settled,
        };
        let Some((user, session)) = self.session else {
            return Err(refused);
        };
        let context = self.open.context(app, operation, request, Vec::new());
        let Some(first) = app.replayed(user, &context).await? else {
            return Err(refused);
        };
        let mut records = first.records.iter();
        let end = records.find(|record| ends(&record.event, session));
        let basis = &end.ok_or(refused)?.meta.basis;
        Ok(Written::at(self.open.token(app, basis, &first)))
    }
}

/// Whether the session ended by this.
fn ends(event: &UserEvent, session: SessionId) -> bool {
    match event {
        UserEvent::SessionRevoked(event) => event.session_id == session,
        UserEvent::SessionsRevoked(event) => event.session_ids.contains(&session),
        UserEvent::Deactivated(event) => event.revoked_sessions.contains(&session),
        UserEvent::Erased(event) => event.revoked_sessions.contains(&session),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use schemas::user::{RevokeReason, SessionRevoked, SessionsRevoked, UserDeactivated, UserErased};

    use super::*;

    #[test]
    fn only_the_event_that_ended_the_session_answers_for_it() {
        let (own, other) = (SessionId::new_v7(), SessionId::new_v7());
        let reason = RevokeReason::UserRequest;
        let events = |session_id: SessionId| {
            let revoked_sessions = vec![session_id];
            [
                UserEvent::SessionRevoked(SessionRevoked { session_id, reason }),
                UserEvent::SessionsRevoked(SessionsRevoked {
                    session_ids: vec![session_id],
                    reason,
                }),
                UserEvent::Deactivated(UserDeactivated {
                    revoked_sessions: revoked_sessions.clone(),
                }),
                UserEvent::Erased(UserErased { revoked_sessions }),
            ]
        };
        assert!(events(own).iter().all(|event| ends(event, own)));
        assert!(!events(other).iter().any(|event| ends(event, own)));
    }
}
