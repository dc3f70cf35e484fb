//! scrypt (RFC 7914): PHC strings `$scrypt$ln=..,r=..,p=..$salt$hash`, and `$7$` of crypt(5).

use scrypt::Params;

use super::{base64, decimal, is_digest};
use crate::stored::{FormError, equal};

/// Bytes that checking may take at once.
const MOST_MEMORY: u64 = 256 << 20;
/// N times r times p: about a second of one core.
const MOST_WORK: u64 = 1 << 21;
/// Of crypt(5), each digit six bits.
const DIGITS: &[u8] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

pub struct ScryptHash {
    params: Params,
    salt: Vec<u8>,
    expected: Vec<u8>,
}

impl ScryptHash {
    pub fn parse_phc(text: &str) -> Result<Self, FormError> {
        Self::read_phc(text).ok_or(FormError::Malformed("scrypt"))
    }

    pub fn parse_crypt(text: &str) -> Result<Self, FormError> {
        Self::read_crypt(text).ok_or(FormError::Malformed("scrypt"))
    }

    fn read_phc(text: &str) -> Option<Self> {
        let [params, salt, hash] = parts(text.strip_prefix("$scrypt$")?)?;
        let [ln, r, p] = parts_of(params, ',')?;
        let number = |text: &str, name: &str| decimal(text.strip_prefix(name)?);
        let (ln, r, p) = (number(ln, "ln=")?, number(r, "r=")?, number(p, "p=")?);
        Self::of(ln, r, p, base64(salt)?, base64(hash)?)
    }

    /// `$7$`, one digit of log2 N, five of r, five of p, the salt as it stands, `$`, the hash.
    fn read_crypt(text: &str) -> Option<Self> {
        let (settings, hash) = text.strip_prefix("$7$")?.split_once('$')?;
        let (ln, rest) = settings.split_at_checked(1)?;
        let (r, rest) = rest.split_at_checked(5)?;
        let (p, salt) = rest.split_at_checked(5)?;
        let number = |text: &str| u32::try_from(number(text.as_bytes())?).ok();
        let (ln, r, p) = (number(ln)?, number(r)?, number(p)?);
        Self::of(ln, r, p, salt.as_bytes().to_vec(), bytes(hash)?)
    }

    fn of(ln: u32, r: u32, p: u32, salt: Vec<u8>, expected: Vec<u8>) -> Option<Self> {
        let ln = u8::try_from(ln).ok().filter(|ln| (1..=40).contains(ln))?;
        // The bound of RFC 7914, asked here first: `Params::new` multiplies without a check.
        r.checked_mul(p).filter(|rp| *rp < 1 << 30)?;
        let params = Params::new(ln, r, p).ok()?;
        is_digest(&expected).then_some(Self {
            params,
            salt,
            expected,
        })
    }

    pub fn is_bearable(&self) -> bool {
        let (n, r, p) = (
            self.params.n(),
            u64::from(self.params.r()),
            u64::from(self.params.p()),
        );
        let memory = n.saturating_mul(r).saturating_mul(128);
        memory <= MOST_MEMORY && n.saturating_mul(r).saturating_mul(p) <= MOST_WORK
    }

    pub fn fits(&self, password: &[u8]) -> Option<bool> {
        let mut computed = vec![0; self.expected.len()];
        scrypt::scrypt(password, &self.salt, &self.params, &mut computed).ok()?;
        Some(equal(&computed, &self.expected))
    }
}

fn parts(text: &str) -> Option<[&str; 3]> {
    parts_of(text, '$')
}

fn parts_of(text: &str, separator: char) -> Option<[&str; 3]> {
    let parts: Vec<&str> = text.split(separator).collect();
    parts.try_into().ok()
}

/// Digits of six bits, the lowest first.
fn number(digits: &[u8]) -> Option<u64> {
    digits.iter().rev().try_fold(0, |number: u64, digit| {
        let value = DIGITS.iter().position(|known| known == digit)?;
        Some(number << 6 | u64::try_from(value).ok()?)
    })
}

/// Three bytes for each four digits; what is left over at the end has fewer.
fn bytes(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    for digits in text.as_bytes().chunks(4) {
        let count = digits.len() * 6 / 8;
        bytes.extend_from_slice(number(digits)?.to_le_bytes().get(..count)?);
    }
    Some(bytes)
}
