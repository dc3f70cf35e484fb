//! `security_audit_log`: one row for each event of a user, and of the catalog on one shard. Tells
//! where in the log the record stands; descriptions hold no personal data.

use std::borrow::Cow;

use chrono::NaiveDate;
use domain::user::{SUSPICIOUS_FROM, score_of};
use read_model::time_series;
use schemas::catalog::{ApprovalRequested, CatalogEvent, ChangeKind};
use schemas::user::{
    FactorKind, LockReason, LoginFailed, PasswordChangeCause, ProfileChanged, ServiceKeyIssued, UserEvent,
    UserLoggedIn,
};
use schemas::{GrantScope, Sealed, SessionId, Timestamp};
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
    pub risk_score: i32,
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
    network: Option<&'a String>,
    user_agent: Option<&'a Sealed>,
}

impl Audit {
    pub fn fold_user(&mut self, at: &At<'_>, event: &UserEvent) -> Result<(), RowError> {
        let told = tell(event);
        let mut row = AuditRow::of(at, event.event_type().name, told.description);
        row.user_id = Some(at.user()?);
        row.session_id = told.session.map(|id| id.as_uuid());
        row.failed = told.failed;
        row.risk_score = score_of(event);
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
    pub const fn is_suspicious(&self) -> bool {
        self.risk_score >= SUSPICIOUS_FROM
    }

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
            risk_score: 0,
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
            ..says(tell_sign_in(e))
        },
        UserEvent::LoginFailed(e) => Told {
            failed: true,
            network: e.ip_network.as_ref(),
            user_agent: e.user_agent.as_ref(),
            ..says(tell_failures(e))
        },
        UserEvent::Locked(e) => says(match e.reason {
            LockReason::FailedLogins => "locked after failed sign-ins",
            LockReason::Administrator => "locked by an administrator",
            LockReason::Other => "locked",
        }),
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
        UserEvent::PasswordRehashed(_) => says("password hashed anew".to_owned()),
        UserEvent::SessionRefreshed(e) => Told {
            session: Some(e.session_id),
            network: e.ip_network.as_ref(),
            user_agent: e.user_agent.as_ref(),
            ..says(format!("session refreshed{}", tell_reasons(&e.risk_reasons)))
        },
        UserEvent::RefreshReuseDetected(e) => Told {
            session: Some(e.session_id),
            failed: true,
            ..says("replaced refresh token presented again, session ended")
        },
        UserEvent::SessionRevoked(e) => Told {
            session: Some(e.session_id),
            ..says("session ended")
        },
        UserEvent::SessionsRevoked(e) => says(format!("{} session(s) ended", e.session_ids.len())),
        UserEvent::RoleGranted(e) => {
            let (role, on) = (e.role_id, tell_scope(e.scope.as_ref()));
            says(match e.approval_id {
                None => format!("role {role}{on} granted"),
                Some(approval) => format!("role {role}{on} granted, approval {approval}"),
            })
        }
        UserEvent::RoleRevoked(e) => {
            let on = tell_scope(e.scope.as_ref());
            says(format!("role {}{on} revoked", e.role_id))
        }
        UserEvent::RoleGrantExpired(e) => {
            let on = tell_scope(e.scope.as_ref());
            says(format!(
                "grant of role {}{on} expired at {}",
                e.role_id, e.expires_at
            ))
        }
        UserEvent::ServiceAccountCreated(_) => says("service account created"),
        UserEvent::ServiceKeyIssued(e) => says(tell_key(e)),
        UserEvent::ServiceKeyRevoked(e) => says(format!("key {} revoked", e.key_id)),
        UserEvent::Deactivated(_) => says("account deactivated"),
        UserEvent::Reactivated(_) => says("account reactivated"),
        UserEvent::Erased(_) => says("account erased"),
        UserEvent::ErasureCompleted(_) => says("key of the erased account found nowhere any more"),
        UserEvent::TotpEnrolmentStarted(_) => says("enrolment of an authenticator app started"),
        UserEvent::TotpEnabled(e) => Told {
            session: Some(e.session_id),
            ..says("one-time passwords enabled")
        },
        UserEvent::TotpDisabled(e) => says(if e.by_administrator {
            "one-time passwords disabled by an administrator"
        } else {
            "one-time passwords disabled"
        }),
        UserEvent::RecoveryCodesReplaced(_) => says("recovery codes replaced"),
        UserEvent::SessionSteppedUp(e) => Told {
            session: Some(e.session_id),
            ..says(match e.factor.kind {
                FactorKind::Totp => "second factor shown: one-time password",
                FactorKind::RecoveryCode => "second factor shown: recovery code",
                FactorKind::Passkey => "second factor shown: passkey",
                FactorKind::Other => "second factor shown",
            })
        },
        UserEvent::PasskeyAdded(e) => Told {
            session: Some(e.session_id),
            ..says(format!("passkey {} added", e.credential_id))
        },
        UserEvent::PasskeyRemoved(e) => says(if e.by_administrator {
            format!("passkey {} removed by an administrator", e.credential_id)
        } else {
            format!("passkey {} removed", e.credential_id)
        }),
        UserEvent::PasskeyCounted(e) => says(format!(
            "passkey {} counted on to {}",
            e.credential_id, e.signature_counter
        )),
        UserEvent::PasskeyCloneSuspected(e) => Told {
            failed: true,
            ..says(format!(
                "passkey {} refused: its counter came back as {} after {}",
                e.credential_id, e.presented_counter, e.known_counter
            ))
        },
    }
}

