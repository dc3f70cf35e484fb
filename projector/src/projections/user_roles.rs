//! `user_roles`: one row for each user and role that ever met; revoking closes it.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use schemas::RoleId;
use schemas::user::UserEvent;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{At, Place, RowError, all_changed, utc};

#[derive(Default)]
pub(super) struct UserRoles(BTreeMap<(Uuid, Uuid), Row>);

#[derive(Default)]
struct Row {
    grant: Option<Grant>,
    is_active: bool,
}

struct Grant {
    id: Uuid,
    granted_at: DateTime<Utc>,
    expires_at: Option<DateTime<Utc>>,
    granted_by: Option<Uuid>,
}

impl UserRoles {
    pub fn fold(&mut self, at: &At<'_>, event: &UserEvent) -> Result<(), RowError> {
        match event {
            UserEvent::RoleGranted(e) => {
                let row = self.row(at, e.role_id)?;
                row.is_active = true;
                row.grant = Some(Grant {
                    id: at.meta.event_id.as_uuid(),
                    granted_at: at.time(),
                    expires_at: e.expires_at.map(utc),
                    granted_by: at.actor_id(),
                });
            }
            UserEvent::RoleRevoked(e) => self.row(at, e.role_id)?.is_active = false,
            UserEvent::RoleGrantExpired(e) => self.row(at, e.role_id)?.is_active = false,
            // A deactivated user keeps the grants: they count again after reactivation.
            UserEvent::Deactivated(_)
            | UserEvent::Reactivated(_)
            | UserEvent::Registered(_)
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
            | UserEvent::TotpEnrolmentStarted(_)
            | UserEvent::TotpEnabled(_)
            | UserEvent::TotpDisabled(_)
            | UserEvent::RecoveryCodesReplaced(_)
            | UserEvent::SessionSteppedUp(_)
            | UserEvent::PasskeyAdded(_)
            | UserEvent::PasskeyRemoved(_)
            | UserEvent::PasskeyCounted(_)
            | UserEvent::PasskeyCloneSuspected(_) => {}
        }
        Ok(())
    }

    fn row(&mut self, at: &At<'_>, role: RoleId) -> Result<&mut Row, RowError> {
        Ok(self.0.entry((at.user()?, role.as_uuid())).or_default())
    }

    pub async fn write(&self, tx: &mut PgConnection, place: &Place) -> Result<(), RowError> {
        let revoked: Vec<_> = self
            .0
            .iter()
            .filter(|(_, row)| row.grant.is_none())
            .map(|(key, _)| *key)
            .collect();
        if !revoked.is_empty() {
            revoke(tx, &revoked).await?;
        }
        if revoked.len() < self.0.len() {
            let granted = self
                .0
                .iter()
                .filter_map(|(key, row)| Some((*key, row.grant.as_ref()?, row.is_active)));
            grant(tx, place, &granted.collect::<Vec<_>>()).await?;
        }
        Ok(())
    }
}

type Key = (Uuid, Uuid);

async fn revoke(tx: &mut PgConnection, keys: &[Key]) -> Result<(), RowError> {
    let done = sqlx::query(
        "UPDATE user_roles SET is_active = false
         FROM unnest($1::uuid[], $2::uuid[]) AS c (user_id, role_id)
         WHERE user_roles.user_id = c.user_id AND user_roles.role_id = c.role_id",
    )
    .bind(keys.iter().map(|(user, _)| *user).collect::<Vec<_>>())
    .bind(keys.iter().map(|(_, role)| *role).collect::<Vec<_>>())
    .execute(tx)
    .await?;
    all_changed("user_roles", keys.len(), done.rows_affected())
}

async fn grant(tx: &mut PgConnection, place: &Place, rows: &[(Key, &Grant, bool)]) -> Result<(), RowError> {
    let each = || rows.iter().map(|(_, grant, _)| grant);
    sqlx::query(
        "INSERT INTO user_roles (id, user_id, role_id, ledger, shard_id, granted_at, expires_at, granted_by, is_active)
         SELECT id, user_id, role_id, $1, $2, granted_at, expires_at, granted_by, is_active
         FROM unnest($3::uuid[], $4::uuid[], $5::uuid[], $6::timestamptz[], $7::timestamptz[], $8::uuid[], $9::bool[])
             AS n (id, user_id, role_id, granted_at, expires_at, granted_by, is_active)
         ON CONFLICT (user_id, role_id) DO UPDATE SET
             id = excluded.id, granted_at = excluded.granted_at, expires_at = excluded.expires_at,
             granted_by = excluded.granted_by, is_active = excluded.is_active",
    )
    .bind(place.ledger)
    .bind(place.shard_id)
    .bind(each().map(|it| it.id).collect::<Vec<_>>())
    .bind(rows.iter().map(|((user, _), _, _)| *user).collect::<Vec<_>>())
    .bind(rows.iter().map(|((_, role), _, _)| *role).collect::<Vec<_>>())
    .bind(each().map(|it| it.granted_at).collect::<Vec<_>>())
    .bind(each().map(|it| it.expires_at).collect::<Vec<_>>())
    .bind(each().map(|it| it.granted_by).collect::<Vec<_>>())
    .bind(rows.iter().map(|(_, _, is_active)| *is_active).collect::<Vec<_>>())
    .execute(tx)
    .await?;
    Ok(())
}
