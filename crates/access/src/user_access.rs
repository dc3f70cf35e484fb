//! What of a user a check needs, and what may happen to it.

use std::sync::Arc;

use ids::{GrantScope, RoleId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::check::Held;

/// Of one user at a time, as far as they are live.
pub const MAX_GRANTS: usize = 1_000;

/// By role ids, for whoever has one user at hand; the [`Engine`](crate::Engine) holds everyone in less.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserAccess {
    /// By role id, and of each role by scope.
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

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    pub role_id: RoleId,
    /// Microseconds; [`NEVER`] instead of an option, which would take 8 bytes more.
    until: i64,
    scope: Option<Arc<GrantScope>>,
}

/// Role and scope name a grant, and order a user's.
pub(crate) type GrantKey<'a> = (RoleId, Option<&'a GrantScope>);

pub(crate) const NEVER: i64 = i64::MAX;

/// What may happen to a user's rights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Registered, or active again.
    Activated,
    Deactivated,
    /// Inactive, and without grants.
    Erased,
    /// In the place of a grant of the same role under the same scope.
    Granted {
        role_id: RoleId,
        expires_at: Option<Timestamp>,
        scope: Option<Arc<GrantScope>>,
    },
    /// By whomever, or because its time has come. The role's grants under other scopes stay.
    Revoked {
        role_id: RoleId,
        scope: Option<Arc<GrantScope>>,
    },
}

impl Grant {
    pub fn new(role_id: RoleId, expires_at: Option<Timestamp>, scope: Option<Arc<GrantScope>>) -> Self {
        Self {
            role_id,
            until: expires_at.map_or(NEVER, Timestamp::as_micros),
            scope,
        }
    }

    pub(crate) fn key(&self) -> GrantKey<'_> {
        (self.role_id, self.scope())
    }

    /// `None`: it counts for all resources.
    pub fn scope(&self) -> Option<&GrantScope> {
        self.scope.as_deref()
    }

    pub fn shared_scope(&self) -> Option<&Arc<GrantScope>> {
        self.scope.as_ref()
    }

    /// The grant counts until then, exclusive.
    pub fn expires_at(&self) -> Option<Timestamp> {
        (self.until != NEVER).then(|| Timestamp::from_micros(self.until))
    }

    pub fn is_live(&self, now: Timestamp) -> bool {
        self.expires_at().is_none_or(|at| now < at)
    }

    /// `role`: its number.
    pub(crate) fn held(&self, role: u32) -> Held<'_> {
        Held {
            role,
            until: self.until,
            scope: self.scope.as_ref(),
        }
    }

    pub(crate) fn of(role_id: RoleId, held: Held<'_>) -> Self {
        Self {
            role_id,
            until: held.until,
            scope: held.scope.cloned(),
        }
    }
}

/// Without limits.
impl From<(RoleId, Option<Timestamp>)> for Grant {
    fn from((role_id, expires_at): (RoleId, Option<Timestamp>)) -> Self {
        Self::new(role_id, expires_at, None)
    }
}

impl UserAccess {
    /// In the order of their keys, and no two alike.
    pub(crate) fn from_ordered(standing: Standing, grants: impl Iterator<Item = Grant>) -> Self {
        let grants: Box<[Grant]> = grants.collect();
        debug_assert!(grants.is_sorted_by(|a, b| a.key() < b.key()));
        Self { grants, standing }
    }

    /// From rows or a cache; the order of the grants does not matter.
    pub fn new(standing: Standing, grants: impl IntoIterator<Item = impl Into<Grant>>) -> Self {
        let mut user = Self {
            standing,
            ..Self::default()
        };
        for grant in grants {
            user.grant(grant.into(), Timestamp::from_micros(i64::MIN));
        }
        user
    }

    pub fn standing(&self) -> Standing {
        self.standing
    }

    pub fn is_active(&self) -> bool {
        self.standing == Standing::Active
    }

