//! Log in: a session begins, after the password was found right.

use schemas::user::{RevokeReason, SessionRevoked, UserEvent, UserLoggedIn};
use schemas::{SessionId, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Error, MAX_SESSIONS, User};
use crate::decider::{Context, Decide};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogIn {
    pub login: UserLoggedIn,
    /// [`User::credentials`] that the password was checked against.
    pub credentials: i64,
}

impl Decide<User> for LogIn {
    fn decide(self, user: &User, ctx: &Context) -> Result<Vec<UserEvent>, Error> {
        user.admits_login(self.credentials, ctx)?;
        let mut events = make_room(user, ctx.now);
        events.push(UserEvent::LoggedIn(self.login));
        Ok(events)
    }
}

/// Ends as many live sessions as the new one needs room, those first that would expire first.
fn make_room(user: &User, now: Timestamp) -> Vec<UserEvent> {
    let mut live: Vec<(Timestamp, SessionId)> =
        user.live_sessions(now).map(|(id, session)| (session.expires_at, id)).collect();
    live.sort_unstable();
    let surplus = (live.len() + 1).saturating_sub(MAX_SESSIONS);
    let revoke = |(_, session_id)| {
        UserEvent::SessionRevoked(SessionRevoked { session_id, reason: RevokeReason::Other })
    };
    live.into_iter().take(surplus).map(revoke).collect()
}
