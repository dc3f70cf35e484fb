//! What a user is granted: roles, each under a scope or without one.

use std::collections::BTreeMap;

use schemas::user::RoleGranted;
use schemas::{GrantScope, RoleId, Timestamp};
use serde::{Deserialize, Serialize};

use super::MAX_GRANTS;

/// Which of a user's grants: the same role under another scope is another one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct GrantKey {
    pub role_id: RoleId,
    pub scope: Option<GrantScope>,
}

/// What a grant says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantTerms {
    /// The grant counts until then, exclusive.
    pub expires_at: Option<Timestamp>,
}

/// May hold expired ones: time passes without events.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<(GrantKey, GrantTerms)>", into = "Vec<(GrantKey, GrantTerms)>")]
pub struct Grants(BTreeMap<GrantKey, GrantTerms>);

impl GrantKey {
    pub const fn unlimited(role_id: RoleId) -> Self {
        Self { role_id, scope: None }
    }
}

impl GrantTerms {
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.expires_at.is_none_or(|at| now < at)
    }

    /// Whether it counts as long as the other does.
    fn covers(&self, other: &Self) -> bool {
        match (self.expires_at, other.expires_at) {
            (None, _) => true,
            (Some(end), Some(until)) => until <= end,
            (Some(_), None) => false,
        }
    }
}

impl Grants {
    pub fn get(&self, key: &GrantKey) -> Option<&GrantTerms> {
        self.0.get(key)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&GrantKey, &GrantTerms)> {
        self.0.iter()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the user holds this already, at least as long.
    pub fn hold(&self, key: &GrantKey, terms: &GrantTerms, now: Timestamp) -> bool {
        self.get(key)
            .is_some_and(|held| held.is_live(now) && held.covers(terms))
    }

    /// Whether the user holds the role, under whatever scope.
    pub fn hold_role(&self, role_id: RoleId, now: Timestamp) -> bool {
        self.iter()
            .any(|(key, terms)| key.role_id == role_id && terms.is_live(now))
    }

    pub(super) fn insert(&mut self, event: &RoleGranted) {
        let key = GrantKey {
            role_id: event.role_id,
            scope: event.scope.clone(),
        };
        let terms = GrantTerms {
            expires_at: event.expires_at,
        };
        self.0.insert(key.clone(), terms);
        // As with sessions: the bound holds for live grants, so the first to expire has expired.
        while self.0.len() > MAX_GRANTS {
            let others = self.0.iter().filter(|(other, _)| **other != key);
            let expiring = others.filter_map(|(other, terms)| Some((terms.expires_at?, other)));
            match expiring.min().map(|(_, oldest)| oldest.clone()) {
                Some(oldest) => self.0.remove(&oldest),
                None => break,
            };
        }
    }

    pub(super) fn remove(&mut self, role_id: RoleId, scope: Option<&GrantScope>) {
        let scope = scope.cloned();
        self.0.remove(&GrantKey { role_id, scope });
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

impl From<Vec<(GrantKey, GrantTerms)>> for Grants {
    fn from(grants: Vec<(GrantKey, GrantTerms)>) -> Self {
        Self(grants.into_iter().collect())
    }
}

impl From<Grants> for Vec<(GrantKey, GrantTerms)> {
    fn from(grants: Grants) -> Self {
        grants.0.into_iter().collect()
    }
}
