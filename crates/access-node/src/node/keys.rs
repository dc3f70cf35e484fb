//! Callers with keys of service accounts.

use std::time::Duration;

use domain::access::{self, Decision, Reason};
use schemas::{KeyId, Sha256Digest, Timestamp, UserId};

use super::{AccessNode, UserView};
use crate::keys::KeyStanding;

impl AccessNode {
    /// As [`Self::check`], for who brings a key of the user: only what the key is for counts.
    pub fn check_with_key(
        &self,
        user: UserId,
        key: KeyId,
        resource: &str,
        action: &str,
        now: Timestamp,
    ) -> Decision {
        let users = self.partition(user).read();
        let catalog = self.model.catalog.load();
        if self.lags(user) {
            return Reason::NotCurrent.into();
        }
        let limited = users.user_with_key(user, key, now);
        access::check(&catalog, limited.as_deref(), resource, action, now)
    }

    /// As [`Self::user`], as far as one of the user's keys goes.
    pub fn user_with_key(&self, user: UserId, key: KeyId, now: Timestamp) -> Option<UserView> {
        let users = self.partition(user).read();
        let access = users.user_with_key(user, key, now)?.into_owned();
        Some(UserView { access })
    }

    /// Whether a key that was good is still; `None` where nothing is said of the user.
    pub fn has_key(&self, user: UserId, key: KeyId, now: Timestamp) -> Option<bool> {
        let has = || {
            let found = self.user_with_key(user, key, now);
            found.is_some_and(|user| user.access.is_active())
        };
        (!self.lags(user)).then(has)
    }

    /// Whether the key with this hash is good for the user.
    pub fn key_standing(&self, user: UserId, key: KeyId, hash: Sha256Digest, now: Timestamp) -> KeyStanding {
        if self.lags(user) {
            return KeyStanding::Unknown;
        }
        self.partition(user).read().key_standing(user, key, hash, now)
    }

    /// Whether the account has a key of this hash, good or not: with the account it may come back.
    pub fn has_key_of(&self, user: UserId, key: KeyId, hash: Sha256Digest) -> bool {
        self.partition(user).read().has_key_of(user, key, hash)
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
