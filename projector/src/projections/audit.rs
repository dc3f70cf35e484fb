//! `security_audit_log`: one row for each event of a user, and of the catalog on one shard. Tells
//! where in the log the record stands; descriptions hold no personal data.

use std::borrow::Cow;

use chrono::NaiveDate;
use read_model::time_series;
use schemas::catalog::CatalogEvent;
use schemas::user::{LockReason, LoginFailed, PasswordChangeCause, ProfileChanged, UserEvent};
use schemas::{Sealed, SessionId, Timestamp};
use sqlx::PgConnection;
use sqlx::types::ipnetwork::IpNetwork;
use uuid::Uuid;

use super::{At, RowError, audit_copy, network, text};

#[derive(Default)]
pub(super) struct Audit(Vec<AuditRow>);

pub(super) struct AuditRow {
    pub id: Uuid,
    pub user_id: Option<Uuid>,
    pub session_id: Option<Uuid>,
    pub event_type: &'static str,
    pub failed: bool,
    pub description: Cow<'static, str>,
    pub network: Option<IpNetwork>,
    pub user_agent: Option<String>,
    pub request_id: Uuid,
    pub is_suspicious: bool,
    pub occurred_at: Timestamp,
    pub date: NaiveDate,
    pub actor: String,
    pub ledger: i16,
    pub offset: i64,
}

/// What an event tells beyond its meta record.
#[derive(Default)]
struct Told<'a> {
    description: Cow<'static, str>,
    session: Option<SessionId>,
    failed: bool,
    suspicious: bool,
    network: Option<&'a String>,
    user_agent: Option<&'a Sealed>,
}

impl Audit {
    pub fn fold_user(&mut self, at: &At<'_>, event: &UserEvent) -> Result<(), RowError> {
        let told = tell(event);
        let mut row = AuditRow::of(at, event.event_type().name, told.description);
        row.user_id = Some(at.user()?);
        row.session_id = told.session.map(|id| id.as_uuid());
        (row.failed, row.is_suspicious) = (told.failed, told.suspicious);
        row.network = network(told.network)?;
        row.user_agent = text(told.user_agent);
        self.0.push(row);
        Ok(())
    }

    pub fn fold_catalog(&mut self, at: &At<'_>, event: &CatalogEvent) {
        if at.place.audits_catalog() {
            self.0.push(AuditRow::of(
                at,
                event.event_type().name,
                tell_catalog(event).into(),
            ));
        }
    }

    pub fn days(&self) -> Vec<NaiveDate> {
        let mut days: Vec<_> = self.0.iter().map(|row| row.date).collect();
        days.dedup();
        days
    }

    pub async fn write(&self, tx: &mut PgConnection) -> Result<(), RowError> {
        if self.0.is_empty() {
            return Ok(());
        }
        let oldest = time_series::retained_from(&mut *tx, time_series::AUDIT).await?;
        let is_kept = |row: &&AuditRow| oldest.is_none_or(|oldest| row.date >= oldest);
        let kept: Vec<&AuditRow> = self.0.iter().filter(is_kept).collect();
        audit_copy::write(tx, &kept).await
    }
}

impl AuditRow {
    fn of(at: &At<'_>, event_type: &'static str, description: Cow<'static, str>) -> Self {
        Self {
            id: at.meta.event_id.as_uuid(),
            user_id: None,
            session_id: None,
            event_type,
            failed: false,
            description,
            network: None,
            user_agent: None,
            request_id: at.meta.request_id.as_uuid(),
            is_suspicious: false,
            occurred_at: at.meta.occurred_at,
            date: at.time().date_naive(),
            actor: at.meta.actor.to_string(),
            ledger: at.place.ledger,
            offset: at.offset,
        }
    }
}

