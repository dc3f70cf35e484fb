//! Events of one person's account. `Sealed` fields are ciphertext; readers copy them unopened.

mod factors;
mod former;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::blind_index::BlindIndex;
use crate::encryption::Sealed;
use crate::events::{event_type, events};
use crate::identifier::IdentifierKind;
use crate::sha256::Sha256Digest;
use ids::Timestamp;
use ids::{
    ApprovalId, CeremonyId, ClaimId, CredentialId, DeviceId, GrantScope, KeyId, OneTimeId, RoleId, SessionId,
    UserId,
};

pub use factors::{HARDWARE_KEY, MULTIPLE_FACTORS, ONE_TIME_PASSWORD, SOFTWARE_KEY, USER_VERIFIED};
pub use factors::{
    PasskeyAdded, PasskeyCloneSuspected, PasskeyCounted, PasskeyRemoved, RecoveryCodesReplaced,
    SessionSteppedUp, TotpDisabled, TotpEnabled, TotpEnrolmentStarted,
};
pub use former::{
    PasswordChangedV1, PasswordChangedV2, RoleGrantExpiredV1, RoleGrantedV1, RoleGrantedV2, RoleRevokedV1,
    SessionRefreshedV1, UserLoggedInV1, UserRegisteredV1,
};

/// Method reference of a password (RFC 8176).
pub const PASSWORD: &str = "pwd";

events! {
    /// What can happen to a user. A name and version, once released, never change meaning.
    pub enum UserEvent {
        Registered(UserRegistered) => (
            "user.registered", 2, from 1: UserRegisteredV1 => former::registered_v1_to_v2
        ),
        ClaimAbandoned(ClaimAbandoned) => ("user.claim_abandoned", 1),
        ProfileChanged(ProfileChanged) => ("user.profile_changed", 1),
        NamesReleased(NamesReleased) => ("user.names_released", 1),
        LoggedIn(UserLoggedIn) => ("user.logged_in", 2, from 1: UserLoggedInV1 => former::logged_in_v1_to_v2),
        LoginFailed(LoginFailed) => ("user.login_failed", 1),
        Locked(UserLocked) => ("user.locked", 1),
        Unlocked(UserUnlocked) => ("user.unlocked", 1),
        EmailVerificationRequested(EmailVerificationRequested) => ("user.email_verification_requested", 1),
        EmailVerified(EmailVerified) => ("user.email_verified", 1),
        PhoneVerificationRequested(PhoneVerificationRequested) => ("user.phone_verification_requested", 1),
        PhoneVerificationFailed(PhoneVerificationFailed) => ("user.phone_verification_failed", 1),
        PhoneVerified(PhoneVerified) => ("user.phone_verified", 1),
        PasswordResetRequested(PasswordResetRequested) => ("user.password_reset_requested", 1),
        PasswordChanged(PasswordChanged) => (
            "user.password_changed", 3,
            from 1: PasswordChangedV1 => former::password_changed_v1_to_v3,
            from 2: PasswordChangedV2 => former::password_changed_v2_to_v3
        ),
        PasswordRehashed(PasswordRehashed) => ("user.password_rehashed", 1),
        SessionRefreshed(SessionRefreshed) => (
            "user.session_refreshed", 2, from 1: SessionRefreshedV1 => former::session_refreshed_v1_to_v2
        ),
        RefreshReuseDetected(RefreshReuseDetected) => ("user.refresh_reuse_detected", 1),
        SessionRevoked(SessionRevoked) => ("user.session_revoked", 1),
        SessionsRevoked(SessionsRevoked) => ("user.sessions_revoked", 1),
        RoleGranted(RoleGranted) => (
            "user.role_granted", 3,
            from 1: RoleGrantedV1 => former::role_granted_v1_to_v3,
            from 2: RoleGrantedV2 => former::role_granted_v2_to_v3
        ),
        RoleRevoked(RoleRevoked) => ("user.role_revoked", 2, from 1: RoleRevokedV1 => former::role_revoked_v1_to_v2),
        RoleGrantExpired(RoleGrantExpired) => (
            "user.role_grant_expired", 2, from 1: RoleGrantExpiredV1 => former::role_grant_expired_v1_to_v2
        ),
        ServiceAccountCreated(ServiceAccountCreated) => ("user.service_account_created", 1),
        ServiceKeyIssued(ServiceKeyIssued) => ("user.service_key_issued", 1),
        ServiceKeyRevoked(ServiceKeyRevoked) => ("user.service_key_revoked", 1),
        Deactivated(UserDeactivated) => ("user.deactivated", 1),
        Reactivated(UserReactivated) => ("user.reactivated", 1),
        TotpEnrolmentStarted(TotpEnrolmentStarted) => ("user.totp_enrolment_started", 1),
        TotpEnabled(TotpEnabled) => ("user.totp_enabled", 1),
        TotpDisabled(TotpDisabled) => ("user.totp_disabled", 1),
        RecoveryCodesReplaced(RecoveryCodesReplaced) => ("user.recovery_codes_replaced", 1),
        SessionSteppedUp(SessionSteppedUp) => ("user.session_stepped_up", 1),
        PasskeyAdded(PasskeyAdded) => ("user.passkey_added", 1),
        PasskeyRemoved(PasskeyRemoved) => ("user.passkey_removed", 1),
        PasskeyCounted(PasskeyCounted) => ("user.passkey_counted", 1),
        PasskeyCloneSuspected(PasskeyCloneSuspected) => ("user.passkey_clone_suspected", 1),
        Erased(UserErased) => ("user.erased", 1),
        ErasureCompleted(ErasureCompleted) => ("user.erasure_completed", 1),
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "UserRegistered")]
pub struct UserRegistered {
    pub user_id: UserId,
    /// Both identifiers are reserved under it.
    pub claim_id: ClaimId,
    pub username: Sealed,
    pub username_index: BlindIndex,
    pub email: Sealed,
    pub email_index: BlindIndex,
    pub phone_number: Option<Sealed>,
    pub password_hash: Sealed,
    /// Known to be the user's before registration: of imported users.
    pub email_verified: bool,
    pub phone_verified: bool,
}

