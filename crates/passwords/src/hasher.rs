//! Hashing passwords here, and checking them against any stored hash.

use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::{Algorithm, Argon2, AssociatedData, KeyId, Params, ParamsBuilder, Version};

use crate::stored::{FormError, Stored};
use crate::{Memory, Peppers, normalise};

/// In place of a hash: of a user who has no password, so that none fits.
pub const NO_PASSWORD: &str = "*";

/// Bytes of the salts that are made here.
const SALT: usize = 16;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HashError {
    #[error("the cost of argon2 is out of its range")]
    Cost,
    #[error("hashing the password: {0}")]
    Hash(argon2::password_hash::Error),
    #[error(transparent)]
    Form(#[from] FormError),
    #[error("the hash's algorithm does not take this password, or there is no memory for it")]
    Check,
    #[error("the hash needs pepper {0}, which is not configured")]
    NoPepper(String),
}

/// What argon2id spends on a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    pub memory_kib: u32,
    pub passes: u32,
    pub lanes: u32,
}

impl Default for Cost {
    /// OWASP's password storage cheat sheet: 19 MiB, two passes, one lane.
    fn default() -> Self {
        Self {
            memory_kib: Params::DEFAULT_M_COST,
            passes: Params::DEFAULT_T_COST,
            lanes: Params::DEFAULT_P_COST,
        }
    }
}

/// argon2id of the password's NFC; with a pepper, of the HMAC-SHA-256 of that under the pepper, whose id the hash names
/// as `keyid`.
pub struct Hasher {
    params: Params,
    peppers: Peppers,
}

impl Hasher {
    pub fn new(cost: Cost, peppers: Peppers) -> Result<Self, HashError> {
        let mut builder = ParamsBuilder::new();
        builder
            .m_cost(cost.memory_kib)
            .t_cost(cost.passes)
            .p_cost(cost.lanes);
        builder
            .output_len(Params::DEFAULT_OUTPUT_LEN)
            .data(AssociatedData::EMPTY);
        if let Some(pepper) = peppers.current() {
            builder.keyid(KeyId::new(&pepper.id()).map_err(|_| HashError::Cost)?);
        }
        let params = builder.build().map_err(|_| HashError::Cost)?;
        Ok(Self { params, peppers })
    }

    /// The PHC string of a new password.
    pub fn hash(&self, password: &str, memory: &mut Memory) -> Result<String, HashError> {
        let password = normalise(password);
        let hash = match self.peppers.current() {
            Some(pepper) => self.argon2id(pepper.apply(&password).as_slice(), memory),
            None => self.argon2id(password.as_bytes(), memory),
        };
        Ok(hash.map_err(HashError::Hash)?.to_string())
    }

    /// With a new salt.
    fn argon2id(&self, secret: &[u8], memory: &mut Memory) -> argon2::password_hash::Result<PasswordHash> {
        let (algorithm, version) = (Algorithm::Argon2id, Version::V0x13);
        let argon2 = Argon2::new(algorithm, version, self.params.clone());
        let salt = Salt::generate();
        let mut output = [0; Params::DEFAULT_OUTPUT_LEN];
        let blocks = memory.of(self.params.block_count());
        argon2.hash_password_into_with_memory(secret, &salt, &mut output, blocks)?;
        Ok(PasswordHash {
            algorithm: algorithm.ident(),
            version: Some(version.into()),
            params: ParamsString::try_from(&self.params)?,
            salt: Some(salt),
            hash: Some(Output::new(&output)?),
        })
    }

    /// Whether the password fits the hash, whoever made that.
    pub fn verify(&self, password: &str, hash: &str, memory: &mut Memory) -> Result<bool, HashError> {
        let normal = normalise(password);
        if hash == NO_PASSWORD {
            // Takes as long as a wrong one: who has none must not show.
            self.hash(&normal, memory)?;
            return Ok(false);
        }
        let stored = Stored::parse(hash)?;
        if let Stored::Argon2(argon2) = &stored
            && let Some(id) = argon2.keyid()
        {
            let pepper = self
                .peppers
                .find(id)
                .ok_or_else(|| HashError::NoPepper(hex::encode(id)))?;
            let applied = pepper.apply(&normal);
            return stored.fits(applied.as_slice(), memory).ok_or(HashError::Check);
        }
        let mut check = |password: &str| stored.fits(password.as_bytes(), memory).ok_or(HashError::Check);
        // Other programs hash what was typed as it came.
        Ok(check(&normal)? || (normal.as_str() != password && check(password)?))
    }

