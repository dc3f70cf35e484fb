//! Change user name, e-mail address or phone number: the commit point of the claim on the new names.

use schemas::user::{ProfileChanged, UserEvent};
use schemas::{BlindIndex, ClaimId, Sealed};
use serde::{Deserialize, Serialize};

use super::names::MAX_GIVEN_UP;
use super::{Error, User};
use crate::decider::{Context, Decide};

/// What is none stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeProfile {
    pub username: Option<NewName>,
    pub email: Option<NewName>,
    pub phone_number: Option<NewPhoneNumber>,
    /// [`User::credentials`] that the password was checked against; none where none is asked for.
    pub credentials: Option<i64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewName {
    pub name: Sealed,
    pub index: BlindIndex,
    /// It is reserved under; none where it is the name of before in another spelling.
    pub claim_id: Option<ClaimId>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NewPhoneNumber {
    Is(Sealed),
    Removed,
}

impl ChangeProfile {
    /// The same, with what is new in it under another claim.
    pub(super) fn under(self, claim: ClaimId) -> Self {
        let under = |new: NewName| NewName {
            claim_id: new.claim_id.map(|_| claim),
            ..new
        };
        Self {
            username: self.username.map(under),
            email: self.email.map(under),
            ..self
        }
    }
}

impl Decide<User> for ChangeProfile {
    fn decide(self, user: &User, _: &Context) -> Result<Vec<UserEvent>, Error> {
        let account = user.registered()?;
        if self
            .credentials
            .is_some_and(|checked| checked != user.credentials)
        {
            return Err(Error::CredentialsChanged);
        }
        let names = [
            (&self.username, account.username_index),
            (&self.email, account.email_index),
        ];
        let claims = || names.iter().filter_map(|(new, _)| new.as_ref()?.claim_id);
        if claims().any(|claim| user.abandoned_claims.contains(&claim)) {
            return Err(Error::ClaimAbandoned);
        }
        let given = || names.iter().filter_map(|(new, own)| Some((new.as_ref()?, own)));
        // A claim has one user event. Whoever repeats it finds all of its names to be the user's.
        if claims().any(|claim| user.uses(claim)) {
            let claimed = given().filter_map(|(new, own)| Some((new.claim_id?, new.index == *own)));
            let mut claimed = claimed.map(|(claim, is_own)| is_own && account.holds_under(claim));
            return if claimed.all(|held| held) {
                Ok(vec![])
            } else {
                Err(Error::ClaimUsed)
            };
        }
        if given().any(|(new, own)| new.claim_id.is_none() && new.index != *own) {
            return Err(Error::ProfileChanged);
        }
        let gives_up = given().any(|(new, own)| new.index != *own);
        if gives_up && user.given_up.len() >= MAX_GIVEN_UP {
            return Err(Error::NamesStillOpen);
        }
        if self.username.is_none() && self.email.is_none() && self.phone_number.is_none() {
            return Ok(vec![]);
        }
        let claim_id = claims().next();
        let new_address = (self.email.as_ref()).is_some_and(|email| email.index != account.email_index);
        let changes_phone_number = self.phone_number.is_some();
        Ok(vec![UserEvent::ProfileChanged(ProfileChanged {
            claim_id,
            username_index: self.username.as_ref().map(|new| new.index),
            username: self.username.map(|new| new.name),
            email_index: self.email.as_ref().map(|new| new.index),
            email: self.email.map(|new| new.name),
            former_email: new_address.then(|| account.email.clone()),
            changes_phone_number,
            phone_number: self.phone_number.and_then(|new| match new {
                NewPhoneNumber::Is(number) => Some(number),
                NewPhoneNumber::Removed => None,
            }),
        })])
    }
}

#[cfg(test)]
mod tests {
    use schemas::identifier::IdentifierKind;
    use schemas::user::{ClaimAbandoned, HeldName};

    use super::*;
    use crate::testing::{claim, digest, given, registered, registration, sealed};
    use crate::user::{AbandonClaim, NoteReleased};

    fn name(text: &str, claim_number: Option<u128>) -> NewName {
        NewName {
            name: sealed(text),
            index: BlindIndex(digest(&text.to_lowercase())),
            claim_id: claim_number.map(claim),
        }
    }

    fn email(text: &str, claim_number: u128) -> ChangeProfile {
        ChangeProfile {
            email: Some(name(text, Some(claim_number))),
            ..ChangeProfile::default()
        }
    }

    fn former_email() -> HeldName {
        HeldName {
            kind: IdentifierKind::Email,
            index: registration().email_index,
            claim_id: claim(1),
        }
    }

    #[test]
    fn a_new_address_replaces_the_old_one_which_is_given_up_and_named_for_a_notice() {
        let new = BlindIndex(digest("new@example.org"));
        given([registered()])
            .when(email("new@example.org", 2))
            .then([UserEvent::ProfileChanged(ProfileChanged {
                claim_id: Some(claim(2)),
                username: None,
                username_index: None,
                email: Some(sealed("new@example.org")),
                email_index: Some(new),
                former_email: Some(sealed("alice@example.org")),
                changes_phone_number: false,
                phone_number: None,
            })]);
        let changed = given([registered()]).and(email("new@example.org", 2));
        let account = changed.state().account.as_ref().unwrap();
        assert_eq!((account.email_index, account.email_claim), (new, claim(2)));
        assert_eq!(account.username_claim, claim(1));
        assert_eq!(changed.state().given_up, [former_email()]);
    }

    #[test]
    fn the_same_claim_again_records_nothing() {
        given([registered()])
            .and(email("new@example.org", 2))
            .when(email("new@example.org", 2))
            .then_nothing();
    }

    #[test]
    fn after_an_abandoned_claim_another_one_makes_the_same_change() {
        let both = ChangeProfile {
            username: Some(name("Alice", None)),
            ..email("new@example.org", 2)
        };
        let abandoned = given([registered()]).and(AbandonClaim { claim_id: claim(2) });
        let changed = abandoned.and(both.under(claim(3)));
        let account = changed.state().account.as_ref().unwrap();
        assert_eq!(
            (account.email_claim, account.username_claim),
            (claim(3), claim(1))
        );
    }

    #[test]
    fn another_spelling_keeps_the_claim_and_gives_nothing_up() {
        let spelling = ChangeProfile {
            username: Some(name("Alice", None)),
            ..ChangeProfile::default()
        };
        let user = given([registered()]).and(spelling);
        let account = user.state().account.as_ref().unwrap();
        assert_eq!(account.username, sealed("Alice"));
        assert_eq!(account.username_claim, claim(1));
        assert!(user.state().given_up.is_empty());
    }

    #[test]
    fn what_was_taken_for_another_spelling_and_is_none_any_more_is_refused() {
        let spelling = ChangeProfile {
            email: Some(name("Alice@Example.org", None)),
            ..ChangeProfile::default()
        };
        given([registered()])
            .and(email("new@example.org", 2))
            .when(spelling)
            .then_error(Error::ProfileChanged);
    }

    #[test]
    fn a_late_change_under_an_abandoned_claim_is_refused() {
        let abandoned = UserEvent::ClaimAbandoned(ClaimAbandoned { claim_id: claim(2) });
        given([registered(), abandoned])
            .when(email("new@example.org", 2))
            .then_error(Error::ClaimAbandoned);
    }

    #[test]
    fn the_claims_of_names_held_and_of_names_not_released_yet_are_not_abandoned() {
        let changed = || given([registered()]).and(email("new@example.org", 2));
        for number in [1, 2] {
            let command = AbandonClaim {
                claim_id: claim(number),
            };
            changed().when(command).then_error(Error::ClaimUsed);
        }
        let both = ChangeProfile {
            username: Some(name("alicia", Some(3))),
            ..ChangeProfile::default()
        };
        let released = || {
            let all_given_up = changed().and(both.clone());
            let names = all_given_up.state().given_up.clone();
            all_given_up.and(NoteReleased { names })
        };
        for (number, is_open) in [(1, false), (7, true)] {
            let claim_id = claim(number);
            let abandoned = released().when(AbandonClaim { claim_id });
            match is_open {
                true => abandoned.then([UserEvent::ClaimAbandoned(ClaimAbandoned { claim_id })]),
                // Whoever registered under it did so once for all.
                false => abandoned.then_error(Error::ClaimUsed),
            }
        }
    }

    #[test]
    fn a_changed_password_makes_the_check_of_it_stale() {
        let change = ChangeProfile {
            credentials: Some(2),
            ..email("new@example.org", 2)
        };
        given([registered()])
            .when(change)
            .then_error(Error::CredentialsChanged);
    }

    #[test]
    fn a_phone_number_comes_and_goes() {
        let phone = |number| ChangeProfile {
            phone_number: Some(number),
            ..ChangeProfile::default()
        };
        let with = given([registered()]).and(phone(NewPhoneNumber::Is(sealed("+49 30 1"))));
        let number = |user: &User| user.account.as_ref().unwrap().phone_number.clone();
        assert_eq!(number(with.state()), Some(sealed("+49 30 1")));
        let without = with.and(phone(NewPhoneNumber::Removed));
        assert_eq!(number(without.state()), None);
    }

    #[test]
    fn names_that_are_never_released_do_not_pile_up() {
        let mut user = given([registered()]);
        for number in 2..2 + u128::try_from(MAX_GIVEN_UP).unwrap() {
            user = user.and(email(&format!("a{number}@example.org"), number));
        }
        user.when(email("one-more@example.org", 99))
            .then_error(Error::NamesStillOpen);
    }

    #[test]
    fn nobody_has_no_profile() {
        given([])
            .when(email("new@example.org", 2))
            .then_error(Error::NotFound);
    }
}
