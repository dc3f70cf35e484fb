//! Service accounts: users without e-mail address or password, whose callers bring keys.
//!
//! Beside [`super::Account`] and not in it: so nothing that asks for a person's credentials can meet one, and grants
//! and deactivation, which ask for neither, work for both.

use std::collections::BTreeMap;

use schemas::identifier::IdentifierKind;
use schemas::user::{HeldName, ServiceAccountCreated, ServiceKeyIssued};
use schemas::{BlindIndex, ClaimId, KeyId, Sealed, Timestamp, UserId};
use serde::{Deserialize, Serialize};

/// An account's keys that are good at once.
pub const MAX_KEYS: usize = 100;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceAccount {
    pub user_id: UserId,
    pub username: Sealed,
    pub username_index: BlindIndex,
    pub username_claim: ClaimId,
    pub deactivated: bool,
    /// Key to expiry, exclusive; may hold expired ones: time passes without events.
    pub keys: BTreeMap<KeyId, Option<Timestamp>>,
}

impl ServiceAccount {
    pub(super) fn of(event: &ServiceAccountCreated) -> Self {
        Self {
            user_id: event.user_id,
            username: event.username.clone(),
            username_index: event.username_index,
            username_claim: event.claim_id,
            deactivated: false,
            keys: BTreeMap::new(),
        }
    }

    /// One space with user names.
    pub(super) const fn name(&self) -> HeldName {
        HeldName {
            kind: IdentifierKind::Username,
            index: self.username_index,
            claim_id: self.username_claim,
        }
    }

    pub(super) fn good_keys(&self, now: Timestamp) -> usize {
        let good = |until: &&Option<Timestamp>| until.is_none_or(|at| now < at);
        self.keys.values().filter(good).count()
    }

    pub(super) fn issue(&mut self, event: &ServiceKeyIssued) {
        self.keys.insert(event.key_id, event.expires_at);
        // The bound holds for good keys, so whatever is beyond it has expired, the first to expire first.
        while self.keys.len() > MAX_KEYS {
            let others = self.keys.iter().filter(|(id, _)| **id != event.key_id);
            let expiring = others.filter_map(|(id, until)| Some(((*until)?, *id)));
            match expiring.min() {
                Some((_, oldest)) => self.keys.remove(&oldest),
                None => break,
            };
        }
    }
}