    /// Whether a new hash would be made like this one; otherwise it is to be made anew when the password is at hand.
    pub fn is_current(&self, hash: &str) -> bool {
        let Ok(Stored::Argon2(stored)) = Stored::parse(hash) else {
            return false;
        };
        let (salt, digest) = stored.lengths();
        let costs = |params: &Params| (params.m_cost(), params.t_cost(), params.p_cost());
        stored.algorithm == Algorithm::Argon2id
            && stored.version == Version::V0x13
            && costs(&stored.params) == costs(&self.params)
            && stored.params.keyid() == self.params.keyid()
            && stored.params.data().is_empty()
            && salt >= SALT
            && (Params::DEFAULT_OUTPUT_LEN..=Output::MAX_LENGTH).contains(&digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Pepper;

    const CHEAP: Cost = Cost {
        memory_kib: 64,
        passes: 1,
        lanes: 1,
    };

    fn pepper(byte: u8) -> Pepper {
        Pepper::parse(&[byte; 32]).unwrap()
    }

    fn hasher(current: Option<u8>, former: &[u8]) -> Hasher {
        let former = former.iter().map(|byte| pepper(*byte)).collect();
        Hasher::new(CHEAP, Peppers::new(current.map(pepper), former)).unwrap()
    }

    fn verify(hasher: &Hasher, password: &str, hash: &str) -> Result<bool, HashError> {
        hasher.verify(password, hash, &mut Memory::default())
    }

    #[test]
    fn one_password_typed_in_two_ways_is_one_password() {
        let hasher = hasher(None, &[]);
        let hash = hasher.hash("ba\u{308}r", &mut Memory::default()).unwrap();
        assert_eq!(verify(&hasher, "b\u{e4}r", &hash), Ok(true));
        assert_eq!(verify(&hasher, "bar", &hash), Ok(false));
    }

    #[test]
    fn a_peppered_hash_needs_its_pepper_and_names_it() {
        let one = hasher(Some(1), &[]);
        let hash = one.hash("right", &mut Memory::default()).unwrap();
        assert!(hash.contains("keyid="), "{hash}");
        assert_eq!(verify(&one, "right", &hash), Ok(true));
        assert_eq!(verify(&one, "wrong", &hash), Ok(false));
        // After the rotation: still checked, and due to be made anew.
        let two = hasher(Some(2), &[1]);
        assert_eq!(verify(&two, "right", &hash), Ok(true));
        assert!(one.is_current(&hash) && !two.is_current(&hash));
        let id = hex::encode(pepper(1).id());
        assert_eq!(
            verify(&hasher(Some(2), &[]), "right", &hash),
            Err(HashError::NoPepper(id))
        );
    }

    #[test]
    fn whoever_has_no_password_signs_in_with_none() {
        for password in ["", "*", "a password"] {
            assert_eq!(verify(&hasher(None, &[]), password, NO_PASSWORD), Ok(false));
        }
    }

    #[test]
    fn hashes_made_otherwise_are_due_to_be_made_anew() {
        let (plain, peppered) = (hasher(None, &[]), hasher(Some(1), &[]));
        let hash = plain.hash("right", &mut Memory::default()).unwrap();
        assert!(plain.is_current(&hash) && !peppered.is_current(&hash));
        let dearer = Hasher::new(Cost { passes: 2, ..CHEAP }, Peppers::default()).unwrap();
        assert!(!dearer.is_current(&hash));
        for other in [
            "$2b$04$bcl7Ws10NlJbv8cvu7Ffl.unWJ8YNoFoFaTXD2/8AgEdk/VuCoIwG",
            "$argon2i$v=19$m=64,t=1,p=1$c2FsdHNhbHRzYWx0c2FsdA$mwI2rAFgRLC5rSjozB5OK4HRDD//bh1AvAB4S5zAMhk",
            "$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHQ$mwI2rAFgRLC5rSjozB5OK4HRDD//bh1AvAB4S5zAMhk",
            "nothing",
        ] {
            assert!(!plain.is_current(other), "{other}");
        }
    }

    #[test]
    fn memory_used_before_gives_the_same_answers() {
        let small = hasher(None, &[]);
        let large = Hasher::new(
            Cost {
                memory_kib: 1_024,
                ..CHEAP
            },
            Peppers::default(),
        )
        .unwrap();
        let hashes = [
            small.hash("right", &mut Memory::default()).unwrap(),
            large.hash("right", &mut Memory::default()).unwrap(),
        ];
        let mut memory = Memory::default();
        for hash in hashes.iter().cycle().take(6) {
            assert_eq!(small.verify("right", hash, &mut memory), Ok(true));
            assert_eq!(small.verify("wrong", hash, &mut memory), Ok(false));
        }
    }
}
