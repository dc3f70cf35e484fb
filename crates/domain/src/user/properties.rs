//! What holds for every history that decisions can make.

use std::sync::Arc;

use access::{Grant, Standing, UserAccess};
use proptest::prelude::*;
use schemas::user::{RevokeReason, SessionRefreshed, UserLoggedIn};
use schemas::{GrantScope, Timestamp};

use super::*;
use crate::rights::change_by;
use crate::testing::{
    claim, device, digest, login, login_failure, minutes, registered, registration, role, scope, sealed,
    session,
};

fn refresh(number: u128, generation: i32, hash_of: i32) -> UserCommand {
    UserCommand::Refresh(Refresh {
        session_id: session(number),
        presented_generation: generation,
        presented_hash: digest(&format!("token {hash_of}")),
        nonce: sealed("nonce"),
        refresh_token_hash: digest(&format!("token {}", hash_of + 1)),
        ip_network: None,
        ip_address: None,
        user_agent: None,
        country_code: None,
        city: None,
    })
}

/// Ids and times from a small range, so that commands meet each other.
fn any_command() -> impl Strategy<Value = UserCommand> {
    let expiry = prop_oneof![Just(None), (0..300_i64).prop_map(|at| Some(minutes(at)))];
    let registered = Register {
        registration: registration(),
    };
    prop_oneof![
        2 => Just(UserCommand::Register(Box::new(registered))),
        1 => (1..4_u128)
            .prop_map(|n| UserCommand::AbandonClaim(AbandonClaim { claim_id: claim(n) })),
        40 => (0..400_u128, 0..300_i64, 1..3_i64).prop_map(|(n, until, credentials)| {
            let login = UserLoggedIn {
                device_id: device(n % 5),
                country_code: Some(if n % 3 == 0 { "NO" } else { "DE" }.to_owned()),
                idle_timeout: (n % 2 == 0).then_some(30 * 60_000_000),
                ..login(session(n), minutes(until))
            };
            UserCommand::LogIn(Box::new(LogIn { login, credentials, signature_counter: None, max_sessions: MAX_SESSIONS }))
        }),
        2 => (-1..3_i32).prop_map(|count| {
            let failure = login_failure(count);
            UserCommand::RecordLoginFailure(RecordLoginFailure { failure, credentials: 1, device: None })
        }),
        4 => (0..400_u128, 0..4_i32, 0..4_i32).prop_map(|(n, g, h)| refresh(n, g, h)),
        2 => (0..400_u128).prop_map(|n| UserCommand::RevokeSession(RevokeSession {
            session_id: session(n),
            reason: RevokeReason::Logout,
        })),
        1 => (0..400_u128).prop_map(|n| UserCommand::RevokeSessions(RevokeSessions {
            except: Some(session(n)),
            reason: RevokeReason::UserRequest,
        })),
        1 => (1..3_i64).prop_map(|credentials| UserCommand::ChangePassword(ChangePassword {
            password_hash: sealed("hash"),
            credentials,
            keep: None,
        })),
        8 => (0..20_u128, expiry, any_scope()).prop_map(|(n, expires_at, scope)| {
            UserCommand::GrantRole(GrantRole { role_id: role(n), scope, expires_at, approval_id: None, only_held: false, })
        }),
        4 => (0..20_u128, any_scope())
            .prop_map(|(n, scope)| UserCommand::RevokeRole(RevokeRole { role_id: role(n), scope })),
        6 => (0..20_u128, 0..300_i64, any_scope()).prop_map(|(n, at, scope)| {
            UserCommand::ExpireGrant(ExpireGrant { role_id: role(n), scope, expires_at: minutes(at) })
        }),
        1 => Just(UserCommand::Deactivate(Deactivate {})),
        2 => Just(UserCommand::Reactivate(Reactivate {})),
    ]
}

fn any_scope() -> impl Strategy<Value = Option<GrantScope>> {
    prop::option::of((0..2_u8).prop_map(|id| scope(&id.to_string(), id == 0)))
}

fn access_of(user: &User) -> UserAccess {
    let standing = match user.status() {
        Status::Unregistered => Standing::Unregistered,
        Status::Active => Standing::Active,
        Status::Deactivated | Status::Erased => Standing::Inactive,
    };
    let grants = user
        .grants
        .iter()
        .map(|(key, terms)| Grant::new(key.role_id, terms.expires_at, key.scope.clone().map(Arc::new)));
    UserAccess::new(standing, grants)
}

fn follow(access: &mut UserAccess, event: &UserEvent, at: Timestamp) {
    if let Some(change) = change_by(event) {
        access.apply(&change, at);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// And what the nodes keep in memory never differs from what the owner decides on.
    #[test]
    fn every_history_folds_into_a_bounded_user(
        signed_in in prop::collection::vec(0..300_i64, 0..MAX_SESSIONS),
        commands in prop::collection::vec((any_command(), 0..2_i64), 0..400),
    ) {
        let (mut user, mut access) = (User::default(), UserAccess::default());
        let logins = (1_000..).zip(signed_in).map(|(n, at)| login(session(n), minutes(at)));
        for event in [registered()].into_iter().chain(logins.map(UserEvent::LoggedIn)) {
            user.apply(&event);
            follow(&mut access, &event, minutes(0));
        }
        let mut minute = 0;
        for (command, passed) in commands {
            minute += passed;
            let now = minutes(minute);
            for event in command.decide(&user, &Context { now }).unwrap_or_default() {
                if let UserEvent::LoggedIn(UserLoggedIn { risk_score, risk_reasons, .. })
                | UserEvent::SessionRefreshed(SessionRefreshed { risk_score, risk_reasons, .. }) = &event {
                    prop_assert!((0..=100).contains(risk_score));
                    prop_assert_eq!(*risk_score == 0, risk_reasons.is_empty());
                }
                user.apply(&event);
                follow(&mut access, &event, now);
            }
            prop_assert!(user.sessions.len() <= MAX_SESSIONS);
        }
        prop_assert!(user.grants.len() <= MAX_GRANTS);
        prop_assert_eq!(access, access_of(&user));
        let snapshot = serde_json::to_string(&user).unwrap();
        prop_assert_eq!(serde_json::from_str::<User>(&snapshot).unwrap(), user);
    }
}
