//! `user_sessions`: one row a session, kept after its end.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use read_model::session_token;
use schemas::SessionId;
use schemas::user::{
    MULTIPLE_FACTORS, ONE_TIME_PASSWORD, RevokeReason, SessionRefreshed, UserEvent, UserLoggedIn,
};
use sqlx::PgConnection;
use sqlx::types::ipnetwork::IpNetwork;
use uuid::Uuid;

use super::{At, Place, RowError, all_changed, network, text, utc};

#[derive(Default)]
pub(super) struct Sessions(BTreeMap<Uuid, Row>);

#[derive(Default)]
struct Row {
    new: Option<New>,
    change: Change,
}

struct New {
    user_id: Uuid,
    session_token: String,
    device_id: Uuid,
    device_fingerprint: Option<String>,
    /// By spaces.
    methods: String,
    created_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    /// Microseconds.
    idle_timeout: Option<i64>,
}

/// `None` leaves a column as it is.
#[derive(Default)]
struct Change {
    refresh_token_hash: Option<String>,
    last_activity_at: Option<DateTime<Utc>>,
    network: Option<IpNetwork>,
    address: Option<String>,
    user_agent: Option<String>,
    country_code: Option<String>,
    city: Option<String>,
    /// Methods to be added.
    assured: Vec<String>,
    revoked: Option<(DateTime<Utc>, &'static str)>,
}

impl Sessions {
    pub fn fold(&mut self, at: &At<'_>, event: &UserEvent) -> Result<(), RowError> {
        match event {
            UserEvent::LoggedIn(e) => self.row(e.session_id).open(at, e)?,
            UserEvent::SessionRefreshed(e) => self.row(e.session_id).change.refresh(at, e)?,
            UserEvent::TotpEnabled(e) => self.assure(e.session_id, &[ONE_TIME_PASSWORD, MULTIPLE_FACTORS]),
            UserEvent::SessionSteppedUp(e) => self.assure(e.session_id, &e.methods),
            UserEvent::PasskeyAdded(e) => self.assure(e.session_id, &e.methods()),
            UserEvent::PasswordChanged(e) => self.revoke(at, &e.revoked_sessions, "password_changed"),
            UserEvent::RefreshReuseDetected(e) => self.revoke(at, &[e.session_id], "refresh_reuse"),
            UserEvent::SessionRevoked(e) => self.revoke(at, &[e.session_id], reason(e.reason)),
            UserEvent::SessionsRevoked(e) => self.revoke(at, &e.session_ids, reason(e.reason)),
            UserEvent::Deactivated(e) => self.revoke(at, &e.revoked_sessions, "deactivated"),
            UserEvent::Erased(e) => self.revoke(at, &e.revoked_sessions, "erased"),
            // A lock bars new sign-ins; what is signed in stays so.
            UserEvent::Locked(_)
            | UserEvent::Registered(_)
            | UserEvent::ClaimAbandoned(_)
            | UserEvent::ProfileChanged(_)
            | UserEvent::NamesReleased(_)
            | UserEvent::Unlocked(_)
            | UserEvent::ErasureCompleted(_)
            | UserEvent::EmailVerificationRequested(_)
            | UserEvent::EmailVerified(_)
            | UserEvent::PhoneVerificationRequested(_)
            | UserEvent::PhoneVerificationFailed(_)
            | UserEvent::PhoneVerified(_)
            | UserEvent::PasswordResetRequested(_)
            | UserEvent::LoginFailed(_)
            | UserEvent::PasswordRehashed(_)
            | UserEvent::RoleGranted(_)
            | UserEvent::RoleRevoked(_)
            | UserEvent::ServiceAccountCreated(_)
            | UserEvent::ServiceKeyIssued(_)
            | UserEvent::ServiceKeyRevoked(_)
            | UserEvent::Reactivated(_)
            | UserEvent::TotpEnrolmentStarted(_)
            | UserEvent::TotpDisabled(_)
            | UserEvent::RecoveryCodesReplaced(_)
            | UserEvent::PasskeyRemoved(_)
            | UserEvent::PasskeyCounted(_)
            | UserEvent::PasskeyCloneSuspected(_)
            | UserEvent::RoleGrantExpired(_) => {}
        }
        Ok(())
    }

    fn row(&mut self, id: SessionId) -> &mut Row {
        self.0.entry(id.as_uuid()).or_default()
    }

    /// A factor was shown in the session: its methods come to those that it began with.
    fn assure(&mut self, id: SessionId, methods: &[impl AsRef<str>]) {
        let known = &mut self.row(id).change.assured;
        for method in methods.iter().map(AsRef::as_ref) {
            if !known.iter().any(|it| it == method) {
                known.push(method.to_owned());
            }
        }
    }