fn tell_sign_in(login: &UserLoggedIn) -> String {
    let how = if login.despite_lock {
        "signed in from a known device while sign-in was locked"
    } else {
        "signed in"
    };
    let (by, reasons) = (login.methods.join("+"), tell_reasons(&login.risk_reasons));
    format!("{how} by {by}{reasons}")
}

fn tell_reasons(reasons: &[String]) -> String {
    if reasons.is_empty() {
        String::new()
    } else {
        format!(" ({})", reasons.join(", "))
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
        CatalogEvent::ApprovalRequested(e) => tell_request(e),
        CatalogEvent::ApprovalGiven(e) => format!("approval {} given by {}", e.approval_id, e.approved_by),
        CatalogEvent::ApprovalRefused(e) => format!("approval {} refused", e.approval_id),
        CatalogEvent::ApprovalWithdrawn(e) => format!("approval {} withdrawn", e.approval_id),
        CatalogEvent::ApprovalApplied(e) => {
            let outcome = if e.applied { "made" } else { "no longer possible" };
            format!("grant of approval {} {outcome}", e.approval_id)
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

fn tell_request(event: &ApprovalRequested) -> String {
    let ApprovalRequested {
        approval_id, change, ..
    } = event;
    let name = |name: &Option<String>| name.clone().unwrap_or_default();
    let (role, permission) = (name(&change.role), name(&change.permission));
    let what = match change.kind {
        ChangeKind::GrantRole => {
            let user = change.user_id.map(|id| id.to_string()).unwrap_or_default();
            format!(
                "grant of role {role}{} to {user}",
                tell_scope(change.scope.as_ref())
            )
        }
        ChangeKind::AttachPermission => format!("permission {permission} for role {role}"),
        ChangeKind::DefineRole => format!("role {role} below {}", name(&change.parent)),
        ChangeKind::DefinePermission => format!("definition of permission {permission}"),
        ChangeKind::Other => "a change".to_owned(),
    };
    format!("approval {approval_id} requested: {what}")
}

fn tell_scope(scope: Option<&GrantScope>) -> String {
    scope.map_or_else(String::new, |scope| format!(" on {scope}"))
}

fn tell_key(event: &ServiceKeyIssued) -> String {
    let scope = event.roles.as_ref().map_or_else(
        || "all roles".to_owned(),
        |roles| format!("{} role(s)", roles.len()),
    );
    let until = event
        .expires_at
        .map(|at| format!(" until {at}"))
        .unwrap_or_default();
    format!("key {} issued for {scope}{until}", event.key_id)
}
