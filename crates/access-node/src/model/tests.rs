use proptest::prelude::*;
use schemas::user::{
    PasswordChangeCause, PasswordChanged, RevokeReason, RoleGranted, RoleRevoked, SessionRefreshed,
    SessionRevoked, UserDeactivated, UserLoggedIn, UserReactivated,
};
use schemas::{
    Actor, DeviceId, EventId, RequestId, RoleId, Sealed, SessionId, Sha256Digest, Timestamp, UserId,
};
use uuid::Uuid;

use super::*;

const USERS: u128 = 3;
const SESSIONS: u128 = 4;

fn user(number: u128) -> UserId {
    UserId::from_uuid(Uuid::from_u128(number))
}

fn session(number: u128) -> SessionId {
    SessionId::from_uuid(Uuid::from_u128(100 + number))
}

fn logged_in(number: u128) -> UserEvent {
    let login = UserLoggedIn::by_password(
        session(number),
        DeviceId::from_uuid(Uuid::nil()),
        Sealed::from_bytes(&[]),
        Sha256Digest([0; 32]),
        Timestamp::from_micros(1_000_000),
    );
    UserEvent::LoggedIn(UserLoggedIn {
        authenticated_at: Some(Timestamp::from_micros(0)),
        idle_timeout: Some(500),
        ..login
    })
}

fn refreshed(number: u128, micros: i64) -> UserEvent {
    UserEvent::SessionRefreshed(SessionRefreshed {
        session_id: session(number),
        generation: 2,
        nonce: Sealed::from_bytes(&[]),
        refresh_token_hash: Sha256Digest([0; 32]),
        refreshed_at: Timestamp::from_micros(micros),
        ip_network: None,
        ip_address: None,
        user_agent: None,
        country_code: None,
        city: None,
        risk_score: 0,
        risk_reasons: vec![],
    })
}

fn any_event() -> impl Strategy<Value = UserEvent> {
    let role = (0..3_u128).prop_map(|number| RoleId::from_uuid(Uuid::from_u128(200 + number)));
    let number = 0..SESSIONS;
    let expiry = prop::option::of((0..9_i64).prop_map(Timestamp::from_micros));
    prop_oneof![
        (role.clone(), expiry).prop_map(|(role_id, expires_at)| UserEvent::RoleGranted(RoleGranted {
            expires_at,
            ..RoleGranted::of(role_id)
        })),
        role.prop_map(|role_id| UserEvent::RoleRevoked(RoleRevoked::of(role_id))),
        number.clone().prop_map(logged_in),
        (number.clone(), 0..99_i64).prop_map(|(number, micros)| refreshed(number, micros)),
        number
            .clone()
            .prop_map(|number| UserEvent::SessionRevoked(SessionRevoked {
                session_id: session(number),
                reason: RevokeReason::Logout,
            })),
        prop::collection::vec(number.clone(), 0..3).prop_map(|ended| {
            UserEvent::PasswordChanged(PasswordChanged {
                password_hash: Sealed::from_bytes(&[]),
                revoked_sessions: ended.into_iter().map(session).collect(),
                cause: PasswordChangeCause::Change,
                known_device: None,
            })
        }),
        prop::collection::vec(number, 0..3).prop_map(|ended| {
            UserEvent::Deactivated(UserDeactivated {
                revoked_sessions: ended.into_iter().map(session).collect(),
            })
        }),
        Just(UserEvent::Reactivated(UserReactivated {})),
    ]
}

/// Who does what, each a microsecond after the one before.
fn any_history() -> impl Strategy<Value = Vec<(UserId, UserEvent)>> {
    prop::collection::vec(((0..USERS).prop_map(user), any_event()), 0..40)
}

fn apply(model: &Model, history: &[(UserId, UserEvent)], range: std::ops::Range<usize>) {
    for index in range {
        let (user, event) = &history[index];
        let occurred_at = Timestamp::from_micros(i64::try_from(index).unwrap());
        model.apply_user(0, &meta(*user, occurred_at), event);
    }
}

fn meta(user: UserId, occurred_at: Timestamp) -> Meta {
    Meta {
        event_id: EventId::new_v7(),
        aggregate_id: user.to_string(),
        sequence: 1,
        occurred_at,
        actor: Actor::System,
        request_id: RequestId::new_v7(),
        causation_id: None,
        idempotency: None,
        chain_seq: 0,
        prev_hash: Sha256Digest([0; 32]),
        basis: Vec::new(),
    }
}

fn sorted(mut rows: Rows) -> Rows {
    rows.users.sort_by_key(|(id, _)| *id);
    rows.sessions.sort_by_key(|(id, _)| *id);
    rows
}

proptest! {
    /// The rows of a snapshot are copied one after the other while events come: each may be of a moment of its own.
    #[test]
    fn rows_of_different_moments_become_those_of_one(
        history in any_history(),
        from in 0..40_usize,
        moments in prop::collection::vec(0..40_usize, usize::try_from(USERS + SESSIONS).unwrap()),
    ) {
        let (all, from) = (history.len(), from.min(history.len()));
        let whole = Model::new(1);
        apply(&whole, &history, 0..all);

        let mut rows = Rows::default();
        let users = (0..USERS).map(|number| (Some(user(number)), None));
        let sessions = (0..SESSIONS).map(|number| (None, Some(session(number))));
        for ((user, session), moment) in users.chain(sessions).zip(moments) {
            let at_moment = Model::new(1);
            apply(&at_moment, &history, 0..(from + moment).min(all));
            at_moment.copy_users(user.as_slice(), &mut rows);
            at_moment.copy_sessions(0, session.as_slice(), &mut rows);
        }
        let loaded = Model::new(1);
        let reach = Reach { last_offset: 0, chain: ChainHead::START };
        loaded.restore(0, reach, vec![rows]);
        apply(&loaded, &history, from..all);
        prop_assert_eq!(sorted(loaded.rows(0)), sorted(whole.rows(0)));
    }
}
