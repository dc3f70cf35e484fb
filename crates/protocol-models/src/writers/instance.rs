//! An instance that has a group, or wants it.

use super::broker::{Known, Record, What};
use super::{Answer, Progress, Stage};
use super::{Flaw, State, Writers};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Not at work on the group.
    Away,
    /// Reads what is there, so that little is left to read once it has fenced.
    ReadingAhead,
    /// About to take the transactional id over.
    Fencing,
    Fenced,
    /// Reads to where the high watermark was.
    Reading {
        until: usize,
        fenced: bool,
    },
    Committing {
        claim: bool,
    },
    Serving,
    Proving,
    /// Fenced, or unsure: looks for a rival's claim first.
    InDoubt,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Instance {
    pub phase: Phase,
    pub position: usize,
    pub known: Known,
    /// It has written a claim before, so a later one of another means that it is replaced.
    pub claimed: bool,
    pub foreign: bool,
    /// Own commands found in the log while in doubt, one bit each.
    pub found: u8,
    /// An earlier try to claim failed: it backs off before it fences again.
    pub failed: bool,
}

impl Instance {
    pub const AWAY: Self = Self {
        phase: Phase::Away,
        position: 0,
        known: Known {
            granted: false,
            keys: 0,
        },
        claimed: false,
        foreign: false,
        found: 0,
        failed: false,
    };

    /// Has the id, as far as it knows, and is about to claim the group.
    pub fn is_claiming(&self) -> bool {
        matches!(
            self.phase,
            Phase::Fenced | Phase::Reading { fenced: true, .. } | Phase::Committing { claim: true }
        )
    }

    fn read(&mut self, own: usize, record: &Record, flaw: Option<Flaw>) {
        let keys = self.known.keys;
        self.known.apply(record);
        if flaw == Some(Flaw::ForgetsKeys) {
            self.known.keys = keys;
        }
        self.position += 1;
        match record.what {
            What::Claim => self.foreign |= self.claimed && record.by != own,
            What::Command { attempt, .. } if record.by == own => self.found |= 1 << attempt,
            What::Command { .. } => {}
        }
    }
}

impl Writers {
    pub(super) fn read_to(&self, state: &mut State, own: usize, until: usize) {
        let from = state.instances[own].position;
        let records: Vec<Record> = state.broker.log.iter().take(until).skip(from).copied().collect();
        for record in &records {
            state.instances[own].read(own, record, self.flaw);
        }
    }

    /// Fenced, asks for the high watermark, and reads to it if nothing unsettled stands before it; else reads what is
    /// settled.
    pub(super) fn begin_reading(&self, state: &mut State, own: usize, fenced: bool) {
        let until = if fenced && self.flaw != Some(Flaw::SettlesByStableOffset) {
            state.broker.high_watermark()
        } else {
            state.broker.log.len()
        };
        state.instances[own].phase = Phase::Reading { until, fenced };
        if state.broker.log.len() >= until {
            self.end_reading(state, own);
        }
    }

    pub(super) fn end_reading(&self, state: &mut State, own: usize) {
        let Phase::Reading { until, fenced } = state.instances[own].phase else {
            return;
        };
        self.read_to(state, own, until);
        let replaced = state.instances[own].foreign && self.flaw != Some(Flaw::NeverGivesUp);
        let settles_early = self.flaw == Some(Flaw::SettlesByStableOffset);
        if fenced || replaced || settles_early {
            Self::settle(state, own);
        }
        if replaced {
            Self::give_up(state, own);
        } else if fenced {
            self.claim(state, own);
        } else {
            state.instances[own].phase = Phase::Fencing;
        }
    }

    pub(super) fn claim(&self, state: &mut State, own: usize) {
        let instance = &mut state.instances[own];
        instance.foreign = false;
        instance.phase = Phase::Committing { claim: true };
        state.broker.produce(Record {
            by: own,
            what: What::Claim,
            after: instance.position,
        });
    }

    /// Answers what is in doubt by what was found in the log.
    pub(super) fn settle(state: &mut State, own: usize) {
        let found = std::mem::take(&mut state.instances[own].found);
        for (attempt, progress) in state.attempts.iter_mut().enumerate() {
            let Progress::At { instance, stage, .. } = *progress else {
                continue;
            };
            if instance == own && stage != Stage::Queued {
                *progress = Progress::Answered(if found & 1 << attempt == 0 {
                    Answer::NotApplied
                } else {
                    Answer::Applied
                });
            }
        }
    }

    pub(super) fn give_up(state: &mut State, own: usize) {
        state.instances[own] = Instance::AWAY;
        for progress in &mut state.attempts {
            if matches!(progress, Progress::At { instance, .. } if *instance == own) {
                *progress = Progress::Answered(Answer::NotApplied);
            }
        }
    }

    /// Its commit did not succeed for certain.
    pub(super) fn doubt(&self, state: &mut State, own: usize) {
        let instance = &mut state.instances[own];
        instance.failed = true;
        let looks = instance.claimed && self.flaw != Some(Flaw::FencesUnlooked);
        instance.phase = if looks { Phase::InDoubt } else { Phase::Fencing };
    }

    /// Its transaction is in the log, at this place.
    pub(super) fn committed(&self, state: &mut State, own: usize, record: &Record, place: usize) {
        let instance = &mut state.instances[own];
        instance.known.apply(record);
        instance.position = place + 1;
        instance.phase = Phase::Serving;
        match record.what {
            What::Claim => {
                instance.claimed = true;
                instance.failed = false;
            }
            What::Command { attempt, .. } => state.attempts[attempt] = Progress::Answered(Answer::Applied),
        }
    }
}
