//! Which of a user's sessions live.

use schemas::user::UserEvent;
use schemas::{SessionId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::user::MAX_SESSIONS;

/// 16 bytes and 24 for each session.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveSessions(Box<[LiveSession]>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct LiveSession {
    id: SessionId,
    expires_at: Timestamp,
}

impl LiveSessions {
    pub fn is_live(&self, id: SessionId, now: Timestamp) -> bool {
        self.live(now).any(|live| live == id)
    }

    pub fn live(&self, now: Timestamp) -> impl Iterator<Item = SessionId> {
        let live = self
            .0
            .iter()
            .filter(move |session| now < session.expires_at);
        live.map(|session| session.id)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn apply(&mut self, event: &UserEvent) {
        match event {
            UserEvent::LoggedIn(e) => self.begin(e.session_id, e.expires_at),
            UserEvent::PasswordChanged(e) => self.end(&e.revoked_sessions),
            UserEvent::RefreshReuseDetected(e) => self.end(&[e.session_id]),
            UserEvent::SessionRevoked(e) => self.end(&[e.session_id]),
            UserEvent::SessionsRevoked(e) => self.end(&e.session_ids),
            UserEvent::Deactivated(_) => self.0 = Box::default(),
            // A session's expiry is fixed when it begins; the rest does not touch sessions.
            UserEvent::SessionRefreshed(_)
            | UserEvent::Registered(_)
            | UserEvent::ClaimAbandoned(_)
            | UserEvent::LoginFailed(_)
            | UserEvent::Locked(_)
            | UserEvent::RoleGranted(_)
            | UserEvent::RoleRevoked(_)
            | UserEvent::Reactivated(_) => {}
        }
    }

    fn begin(&mut self, id: SessionId, expires_at: Timestamp) {
        let mut sessions = std::mem::take(&mut self.0).into_vec();
        sessions.retain(|session| session.id != id);
        // As in [`crate::User`]: beyond the bound, the first to expire has expired.
        while sessions.len() >= MAX_SESSIONS {
            let numbered = sessions.iter().enumerate();
            let oldest = numbered.min_by_key(|(_, session)| (session.expires_at, session.id));
            match oldest.map(|(index, _)| index) {
                Some(index) => sessions.remove(index),
                None => break,
            };
        }
        sessions.push(LiveSession { id, expires_at });
        self.0 = sessions.into();
    }

    fn end(&mut self, ids: &[SessionId]) {
        if self.0.iter().any(|session| ids.contains(&session.id)) {
            let mut sessions = std::mem::take(&mut self.0).into_vec();
            sessions.retain(|session| !ids.contains(&session.id));
            self.0 = sessions.into();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{NOW, logged_in, login, minutes, session, user_deactivated};

    #[test]
    fn a_session_lives_until_it_expires() {
        let mut sessions = LiveSessions::default();
        sessions.apply(&logged_in(session(1)));
        assert!(sessions.is_live(session(1), minutes(59)));
        assert!(!sessions.is_live(session(1), minutes(60)));
        assert!(!sessions.is_live(session(2), NOW));
    }

    #[test]
    fn deactivation_ends_them_all() {
        let mut sessions = LiveSessions::default();
        sessions.apply(&logged_in(session(1)));
        sessions.apply(&user_deactivated());
        assert!(sessions.is_empty());
    }

    #[test]
    fn expired_sessions_do_not_pile_up() {
        let mut sessions = LiveSessions::default();
        for number in 1..=150 {
            sessions.apply(&UserEvent::LoggedIn(login(session(number), NOW)));
        }
        sessions.apply(&logged_in(session(1_000)));
        assert_eq!(sessions.0.len(), MAX_SESSIONS);
        assert!(sessions.is_live(session(1_000), NOW));
    }
}
