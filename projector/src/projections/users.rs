//! `users`: one row a person or service account.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use schemas::user::{
    LoginFailed, ProfileChanged, ServiceAccountCreated, UserEvent, UserLoggedIn, UserRegistered,
};
use schemas::{BlindIndex, Sealed};
use sqlx::PgConnection;
use sqlx::types::ipnetwork::IpNetwork;
use uuid::Uuid;

use super::{At, Place, RowError, all_changed, network, text, utc};

/// Rows by id: every worker locks in the same order, and neighbours share index pages.
#[derive(Default)]
pub(super) struct Users(BTreeMap<Uuid, Row>);

#[derive(Default)]
struct Row {
    registered: Option<New>,
    change: Change,
}

struct New {
    username: Name,
    /// None of a service account.
    email: Option<Name>,
    created_at: DateTime<Utc>,
}

/// Ciphertext and blind index.
#[derive(Default)]
struct Name(String, Vec<u8>);

impl Name {
    fn of(name: &Sealed, index: BlindIndex) -> Self {
        Self(name.to_base64(), index.0.0.to_vec())
    }
}

/// `None` leaves a column as it is.
#[derive(Default)]
struct Change {
    version: i64,
    updated_at: DateTime<Utc>,
    rights_position: Option<i64>,
    rights_changed_at: Option<DateTime<Utc>>,
    username: Option<Name>,
    email: Option<Name>,
    phone_number: Option<Option<String>>,
    email_verified: Option<bool>,
    phone_verified: Option<bool>,
    password_hash: Option<String>,
    is_active: Option<bool>,
    /// Failures counted from zero, or added to what the row has.
    failures_from_zero: bool,
    failures: i32,
    locked_until: Option<Option<DateTime<Utc>>>,
    totp_enabled: Option<bool>,
    /// Added to what the row has.
    passkeys: i32,
    login: Option<Login>,
}

struct Login {
    at: DateTime<Utc>,
    network: Option<IpNetwork>,
    address: Option<String>,
}

impl Users {
    pub fn fold(&mut self, at: &At<'_>, event: &UserEvent) -> Result<(), RowError> {
        if let UserEvent::ClaimAbandoned(_) = event {
            return Ok(()); // may concern someone who never registered
        }
        let row = self.0.entry(at.user()?).or_default();
        row.change.version = at.meta.sequence;
        row.change.updated_at = at.time();
        if read_model::touches_rights(event) {
            row.change.rights_position = Some(at.offset);
        }
        if super::role_cache::depends_on(event) {
            row.change.rights_changed_at = Some(at.time());
        }
        match event {
            UserEvent::Registered(e) => row.register(at, e),
            UserEvent::ServiceAccountCreated(e) => row.create_service(at, e),
            UserEvent::ProfileChanged(e) => row.change_profile(e),
            UserEvent::LoggedIn(e) => row.change.log_in(at, e)?,
            UserEvent::LoginFailed(e) => row.change.count_failures(e),
            UserEvent::Locked(e) => row.change.locked_until = Some(Some(utc(e.locked_until))),
            UserEvent::Unlocked(_) => row.change.unlock(),
            UserEvent::EmailVerified(_) => row.change.email_verified = Some(true),
            UserEvent::PhoneVerified(_) => row.change.phone_verified = Some(true),
            UserEvent::PasswordChanged(e) => row.change.password_hash = Some(e.password_hash.to_base64()),
            UserEvent::PasswordRehashed(e) => row.change.password_hash = Some(e.password_hash.to_base64()),
            UserEvent::Deactivated(_) => row.change.is_active = Some(false),
            UserEvent::Reactivated(_) => row.change.is_active = Some(true),
            UserEvent::TotpEnabled(_) => row.change.totp_enabled = Some(true),
            UserEvent::TotpDisabled(_) => row.change.totp_enabled = Some(false),
            UserEvent::PasskeyAdded(_) => row.change.passkeys += 1,
            UserEvent::PasskeyRemoved(_) => row.change.passkeys -= 1,
            // Only version, time and rights position of the row follow these.
            UserEvent::ClaimAbandoned(_)
            | UserEvent::ServiceKeyIssued(_)
            | UserEvent::ServiceKeyRevoked(_)
            | UserEvent::NamesReleased(_)
            | UserEvent::Erased(_)
            | UserEvent::ErasureCompleted(_)
            | UserEvent::EmailVerificationRequested(_)
            | UserEvent::PhoneVerificationRequested(_)
            | UserEvent::PhoneVerificationFailed(_)
            | UserEvent::PasswordResetRequested(_)
            | UserEvent::SessionRefreshed(_)
            | UserEvent::RefreshReuseDetected(_)
            | UserEvent::SessionRevoked(_)
            | UserEvent::SessionsRevoked(_)
            | UserEvent::RoleGranted(_)
            | UserEvent::RoleRevoked(_)
            | UserEvent::RoleGrantExpired(_)
            | UserEvent::TotpEnrolmentStarted(_)
            | UserEvent::RecoveryCodesReplaced(_)
            | UserEvent::SessionSteppedUp(_)
            | UserEvent::PasskeyCounted(_)
            | UserEvent::PasskeyCloneSuspected(_) => {}
        }
        Ok(())
    }

