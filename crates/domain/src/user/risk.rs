//! How unusual a sign-in or a refresh is: simple rules over what is known of the user, added up to at most
//! 100. `docs/risk.md` tells them with their reasons.

use std::time::Duration;

use schemas::Timestamp;
use schemas::user::{FactorKind, LockReason, UserEvent, UserLoggedIn};

use super::{Place, User};

/// From this score on an event is suspicious.
pub const SUSPICIOUS_FROM: i32 = 50;
/// Nobody is in two countries within it without a border in between that others cross daily too.
const TRAVEL: Duration = Duration::from_secs(3_600);
/// So many wrong passwords in a row are no slip of the fingers.
const BURST: i64 = 3;
/// For each wrong password; enough of them lock, which counts by itself.
const FAILURE: i32 = 10;
const MOST_BY_FAILURES: i32 = 60;
const LOCKED: i32 = 70;
const REUSE: i32 = 90;

/// A score with the rules that gave it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Risk {
    pub(super) score: i32,
    pub(super) reasons: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    NewDevice,
    NewNetwork,
    NewCountry,
    ImpossibleTravel,
    FailuresBefore,
    DespiteLock,
    RecoveryCode,
}

impl Rule {
    const fn name(self) -> &'static str {
        match self {
            Self::NewDevice => "new_device",
            Self::NewNetwork => "new_network",
            Self::NewCountry => "new_country",
            Self::ImpossibleTravel => "impossible_travel",
            Self::FailuresBefore => "failures_before",
            Self::DespiteLock => "despite_lock",
            Self::RecoveryCode => "recovery_code",
        }
    }

    const fn points(self) -> i32 {
        match self {
            Self::NewDevice => 15,
            Self::NewNetwork => 10,
            Self::NewCountry => 25,
            Self::ImpossibleTravel => 40,
            Self::FailuresBefore | Self::DespiteLock | Self::RecoveryCode => 30,
        }
    }
}

impl Risk {
    fn of(rules: &[(Rule, bool)]) -> Self {
        let broken = rules.iter().filter(|(_, applies)| *applies);
        broken.fold(Self::default(), |mut risk, (rule, _)| {
            risk.score = risk.score.saturating_add(rule.points()).min(100);
            risk.reasons.push(rule.name().to_owned());
            risk
        })
    }

    /// Of a sign-in that is about to be recorded.
    pub(super) fn of_sign_in(user: &User, login: &UserLoggedIn, now: Timestamp) -> Self {
        let place = Place {
            network: login.ip_network.clone(),
            country_code: login.country_code.clone(),
        };
        let has_signed_in = user.devices.iter().any(|device| device.has_signed_in);
        let signed_in_before = user.last_seen.is_some() || has_signed_in;
        let is = |kind| login.factor.as_ref().is_some_and(|factor| factor.kind == kind);
        Self::of(&[
            (Rule::NewDevice, signed_in_before && login.is_new_device),
            (Rule::NewNetwork, is_new_network(user, &place)),
            (Rule::NewCountry, is_new_country(user, &place)),
            (Rule::ImpossibleTravel, travels(user, &place, now)),
            (Rule::FailuresBefore, failures_before(user, login) >= BURST),
            (Rule::DespiteLock, login.despite_lock),
            (Rule::RecoveryCode, is(FactorKind::RecoveryCode)),
        ])
    }

    /// Of a refresh from this place.
    pub(super) fn of_refresh(user: &User, place: &Place, now: Timestamp) -> Self {
        Self::of(&[
            (Rule::NewNetwork, is_new_network(user, place)),
            (Rule::NewCountry, is_new_country(user, place)),
            (Rule::ImpossibleTravel, travels(user, place, now)),
        ])
    }
}

/// The risk of what happened to a user: as its event tells, or by what it is.
pub fn score_of(event: &UserEvent) -> i32 {
    match event {
        UserEvent::LoggedIn(e) => e.risk_score,
        UserEvent::SessionRefreshed(e) => e.risk_score,
        UserEvent::LoginFailed(e) => e.count.max(1).saturating_mul(FAILURE).min(MOST_BY_FAILURES),
        UserEvent::Locked(e) if e.reason == LockReason::FailedLogins => LOCKED,
        UserEvent::RefreshReuseDetected(_) => REUSE,
        UserEvent::PasskeyCloneSuspected(_) => REUSE,
        UserEvent::Locked(_)
        | UserEvent::Registered(_)
        | UserEvent::ClaimAbandoned(_)
        | UserEvent::ProfileChanged(_)
        | UserEvent::NamesReleased(_)
        | UserEvent::Unlocked(_)
        | UserEvent::EmailVerificationRequested(_)
        | UserEvent::EmailVerified(_)
        | UserEvent::PhoneVerificationRequested(_)
        | UserEvent::PhoneVerificationFailed(_)
        | UserEvent::PhoneVerified(_)
        | UserEvent::PasswordResetRequested(_)
        | UserEvent::PasswordChanged(_)
        | UserEvent::PasswordRehashed(_)
        | UserEvent::SessionRevoked(_)
        | UserEvent::SessionsRevoked(_)
        | UserEvent::RoleGranted(_)
        | UserEvent::RoleRevoked(_)
        | UserEvent::RoleGrantExpired(_)
        | UserEvent::Deactivated(_)
        | UserEvent::Reactivated(_)
        | UserEvent::TotpEnrolmentStarted(_)
        | UserEvent::TotpEnabled(_)
        | UserEvent::TotpDisabled(_)
        | UserEvent::RecoveryCodesReplaced(_)
        | UserEvent::SessionSteppedUp(_)
        | UserEvent::PasskeyAdded(_)
        | UserEvent::ServiceAccountCreated(_)
        | UserEvent::ServiceKeyIssued(_)
        | UserEvent::ServiceKeyRevoked(_)
        | UserEvent::PasskeyRemoved(_)
        | UserEvent::PasskeyCounted(_)
        | UserEvent::Erased(_)
        | UserEvent::ErasureCompleted(_) => 0,
    }
}

