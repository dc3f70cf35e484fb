//! Everything that may happen next.

use super::broker::{Record, Request, Tail, What};
use super::instance::{Instance, Phase};
use super::{Answer, Flaw, Progress, Stage, State, Writers};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// The consumer group, or whoever started it, tells an instance to take the group.
    Start(usize),
    /// It is told to leave it.
    Stop(usize),
    Kill(usize),
    ReadAhead(usize),
    Fence(usize),
    /// Fenced, but the answer is lost.
    FenceUnheard(usize),
    Look(usize),
    /// The rest of what was to be read has its markers.
    ReadOn(usize),
    EndTransaction(usize),
    HearCommitted(usize),
    HearFenced(usize),
    HearNothing(usize),
    /// Asks for the high watermark to prove that it is the owner.
    Prove(usize),
    /// A heartbeat of its own tells an owner that it is fenced.
    Notice(usize),
    Send {
        attempt: usize,
        instance: usize,
    },
    Decide {
        attempt: usize,
        instance: usize,
    },
    /// At the broker.
    Arrive,
    WriteMarkers,
    TimeOut,
}

impl Writers {
    pub(super) fn possible(&self, state: &State, actions: &mut Vec<Action>) {
        self.possible_at_the_broker(state, actions);
        for (own, instance) in state.instances.iter().enumerate() {
            if instance.phase != Phase::Away && state.kills_left > 0 {
                actions.push(Action::Kill(own));
            }
            match instance.phase {
                Phase::Away if self.may_start(state) => actions.push(Action::Start(own)),
                Phase::Away => {}
                Phase::ReadingAhead => actions.push(Action::ReadAhead(own)),
                Phase::Fencing if state.broker.is_finishing() => {}
                Phase::Fencing => {
                    actions.push(Action::Fence(own));
                    if state.lost_answers_left > 0 {
                        actions.push(Action::FenceUnheard(own));
                    }
                }
                Phase::Fenced | Phase::InDoubt => actions.push(Action::Look(own)),
                Phase::Reading { until, .. } if state.broker.log.len() >= until => {
                    actions.push(Action::ReadOn(own));
                }
                Phase::Reading { .. } => {}
                Phase::Committing { .. } => self.possible_while_committing(state, own, actions),
                Phase::Proving => actions.push(Action::Prove(own)),
                Phase::Serving => self.possible_while_serving(state, own, actions),
            }
        }
    }

    fn possible_at_the_broker(&self, state: &State, actions: &mut Vec<Action>) {
        let broker = &state.broker;
        // The next transaction cannot begin before the markers of the last one are written.
        let has_room = broker.log.len() < self.lag || broker.on_its_way == Some(Request::EndTransaction);
        if broker.on_its_way.is_some() && !broker.is_finishing() && has_room {
            actions.push(Action::Arrive);
        }
        match broker.tail {
            Some(Tail::Decided(_)) => actions.push(Action::WriteMarkers),
            Some(Tail::Open(_)) => actions.push(Action::TimeOut),
            None => {}
        }
    }

    fn possible_while_committing(&self, state: &State, own: usize, actions: &mut Vec<Action>) {
        let broker = &state.broker;
        let is_own = |tail: &Tail| matches!(tail, Tail::Open(record) if record.by == own);
        if broker.holder != Some(own) {
            actions.push(Action::HearFenced(own));
        } else if broker.on_its_way.is_none() && broker.tail.as_ref().is_some_and(is_own) {
            actions.push(Action::EndTransaction(own));
        }
        if self.own_commit(state, own).is_some() {
            actions.push(Action::HearCommitted(own));
        }
        if state.lost_answers_left > 0 {
            actions.push(Action::HearNothing(own));
        }
    }

    fn possible_while_serving(&self, state: &State, own: usize, actions: &mut Vec<Action>) {
        let mut idle = true;
        for (attempt, progress) in state.attempts.iter().enumerate() {
            match progress {
                Progress::New => {
                    let after = self.attempts[attempt].after;
                    if after.is_none_or(|earlier| state.attempts[earlier] != Progress::New) {
                        actions.push(Action::Send {
                            attempt,
                            instance: own,
                        });
                    }
                }
                Progress::At { instance, .. } if *instance == own => {
                    idle = false;
                    actions.push(Action::Decide {
                        attempt,
                        instance: own,
                    });
                }
                Progress::At { .. } | Progress::Answered(_) | Progress::Lost => {}
            }
        }
        if idle {
            actions.push(Action::Stop(own));
        }
        if state.broker.holder != Some(own) {
            actions.push(Action::Notice(own));
        }
    }

    /// The transaction it waits for, if it is decided, and its place.
    fn own_commit(&self, state: &State, own: usize) -> Option<(Record, usize)> {
        let from = state.instances[own].position;
        let log = state.broker.log.iter().copied().enumerate();
        let decided = match state.broker.tail {
            Some(Tail::Decided(record)) => Some((state.broker.log.len(), record)),
            Some(Tail::Open(_)) | None => None,
        };
        let records = log.chain(decided).skip_while(|(place, _)| *place < from);
        let mut own_records = records.filter(|(_, record)| record.by == own);
        own_records.next().map(|(place, record)| (record, place))
    }

