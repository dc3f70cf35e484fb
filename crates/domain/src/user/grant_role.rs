//! Grant a role, for good or until a time, everywhere or for some resources only; granting again moves the expiry.

use schemas::user::{RoleGranted, UserEvent};
use schemas::{ApprovalId, GrantScope, RoleId, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Error, GrantKey, GrantTerms, MAX_GRANTS, User};
use crate::decider::{Context, Decide};
use crate::rolecall_permissions::RESOURCE;

/// Of a resource type or id in a scope.
pub const MAX_SCOPE_BYTES: usize = 256;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantRole {
    pub role_id: RoleId,
    /// `None`: without limits. The grant under another scope is not touched.
    pub scope: Option<GrantScope>,
    pub expires_at: Option<Timestamp>,
    /// Set where a second person approved it.
    pub approval_id: Option<ApprovalId>,
    /// Gives nothing that the user does not hold as long already: set where that is why one person is enough.
    pub only_held: bool,
}

impl GrantRole {
    pub fn key(&self) -> GrantKey {
        GrantKey {
            role_id: self.role_id,
            scope: self.scope.clone(),
        }
    }

    pub const fn terms(&self) -> GrantTerms {
        GrantTerms {
            expires_at: self.expires_at,
        }
    }
}

impl Decide<User> for GrantRole {
    fn decide(self, user: &User, ctx: &Context) -> Result<Vec<UserEvent>, Error> {
        user.deactivated()?;
        self.scope.as_ref().map_or(Ok(()), check_scope)?;
        let (key, terms) = (self.key(), self.terms());
        if !terms.is_live(ctx.now) {
            return Err(Error::ExpiryInPast);
        }
        if user.grants.get(&key) == Some(&terms) {
            return Ok(vec![]);
        }
        if self.only_held && !user.grants.hold(&key, &terms, ctx.now) {
            return Err(Error::GrantShortened);
        }
        let others = user
            .grants
            .iter()
            .filter(|(other, terms)| **other != key && terms.is_live(ctx.now));
        if others.count() >= MAX_GRANTS {
            return Err(Error::TooManyGrants);
        }
        Ok(vec![UserEvent::RoleGranted(RoleGranted {
            expires_at: self.expires_at,
            approval_id: self.approval_id,
            scope: self.scope,
            ..RoleGranted::of(self.role_id)
        })])
    }
}

/// Names what can be asked about: a text of a check is as long at most, and has no control characters.
pub(super) fn check_scope(scope: &GrantScope) -> Result<(), Error> {
    let is_good =
        |text: &str| !text.is_empty() && text.len() <= MAX_SCOPE_BYTES && !text.contains(char::is_control);
    let is_prefix_of_nothing = scope.is_prefix && scope.id.is_none();
    // Calls to Rolecall are asked about without an id: such a grant would promise what no call gives.
    let is_part_of_rolecall = scope.resource == RESOURCE && scope.id.is_some();
    let is_wrong = is_prefix_of_nothing || is_part_of_rolecall;
    if is_good(&scope.resource) && scope.id.as_deref().is_none_or(is_good) && !is_wrong {
        Ok(())
    } else {
        Err(Error::InvalidScope)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Given, NOW, given, minutes, registered, role, scope, user_granted};

    const fn grant(role_id: RoleId, expires_at: Option<Timestamp>) -> GrantRole {
        GrantRole {
            role_id,
            scope: None,
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
        assert!(
            after
                .state()
                .grants
                .get(&GrantKey::unlimited(role(5_000)))
                .is_some()
        );
    }

    #[test]
    fn a_role_under_another_scope_is_another_grant() {
        let scoped = |id: &str| GrantRole {
            scope: Some(scope(id, false)),
            ..grant(role(1), None)
        };
        let both = given([registered(), user_granted(role(1), None)])
            .and(scoped("1"))
            .and(scoped("2"));
        assert_eq!(both.state().grants.len(), 3);
        both.when(scoped("1")).then_nothing();
    }

    #[test]
    fn what_is_held_elsewhere_is_not_held_here() {
        let held = || {
            let limited = GrantRole {
                scope: Some(scope("1", false)),
                ..grant(role(1), None)
            };
            given([registered()]).and(limited)
        };
        let only_held = |scope| GrantRole {
            only_held: true,
            scope,
            ..grant(role(1), Some(minutes(1)))
        };
        held().when(only_held(None)).then_error(Error::GrantShortened);
        held()
            .when(only_held(Some(scope("1", true))))
            .then_error(Error::GrantShortened);
        let shorter = RoleGranted {
            expires_at: Some(minutes(1)),
            scope: Some(scope("1", false)),
            ..RoleGranted::of(role(1))
        };
        held()
            .when(only_held(Some(scope("1", false))))
            .then([UserEvent::RoleGranted(shorter)]);
    }

    #[test]
    fn a_scope_names_something() {
        let long = "x".repeat(MAX_SCOPE_BYTES + 1);
        let nothing = GrantScope {
            id: None,
            ..scope("", true)
        };
        let no_type = GrantScope {
            resource: String::new(),
            ..scope("1", false)
        };
        let of_rolecall = GrantScope {
            resource: RESOURCE.to_owned(),
            ..scope("1", false)
        };
        for bad in [
            of_rolecall,
            scope("", false),
            scope("a\nb", false),
            scope(&long, true),
            nothing,
            no_type,
        ] {
            let scoped = GrantRole {
                scope: Some(bad),
                ..grant(role(1), None)
            };
            given([registered()]).when(scoped).then_error(Error::InvalidScope);
        }
    }
}
