//! A stored hash, whoever made it: what it says, what checking it costs, and whether a password fits.

use subtle::ConstantTimeEq as _;

use crate::Memory;
use crate::foreign::argon2::Argon2Hash;
use crate::foreign::bcrypt::BcryptHash;
use crate::foreign::pbkdf2::Pbkdf2Hash;
use crate::foreign::scrypt::ScryptHash;

/// Longer is no hash that anybody makes.
const LONGEST_TEXT: usize = 1_024;

/// A text is no hash that can be checked here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormError {
    #[error(
        "the hash is of no known form: argon2, bcrypt, scrypt and PBKDF2 are, as PHC or modular crypt strings"
    )]
    Unknown,
    #[error("the hash is not a well-formed {0} string")]
    Malformed(&'static str),
    #[error("checking the {0} hash would take too long or too much memory")]
    TooDear(&'static str),
    #[error("the hash was made with a secret key (keyid) that is not here")]
    Keyed,
}

/// A parsed hash.
pub enum Stored {
    Argon2(Argon2Hash),
    Bcrypt(BcryptHash),
    Scrypt(ScryptHash),
    Pbkdf2(Pbkdf2Hash),
}

impl Stored {
    /// Reads a PHC or modular crypt string.
    pub fn parse(text: &str) -> Result<Self, FormError> {
        if text.len() > LONGEST_TEXT {
            return Err(FormError::Unknown);
        }
        match text.split('$').nth(1) {
            Some("argon2id" | "argon2i" | "argon2d") => Argon2Hash::parse(text).map(Self::Argon2),
            Some("2a" | "2b" | "2y") => BcryptHash::parse(text).map(Self::Bcrypt),
            Some("scrypt") => ScryptHash::parse_phc(text).map(Self::Scrypt),
            Some("7") => ScryptHash::parse_crypt(text).map(Self::Scrypt),
            Some("pbkdf2" | "pbkdf2-sha1" | "pbkdf2-sha256" | "pbkdf2-sha512") => {
                Pbkdf2Hash::parse(text).map(Self::Pbkdf2)
            }
            _ => Err(FormError::Unknown),
        }
    }

    /// Reads a hash that was made elsewhere and is to be checked here from now on: not one that would be too dear, nor
    /// one that needs somebody else's key.
    pub fn parse_foreign(text: &str) -> Result<Self, FormError> {
        let stored = Self::parse(text)?;
        let (name, is_bearable) = match &stored {
            Self::Argon2(hash) if hash.keyid().is_some() => return Err(FormError::Keyed),
            Self::Argon2(hash) => ("argon2", hash.is_bearable()),
            Self::Bcrypt(hash) => ("bcrypt", hash.is_bearable()),
            Self::Scrypt(hash) => ("scrypt", hash.is_bearable()),
            Self::Pbkdf2(hash) => ("PBKDF2", hash.is_bearable()),
        };
        if is_bearable {
            Ok(stored)
        } else {
            Err(FormError::TooDear(name))
        }
    }

    /// Whether these bytes fit, compared in constant time. `None` where the algorithm will not take them or the hash.
    pub(crate) fn fits(&self, password: &[u8], memory: &mut Memory) -> Option<bool> {
        match self {
            Self::Argon2(hash) => hash.fits(password, memory),
            Self::Bcrypt(hash) => hash.fits(password),
            Self::Scrypt(hash) => hash.fits(password),
            Self::Pbkdf2(hash) => Some(hash.fits(password)),
        }
    }
}

/// Whether two digests are equal, in constant time.
pub(crate) fn equal(one: &[u8], other: &[u8]) -> bool {
    one.ct_eq(other).into()
}
