//! What of a user a check needs, and what may happen to it.

use ids::{RoleId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::check::Held;

/// Of one user at a time, as far as they are live.
pub const MAX_GRANTS: usize = 1_000;

/// By role ids, for whoever has one user at hand; the [`Engine`](crate::Engine) holds everyone in less.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserAccess {
    /// By role id.
    grants: Box<[Grant]>,
    standing: Standing,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    #[default]
    Unregistered,
    Active,
    Inactive,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    pub role_id: RoleId,
    /// Microseconds; [`NEVER`] instead of an option, which would take 8 bytes more.
    until: i64,
}

pub(crate) const NEVER: i64 = i64::MAX;

/// What may happen to a user's rights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Registered, or active again.
    Activated,
    Deactivated,
    /// Inactive, and without grants.
    Erased,
    /// In the place of a grant of the same role.
    Granted {
        role_id: RoleId,
        expires_at: Option<Timestamp>,
    },
    /// By whomever, or because its time has come.
    Revoked {
        role_id: RoleId,
    },
}

impl Grant {
    pub(crate) fn new(role_id: RoleId, expires_at: Option<Timestamp>) -> Self {
        Self {
            role_id,
            until: expires_at.map_or(NEVER, Timestamp::as_micros),
        }
    }

    /// The grant counts until then, exclusive.
    pub fn expires_at(&self) -> Option<Timestamp> {
        (self.until != NEVER).then(|| Timestamp::from_micros(self.until))
    }

    pub fn is_live(&self, now: Timestamp) -> bool {
        self.expires_at().is_none_or(|at| now < at)
    }

    /// `role`: its number.
    pub(crate) fn held(&self, role: u32) -> Held {
        let until = self.until;
        Held { role, until }
    }

    pub(crate) fn of(role_id: RoleId, held: Held) -> Self {
        let until = held.until;
        Self { role_id, until }
    }
}

impl UserAccess {
    /// In the order of their roles' ids, and of no two the same role.
    pub(crate) fn from_ordered(standing: Standing, grants: impl Iterator<Item = Grant>) -> Self {
        let grants: Box<[Grant]> = grants.collect();
        debug_assert!(grants.is_sorted_by(|a, b| a.role_id < b.role_id));
        Self { grants, standing }
    }

    /// From rows or a cache; the order of the grants does not matter.
    pub fn new(standing: Standing, grants: impl IntoIterator<Item = (RoleId, Option<Timestamp>)>) -> Self {
        let mut user = Self {
            standing,
            ..Self::default()
        };
        for (role_id, expires_at) in grants {
            user.grant(Grant::new(role_id, expires_at), Timestamp::from_micros(i64::MIN));
        }
        user
    }

    pub fn standing(&self) -> Standing {
        self.standing
    }

    pub fn is_active(&self) -> bool {
        self.standing == Standing::Active
    }

    /// Expired ones too; by role id.
    pub fn grants(&self) -> &[Grant] {
        &self.grants
    }

    /// The grant of this role, expired or not.
    pub fn grant_of(&self, role_id: RoleId) -> Option<&Grant> {
        let index = self.grants.binary_search_by_key(&role_id, |grant| grant.role_id);
        self.grants.get(index.ok()?)
    }

    /// As far as it may be used by whoever is limited to these roles.
    pub fn limited_to(&self, roles: &[RoleId]) -> Self {
        let kept = self.grants.iter().filter(|grant| roles.contains(&grant.role_id));
        Self {
            grants: kept.copied().collect(),
            standing: self.standing,
        }
    }

    /// The next moment after `now` at which an answer may change by itself.
    pub fn next_expiry(&self, now: Timestamp) -> Option<Timestamp> {
        self.grants
            .iter()
            .filter_map(Grant::expires_at)
            .filter(|at| now < *at)
            .min()
    }

    /// `at`: when it occurred.
    pub fn apply(&mut self, change: &Change, at: Timestamp) {
        match *change {
            Change::Activated => self.standing = Standing::Active,
            Change::Deactivated => self.standing = Standing::Inactive,
            Change::Erased => {
                self.standing = Standing::Inactive;
                self.grants = Box::default();
            }
            Change::Granted { role_id, expires_at } => self.grant(Grant::new(role_id, expires_at), at),
            Change::Revoked { role_id } => self.revoke(role_id),
        }
    }

