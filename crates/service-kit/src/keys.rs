//! Key files: where a service finds its secrets, and how they are made.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use hmac::{Hmac, KeyInit, Mac};
use schemas::{IndexKey, KeyEncryptionKey, Timestamp};
use sha2::Sha256;
use uuid::Uuid;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::key_folder::{KeyFolder, KeyFolders};
use crate::signing::Algorithm;

const KEY_ENCRYPTION_KEY: &str = "ROLECALL_KEY_ENCRYPTION_KEY_FILE";
const INDEX_KEY: &str = "ROLECALL_INDEX_KEY_FILE";
const TOKEN_KEY: &str = "ROLECALL_TOKEN_KEY_FILE";
const SIGNING_KEYS: &str = "ROLECALL_SIGNING_KEYS";
const VERIFYING_KEYS: &str = "ROLECALL_VERIFYING_KEYS";

/// Each message is the one line an operator needs: which file or variable, and what is wrong.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("{0} is not set")]
    NotSet(&'static str),
    #[error("reading key file {}: {cause}", path.display())]
    Read { path: PathBuf, cause: io::Error },
    #[error("writing key file {}: {cause}", path.display())]
    Write { path: PathBuf, cause: io::Error },
    #[error("key file {}: {cause}", path.display())]
    Content { path: PathBuf, cause: String },
}

/// Where the keys lie. A service names only those it needs; the rest are never read.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyFiles {
    /// Wraps the users' data keys: 32 bytes, raw or in hexadecimal.
    #[arg(long, env = KEY_ENCRYPTION_KEY, value_name = "FILE")]
    pub key_encryption_key_file: Option<PathBuf>,
    /// Key of the blind index: 32 bytes, raw or in hexadecimal.
    #[arg(long, env = INDEX_KEY, value_name = "FILE")]
    pub index_key_file: Option<PathBuf>,
    /// Derives refresh and other tokens: 32 bytes, raw or in hexadecimal.
    #[arg(long, env = TOKEN_KEY, value_name = "FILE")]
    pub token_key_file: Option<PathBuf>,
    /// Folder of the keys that sign access tokens: PKCS#8 PEM of Ed25519 or P-256, each named after the time from
    /// which it signs, such as 20261130T120000Z.pem.
    #[arg(long, env = SIGNING_KEYS, value_name = "FOLDER")]
    pub signing_keys: Option<PathBuf>,
    /// Folder of their public halves, of the same names, for services that only verify.
    #[arg(long, env = VERIFYING_KEYS, value_name = "FOLDER")]
    pub verifying_keys: Option<PathBuf>,
    /// Seconds between two looks into that folder.
    #[arg(long, env = "ROLECALL_KEYS_REREAD", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    pub keys_reread: u64,
}

impl KeyFiles {
    pub fn key_encryption_key(&self) -> Result<KeyEncryptionKey, KeyError> {
        let (path, bytes) = read_secret(self.key_encryption_key_file.as_deref(), KEY_ENCRYPTION_KEY)?;
        KeyEncryptionKey::parse(&bytes).map_err(|error| content(path, &error))
    }

    pub fn index_key(&self) -> Result<IndexKey, KeyError> {
        let (path, bytes) = read_secret(self.index_key_file.as_deref(), INDEX_KEY)?;
        IndexKey::parse(&bytes).map_err(|error| content(path, &error))
    }

    pub fn token_key(&self) -> Result<TokenKey, KeyError> {
        let (path, bytes) = read_secret(self.token_key_file.as_deref(), TOKEN_KEY)?;
        TokenKey::parse(&bytes).ok_or_else(|| content(path, &"a key must be 32 bytes, in hexadecimal or raw"))
    }

    /// To sign access tokens with, and to verify them.
    pub fn signing_keys(&self) -> Result<Arc<KeyFolder>, KeyError> {
        let folder = self.signing_keys.as_deref();
        KeyFolder::open(folder.ok_or(KeyError::NotSet(SIGNING_KEYS))?)
    }

