//! Rows of erased people: what is left says that there was somebody, and nothing of whom.
//!
//! Written at the end of a batch. Nothing personal comes after `user.erased`, so the rows are the same
//! wherever a batch ends.

use chrono::{DateTime, Utc};
use read_model::time_series;
use schemas::user::UserEvent;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{At, RowError};

#[derive(Default)]
pub(super) struct Erasures(Vec<(Uuid, DateTime<Utc>)>);

impl Erasures {
    pub fn fold(&mut self, at: &At<'_>, event: &UserEvent) -> Result<(), RowError> {
        if matches!(event, UserEvent::Erased(_)) {
            self.0.push((at.user()?, at.time()));
        }
        Ok(())
    }

    pub async fn write(&self, tx: &mut PgConnection) -> Result<(), RowError> {
        if self.0.is_empty() {
            return Ok(());
        }
        let users: Vec<Uuid> = self.0.iter().map(|(id, _)| *id).collect();
        let times: Vec<DateTime<Utc>> = self.0.iter().map(|(_, at)| *at).collect();
        // Names become nobody's: index columns are unique, and a blind index has 32 bytes, an id 16.
        sqlx::query(
            "UPDATE users SET
                 username = '', username_index = uuid_send(users.id),
                 email = CASE WHEN is_service THEN NULL ELSE '' END,
                 email_index = CASE WHEN is_service THEN NULL ELSE uuid_send(users.id) END,
                 phone_number = NULL, password_hash = CASE WHEN is_service THEN NULL ELSE '' END, email_verified = false, phone_verified = false,
                 totp_enabled = false, passkeys = 0, is_active = false, failed_login_attempts = 0, locked_until = NULL, last_login_at = NULL,
                 last_login_ip = NULL, last_login_ip_sealed = NULL, deleted_at = c.at
             FROM unnest($1::uuid[], $2::timestamptz[]) AS c (id, at)
             WHERE users.id = c.id",
        )
        .bind(&users)
        .bind(&times)
        .execute(&mut *tx)
        .await?;
        for statement in [
            "UPDATE service_keys SET revoked_at = c.at FROM unnest($1::uuid[], $2::timestamptz[]) AS c (id, at)
             WHERE user_id = c.id AND revoked_at IS NULL",
            "UPDATE user_passkeys SET name = '', removed_at = coalesce(removed_at, c.at)
             FROM unnest($1::uuid[], $2::timestamptz[]) AS c (id, at) WHERE user_id = c.id",
        ] {
            let query = sqlx::query(statement).bind(&users).bind(&times);
            query.execute(&mut *tx).await?;
        }
        for statement in [
            "UPDATE user_sessions SET ip_address = NULL, ip_address_sealed = NULL, user_agent = NULL,
                 device_fingerprint = NULL, country_code = NULL, city = NULL
             WHERE user_id = ANY ($1)",
            "DELETE FROM password_history WHERE user_id = ANY ($1)",
            "UPDATE user_roles SET is_active = false WHERE user_id = ANY ($1) AND is_active",
            "DELETE FROM user_role_cache WHERE user_id = ANY ($1)",
            "UPDATE security_audit_log SET ip_address = NULL, user_agent = NULL
             WHERE user_id = ANY ($1) AND (ip_address IS NOT NULL OR user_agent IS NOT NULL)",
        ] {
            sqlx::query(statement).bind(&users).execute(&mut *tx).await?;
        }
        time_series::erase_detached(tx, &users).await?;
        Ok(())
    }
}