    fn grant(&mut self, new: Grant, at: Timestamp) {
        match self
            .grants
            .binary_search_by_key(&new.role_id, |grant| grant.role_id)
        {
            Ok(index) => {
                if let Some(grant) = self.grants.get_mut(index) {
                    *grant = new;
                }
            }
            Err(index) => {
                let mut grants = std::mem::take(&mut self.grants).into_vec();
                grants.insert(index, new);
                forget_expired(&mut grants, new.role_id, at);
                self.grants = grants.into();
            }
        }
    }

    fn revoke(&mut self, role_id: RoleId) {
        if let Ok(index) = self.grants.binary_search_by_key(&role_id, |grant| grant.role_id) {
            let mut grants = std::mem::take(&mut self.grants).into_vec();
            grants.remove(index);
            self.grants = grants.into();
        }
    }
}

/// Live grants are bounded where they are made, so beyond the bound the first to expire has. Where changes are
/// applied again to what they led to, it may not have, and stays.
fn forget_expired(grants: &mut Vec<Grant>, new: RoleId, at: Timestamp) {
    if grants.len() <= MAX_GRANTS {
        return;
    }
    let others = grants
        .iter()
        .enumerate()
        .filter(|(_, grant)| grant.role_id != new);
    let expiring = others.filter(|(_, grant)| !grant.is_live(at));
    let oldest = expiring.min_by_key(|(_, grant)| (grant.until, grant.role_id));
    if let Some(index) = oldest.map(|(index, _)| index) {
        grants.remove(index);
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const NOW: Timestamp = Timestamp::from_micros(1_000_000);
    const LATER: Timestamp = Timestamp::from_micros(2_000_000);

    fn role(number: u128) -> RoleId {
        RoleId::from_uuid(Uuid::from_u128(number))
    }

    fn granted(number: u128, expires_at: Option<Timestamp>) -> Change {
        let role_id = role(number);
        Change::Granted { role_id, expires_at }
    }

    fn revoked(number: u128) -> Change {
        let role_id = role(number);
        Change::Revoked { role_id }
    }

    #[test]
    fn expired_grants_do_not_pile_up() {
        let mut user = UserAccess::default();
        for number in 1..=2_000 {
            user.apply(&granted(number, Some(LATER)), LATER);
        }
        user.apply(&granted(1, None), LATER);
        assert_eq!(user.grants().len(), MAX_GRANTS);
        assert_eq!(user.next_expiry(NOW), Some(LATER));
        assert_eq!(user.next_expiry(LATER), None);
    }

    #[test]
    fn a_live_grant_stays_when_changes_are_applied_again() {
        let numbers = 1..=u128::try_from(MAX_GRANTS).unwrap();
        let whole = UserAccess::new(Standing::Active, numbers.map(|n| (role(n), Some(LATER))));
        let mut again = whole.clone();
        again.apply(&granted(0, None), NOW);
        again.apply(&revoked(0), NOW);
        assert_eq!(again, whole);
    }

    #[test]
    fn whoever_is_limited_to_roles_has_of_them_what_the_user_has() {
        let grants = [(role(1), None), (role(2), Some(NOW)), (role(3), None)];
        let user = UserAccess::new(Standing::Active, grants);
        let limited = user.limited_to(&[role(2), role(3), role(4)]);
        let left = [(role(2), Some(NOW)), (role(3), None)];
        assert_eq!(limited, UserAccess::new(Standing::Active, left));
        assert_eq!(user.limited_to(&[]), UserAccess::new(Standing::Active, []));
        let inactive = UserAccess::new(Standing::Inactive, grants);
        assert!(!inactive.limited_to(&[role(1)]).is_active());
    }

    #[test]
    fn changes_and_rows_give_the_same_user() {
        let mut user = UserAccess::default();
        let changes = [
            Change::Activated,
            granted(2, None),
            granted(1, Some(NOW)),
            granted(3, None),
            granted(2, Some(NOW)),
            revoked(3),
            Change::Deactivated,
        ];
        changes.iter().for_each(|change| user.apply(change, NOW));
        let grants = [(role(2), Some(NOW)), (role(1), Some(NOW))];
        assert_eq!(user, UserAccess::new(Standing::Inactive, grants));
    }
}
