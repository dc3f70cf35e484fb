//! Refresh a session: its refresh token is replaced, and one that comes back ends the session.

use schemas::user::{RefreshReuseDetected, SessionRefreshed, UserEvent};
use schemas::{Sealed, SessionId, Sha256Digest};
use serde::{Deserialize, Serialize};

use super::{Error, User};
use crate::decider::{Context, Decide};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refresh {
    pub session_id: SessionId,
    pub presented_generation: i32,
    pub presented_hash: Sha256Digest,
    /// Of the new token, as is its hash.
    pub nonce: Sealed,
    pub refresh_token_hash: Sha256Digest,
    pub ip_network: Option<String>,
    pub ip_address: Option<Sealed>,
    pub user_agent: Option<Sealed>,
}

impl Decide<User> for Refresh {
    fn decide(self, user: &User, ctx: &Context) -> Result<Vec<UserEvent>, Error> {
        user.active()?;
        let session = user
            .session(self.session_id, ctx.now)
            .ok_or(Error::SessionEnded)?;
        if self.presented_generation < session.generation {
            return Ok(vec![UserEvent::RefreshReuseDetected(RefreshReuseDetected {
                session_id: self.session_id,
                presented_generation: self.presented_generation,
                current_generation: session.generation,
            })]);
        }
        let current = self.presented_generation == session.generation;
        if !current || self.presented_hash != session.refresh_token_hash {
            return Err(Error::InvalidToken);
        }
        Ok(vec![UserEvent::SessionRefreshed(SessionRefreshed {
            session_id: self.session_id,
            generation: session.generation.checked_add(1).ok_or(Error::SessionEnded)?,
            nonce: self.nonce,
            refresh_token_hash: self.refresh_token_hash,
            ip_network: self.ip_network,
            ip_address: self.ip_address,
            user_agent: self.user_agent,
        })])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{
        Given, digest, given, logged_in, minutes, registered, sealed, session, user_deactivated,
    };
    use crate::user::{Deactivate, FIRST_GENERATION};

    /// Presents token `generation` and asks for the one after it.
    fn refresh(generation: i32) -> Refresh {
        Refresh {
            session_id: session(1),
            presented_generation: generation,
            presented_hash: digest(&format!("token {generation}")),
            nonce: sealed("next nonce"),
            refresh_token_hash: digest(&format!("token {}", generation + 1)),
            ip_network: None,
            ip_address: None,
            user_agent: None,
        }
    }

    fn signed_in() -> Given<User> {
        given([registered(), logged_in(session(1))])
    }

    #[test]
    fn the_current_token_is_replaced_by_the_next_generation() {
        signed_in()
            .when(refresh(FIRST_GENERATION))
            .then([UserEvent::SessionRefreshed(SessionRefreshed {
                session_id: session(1),
                generation: 2,
                nonce: sealed("next nonce"),
                refresh_token_hash: digest("token 2"),
                ip_network: None,
                ip_address: None,
                user_agent: None,
            })]);
        let refreshed = signed_in().and(refresh(1)).and(refresh(2));
        let session = &refreshed.state().sessions[&session(1)];
        assert_eq!(
            (session.generation, session.refresh_token_hash),
            (3, digest("token 3"))
        );
    }

    #[test]
    fn a_replaced_token_that_comes_back_ends_the_session() {
        let refreshed = || signed_in().and(refresh(1)).and(refresh(2));
        let reuse = RefreshReuseDetected {
            session_id: session(1),
            presented_generation: 1,
            current_generation: 3,
        };
        refreshed()
            .when(refresh(1))
            .then([UserEvent::RefreshReuseDetected(reuse)]);
        refreshed()
            .and(refresh(1))
            .when(refresh(3))
            .then_error(Error::SessionEnded);
    }

    #[test]
    fn a_forged_token_changes_nothing() {
        let forged = Refresh {
            presented_hash: digest("guess"),
            ..refresh(1)
        };
        signed_in().when(forged).then_error(Error::InvalidToken);
        signed_in().when(refresh(2)).then_error(Error::InvalidToken);
    }

    #[test]
    fn an_unknown_or_expired_session_has_ended() {
        given([registered()])
            .when(refresh(1))
            .then_error(Error::SessionEnded);
        signed_in()
            .at(minutes(60))
            .when(refresh(1))
            .then_error(Error::SessionEnded);
    }

    #[test]
    fn refreshing_does_not_prolong_the_session() {
        let refreshed = signed_in().at(minutes(59)).and(refresh(1));
        refreshed
            .at(minutes(60))
            .when(refresh(2))
            .then_error(Error::SessionEnded);
    }

    #[test]
    fn only_active_users_refresh() {
        given([]).when(refresh(1)).then_error(Error::NotFound);
        signed_in()
            .and(Deactivate {})
            .when(refresh(1))
            .then_error(Error::Deactivated);
        signed_in()
            .after([user_deactivated()])
            .when(refresh(1))
            .then_error(Error::Deactivated);
    }
}
