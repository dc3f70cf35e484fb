//! Keys of service accounts: asked on every call that brings one.

use std::collections::HashMap;

use schemas::user::UserEvent;
use schemas::{KeyId, RoleId, Sha256Digest, Timestamp, UserId};

/// Where a key stands that somebody brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyStanding {
    Good {
        expires_at: Option<Timestamp>,
    },
    /// Expired, of an inactive account, or not the key that its id names.
    Bad,
    /// Not heard of: the node may lag behind, the key may be revoked, or there never was one.
    Unknown,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyRow {
    pub(crate) id: KeyId,
    pub(crate) user: UserId,
    pub(crate) hash: Sha256Digest,
    /// None: all of the account's.
    pub(crate) roles: Option<Box<[RoleId]>>,
    pub(crate) until: Option<Timestamp>,
}

/// The keys of one partition's service accounts. Revoked ones are gone; expired ones stay until revoked.
#[derive(Default)]
pub(crate) struct Keys(HashMap<KeyId, KeyRow>);

impl Keys {
    pub(crate) fn apply(&mut self, user: UserId, event: &UserEvent) {
        match event {
            UserEvent::ServiceKeyIssued(e) => self.restore([KeyRow {
                id: e.key_id,
                user,
                hash: e.key_hash,
                roles: e.roles.clone().map(Into::into),
                until: e.expires_at,
            }]),
            UserEvent::ServiceKeyRevoked(e) => {
                if self.0.get(&e.key_id).is_some_and(|key| key.user == user) {
                    self.0.remove(&e.key_id);
                }
            }
            UserEvent::Erased(_) => self.0.retain(|_, key| key.user != user),
            // Of an inactive account no key is good; with it they all come back.
            UserEvent::Deactivated(_)
            | UserEvent::Reactivated(_)
            | UserEvent::Registered(_)
            | UserEvent::ServiceAccountCreated(_)
            | UserEvent::ClaimAbandoned(_)
            | UserEvent::ProfileChanged(_)
            | UserEvent::NamesReleased(_)
            | UserEvent::Unlocked(_)
            | UserEvent::EmailVerificationRequested(_)
            | UserEvent::EmailVerified(_)
            | UserEvent::PhoneVerificationRequested(_)
            | UserEvent::PhoneVerificationFailed(_)
            | UserEvent::PhoneVerified(_)
            | UserEvent::PasswordResetRequested(_)
            | UserEvent::PasswordRehashed(_)
            | UserEvent::TotpEnrolmentStarted(_)
            | UserEvent::TotpEnabled(_)
            | UserEvent::TotpDisabled(_)
            | UserEvent::RecoveryCodesReplaced(_)
            | UserEvent::SessionSteppedUp(_)
            | UserEvent::PasskeyAdded(_)
            | UserEvent::PasskeyRemoved(_)
            | UserEvent::PasskeyCounted(_)
            | UserEvent::PasskeyCloneSuspected(_)
            | UserEvent::ErasureCompleted(_)
            | UserEvent::LoggedIn(_)
            | UserEvent::LoginFailed(_)
            | UserEvent::Locked(_)
            | UserEvent::PasswordChanged(_)
            | UserEvent::SessionRefreshed(_)
            | UserEvent::RefreshReuseDetected(_)
            | UserEvent::SessionRevoked(_)
            | UserEvent::SessionsRevoked(_)
            | UserEvent::RoleGranted(_)
            | UserEvent::RoleRevoked(_)
            | UserEvent::RoleGrantExpired(_) => {}
        }
    }

    /// Of an active account.
    pub(crate) fn standing(
        &self,
        user: UserId,
        key: KeyId,
        hash: Sha256Digest,
        now: Timestamp,
    ) -> KeyStanding {
        let Some(row) = self.0.get(&key) else {
            return KeyStanding::Unknown;
        };
        let is_over = row.until.is_some_and(|until| until <= now);
        // Where two hashes differ tells nothing of a key: they may be compared in any time.
        if row.user == user && row.hash == hash && !is_over {
            KeyStanding::Good {
                expires_at: row.until,
            }
        } else {
            KeyStanding::Bad
        }
    }

    pub(crate) fn get(&self, user: UserId, key: KeyId) -> Option<&KeyRow> {
        self.0.get(&key).filter(|row| row.user == user)
    }

    pub(crate) fn rows(&self) -> impl Iterator<Item = &KeyRow> {
        self.0.values()
    }

    pub(crate) fn restore(&mut self, rows: impl IntoIterator<Item = KeyRow>) {
        self.0.extend(rows.into_iter().map(|row| (row.id, row)));
    }
}

#[cfg(test)]
mod tests {
    use schemas::Sealed;
    use schemas::user::{ServiceKeyIssued, ServiceKeyRevoked};

    use super::*;

    const fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn a_key_is_good_for_its_account_until_it_expires_or_is_revoked() {
        let (user, key_id, hash) = (UserId::new_v7(), KeyId::new_v7(), Sha256Digest([7; 32]));
        let mut keys = Keys::default();
        let standing = |keys: &Keys, user, hash, now| keys.standing(user, key_id, hash, at(now));
        assert_eq!(standing(&keys, user, hash, 1), KeyStanding::Unknown);
        let issued = UserEvent::ServiceKeyIssued(ServiceKeyIssued {
            key_id,
            nonce: Sealed::from_bytes(&[]),
            key_hash: hash,
            roles: None,
            expires_at: Some(at(9)),
        });
        keys.apply(user, &issued);
        let good = KeyStanding::Good {
            expires_at: Some(at(9)),
        };
        assert_eq!(standing(&keys, user, hash, 8), good);
        assert_eq!(standing(&keys, user, hash, 9), KeyStanding::Bad);
        assert_eq!(standing(&keys, UserId::new_v7(), hash, 8), KeyStanding::Bad);
        for bit in 0..256 {
            let mut other = hash;
            other.0[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(standing(&keys, user, other, 8), KeyStanding::Bad);
        }
        let revoked = UserEvent::ServiceKeyRevoked(ServiceKeyRevoked { key_id });
        keys.apply(UserId::new_v7(), &revoked);
        assert_eq!(standing(&keys, user, hash, 8), good);
        keys.apply(user, &revoked);
        assert_eq!(standing(&keys, user, hash, 8), KeyStanding::Unknown);
    }
}
