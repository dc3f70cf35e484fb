//! `user_roles`: one row for each user, role and scope that ever met; revoking closes it.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use schemas::GrantScope;
use schemas::RoleId;
use schemas::user::UserEvent;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{At, Place, RowError, all_changed, utc};

#[derive(Default)]
pub(super) struct UserRoles(BTreeMap<Key, Row>);

/// Which grant: a scope that is none has empty texts, so that a unique key sees it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    user: Uuid,
    role: Uuid,
    scope_resource: String,
    scope_id: String,
    scope_is_prefix: bool,
}

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
                let row = self.row(at, e.role_id, e.scope.as_ref())?;
                row.is_active = true;
                row.grant = Some(Grant {
                    id: at.meta.event_id.as_uuid(),
                    granted_at: at.time(),
                    expires_at: e.expires_at.map(utc),
                    granted_by: at.actor_id(),
                });
            }
            UserEvent::RoleRevoked(e) => self.row(at, e.role_id, e.scope.as_ref())?.is_active = false,
            UserEvent::RoleGrantExpired(e) => self.row(at, e.role_id, e.scope.as_ref())?.is_active = false,
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

    fn row(&mut self, at: &At<'_>, role: RoleId, scope: Option<&GrantScope>) -> Result<&mut Row, RowError> {
        let key = Key {
            user: at.user()?,
            role: role.as_uuid(),
            scope_resource: scope.map_or_else(String::new, |it| it.resource.clone()),
            scope_id: scope.and_then(|it| it.id.clone()).unwrap_or_default(),
            scope_is_prefix: scope.is_some_and(|it| it.is_prefix),
        };
        Ok(self.0.entry(key).or_default())
    }

    pub async fn write(&self, tx: &mut PgConnection, place: &Place) -> Result<(), RowError> {
        let revoked: Vec<&Key> = self
            .0
            .iter()
            .filter(|(_, row)| row.grant.is_none())
            .map(|(key, _)| key)
            .collect();
        if !revoked.is_empty() {
            revoke(tx, &revoked).await?;
        }
        if revoked.len() < self.0.len() {
            let granted = self
                .0
                .iter()
                .filter_map(|(key, row)| Some((key, row.grant.as_ref()?, row.is_active)));
            grant(tx, place, &granted.collect::<Vec<_>>()).await?;
        }
        Ok(())
    }
}

/// The five arrays of a key's columns, in their order.
macro_rules! bind_keys {
    ($query:expr, $keys:expr) => {{
        let keys = || $keys;
        $query
            .bind(keys().map(|key| key.user).collect::<Vec<_>>())
            .bind(keys().map(|key| key.role).collect::<Vec<_>>())
            .bind(keys().map(|key| key.scope_resource.as_str()).collect::<Vec<_>>())
            .bind(keys().map(|key| key.scope_id.as_str()).collect::<Vec<_>>())
            .bind(keys().map(|key| key.scope_is_prefix).collect::<Vec<_>>())
    }};
}

async fn revoke(tx: &mut PgConnection, keys: &[&Key]) -> Result<(), RowError> {
    let query = sqlx::query(
        "UPDATE user_roles AS r SET is_active = false
         FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::bool[])
             AS c (user_id, role_id, scope_resource, scope_id, scope_is_prefix)
         WHERE r.user_id = c.user_id AND r.role_id = c.role_id AND r.scope_resource = c.scope_resource
             AND r.scope_id = c.scope_id AND r.scope_is_prefix = c.scope_is_prefix",
    );
    let done = bind_keys!(query, keys.iter()).execute(tx).await?;
    all_changed("user_roles", keys.len(), done.rows_affected())
}

async fn grant(tx: &mut PgConnection, place: &Place, rows: &[(&Key, &Grant, bool)]) -> Result<(), RowError> {
    let each = || rows.iter().map(|(_, grant, _)| grant);
    let query = sqlx::query(
        "INSERT INTO user_roles (id, user_id, role_id, ledger, shard_id, granted_at, expires_at, granted_by, is_active,
             scope_resource, scope_id, scope_is_prefix)
         SELECT id, user_id, role_id, $6, $7, granted_at, expires_at, granted_by, is_active,
             scope_resource, scope_id, scope_is_prefix
         FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::bool[],
             $8::uuid[], $9::timestamptz[], $10::timestamptz[], $11::uuid[], $12::bool[])
             AS n (user_id, role_id, scope_resource, scope_id, scope_is_prefix,
                 id, granted_at, expires_at, granted_by, is_active)
         ON CONFLICT (user_id, role_id, scope_resource, scope_id, scope_is_prefix) DO UPDATE SET
             id = excluded.id, granted_at = excluded.granted_at, expires_at = excluded.expires_at,
             granted_by = excluded.granted_by, is_active = excluded.is_active",
    );
    bind_keys!(query, rows.iter().map(|(key, _, _)| *key))
        .bind(place.ledger)
        .bind(place.shard_id)
        .bind(each().map(|it| it.id).collect::<Vec<_>>())
        .bind(each().map(|it| it.granted_at).collect::<Vec<_>>())
        .bind(each().map(|it| it.expires_at).collect::<Vec<_>>())
        .bind(each().map(|it| it.granted_by).collect::<Vec<_>>())
        .bind(
            rows.iter()
                .map(|(_, _, is_active)| *is_active)
                .collect::<Vec<_>>(),
        )
        .execute(tx)
        .await?;
    Ok(())
}
