//! Everything that may happen next.

use super::ledgers::{Command, Refusal};
use super::saga::{Branch, Outcome, Saga, Trouble};
use super::{Claims, Flaw, State};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// A try sends its next command, for one of its branches.
    Step {
        number: usize,
        branch: usize,
        answer: Answer,
    },
    /// A try finds a reservation that is still good.
    NotExpired { number: usize, branch: usize },
    /// Its process dies; nobody remembers the try.
    Crash { number: usize },
    /// A command arrives that nobody waits for any more.
    Arrive(Command),
    /// The service goes through reserved names whose users are registered.
    Finish { name: usize },
    /// Somebody else wants the name much later, asks the holder's ledger, and goes no further himself.
    Visit { name: usize },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    Clear,
    /// Certainly not in the log.
    NotApplied,
    /// Lost; the command may still arrive.
    Lost,
}

impl Claims {
    pub(super) fn possible(&self, state: &State, actions: &mut Vec<Action>) {
        for (number, saga) in state.sagas.iter().enumerate() {
            let it = self.tries[number];
            for (branch, _) in saga.commands(self.claims[it.claim].names, self.near, it.claim) {
                actions.extend(answers(state).map(|&answer| Action::Step {
                    number,
                    branch,
                    answer,
                }));
            }
            match saga {
                Saga::Reserving(branches) => actions.extend(
                    (0..2)
                        .filter(|&branch| matches!(branches[branch], Branch::Abandon { .. }))
                        .map(|branch| Action::NotExpired { number, branch }),
                ),
                Saga::Together | Saga::Registering | Saga::Confirming(_) | Saga::Withdrawing(_) => {}
                Saga::Ended { .. } => continue,
            }
            actions.push(Action::Crash { number });
        }
        actions.extend(state.in_flight.iter().map(|&command| Action::Arrive(command)));
        let quiet = state.sagas.iter().all(|saga| matches!(saga, Saga::Ended { .. }));
        for name in 0..self.names {
            match self.reserved(state, name) {
                Some(claim) if self.is_registered(state, claim) => actions.push(Action::Finish { name }),
                Some(_) if quiet && self.flaw != Some(Flaw::NobodyAsks) => {
                    actions.push(Action::Visit { name })
                }
                _ => {}
            }
        }
    }

    pub(super) fn take(&self, state: &mut State, action: Action) {
        match action {
            Action::Step {
                number,
                branch,
                answer,
            } => {
                let it = self.tries[number];
                let sent = state.sagas[number].commands(self.claims[it.claim].names, self.near, it.claim);
                let Some(&(_, command)) = sent.iter().find(|(at, _)| *at == branch) else {
                    return;
                };
                let outcome = self.send(state, command, answer);
                self.proceed(state, number, branch, outcome);
            }
            Action::NotExpired { number, branch } => self.not_expired(state, number, branch),
            Action::Crash { number } => state.sagas[number] = Saga::Ended { acknowledged: false },
            Action::Arrive(command) => {
                state.in_flight.remove(&command);
                // Nobody is there to hear a refusal.
                self.execute(state, command).unwrap_or(());
            }
            Action::Finish { name } => {
                if let Some(claim) = self.reserved(state, name) {
                    state.in_flight.insert(Command::Confirm { name, claim });
                }
            }
            Action::Visit { name } => {
                if let Some(claim) = self.reserved(state, name)
                    && self.execute(state, Command::Abandon { claim }).is_ok()
                {
                    state.in_flight.insert(Command::Release { name, claim });
                }
            }
        }
    }

    fn send(&self, state: &mut State, command: Command, answer: Answer) -> Outcome {
        match answer {
            Answer::Clear => self.execute(state, command).map_err(Trouble::Refused),
            Answer::NotApplied => {
                state.faults_left -= 1;
                Err(Trouble::NotApplied)
            }
            Answer::Lost => {
                state.faults_left -= 1;
                state.in_flight.insert(command);
                Err(Trouble::Unknown)
            }
        }
    }

    fn execute(&self, state: &mut State, command: Command) -> Result<(), Refusal> {
        let outcome = state.ledgers.execute(&self.claims, command);
        match (self.flaw, command, outcome) {
            (Some(Flaw::ExpiryFrees), Command::Reserve { name, .. }, Err(Refusal::ReservedBy(_))) => {
                state.ledgers.free(name);
                state.ledgers.execute(&self.claims, command)
            }
            (Some(Flaw::ReleasesWhoeverHolds), Command::Release { name, .. }, Ok(())) => {
                state.ledgers.free(name);
                Ok(())
            }
            (Some(Flaw::PartsTogether), Command::Together { claim, near }, Err(_)) => {
                state.ledgers.in_parts(&self.claims, claim, near)
            }
            (_, _, outcome) => outcome,
        }
    }

    /// The claim under which a name waits for its confirmation.
    fn reserved(&self, state: &State, name: usize) -> Option<usize> {
        let id = state.ledgers.reserved_under(name)?;
        self.claims.iter().position(|claim| claim.id == id)
    }
}

fn answers(state: &State) -> impl Iterator<Item = &'static Answer> {
    let all = [Answer::Clear, Answer::NotApplied, Answer::Lost].as_slice();
    let shown = if state.faults_left > 0 { all.len() } else { 1 };
    all.iter().take(shown)
}
