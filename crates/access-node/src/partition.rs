//! One users partition in memory.

use std::borrow::Cow;
use std::collections::HashMap;

use domain::access::UserAccess;
use schemas::user::UserEvent;
use schemas::{KeyId, Meta, SessionId, Sha256Digest, Timestamp, UserId};

use crate::expiries::{DueGrant, Expiries};
use crate::keys::{KeyRow, KeyStanding, Keys};
use crate::sessions::{SessionRow, SessionStanding, Sessions};

/// What a partition holds, for a snapshot.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Rows {
    pub(crate) users: Vec<(UserId, UserAccess)>,
    pub(crate) sessions: Vec<SessionRow>,
    pub(crate) keys: Vec<KeyRow>,
}

#[derive(Default)]
pub(crate) struct UsersPartition {
    users: HashMap<UserId, UserAccess>,
    sessions: Sessions,
    expiries: Expiries,
    keys: Keys,
}

impl UsersPartition {
    pub(crate) fn apply(&mut self, meta: &Meta, event: &UserEvent) -> Result<(), uuid::Error> {
        let user: UserId = meta.aggregate_id.parse()?;
        let access = self.users.entry(user).or_default();
        self.expiries.follow(user, access, event);
        access.apply(event, meta.occurred_at);
        self.sessions.apply(user, event, meta.occurred_at);
        self.keys.apply(user, event);
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

    pub(crate) fn restore(&mut self, parts: Vec<Rows>) {
        self.users
            .reserve(parts.iter().map(|rows| rows.users.len()).sum());
        for rows in parts {
            for (user, access) in &rows.users {
                self.expiries.restore(*user, access);
            }
            self.users.extend(rows.users);
            self.sessions.restore(rows.sessions);
            self.keys.restore(rows.keys);
        }
    }

    pub(crate) fn key_standing(
        &self,
        user: UserId,
        key: KeyId,
        hash: Sha256Digest,
        now: Timestamp,
    ) -> KeyStanding {
        match self.keys.standing(user, key, hash, now) {
            KeyStanding::Good { .. } if !self.users.get(&user).is_some_and(UserAccess::is_active) => {
                KeyStanding::Bad
            }
            standing => standing,
        }
    }

    /// Whether the account has a key of this hash, active or not.
    pub(crate) fn has_key_of(&self, user: UserId, key: KeyId, hash: Sha256Digest) -> bool {
        self.keys.get(user, key).is_some_and(|row| row.hash == hash)
    }

    /// The user as far as one of its keys goes; nobody for a key that there is not, or no more.
    pub(crate) fn user_with_key(
        &self,
        user: UserId,
        key: KeyId,
        now: Timestamp,
    ) -> Option<Cow<'_, UserAccess>> {
        let key = self.keys.get(user, key)?;
        if key.until.is_some_and(|until| until <= now) {
            return None;
        }
        let access = self.users.get(&user)?;
        Some(match &key.roles {
            None => Cow::Borrowed(access),
            Some(roles) => Cow::Owned(access.limited_to(roles)),
        })
    }

    /// Few: all at once.
    pub(crate) fn copy_keys(&self, rows: &mut Rows) {
        rows.keys.extend(self.keys.rows().cloned());
    }

    pub(crate) fn due_grants(&self, now: Timestamp, at_most: usize) -> Vec<DueGrant> {
        self.expiries.due(now, at_most)
    }

    pub(crate) fn forget_due(&mut self, grant: &DueGrant) {
        self.expiries.forget(grant);
    }

    pub(crate) fn ids(&self) -> (Vec<UserId>, Vec<SessionId>) {
        (self.users.keys().copied().collect(), self.sessions.ids())
    }

    pub(crate) fn copy_users(&self, ids: &[UserId], rows: &mut Rows) {
        let found = ids
            .iter()
            .filter_map(|id| Some((*id, self.users.get(id)?.clone())));
        rows.users.extend(found);
    }

    pub(crate) fn copy_sessions(&self, ids: &[SessionId], rows: &mut Rows) {
        let found = ids.iter().filter_map(|id| self.sessions.row(*id));
        rows.sessions.extend(found);
    }
}
