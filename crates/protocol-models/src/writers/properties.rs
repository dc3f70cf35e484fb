//! What must hold whatever happens.

use stateright::Property;

use super::broker::Tail;
use super::instance::Phase;
use super::{Action, Answer, Progress, State, Writers};

pub const ONCE: &str = "a command is in the log at most once, whatever its retries";
pub const APPLIED: &str = "what was acknowledged is in the log";
pub const NOT_APPLIED: &str = "what was told to be not applied is not in the log";
pub const CHAIN: &str = "the chain has no fork";
pub const TRUE: &str = "nothing to change is answered only if it was so";
pub const KNOWS: &str = "an owner that is not fenced knows the whole log";

pub(super) fn all() -> Vec<Property<Writers>> {
    vec![
        Property::always(ONCE, |model: &Writers, state: &State| {
            (0..model.attempts.len()).all(|attempt| model.times_applied(state, attempt) <= 1)
        }),
        Property::always(APPLIED, |model: &Writers, state: &State| {
            model.answered(state, Answer::Applied).all(|attempt| {
                // Decided is as good as written: nothing can stop the markers.
                model.times_applied(state, attempt) == 1 || model.is_decided(state, attempt)
            })
        }),
        Property::always(NOT_APPLIED, |model: &Writers, state: &State| {
            model
                .answered(state, Answer::NotApplied)
                .all(|attempt| state.applied[attempt] == 0)
        }),
        Property::always(CHAIN, |_, state: &State| !state.forked),
        Property::always(TRUE, |_, state: &State| !state.lied),
        Property::always(KNOWS, |_, state: &State| {
            state.instances.iter().enumerate().all(|(own, instance)| {
                let owns = instance.phase == Phase::Serving && state.broker.holder == Some(own);
                !owns || instance.known == state.broker.truth()
            })
        }),
        Property::sometimes("an owner is replaced while it serves", |_, state: &State| {
            let serves = |own: usize| state.instances[own].phase == Phase::Serving;
            state.broker.holder.is_some_and(serves)
                && (0..state.instances.len()).filter(|&own| serves(own)).count() > 1
        }),
        Property::sometimes("a lost answer is found in the log", |_, state: &State| {
            state.instances.iter().any(|instance| instance.found != 0)
        }),
        Property::sometimes("everything is applied", |model: &Writers, state: &State| {
            model.answered(state, Answer::Applied).count() == model.attempts.len()
        }),
    ]
}

impl Writers {
    fn answered(&self, state: &State, wanted: Answer) -> impl Iterator<Item = usize> {
        let answered = move |&attempt: &usize| state.attempts[attempt] == Progress::Answered(wanted);
        (0..self.attempts.len()).filter(answered)
    }

    fn same_command(&self, attempt: usize) -> impl Iterator<Item = usize> {
        let key = self.attempts[attempt].key;
        (0..self.attempts.len())
            .filter(move |&it| it == attempt || (key.is_some() && self.attempts[it].key == key))
    }

    fn times_applied(&self, state: &State, attempt: usize) -> u8 {
        self.same_command(attempt).map(|it| state.applied[it]).sum()
    }

    fn is_decided(&self, state: &State, attempt: usize) -> bool {
        let decided = match state.broker.tail {
            Some(Tail::Decided(record)) => record.attempt(),
            Some(Tail::Open(_)) | None => None,
        };
        decided.is_some_and(|decided| self.same_command(attempt).any(|it| it == decided))
    }

    /// One serves, and nobody is about to disturb it.
    pub fn is_calm(state: &State) -> bool {
        let owner = state
            .broker
            .holder
            .filter(|&own| state.instances[own].phase == Phase::Serving);
        owner.is_some_and(|owner| {
            let away = |own: usize| state.instances[own].phase == Phase::Away;
            (0..state.instances.len()).all(|own| own == owner || away(own))
        })
    }

    /// What is no fault and no order from outside; Kafka aborts what is left open.
    pub fn is_no_fault(action: &Action) -> bool {
        !matches!(
            action,
            Action::Kill(_) | Action::FenceUnheard(_) | Action::HearNothing(_) | Action::Send { .. }
        )
    }

    /// What happens by itself, without faults, clients or anyone telling an instance what to do, and with
    /// back-offs that are longer than a claim takes: who failed before does not fence one who is claiming.
    pub fn happens_by_itself(state: &State, action: &Action) -> bool {
        match *action {
            Action::Fence(own) => {
                let rival = |(number, it): (usize, &super::Instance)| {
                    number != own && it.is_claiming() && state.broker.holder == Some(number)
                };
                !state.instances[own].failed || !state.instances.iter().enumerate().any(rival)
            }
            Action::Start(_)
            | Action::Stop(_)
            | Action::Kill(_)
            | Action::FenceUnheard(_)
            | Action::HearNothing(_)
            | Action::TimeOut
            | Action::Send { .. } => false,
            Action::ReadAhead(_)
            | Action::Look(_)
            | Action::ReadOn(_)
            | Action::EndTransaction(_)
            | Action::HearCommitted(_)
            | Action::HearFenced(_)
            | Action::Prove(_)
            | Action::Notice(_)
            | Action::Decide { .. }
            | Action::Arrive
            | Action::WriteMarkers => true,
        }
    }
}
