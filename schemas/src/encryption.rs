//! Personal data at rest: AES-256-GCM under a data key per user, wrapped by one configured key.
//!
//! Destroying a user's data key makes everything sealed under it unreadable for ever, while the
//! events, their chain and every digest over the ciphertext stay valid.

use std::fmt;

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use hmac::{Hmac, Mac};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::Sha256;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::sha256::Sha256Digest;
use ids::{LogId, UserId};

const NONCE: usize = 12;

/// Names of sealed fields: part of what a ciphertext is bound to, so they never change.
pub mod sealed_field {
    pub const USERNAME: &str = "username";
    pub const EMAIL: &str = "email";
    pub const PHONE_NUMBER: &str = "phone_number";
    pub const PASSWORD_HASH: &str = "password_hash";
    pub const NONCE: &str = "nonce";
    pub const IP_ADDRESS: &str = "ip_address";
    pub const USER_AGENT: &str = "user_agent";
    pub const DEVICE_FINGERPRINT: &str = "device_fingerprint";
    pub const CITY: &str = "city";
    pub const TOTP_SECRET: &str = "totp_secret";
    pub const RECOVERY_CODE_NONCE: &str = "recovery_code_nonce";
    pub const PASSKEY: &str = "passkey";
    pub const PASSKEY_NAME: &str = "passkey_name";
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncryptionError {
    #[error("the ciphertext was not sealed under this key for this log, user and field")]
    Open,
    #[error("a key must be 32 bytes, in hexadecimal or raw; this one has {0}")]
    KeyLength(usize),
    #[error("encrypting failed")]
    Seal,
    #[error("the opened text is not UTF-8")]
    NotText,
}

/// Ciphertext: nonce (12 bytes), encrypted text, tag (16 bytes). Base64 text in JSON.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Sealed(Box<[u8]>);

/// A data key under the key-encryption key; same form as [`Sealed`].
pub type WrappedKey = Sealed;

impl Sealed {
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The text form that database columns hold.
    pub fn to_base64(&self) -> String {
        STANDARD_NO_PAD.encode(&self.0)
    }

    pub fn from_base64(text: &str) -> Result<Self, EncryptionError> {
        STANDARD_NO_PAD
            .decode(text)
            .map(|bytes| Self(bytes.into()))
            .map_err(|_| EncryptionError::Open)
    }

    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed({} bytes)", self.0.len())
    }
}

impl Serialize for Sealed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.serialize_str(&self.to_base64())
        } else {
            serializer.serialize_bytes(&self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Sealed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Sealed;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("ciphertext")
            }

            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Sealed, E> {
                Ok(Sealed::from_bytes(bytes))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Sealed, E> {
                Sealed::from_base64(text).map_err(E::custom)
            }
        }
        if deserializer.is_human_readable() {
            deserializer.deserialize_str(Visitor)
        } else {
            deserializer.deserialize_bytes(Visitor)
        }
    }
}

/// A user's data key. Never leaves memory unwrapped.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct DataKey([u8; 32]);

impl DataKey {
    pub fn generate() -> Self {
        Self(rand::random())
    }

    /// Encrypts one field of one user in one log; the three are bound in as associated data, so a
    /// value copied to another user or field does not open.
    pub fn seal(&self, log: LogId, user: UserId, field: &str, text: &str) -> Result<Sealed, EncryptionError> {
        seal(&self.0, &field_aad(log, user, field), text.as_bytes())
    }

    pub fn open(
        &self,
        log: LogId,
        user: UserId,
        field: &str,
        sealed: &Sealed,
    ) -> Result<String, EncryptionError> {
        let bytes = open(&self.0, &field_aad(log, user, field), sealed)?;
        String::from_utf8(bytes).map_err(|_| EncryptionError::NotText)
    }
}

/// The configured key that wraps every data key.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct KeyEncryptionKey([u8; 32]);

impl KeyEncryptionKey {
    /// From the contents of a key file: 32 raw bytes or 64 hexadecimal digits.
    pub fn parse(contents: &[u8]) -> Result<Self, EncryptionError> {
        parse_key(contents).map(Self)
    }

    pub fn wrap(&self, log: LogId, user: UserId, key: &DataKey) -> Result<WrappedKey, EncryptionError> {
        seal(&self.0, &field_aad(log, user, "data_key"), &key.0)
    }

    pub fn unwrap_key(
        &self,
        log: LogId,
        user: UserId,
        wrapped: &WrappedKey,
    ) -> Result<DataKey, EncryptionError> {
        let mut bytes = open(&self.0, &field_aad(log, user, "data_key"), wrapped)?;
        let key = <[u8; 32]>::try_from(bytes.as_slice()).map_err(|_| EncryptionError::KeyLength(bytes.len()));
        bytes.zeroize();
        key.map(DataKey)
    }

    /// Proves in `log.created` which key a log was made with, and gives nothing of it away.
    pub fn check_value(&self, log: LogId) -> Sha256Digest {
        keyed_digest(&self.0, &[b"rolecall key check", log.as_uuid().as_bytes()])
    }

    /// A public name of this key.
    pub fn id(&self) -> String {
        hex::encode(&keyed_digest(&self.0, &[b"rolecall key id"]).0[..8])
    }
}

/// A key of 32 bytes from a file that holds them raw or in hexadecimal.
pub(crate) fn parse_key(contents: &[u8]) -> Result<[u8; 32], EncryptionError> {
    if let Ok(raw) = contents.try_into() {
        return Ok(raw);
    }
    let mut key = [0; 32];
    hex::decode_to_slice(contents.trim_ascii(), &mut key)
        .map_err(|_| EncryptionError::KeyLength(contents.len()))?;
    Ok(key)
}

/// HMAC-SHA-256 over the parts, joined by a zero byte.
pub(crate) fn keyed_digest(key: &[u8; 32], parts: &[&[u8]]) -> Sha256Digest {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(key).unwrap_or_else(|_| unreachable!("HMAC takes any key length"));
    for (i, part) in parts.iter().enumerate() {
        if i > 0 {
            mac.update(&[0]);
        }
        mac.update(part);
    }
    Sha256Digest(mac.finalize().into_bytes().into())
}

fn field_aad(log: LogId, user: UserId, field: &str) -> Vec<u8> {
    [
        log.as_uuid().as_bytes(),
        user.as_uuid().as_bytes(),
        field.as_bytes(),
    ]
    .concat()
}

fn seal(key: &[u8; 32], aad: &[u8], msg: &[u8]) -> Result<Sealed, EncryptionError> {
    let cipher = Aes256Gcm::new(key.into());
    let nonce: [u8; NONCE] = rand::random();
    let ciphertext = cipher
        .encrypt(&Nonce::from(nonce), Payload { msg, aad })
        .map_err(|_| EncryptionError::Seal)?;
    Ok(Sealed([nonce.as_slice(), &ciphertext].concat().into()))
}

fn open(key: &[u8; 32], aad: &[u8], sealed: &Sealed) -> Result<Vec<u8>, EncryptionError> {
    let (nonce, msg) = sealed
        .0
        .split_first_chunk::<NONCE>()
        .ok_or(EncryptionError::Open)?;
    Aes256Gcm::new(key.into())
        .decrypt(&Nonce::from(*nonce), Payload { msg, aad })
        .map_err(|_| EncryptionError::Open)
}
