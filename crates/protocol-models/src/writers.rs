//! Taking a writer group over, settling doubts, and being fenced.
//!
//! Kafka is a transactional id with one holder at a time, at most one open transaction, and a log whose
//! tail is seen by the high watermark before its outcome is known. One partition stands for all of a
//! group's: a claim goes to each of them in one transaction. One aggregate, a switch that is granted or
//! not, stands for what is decided from memory.

mod actions;
mod broker;
mod instance;
mod properties;

use stateright::{Model, Property};

pub use actions::Action;
pub use broker::{Broker, Known, Record, Tail, What};
pub use instance::{Instance, Phase};
pub use properties::{APPLIED, CHAIN, KNOWS, NOT_APPLIED, ONCE, TRUE};

/// What the procedure may lack, to see that the checker misses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// "Nothing to change" is answered from memory.
    AnswersUnproven,
    /// The proof looks at the last stable offset instead of the high watermark. No flaw, as it turns
    /// out, as long as an owner's first record is its claim: that has its markers before the next
    /// record is written.
    ProvesByStableOffset,
    /// Who has fenced claims at once, with what it had read before.
    ClaimsUnread,
    /// A doubt is settled by what stands before the last stable offset, without fencing.
    SettlesByStableOffset,
    /// "Fenced" counts as "not applied".
    TakesFencedForNotApplied,
    /// A new owner does not learn the idempotency keys.
    ForgetsKeys,
    /// A rival's claim is no reason to stop.
    NeverGivesUp,
    /// Who was fenced fences back without looking for the rival's claim. It reads that claim afterwards
    /// and gives up, so this costs the rival a doubt and breaks no rule.
    FencesUnlooked,
}

/// What a client asks for, once.
#[derive(Clone, Copy, Debug)]
pub struct Attempt {
    /// Grant or revoke.
    pub grant: bool,
    pub key: Option<u8>,
    /// Sent only after this one was: its retry, or what follows it.
    pub after: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Progress {
    New,
    At {
        instance: usize,
        stage: Stage,
        was_true: bool,
    },
    Answered(Answer),
    /// Its instance died; the client heard nothing.
    Lost,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    Queued,
    /// Nothing to change, and that is to be proven.
    Proving,
    /// Written, or in doubt.
    Written,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    Applied,
    Nothing,
    NotApplied,
}

pub struct Writers {
    pub instances: usize,
    pub attempts: Vec<Attempt>,
    pub kills: u8,
    /// Commits and fencings whose answer does not come.
    pub lost_answers: u8,
    /// How often an instance is told to take the group, in all.
    pub starts: u8,
    /// Records that a paused reader may fall behind; the next one arrives only after it has read on.
    pub lag: usize,
    /// A new owner reads before it fences.
    pub reads_ahead: bool,
    pub flaw: Option<Flaw>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    pub broker: Broker,
    pub instances: Vec<Instance>,
    pub attempts: Vec<Progress>,
    /// How often each attempt is in the log.
    pub applied: Vec<u8>,
    /// A record did not continue the chain.
    pub forked: bool,
    /// "Nothing to change" was answered although it was not so at any moment since it was asked.
    pub lied: bool,
    pub starts_left: u8,
    pub kills_left: u8,
    pub lost_answers_left: u8,
}

impl Model for Writers {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            broker: Broker::new(Known {
                granted: true,
                keys: 0,
            }),
            instances: vec![Instance::AWAY; self.instances],
            attempts: vec![Progress::New; self.attempts.len()],
            applied: vec![0; self.attempts.len()],
            forked: false,
            lied: false,
            starts_left: self.starts,
            kills_left: self.kills,
            lost_answers_left: self.lost_answers,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        self.possible(state, actions);
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = state.clone();
        self.take(&mut next, action);
        Self::forget_what_all_have_read(&mut next);
        (next != *state).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::all()
    }
}

impl Writers {
    /// Records behind which every reader is are folded into what a new reader begins with, so that
    /// claims without end make no states without end.
    fn forget_what_all_have_read(state: &mut State) {
        let read = state
            .instances
            .iter()
            .filter(|it| it.phase != Phase::Away)
            .map(|it| it.position);
        let everyone = read.min().unwrap_or(usize::MAX).min(state.broker.log.len());
        state.broker.fold(everyone);
        for instance in state.instances.iter_mut().filter(|it| it.phase != Phase::Away) {
            instance.position -= everyone;
            if let Phase::Reading { until, .. } = &mut instance.phase {
                *until = until.saturating_sub(everyone);
            }
        }
    }
}