fn tell(event: &UserEvent) -> Told<'_> {
    match event {
        UserEvent::Registered(_) => says("account registered"),
        UserEvent::ClaimAbandoned(_) => says("claim on an identifier abandoned"),
        UserEvent::ProfileChanged(e) => says(tell_change(e)),
        UserEvent::NamesReleased(e) => says(format!("{} former name(s) free for others", e.names.len())),
        UserEvent::LoggedIn(e) => Told {
            session: Some(e.session_id),
            network: e.ip_network.as_ref(),
            user_agent: e.user_agent.as_ref(),
            ..says(if e.despite_lock {
                "signed in from a known device while sign-in was locked"
            } else {
                "signed in"
            })
        },
        UserEvent::LoginFailed(e) => Told {
            failed: true,
            network: e.ip_network.as_ref(),
            user_agent: e.user_agent.as_ref(),
            ..says(tell_failures(e))
        },
        UserEvent::Locked(e) => Told {
            suspicious: e.reason == LockReason::FailedLogins,
            ..says(match e.reason {
                LockReason::FailedLogins => "locked after failed sign-ins",
                LockReason::Administrator => "locked by an administrator",
                LockReason::Other => "locked",
            })
        },
        UserEvent::Unlocked(_) => says("unlocked"),
        UserEvent::EmailVerificationRequested(_) => says("token sent to the e-mail address"),
        UserEvent::EmailVerified(_) => says("e-mail address verified"),
        UserEvent::PhoneVerificationRequested(_) => says("code sent to the phone number"),
        UserEvent::PhoneVerificationFailed(_) => Told {
            failed: true,
            ..says("wrong code for the phone number")
        },
        UserEvent::PhoneVerified(_) => says("phone number verified"),
        UserEvent::PasswordResetRequested(e) => Told {
            network: e.ip_network.as_ref(),
            user_agent: e.user_agent.as_ref(),
            ..says("password reset requested")
        },
        UserEvent::PasswordChanged(e) => says(format!(
            "password {}, {} session(s) ended",
            if e.cause == PasswordChangeCause::Reset {
                "reset"
            } else {
                "changed"
            },
            e.revoked_sessions.len()
        )),
        UserEvent::SessionRefreshed(e) => Told {
            session: Some(e.session_id),
            network: e.ip_network.as_ref(),
            user_agent: e.user_agent.as_ref(),
            ..says("session refreshed")
        },
        UserEvent::RefreshReuseDetected(e) => Told {
            session: Some(e.session_id),
            failed: true,
            suspicious: true,
            ..says("replaced refresh token presented again, session ended")
        },
        UserEvent::SessionRevoked(e) => Told {
            session: Some(e.session_id),
            ..says("session ended")
        },
        UserEvent::SessionsRevoked(e) => says(format!("{} session(s) ended", e.session_ids.len())),
        UserEvent::RoleGranted(e) => says(format!("role {} granted", e.role_id)),
        UserEvent::RoleRevoked(e) => says(format!("role {} revoked", e.role_id)),
        UserEvent::Deactivated(_) => says("account deactivated"),
        UserEvent::Reactivated(_) => says("account reactivated"),
        UserEvent::Erased(_) => says("account erased"),
        UserEvent::ErasureCompleted(_) => says("key of the erased account found nowhere any more"),
    }
}

fn tell_change(changed: &ProfileChanged) -> String {
    let parts = [
        (changed.username.is_some(), "user name"),
        (changed.email.is_some(), "e-mail address"),
        (changed.changes_phone_number, "phone number"),
    ];
    let parts = parts.into_iter().filter(|(is_it, _)| *is_it);
    let parts: Vec<&str> = parts.map(|(_, name)| name).collect();
    format!("{} changed", parts.join(", "))
}

fn tell_failures(failed: &LoginFailed) -> String {
    let known = failed.known_devices.iter().map(|device| device.count);
    let known = known.fold(0, i32::saturating_add);
    let from = match known {
        0 => String::new(),
        known if known == failed.count => " from a known device".to_owned(),
        known => format!(", {known} of them from known devices"),
    };
    match failed.count {
        1 => format!("failed sign-in{from}"),
        count => format!(
            "{count} failed sign-ins from {} to {}{from}",
            failed.first_at, failed.last_at
        ),
    }
}

fn says(description: impl Into<Cow<'static, str>>) -> Told<'static> {
    Told {
        description: description.into(),
        ..Told::default()
    }
}

fn tell_catalog(event: &CatalogEvent) -> String {
    match event {
        CatalogEvent::RoleDefined(e) => format!("role {} ({}) defined", e.role_id, e.name),
        CatalogEvent::RoleChanged(e) => format!("role {} changed", e.role_id),
        CatalogEvent::RoleDeleted(e) => format!("role {} ({}) deleted", e.role_id, e.name),
        CatalogEvent::PermissionDefined(e) => format!("permission {} ({}) defined", e.permission_id, e.name),
        CatalogEvent::PermissionDeleted(e) => format!("permission {} ({}) deleted", e.permission_id, e.name),
        CatalogEvent::PermissionAttached(e) => {
            format!("permission {} attached to role {}", e.permission_id, e.role_id)
        }
        CatalogEvent::PermissionDetached(e) => {
            format!("permission {} detached from role {}", e.permission_id, e.role_id)
        }
        CatalogEvent::ExtentRecorded(_) => "extent of the log recorded".to_owned(),
        CatalogEvent::ShardMapChanged(e) => format!("shard map {} of {} shards", e.version, e.shards),
        CatalogEvent::BootstrapEpochRaised(e) => {
            format!(
                "bootstrap epoch {} makes user {} administrator",
                e.epoch, e.administrator
            )
        }
    }
}