    /// Expired ones too; by role id, and of each role by scope.
    pub fn grants(&self) -> &[Grant] {
        &self.grants
    }

    /// The grant of this role under this scope, expired or not.
    pub fn grant_of(&self, role_id: RoleId, scope: Option<&GrantScope>) -> Option<&Grant> {
        self.grants.get(self.place((role_id, scope)).ok()?)
    }

    fn place(&self, key: GrantKey<'_>) -> Result<usize, usize> {
        self.grants.binary_search_by(|grant| grant.key().cmp(&key))
    }

    /// As far as it may be used by whoever is limited to these roles.
    pub fn limited_to(&self, roles: &[RoleId]) -> Self {
        let kept = self.grants.iter().filter(|grant| roles.contains(&grant.role_id));
        Self {
            grants: kept.cloned().collect(),
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
        match change {
            Change::Activated => self.standing = Standing::Active,
            Change::Deactivated => self.standing = Standing::Inactive,
            Change::Erased => {
                self.standing = Standing::Inactive;
                self.grants = Box::default();
            }
            Change::Granted {
                role_id,
                expires_at,
                scope,
            } => self.grant(Grant::new(*role_id, *expires_at, scope.clone()), at),
            Change::Revoked { role_id, scope } => self.revoke((*role_id, scope.as_deref())),
        }
    }

    fn grant(&mut self, new: Grant, at: Timestamp) {
        match self.place(new.key()) {
            Ok(index) => {
                if let Some(grant) = self.grants.get_mut(index) {
                    *grant = new;
                }
            }
            Err(index) => {
                let mut grants = std::mem::take(&mut self.grants).into_vec();
                grants.insert(index, new);
                forget_expired(&mut grants, index, at);
                self.grants = grants.into();
            }
        }
    }

    fn revoke(&mut self, key: GrantKey<'_>) {
        if let Ok(index) = self.place(key) {
            let mut grants = std::mem::take(&mut self.grants).into_vec();
            grants.remove(index);
            self.grants = grants.into();
        }
    }
}

/// Live grants are bounded where they are made, so beyond the bound the first to expire has. Where changes are
/// applied again to what they led to, it may not have, and stays.
fn forget_expired(grants: &mut Vec<Grant>, new: usize, at: Timestamp) {
    if grants.len() <= MAX_GRANTS {
        return;
    }
    let others = grants.iter().enumerate().filter(|(index, _)| *index != new);
    let expiring = others.filter(|(_, grant)| !grant.is_live(at));
    let oldest = expiring.min_by_key(|(index, grant)| (grant.until, *index));
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
        Change::Granted {
            role_id: role(number),
            expires_at,
            scope: None,
        }
    }

    fn revoked(number: u128) -> Change {
        Change::Revoked {
            role_id: role(number),
            scope: None,
        }
    }

    fn grant(number: u128, expires_at: Option<Timestamp>) -> Grant {
        Grant::new(role(number), expires_at, None)
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
        let whole = UserAccess::new(Standing::Active, numbers.map(|n| grant(n, Some(LATER))));
        let mut again = whole.clone();
        again.apply(&granted(0, None), NOW);
        again.apply(&revoked(0), NOW);
        assert_eq!(again, whole);
    }

    #[test]
    fn whoever_is_limited_to_roles_has_of_them_what_the_user_has() {
        let grants = [grant(1, None), grant(2, Some(NOW)), grant(3, None)];
        let user = UserAccess::new(Standing::Active, grants.clone());
        let limited = user.limited_to(&[role(2), role(3), role(4)]);
        let left = [grant(2, Some(NOW)), grant(3, None)];
        assert_eq!(limited, UserAccess::new(Standing::Active, left));
        assert_eq!(
            user.limited_to(&[]),
            UserAccess::new(Standing::Active, Vec::<Grant>::new())
        );
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
        let grants = [grant(2, Some(NOW)), grant(1, Some(NOW))];
        assert_eq!(user, UserAccess::new(Standing::Inactive, grants));
    }
}
