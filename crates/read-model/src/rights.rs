//! Which events make an older row of a user unusable.

use schemas::user::UserEvent;

/// Whether an event touches a user's rights, activity or the revocation of sessions. The position
/// of the last such event is `users.rights_position`; a node that keeps the same position by the
/// same rule knows whether a row is current.
pub fn touches_rights(event: &UserEvent) -> bool {
    match event {
        UserEvent::Registered(_)
        | UserEvent::RoleGranted(_)
        | UserEvent::RoleRevoked(_)
        | UserEvent::RoleGrantExpired(_)
        | UserEvent::ServiceAccountCreated(_)
        | UserEvent::ServiceKeyRevoked(_)
        | UserEvent::Deactivated(_)
        | UserEvent::Reactivated(_)
        | UserEvent::Erased(_)
        | UserEvent::PasswordChanged(_)
        | UserEvent::RefreshReuseDetected(_)
        | UserEvent::SessionRevoked(_)
        | UserEvent::SessionsRevoked(_) => true,
        // A lock stops new sign-ins only; a session that a row lacks is unknown and so refused.
        UserEvent::ClaimAbandoned(_)
        | UserEvent::ServiceKeyIssued(_)
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
        | UserEvent::PasswordRehashed(_)
        | UserEvent::SessionRefreshed(_)
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
