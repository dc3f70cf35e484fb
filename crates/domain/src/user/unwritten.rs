//! Failed sign-ins that a user's owner knows of and the log does not tell yet.

use std::time::Duration;

use schemas::Timestamp;
use schemas::user::{DeviceFailures, LoginFailed, UserEvent};

/// After a user's failures were written, further ones are folded for so long: whoever guesses must
/// not be able to fill a log that is kept for ever.
pub const FOLDED_FOR: Duration = Duration::from_secs(10);

/// In the memory of the user's owner, and no part of the state that events make: they count towards
/// a lock like written ones, and go into the log with the next record of a failure, before the next
/// sign-in, or when nothing more has come for [`FOLDED_FOR`]. An owner that crashes or is replaced
/// loses what it had folded by then: the failures of 10 s, fewer than lock.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unwritten {
    failures: Option<LoginFailed>,
    written_at: Option<Timestamp>,
}

impl Unwritten {
    pub fn failures(&self) -> Option<&LoginFailed> {
        self.failures.as_ref()
    }

    /// One more, together with what was folded before it.
    pub(super) fn with(&self, failed: LoginFailed) -> LoginFailed {
        match self.failures.clone() {
            None => failed,
            Some(folded) => join(folded, failed),
        }
    }

    pub(super) fn folds_at(&self, now: Timestamp) -> bool {
        self.written_at.is_some_and(|at| now < at.plus(FOLDED_FOR))
    }

    /// Follows a decision: what its events tell is written, a failure they do not tell is folded.
    pub(super) fn follow(&mut self, failed: Option<LoginFailed>, events: &[UserEvent], now: Timestamp) {
        let is_written = |event: &UserEvent| matches!(event, UserEvent::LoginFailed(_));
        if events.iter().any(is_written) {
            *self = Self {
                failures: None,
                written_at: Some(now),
            };
        } else if let Some(failed) = failed {
            self.failures = Some(self.with(failed));
        }
    }
}

/// The client is the later one's: an event has room for one.
fn join(earlier: LoginFailed, later: LoginFailed) -> LoginFailed {
    let mut known_devices = earlier.known_devices;
    for more in later.known_devices {
        match known_devices
            .iter_mut()
            .find(|known| known.device_id == more.device_id)
        {
            Some(known) => known.count = known.count.saturating_add(more.count),
            None => known_devices.push(DeviceFailures { ..more }),
        }
    }
    LoginFailed {
        count: earlier.count.max(1).saturating_add(later.count.max(1)),
        first_at: earlier.first_at.min(later.first_at),
        last_at: earlier.last_at.max(later.last_at),
        known_devices,
        ..later
    }
}