/// Where the user's devices were seen last, and where the user was of all.
fn known_places(user: &User) -> impl Iterator<Item = &Place> {
    let devices = user.devices.iter().map(|device| &device.place);
    devices.chain(user.last_seen.as_ref().map(|seen| &seen.place))
}

/// Nothing is new to a user of whom nothing is known.
fn is_new<'a>(now: Option<&'a String>, mut known: impl Iterator<Item = &'a String>) -> bool {
    let (Some(now), Some(first)) = (now, known.next()) else {
        return false;
    };
    first != now && known.all(|other| other != now)
}

fn is_new_network(user: &User, place: &Place) -> bool {
    let known = known_places(user).filter_map(|known| known.network.as_ref());
    is_new(place.network.as_ref(), known)
}

fn is_new_country(user: &User, place: &Place) -> bool {
    let known = known_places(user).filter_map(|known| known.country_code.as_ref());
    is_new(place.country_code.as_ref(), known)
}

fn travels(user: &User, place: &Place, now: Timestamp) -> bool {
    let (Some(seen), Some(here)) = (&user.last_seen, &place.country_code) else {
        return false;
    };
    let elsewhere = seen
        .place
        .country_code
        .as_ref()
        .is_some_and(|there| there != here);
    elsewhere && now < seen.at.plus(TRAVEL)
}

/// Since the last sign-in, those of this device among them.
fn failures_before(user: &User, login: &UserLoggedIn) -> i64 {
    let unwritten = user
        .unwritten
        .failures()
        .map_or(0, |failed| i64::from(failed.count));
    let by_device = user.device(login.device_id).map_or(0, |device| device.failures);
    let written = user.failed_logins.saturating_add(by_device);
    written.saturating_add(unwritten)
}

#[cfg(test)]
mod tests {
    use schemas::user::{LoginFailed, RefreshReuseDetected, UserLocked};

    use super::*;
    use crate::testing::{
        Given, device, given, login, login_failure, minutes, refreshed, registered, session, shown_code,
        totp_enabled, totp_started,
    };
    use crate::user::{LogIn, MAX_SESSIONS, RecordLoginFailure, Refresh};

    fn sign_in(number: u128, from: u128, network: &str, country: &str) -> LogIn {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        LogIn {
            login: UserLoggedIn {
                device_id: device(from),
                ip_network: some(network),
                country_code: some(country),
                ..login(session(number), minutes(600))
            },
            credentials: 1,
            max_sessions: MAX_SESSIONS,
            signature_counter: None,
        }
    }

    fn texts(reasons: &[String]) -> Vec<&str> {
        reasons.iter().map(String::as_str).collect()
    }

    fn risk(events: &[UserEvent]) -> (i32, Vec<&str>) {
        match events.last() {
            Some(UserEvent::LoggedIn(e)) => (e.risk_score, texts(&e.risk_reasons)),
            Some(UserEvent::SessionRefreshed(e)) => (e.risk_score, texts(&e.risk_reasons)),
            other => panic!("{other:?}"),
        }
    }

    /// Signed in once, in Germany.
    fn settled() -> Given<User> {
        given([registered()]).and(sign_in(1, 1, "192.0.0.0/16", "DE"))
    }

    #[test]
    fn a_first_sign_in_has_nothing_to_differ_from() {
        let first = given::<User>([registered()]).decided(sign_in(1, 1, "192.0.0.0/16", "DE"));
        assert_eq!(risk(&first), (0, vec![]));
    }

    #[test]
    fn the_same_device_and_place_again_are_no_risk() {
        let again = settled().decided(sign_in(2, 1, "192.0.0.0/16", "DE"));
        assert_eq!(risk(&again), (0, vec![]));
    }

    #[test]
    fn each_thing_that_is_new_counts() {
        let decided = |from, network, country| {
            settled()
                .at(minutes(600))
                .decided(sign_in(2, from, network, country))
        };
        let device = decided(2, "192.0.0.0/16", "DE");
        assert_eq!(risk(&device), (15, vec!["new_device"]));
        let network = decided(1, "203.0.0.0/16", "DE");
        assert_eq!(risk(&network), (10, vec!["new_network"]));
        let all = decided(2, "203.0.0.0/16", "NO");
        assert_eq!(risk(&all), (50, vec!["new_device", "new_network", "new_country"]));
        assert!(risk(&all).0 >= SUSPICIOUS_FROM);
    }

