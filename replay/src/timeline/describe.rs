//! An event in a few words that hold no personal data.

use schemas::user::UserEvent;
use schemas::{GrantScope, RoleId, SessionId, Timestamp};
use serde::Serialize;

use super::roles::RoleNames;

pub(super) fn describe(event: &UserEvent, roles: &RoleNames) -> String {
    match event {
        UserEvent::Registered(e) => format!("claim {}", e.claim_id),
        UserEvent::ServiceAccountCreated(e) => format!("claim {}", e.claim_id),
        UserEvent::ServiceKeyIssued(e) => {
            let of = |ids: &Vec<RoleId>| {
                ids.iter()
                    .map(|id| role(*id, roles))
                    .collect::<Vec<_>>()
                    .join(", ")
            };
            let scope = e.roles.as_ref().map_or_else(|| "all roles".to_owned(), of);
            format!("key {} for {scope}{}", e.key_id, until(e.expires_at))
        }
        UserEvent::ServiceKeyRevoked(e) => format!("key {}", e.key_id),
        UserEvent::ClaimAbandoned(e) => format!("claim {}", e.claim_id),
        UserEvent::ProfileChanged(e) => match e.claim_id {
            Some(claim) => format!("claim {claim}"),
            None => String::new(),
        },
        UserEvent::NamesReleased(e) => {
            let names = e.names.iter();
            let names: Vec<_> = names
                .map(|it| format!("{} under claim {}", word(&it.kind), it.claim_id))
                .collect();
            names.join(", ")
        }
        UserEvent::LoggedIn(e) => {
            let place = from([e.ip_network.as_deref(), e.country_code.as_deref()]);
            let lock = if e.despite_lock { " despite the lock" } else { "" };
            let (session, until, device) = (e.session_id, e.expires_at, e.device_id);
            let (by, risk) = (e.methods.join("+"), risk(e.risk_score, &e.risk_reasons));
            format!("session {session} until {until} by {by} on device {device}{lock}{place}{risk}")
        }
        UserEvent::LoginFailed(e) => {
            let times = if e.count == 1 {
                String::new()
            } else {
                format!("{} times since {}", e.count, e.first_at)
            };
            let known = e
                .known_devices
                .iter()
                .map(|known| format!(" on device {}", known.device_id));
            let known: String = known.collect();
            format!("{times}{known}{}", from([e.ip_network.as_deref(), None]))
                .trim_start()
                .to_owned()
        }
        UserEvent::Locked(e) => format!("{} until {}", word(&e.reason), e.locked_until),
        UserEvent::Unlocked(_) => String::new(),
        UserEvent::EmailVerificationRequested(e) => format!("token {} until {}", e.token_id, e.expires_at),
        UserEvent::EmailVerified(_) => String::new(),
        UserEvent::PhoneVerificationRequested(e) => format!("code {} until {}", e.code_id, e.expires_at),
        UserEvent::PhoneVerificationFailed(e) => format!("code {}", e.code_id),
        UserEvent::PhoneVerified(e) => format!("code {}", e.code_id),
        UserEvent::PasswordResetRequested(e) => {
            let place = from([e.ip_network.as_deref(), None]);
            format!("token {} until {}{place}", e.token_id, e.expires_at)
        }
        UserEvent::PasswordChanged(e) => format!("{}, {}", word(&e.cause), ended(&e.revoked_sessions)),
        UserEvent::SessionRefreshed(e) => {
            let place = from([e.ip_network.as_deref(), e.country_code.as_deref()]);
            let risk = risk(e.risk_score, &e.risk_reasons);
            format!(
                "session {} generation {}{place}{risk}",
                e.session_id, e.generation
            )
        }
        UserEvent::RefreshReuseDetected(e) => {
            let (old, new) = (e.presented_generation, e.current_generation);
            format!("session {} generation {old} came back after {new}", e.session_id)
        }
        UserEvent::SessionRevoked(e) => format!("session {} by {}", e.session_id, word(&e.reason)),
        UserEvent::SessionsRevoked(e) => format!("{} by {}", ended(&e.session_ids), word(&e.reason)),
        UserEvent::RoleGranted(e) => {
            let approval = e
                .approval_id
                .map(|id| format!(" by approval {id}"))
                .unwrap_or_default();
            let (role, on) = (role(e.role_id, roles), on(e.scope.as_ref()));
            format!("role {role}{on}{}{approval}", until(e.expires_at))
        }
        UserEvent::RoleRevoked(e) => format!("role {}{}", role(e.role_id, roles), on(e.scope.as_ref())),
        UserEvent::RoleGrantExpired(e) => {
            let (role, on) = (role(e.role_id, roles), on(e.scope.as_ref()));
            format!("role {role}{on} expired at {}", e.expires_at)
        }
        UserEvent::Deactivated(e) => ended(&e.revoked_sessions),
        UserEvent::PasswordRehashed(_) | UserEvent::Reactivated(_) => String::new(),
        UserEvent::TotpEnrolmentStarted(e) => format!("to be confirmed until {}", e.expires_at),
        UserEvent::TotpEnabled(e) => {
            let codes = e.recovery_code_hashes.len();
            format!("session {} with {codes} recovery codes", e.session_id)
        }
        UserEvent::TotpDisabled(e) => by(e.by_administrator).to_owned(),
        UserEvent::RecoveryCodesReplaced(e) => format!("{} new codes", e.recovery_code_hashes.len()),
        UserEvent::SessionSteppedUp(e) => format!("session {} by {}", e.session_id, word(&e.factor.kind)),
        UserEvent::PasskeyAdded(e) => format!("passkey {} in session {}", e.credential_id, e.session_id),
        UserEvent::PasskeyRemoved(e) => format!("passkey {} {}", e.credential_id, by(e.by_administrator)),
        UserEvent::PasskeyCounted(e) => format!("passkey {} to {}", e.credential_id, e.signature_counter),
        UserEvent::PasskeyCloneSuspected(e) => {
            let (known, presented) = (e.known_counter, e.presented_counter);
            format!("passkey {} counts {presented} after {known}", e.credential_id)
        }
        UserEvent::Erased(e) => format!("key destroyed, {}", ended(&e.revoked_sessions)),
        UserEvent::ErasureCompleted(_) => "key found nowhere any more".to_owned(),
    }
}

