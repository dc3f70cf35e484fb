//! Passwords without I/O: which may be chosen, how they are hashed, and how hashes made elsewhere are
//! checked.
//!
//! To add a form of foreign hash: write a file in `foreign` with its parser, its cost and its check, give it a
//! variant of [`Stored`](stored::Stored), and add vectors made by another program to `tests/vectors.rs`.

pub mod blocklist;
mod foreign;
mod hasher;
mod memory;
mod pepper;
mod policy;
mod stored;

use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;

pub use hasher::{Cost, HashError, Hasher, NO_PASSWORD};
pub use memory::Memory;
pub use pepper::{Pepper, PepperError, Peppers};
pub use policy::{LEAST_ALONE, LEAST_WITH_SECOND_FACTOR, LONGEST, Weakness, check};
pub use stored::{FormError, Stored};

/// One form for what is typed alike on different keyboards (NIST SP 800-63B-4, section 3.1.1.2: NFC, before hashing).
fn normalise(password: &str) -> Zeroizing<String> {
    Zeroizing::new(password.nfc().collect())
}
