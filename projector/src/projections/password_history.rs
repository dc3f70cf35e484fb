//! `password_history`: one row for each password that a user has had, with its last hash.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use schemas::Sealed;
use schemas::user::UserEvent;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{At, Place, RowError, all_changed};

#[derive(Default)]
pub(super) struct PasswordHistory(BTreeMap<Uuid, OfUser>);

#[derive(Default)]
struct OfUser {
    /// Of the password that was the last one before this batch.
    rehashed: Option<String>,
    set: Vec<Row>,
}

struct Row {
    id: Uuid,
    password_hash: String,
    created_at: DateTime<Utc>,
    version: i64,
}

impl PasswordHistory {
    pub fn fold(&mut self, at: &At<'_>, event: &UserEvent) -> Result<(), RowError> {
        match event {
            UserEvent::Registered(e) => self.set(at, &e.password_hash)?,
            UserEvent::PasswordChanged(e) => self.set(at, &e.password_hash)?,
            UserEvent::PasswordRehashed(e) => {
                let of_user = self.0.entry(at.user()?).or_default();
                let hash = e.password_hash.to_base64();
                match of_user.set.last_mut() {
                    Some(row) => row.password_hash = hash,
                    None => of_user.rehashed = Some(hash),
                }
            }
            UserEvent::ClaimAbandoned(_)
            | UserEvent::LoggedIn(_)
            | UserEvent::LoginFailed(_)
            | UserEvent::Locked(_)
            | UserEvent::SessionRefreshed(_)
            | UserEvent::RefreshReuseDetected(_)
            | UserEvent::SessionRevoked(_)
            | UserEvent::SessionsRevoked(_)
            | UserEvent::RoleGranted(_)
            | UserEvent::RoleRevoked(_)
            | UserEvent::Deactivated(_)
            | UserEvent::ProfileChanged(_)
            | UserEvent::NamesReleased(_)
            | UserEvent::Unlocked(_)
            | UserEvent::EmailVerificationRequested(_)
            | UserEvent::EmailVerified(_)
            | UserEvent::PhoneVerificationRequested(_)
            | UserEvent::PhoneVerificationFailed(_)
            | UserEvent::PhoneVerified(_)
            | UserEvent::PasswordResetRequested(_)
            | UserEvent::RoleGrantExpired(_)
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
            | UserEvent::PasskeyCloneSuspected(_)
            | UserEvent::Erased(_)
            | UserEvent::ErasureCompleted(_)
            | UserEvent::Reactivated(_) => {}
        }
        Ok(())
    }

    fn set(&mut self, at: &At<'_>, hash: &Sealed) -> Result<(), RowError> {
        let row = Row {
            id: at.meta.event_id.as_uuid(),
            password_hash: hash.to_base64(),
            created_at: at.time(),
            version: at.meta.sequence,
        };
        self.0.entry(at.user()?).or_default().set.push(row);
        Ok(())
    }

    pub async fn write(&self, tx: &mut PgConnection, place: &Place) -> Result<(), RowError> {
        let of_user = |(user, it): (&Uuid, &OfUser)| Some((*user, it.rehashed.clone()?));
        let rehashed: Vec<_> = self.0.iter().filter_map(of_user).collect();
        if !rehashed.is_empty() {
            rehash(tx, &rehashed).await?;
        }
        let set = self
            .0
            .iter()
            .flat_map(|(user, it)| it.set.iter().map(|row| (*user, row)));
        let set: Vec<_> = set.collect();
        if !set.is_empty() {
            insert(tx, place, &set).await?;
        }
        Ok(())
    }
}

async fn rehash(tx: &mut PgConnection, rows: &[(Uuid, String)]) -> Result<(), RowError> {
    let done = sqlx::query(
        "UPDATE password_history SET password_hash = c.password_hash
         FROM unnest($1::uuid[], $2::text[]) AS c (user_id, password_hash)
         WHERE password_history.user_id = c.user_id
             AND password_history.version =
                 (SELECT max(version) FROM password_history AS its WHERE its.user_id = c.user_id)",
    )
    .bind(rows.iter().map(|(user, _)| *user).collect::<Vec<_>>())
    .bind(rows.iter().map(|(_, hash)| hash.as_str()).collect::<Vec<_>>())
    .execute(tx)
    .await?;
    all_changed("password_history", rows.len(), done.rows_affected())
}

async fn insert(tx: &mut PgConnection, place: &Place, rows: &[(Uuid, &Row)]) -> Result<(), RowError> {
    let each = || rows.iter().map(|(_, row)| row);
    sqlx::query(
        "INSERT INTO password_history (id, user_id, ledger, shard_id, password_hash, created_at, version)
         SELECT id, user_id, $1, $2, password_hash, created_at, version
         FROM unnest($3::uuid[], $4::uuid[], $5::text[], $6::timestamptz[], $7::int8[])
             AS n (id, user_id, password_hash, created_at, version)",
    )
    .bind(place.ledger)
    .bind(place.shard_id)
    .bind(each().map(|row| row.id).collect::<Vec<_>>())
    .bind(rows.iter().map(|(user, _)| *user).collect::<Vec<_>>())
    .bind(each().map(|row| row.password_hash.as_str()).collect::<Vec<_>>())
    .bind(each().map(|row| row.created_at).collect::<Vec<_>>())
    .bind(each().map(|row| row.version).collect::<Vec<_>>())
    .execute(tx)
    .await?;
    Ok(())
}