    pub async fn write(&self, tx: &mut PgConnection, place: &Place) -> Result<(), RowError> {
        let is_new = |row: &Row| row.registered.is_some();
        let changed: Vec<_> = self.0.iter().filter(|(_, row)| !is_new(row)).collect();
        if !changed.is_empty() {
            update(tx, &changed).await?;
        }
        if changed.len() < self.0.len() {
            let new = self
                .0
                .iter()
                .filter_map(|(id, row)| Some((*id, row.registered.as_ref()?, &row.change)));
            insert(tx, place, &new.collect::<Vec<_>>()).await?;
        }
        Ok(())
    }
}

impl Row {
    fn register(&mut self, at: &At<'_>, event: &UserRegistered) {
        self.registered = Some(New {
            username: Name::of(&event.username, event.username_index),
            email: Some(Name::of(&event.email, event.email_index)),
            created_at: at.time(),
        });
        self.change.phone_number = Some(text(event.phone_number.as_ref()));
        self.change.email_verified = Some(event.email_verified);
        self.change.phone_verified = Some(event.phone_verified);
        self.change.password_hash = Some(event.password_hash.to_base64());
        self.change.is_active = Some(true);
    }
}

impl Row {
    fn create_service(&mut self, at: &At<'_>, event: &ServiceAccountCreated) {
        self.registered = Some(New {
            username: Name::of(&event.username, event.username_index),
            email: None,
            created_at: at.time(),
        });
        self.change.is_active = Some(true);
    }

    fn change_profile(&mut self, event: &ProfileChanged) {
        let name = |name: &Option<Sealed>, index: Option<BlindIndex>| Some(Name::of(name.as_ref()?, index?));
        let username = name(&event.username, event.username_index);
        let email = name(&event.email, event.email_index);
        match &mut self.registered {
            Some(new) => {
                new.username = username.unwrap_or_else(|| std::mem::take(&mut new.username));
                new.email = email.or(new.email.take());
            }
            None => {
                self.change.username = username.or(self.change.username.take());
                self.change.email = email.or(self.change.email.take());
            }
        }
        if event.former_email.is_some() {
            self.change.email_verified = Some(false);
        }
        if event.changes_phone_number {
            self.change.phone_verified = Some(false);
            self.change.phone_number = Some(text(event.phone_number.as_ref()));
        }
    }
}

impl Change {
    fn unlock(&mut self) {
        (self.failures_from_zero, self.failures) = (true, 0);
        self.locked_until = Some(None);
    }

    fn log_in(&mut self, at: &At<'_>, event: &UserLoggedIn) -> Result<(), RowError> {
        if !event.despite_lock {
            self.unlock();
        }
        let network = network(event.ip_network.as_ref())?;
        self.login = Some(Login {
            at: at.time(),
            network,
            address: text(event.ip_address.as_ref()),
        });
        Ok(())
    }

    fn count_failures(&mut self, event: &LoginFailed) {
        self.failures = self.failures.saturating_add(event.from_elsewhere());
    }
}