/// A claim on an identifier came to nothing; a later event under it is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "ClaimAbandoned")]
pub struct ClaimAbandoned {
    pub claim_id: ClaimId,
}

/// Names or phone number changed: the commit point of the claim on the new names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "ProfileChanged")]
pub struct ProfileChanged {
    /// The new names are reserved under it; none where no name is new.
    pub claim_id: Option<ClaimId>,
    pub username: Option<Sealed>,
    /// The former one where only the spelling changed.
    pub username_index: Option<BlindIndex>,
    pub email: Option<Sealed>,
    /// The former one where only the spelling changed.
    pub email_index: Option<BlindIndex>,
    /// The address that the new one replaced, which gets a notice.
    pub former_email: Option<Sealed>,
    pub changes_phone_number: bool,
    /// None where it was removed, or stays.
    pub phone_number: Option<Sealed>,
}

/// Names that the user gave up are free for others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "NamesReleased")]
pub struct NamesReleased {
    pub names: Vec<HeldName>,
}

/// A name and the claim under which a user holds or held it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "HeldName")]
pub struct HeldName {
    pub kind: IdentifierKind,
    pub index: BlindIndex,
    pub claim_id: ClaimId,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "UserLoggedIn")]
pub struct UserLoggedIn {
    pub session_id: SessionId,
    /// From it and the token key the refresh token can be derived again.
    pub nonce: Sealed,
    pub refresh_token_hash: Sha256Digest,
    /// The session ends then, whatever is refreshed.
    pub expires_at: Timestamp,
    /// The device that signed in: the one of an earlier sign-in, if it showed the token it got then.
    pub device_id: DeviceId,
    /// Sign-in was locked, which did not bind this device. The lock and the failures stay.
    pub despite_lock: bool,
    /// Coarse network: /16 for IPv4, /32 for IPv6.
    pub ip_network: Option<String>,
    pub ip_address: Option<Sealed>,
    pub user_agent: Option<Sealed>,
    pub device_fingerprint: Option<Sealed>,
    pub country_code: Option<String>,
    pub city: Option<Sealed>,
    /// The session's first activity; unknown of sessions that began under version 1.
    pub authenticated_at: Option<Timestamp>,
    /// Method references of RFC 8176, such as [`PASSWORD`].
    pub methods: Vec<String>,
    /// What was shown besides or instead of a password.
    pub factor: Option<Factor>,
    /// Microseconds after its last sign-in or refresh at which the session ends too.
    pub idle_timeout: Option<i64>,
    /// The user had not signed in on the device before.
    pub is_new_device: bool,
    /// 0 to 100.
    pub risk_score: i32,
    /// The rules that gave the score.
    pub risk_reasons: Vec<String>,
}