fn on(scope: Option<&GrantScope>) -> String {
    scope.map_or_else(String::new, |scope| format!(" on {scope}"))
}

/// The role an event is about.
pub(super) fn role_of(event: &UserEvent) -> Option<RoleId> {
    match event {
        UserEvent::RoleGranted(e) => Some(e.role_id),
        UserEvent::RoleRevoked(e) => Some(e.role_id),
        UserEvent::RoleGrantExpired(e) => Some(e.role_id),
        UserEvent::Registered(_)
        | UserEvent::ServiceAccountCreated(_)
        | UserEvent::ServiceKeyIssued(_)
        | UserEvent::ServiceKeyRevoked(_)
        | UserEvent::ClaimAbandoned(_)
        | UserEvent::ProfileChanged(_)
        | UserEvent::NamesReleased(_)
        | UserEvent::Unlocked(_)
        | UserEvent::Erased(_)
        | UserEvent::ErasureCompleted(_)
        | UserEvent::EmailVerificationRequested(_)
        | UserEvent::EmailVerified(_)
        | UserEvent::PhoneVerificationRequested(_)
        | UserEvent::PhoneVerificationFailed(_)
        | UserEvent::PhoneVerified(_)
        | UserEvent::PasswordResetRequested(_)
        | UserEvent::LoggedIn(_)
        | UserEvent::LoginFailed(_)
        | UserEvent::Locked(_)
        | UserEvent::PasswordChanged(_)
        | UserEvent::PasswordRehashed(_)
        | UserEvent::SessionRefreshed(_)
        | UserEvent::RefreshReuseDetected(_)
        | UserEvent::SessionRevoked(_)
        | UserEvent::SessionsRevoked(_)
        | UserEvent::Deactivated(_)
        | UserEvent::Reactivated(_)
        | UserEvent::TotpEnrolmentStarted(_)
        | UserEvent::TotpEnabled(_)
        | UserEvent::TotpDisabled(_)
        | UserEvent::RecoveryCodesReplaced(_)
        | UserEvent::SessionSteppedUp(_)
        | UserEvent::PasskeyAdded(_)
        | UserEvent::PasskeyRemoved(_)
        | UserEvent::PasskeyCounted(_)
        | UserEvent::PasskeyCloneSuspected(_) => None,
    }
}

fn role(id: RoleId, roles: &RoleNames) -> String {
    roles
        .get(id)
        .map_or_else(|| id.to_string(), |name| format!("{name} ({id})"))
}

const fn by(administrator: bool) -> &'static str {
    if administrator {
        "by an administrator"
    } else {
        "by its owner"
    }
}

fn until(expires_at: Option<Timestamp>) -> String {
    expires_at.map_or_else(String::new, |at| format!(" until {at}"))
}

fn from(places: [Option<&str>; 2]) -> String {
    let places: Vec<&str> = places.into_iter().flatten().collect();
    if places.is_empty() {
        String::new()
    } else {
        format!(" from {}", places.join(" "))
    }
}

fn risk(score: i32, reasons: &[String]) -> String {
    if score == 0 {
        String::new()
    } else {
        format!(", risk {score} ({})", reasons.join(", "))
    }
}

fn ended(sessions: &[SessionId]) -> String {
    match sessions.len() {
        0 => "no session ended".to_owned(),
        1 => "1 session ended".to_owned(),
        count => format!("{count} sessions ended"),
    }
}

/// The name that the event contract gives a value, such as `failed_logins`.
fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => "?".to_owned(),
    }
}
