//! How many rows a page has.

use serde::{Deserialize, Deserializer, de};

const DEFAULT: u32 = 50;
const MOST: u32 = 500;

/// 1 to 500; 50 where none is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit(pub u32);

impl Default for Limit {
    fn default() -> Self {
        Self(DEFAULT)
    }
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let limit = u32::deserialize(deserializer)?;
        if (1..=MOST).contains(&limit) {
            Ok(Self(limit))
        } else {
            Err(de::Error::custom(format!("limit is 1 to {MOST}")))
        }
    }
}