async fn insert(
    tx: &mut PgConnection,
    place: &Place,
    rows: &[(Uuid, &New, &Change)],
) -> Result<(), RowError> {
    let each = || rows.iter();
    sqlx::query(
        "INSERT INTO users (id, ledger, shard_id, username, username_index, email, email_index, phone_number,
             created_at, password_hash, is_active, failed_login_attempts, locked_until, last_login_at, last_login_ip,
             last_login_ip_sealed, version, updated_at, rights_position, rights_changed_at, totp_enabled, passkeys,
             email_verified, phone_verified, is_service)
         SELECT id, $1, $2, username, username_index, email, email_index, phone_number, created_at, password_hash,
             is_active, failures, locked_until, login_at, login_ip, login_ip_sealed, version, updated_at,
             rights_position, rights_changed_at, coalesce(totp_enabled, false), passkeys, email_verified, phone_verified,
             email_index IS NULL
         FROM unnest($3::uuid[], $4::text[], $5::bytea[], $6::text[], $7::bytea[], $8::text[], $9::timestamptz[],
             $10::text[], $11::bool[], $12::int4[], $13::timestamptz[], $14::timestamptz[], $15::inet[], $16::text[],
             $17::int8[], $18::timestamptz[], $19::int8[], $20::timestamptz[], $21::bool[], $22::int4[], $23::bool[],
             $24::bool[])
             AS n (id, username, username_index, email, email_index, phone_number, created_at, password_hash,
             is_active, failures, locked_until, login_at, login_ip, login_ip_sealed, version, updated_at,
             rights_position, rights_changed_at, totp_enabled, passkeys, email_verified, phone_verified)",
    )
    .bind(place.ledger)
    .bind(place.shard_id)
    .bind(each().map(|(id, _, _)| *id).collect::<Vec<_>>())
    .bind(each().map(|(_, new, _)| new.username.0.as_str()).collect::<Vec<_>>())
    .bind(each().map(|(_, new, _)| new.username.1.as_slice()).collect::<Vec<_>>())
    .bind(each().map(|(_, new, _)| new.email.as_ref().map(|name| name.0.as_str())).collect::<Vec<_>>())
    .bind(each().map(|(_, new, _)| new.email.as_ref().map(|name| name.1.as_slice())).collect::<Vec<_>>())
    .bind(each().map(|(_, _, it)| it.phone_number.as_ref().and_then(Option::as_deref)).collect::<Vec<_>>())
    .bind(each().map(|(_, new, _)| new.created_at).collect::<Vec<_>>())
    .bind(each().map(|(_, _, it)| it.password_hash.as_deref()).collect::<Vec<_>>())
    .bind(each().map(|(_, _, it)| it.is_active).collect::<Vec<_>>())
    .bind(each().map(|(_, _, it)| it.failures).collect::<Vec<_>>())
    .bind(each().map(|(_, _, it)| it.locked_until.flatten()).collect::<Vec<_>>())
    .bind(each().map(|(_, _, it)| it.login.as_ref().map(|login| login.at)).collect::<Vec<_>>())
    .bind(each().map(|(_, _, it)| it.login.as_ref().and_then(|login| login.network)).collect::<Vec<_>>())
    .bind(each().map(|(_, _, it)| it.login.as_ref().and_then(|login| login.address.as_deref())).collect::<Vec<_>>())
    .bind(each().map(|(_, _, it)| it.version).collect::<Vec<_>>())
    .bind(each().map(|(_, _, it)| it.updated_at).collect::<Vec<_>>())
    .bind(each().map(|(_, _, it)| it.rights_position).collect::<Vec<_>>())
    .bind(each().map(|(_, _, it)| it.rights_changed_at).collect::<Vec<_>>())
    .bind(each().map(|(_, _, it)| it.totp_enabled).collect::<Vec<_>>())
    .bind(each().map(|(_, _, it)| it.passkeys).collect::<Vec<_>>())
    .bind(each().map(|(_, _, it)| it.email_verified.unwrap_or(false)).collect::<Vec<_>>())
    .bind(each().map(|(_, _, it)| it.phone_verified.unwrap_or(false)).collect::<Vec<_>>())
    .execute(tx)
    .await?;
    Ok(())
}

