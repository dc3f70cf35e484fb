//! Passwords known from breaches, as a binary fuse filter (Graf and Lemire, "Binary Fuse Filters: Fast and Smaller
//! Than Xor Filters", 2022) of 18 bits each. What is in the list is always found; of other passwords one in 65,536 is
//! taken for one of them. `blocklist/README.md` tells where the list comes from and how the filter is made.

use std::sync::LazyLock;

use sha2::{Digest as _, Sha256};
use unicode_normalization::UnicodeNormalization;
use xorf::{BinaryFuse16Ref, DmaSerializable, Filter, FilterRef};

/// Descriptor and fingerprints, one after the other.
static BYTES: &Aligned<[u8]> = &Aligned(*include_bytes!("../blocklist/blocklist.bin"));

/// The filter reads the bytes where they lie, two at once.
#[repr(C, align(2))]
struct Aligned<B: ?Sized>(B);

static FILTER: LazyLock<BinaryFuse16Ref<'static>> = LazyLock::new(|| {
    let (descriptor, fingerprints) = BYTES.0.split_at(xorf::BinaryFuse16::DESCRIPTOR_LEN);
    BinaryFuse16Ref::from_dma(descriptor, fingerprints)
});

/// Whether the list has this password, in any case.
pub fn is_common(password: &str) -> bool {
    FILTER.contains(&key(password))
}

/// What the filter knows a password by: the first eight bytes of the SHA-256 of its lower case in NFC.
pub fn key(password: &str) -> u64 {
    let folded: String = password.nfc().flat_map(char::to_lowercase).nfc().collect();
    let digest: [u8; 32] = Sha256::digest(folded.as_bytes()).into();
    digest
        .first_chunk()
        .map_or(0, |first: &[u8; 8]| u64::from_be_bytes(*first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_the_list_is_found() {
        for password in [
            "password",
            "Password1",
            "12345678",
            "correcthorsebatterystaple",
            "QWERTYUIOPASDFGHJKL",
        ] {
            assert!(is_common(password), "{password}");
        }
    }

    #[test]
    fn other_passwords_are_hardly_ever_taken_for_one_of_the_list() {
        let taken = (0..100_000u32)
            .filter(|number| is_common(&format!("none of the list: {number}")))
            .count();
        // 1.5 are expected; 15 or more come with a probability below 1e-9.
        assert!(taken < 15, "{taken} of 100,000");
    }
}
