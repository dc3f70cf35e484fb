//! Claiming an e-mail address and a user name: reserve both, register the user, confirm both. Names whose ledger has one
//! writer with the user's take these steps in one transaction.
//!
//! A *claim* names the whole. Expiry has no clock here: whoever meets a reservation may find it expired
//! or not, at any moment, which covers every clock and every pause.

mod actions;
mod ledgers;
mod saga;

use std::collections::BTreeSet;

use domain::identifier::Identifier;
use domain::user::Status;
use stateright::{Model, Property};

pub use actions::{Action, Answer};
pub use ledgers::{Claim, Command, Ledgers};
pub use saga::{Branch, Saga};

pub const UNIQUE: &str = "no two registered users have one name";
pub const KEPT: &str = "a registered user's names are kept for him";
pub const STAYS: &str = "what was acknowledged stays";
pub const REGISTERED: &str = "a confirmed name has a registered user";

/// What the protocol may lack, to see that the checker misses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// A contender releases an expired reservation without asking its holder's ledger.
    SkipsAbandoning,
    /// An expired reservation is as good as none: the next one to ask has the name.
    ExpiryFrees,
    /// What is given back frees the name, whoever has it by then.
    ReleasesWhoeverHolds,
    /// A try that shares its claim with others gives it back without asking the user's ledger.
    WithdrawsSharedClaims,
    /// A lost answer to the registration counts as "not registered".
    TakesUnknownForRefused,
    /// The names are confirmed before the user is registered.
    ConfirmsFirst,
    /// The answer goes out once the names are reserved.
    AnswersEarly,
    /// Nobody asks the holder of a reservation, expired or not.
    NobodyAsks,
    /// Of steps taken together some may be in the log without the others.
    PartsTogether,
}

/// One run of the registration.
#[derive(Clone, Copy, Debug)]
pub struct Try {
    pub claim: usize,
    /// Whether other tries may have the same claim, as retries under one idempotency key do.
    pub shared: bool,
}

#[derive(Clone, Debug)]
pub struct Claims {
    pub claims: Vec<Claim>,
    pub tries: Vec<Try>,
    /// E-mail addresses and user names together.
    pub names: usize,
    /// Which of a claim's two names has one writer with the user.
    pub near: [bool; 2],
    /// Steps that may fail or lose their answer, in all.
    pub faults: u8,
    pub flaw: Option<Flaw>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    pub ledgers: Ledgers,
    pub sagas: Vec<Saga>,
    /// Sent, given up on by their sender, and not there yet. They may arrive at any time or never.
    pub in_flight: BTreeSet<Command>,
    pub faults_left: u8,
}

impl Claims {
    /// Registered under this claim: the user event is the commit point.
    fn is_registered(&self, state: &State, claim: usize) -> bool {
        state.ledgers.registered_under(self.claims[claim]) == Some(self.claims[claim].id)
    }

    /// The name is kept for the claim, confirmed or not yet.
    fn is_kept(&self, state: &State, name: usize, claim: usize) -> bool {
        state.ledgers.name(name).holder().is_some_and(|holder| {
            holder.claim_id == self.claims[claim].id && holder.user_id == self.claims[claim].user_id()
        })
    }

    fn registered(&self, state: &State) -> impl Iterator<Item = usize> {
        (0..self.claims.len()).filter(|&claim| self.is_registered(state, claim))
    }

    fn one_user_a_name(&self, state: &State) -> bool {
        (0..self.names).all(|name| {
            self.registered(state)
                .filter(|&claim| self.claims[claim].names.contains(&name))
                .count()
                <= 1
        })
    }

    fn registered_keeps_names(&self, state: &State) -> bool {
        self.registered(state).all(|claim| {
            let names = self.claims[claim].names;
            names.iter().all(|&name| self.is_kept(state, name, claim))
        })
    }

    fn acknowledged_stays(&self, state: &State) -> bool {
        self.tries
            .iter()
            .zip(&state.sagas)
            .filter(|(_, saga)| **saga == Saga::Ended { acknowledged: true })
            .all(|(it, _)| {
                let names = self.claims[it.claim].names;
                self.is_registered(state, it.claim)
                    && names.iter().all(|&name| self.is_kept(state, name, it.claim))
            })
    }

    fn confirmed_is_registered(&self, state: &State) -> bool {
        (0..self.names).all(|name| match state.ledgers.name(name) {
            Identifier::Held { holder } => self
                .registered(state)
                .any(|claim| self.claims[claim].id == holder.claim_id),
            Identifier::Free | Identifier::Reserved { .. } => true,
        })
    }

    /// Every name is free, or held by a user who can sign in.
    pub fn is_settled(&self, state: &State) -> bool {
        (0..self.names).all(|name| match state.ledgers.name(name) {
            Identifier::Free => true,
            Identifier::Reserved { .. } => false,
            Identifier::Held { holder } => (0..self.claims.len()).any(|claim| {
                self.claims[claim].id == holder.claim_id
                    && self.is_registered(state, claim)
                    && state.ledgers.user(self.claims[claim].user).status() == Status::Active
            }),
        })
    }
}

impl Model for Claims {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let users = self.claims.iter().map(|claim| claim.user + 1).max().unwrap_or(0);
        vec![State {
            ledgers: Ledgers::new(self.names, users),
            sagas: self.tries.iter().map(|&it| self.start(it)).collect(),
            in_flight: BTreeSet::new(),
            faults_left: self.faults,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        self.possible(state, actions);
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = state.clone();
        self.take(&mut next, action);
        (next != *state).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(UNIQUE, Self::one_user_a_name),
            Property::always(KEPT, Self::registered_keeps_names),
            Property::always(STAYS, Self::acknowledged_stays),
            Property::always(REGISTERED, Self::confirmed_is_registered),
            Property::sometimes(
                "somebody is registered and all is settled",
                |model, state: &State| model.registered(state).count() > 0 && model.is_settled(state),
            ),
            Property::sometimes("a claim is abandoned", |model, state: &State| {
                (0..model.claims.len()).any(|claim| {
                    let claim = model.claims[claim];
                    state
                        .ledgers
                        .user(claim.user)
                        .abandoned_claims
                        .contains(&claim.id)
                })
            }),
        ]
    }
}
