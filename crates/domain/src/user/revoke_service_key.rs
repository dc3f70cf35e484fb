//! Revoke a key of a service account.

use schemas::KeyId;
use schemas::user::{ServiceKeyRevoked, UserEvent};
use serde::{Deserialize, Serialize};

use super::{Error, User};
use crate::decider::{Context, Decide};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevokeServiceKey {
    pub key_id: KeyId,
}

impl Decide<User> for RevokeServiceKey {
    fn decide(self, user: &User, _: &Context) -> Result<Vec<UserEvent>, Error> {
        let key_id = self.key_id;
        let service = user.service.as_ref().ok_or(Error::NotFound)?;
        if !service.keys.contains_key(&key_id) {
            return Err(Error::NoSuchKey);
        }
        Ok(vec![UserEvent::ServiceKeyRevoked(ServiceKeyRevoked { key_id })])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{given, key_issued, registered, service_created, service_key};

    #[test]
    fn a_key_is_revoked_once() {
        let key_id = service_key(1).key_id;
        let revoke = RevokeServiceKey { key_id };
        let account = || given([service_created(), key_issued(1, None)]);
        let revoked = UserEvent::ServiceKeyRevoked(ServiceKeyRevoked { key_id });
        account().when(revoke.clone()).then([revoked]);
        account()
            .and(revoke.clone())
            .when(revoke.clone())
            .then_error(Error::NoSuchKey);
        given([registered()]).when(revoke).then_error(Error::NotFound);
    }
}
