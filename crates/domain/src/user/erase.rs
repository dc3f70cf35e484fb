//! Erase a user: everything that was sealed about the person is unreadable from then on.
//!
//! The marker that destroys the data key goes into the log in the transaction of the event. What is
//! left of the user is that there was one: an id, and events that nobody can open.

use schemas::user::{ErasureCompleted, UserErased, UserEvent};
use serde::{Deserialize, Serialize};

use super::{Error, Factors, Sent, User};
use crate::decider::{Context, Decide};

/// How far an erasure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Erasure {
    /// The key is destroyed; its former record may still lie in a segment that is not compacted yet.
    Open,
    /// A read of the keys from their beginning no longer finds it.
    Complete,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Erase {
    /// [`User::credentials`] that the password was checked against; none where none is asked for.
    pub credentials: Option<i64>,
}

impl Decide<User> for Erase {
    fn decide(self, user: &User, ctx: &Context) -> Result<Vec<UserEvent>, Error> {
        if user.erased.is_some() {
            return Ok(vec![]);
        }
        user.deactivated()?;
        if self
            .credentials
            .is_some_and(|checked| checked != user.credentials)
        {
            return Err(Error::CredentialsChanged);
        }
        Ok(vec![UserEvent::Erased(UserErased {
            revoked_sessions: user.live_session_ids(ctx.now, None),
        })])
    }
}

/// Note that the key is found nowhere in the keys topic any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompleteErasure {}

impl Decide<User> for CompleteErasure {
    fn decide(self, user: &User, _: &Context) -> Result<Vec<UserEvent>, Error> {
        match user.erased {
            None => Err(Error::NotFound),
            Some(Erasure::Open) => Ok(vec![UserEvent::ErasureCompleted(ErasureCompleted {})]),
            Some(Erasure::Complete) => Ok(vec![]),
        }
    }
}

impl User {
    /// Whether the key of an erased user may still be found.
    pub fn erasure_is_open(&self) -> bool {
        self.erased == Some(Erasure::Open)
    }

    /// The names are given up, and free once released.
    pub(super) fn erase(&mut self) {
        if let Some(account) = self.account.take() {
            self.given_up.extend(account.names());
        }
        if let Some(service) = self.service.take() {
            self.given_up.push(service.name());
        }
        self.erased = Some(Erasure::Open);
        self.sent = Sent::default();
        self.sessions.clear();
        self.devices.clear();
        self.grants.clear();
        self.factors = Factors::default();
        self.last_seen = None;
        self.locked_until = None;
        self.failed_logins = 0;
        self.locks = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{
        Given, claim, given, key_issued, logged_in, registered, registration, role, service_created,
        service_creation, session, user_deactivated, user_granted,
    };
    use crate::user::{
        AbandonClaim, CreateServiceAccount, GrantRole, NoteReleased, Reactivate, Register, Status,
    };

    fn erase() -> Erase {
        Erase { credentials: None }
    }

    fn erased() -> Given<User> {
        given([registered(), logged_in(session(1)), user_granted(role(1), None)]).and(erase())
    }

    #[test]
    fn erasing_ends_everything_and_gives_the_names_up() {
        given([registered(), logged_in(session(1))])
            .when(erase())
            .then([UserEvent::Erased(UserErased {
                revoked_sessions: vec![session(1)],
            })]);
        let user = erased();
        let state = user.state();
        assert_eq!(state.status(), Status::Erased);
        assert!(state.sessions.is_empty() && state.devices.is_empty() && state.grants.is_empty());
        assert_eq!(state.given_up.len(), 2);
        assert!(state.erasure_is_open());
    }

    #[test]
    fn erasing_twice_records_one_event() {
        erased().when(erase()).then_nothing();
    }

    #[test]
    fn a_service_account_is_erased_with_its_keys() {
        let user = given([service_created(), key_issued(1, None)]).and(erase());
        let state = user.state();
        assert_eq!((state.status(), &state.service), (Status::Erased, &None));
        assert_eq!(state.given_up.len(), 1);
        let create = CreateServiceAccount {
            created: service_creation(),
        };
        user.when(create).then_error(Error::AlreadyRegistered);
    }

    #[test]
    fn a_deactivated_user_is_erased_too_and_nobody_is_not() {
        let deactivated = given([registered(), user_deactivated()]).and(erase());
        assert_eq!(deactivated.state().status(), Status::Erased);
        given([]).when(erase()).then_error(Error::NotFound);
    }

    #[test]
    fn a_changed_password_makes_the_check_of_it_stale() {
        let erase = Erase { credentials: Some(2) };
        given([registered()])
            .when(erase)
            .then_error(Error::CredentialsChanged);
    }

    #[test]
    fn an_erased_user_never_comes_back() {
        erased().when(Reactivate {}).then_error(Error::NotFound);
        let grant = GrantRole {
            role_id: role(2),
            scope: None,
            expires_at: None,
            approval_id: None,
            only_held: false,
        };
        erased().when(grant).then_error(Error::NotFound);
        let register = Register {
            registration: registration(),
        };
        erased().when(register).then_error(Error::AlreadyRegistered);
    }

    #[test]
    fn a_claim_is_used_until_its_names_are_released() {
        let abandon = AbandonClaim { claim_id: claim(1) };
        erased().when(abandon).then_error(Error::ClaimUsed);
        let names = erased().state().given_up.clone();
        let released = erased().and(NoteReleased { names });
        assert!(released.state().given_up.is_empty());
    }

    #[test]
    fn an_erasure_is_completed_once() {
        let completed = UserEvent::ErasureCompleted(ErasureCompleted {});
        erased().when(CompleteErasure {}).then([completed]);
        let done = erased().and(CompleteErasure {});
        assert!(!done.state().erasure_is_open());
        done.when(CompleteErasure {}).then_nothing();
        given([registered()])
            .when(CompleteErasure {})
            .then_error(Error::NotFound);
    }
}
