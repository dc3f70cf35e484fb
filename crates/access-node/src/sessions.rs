//! Which sessions live: asked on every call that brings an access token.

use std::collections::HashMap;
use std::time::Duration;

use schemas::user::UserEvent;
use schemas::{SessionId, Timestamp, UserId};

/// An ended session is remembered longer than any access token lives, so that "ended" can be told
/// from "not heard of yet".
const REMEMBER_ENDED: Duration = Duration::from_secs(3_600);
/// Ended sessions are forgotten in sweeps of this many changes, not one by one.
const SWEEP_EVERY: usize = 10_000;

/// Where a session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionStanding {
    Live,
    Ended,
    /// Not heard of: the node may lag behind, or the session ended long ago.
    Unknown,
}

#[derive(Clone, Copy)]
struct Session {
    user: UserId,
    /// When it ends by itself, or when it was ended.
    until: Timestamp,
    ended: bool,
}

/// A session in a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SessionRow {
    pub(crate) id: SessionId,
    pub(crate) user: UserId,
    pub(crate) until: Timestamp,
    pub(crate) ended: bool,
}

/// The sessions of one partition's users.
#[derive(Default)]
pub(crate) struct Sessions {
    by_id: HashMap<SessionId, Session>,
    changes: usize,
}

impl Sessions {
    pub(crate) fn apply(&mut self, user: UserId, event: &UserEvent, at: Timestamp) {
        match event {
            UserEvent::LoggedIn(e) => {
                self.by_id.insert(
                    e.session_id,
                    Session {
                        user,
                        until: e.expires_at,
                        ended: false,
                    },
                );
                self.changed(at);
            }
            UserEvent::SessionRevoked(e) => self.end(&[e.session_id], at),
            UserEvent::SessionsRevoked(e) => self.end(&e.session_ids, at),
            UserEvent::PasswordChanged(e) => self.end(&e.revoked_sessions, at),
            UserEvent::Deactivated(e) => self.end(&e.revoked_sessions, at),
            UserEvent::RefreshReuseDetected(e) => self.end(&[e.session_id], at),
            UserEvent::Registered(_)
            | UserEvent::ClaimAbandoned(_)
            | UserEvent::LoginFailed(_)
            | UserEvent::Locked(_)
            | UserEvent::SessionRefreshed(_)
            | UserEvent::RoleGranted(_)
            | UserEvent::RoleRevoked(_)
            | UserEvent::Reactivated(_) => {}
        }
    }

    pub(crate) fn standing(&self, user: UserId, session: SessionId, now: Timestamp) -> SessionStanding {
        match self.by_id.get(&session) {
            Some(s) if s.user != user => SessionStanding::Unknown,
            Some(s) if !s.ended && now < s.until => SessionStanding::Live,
            Some(_) => SessionStanding::Ended,
            None => SessionStanding::Unknown,
        }
    }

    pub(crate) fn owner(&self, session: SessionId) -> Option<UserId> {
        self.by_id.get(&session).filter(|s| !s.ended).map(|s| s.user)
    }

    pub(crate) fn ids(&self) -> Vec<SessionId> {
        self.by_id.keys().copied().collect()
    }

    pub(crate) fn row(&self, id: SessionId) -> Option<SessionRow> {
        let Session { user, until, ended } = *self.by_id.get(&id)?;
        Some(SessionRow {
            id,
            user,
            until,
            ended,
        })
    }

    pub(crate) fn restore(&mut self, rows: Vec<SessionRow>) {
        let session = |row: SessionRow| Session {
            user: row.user,
            until: row.until,
            ended: row.ended,
        };
        self.by_id
            .extend(rows.into_iter().map(|row| (row.id, session(row))));
    }

    fn end(&mut self, ids: &[SessionId], at: Timestamp) {
        for id in ids {
            if let Some(session) = self.by_id.get_mut(id) {
                session.ended = true;
                session.until = at;
            }
        }
        self.changed(at);
    }

    fn changed(&mut self, at: Timestamp) {
        self.changes += 1;
        if self.changes >= SWEEP_EVERY {
            self.changes = 0;
            self.by_id.retain(|_, s| at.since(s.until) < REMEMBER_ENDED);
        }
    }
}

#[cfg(test)]
mod tests {
    use schemas::user::{
        PasswordChanged, RefreshReuseDetected, RevokeReason, SessionRevoked, SessionsRevoked,
        UserDeactivated, UserLoggedIn,
    };
    use schemas::{DeviceId, Sealed, Sha256Digest};

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    fn signed_in(user: UserId, session_id: SessionId) -> Sessions {
        let mut sessions = Sessions::default();
        let login = UserLoggedIn {
            session_id,
            nonce: Sealed::from_bytes(&[]),
            refresh_token_hash: Sha256Digest([0; 32]),
            expires_at: at(100),
            device_id: DeviceId::new_v7(),
            despite_lock: false,
            ip_network: None,
            ip_address: None,
            user_agent: None,
            device_fingerprint: None,
            country_code: None,
            city: None,
        };
        sessions.apply(user, &UserEvent::LoggedIn(login), at(0));
        sessions
    }

    #[test]
    fn a_session_lives_until_it_expires() {
        let (user, session) = (UserId::new_v7(), SessionId::new_v7());
        let sessions = signed_in(user, session);
        assert_eq!(sessions.standing(user, session, at(99)), SessionStanding::Live);
        assert_eq!(sessions.standing(user, session, at(100)), SessionStanding::Ended);
        assert_eq!(sessions.owner(session), Some(user));
    }

    #[test]
    fn whatever_ends_a_session_ends_it_here() {
        let (user, session_id) = (UserId::new_v7(), SessionId::new_v7());
        let ended = vec![session_id];
        let reason = RevokeReason::Logout;
        let password_hash = Sealed::from_bytes(&[]);
        for event in [
            UserEvent::SessionRevoked(SessionRevoked { session_id, reason }),
            UserEvent::SessionsRevoked(SessionsRevoked {
                session_ids: ended.clone(),
                reason,
            }),
            UserEvent::PasswordChanged(PasswordChanged {
                password_hash,
                revoked_sessions: ended.clone(),
            }),
            UserEvent::Deactivated(UserDeactivated {
                revoked_sessions: ended,
            }),
            UserEvent::RefreshReuseDetected(RefreshReuseDetected {
                session_id,
                presented_generation: 1,
                current_generation: 2,
            }),
        ] {
            let mut sessions = signed_in(user, session_id);
            sessions.apply(user, &event, at(1));
            assert_eq!(
                sessions.standing(user, session_id, at(2)),
                SessionStanding::Ended,
                "{event:?}"
            );
            assert_eq!(sessions.owner(session_id), None);
        }
    }

    #[test]
    fn a_session_is_nobody_elses() {
        let session = SessionId::new_v7();
        let sessions = signed_in(UserId::new_v7(), session);
        assert_eq!(
            sessions.standing(UserId::new_v7(), session, at(1)),
            SessionStanding::Unknown
        );
    }

    #[test]
    fn ended_sessions_are_forgotten_in_the_end() {
        let (user, session) = (UserId::new_v7(), SessionId::new_v7());
        let mut sessions = signed_in(user, session);
        for _ in 0..SWEEP_EVERY {
            sessions.changed(at(10_000));
        }
        assert_eq!(
            sessions.standing(user, session, at(10_000)),
            SessionStanding::Unknown
        );
    }
}
