//! What the events of a user do to what the user may.

use std::sync::Arc;

use access::Change;
use schemas::user::UserEvent;
use schemas::{GrantScope, RoleId};

/// `None`: neither gives nor takes a right. A lock refuses sign-in, not what is signed in.
pub fn change_by(event: &UserEvent) -> Option<Change> {
    match event {
        UserEvent::Registered(_) | UserEvent::ServiceAccountCreated(_) | UserEvent::Reactivated(_) => {
            Some(Change::Activated)
        }
        UserEvent::Deactivated(_) => Some(Change::Deactivated),
        UserEvent::Erased(_) => Some(Change::Erased),
        UserEvent::RoleGranted(e) => Some(Change::Granted {
            role_id: e.role_id,
            expires_at: e.expires_at,
            scope: shared(&e.scope),
        }),
        UserEvent::RoleRevoked(e) => Some(revoked(e.role_id, &e.scope)),
        UserEvent::RoleGrantExpired(e) => Some(revoked(e.role_id, &e.scope)),
        UserEvent::ClaimAbandoned(_)
        | UserEvent::ServiceKeyIssued(_)
        | UserEvent::ServiceKeyRevoked(_)
        | UserEvent::ProfileChanged(_)
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
        | UserEvent::PasskeyCloneSuspected(_) => None,
    }
}

fn revoked(role_id: RoleId, scope: &Option<GrantScope>) -> Change {
    Change::Revoked {
        role_id,
        scope: shared(scope),
    }
}

fn shared(scope: &Option<GrantScope>) -> Option<Arc<GrantScope>> {
    scope.clone().map(Arc::new)
}