impl UserLoggedIn {
    /// With a password alone, by a client of which nothing is known.
    pub fn by_password(
        session_id: SessionId,
        device_id: DeviceId,
        nonce: Sealed,
        refresh_token_hash: Sha256Digest,
        expires_at: Timestamp,
    ) -> Self {
        former::logged_in_v1_to_v2(UserLoggedInV1 {
            session_id,
            nonce,
            refresh_token_hash,
            expires_at,
            device_id,
            despite_lock: false,
            ip_network: None,
            ip_address: None,
            user_agent: None,
            device_fingerprint: None,
            country_code: None,
            city: None,
        })
    }

    /// How long the session lives without a refresh, if that is bounded.
    pub fn idles_for(&self) -> Option<Duration> {
        let micros = self.idle_timeout?;
        Some(Duration::from_micros(u64::try_from(micros).unwrap_or(0)))
    }
}

/// A second factor, or what replaces a password. What can be used once is used up by it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "Factor")]
pub struct Factor {
    pub kind: FactorKind,
    /// The enrolled authenticator or passkey.
    pub credential_id: Option<CredentialId>,
    /// Time step of the one-time password (RFC 6238).
    pub totp_step: Option<i64>,
    pub recovery_code_hash: Option<Sha256Digest>,
    /// The challenge that was answered.
    pub ceremony_id: Option<CeremonyId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "FactorKind", rename_all = "snake_case")]
pub enum FactorKind {
    Other,
    Totp,
    RecoveryCode,
    Passkey,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "LoginFailed")]
pub struct LoginFailed {
    pub count: i32,
    pub first_at: Timestamp,
    pub last_at: Timestamp,
    /// Those among them from devices that had signed in before: they count against the device, not
    /// towards a lock.
    pub known_devices: Vec<DeviceFailures>,
    pub ip_network: Option<String>,
    pub ip_address: Option<Sealed>,
    pub user_agent: Option<Sealed>,
}

impl LoginFailed {
    /// The failures that count towards a lock.
    pub fn from_elsewhere(&self) -> i32 {
        let known = self.known_devices.iter().map(|device| device.count.max(0));
        let known = known.fold(0, i32::saturating_add);
        self.count.max(1).saturating_sub(known).max(0)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "DeviceFailures")]
pub struct DeviceFailures {
    pub device_id: DeviceId,
    pub count: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "LockReason", rename_all = "snake_case")]
pub enum LockReason {
    Other,
    FailedLogins,
    Administrator,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "UserLocked")]
pub struct UserLocked {
    pub reason: LockReason,
    pub locked_until: Timestamp,
}

/// A lock ended before its time; failures count from zero again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "UserUnlocked")]
pub struct UserUnlocked {}

/// A token went out to the e-mail address; an earlier one died with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "EmailVerificationRequested")]
pub struct EmailVerificationRequested {
    pub token_id: OneTimeId,
    pub email_index: BlindIndex,
    /// From it and the token key the token can be derived.
    pub nonce: Sealed,
    pub token_hash: Sha256Digest,
    pub expires_at: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "EmailVerified")]
pub struct EmailVerified {
    pub email_index: BlindIndex,
}

/// A code went out to the phone number. It is short: a hash would give it away, so there is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "PhoneVerificationRequested")]
pub struct PhoneVerificationRequested {
    pub code_id: OneTimeId,
    /// From it and the token key the code can be derived.
    pub nonce: Sealed,
    pub expires_at: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "PhoneVerificationFailed")]
pub struct PhoneVerificationFailed {
    pub code_id: OneTimeId,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "PhoneVerified")]
pub struct PhoneVerified {
    pub code_id: OneTimeId,
}

/// A token went out to the e-mail address; an earlier one died with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "PasswordResetRequested")]
pub struct PasswordResetRequested {
    pub token_id: OneTimeId,
    /// From it and the token key the token can be derived.
    pub nonce: Sealed,
    pub token_hash: Sha256Digest,
    pub expires_at: Timestamp,
    /// Of whoever asked. Coarse: /16 for IPv4, /32 for IPv6.
    pub ip_network: Option<String>,
    pub ip_address: Option<Sealed>,
    pub user_agent: Option<Sealed>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "PasswordChangeCause", rename_all = "snake_case")]
