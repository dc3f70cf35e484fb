//! `service_keys`: one row a key, kept after its end.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use schemas::user::{ServiceKeyIssued, UserEvent};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{At, Place, RowError, all_changed, utc};

#[derive(Default)]
pub(super) struct ServiceKeys(BTreeMap<Uuid, Row>);

#[derive(Default)]
struct Row {
    new: Option<New>,
    revoked_at: Option<DateTime<Utc>>,
}

struct New {
    user_id: Uuid,
    /// PostgreSQL's text form of an array: arrays of arrays cannot be passed in columns.
    role_ids: Option<String>,
    issued_at: DateTime<Utc>,
    issued_by: Option<Uuid>,
    expires_at: Option<DateTime<Utc>>,
}

impl ServiceKeys {
    pub fn fold(&mut self, at: &At<'_>, event: &UserEvent) -> Result<(), RowError> {
        match event {
            UserEvent::ServiceKeyIssued(e) => {
                let new = New::of(at, e)?;
                self.row(e.key_id.as_uuid()).new = Some(new);
            }
            UserEvent::ServiceKeyRevoked(e) => {
                self.row(e.key_id.as_uuid()).revoked_at = Some(at.time());
            }
            // Keys of an inactive account stay: with it they come back. For those of an erased one see `erasures`.
            UserEvent::Deactivated(_)
            | UserEvent::Reactivated(_)
            | UserEvent::Registered(_)
            | UserEvent::ServiceAccountCreated(_)
            | UserEvent::ClaimAbandoned(_)
            | UserEvent::Erased(_)
            | UserEvent::ProfileChanged(_)
            | UserEvent::NamesReleased(_)
            | UserEvent::Unlocked(_)
            | UserEvent::EmailVerificationRequested(_)
            | UserEvent::EmailVerified(_)
            | UserEvent::PhoneVerificationRequested(_)
            | UserEvent::PhoneVerificationFailed(_)
            | UserEvent::PhoneVerified(_)
            | UserEvent::PasswordResetRequested(_)
            | UserEvent::PasswordRehashed(_)
            | UserEvent::TotpEnrolmentStarted(_)
            | UserEvent::TotpEnabled(_)
            | UserEvent::TotpDisabled(_)
            | UserEvent::RecoveryCodesReplaced(_)
            | UserEvent::SessionSteppedUp(_)
            | UserEvent::PasskeyAdded(_)
            | UserEvent::PasskeyRemoved(_)
            | UserEvent::PasskeyCounted(_)
            | UserEvent::PasskeyCloneSuspected(_)
            | UserEvent::ErasureCompleted(_)
            | UserEvent::LoggedIn(_)
            | UserEvent::LoginFailed(_)
            | UserEvent::Locked(_)
            | UserEvent::PasswordChanged(_)
            | UserEvent::SessionRefreshed(_)
            | UserEvent::RefreshReuseDetected(_)
            | UserEvent::SessionRevoked(_)
            | UserEvent::SessionsRevoked(_)
            | UserEvent::RoleGranted(_)
            | UserEvent::RoleRevoked(_)
            | UserEvent::RoleGrantExpired(_) => {}
        }
        Ok(())
    }

    fn row(&mut self, id: Uuid) -> &mut Row {
        self.0.entry(id).or_default()
    }

    pub async fn write(&self, tx: &mut PgConnection, place: &Place) -> Result<(), RowError> {
        let new = self
            .0
            .iter()
            .filter_map(|(id, row)| Some((*id, row.new.as_ref()?)));
        let new: Vec<_> = new.collect();
        if !new.is_empty() {
            insert(tx, place, &new).await?;
        }
        let revoked = self.0.iter().filter_map(|(id, row)| Some((*id, row.revoked_at?)));
        let revoked: Vec<_> = revoked.collect();
        if !revoked.is_empty() {
            revoke(tx, revoked).await?;
        }
        Ok(())
    }
}

impl New {
    fn of(at: &At<'_>, event: &ServiceKeyIssued) -> Result<Self, RowError> {
        let array = |ids: &Vec<schemas::RoleId>| {
            let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
            format!("{{{}}}", ids.join(","))
        };
        Ok(Self {
            user_id: at.user()?,
            role_ids: event.roles.as_ref().map(array),
            issued_at: at.time(),
            issued_by: at.actor_id(),
            expires_at: event.expires_at.map(utc),
        })
    }
}

async fn insert(tx: &mut PgConnection, place: &Place, rows: &[(Uuid, &New)]) -> Result<(), RowError> {
    let each = || rows.iter().map(|(_, new)| new);
    sqlx::query(
        "INSERT INTO service_keys (id, user_id, ledger, shard_id, role_ids, issued_at, issued_by, expires_at)
         SELECT id, user_id, $1, $2, role_ids::uuid[], issued_at, issued_by, expires_at
         FROM unnest($3::uuid[], $4::uuid[], $5::text[], $6::timestamptz[], $7::uuid[], $8::timestamptz[])
             AS n (id, user_id, role_ids, issued_at, issued_by, expires_at)",
    )
    .bind(place.ledger)
    .bind(place.shard_id)
    .bind(rows.iter().map(|(id, _)| *id).collect::<Vec<_>>())
    .bind(each().map(|it| it.user_id).collect::<Vec<_>>())
    .bind(each().map(|it| it.role_ids.as_deref()).collect::<Vec<_>>())
    .bind(each().map(|it| it.issued_at).collect::<Vec<_>>())
    .bind(each().map(|it| it.issued_by).collect::<Vec<_>>())
    .bind(each().map(|it| it.expires_at).collect::<Vec<_>>())
    .execute(tx)
    .await?;
    Ok(())
}

async fn revoke(tx: &mut PgConnection, rows: Vec<(Uuid, DateTime<Utc>)>) -> Result<(), RowError> {
    let count = rows.len();
    let (ids, times): (Vec<Uuid>, Vec<DateTime<Utc>>) = rows.into_iter().unzip();
    let done = sqlx::query(
        "UPDATE service_keys SET revoked_at = r.at FROM unnest($1::uuid[], $2::timestamptz[]) AS r (id, at)
         WHERE service_keys.id = r.id",
    )
    .bind(ids)
    .bind(times)
    .execute(tx)
    .await?;
    all_changed("service_keys", count, done.rows_affected())
}
