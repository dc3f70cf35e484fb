//! `user_role_cache`: recomputed in the database for whom a batch concerns.

use std::collections::BTreeSet;

use schemas::user::UserEvent;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{At, RowError};

/// Name of the lock between the catalog's batches and those of users on one shard. Without it each
/// would compute from a snapshot that lacks the other's rows, and nobody would compute again.
const LOCK: i64 = 0x726f_6c65_6361_6c6c;

#[derive(Default)]
pub(super) struct RoleCache(BTreeSet<Uuid>);

/// Whether a user's row of the cache depends on an event; `users.rights_changed_at` follows it.
pub(super) fn depends_on(event: &UserEvent) -> bool {
    match event {
        UserEvent::Registered(_)
        | UserEvent::ServiceAccountCreated(_)
        // It repeats the names.
        | UserEvent::ProfileChanged(_)
        | UserEvent::RoleGranted(_)
        | UserEvent::RoleRevoked(_)
        | UserEvent::RoleGrantExpired(_)
        | UserEvent::Deactivated(_)
        | UserEvent::Erased(_)
        | UserEvent::Reactivated(_) => true,
        UserEvent::ClaimAbandoned(_)
        | UserEvent::ServiceKeyIssued(_)
        | UserEvent::ServiceKeyRevoked(_)
        | UserEvent::NamesReleased(_)
        | UserEvent::Unlocked(_)
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
        | UserEvent::PasskeyCloneSuspected(_) => false,
    }
}

impl RoleCache {
    pub fn fold(&mut self, at: &At<'_>, event: &UserEvent) -> Result<(), RowError> {
        if depends_on(event) {
            self.0.insert(at.user()?);
        }
        Ok(())
    }

    /// First in the transaction, so that all statements after it see the other's rows.
    pub async fn lock_out_catalog(&self, tx: &mut PgConnection) -> Result<(), RowError> {
        if !self.0.is_empty() {
            sqlx::query("SELECT pg_advisory_xact_lock_shared($1)")
                .bind(LOCK)
                .execute(tx)
                .await?;
        }
        Ok(())
    }

    pub async fn write(&self, tx: &mut PgConnection) -> Result<(), RowError> {
        if !self.0.is_empty() {
            let users: Vec<Uuid> = self.0.iter().copied().collect();
            sqlx::query("SELECT refresh_user_role_cache($1)")
                .bind(users)
                .execute(tx)
                .await?;
        }
        Ok(())
    }
}

pub(super) async fn lock_out_users(tx: &mut PgConnection) -> Result<(), RowError> {
    sqlx::query("SELECT pg_advisory_xact_lock($1)")
        .bind(LOCK)
        .execute(tx)
        .await?;
    Ok(())
}

/// For everybody who holds one of these roles, directly or through a role below it.
pub(super) async fn refresh_roles(tx: &mut PgConnection, roles: &[Uuid]) -> Result<(), RowError> {
    if !roles.is_empty() {
        // As long as it takes: it is bounded by the shard's users, and cut short it would be tried again
        // at the same size for ever.
        sqlx::query("SET LOCAL statement_timeout = 0")
            .execute(&mut *tx)
            .await?;
        sqlx::query("SELECT refresh_user_role_cache_of_roles($1)")
            .bind(roles)
            .execute(tx)
            .await?;
    }
    Ok(())
}
