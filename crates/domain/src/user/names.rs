//! The names a user holds, each under the claim by which it was reserved, and those given up.
//!
//! A user event is what gives a name up; freeing it on its own ledger follows, and may not come at
//! once. Until [`NoteReleased`] says so the user lists it, and the owner of the user's ledger repeats it.

use schemas::ClaimId;
use schemas::identifier::IdentifierKind;
use schemas::user::{HeldName, NamesReleased, ProfileChanged, UserEvent};
use serde::{Deserialize, Serialize};

use super::{Account, Error, ServiceAccount, User};
use crate::decider::{Context, Decide};

/// Names given up and not released yet; more are refused until some are.
pub(super) const MAX_GIVEN_UP: usize = 20;

impl Account {
    pub fn names(&self) -> impl Iterator<Item = HeldName> + use<> {
        let username = (IdentifierKind::Username, self.username_index, self.username_claim);
        let email = (IdentifierKind::Email, self.email_index, self.email_claim);
        [username, email]
            .into_iter()
            .map(|(kind, index, claim_id)| HeldName {
                kind,
                index,
                claim_id,
            })
    }

    pub fn holds_under(&self, claim: ClaimId) -> bool {
        self.names().any(|name| name.claim_id == claim)
    }
}

impl User {
    /// Whether the user registered under the claim, or it still stands behind a name that is theirs, or was until its
    /// release.
    pub fn uses(&self, claim: ClaimId) -> bool {
        self.account
            .as_ref()
            .is_some_and(|account| account.claim == claim)
            || self.names().any(|name| name.claim_id == claim)
            || self.given_up.iter().any(|name| name.claim_id == claim)
    }

    /// Whether this very name is the user's, under this very claim.
    pub fn holds(&self, name: HeldName) -> bool {
        self.names().any(|own| own == name)
    }

    /// Of a person or a service account.
    fn names(&self) -> impl Iterator<Item = HeldName> {
        let persons = self.account.iter().flat_map(Account::names);
        persons.chain(self.service.iter().map(ServiceAccount::name))
    }

    pub(super) fn change_profile(&mut self, event: &ProfileChanged) {
        let Some(account) = &mut self.account else { return };
        let before: Vec<HeldName> = account.names().collect();
        if let (Some(name), Some(index)) = (&event.username, event.username_index) {
            account.username = name.clone();
            if index != account.username_index {
                account.username_index = index;
                account.username_claim = event.claim_id.unwrap_or(account.username_claim);
            }
        }
        if let (Some(address), Some(index)) = (&event.email, event.email_index) {
            account.email = address.clone();
            if index != account.email_index {
                account.email_index = index;
                account.email_claim = event.claim_id.unwrap_or(account.email_claim);
                account.email_verified = false;
                // What went out to the former address must not open the account any more.
                self.sent.email_verification = None;
                self.sent.password_reset = None;
            }
        }
        if event.changes_phone_number {
            account.phone_number = event.phone_number.clone();
            account.phone_verified = false;
            self.sent.phone_verification = None;
        }
        let given_up = before
            .into_iter()
            .filter(|old| !account.names().any(|own| own == *old));
        self.given_up.extend(given_up);
    }

    pub(super) fn note_released(&mut self, released: &[HeldName]) {
        self.given_up.retain(|name| !released.contains(name));
    }
}

/// Note that names given up are free for others now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoteReleased {
    pub names: Vec<HeldName>,
}

impl Decide<User> for NoteReleased {
    fn decide(self, user: &User, _: &Context) -> Result<Vec<UserEvent>, Error> {
        let is_open = |name: &HeldName| user.given_up.contains(name);
        let names: Vec<HeldName> = self.names.into_iter().filter(is_open).collect();
        if names.is_empty() {
            return Ok(vec![]);
        }
        Ok(vec![UserEvent::NamesReleased(NamesReleased { names })])
    }
}

#[cfg(test)]
mod tests {
    use schemas::BlindIndex;

    use super::*;
    use crate::testing::{claim, digest, given, registered, sealed};
    use crate::user::{ChangeProfile, NewName};

    #[test]
    fn what_was_given_up_is_noted_as_released_once() {
        let change = ChangeProfile {
            username: Some(NewName {
                name: sealed("alicia"),
                index: BlindIndex(digest("alicia")),
                claim_id: Some(claim(2)),
            }),
            ..ChangeProfile::default()
        };
        let user = given([registered()]).and(change);
        let names = user.state().given_up.clone();
        assert_eq!(names.len(), 1);
        let note = NoteReleased { names };
        let noted = user.and(note.clone());
        assert!(noted.state().given_up.is_empty());
        noted.when(note).then_nothing();
    }

    #[test]
    fn a_name_that_is_held_is_not_noted_as_released() {
        let user = given::<User>([registered()]);
        let names = user.state().account.as_ref().unwrap().names().collect();
        user.when(NoteReleased { names }).then_nothing();
    }
}
