//! The forms of hashes, one file each: parsed, weighed and checked.

pub mod argon2;
pub mod bcrypt;
pub mod pbkdf2;
pub mod scrypt;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// As different programs write it: with padding or without, and with bits to spare.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Base64 of the usual alphabet, or of the one of modular crypt strings, which has "." for "+".
fn base64(text: &str) -> Option<Vec<u8>> {
    LENIENT.decode(text.replace('.', "+")).ok()
}

/// A number without sign or leading zero.
fn decimal(text: &str) -> Option<u32> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    is_plain.then(|| text.parse().ok()).flatten()
}

/// Digests of hashes: shorter ones are guessed, longer ones nobody makes.
fn is_digest(bytes: &[u8]) -> bool {
    (10..=64).contains(&bytes.len())
}
