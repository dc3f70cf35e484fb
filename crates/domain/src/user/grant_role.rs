//! Grant a role, for good or until a time; granting again moves the expiry.

use schemas::user::{RoleGranted, UserEvent};
use schemas::{ApprovalId, RoleId, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Error, MAX_GRANTS, User};
use crate::decider::{Context, Decide};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantRole {
    pub role_id: RoleId,
    pub expires_at: Option<Timestamp>,
    /// Set where a second person approved it.
    pub approval_id: Option<ApprovalId>,
    /// Gives nothing that the user does not hold as long already: set where that is why one person is enough.
    pub only_held: bool,
}

impl User {
    /// Whether the user holds the role until then, or for good.
    pub fn holds_role(&self, role_id: RoleId, until: Option<Timestamp>, now: Timestamp) -> bool {
        match self.grants.get(&role_id) {
            None => false,
            Some(None) => true,
            Some(Some(end)) => now < *end && until.is_some_and(|until| until <= *end),
        }
    }
}

impl Decide<User> for GrantRole {
    fn decide(self, user: &User, ctx: &Context) -> Result<Vec<UserEvent>, Error> {
        user.deactivated()?;
        let Self {
            role_id,
            expires_at,
            approval_id,
            only_held,
        } = self;
        let lives = |expiry: Option<Timestamp>| expiry.is_none_or(|at| ctx.now < at);
        if !lives(expires_at) {
            return Err(Error::ExpiryInPast);
        }
        if user.grants.get(&role_id) == Some(&expires_at) {
            return Ok(vec![]);
        }
        if only_held && !user.holds_role(role_id, expires_at, ctx.now) {
            return Err(Error::GrantShortened);
        }
        let others = user
            .grants
            .iter()
            .filter(|(id, expiry)| **id != role_id && lives(**expiry));
        if others.count() >= MAX_GRANTS {
            return Err(Error::TooManyGrants);
        }
        Ok(vec![UserEvent::RoleGranted(RoleGranted {
            role_id,
            expires_at,
            approval_id,
        })])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Given, NOW, given, minutes, registered, role, user_granted};

    const fn grant(role_id: RoleId, expires_at: Option<Timestamp>) -> GrantRole {
        GrantRole {
            role_id,
            expires_at,
            approval_id: None,
            only_held: false,
        }
    }

    fn with_grants(count: usize, expires_at: Option<Timestamp>) -> Given<User> {
        let grants = (1..).map(role).take(count).map(|id| user_granted(id, expires_at));
        given([registered()]).after(grants)
    }

    #[test]
    fn a_role_is_granted_for_good_or_until_a_time() {
        for expires_at in [None, Some(minutes(1))] {
            let granted = user_granted(role(1), expires_at);
            given([registered()])
                .when(grant(role(1), expires_at))
                .then([granted]);
        }
    }

    #[test]
    fn granting_again_moves_the_expiry_and_the_same_grant_records_nothing() {
        let granted = || given([registered(), user_granted(role(1), Some(minutes(1)))]);
        granted().when(grant(role(1), Some(minutes(1)))).then_nothing();
        granted()
            .when(grant(role(1), None))
            .then([user_granted(role(1), None)]);
    }

    #[test]
    fn what_is_to_be_held_already_is_not_given_anew() {
        let only_held = |expires_at| GrantRole {
            only_held: true,
            ..grant(role(1), expires_at)
        };
        let held = |until| given([registered(), user_granted(role(1), until)]);
        given([registered()])
            .when(only_held(None))
            .then_error(Error::GrantShortened);
        for later in [None, Some(minutes(3))] {
            held(Some(minutes(2)))
                .when(only_held(later))
                .then_error(Error::GrantShortened);
        }
        let shorter = [user_granted(role(1), Some(minutes(1)))];
        held(Some(minutes(2)))
            .when(only_held(Some(minutes(1))))
            .then(shorter.clone());
        held(None).when(only_held(Some(minutes(1)))).then(shorter);
        held(None).when(only_held(None)).then_nothing();
    }

    #[test]
    fn a_grant_that_never_counts_is_refused() {
        given([registered()])
            .when(grant(role(1), Some(NOW)))
            .then_error(Error::ExpiryInPast);
    }

    #[test]
    fn an_unknown_user_gets_no_role() {
        given([]).when(grant(role(1), None)).then_error(Error::NotFound);
    }

    #[test]
    fn a_user_holds_a_bounded_number_of_roles() {
        let full = || with_grants(MAX_GRANTS, None);
        full()
            .when(grant(role(5_000), None))
            .then_error(Error::TooManyGrants);
        let moved = user_granted(role(1), Some(minutes(1)));
        full().when(grant(role(1), Some(minutes(1)))).then([moved]);
    }

    #[test]
    fn expired_grants_make_room() {
        let full = with_grants(MAX_GRANTS, Some(minutes(1))).at(minutes(1));
        let after = full.and(grant(role(5_000), None));
        assert_eq!(after.state().grants.len(), MAX_GRANTS);
        assert!(after.state().grants.contains_key(&role(5_000)));
    }
}