    fn revoke(&mut self, at: &At<'_>, ids: &[SessionId], reason: &'static str) {
        for id in ids {
            self.row(*id).change.revoked = Some((at.time(), reason));
        }
    }

    pub async fn write(&self, tx: &mut PgConnection, place: &Place) -> Result<(), RowError> {
        let changed: Vec<_> = self.0.iter().filter(|(_, row)| row.new.is_none()).collect();
        if !changed.is_empty() {
            update(tx, &changed).await?;
        }
        if changed.len() < self.0.len() {
            let new = self
                .0
                .iter()
                .filter_map(|(id, row)| Some((*id, row.new.as_ref()?, &row.change)));
            insert(tx, place, &new.collect::<Vec<_>>()).await?;
        }
        Ok(())
    }
}

impl New {
    fn methods_with(&self, assured: &[String]) -> String {
        let known: Vec<&str> = self.methods.split(' ').collect();
        let further = assured
            .iter()
            .map(String::as_str)
            .filter(|it| !known.contains(it));
        known.iter().copied().chain(further).collect::<Vec<_>>().join(" ")
    }
}

impl Row {
    fn open(&mut self, at: &At<'_>, event: &UserLoggedIn) -> Result<(), RowError> {
        self.new = Some(New {
            user_id: at.user()?,
            session_token: session_token(event.session_id),
            device_id: event.device_id.as_uuid(),
            device_fingerprint: text(event.device_fingerprint.as_ref()),
            methods: event.methods.join(" "),
            created_at: at.time(),
            expires_at: utc(event.expires_at),
            idle_timeout: event.idle_timeout,
        });
        self.change.refresh_token_hash = Some(event.refresh_token_hash.to_hex());
        self.change.last_activity_at = Some(at.time());
        self.change.network = network(event.ip_network.as_ref())?;
        self.change.address = text(event.ip_address.as_ref());
        self.change.user_agent = text(event.user_agent.as_ref());
        self.change.country_code = event.country_code.clone();
        self.change.city = text(event.city.as_ref());
        Ok(())
    }
}

impl Change {
    /// What the refresh does not tell stays as the sign-in told it.
    fn refresh(&mut self, at: &At<'_>, event: &SessionRefreshed) -> Result<(), RowError> {
        self.refresh_token_hash = Some(event.refresh_token_hash.to_hex());
        self.last_activity_at = Some(at.time());
        self.network = network(event.ip_network.as_ref())?.or(self.network);
        self.address = text(event.ip_address.as_ref()).or(self.address.take());
        self.user_agent = text(event.user_agent.as_ref()).or(self.user_agent.take());
        if event.country_code.is_some() {
            self.country_code.clone_from(&event.country_code);
        }
        self.city = text(event.city.as_ref()).or(self.city.take());
        Ok(())
    }
}

fn reason(reason: RevokeReason) -> &'static str {
    match reason {
        RevokeReason::Other => "other",
        RevokeReason::Logout => "logout",
        RevokeReason::UserRequest => "user_request",
        RevokeReason::Administrator => "administrator",
    }
}

