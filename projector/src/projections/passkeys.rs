//! `user_passkeys`: one row a passkey, kept after it was removed.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use schemas::CredentialId;
use schemas::user::{Factor, PasskeyAdded, UserEvent};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{At, Place, RowError, all_changed};

#[derive(Default)]
pub(super) struct Passkeys(BTreeMap<Uuid, Row>);

#[derive(Default)]
struct Row {
    new: Option<New>,
    last_used_at: Option<DateTime<Utc>>,
    removed_at: Option<DateTime<Utc>>,
}

struct New {
    user_id: Uuid,
    name: String,
    is_backed_up: bool,
    created_at: DateTime<Utc>,
}

impl Passkeys {
    pub fn fold(&mut self, at: &At<'_>, event: &UserEvent) -> Result<(), RowError> {
        match event {
            UserEvent::PasskeyAdded(e) => self.row(e.credential_id).new = Some(New::of(at, e)?),
            UserEvent::PasskeyRemoved(e) => self.row(e.credential_id).removed_at = Some(at.time()),
            UserEvent::LoggedIn(e) => self.used(at, e.factor.as_ref()),
            UserEvent::SessionSteppedUp(e) => self.used(at, Some(&e.factor)),
            // A counter goes on together with a use; a refused copy is no use.
            UserEvent::PasskeyCounted(_)
            | UserEvent::PasskeyCloneSuspected(_)
            | UserEvent::Registered(_)
            | UserEvent::ClaimAbandoned(_)
            | UserEvent::LoginFailed(_)
            | UserEvent::Locked(_)
            | UserEvent::PasswordChanged(_)
            | UserEvent::SessionRefreshed(_)
            | UserEvent::RefreshReuseDetected(_)
            | UserEvent::SessionRevoked(_)
            | UserEvent::SessionsRevoked(_)
            | UserEvent::RoleGranted(_)
            | UserEvent::RoleRevoked(_)
            | UserEvent::Deactivated(_)
            | UserEvent::Reactivated(_)
            | UserEvent::TotpEnrolmentStarted(_)
            | UserEvent::TotpEnabled(_)
            | UserEvent::TotpDisabled(_)
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
            | UserEvent::ServiceAccountCreated(_)
            | UserEvent::ServiceKeyIssued(_)
            | UserEvent::ServiceKeyRevoked(_)
            | UserEvent::RoleGrantExpired(_)
            | UserEvent::Erased(_)
            | UserEvent::ErasureCompleted(_)
            | UserEvent::RecoveryCodesReplaced(_) => {}
        }
        Ok(())
    }

    fn used(&mut self, at: &At<'_>, factor: Option<&Factor>) {
        if let Some(credential) = factor.and_then(|factor| factor.credential_id) {
            self.row(credential).last_used_at = Some(at.time());
        }
    }

    fn row(&mut self, id: CredentialId) -> &mut Row {
        self.0.entry(id.as_uuid()).or_default()
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
                .filter_map(|(id, row)| Some((*id, row.new.as_ref()?, row)));
            insert(tx, place, &new.collect::<Vec<_>>()).await?;
        }
        Ok(())
    }
}

impl New {
    fn of(at: &At<'_>, event: &PasskeyAdded) -> Result<Self, RowError> {
        Ok(Self {
            user_id: at.user()?,
            name: event.name.to_base64(),
            is_backed_up: event.is_backed_up,
            created_at: at.time(),
        })
    }
}

async fn insert(tx: &mut PgConnection, place: &Place, rows: &[(Uuid, &New, &Row)]) -> Result<(), RowError> {
    let new = || rows.iter().map(|(_, new, _)| new);
    sqlx::query(
        "INSERT INTO user_passkeys (id, user_id, ledger, shard_id, name, is_backed_up, created_at, last_used_at,
             removed_at)
         SELECT id, user_id, $1, $2, name, is_backed_up, created_at, last_used_at, removed_at
         FROM unnest($3::uuid[], $4::uuid[], $5::text[], $6::bool[], $7::timestamptz[], $8::timestamptz[],
             $9::timestamptz[])
             AS n (id, user_id, name, is_backed_up, created_at, last_used_at, removed_at)",
    )
    .bind(place.ledger)
    .bind(place.shard_id)
    .bind(rows.iter().map(|(id, _, _)| *id).collect::<Vec<_>>())
    .bind(new().map(|it| it.user_id).collect::<Vec<_>>())
    .bind(new().map(|it| it.name.as_str()).collect::<Vec<_>>())
    .bind(new().map(|it| it.is_backed_up).collect::<Vec<_>>())
    .bind(new().map(|it| it.created_at).collect::<Vec<_>>())
    .bind(
        rows.iter()
            .map(|(_, _, row)| row.last_used_at)
            .collect::<Vec<_>>(),
    )
    .bind(rows.iter().map(|(_, _, row)| row.removed_at).collect::<Vec<_>>())
    .execute(tx)
    .await?;
    Ok(())
}

async fn update(tx: &mut PgConnection, rows: &[(&Uuid, &Row)]) -> Result<(), RowError> {
    let done = sqlx::query(
        "UPDATE user_passkeys SET
             last_used_at = coalesce(c.last_used_at, user_passkeys.last_used_at),
             removed_at = coalesce(c.removed_at, user_passkeys.removed_at)
         FROM unnest($1::uuid[], $2::timestamptz[], $3::timestamptz[]) AS c (id, last_used_at, removed_at)
         WHERE user_passkeys.id = c.id",
    )
    .bind(rows.iter().map(|(id, _)| **id).collect::<Vec<_>>())
    .bind(rows.iter().map(|(_, row)| row.last_used_at).collect::<Vec<_>>())
    .bind(rows.iter().map(|(_, row)| row.removed_at).collect::<Vec<_>>())
    .execute(tx)
    .await?;
    all_changed("user_passkeys", rows.len(), done.rows_affected())
}
