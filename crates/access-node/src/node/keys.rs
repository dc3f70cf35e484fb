//! Callers with keys of service accounts.

use std::sync::Arc;
use std::time::Duration;

use access::{CompiledCatalog, Decision, Query, Reason, UserAccess};
use schemas::{KeyId, Sha256Digest, Timestamp, UserId};

use super::{AccessNode, UserView};
use crate::keys::KeyStanding;
use crate::partition::limited;

impl AccessNode {
    /// As [`Self::check`], for who brings a key of the user: only what the key is for counts.
    pub fn check_with_key(&self, user: UserId, key: KeyId, query: Query<'_>, now: Timestamp) -> Decision {
        let (users, engine) = (self.partition(self.ledger(user)).read(), &self.model.engine);
        let asked = engine.ask(user);
        if self.is_refused(user, &asked) {
            return Reason::NotCurrent.into();
        }
        match users.key(user, key, now).map(|key| key.roles.as_deref()) {
            None => Reason::UnknownUser.into(),
            Some(None) => asked.check(query, now),
            Some(Some(roles)) => asked.check_within(roles, query, now),
        }
    }

    /// As [`Self::user`], as far as one of the user's keys goes.
    pub fn user_with_key(&self, user: UserId, key: KeyId, now: Timestamp) -> Option<UserView> {
        let users = self.partition(self.ledger(user)).read();
        let key = users.key(user, key, now)?;
        let access = limited(self.model.engine.ask(user).access()?, key);
        Some(UserView { access })
    }

    /// As [`Self::rights`], as far as one of the user's keys goes.
    pub fn rights_with_key(
        &self,
        user: UserId,
        key: KeyId,
        now: Timestamp,
    ) -> Option<(Option<UserAccess>, Arc<CompiledCatalog>)> {
        let users = self.partition(self.ledger(user)).read();
        let asked = self.model.engine.ask(user);
        if self.is_refused(user, &asked) {
            return None;
        }
        let access = users.key(user, key, now).zip(asked.access());
        let access = access.map(|(key, access)| limited(access, key));
        Some((access, asked.catalog()))
    }

    /// Whether a key that was good is still; `None` where nothing is said of the user.
    pub fn has_key(&self, user: UserId, key: KeyId, now: Timestamp) -> Option<bool> {
        let has = || {
            let users = self.partition(self.ledger(user)).read();
            users.key(user, key, now).is_some() && self.model.engine.ask(user).is_active()
        };
        (!self.lags(user)).then(has)
    }

    /// Whether the key with this hash is good for the user.
    pub fn key_standing(&self, user: UserId, key: KeyId, hash: Sha256Digest, now: Timestamp) -> KeyStanding {
        let ledger = self.ledger(user);
        if self.model.positions.is_refused(ledger) {
            return KeyStanding::Unknown;
        }
        let users = self.partition(ledger).read();
        users.key_standing(&self.model.engine, user, key, hash, now)
    }

    /// Whether the account has a key of this hash, good or not: with the account it may come back.
    pub fn has_key_of(&self, user: UserId, key: KeyId, hash: Sha256Digest) -> bool {
        self.partition(self.ledger(user))
            .read()
            .has_key_of(user, key, hash)
    }

    /// As [`Self::key_standing`], but a key not heard of is waited for until the node has reached the present end of
    /// its partition: then it is bad. Still unknown means that the end was not reached in time.
    pub async fn settled_key_standing(
        &self,
        user: UserId,
        key: KeyId,
        hash: Sha256Digest,
        now: Timestamp,
        at_most: Duration,
    ) -> KeyStanding {
        let standing = self.key_standing(user, key, hash, now);
        if standing != KeyStanding::Unknown {
            return standing;
        }
        match tokio::time::timeout(at_most, self.reach_end_of(user, at_most)).await {
            Ok(Some(())) => match self.key_standing(user, key, hash, now) {
                KeyStanding::Unknown if !self.lags(user) => KeyStanding::Bad,
                known => known,
            },
            Ok(None) | Err(_) => KeyStanding::Unknown,
        }
    }
}
