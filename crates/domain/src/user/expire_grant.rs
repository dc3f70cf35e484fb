//! Expire a grant: its time has come, and nobody renewed or revoked it.

use schemas::user::{RoleGrantExpired, UserEvent};
use schemas::{GrantScope, RoleId, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Error, GrantKey, User};
use crate::decider::{Context, Decide};

/// Said by the owner of the user's ledger. Nothing for a grant that is gone, has another expiry by
/// now, or has not come to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExpireGrant {
    pub role_id: RoleId,
    pub scope: Option<GrantScope>,
    pub expires_at: Timestamp,
}

impl Decide<User> for ExpireGrant {
    fn decide(self, user: &User, ctx: &Context) -> Result<Vec<UserEvent>, Error> {
        user.deactivated()?;
        let Self {
            role_id,
            scope,
            expires_at,
        } = self;
        let key = GrantKey { role_id, scope };
        let ends_then = user
            .grants
            .get(&key)
            .is_some_and(|held| held.expires_at == Some(expires_at));
        let expired =
            (ends_then && expires_at <= ctx.now).then_some(UserEvent::RoleGrantExpired(RoleGrantExpired {
                role_id,
                expires_at,
                scope: key.scope,
            }));
        Ok(expired.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Given, given, minutes, registered, role, user_granted, user_revoked};

    fn expire(at: i64) -> ExpireGrant {
        ExpireGrant {
            role_id: role(1),
            scope: None,
            expires_at: minutes(at),
        }
    }

    fn granted() -> Given<User> {
        given([registered(), user_granted(role(1), Some(minutes(5)))])
    }

    #[test]
    fn a_grant_expires_once_and_not_before_its_time() {
        let expired = UserEvent::RoleGrantExpired(RoleGrantExpired {
            role_id: role(1),
            scope: None,
            expires_at: minutes(5),
        });
        granted().at(minutes(4)).when(expire(5)).then_nothing();
        granted().at(minutes(5)).when(expire(5)).then([expired.clone()]);
        granted().at(minutes(9)).when(expire(5)).then([expired]);
        let after = granted().at(minutes(5)).and(expire(5));
        assert!(after.state().grants.is_empty());
        after.when(expire(5)).then_nothing();
    }

    #[test]
    fn a_grant_that_was_renewed_or_revoked_does_not_expire() {
        for expires_at in [None, Some(minutes(9))] {
            let renewed = granted().after([user_granted(role(1), expires_at)]);
            renewed.at(minutes(6)).when(expire(5)).then_nothing();
        }
        let revoked = granted().after([user_revoked(role(1))]);
        revoked.at(minutes(6)).when(expire(5)).then_nothing();
    }

    #[test]
    fn nobody_has_no_grant_to_expire() {
        given([]).when(expire(5)).then_error(Error::NotFound);
    }
}
