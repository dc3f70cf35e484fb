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
                self.by_id.insert(e.session_id, Session { user, until: e.expires_at, ended: false });
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