async fn insert(
    tx: &mut PgConnection,
    place: &Place,
    rows: &[(Uuid, &New, &Change)],
) -> Result<(), RowError> {
    let new = || rows.iter().map(|(_, new, _)| new);
    let now = || rows.iter().map(|(_, _, change)| change);
    sqlx::query(
        "INSERT INTO user_sessions (id, user_id, ledger, shard_id, session_token, refresh_token_hash, ip_address,
             ip_address_sealed, user_agent, device_fingerprint, country_code, city, created_at, expires_at,
             last_activity_at, is_active, revoked_at, revoked_reason, device_id, methods, idle_timeout)
         SELECT id, user_id, $1, $2, token, refresh_hash, ip, ip_sealed, agent, fingerprint, country, city, created_at,
             expires_at, active_at, revoked_at IS NULL, revoked_at, reason, device, string_to_array(methods, ' '),
             idle * interval '1 microsecond'
         FROM unnest($3::uuid[], $4::uuid[], $5::text[], $6::text[], $7::inet[], $8::text[], $9::text[], $10::text[],
             $11::text[], $12::text[], $13::timestamptz[], $14::timestamptz[], $15::timestamptz[], $16::timestamptz[],
             $17::text[], $18::uuid[], $19::text[], $20::int8[])
             AS n (id, user_id, token, refresh_hash, ip, ip_sealed, agent, fingerprint, country, city, created_at,
             expires_at, active_at, revoked_at, reason, device, methods, idle)",
    )
    .bind(place.ledger)
    .bind(place.shard_id)
    .bind(rows.iter().map(|(id, _, _)| *id).collect::<Vec<_>>())
    .bind(new().map(|it| it.user_id).collect::<Vec<_>>())
    .bind(new().map(|it| it.session_token.as_str()).collect::<Vec<_>>())
    .bind(now().map(|it| it.refresh_token_hash.as_deref()).collect::<Vec<_>>())
    .bind(now().map(|it| it.network).collect::<Vec<_>>())
    .bind(now().map(|it| it.address.as_deref()).collect::<Vec<_>>())
    .bind(now().map(|it| it.user_agent.as_deref()).collect::<Vec<_>>())
    .bind(new().map(|it| it.device_fingerprint.as_deref()).collect::<Vec<_>>())
    .bind(now().map(|it| it.country_code.as_deref()).collect::<Vec<_>>())
    .bind(now().map(|it| it.city.as_deref()).collect::<Vec<_>>())
    .bind(new().map(|it| it.created_at).collect::<Vec<_>>())
    .bind(new().map(|it| it.expires_at).collect::<Vec<_>>())
    .bind(now().map(|it| it.last_activity_at).collect::<Vec<_>>())
    .bind(now().map(|it| it.revoked.map(|(at, _)| at)).collect::<Vec<_>>())
    .bind(now().map(|it| it.revoked.map(|(_, reason)| reason)).collect::<Vec<_>>())
    .bind(new().map(|it| it.device_id).collect::<Vec<_>>())
    .bind(rows.iter().map(|(_, new, change)| new.methods_with(&change.assured)).collect::<Vec<_>>())
    .bind(new().map(|it| it.idle_timeout).collect::<Vec<_>>())
    .execute(tx)
    .await?;
    Ok(())
}

async fn update(tx: &mut PgConnection, rows: &[(&Uuid, &Row)]) -> Result<(), RowError> {
    let each = || rows.iter().map(|(_, row)| &row.change);
    let done = sqlx::query(
        "UPDATE user_sessions SET
             refresh_token_hash = coalesce(c.refresh_hash, user_sessions.refresh_token_hash),
             last_activity_at = coalesce(c.active_at, user_sessions.last_activity_at),
             ip_address = coalesce(c.ip, user_sessions.ip_address),
             ip_address_sealed = coalesce(c.ip_sealed, user_sessions.ip_address_sealed),
             user_agent = coalesce(c.agent, user_sessions.user_agent),
             country_code = coalesce(c.country, user_sessions.country_code),
             city = coalesce(c.city, user_sessions.city),
             methods = user_sessions.methods || ARRAY(
                 SELECT a.method FROM unnest(string_to_array(c.assured, ' ')) WITH ORDINALITY AS a (method, number)
                 WHERE a.method <> ALL (user_sessions.methods) ORDER BY a.number),
             is_active = user_sessions.is_active AND c.revoked_at IS NULL,
             revoked_at = coalesce(c.revoked_at, user_sessions.revoked_at),
             revoked_reason = coalesce(c.reason, user_sessions.revoked_reason)
         FROM unnest($1::uuid[], $2::text[], $3::timestamptz[], $4::inet[], $5::text[], $6::text[], $7::timestamptz[],
             $8::text[], $9::text[], $10::text[], $11::text[])
             AS c (id, refresh_hash, active_at, ip, ip_sealed, agent, revoked_at, reason, country, city, assured)
         WHERE user_sessions.id = c.id",
    )
    .bind(rows.iter().map(|(id, _)| **id).collect::<Vec<_>>())
    .bind(each().map(|it| it.refresh_token_hash.as_deref()).collect::<Vec<_>>())
    .bind(each().map(|it| it.last_activity_at).collect::<Vec<_>>())
    .bind(each().map(|it| it.network).collect::<Vec<_>>())
    .bind(each().map(|it| it.address.as_deref()).collect::<Vec<_>>())
    .bind(each().map(|it| it.user_agent.as_deref()).collect::<Vec<_>>())
    .bind(each().map(|it| it.revoked.map(|(at, _)| at)).collect::<Vec<_>>())
    .bind(each().map(|it| it.revoked.map(|(_, reason)| reason)).collect::<Vec<_>>())
    .bind(each().map(|it| it.country_code.as_deref()).collect::<Vec<_>>())
    .bind(each().map(|it| it.city.as_deref()).collect::<Vec<_>>())
    .bind(each().map(|it| it.assured.join(" ")).collect::<Vec<_>>())
    .execute(tx)
    .await?;
    all_changed("user_sessions", rows.len(), done.rows_affected())
}
