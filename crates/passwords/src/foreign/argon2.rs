//! argon2id, argon2i and argon2d (RFC 9106) as PHC strings.

use argon2::password_hash::phc::{Output, PasswordHash};
use argon2::{Algorithm, Argon2, Params, Version};

use crate::Memory;
use crate::stored::FormError;

/// KiB that checking may take at once.
const MOST_MEMORY: u32 = 256 * 1_024;
/// KiB times passes: about a second of one core.
const MOST_WORK: u64 = 1_024 * 1_024;
const MOST_LANES: u32 = 64;

pub struct Argon2Hash {
    pub(crate) algorithm: Algorithm,
    pub(crate) version: Version,
    pub(crate) params: Params,
    salt: Vec<u8>,
    expected: Output,
}

impl Argon2Hash {
    pub fn parse(text: &str) -> Result<Self, FormError> {
        Self::read(text).ok_or(FormError::Malformed("argon2"))
    }

    fn read(text: &str) -> Option<Self> {
        let hash = PasswordHash::new(text).ok()?;
        // A string without a version is of the time before there were two (PHC string format).
        let version = hash.version.map_or(Ok(Version::V0x10), Version::try_from);
        Some(Self {
            algorithm: Algorithm::try_from(hash.algorithm.as_str()).ok()?,
            version: version.ok()?,
            params: Params::try_from(&hash).ok()?,
            salt: hash.salt.as_ref()?.to_vec(),
            expected: hash.hash?,
        })
    }

    /// Of the secret key that went into it.
    pub fn keyid(&self) -> Option<&[u8]> {
        Some(self.params.keyid()).filter(|id| !id.is_empty())
    }

    pub fn is_bearable(&self) -> bool {
        let (memory, passes) = (self.params.m_cost(), self.params.t_cost());
        memory <= MOST_MEMORY
            && u64::from(memory) * u64::from(passes) <= MOST_WORK
            && self.params.p_cost() <= MOST_LANES
    }

    /// Bytes of salt and of digest.
    pub fn lengths(&self) -> (usize, usize) {
        (self.salt.len(), self.expected.len())
    }

    pub fn fits(&self, password: &[u8], memory: &mut Memory) -> Option<bool> {
        let argon2 = Argon2::new(self.algorithm, self.version, self.params.clone());
        let mut computed = [0; Output::MAX_LENGTH];
        let computed = computed.get_mut(..self.expected.len())?;
        let blocks = memory.of(self.params.block_count());
        argon2
            .hash_password_into_with_memory(password, &self.salt, computed, blocks)
            .ok()?;
        // Compares in constant time.
        Some(Output::new(computed).ok()? == self.expected)
    }
}
