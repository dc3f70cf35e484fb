//! What of a user a check needs, small enough to hold everyone in memory.

use schemas::user::UserEvent;
use schemas::{RoleId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::user::MAX_GRANTS;

/// 24 bytes and 24 for each grant.
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

const NEVER: i64 = i64::MAX;

impl Grant {
    fn new(role_id: RoleId, expires_at: Option<Timestamp>) -> Self {
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
}

impl UserAccess {
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
    pub fn apply(&mut self, event: &UserEvent, at: Timestamp) {
        match event {
            UserEvent::Registered(_) | UserEvent::ServiceAccountCreated(_) | UserEvent::Reactivated(_) => {
                self.standing = Standing::Active;
            }
            UserEvent::Deactivated(_) => self.standing = Standing::Inactive,
            UserEvent::Erased(_) => {
                self.standing = Standing::Inactive;
                self.grants = Box::default();
            }
            UserEvent::RoleGranted(e) => self.grant(Grant::new(e.role_id, e.expires_at), at),
            UserEvent::RoleRevoked(e) => self.revoke(e.role_id),
            UserEvent::RoleGrantExpired(e) => self.revoke(e.role_id),
            // None of these gives or takes a right. A lock refuses sign-in, not what is signed in.
            UserEvent::ClaimAbandoned(_)
            | UserEvent::ServiceKeyIssued(_)
            | UserEvent::ServiceKeyRevoked(_)
            | UserEvent::ProfileChanged(_)
            | UserEvent::NamesReleased(_)
            | UserEvent::Unlocked(_)
            | UserEvent::ErasureCompleted(_)
            | UserEvent::EmailVerificationRequested(_)
            | UserEvent::EmailVerified(_)
            | UserEvent::PhoneVerificationRequested(_)
            | UserEvent::PhoneVerificationFailed(_)
            | UserEvent::PhoneVerified(_)
            | UserEvent::PasswordResetRequested(_)
            | UserEvent::LoggedIn(_)
            | UserEvent::LoginFailed(_)
            | UserEvent::Locked(_)
            | UserEvent::PasswordChanged(_)
            | UserEvent::PasswordRehashed(_)
            | UserEvent::SessionRefreshed(_)
            | UserEvent::RefreshReuseDetected(_)
            | UserEvent::SessionRevoked(_)
            | UserEvent::SessionsRevoked(_)
            | UserEvent::TotpEnrolmentStarted(_)
            | UserEvent::TotpEnabled(_)
            | UserEvent::TotpDisabled(_)
            | UserEvent::RecoveryCodesReplaced(_)
            | UserEvent::SessionSteppedUp(_)
            | UserEvent::PasskeyAdded(_)
            | UserEvent::PasskeyRemoved(_)
            | UserEvent::PasskeyCounted(_)
            | UserEvent::PasskeyCloneSuspected(_) => {}
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

/// As in [`crate::User`]: live grants are bounded, so beyond the bound the first to expire has. Where events are
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
    use super::*;
    use crate::testing::{NOW, minutes, registered, role, user_deactivated, user_granted, user_revoked};

    #[test]
    fn a_user_with_three_roles_takes_less_than_a_hundred_bytes() {
        let grants = 3 * size_of::<Grant>();
        assert!(size_of::<UserAccess>() + grants <= 100);
    }

    #[test]
    fn expired_grants_do_not_pile_up() {
        let mut user = UserAccess::default();
        for number in 1..=2_000 {
            user.apply(&user_granted(role(number), Some(minutes(1))), minutes(1));
        }
        user.apply(&user_granted(role(1), None), minutes(1));
        assert_eq!(user.grants().len(), MAX_GRANTS);
        assert_eq!(user.next_expiry(NOW), Some(minutes(1)));
        assert_eq!(user.next_expiry(minutes(1)), None);
    }

    #[test]
    fn a_live_grant_stays_when_events_are_applied_again() {
        let numbers = 1..=u128::try_from(MAX_GRANTS).unwrap();
        let grants = numbers.map(|number| (role(number), Some(minutes(number.try_into().unwrap()))));
        let whole = UserAccess::new(Standing::Active, grants);
        let mut again = whole.clone();
        again.apply(&user_granted(role(0), None), NOW);
        again.apply(&user_revoked(role(0)), NOW);
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
    fn events_and_rows_give_the_same_user() {
        let mut user = UserAccess::default();
        let events = [
            registered(),
            user_granted(role(2), None),
            user_granted(role(1), Some(NOW)),
            user_granted(role(3), None),
            user_granted(role(2), Some(NOW)),
            user_revoked(role(3)),
            user_deactivated(),
        ];
        events.iter().for_each(|event| user.apply(event, NOW));
        let grants = [(role(2), Some(NOW)), (role(1), Some(NOW))];
        assert_eq!(user, UserAccess::new(Standing::Inactive, grants));
    }
}
