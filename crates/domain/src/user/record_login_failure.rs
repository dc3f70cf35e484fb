//! Record a wrong password, and lock sign-in for a while when it was one too many.
//!
//! From a device that signed in before, a wrong password counts against that device, which becomes
//! unknown when it was one too many there: so whoever guesses elsewhere cannot lock the owner out,
//! and whoever holds a stolen device cannot guess without end.

use std::time::Duration;

use schemas::DeviceId;
use schemas::user::{DeviceFailures, LockReason, LoginFailed, UserEvent, UserLocked};
use serde::{Deserialize, Serialize};

use super::{Error, User};
use crate::decider::{Context, Decide};

/// The failure, counted without a break, from which on each one locks.
pub const FAILURES_TO_LOCK: i64 = 5;
/// Never longer: a lock must not become a way to keep the owner out.
const LONGEST_LOCK: Duration = minutes(15);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordLoginFailure {
    /// One failure, or several of a short window folded into one record.
    pub failure: LoginFailed,
    /// [`User::credentials`] that the password was checked against.
    pub credentials: i64,
    /// The device that showed a token of this user's.
    pub device: Option<DeviceId>,
}

impl RecordLoginFailure {
    /// The failure, told apart by whether the user knows the device.
    pub(super) fn attributed(&self, user: &User) -> LoginFailed {
        let known = self.device.filter(|id| user.device(*id).is_some());
        let of_device = |device_id| DeviceFailures {
            device_id,
            count: self.failure.count.max(1),
        };
        LoginFailed {
            known_devices: known.map(of_device).into_iter().collect(),
            ..self.failure.clone()
        }
    }
}

impl Decide<User> for RecordLoginFailure {
    fn decide(self, user: &User, ctx: &Context) -> Result<Vec<UserEvent>, Error> {
        user.admits_attempt(self.credentials, self.device, ctx)?;
        let failed = self.attributed(user);
        let from_known_device = !failed.known_devices.is_empty();
        let all = user.unwritten.with(failed);
        let locks = !from_known_device && user.failures_with(&all) >= FAILURES_TO_LOCK;
        let is_due = locks || makes_unknown(user, &all) || !user.unwritten.folds_at(ctx.now);
        let mut events = Vec::new();
        if is_due {
            events.push(UserEvent::LoginFailed(all));
        }
        if locks {
            events.push(UserEvent::Locked(UserLocked {
                reason: LockReason::FailedLogins,
                locked_until: ctx.now.plus(lock_span(user.locks)),
            }));
        }
        Ok(events)
    }
}

/// Whether a device fails with these so often that it counts as known no longer.
fn makes_unknown(user: &User, failed: &LoginFailed) -> bool {
    failed.known_devices.iter().any(|more| {
        let before = user.device(more.device_id).map_or(0, |device| device.failures);
        before.saturating_add(i64::from(more.count)) >= FAILURES_TO_LOCK
    })
}

fn lock_span(locks_before: u32) -> Duration {
    let doubled = 1_u64.checked_shl(locks_before).map_or(LONGEST_LOCK, minutes);
    doubled.min(LONGEST_LOCK)
}

