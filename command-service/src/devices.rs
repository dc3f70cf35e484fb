//! Device tokens: what a browser or an app is known by when it signs in again.
//!
//! `dt1.` and base64url of user id, device id and HMAC(token key, "device", device id, user id).
//! It signs nobody in. It lets its owner try the right password while somebody else's guesses have
//! locked sign-in, and keeps the limits on guesses from hitting the owner. Whether the user still
//! knows the device, the user's state says.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use schemas::{DeviceId, Sha256Digest, UserId};
use service_kit::keys::TokenKey;
use uuid::Uuid;

const PREFIX: &str = "dt1.";

/// A device that signed in as this user once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device {
    pub user: UserId,
    pub id: DeviceId,
}

impl Device {
    /// Nothing for a token that was not made with this key.
    pub fn of_token(key: &TokenKey, text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text.strip_prefix(PREFIX)?).ok()?;
        let (user, rest) = bytes.split_first_chunk::<16>()?;
        let (id, mac) = rest.split_first_chunk::<16>()?;
        let device = Self {
            user: Uuid::from_bytes(*user).into(),
            id: Uuid::from_bytes(*id).into(),
        };
        // A digest of both hides where they differ from whoever measures the time.
        let is_ours = Sha256Digest::of(&device.mac(key)) == Sha256Digest::of(mac);
        is_ours.then_some(device)
    }

    pub fn token(&self, key: &TokenKey) -> String {
        let bytes = [
            self.user.as_uuid().as_bytes().as_slice(),
            self.id.as_uuid().as_bytes(),
            &self.mac(key),
        ]
        .concat();
        format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
    }

    fn mac(&self, key: &TokenKey) -> [u8; 32] {
        key.derive("device", self.id.as_uuid(), 0, self.user.as_uuid().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_token_made_with_the_key_names_a_device() {
        let key = TokenKey::parse(&[7; 32]).unwrap();
        let device = Device {
            user: UserId::new_v7(),
            id: DeviceId::new_v7(),
        };
        let token = device.token(&key);
        assert_eq!(Device::of_token(&key, &token), Some(device));
        let other = TokenKey::parse(&[8; 32]).unwrap();
        assert_eq!(Device::of_token(&other, &token), None);
        let bytes = URL_SAFE_NO_PAD.decode(&token[PREFIX.len()..]).unwrap();
        for at in 0..bytes.len() {
            let mut forged = bytes.clone();
            forged[at] ^= 1;
            let forged = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(forged));
            assert_eq!(Device::of_token(&key, &forged), None, "byte {at}");
        }
        for text in ["", "dt1.", "dt1.AAAA", &token[1..], &format!("{token}AAAA")] {
            assert_eq!(Device::of_token(&key, text), None, "{text}");
        }
    }
}
