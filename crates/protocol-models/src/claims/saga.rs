//! One registration, step by step as the command service takes them.

use super::ledgers::{Command, Refusal};
use super::{Claims, Flaw, State, Try};

/// Where a try stands. What it waits for next follows from this alone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Saga {
    /// Both names at once.
    Reserving([Branch; 2]),
    /// The near names and the user in one transaction.
    Together,
    Registering,
    /// Both names at once; true: asked.
    Confirming([bool; 2]),
    /// Gives back what it reserved: 0 asks the user's ledger, 1 and 2 release.
    Withdrawing(usize),
    /// Answered, or gone without an answer.
    Ended {
        acknowledged: bool,
    },
}

/// One name's reservation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Branch {
    /// Left to the transaction of the user event, if that comes to something.
    Near,
    Ask,
    /// It is reserved under this claim: has it expired?
    Abandon {
        holder: usize,
    },
    Release {
        holder: usize,
    },
    Confirm {
        holder: usize,
    },
    AskAgain,
    Reserved,
    Taken,
    /// No clear answer.
    Failed,
}

/// What came back for a command.
pub type Outcome = Result<(), Trouble>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    Refused(Refusal),
    NotApplied,
    Unknown,
}

impl Saga {
    /// What this try sends next, for each branch that is not done.
    pub fn commands(&self, names: [usize; 2], near: [bool; 2], claim: usize) -> Vec<(usize, Command)> {
        match self {
            Self::Reserving(branches) => (0..2)
                .filter_map(|at| Some((at, branches[at].command(names[at], claim)?)))
                .collect(),
            Self::Together => vec![(0, Command::Together { claim, near })],
            Self::Registering => vec![(0, Command::Register { claim })],
            Self::Confirming(asked) => (0..2)
                .filter(|&at| !asked[at])
                .map(|at| {
                    (
                        at,
                        Command::Confirm {
                            name: names[at],
                            claim,
                        },
                    )
                })
                .collect(),
            Self::Withdrawing(0) => vec![(0, Command::Abandon { claim })],
            Self::Withdrawing(step) => vec![(
                0,
                Command::Release {
                    name: names[*step - 1],
                    claim,
                },
            )],
            Self::Ended { .. } => Vec::new(),
        }
    }
}

impl Branch {
    fn command(self, name: usize, claim: usize) -> Option<Command> {
        match self {
            Self::Ask | Self::AskAgain => Some(Command::Reserve { name, claim }),
            Self::Abandon { holder } => Some(Command::Abandon { claim: holder }),
            Self::Release { holder } => Some(Command::Release { name, claim: holder }),
            Self::Confirm { holder } => Some(Command::Confirm { name, claim: holder }),
            Self::Near | Self::Reserved | Self::Taken | Self::Failed => None,
        }
    }

    fn after(self, outcome: Outcome, model: &Claims) -> Self {
        match (self, outcome) {
            (Self::Ask | Self::AskAgain, Ok(())) => Self::Reserved,
            (Self::Ask, Err(Trouble::Refused(Refusal::ReservedBy(id)))) => {
                let holder = model.claims.iter().position(|claim| claim.id == id);
                match (holder, model.flaw) {
                    (None, _) | (_, Some(Flaw::NobodyAsks)) => Self::Taken,
                    (Some(holder), Some(Flaw::SkipsAbandoning)) => Self::Release { holder },
                    (Some(holder), _) => Self::Abandon { holder },
                }
            }
            (Self::Abandon { holder }, Ok(())) => Self::Release { holder },
            (Self::Abandon { holder }, Err(Trouble::Refused(Refusal::ClaimUsed))) => Self::Confirm { holder },
            (Self::Release { .. }, Ok(())) => Self::AskAgain,
            (Self::Confirm { .. }, Ok(())) => Self::Taken,
            (Self::Ask | Self::AskAgain, Err(Trouble::Refused(_))) => Self::Taken,
            (_, _) => Self::Failed,
        }
    }

    fn is_open(self) -> bool {
        self.command(0, 0).is_some()
    }
}

