//! One users partition in memory.

use std::collections::HashMap;

use domain::access::UserAccess;
use schemas::user::UserEvent;
use schemas::{Meta, SessionId, Timestamp, UserId};

use crate::sessions::{SessionStanding, Sessions};

#[derive(Default)]
pub(crate) struct UsersPartition {
    users: HashMap<UserId, UserAccess>,
    sessions: Sessions,
}

impl UsersPartition {
    pub(crate) fn apply(&mut self, meta: &Meta, event: &UserEvent) -> Result<(), uuid::Error> {
        let user: UserId = meta.aggregate_id.parse()?;
        self.users.entry(user).or_default().apply(event);
        self.sessions.apply(user, event, meta.occurred_at);
        Ok(())
    }

    pub(crate) fn user(&self, user: UserId) -> Option<&UserAccess> {
        self.users.get(&user)
    }

    pub(crate) fn len(&self) -> usize {
        self.users.len()
    }

    pub(crate) fn standing(&self, user: UserId, session: SessionId, now: Timestamp) -> SessionStanding {
        match self.sessions.standing(user, session, now) {
            SessionStanding::Live if !self.users.get(&user).is_some_and(UserAccess::is_active) => {
                SessionStanding::Ended
            }
            standing => standing,
        }
    }

    pub(crate) fn session_owner(&self, session: SessionId) -> Option<UserId> {
        self.sessions.owner(session)
    }
}