const fn minutes(count: u64) -> Duration {
    Duration::from_secs(count.saturating_mul(60))
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::Timestamp;
    use schemas::user::UserLoggedIn;

    use crate::testing::{
        Given, NOW, device, given, logged_in, login, login_failure, minutes, registered, sealed, session,
        user_deactivated,
    };
    use crate::user::{
        ChangePassword, FOLDED_FOR, LogIn, MAX_DEVICES, MAX_SESSIONS, UserCommand, WriteLoginFailures,
    };

    fn fail(count: i32) -> RecordLoginFailure {
        RecordLoginFailure {
            failure: login_failure(count),
            credentials: 1,
            device: None,
        }
    }

    fn failed(count: i32) -> UserEvent {
        UserEvent::LoginFailed(login_failure(count))
    }

    fn locked(minute: i64) -> UserEvent {
        let (reason, locked_until) = (LockReason::FailedLogins, minutes(minute));
        UserEvent::Locked(UserLocked { reason, locked_until })
    }

    fn failing(times: usize) -> Given<User> {
        (0..times).fold(given([registered()]), |user, _| user.and(fail(1)))
    }

    #[test]
    fn four_failures_do_not_lock_and_the_fifth_does() {
        failing(3).when(fail(1)).then([failed(1)]);
        failing(4).when(fail(1)).then([failed(1), locked(1)]);
    }

    #[test]
    fn folded_failures_count_each() {
        failing(2).when(fail(3)).then([failed(3), locked(1)]);
    }

    #[test]
    fn a_nonsensical_count_is_one_failure() {
        failing(4).when(fail(-7)).then([failed(-7), locked(1)]);
    }

    #[test]
    fn a_lock_refuses_to_count_further_failures() {
        failing(5)
            .when(fail(1))
            .then_error(Error::Locked { until: minutes(1) });
    }

    #[test]
    fn locks_grow_to_fifteen_minutes_and_no_longer() {
        let (mut user, mut start) = (failing(4), 0);
        for length in [1, 2, 4, 8, 15, 15, 15] {
            user = user.at(minutes(start)).and(fail(1));
            start += length;
            assert_eq!(user.state().locked_until, Some(minutes(start)));
        }
        assert_eq!(lock_span(u32::MAX), LONGEST_LOCK);
    }

    #[test]
    fn a_login_starts_the_count_anew() {
        let back = failing(5).after([logged_in(session(1))]);
        assert_eq!(back.state().locked_until, None);
        let four_more = (0..4).fold(back, |user, _| user.and(fail(1)));
        four_more.when(fail(1)).then([failed(1), locked(1)]);
    }

    /// As its owner has it in memory, with how the events come to be.
    struct Owned {
        user: User,
        now: Timestamp,
        log: Vec<(Timestamp, UserEvent)>,
    }

    impl Owned {
        fn new() -> Self {
            let mut user = User::default();
            user.apply(&registered());
            user.apply(&logged_in(session(1)));
            let (now, log) = (NOW, vec![]);
            Self { user, now, log }
        }

        fn after(mut self, seconds: i64) -> Self {
            self.now = Timestamp::from_micros(self.now.as_micros() + seconds * 1_000_000);
            self
        }

        fn run(&mut self, command: UserCommand) -> Result<usize, Error> {
            let events = self.user.decide(command, &Context { now: self.now })?;
            events.iter().for_each(|event| self.user.apply(event));
            self.log
                .extend(events.iter().map(|event| (self.now, event.clone())));
            Ok(events.len())
        }

        fn fail(&mut self, device: Option<DeviceId>) -> Result<usize, Error> {
            let failure = LoginFailed {
                first_at: self.now,
                last_at: self.now,
                ..login_failure(1)
            };
            let credentials = self.user.credentials;
            self.run(UserCommand::RecordLoginFailure(RecordLoginFailure {
                failure,
                credentials,
                device,
            }))
        }

        fn log_in(&mut self, number: u128, from: DeviceId) -> Result<usize, Error> {
            let login = UserLoggedIn {
                device_id: from,
                ..login(session(number), self.now.plus(super::minutes(60)))
            };
            let credentials = self.user.credentials;
            self.run(UserCommand::LogIn(Box::new(LogIn {
                login,
                credentials,
                signature_counter: None,
                max_sessions: MAX_SESSIONS,
            })))
        }

        fn written(&self) -> i64 {
            let count = |(_, event): &(_, UserEvent)| match event {
                UserEvent::LoginFailed(e) => i64::from(e.count),
                _ => 0,
            };
            self.log.iter().map(count).sum()
        }
    }

    #[test]
    fn failures_of_ten_seconds_are_one_event_and_count_at_once() {
        let mut owned = Owned::new();
        let counts: Vec<_> = (0..5).map(|_| owned.fail(None)).collect();
        // The first at once, three folded, and with the fifth the rest and the lock.
        assert_eq!(counts, [Ok(1), Ok(0), Ok(0), Ok(0), Ok(2)]);
        assert_eq!(owned.written(), 5);
        assert_eq!(owned.user.failed_logins, 5);
        let UserEvent::LoginFailed(folded) = &owned.log[1].1 else {
            panic!("{:?}", owned.log);
        };
        assert_eq!(folded.count, 4);
    }

    #[test]
    fn what_was_folded_is_written_with_the_next_window_the_next_success_or_when_asked() {
        let folding = || {
            let mut owned = Owned::new();
            assert_eq!([owned.fail(None), owned.fail(None)], [Ok(1), Ok(0)]);
            assert_eq!(owned.written(), 1);
            owned
        };
        let mut next = folding().after(10);
        assert_eq!((next.fail(None), next.written()), (Ok(1), 3));
        let mut success = folding();
        assert_eq!((success.log_in(2, device(9)), success.written()), (Ok(2), 2));
        let mut asked = folding().after(10);
        let write = || UserCommand::WriteLoginFailures(WriteLoginFailures {});
        assert_eq!((asked.run(write()), asked.written()), (Ok(1), 2));
        assert_eq!(asked.run(write()), Ok(0));
        // And that opened a window too.
        assert_eq!(asked.fail(None), Ok(0));
    }

    #[test]
    fn a_hundred_thousand_guesses_are_less_than_a_hundred_events_and_the_owner_gets_in() {
        for pause_ms in [0, 10, 40] {
            let mut owned = Owned::new();
            for _ in 0..100_000 {
                owned.now = Timestamp::from_micros(owned.now.as_micros() + pause_ms * 1_000);
                owned.fail(None).ok();
            }
            assert!(owned.log.len() < 100, "{}", owned.log.len());
            let fails = owned
                .log
                .iter()
                .filter(|(_, e)| matches!(e, UserEvent::LoginFailed(_)));
            let times: Vec<Timestamp> = fails.map(|(at, _)| *at).collect();
            // All after the first lock are locks themselves.
            let spaced = times[2..]
                .windows(2)
                .all(|pair| pair[1].since(pair[0]) >= FOLDED_FOR);
            assert!(spaced, "{times:?}");
            // From elsewhere once the lock ends, from a device that signed in before at once.
            if let Some(until) = owned.user.locked_at(owned.now) {
                assert!(until.since(owned.now) <= LONGEST_LOCK);
                assert_eq!(owned.log_in(2, device(9)), Err(Error::Locked { until }));
                owned.log_in(3, device(1)).unwrap();
                assert_eq!(owned.user.locked_until, Some(until));
                owned.now = until;
            }
            owned.log_in(4, device(9)).unwrap();
            assert_eq!(owned.user.locked_until, None);
        }
    }

    #[test]
    fn a_known_device_that_guesses_locks_nobody_and_becomes_unknown() {
        let mut owned = Owned::new();
        let known = Some(device(1));
        let counts: Vec<_> = (0..5).map(|_| owned.fail(known)).collect();
        assert_eq!(counts, [Ok(1), Ok(0), Ok(0), Ok(0), Ok(1)]);
        assert_eq!((owned.user.failed_logins, owned.user.locked_until), (0, None));
        assert_eq!(owned.user.devices, []);
        // From now on it counts like any other.
        for _ in 0..5 {
            owned.fail(known).unwrap();
        }
        let until = owned.user.locked_until.unwrap();
        assert_eq!(owned.fail(known), Err(Error::Locked { until }));
        assert_eq!(owned.log_in(2, device(1)), Err(Error::Locked { until }));
    }

    #[test]
    fn a_sign_in_despite_a_lock_neither_ends_it_nor_forgets_the_failures() {
        let mut owned = Owned::new();
        (0..5).for_each(|_| assert!(owned.fail(None).is_ok()));
        let before = (
            owned.user.failed_logins,
            owned.user.locks,
            owned.user.locked_until,
        );
        owned.log_in(2, device(1)).unwrap();
        let (_, UserEvent::LoggedIn(login)) = owned.log.last().unwrap() else {
            panic!("{:?}", owned.log);
        };
        assert!(login.despite_lock);
        assert_eq!(
            (
                owned.user.failed_logins,
                owned.user.locks,
                owned.user.locked_until
            ),
            before
        );
    }

    #[test]
    fn failures_from_a_known_device_and_elsewhere_share_one_event() {
        let mut owned = Owned::new();
        for from in [None, Some(device(1)), None, Some(device(1))] {
            owned.fail(from).unwrap();
        }
        let mut owned = owned.after(10);
        owned.fail(None).unwrap();
        let UserEvent::LoginFailed(all) = &owned.log[1].1 else {
            panic!("{:?}", owned.log);
        };
        assert_eq!((all.count, all.from_elsewhere()), (4, 2));
        let (device_id, count) = (device(1), 2);
        assert_eq!(all.known_devices, [DeviceFailures { device_id, count }]);
        assert_eq!(owned.user.failed_logins, 3);
        assert_eq!(owned.user.devices[0].failures, 2);
    }

    #[test]
    fn what_failed_before_a_new_password_does_not_count_against_its_device() {
        let mut owned = Owned::new();
        owned.log_in(2, device(2)).unwrap();
        (0..4).for_each(|_| assert!(owned.fail(Some(device(2))).is_ok()));
        let change = ChangePassword {
            password_hash: sealed("new"),
            credentials: 1,
            keep: Some(session(2)),
        };
        // With those that were not written yet.
        assert_eq!(owned.run(UserCommand::ChangePassword(change)), Ok(2));
        let mut owned = owned.after(10);
        owned
            .run(UserCommand::WriteLoginFailures(WriteLoginFailures {}))
            .unwrap();
        assert_eq!(owned.user.devices[0].failures, 0);
    }

    #[test]
    fn devices_are_bounded_and_the_one_not_seen_longest_goes() {
        let mut owned = Owned::new();
        for number in 2..=25 {
            owned.log_in(number, device(number)).unwrap();
            owned.log_in(100 + number, device(1)).unwrap();
        }
        assert_eq!(owned.user.devices.len(), MAX_DEVICES);
        assert!(owned.user.device(device(1)).is_some());
        assert!(owned.user.device(device(2)).is_none());
    }

    #[test]
    fn failures_of_nobody_are_not_recorded() {
        given([]).when(fail(1)).then_error(Error::NotFound);
    }

    #[test]
    fn guessing_a_deactivated_users_password_locks_too() {
        let deactivated = || given([registered(), user_deactivated()]);
        deactivated().when(fail(1)).then([failed(1)]);
        let guessed = (0..5).fold(deactivated(), |user, _| user.and(fail(1)));
        guessed
            .when(fail(1))
            .then_error(Error::Locked { until: minutes(1) });
    }

    #[test]
    fn a_password_checked_before_it_changed_is_checked_again() {
        let outdated = RecordLoginFailure {
            credentials: 0,
            ..fail(1)
        };
        given([registered()])
            .when(outdated)
            .then_error(Error::CredentialsChanged);
    }
}
