//! Refresh a session: its refresh token is replaced, and one that comes back ends the session.

use std::time::Duration;

use schemas::user::{RefreshReuseDetected, SessionRefreshed, UserEvent};
use schemas::{Sealed, SessionId, Sha256Digest};
use serde::{Deserialize, Serialize};

use super::risk::Risk;
use super::{Error, Place, Session, User};
use crate::decider::{Context, Decide};

/// So long the token just replaced is not reuse: whoever lost the answer tries again with it. It
/// gets the same successor, so a thief who is as quick holds no token that the owner does not hold
/// too, and the first of the two to refresh exposes the other.
const ANSWERED_AGAIN: Duration = Duration::from_secs(10);

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
    pub country_code: Option<String>,
    pub city: Option<Sealed>,
}

impl Decide<User> for Refresh {
    fn decide(self, user: &User, ctx: &Context) -> Result<Vec<UserEvent>, Error> {
        user.active()?;
        let session = user
            .session(self.session_id, ctx.now)
            .ok_or(Error::SessionEnded)?;
        if self.repeats(session, ctx) {
            return Ok(vec![]);
        }
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
        let place = Place {
            network: self.ip_network.clone(),
            country_code: self.country_code.clone(),
        };
        let risk = Risk::of_refresh(user, &place, ctx.now);
        Ok(vec![UserEvent::SessionRefreshed(SessionRefreshed {
            session_id: self.session_id,
            generation: session.generation.checked_add(1).ok_or(Error::SessionEnded)?,
            nonce: self.nonce,
            refresh_token_hash: self.refresh_token_hash,
            refreshed_at: ctx.now,
            ip_network: self.ip_network,
            ip_address: self.ip_address,
            user_agent: self.user_agent,
            country_code: self.country_code,
            city: self.city,
            risk_score: risk.score,
            risk_reasons: risk.reasons,
        })])
    }
}

impl Refresh {
    /// Whether this is the refresh that the session has just seen.
    fn repeats(&self, session: &Session, ctx: &Context) -> bool {
        let is_predecessor = self.presented_generation.checked_add(1) == Some(session.generation);
        is_predecessor
            && session.replaced.is_some_and(|replaced| {
                replaced.hash == self.presented_hash && ctx.now < replaced.at.plus(ANSWERED_AGAIN)
            })
    }
}

#[cfg(test)]
mod tests {
    use schemas::Timestamp;
    use schemas::user::UserLoggedIn;

    use super::*;
    use crate::testing::{
        Given, NOW, digest, given, logged_in, login, minutes, refreshed, registered, sealed, session,
        user_deactivated,
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
            country_code: None,
            city: None,
        }
    }

    fn signed_in() -> Given<User> {
        given([registered(), logged_in(session(1))])
    }

    #[test]
    fn the_current_token_is_replaced_by_the_next_generation() {
        signed_in()
            .when(refresh(FIRST_GENERATION))
            .then([UserEvent::SessionRefreshed(refreshed(session(1), 2, NOW))]);
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
        refreshed().when(refresh(1)).then([reuse_of(1, 3)]);
        refreshed()
            .and(refresh(1))
            .when(refresh(3))
            .then_error(Error::SessionEnded);
    }

    fn reuse_of(presented: i32, current: i32) -> UserEvent {
        UserEvent::RefreshReuseDetected(RefreshReuseDetected {
            session_id: session(1),
            presented_generation: presented,
            current_generation: current,
        })
    }

    #[test]
    fn the_token_just_replaced_records_nothing_for_ten_seconds_and_is_reuse_then() {
        let refreshed = || signed_in().and(refresh(1));
        let later = |micros| Timestamp::from_micros(NOW.as_micros() + micros);
        refreshed().when(refresh(1)).then_nothing();
        refreshed().at(later(9_999_999)).when(refresh(1)).then_nothing();
        refreshed()
            .at(later(10_000_000))
            .when(refresh(1))
            .then([reuse_of(1, 2)]);
        // And its successor still works after it was asked for twice.
        let twice = refreshed().and(refresh(1)).and(refresh(2));
        assert_eq!(twice.state().sessions[&session(1)].generation, 3);
    }

    #[test]
    fn a_token_before_the_one_just_replaced_is_reuse_at_once() {
        let refreshed = || signed_in().and(refresh(1)).and(refresh(2));
        refreshed().when(refresh(2)).then_nothing();
        refreshed().when(refresh(1)).then([reuse_of(1, 3)]);
    }

    #[test]
    fn only_the_true_predecessor_is_answered_again() {
        let forged = Refresh {
            presented_hash: digest("guess"),
            ..refresh(1)
        };
        signed_in().and(refresh(1)).when(forged).then([reuse_of(1, 2)]);
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
    fn a_session_that_is_not_used_ends_and_refreshing_is_use() {
        let idling = UserEvent::LoggedIn(UserLoggedIn {
            authenticated_at: Some(NOW),
            idle_timeout: Some(10 * 60_000_000),
            ..login(session(1), minutes(60))
        });
        let signed_in = || given::<User>([registered(), idling.clone()]);
        signed_in()
            .at(minutes(10))
            .when(refresh(1))
            .then_error(Error::SessionEnded);
        let used = signed_in().at(minutes(9)).and(refresh(1));
        let used_again = used.at(minutes(18)).and(refresh(2));
        used_again
            .at(minutes(28))
            .when(refresh(3))
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
