//! What one users partition has besides rights, in memory: sessions, keys, and which grants end next.

use access::{Change, Engine, UserAccess};
use schemas::user::UserEvent;
use schemas::{KeyId, SessionId, Sha256Digest, Timestamp, UserId};

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

/// Locked before any user of the engine is, where both are: whoever reads both sees both before an event, or behind it.
#[derive(Default)]
pub(crate) struct UsersPartition {
    users: usize,
    sessions: Sessions,
    expiries: Expiries,
    keys: Keys,
}

impl UsersPartition {
    /// `ledger`: this partition's number.
    pub(crate) fn apply(
        &mut self,
        engine: &Engine,
        ledger: i32,
        user: UserId,
        event: &UserEvent,
        at: Timestamp,
    ) {
        let change = domain::rights::change_by(event);
        if let Some(change @ (Change::Granted { .. } | Change::Revoked { .. })) = &change {
            self.expiries
                .follow(user, engine.ask(user).access().as_ref(), change);
        }
        self.users += usize::from(engine.apply(user, ledger, change.as_ref(), at));
        self.sessions.apply(user, event, at);
        self.keys.apply(user, event);
    }

    pub(crate) fn len(&self) -> usize {
        self.users
    }

    pub(crate) fn standing(
        &self,
        engine: &Engine,
        user: UserId,
        session: SessionId,
        now: Timestamp,
    ) -> SessionStanding {
        match self.sessions.standing(user, session, now) {
            SessionStanding::Live if !engine.ask(user).is_active() => SessionStanding::Ended,
            standing => standing,
        }
    }

    pub(crate) fn session_owner(&self, session: SessionId) -> Option<UserId> {
        self.sessions.owner(session)
    }

    pub(crate) fn restore(&mut self, engine: &Engine, ledger: i32, parts: Vec<Rows>) {
        for rows in parts {
            for (user, access) in &rows.users {
                self.expiries.restore(*user, access);
                self.users += usize::from(engine.insert(*user, ledger, access));
            }
            self.sessions.restore(rows.sessions);
            self.keys.restore(rows.keys);
        }
    }

    pub(crate) fn key_standing(
        &self,
        engine: &Engine,
        user: UserId,
        key: KeyId,
        hash: Sha256Digest,
        now: Timestamp,
    ) -> KeyStanding {
        match self.keys.standing(user, key, hash, now) {
            KeyStanding::Good { .. } if !engine.ask(user).is_active() => KeyStanding::Bad,
            standing => standing,
        }
    }

    /// Whether the account has a key of this hash, active or not.
    pub(crate) fn has_key_of(&self, user: UserId, key: KeyId, hash: Sha256Digest) -> bool {
        self.keys.get(user, key).is_some_and(|row| row.hash == hash)
    }

    /// A key of the user that has not expired.
    pub(crate) fn key(&self, user: UserId, key: KeyId, now: Timestamp) -> Option<&KeyRow> {
        let row = self.keys.get(user, key)?;
        row.until.is_none_or(|until| now < until).then_some(row)
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

    pub(crate) fn session_ids(&self) -> Vec<SessionId> {
        self.sessions.ids()
    }

    pub(crate) fn copy_sessions(&self, ids: &[SessionId], rows: &mut Rows) {
        let found = ids.iter().filter_map(|id| self.sessions.row(*id));
        rows.sessions.extend(found);
    }
}

/// What of a user counts for whoever brings this key.
pub(crate) fn limited(access: UserAccess, key: &KeyRow) -> UserAccess {
    match &key.roles {
        None => access,
        Some(roles) => access.limited_to(roles),
    }
}