pub enum PasswordChangeCause {
    Other,
    /// By whoever knew the former one.
    Change,
    /// By whoever received a token.
    Reset,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "PasswordChanged")]
pub struct PasswordChanged {
    pub password_hash: Sealed,
    pub revoked_sessions: Vec<SessionId>,
    pub cause: PasswordChangeCause,
    /// The only one known from now on: a reset makes it so, and a change is made from it. Guesses by others do not keep its user out.
    pub known_device: Option<DeviceId>,
}

/// The same password under another hash; no session ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "PasswordRehashed")]
pub struct PasswordRehashed {
    pub password_hash: Sealed,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "SessionRefreshed")]
pub struct SessionRefreshed {
    pub session_id: SessionId,
    /// Generation of the new refresh token.
    pub generation: i32,
    pub nonce: Sealed,
    pub refresh_token_hash: Sha256Digest,
    /// For a short while from then the replaced token gives the same answer again.
    pub refreshed_at: Timestamp,
    pub ip_network: Option<String>,
    pub ip_address: Option<Sealed>,
    pub user_agent: Option<Sealed>,
    pub country_code: Option<String>,
    pub city: Option<Sealed>,
    /// 0 to 100.
    pub risk_score: i32,
    /// The rules that gave the score.
    pub risk_reasons: Vec<String>,
}

/// A refresh token came back after it was replaced; the session ended with this fact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "RefreshReuseDetected")]
pub struct RefreshReuseDetected {
    pub session_id: SessionId,
    pub presented_generation: i32,
    pub current_generation: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "RevokeReason", rename_all = "snake_case")]
pub enum RevokeReason {
    Other,
    Logout,
    UserRequest,
    Administrator,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "SessionRevoked")]
pub struct SessionRevoked {
    pub session_id: SessionId,
    pub reason: RevokeReason,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "SessionsRevoked")]
pub struct SessionsRevoked {
    pub session_ids: Vec<SessionId>,
    pub reason: RevokeReason,
}

/// A user holds a role from now on; granting it under the same scope again replaces the grant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "RoleGranted")]
pub struct RoleGranted {
    pub role_id: RoleId,
    /// The grant counts until then, exclusive.
    pub expires_at: Option<Timestamp>,
    /// Set where it took a second person's approval.
    pub approval_id: Option<ApprovalId>,
    pub scope: Option<GrantScope>,
}

impl RoleGranted {
    /// For good, without limits, by one person.
    pub const fn of(role_id: RoleId) -> Self {
        Self {
            role_id,
            expires_at: None,
            approval_id: None,
            scope: None,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "RoleRevoked")]
pub struct RoleRevoked {
    pub role_id: RoleId,
    pub scope: Option<GrantScope>,
}

impl RoleRevoked {
    /// Of a grant without limits.
    pub const fn of(role_id: RoleId) -> Self {
        Self { role_id, scope: None }
    }
}

/// A grant reached its expiry. It counted for nothing from then on, whenever this was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "RoleGrantExpired")]
pub struct RoleGrantExpired {
    pub role_id: RoleId,
    pub expires_at: Timestamp,
    pub scope: Option<GrantScope>,
}

/// A user without e-mail address or password, whose callers bring keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "ServiceAccountCreated")]
pub struct ServiceAccountCreated {
    pub user_id: UserId,
    pub claim_id: ClaimId,
    pub username: Sealed,
    pub username_index: BlindIndex,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "ServiceKeyIssued")]
pub struct ServiceKeyIssued {
    pub key_id: KeyId,
    /// From it and the token key the key can be derived again.
    pub nonce: Sealed,
    /// Of the key's text.
    pub key_hash: Sha256Digest,
    /// Of the account's roles, those that count for who brings this key; all of them if absent.
    pub roles: Option<Vec<RoleId>>,
    /// Exclusive.
    pub expires_at: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "ServiceKeyRevoked")]
pub struct ServiceKeyRevoked {
    pub key_id: KeyId,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "UserDeactivated")]
pub struct UserDeactivated {
    pub revoked_sessions: Vec<SessionId>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "UserReactivated")]
pub struct UserReactivated {}

/// The data key was destroyed in the same transaction: what was sealed under it is gone for good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "UserErased")]
pub struct UserErased {
    pub revoked_sessions: Vec<SessionId>,
}

/// The erased user's key is found nowhere in the keys topic any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "ErasureCompleted")]
pub struct ErasureCompleted {}
