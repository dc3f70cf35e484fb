//! Sealed fields of user events, opened or not.

use std::path::Path;

use event_log::identity::LogIdentity;
use event_log::{KafkaConfig, KeyRing, KeyRingError};
use schemas::user::UserEvent;
use schemas::{DataKey, KeyEncryptionKey, LogId, Sealed, UserId, sealed_field as field};

use crate::error::Error;

/// What can be shown of a user's sealed fields.
pub enum PersonalData {
    Sealed,
    Erased,
    Open { log: LogId, user: UserId, key: DataKey },
}

/// A sealed field on the screen.
pub(super) enum Shown {
    Text(String),
    /// Says why there is no text.
    Mark(&'static str),
}

/// Whether a field may ever be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Personal,
    /// Guards an account: worth nothing to an investigation and much to a thief.
    Secret,
}

/// A copy of what another event holds as the user's e-mail address.
const FORMER_EMAIL: &str = "former_email";

impl PersonalData {
    pub(super) fn show(&self, name: &str, field: Field, sealed: &Sealed) -> Shown {
        match (self, field) {
            (Self::Erased, _) => Shown::Mark("<erased>"),
            (Self::Sealed, _) | (Self::Open { .. }, Field::Secret) => Shown::Mark("<sealed>"),
            (Self::Open { log, user, key }, Field::Personal) => key
                .open(
                    *log,
                    *user,
                    if name == FORMER_EMAIL { field::EMAIL } else { name },
                    sealed,
                )
                .map_or(Shown::Mark("<does not open>"), Shown::Text),
        }
    }
}

/// The user's data key, if the key-encryption key is given.
pub(super) async fn open(
    config: &KafkaConfig,
    log: &LogIdentity,
    user: UserId,
    key_file: Option<&Path>,
) -> Result<PersonalData, Error> {
    let Some(path) = key_file else {
        return Ok(PersonalData::Sealed);
    };
    let contents = std::fs::read(path).map_err(|source| Error::KeyFile {
        path: path.to_owned(),
        source,
    })?;
    let key = KeyEncryptionKey::parse(&contents).map_err(|source| Error::Key {
        path: path.to_owned(),
        source,
    })?;
    let created = &log.created;
    if key.check_value(created.log_id) != created.key_check {
        return Err(Error::WrongKey {
            key: "key-encryption key",
            log_id: created.log_id,
        });
    }
    let ring = KeyRing::open(config, created.ledgers, created.log_id, key)?;
    match ring.get(user).await {
        Ok(key) => Ok(PersonalData::Open {
            log: created.log_id,
            user,
            key,
        }),
        Err(KeyRingError::Destroyed) => Ok(PersonalData::Erased),
        Err(KeyRingError::Missing) => {
            eprintln!("replay: the keys topic has no key of user {user}: nothing can be opened");
            Ok(PersonalData::Sealed)
        }
        Err(error) => Err(error.into()),
    }
}