    pub(super) fn take(&self, state: &mut State, action: Action) {
        match action {
            Action::Start(own) => self.start(state, own),
            Action::Stop(own) => Self::give_up(state, own),
            Action::Kill(own) => Self::kill(state, own),
            Action::ReadAhead(own) => {
                self.read_to(state, own, usize::MAX);
                state.instances[own].phase = Phase::Fencing;
            }
            Action::Fence(own) => {
                Self::raise_epoch(state, Some(own));
                state.instances[own].phase = Phase::Fenced;
                if self.flaw == Some(Flaw::ClaimsUnread) {
                    Self::settle(state, own);
                    self.claim(state, own);
                }
            }
            Action::FenceUnheard(own) => {
                state.lost_answers_left -= 1;
                Self::raise_epoch(state, None);
                state.instances[own].failed = true;
            }
            Action::Look(own) => {
                let fenced = state.instances[own].phase == Phase::Fenced;
                self.begin_reading(state, own, fenced);
            }
            Action::ReadOn(own) => self.end_reading(state, own),
            Action::EndTransaction(_) => state.broker.on_its_way = Some(Request::EndTransaction),
            Action::HearCommitted(own) => {
                if let Some((record, place)) = self.own_commit(state, own) {
                    self.committed(state, own, &record, place);
                }
            }
            Action::HearFenced(own) => {
                if self.flaw == Some(Flaw::TakesFencedForNotApplied) {
                    Self::settle(state, own);
                }
                self.doubt(state, own);
            }
            Action::HearNothing(own) => {
                state.lost_answers_left -= 1;
                self.doubt(state, own);
            }
            Action::Prove(own) => self.prove(state, own),
            Action::Notice(own) => self.doubt(state, own),
            Action::Send { attempt, instance } => {
                let was_true = state.broker.truth().granted == self.attempts[attempt].grant;
                let stage = Stage::Queued;
                state.attempts[attempt] = Progress::At {
                    instance,
                    stage,
                    was_true,
                };
            }
            Action::Decide { attempt, instance } => self.decide(state, attempt, instance),
            Action::Arrive => {
                state.broker.arrive();
                self.remember_what_is_true(state);
            }
            Action::WriteMarkers => Self::write_markers(state),
            Action::TimeOut => Self::raise_epoch(state, None),
        }
    }

    /// Where nobody is at work, somebody is told to be, as often as that happens.
    fn may_start(&self, state: &State) -> bool {
        state.starts_left > 0 || state.instances.iter().all(|it| it.phase == Phase::Away)
    }

    fn start(&self, state: &mut State, own: usize) {
        state.starts_left = state.starts_left.saturating_sub(1);
        let mut known = state.broker.base;
        if self.flaw == Some(Flaw::ForgetsKeys) {
            known.keys = 0;
        }
        let phase = if self.reads_ahead {
            Phase::ReadingAhead
        } else {
            Phase::Fencing
        };
        state.instances[own] = Instance {
            phase,
            known,
            ..Instance::AWAY
        };
    }

    fn kill(state: &mut State, own: usize) {
        state.kills_left -= 1;
        state.instances[own] = Instance::AWAY;
        for progress in &mut state.attempts {
            if matches!(progress, Progress::At { instance, .. } if *instance == own) {
                *progress = Progress::Lost;
            }
        }
    }

    fn raise_epoch(state: &mut State, holder: Option<usize>) {
        if state.broker.raise_epoch(holder) {
            // Aborted records are never delivered: who waits at one goes past it.
            let end = state.broker.log.len();
            for instance in &mut state.instances {
                if let Phase::Reading { until, .. } = &mut instance.phase {
                    *until = end.min(*until);
                }
            }
        }
    }

    fn write_markers(state: &mut State) {
        let Some(Tail::Decided(record)) = state.broker.tail.take() else {
            return;
        };
        state.forked |= record.after != state.broker.log.len();
        if let What::Command { attempt, .. } = record.what {
            state.applied[attempt] = state.applied[attempt].saturating_add(1);
        }
        state.broker.log.push(record);
    }

    fn decide(&self, state: &mut State, attempt: usize, own: usize) {
        let asked = self.attempts[attempt];
        let instance = &mut state.instances[own];
        let Progress::At { stage, .. } = &mut state.attempts[attempt] else {
            return;
        };
        if asked.key.is_some_and(|key| instance.known.keys & 1 << key != 0) {
            state.attempts[attempt] = Progress::Answered(Answer::Applied);
        } else if instance.known.granted == asked.grant {
            *stage = Stage::Proving;
            instance.phase = Phase::Proving;
            if self.flaw == Some(Flaw::AnswersUnproven) {
                Self::answer_nothing(state, own);
            }
        } else {
            *stage = Stage::Written;
            instance.phase = Phase::Committing { claim: false };
            let what = What::Command {
                attempt,
                grant: asked.grant,
                key: asked.key,
            };
            state.broker.produce(Record {
                by: own,
                what,
                after: instance.position,
            });
        }
    }

    /// Nothing may stand behind one's own last record.
    fn prove(&self, state: &mut State, own: usize) {
        let end = if self.flaw == Some(Flaw::ProvesByStableOffset) {
            state.broker.log.len()
        } else {
            state.broker.high_watermark()
        };
        if end <= state.instances[own].position {
            Self::answer_nothing(state, own);
        } else {
            self.doubt(state, own);
        }
    }

    fn answer_nothing(state: &mut State, own: usize) {
        state.instances[own].phase = Phase::Serving;
        for progress in &mut state.attempts {
            if let Progress::At {
                instance,
                stage: Stage::Proving,
                was_true,
            } = *progress
                && instance == own
            {
                state.lied |= !was_true;
                *progress = Progress::Answered(Answer::Nothing);
            }
        }
    }

    fn remember_what_is_true(&self, state: &mut State) {
        let granted = state.broker.truth().granted;
        for (progress, asked) in state.attempts.iter_mut().zip(&self.attempts) {
            if let Progress::At { was_true, .. } = progress {
                *was_true |= granted == asked.grant;
            }
        }
    }
}