impl Claims {
    /// A command of try `number` came back: what the try does with it.
    pub(super) fn proceed(&self, state: &mut State, number: usize, branch: usize, outcome: Outcome) {
        let it = self.tries[number];
        state.sagas[number] = match state.sagas[number].clone() {
            Saga::Reserving(mut branches) => {
                branches[branch] = branches[branch].after(outcome, self);
                self.after_reserving(it, branches)
            }
            Saga::Together => self.after_together(it, outcome),
            Saga::Registering => self.after_registering(it, outcome),
            Saga::Confirming(mut asked) => {
                asked[branch] = true;
                match (asked, self.flaw) {
                    ([true, true], Some(Flaw::ConfirmsFirst)) => Saga::Registering,
                    // Confirmed or not: the user is registered, and that is the answer.
                    ([true, true], _) => Saga::Ended { acknowledged: true },
                    _ => Saga::Confirming(asked),
                }
            }
            Saga::Withdrawing(0) if outcome.is_err() => Saga::Ended { acknowledged: false },
            Saga::Withdrawing(2) => Saga::Ended { acknowledged: false },
            Saga::Withdrawing(step) => Saga::Withdrawing(step + 1),
            ended @ Saga::Ended { .. } => ended,
        };
    }

    /// A holder's reservation has not expired yet: the name is taken for now.
    pub(super) fn not_expired(&self, state: &mut State, number: usize, branch: usize) {
        if let Saga::Reserving(mut branches) = state.sagas[number].clone() {
            branches[branch] = Branch::Taken;
            state.sagas[number] = self.after_reserving(self.tries[number], branches);
        }
    }

    pub(super) fn start(&self, it: Try) -> Saga {
        let branch = |near| if near { Branch::Near } else { Branch::Ask };
        self.after_reserving(it, self.near.map(branch))
    }

    fn after_together(&self, it: Try, outcome: Outcome) -> Saga {
        match outcome {
            Ok(()) if self.near == [true; 2] => Saga::Ended { acknowledged: true },
            Ok(()) => Saga::Confirming(self.near),
            Err(Trouble::Unknown) => self.after_registering(it, outcome),
            // Nothing was done: the long way.
            Err(Trouble::Refused(_) | Trouble::NotApplied) => {
                let branch = |near| if near { Branch::Ask } else { Branch::Reserved };
                Saga::Reserving(self.near.map(branch))
            }
        }
    }

    fn after_reserving(&self, it: Try, branches: [Branch; 2]) -> Saga {
        match branches {
            _ if branches.iter().any(|branch| branch.is_open()) => Saga::Reserving(branches),
            [Branch::Reserved, Branch::Reserved] => match self.flaw {
                Some(Flaw::ConfirmsFirst) => Saga::Confirming([false; 2]),
                Some(Flaw::AnswersEarly) => Saga::Ended { acknowledged: true },
                _ => Saga::Registering,
            },
            [Branch::Near | Branch::Reserved, Branch::Near | Branch::Reserved] => Saga::Together,
            // The service looks at the first refusal of the two.
            [Branch::Failed, _] | [Branch::Near | Branch::Reserved, Branch::Failed] if it.shared => {
                Saga::Ended { acknowledged: false }
            }
            _ => self.withdraw(it),
        }
    }

    fn after_registering(&self, it: Try, outcome: Outcome) -> Saga {
        let certain = match outcome {
            Ok(()) if self.flaw == Some(Flaw::ConfirmsFirst) => return Saga::Ended { acknowledged: true },
            Ok(()) => return Saga::Confirming([false; 2]),
            Err(Trouble::Refused(_)) => true,
            Err(Trouble::NotApplied) => !it.shared,
            Err(Trouble::Unknown) => self.flaw == Some(Flaw::TakesUnknownForRefused),
        };
        if certain {
            self.withdraw(it)
        } else {
            Saga::Ended { acknowledged: false }
        }
    }

    fn withdraw(&self, it: Try) -> Saga {
        let asks = it.shared && self.flaw != Some(Flaw::WithdrawsSharedClaims);
        Saga::Withdrawing(usize::from(!asks))
    }
}