/// The sealed fields of an event, under the names they were sealed with.
pub(super) fn sealed_fields(event: &UserEvent) -> Vec<(&'static str, Field, &Sealed)> {
    use Field::{Personal, Secret};
    let fields = match event {
        UserEvent::Registered(e) => vec![
            (field::USERNAME, Personal, Some(&e.username)),
            (field::EMAIL, Personal, Some(&e.email)),
            (field::PHONE_NUMBER, Personal, e.phone_number.as_ref()),
            (field::PASSWORD_HASH, Secret, Some(&e.password_hash)),
        ],
        UserEvent::ServiceAccountCreated(e) => vec![(field::USERNAME, Personal, Some(&e.username))],
        UserEvent::ServiceKeyIssued(e) => vec![(field::NONCE, Secret, Some(&e.nonce))],
        UserEvent::ProfileChanged(e) => vec![
            (field::USERNAME, Personal, e.username.as_ref()),
            (field::EMAIL, Personal, e.email.as_ref()),
            (FORMER_EMAIL, Personal, e.former_email.as_ref()),
            (field::PHONE_NUMBER, Personal, e.phone_number.as_ref()),
        ],
        UserEvent::EmailVerificationRequested(e) => vec![(field::NONCE, Secret, Some(&e.nonce))],
        UserEvent::PhoneVerificationRequested(e) => vec![(field::NONCE, Secret, Some(&e.nonce))],
        UserEvent::PasswordResetRequested(e) => vec![
            (field::NONCE, Secret, Some(&e.nonce)),
            (field::IP_ADDRESS, Personal, e.ip_address.as_ref()),
            (field::USER_AGENT, Personal, e.user_agent.as_ref()),
        ],
        UserEvent::LoggedIn(e) => vec![
            (field::NONCE, Secret, Some(&e.nonce)),
            (field::IP_ADDRESS, Personal, e.ip_address.as_ref()),
            (field::USER_AGENT, Personal, e.user_agent.as_ref()),
            (field::DEVICE_FINGERPRINT, Personal, e.device_fingerprint.as_ref()),
            (field::CITY, Personal, e.city.as_ref()),
        ],
        UserEvent::LoginFailed(e) => vec![
            (field::IP_ADDRESS, Personal, e.ip_address.as_ref()),
            (field::USER_AGENT, Personal, e.user_agent.as_ref()),
        ],
        UserEvent::SessionRefreshed(e) => vec![
            (field::NONCE, Secret, Some(&e.nonce)),
            (field::IP_ADDRESS, Personal, e.ip_address.as_ref()),
            (field::USER_AGENT, Personal, e.user_agent.as_ref()),
            (field::CITY, Personal, e.city.as_ref()),
        ],
        UserEvent::PasswordRehashed(e) => vec![(field::PASSWORD_HASH, Secret, Some(&e.password_hash))],
        UserEvent::PasswordChanged(e) => vec![(field::PASSWORD_HASH, Secret, Some(&e.password_hash))],
        UserEvent::TotpEnrolmentStarted(e) => vec![(field::TOTP_SECRET, Secret, Some(&e.secret))],
        UserEvent::TotpEnabled(e) => {
            vec![(field::RECOVERY_CODE_NONCE, Secret, Some(&e.recovery_code_nonce))]
        }
        UserEvent::RecoveryCodesReplaced(e) => {
            vec![(field::RECOVERY_CODE_NONCE, Secret, Some(&e.recovery_code_nonce))]
        }
        UserEvent::PasskeyAdded(e) => vec![
            (field::PASSKEY, Secret, Some(&e.passkey)),
            (field::PASSKEY_NAME, Personal, Some(&e.name)),
        ],
        UserEvent::ClaimAbandoned(_)
        | UserEvent::ServiceKeyRevoked(_)
        | UserEvent::NamesReleased(_)
        | UserEvent::Unlocked(_)
        | UserEvent::Erased(_)
        | UserEvent::ErasureCompleted(_)
        | UserEvent::EmailVerified(_)
        | UserEvent::PhoneVerificationFailed(_)
        | UserEvent::PhoneVerified(_)
        | UserEvent::Locked(_)
        | UserEvent::RefreshReuseDetected(_)
        | UserEvent::SessionRevoked(_)
        | UserEvent::SessionsRevoked(_)
        | UserEvent::RoleGranted(_)
        | UserEvent::RoleRevoked(_)
        | UserEvent::RoleGrantExpired(_)
        | UserEvent::Deactivated(_)
        | UserEvent::Reactivated(_)
        | UserEvent::TotpDisabled(_)
        | UserEvent::SessionSteppedUp(_)
        | UserEvent::PasskeyRemoved(_)
        | UserEvent::PasskeyCounted(_)
        | UserEvent::PasskeyCloneSuspected(_) => vec![],
    };
    fields
        .into_iter()
        .filter_map(|(name, field, sealed)| Some((name, field, sealed?)))
        .collect()
}
