//! Peppers: keys that hashes need beside the password, and that lie outside the log. Whoever has the log and the keys
//! of its users still cannot guess a password without the pepper.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// Bytes of an id: what the parameter `keyid` of argon2 has room for.
const ID: usize = 8;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a pepper is 32 bytes, raw or in hexadecimal")]
pub struct PepperError;

#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Pepper([u8; 32]);

impl Pepper {
    /// From the contents of a key file: 32 raw bytes or 64 hexadecimal digits.
    pub fn parse(contents: &[u8]) -> Result<Self, PepperError> {
        if let Ok(raw) = contents.try_into() {
            return Ok(Self(raw));
        }
        let mut key = [0; 32];
        hex::decode_to_slice(contents.trim_ascii(), &mut key).map_err(|_| PepperError)?;
        Ok(Self(key))
    }

    /// Names this pepper in the hashes made with it, and gives nothing of it away.
    pub fn id(&self) -> [u8; ID] {
        let digest = self.digest(b"rolecall pepper id");
        *digest.first_chunk().unwrap_or(&[0; ID])
    }

    /// What is hashed in place of the password.
    pub(crate) fn apply(&self, password: &str) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.digest(password.as_bytes()))
    }

    fn digest(&self, text: &[u8]) -> [u8; 32] {
        let mac = Hmac::<Sha256>::new_from_slice(&self.0);
        let mut mac = mac.unwrap_or_else(|_| unreachable!("HMAC takes any key length"));
        mac.update(text);
        mac.finalize().into_bytes().into()
    }
}

/// The pepper of new hashes, and those that older ones still need.
#[derive(Clone, Default)]
pub struct Peppers {
    current: Option<Pepper>,
    former: Vec<Pepper>,
}

impl Peppers {
    pub fn new(current: Option<Pepper>, former: Vec<Pepper>) -> Self {
        Self { current, former }
    }

    pub(crate) fn current(&self) -> Option<&Pepper> {
        self.current.as_ref()
    }

    pub(crate) fn find(&self, id: &[u8]) -> Option<&Pepper> {
        self.current
            .iter()
            .chain(&self.former)
            .find(|pepper| pepper.id() == id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pepper_is_read_raw_or_in_hexadecimal_and_named_without_telling() {
        let raw = Pepper::parse(&[7; 32]).unwrap();
        let written = Pepper::parse(format!("{}\n", "07".repeat(32)).as_bytes()).unwrap();
        assert_eq!(raw.id(), written.id());
        assert_ne!(raw.id(), [7; 8]);
        assert_eq!(Pepper::parse(b"short").err(), Some(PepperError));
    }
}
