//! Look-up of encrypted identifiers: a keyed digest of the normalised value.

use icu_properties::props::{DefaultIgnorableCodePoint, GeneralCategory};
use icu_properties::{CodePointMapData, CodePointSetData};
use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::encryption::{EncryptionError, keyed_digest, parse_key};
use crate::identifier::IdentifierKind;
use crate::sha256::Sha256Digest;

/// Version of the normalisation rules below; part of `index_key_id`, frozen by test vectors.
const RULES: &str = "nfkc-lower-1";

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NormaliseError {
    #[error(
        "an e-mail address has one @ with text before it and a domain with a dot behind it, no spaces or invisible characters, and at most 254 bytes"
    )]
    Email,
    #[error("a user name has 3 to 64 letters, digits, dots, hyphens or underscores, and no @")]
    Username,
}

/// HMAC-SHA-256(index key, kind, 0x00, normalised value).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BlindIndex(pub Sha256Digest);

impl BlindIndex {
    pub fn to_hex(self) -> String {
        self.0.to_hex()
    }
}

/// The key of the blind index. Command and query service hold it, projectors never do.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct IndexKey([u8; 32]);

impl IndexKey {
    /// From the contents of a key file: 32 raw bytes or 64 hexadecimal digits.
    pub fn parse(contents: &[u8]) -> Result<Self, EncryptionError> {
        parse_key(contents).map(Self)
    }

    /// Names key and normalisation rules.
    pub fn id(&self) -> String {
        let digest = keyed_digest(&self.0, &[b"rolecall index key id"]);
        format!("{}/{RULES}", hex::encode(&digest.0[..8]))
    }

    /// The kind separates e-mail from user name: a user named like another's address is nobody else.
    pub fn index(&self, kind: IdentifierKind, value: &str) -> Result<BlindIndex, NormaliseError> {
        let (tag, normal) = match kind {
            IdentifierKind::Email => ("email", normalise_email(value)?),
            IdentifierKind::Username => ("username", normalise_username(value)?),
            IdentifierKind::Other => return Err(NormaliseError::Username),
        };
        Ok(BlindIndex(keyed_digest(
            &self.0,
            &[tag.as_bytes(), normal.as_bytes()],
        )))
    }

    /// A keyed digest for something that must be found again and not guessed, such as an
    /// idempotency key. `purpose` keeps the uses apart.
    pub fn digest(&self, purpose: &str, parts: &[&[u8]]) -> Sha256Digest {
        let joined = [&[purpose.as_bytes()], parts].concat();
        keyed_digest(&self.0, &joined)
    }
}

/// NFKC, lower case, no surrounding white space.
fn normalise(value: &str) -> String {
    value.trim().nfkc().flat_map(char::to_lowercase).nfkc().collect()
}

fn normalise_email(value: &str) -> Result<String, NormaliseError> {
    let email = normalise(value);
    let well_formed = email.split_once('@').is_some_and(|(local, domain)| {
        !local.is_empty()
            && domain.split('.').count() > 1
            && domain.split('.').all(|label| !label.is_empty())
            && !domain.contains('@')
    });
    let clean = !email
        .chars()
        .any(|c| c.is_whitespace() || c.is_control() || is_invisible(c));
    if well_formed && clean && email.len() <= 254 {
        Ok(email)
    } else {
        Err(NormaliseError::Email)
    }
}

fn normalise_username(value: &str) -> Result<String, NormaliseError> {
    let name = normalise(value);
    let allowed = |c: char| (c.is_alphanumeric() && !is_invisible(c)) || matches!(c, '.' | '-' | '_');
    if (3..=64).contains(&name.chars().count()) && name.chars().all(allowed) {
        Ok(name)
    } else {
        Err(NormaliseError::Username)
    }
}

/// Characters that show nothing: two names that differ by them look alike (Unicode TR 39, section 3.1).
/// A newer Unicode table may refuse more, which frees and doubles no name.
fn is_invisible(c: char) -> bool {
    CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c)
        || CodePointMapData::<GeneralCategory>::new().get(c) == GeneralCategory::Format
}