    /// To verify access tokens with: the public keys, or else those that sign.
    pub fn verifying_keys(&self) -> Result<Arc<KeyFolder>, KeyError> {
        let folder = self.verifying_keys.as_deref().or(self.signing_keys.as_deref());
        KeyFolder::open(folder.ok_or(KeyError::NotSet(VERIFYING_KEYS))?)
    }

    /// As environment variables for a child process.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        [
            (KEY_ENCRYPTION_KEY, self.key_encryption_key_file.as_deref()),
            (INDEX_KEY, self.index_key_file.as_deref()),
            (TOKEN_KEY, self.token_key_file.as_deref()),
            (SIGNING_KEYS, self.signing_keys.as_deref()),
            (VERIFYING_KEYS, self.verifying_keys.as_deref()),
        ]
        .into_iter()
        .filter_map(|(name, path)| Some((name, path?.display().to_string())))
        .collect()
    }
}

/// A key of which the caller knows the form.
pub fn read_key<T, E: std::fmt::Display>(
    path: &Path,
    parse: impl FnOnce(&[u8]) -> Result<T, E>,
) -> Result<T, KeyError> {
    let (path, bytes) = read_secret(Some(path), "")?;
    parse(&bytes).map_err(|error| content(path, &error))
}

/// Derives tokens, so that a lost answer can be given again though the log keeps only hashes.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct TokenKey([u8; 32]);

impl TokenKey {
    /// From the contents of a key file: 32 raw bytes or 64 hexadecimal digits.
    pub fn parse(contents: &[u8]) -> Option<Self> {
        if let Ok(raw) = contents.try_into() {
            return Some(Self(raw));
        }
        let mut key = [0; 32];
        hex::decode_to_slice(contents.trim_ascii(), &mut key).ok()?;
        Some(Self(key))
    }

    /// HMAC-SHA-256 over purpose, id, generation and nonce. The purpose keeps the kinds of token
    /// apart: a reset token is never a refresh token.
    pub fn derive(&self, purpose: &str, id: Uuid, generation: u64, nonce: &[u8]) -> [u8; 32] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0)
            .unwrap_or_else(|_| unreachable!("HMAC takes any key length"));
        mac.update(purpose.as_bytes());
        // Ends the only part of free length before the last, so no two inputs run together.
        mac.update(&[0]);
        mac.update(id.as_bytes());
        mac.update(&generation.to_be_bytes());
        mac.update(nonce);
        mac.finalize().into_bytes().into()
    }
}

/// Makes a full set of keys in `dir`. A file that exists is kept: a new key-encryption key would
/// make everything written under the old one unreadable.
pub fn generate_key_files(dir: &Path) -> Result<KeyFiles, KeyError> {
    fs::create_dir_all(dir).map_err(|cause| KeyError::Write {
        path: dir.to_owned(),
        cause,
    })?;
    let folders = KeyFolders {
        signing: dir.join("signing"),
        verifying: dir.join("verifying"),
    };
    let has_keys = |folder: &Path| folder.is_dir() && KeyFolder::open(folder).is_ok();
    if !has_keys(&folders.signing) {
        folders.add(Algorithm::default(), Timestamp::now())?;
    }
    Ok(KeyFiles {
        key_encryption_key_file: Some(generate_key(dir.join("key-encryption.key"))?),
        index_key_file: Some(generate_key(dir.join("index.key"))?),
        token_key_file: Some(generate_key(dir.join("token.key"))?),
        signing_keys: Some(folders.signing),
        verifying_keys: Some(folders.verifying),
        keys_reread: 10,
    })
}

/// Makes a key of 32 random bytes, in hexadecimal. A file that exists is kept.
pub fn generate_key(path: PathBuf) -> Result<PathBuf, KeyError> {
    let key = Zeroizing::new(rand::random::<[u8; 32]>());
    let line = Zeroizing::new(format!("{}\n", hex::encode(key.as_slice())));
    write_new(&path, line.as_bytes())?;
    Ok(path)
}

/// Readable by its owner alone from the first moment on.
fn write_new(path: &Path, bytes: &[u8]) -> Result<(), KeyError> {
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(bytes));
    match written {
        Err(cause) if cause.kind() != io::ErrorKind::AlreadyExists => Err(KeyError::Write {
            path: path.to_owned(),
            cause,
        }),
        _ => Ok(()),
    }
}