async fn update(tx: &mut PgConnection, rows: &[(&Uuid, &Row)]) -> Result<(), RowError> {
    let each = || rows.iter().map(|(_, row)| &row.change);
    let done = sqlx::query(
        "UPDATE users SET
             version = c.version, updated_at = c.updated_at,
             rights_position = coalesce(c.rights_position, users.rights_position),
             rights_changed_at = coalesce(c.rights_changed_at, users.rights_changed_at),
             username = coalesce(c.username, users.username),
             username_index = coalesce(c.username_index, users.username_index),
             email = coalesce(c.email, users.email), email_index = coalesce(c.email_index, users.email_index),
             email_verified = coalesce(c.email_verified, users.email_verified),
             phone_verified = coalesce(c.phone_verified, users.phone_verified),
             phone_number = CASE WHEN c.sets_phone THEN c.phone_number ELSE users.phone_number END,
             password_hash = coalesce(c.password_hash, users.password_hash),
             is_active = coalesce(c.is_active, users.is_active),
             failed_login_attempts = c.failures + CASE WHEN c.from_zero THEN 0 ELSE users.failed_login_attempts END,
             locked_until = CASE WHEN c.sets_lock THEN c.locked_until ELSE users.locked_until END,
             last_login_at = coalesce(c.login_at, users.last_login_at),
             last_login_ip = CASE WHEN c.login_at IS NULL THEN users.last_login_ip ELSE c.login_ip END,
             last_login_ip_sealed =
                 CASE WHEN c.login_at IS NULL THEN users.last_login_ip_sealed ELSE c.login_ip_sealed END,
             totp_enabled = coalesce(c.totp_enabled, users.totp_enabled),
             passkeys = users.passkeys + c.passkeys
         FROM unnest($1::uuid[], $2::int8[], $3::timestamptz[], $4::int8[], $5::timestamptz[], $6::text[], $7::bool[],
             $8::int4[], $9::bool[], $10::bool[], $11::timestamptz[], $12::timestamptz[], $13::inet[], $14::text[],
             $15::bool[], $16::int4[], $17::text[], $18::bytea[], $19::text[], $20::bytea[], $21::bool[], $22::text[],
             $23::bool[], $24::bool[])
             AS c (id, version, updated_at, rights_position, rights_changed_at, password_hash, is_active,
             failures, from_zero, sets_lock, locked_until, login_at, login_ip, login_ip_sealed, totp_enabled, passkeys,
             username, username_index, email, email_index, sets_phone, phone_number, email_verified, phone_verified)
         WHERE users.id = c.id",
    )
    .bind(rows.iter().map(|(id, _)| **id).collect::<Vec<_>>())
    .bind(each().map(|it| it.version).collect::<Vec<_>>())
    .bind(each().map(|it| it.updated_at).collect::<Vec<_>>())
    .bind(each().map(|it| it.rights_position).collect::<Vec<_>>())
    .bind(each().map(|it| it.rights_changed_at).collect::<Vec<_>>())
    .bind(each().map(|it| it.password_hash.as_deref()).collect::<Vec<_>>())
    .bind(each().map(|it| it.is_active).collect::<Vec<_>>())
    .bind(each().map(|it| it.failures).collect::<Vec<_>>())
    .bind(each().map(|it| it.failures_from_zero).collect::<Vec<_>>())
    .bind(each().map(|it| it.locked_until.is_some()).collect::<Vec<_>>())
    .bind(each().map(|it| it.locked_until.flatten()).collect::<Vec<_>>())
    .bind(each().map(|it| it.login.as_ref().map(|login| login.at)).collect::<Vec<_>>())
    .bind(each().map(|it| it.login.as_ref().and_then(|login| login.network)).collect::<Vec<_>>())
    .bind(each().map(|it| it.login.as_ref().and_then(|login| login.address.as_deref())).collect::<Vec<_>>())
    .bind(each().map(|it| it.totp_enabled).collect::<Vec<_>>())
    .bind(each().map(|it| it.passkeys).collect::<Vec<_>>())
    .bind(each().map(|it| it.username.as_ref().map(|name| name.0.as_str())).collect::<Vec<_>>())
    .bind(each().map(|it| it.username.as_ref().map(|name| name.1.as_slice())).collect::<Vec<_>>())
    .bind(each().map(|it| it.email.as_ref().map(|name| name.0.as_str())).collect::<Vec<_>>())
    .bind(each().map(|it| it.email.as_ref().map(|name| name.1.as_slice())).collect::<Vec<_>>())
    .bind(each().map(|it| it.phone_number.is_some()).collect::<Vec<_>>())
    .bind(each().map(|it| it.phone_number.as_ref().and_then(Option::as_deref)).collect::<Vec<_>>())
    .bind(each().map(|it| it.email_verified).collect::<Vec<_>>())
    .bind(each().map(|it| it.phone_verified).collect::<Vec<_>>())
    .execute(tx)
    .await?;
    all_changed("users", rows.len(), done.rows_affected())
}
