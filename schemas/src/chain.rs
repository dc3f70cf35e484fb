//! The hash chain of a topic partition.

use sha2::{Digest as _, Sha256};

use crate::sha256::Sha256Digest;

/// `prev_hash` of a partition's first event.
pub const GENESIS: Sha256Digest = Sha256Digest([0; 32]);

/// Where a partition's chain stands: what its next event must carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainHead {
    /// `chain_seq` of the next event.
    pub next_seq: i64,
    /// `prev_hash` of the next event.
    pub hash: Sha256Digest,
}

impl ChainHead {
    pub const START: Self = Self {
        next_seq: 0,
        hash: GENESIS,
    };

    /// The head after a record with these bytes was appended.
    #[must_use]
    pub fn after(self, topic: &str, partition: i32, key: &[u8], value: &[u8]) -> Self {
        Self {
            next_seq: self.next_seq + 1,
            hash: link(topic, partition, key, value),
        }
    }
}

/// SHA-256(0x01, topic, partition, key, value): topic, key and value each behind their length as
/// 4 bytes big-endian, partition as 4 bytes big-endian. The value holds the hash of the record
/// before, which makes it a chain; it is hashed as stored, so it survives the erasure of keys.
pub fn link(topic: &str, partition: i32, key: &[u8], value: &[u8]) -> Sha256Digest {
    let mut hasher = Sha256::new();
    hasher.update([1]);
    part(&mut hasher, topic.as_bytes());
    hasher.update(partition.to_be_bytes());
    part(&mut hasher, key);
    part(&mut hasher, value);
    Sha256Digest(hasher.finalize().into())
}

fn part(hasher: &mut Sha256, bytes: &[u8]) {
    // Kafka bounds a record far below 4 GiB, so the length always fits.
    hasher.update(u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
    hasher.update(bytes);
}
