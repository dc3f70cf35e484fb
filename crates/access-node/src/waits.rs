//! Which events may be applied before what they rest on.

use schemas::Event;
use schemas::catalog::CatalogEvent;
use schemas::user::UserEvent;

/// False for what only takes rights away: too early it denies a moment too soon, too late it allows
/// what must not be.
pub(crate) fn waits_for_basis(event: &Event) -> bool {
    match event {
        Event::User(event) => user_event_waits(event),
        Event::Catalog(event) => catalog_event_waits(event),
        Event::Identifier(_) | Event::Log(_) => true,
    }
}

fn user_event_waits(event: &UserEvent) -> bool {
    match event {
        UserEvent::Registered(_)
        | UserEvent::ProfileChanged(_)
        | UserEvent::NamesReleased(_)
        | UserEvent::Unlocked(_)
        | UserEvent::EmailVerificationRequested(_)
        | UserEvent::EmailVerified(_)
        | UserEvent::PhoneVerificationRequested(_)
        | UserEvent::PhoneVerificationFailed(_)
        | UserEvent::PhoneVerified(_)
        | UserEvent::PasswordResetRequested(_)
        | UserEvent::LoggedIn(_)
        | UserEvent::ServiceAccountCreated(_)
        | UserEvent::ServiceKeyIssued(_)
        | UserEvent::SessionRefreshed(_)
        | UserEvent::PasswordRehashed(_)
        | UserEvent::RoleGranted(_)
        | UserEvent::Reactivated(_) => true,
        UserEvent::ClaimAbandoned(_)
        | UserEvent::Erased(_)
        | UserEvent::ErasureCompleted(_)
        | UserEvent::LoginFailed(_)
        | UserEvent::Locked(_)
        | UserEvent::PasswordChanged(_)
        | UserEvent::RefreshReuseDetected(_)
        | UserEvent::SessionRevoked(_)
        | UserEvent::SessionsRevoked(_)
        | UserEvent::RoleRevoked(_)
        | UserEvent::ServiceKeyRevoked(_)
        | UserEvent::Deactivated(_)
        | UserEvent::TotpEnrolmentStarted(_)
        | UserEvent::TotpEnabled(_)
        | UserEvent::TotpDisabled(_)
        | UserEvent::RecoveryCodesReplaced(_)
        | UserEvent::SessionSteppedUp(_)
        | UserEvent::PasskeyAdded(_)
        | UserEvent::PasskeyRemoved(_)
        | UserEvent::PasskeyCounted(_)
        | UserEvent::PasskeyCloneSuspected(_)
        | UserEvent::RoleGrantExpired(_) => false,
    }
}

fn catalog_event_waits(event: &CatalogEvent) -> bool {
    match event {
        CatalogEvent::RoleDefined(_)
        | CatalogEvent::RoleChanged(_)
        | CatalogEvent::PermissionDefined(_)
        | CatalogEvent::PermissionAttached(_) => true,
        CatalogEvent::RoleDeleted(_)
        | CatalogEvent::PermissionDeleted(_)
        | CatalogEvent::PermissionDetached(_)
        // The grant that follows waits for the rest.
        | CatalogEvent::BootstrapEpochRaised(_)
        | CatalogEvent::ExtentRecorded(_)
        // What an approval gives stands behind it, and waits itself.
        | CatalogEvent::ApprovalRequested(_)
        | CatalogEvent::ApprovalGiven(_)
        | CatalogEvent::ApprovalRefused(_)
        | CatalogEvent::ApprovalWithdrawn(_)
        | CatalogEvent::ApprovalApplied(_)
        | CatalogEvent::ShardMapChanged(_) => false,
    }
}