    #[test]
    fn what_is_not_told_is_not_new() {
        let silent = settled().decided(sign_in(2, 1, "", ""));
        assert_eq!(risk(&silent), (0, vec![]));
    }

    #[test]
    fn a_place_stays_known_while_its_device_does() {
        let moved = settled()
            .at(minutes(600))
            .and(sign_in(2, 2, "203.0.0.0/16", "NO"));
        let back = moved
            .at(minutes(1_200))
            .decided(sign_in(3, 1, "192.0.0.0/16", "DE"));
        assert_eq!(risk(&back), (0, vec![]));
    }

    #[test]
    fn another_country_within_the_hour_is_impossible_travel() {
        let after = |minute| {
            settled()
                .at(minutes(minute))
                .decided(sign_in(2, 1, "192.0.0.0/16", "NO"))
        };
        assert_eq!(risk(&after(59)), (65, vec!["new_country", "impossible_travel"]));
        assert_eq!(risk(&after(60)), (25, vec!["new_country"]));
    }

    #[test]
    fn a_burst_of_failures_before_a_success_counts_and_two_do_not() {
        let failure = |count| RecordLoginFailure {
            failure: login_failure(count),
            credentials: 1,
            device: None,
        };
        let after = |count| {
            settled()
                .and(failure(count))
                .decided(sign_in(2, 1, "192.0.0.0/16", "DE"))
        };
        assert_eq!(risk(&after(2)), (0, vec![]));
        assert_eq!(risk(&after(3)), (30, vec!["failures_before"]));
    }

    #[test]
    fn signing_in_despite_a_lock_and_by_a_recovery_code_counts() {
        let failure = RecordLoginFailure {
            failure: login_failure(5),
            credentials: 1,
            device: None,
        };
        let locked = settled().and(failure);
        let despite = locked.decided(sign_in(2, 1, "192.0.0.0/16", "DE"));
        assert_eq!(risk(&despite), (60, vec!["failures_before", "despite_lock"]));
        let mut recovering = sign_in(2, 1, "192.0.0.0/16", "DE");
        recovering.login.factor = Some(shown_code("first code").factor);
        recovering.credentials = 2;
        let recovered = settled()
            .after([totp_started(), totp_enabled()])
            .decided(recovering);
        assert_eq!(risk(&recovered), (30, vec!["recovery_code"]));
    }

    #[test]
    fn a_score_never_exceeds_a_hundred() {
        let all = [
            Rule::NewDevice,
            Rule::NewNetwork,
            Rule::NewCountry,
            Rule::ImpossibleTravel,
            Rule::FailuresBefore,
            Rule::DespiteLock,
            Rule::RecoveryCode,
        ];
        let risk = Risk::of(&all.map(|rule| (rule, true)));
        assert_eq!((risk.score, risk.reasons.len()), (100, all.len()));
    }

    #[test]
    fn a_refresh_from_elsewhere_is_judged_too() {
        let refresh = |network: &str, country: &str| Refresh {
            ip_network: Some(network.to_owned()),
            country_code: Some(country.to_owned()),
            ..refresh_of(1)
        };
        let same = settled().decided(refresh("192.0.0.0/16", "DE"));
        assert_eq!(risk(&same), (0, vec![]));
        let moved = settled().decided(refresh("203.0.0.0/16", "NO"));
        let reasons = vec!["new_network", "new_country", "impossible_travel"];
        assert_eq!(risk(&moved), (75, reasons));
    }

    fn refresh_of(number: u128) -> Refresh {
        let next = refreshed(session(number), 2, minutes(0));
        Refresh {
            session_id: next.session_id,
            presented_generation: 1,
            presented_hash: crate::testing::digest("token 1"),
            nonce: next.nonce,
            refresh_token_hash: next.refresh_token_hash,
            ip_network: None,
            ip_address: None,
            user_agent: None,
            country_code: None,
            city: None,
        }
    }

    #[test]
    fn what_has_no_score_of_its_own_has_one_by_what_it_is() {
        let failed = |count| {
            score_of(&UserEvent::LoginFailed(LoginFailed {
                count,
                ..login_failure(1)
            }))
        };
        assert_eq!([-1, 1, 4, 5, 1_000].map(failed), [10, 10, 40, 50, 60]);
        let locked = |reason| {
            let locked_until = minutes(1);
            score_of(&UserEvent::Locked(UserLocked { reason, locked_until }))
        };
        assert_eq!(locked(LockReason::FailedLogins), 70);
        assert_eq!(locked(LockReason::Administrator), 0);
        let reuse = UserEvent::RefreshReuseDetected(RefreshReuseDetected {
            session_id: session(1),
            presented_generation: 1,
            current_generation: 3,
        });
        assert_eq!(score_of(&reuse), 90);
        assert_eq!(score_of(&registered()), 0);
    }
}
