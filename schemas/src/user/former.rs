//! Payloads as former versions had them, and the step up from each.

use serde::{Deserialize, Serialize};

use super::{
    PASSWORD, PasswordChangeCause, PasswordChanged, RoleGrantExpired, RoleGranted, RoleRevoked,
    SessionRefreshed, UserLoggedIn, UserRegistered,
};
use crate::blind_index::BlindIndex;
use crate::encryption::Sealed;
use crate::sha256::Sha256Digest;
use ids::Timestamp;
use ids::{ApprovalId, ClaimId, DeviceId, RoleId, SessionId, UserId};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "UserLoggedIn")]
pub struct UserLoggedInV1 {
    pub session_id: SessionId,
    pub nonce: Sealed,
    pub refresh_token_hash: Sha256Digest,
    pub expires_at: Timestamp,
    pub device_id: DeviceId,
    pub despite_lock: bool,
    pub ip_network: Option<String>,
    pub ip_address: Option<Sealed>,
    pub user_agent: Option<Sealed>,
    pub device_fingerprint: Option<Sealed>,
    pub country_code: Option<String>,
    pub city: Option<Sealed>,
}

/// v1 knew of passwords alone, of no idle time and of no risk.
pub(super) fn logged_in_v1_to_v2(old: UserLoggedInV1) -> UserLoggedIn {
    UserLoggedIn {
        session_id: old.session_id,
        nonce: old.nonce,
        refresh_token_hash: old.refresh_token_hash,
        expires_at: old.expires_at,
        device_id: old.device_id,
        despite_lock: old.despite_lock,
        ip_network: old.ip_network,
        ip_address: old.ip_address,
        user_agent: old.user_agent,
        device_fingerprint: old.device_fingerprint,
        country_code: old.country_code,
        city: old.city,
        authenticated_at: None,
        methods: vec![PASSWORD.to_owned()],
        factor: None,
        idle_timeout: None,
        is_new_device: false,
        risk_score: 0,
        risk_reasons: Vec::new(),
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "SessionRefreshed")]
pub struct SessionRefreshedV1 {
    pub session_id: SessionId,
    pub generation: i32,
    pub nonce: Sealed,
    pub refresh_token_hash: Sha256Digest,
    pub refreshed_at: Timestamp,
    pub ip_network: Option<String>,
    pub ip_address: Option<Sealed>,
    pub user_agent: Option<Sealed>,
}

/// v1 told neither the country nor how unusual the refresh was.
pub(super) fn session_refreshed_v1_to_v2(old: SessionRefreshedV1) -> SessionRefreshed {
    SessionRefreshed {
        session_id: old.session_id,
        generation: old.generation,
        nonce: old.nonce,
        refresh_token_hash: old.refresh_token_hash,
        refreshed_at: old.refreshed_at,
        ip_network: old.ip_network,
        ip_address: old.ip_address,
        user_agent: old.user_agent,
        country_code: None,
        city: None,
        risk_score: 0,
        risk_reasons: Vec::new(),
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "RoleGranted")]
pub struct RoleGrantedV1 {
    pub role_id: RoleId,
    pub expires_at: Option<Timestamp>,
}

/// v1 knew no approvals: one person was enough for every grant.
pub(super) fn role_granted_v1_to_v3(old: RoleGrantedV1) -> RoleGranted {
    RoleGranted {
        expires_at: old.expires_at,
        ..RoleGranted::of(old.role_id)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "RoleGranted")]
pub struct RoleGrantedV2 {
    pub role_id: RoleId,
    pub expires_at: Option<Timestamp>,
    pub approval_id: Option<ApprovalId>,
}

/// v2 knew no scopes.
pub(super) fn role_granted_v2_to_v3(old: RoleGrantedV2) -> RoleGranted {
    RoleGranted {
        expires_at: old.expires_at,
        approval_id: old.approval_id,
        ..RoleGranted::of(old.role_id)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "RoleRevoked")]
pub struct RoleRevokedV1 {
    pub role_id: RoleId,
}

/// v1 knew no scopes.
pub(super) fn role_revoked_v1_to_v2(old: RoleRevokedV1) -> RoleRevoked {
    RoleRevoked::of(old.role_id)
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "RoleGrantExpired")]
pub struct RoleGrantExpiredV1 {
    pub role_id: RoleId,
    pub expires_at: Timestamp,
}

/// v1 knew no scopes.
pub(super) fn role_grant_expired_v1_to_v2(old: RoleGrantExpiredV1) -> RoleGrantExpired {
    RoleGrantExpired {
        role_id: old.role_id,
        expires_at: old.expires_at,
        scope: None,
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "PasswordChanged")]
pub struct PasswordChangedV1 {
    pub password_hash: Sealed,
    pub revoked_sessions: Vec<SessionId>,
}

/// v1 had no cause: there were no resets.
pub(super) fn password_changed_v1_to_v3(old: PasswordChangedV1) -> PasswordChanged {
    PasswordChanged {
        password_hash: old.password_hash,
        revoked_sessions: old.revoked_sessions,
        cause: PasswordChangeCause::Change,
        known_device: None,
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "PasswordChanged")]
pub struct PasswordChangedV2 {
    pub password_hash: Sealed,
    pub revoked_sessions: Vec<SessionId>,
    pub cause: PasswordChangeCause,
}

/// v2 made no device known.
pub(super) fn password_changed_v2_to_v3(old: PasswordChangedV2) -> PasswordChanged {
    PasswordChanged {
        password_hash: old.password_hash,
        revoked_sessions: old.revoked_sessions,
        cause: old.cause,
        known_device: None,
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "UserRegistered")]
pub struct UserRegisteredV1 {
    pub user_id: UserId,
    pub claim_id: ClaimId,
    pub username: Sealed,
    pub username_index: BlindIndex,
    pub email: Sealed,
    pub email_index: BlindIndex,
    pub phone_number: Option<Sealed>,
    pub password_hash: Sealed,
}

/// v1 knew of no imported users: nothing was verified beforehand.
pub(super) fn registered_v1_to_v2(old: UserRegisteredV1) -> UserRegistered {
    UserRegistered {
        user_id: old.user_id,
        claim_id: old.claim_id,
        username: old.username,
        username_index: old.username_index,
        email: old.email,
        email_index: old.email_index,
        phone_number: old.phone_number,
        password_hash: old.password_hash,
        email_verified: false,
        phone_verified: false,
    }
}