fn read_secret<'a>(
    path: Option<&'a Path>,
    variable: &'static str,
) -> Result<(&'a Path, Zeroizing<Vec<u8>>), KeyError> {
    let path = path.ok_or(KeyError::NotSet(variable))?;
    let read = || Ok((fs::read(path)?, fs::metadata(path)?.permissions().mode()));
    let (bytes, mode) = read().map_err(|cause| KeyError::Read {
        path: path.to_owned(),
        cause,
    })?;
    if mode & 0o004 != 0 {
        tracing::warn!(path = %path.display(), "Anyone on this machine can read key file {}", path.display());
    }
    Ok((path, Zeroizing::new(bytes)))
}

fn content(path: &Path, cause: &dyn std::fmt::Display) -> KeyError {
    KeyError::Content {
        path: path.to_owned(),
        cause: cause.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_set_loads_and_only_its_owner_can_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let files = generate_key_files(&dir.path().join("keys")).unwrap();
        files.key_encryption_key().unwrap();
        files.index_key().unwrap();
        files.token_key().unwrap();
        let kid = |keys: Arc<KeyFolder>| keys.timeline().all()[0].kid.clone();
        assert_eq!(
            kid(files.verifying_keys().unwrap()),
            kid(files.signing_keys().unwrap())
        );
        for folder in ["keys", "keys/signing", "keys/verifying"] {
            for entry in fs::read_dir(dir.path().join(folder)).unwrap() {
                let entry = entry.unwrap();
                let metadata = entry.metadata().unwrap();
                let is_private = metadata.permissions().mode() & 0o777 == 0o600;
                assert!(metadata.is_dir() || is_private, "{entry:?}");
            }
        }
        assert_eq!(files.environment().len(), 5);
    }

    #[test]
    fn generating_again_keeps_every_key() {
        let dir = tempfile::tempdir().unwrap();
        let id = |files: &KeyFiles| files.key_encryption_key().unwrap().id();
        let kid = |files: &KeyFiles| files.signing_keys().unwrap().timeline().all()[0].kid.clone();
        let first = generate_key_files(dir.path()).unwrap();
        let before = (id(&first), kid(&first));
        let second = generate_key_files(dir.path()).unwrap();
        assert_eq!((id(&second), kid(&second)), before);
    }

    #[test]
    fn errors_name_the_file_and_the_cause_in_one_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("short.key");
        fs::write(&path, "abc").unwrap();
        let files = KeyFiles {
            key_encryption_key_file: Some(path.clone()),
            token_key_file: Some(path),
            signing_keys: Some(dir.path().join("missing")),
            index_key_file: Some(dir.path().join("missing.key")),
            ..KeyFiles::default()
        };
        let messages = [
            files.key_encryption_key().err().unwrap().to_string(),
            files.token_key().err().unwrap().to_string(),
            files.signing_keys().err().unwrap().to_string(),
            files.index_key().err().unwrap().to_string(),
        ];
        for message in &messages {
            assert!(
                message.contains(dir.path().to_str().unwrap()) && !message.contains('\n'),
                "{message}"
            );
        }
        let unset = KeyFiles::default().signing_keys().err().unwrap().to_string();
        assert_eq!(unset, "ROLECALL_SIGNING_KEYS is not set");
    }

    #[test]
    fn derived_tokens_repeat_and_differ_by_every_part() {
        let key = TokenKey::parse(&[7; 32]).unwrap();
        let id = Uuid::from_u128(1);
        let token = key.derive("refresh", id, 1, b"n");
        assert_eq!(token, key.derive("refresh", id, 1, b"n"));
        for other in [
            key.derive("reset", id, 1, b"n"),
            key.derive("refresh", Uuid::from_u128(2), 1, b"n"),
            key.derive("refresh", id, 2, b"n"),
            key.derive("refresh", id, 1, b"m"),
            TokenKey::parse(&[8; 32]).unwrap().derive("refresh", id, 1, b"n"),
        ] {
            assert_ne!(token, other);
        }
    }
}
