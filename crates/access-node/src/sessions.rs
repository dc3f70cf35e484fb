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
    /// Not heard of, or not for too long: the node may lag behind, or the session ended by itself.
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Session {
    pub(crate) user: UserId,
    /// When it ends by itself unless it is refreshed, or when it was ended.
    pub(crate) until: Timestamp,
    /// It ends then, whatever is refreshed.
    pub(crate) expires_at: Timestamp,
    /// How far a refresh moves `until`.
    pub(crate) idles_for: Option<Duration>,
    pub(crate) ended: bool,
}

impl Session {
    fn active(&mut self, at: Timestamp) {
        if !self.ended {
            let idle_until = self.idles_for.map(|span| at.plus(span));
            self.until = idle_until.map_or(self.expires_at, |idle| idle.min(self.expires_at));
        }
    }
}

/// A session in a snapshot.
pub(crate) type SessionRow = (SessionId, Session);

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
                let mut session = Session {
                    user,
                    until: e.expires_at,
                    expires_at: e.expires_at,
                    idles_for: e.idles_for(),
                    ended: false,
                };
                if let Some(at) = e.authenticated_at {
                    session.active(at);
                }
                self.by_id.insert(e.session_id, session);
                self.changed(at);
            }
            UserEvent::SessionRefreshed(e) => {
                if let Some(session) = self.by_id.get_mut(&e.session_id) {
                    session.active(e.refreshed_at);
                }
            }
            UserEvent::SessionRevoked(e) => self.end(&[e.session_id], at),
            UserEvent::SessionsRevoked(e) => self.end(&e.session_ids, at),
            UserEvent::PasswordChanged(e) => self.end(&e.revoked_sessions, at),
            UserEvent::Deactivated(e) => self.end(&e.revoked_sessions, at),
            UserEvent::Erased(e) => self.end(&e.revoked_sessions, at),
            UserEvent::RefreshReuseDetected(e) => self.end(&[e.session_id], at),
            UserEvent::Registered(_)
            | UserEvent::ClaimAbandoned(_)
            | UserEvent::ProfileChanged(_)
            | UserEvent::NamesReleased(_)
            | UserEvent::Unlocked(_)
            | UserEvent::ErasureCompleted(_)
            | UserEvent::EmailVerificationRequested(_)
            | UserEvent::EmailVerified(_)
            | UserEvent::PhoneVerificationRequested(_)
            | UserEvent::PhoneVerificationFailed(_)
            | UserEvent::PhoneVerified(_)
            | UserEvent::PasswordResetRequested(_)
            | UserEvent::LoginFailed(_)
            | UserEvent::PasswordRehashed(_)
            | UserEvent::Locked(_)
            | UserEvent::RoleGranted(_)
            | UserEvent::RoleRevoked(_)
            | UserEvent::ServiceAccountCreated(_)
            | UserEvent::ServiceKeyIssued(_)
            | UserEvent::ServiceKeyRevoked(_)
            | UserEvent::Reactivated(_)
            | UserEvent::TotpEnrolmentStarted(_)
            | UserEvent::TotpEnabled(_)
            | UserEvent::TotpDisabled(_)
            | UserEvent::RecoveryCodesReplaced(_)
            | UserEvent::SessionSteppedUp(_)
            | UserEvent::PasskeyAdded(_)
            | UserEvent::PasskeyRemoved(_)
            | UserEvent::PasskeyCounted(_)
            | UserEvent::PasskeyCloneSuspected(_)
            | UserEvent::RoleGrantExpired(_) => {}
        }
    }

    pub(crate) fn standing(&self, user: UserId, session: SessionId, now: Timestamp) -> SessionStanding {
        match self.by_id.get(&session) {
            Some(s) if s.user != user => SessionStanding::Unknown,
            Some(s) if s.ended => SessionStanding::Ended,
            Some(s) if now < s.until => SessionStanding::Live,
            // A refresh may have come in time that is not applied here yet.
            Some(s) if now < s.expires_at => SessionStanding::Unknown,
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
        self.by_id.get(&id).map(|session| (id, *session))
    }

    pub(crate) fn restore(&mut self, rows: Vec<SessionRow>) {
        self.by_id.extend(rows);
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
        PasswordChangeCause, PasswordChanged, RefreshReuseDetected, RevokeReason, SessionRefreshed,
        SessionRevoked, SessionsRevoked, UserDeactivated, UserLoggedIn,
    };
    use schemas::{DeviceId, Sealed, Sha256Digest};

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    fn login(session_id: SessionId) -> UserLoggedIn {
        let (device, nonce) = (DeviceId::new_v7(), Sealed::from_bytes(&[]));
        UserLoggedIn::by_password(session_id, device, nonce, Sha256Digest([0; 32]), at(100))
    }

    fn signed_in(user: UserId, session_id: SessionId) -> Sessions {
        let mut sessions = Sessions::default();
        sessions.apply(user, &UserEvent::LoggedIn(login(session_id)), at(0));
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
    fn a_session_that_idles_too_long_is_not_live_until_a_refresh_is_heard_of() {
        let (user, session_id) = (UserId::new_v7(), SessionId::new_v7());
        let idling = UserLoggedIn {
            authenticated_at: Some(at(0)),
            idle_timeout: Some(10_000_000),
            ..login(session_id)
        };
        let mut sessions = Sessions::default();
        sessions.apply(user, &UserEvent::LoggedIn(idling), at(0));
        let standing = |sessions: &Sessions, now| sessions.standing(user, session_id, at(now));
        assert_eq!(standing(&sessions, 9), SessionStanding::Live);
        assert_eq!(standing(&sessions, 10), SessionStanding::Unknown);
        let refreshed = |seconds| {
            UserEvent::SessionRefreshed(SessionRefreshed {
                session_id,
                generation: 2,
                nonce: Sealed::from_bytes(&[]),
                refresh_token_hash: Sha256Digest([1; 32]),
                refreshed_at: at(seconds),
                ip_network: None,
                ip_address: None,
                user_agent: None,
                country_code: None,
                city: None,
                risk_score: 0,
                risk_reasons: vec![],
            })
        };
        sessions.apply(user, &refreshed(9), at(9));
        assert_eq!(standing(&sessions, 18), SessionStanding::Live);
        assert_eq!(standing(&sessions, 19), SessionStanding::Unknown);
        sessions.apply(user, &refreshed(95), at(95));
        assert_eq!(standing(&sessions, 99), SessionStanding::Live);
        assert_eq!(standing(&sessions, 100), SessionStanding::Ended);
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
                cause: PasswordChangeCause::Change,
                known_device: None,
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
