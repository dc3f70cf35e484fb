//! Consistency tokens: which part of the log an answer reflects or must reflect.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use schemas::{LogId, Position, Stream};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};
use uuid::Uuid;

/// Names the encoding, so that another can follow.
const VERSION: &str = "rc1.";
/// Three streams of a thousand partitions fit twice over.
const MAX_TEXT: usize = 64 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenParseError {
    #[error("a consistency token starts with {VERSION:?}")]
    Version,
    #[error("the consistency token is not base64url")]
    Base64,
    #[error("the consistency token is cut off")]
    Truncated,
    #[error("the consistency token names an unknown stream")]
    UnknownStream,
    #[error("the consistency token is not in canonical form")]
    NotCanonical,
    #[error("the consistency token is too long")]
    TooLong,
}

/// The token is of another log; its positions mean nothing here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the consistency token is of log {theirs}, not of {ours}")]
pub struct ForeignToken {
    pub ours: LogId,
    pub theirs: LogId,
}

/// A log and, for each partition named, the offset of a record: reflected once everything up to
/// and with that record is applied. Opaque, URL-safe text to callers; one text for each value.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ConsistencyToken {
    log_id: LogId,
    positions: BTreeMap<(Stream, i32), i64>,
}

impl ConsistencyToken {
    /// Asks for nothing yet.
    pub const fn new(log_id: LogId) -> Self {
        Self {
            log_id,
            positions: BTreeMap::new(),
        }
    }

    pub fn from_positions(log_id: LogId, positions: impl IntoIterator<Item = Position>) -> Self {
        let mut token = Self::new(log_id);
        for position in positions {
            token.include(position);
        }
        token
    }

    /// Raises the token to reflect `position` too. A negative offset is no record and asks nothing.
    pub fn include(&mut self, position: Position) {
        if position.offset < 0 || position.partition < 0 {
            return;
        }
        match self.positions.entry((position.stream, position.partition)) {
            Entry::Vacant(entry) => {
                entry.insert(position.offset);
            }
            Entry::Occupied(mut entry) => {
                let highest = position.offset.max(*entry.get());
                entry.insert(highest);
            }
        }
    }

    /// What it says of one partition.
    pub fn position(&self, (stream, partition): (Stream, i32)) -> Option<Position> {
        let offset = self.offset(stream, partition)?;
        Some(Position {
            stream,
            partition,
            offset,
        })
    }

    /// The least token that reflects both: each partition's maximum.
    pub fn join(mut self, other: &Self) -> Result<Self, ForeignToken> {
        other.check_log(self.log_id)?;
        for position in other.positions() {
            self.include(position);
        }
        Ok(self)
    }

    /// Whether whatever reflects `self` reflects `other` too.
    pub fn covers(&self, other: &Self) -> bool {
        self.log_id == other.log_id
            && other
                .positions
                .iter()
                .all(|(place, offset)| self.positions.get(place) >= Some(offset))
    }

    pub fn check_log(&self, ours: LogId) -> Result<(), ForeignToken> {
        if self.log_id == ours {
            Ok(())
        } else {
            Err(ForeignToken {
                ours,
                theirs: self.log_id,
            })
        }
    }

    pub const fn log_id(&self) -> LogId {
        self.log_id
    }

    pub fn offset(&self, stream: Stream, partition: i32) -> Option<i64> {
        self.positions.get(&(stream, partition)).copied()
    }

    pub fn is_empty(&self) -> bool {
        self.positions.is_empty()
    }

    /// In the order of stream and partition.
    pub fn positions(&self) -> impl Iterator<Item = Position> + '_ {
        self.positions
            .iter()
            .map(|(&(stream, partition), &offset)| Position {
                stream,
                partition,
                offset,
            })
    }
}

impl fmt::Display for ConsistencyToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = self.log_id.as_uuid().as_bytes().to_vec();
        for (&(stream, partition), &offset) in &self.positions {
            bytes.push(stream_code(stream));
            put_varint(&mut bytes, u64::from(partition.unsigned_abs()));
            put_varint(&mut bytes, offset.unsigned_abs());
        }
        write!(f, "{VERSION}{}", URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl fmt::Debug for ConsistencyToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.log_id, self.positions)
    }
}

impl FromStr for ConsistencyToken {
    type Err = TokenParseError;

    fn from_str(text: &str) -> Result<Self, TokenParseError> {
        if text.len() > MAX_TEXT {
            return Err(TokenParseError::TooLong);
        }
        let encoded = text.strip_prefix(VERSION).ok_or(TokenParseError::Version)?;
        let bytes = URL_SAFE_NO_PAD
            .decode(encoded)
            .map_err(|_| TokenParseError::Base64)?;
        let (log_id, mut rest) = bytes
            .split_first_chunk::<16>()
            .ok_or(TokenParseError::Truncated)?;
        let mut positions = BTreeMap::new();
        while let Some((&code, tail)) = rest.split_first() {
            rest = tail;
            let stream = stream_of(code).ok_or(TokenParseError::UnknownStream)?;
            let partition = take_varint(&mut rest)?
                .try_into()
                .map_err(|_| TokenParseError::NotCanonical)?;
            let offset = take_varint(&mut rest)?
                .try_into()
                .map_err(|_| TokenParseError::NotCanonical)?;
            let ascends = positions
                .last_key_value()
                .is_none_or(|(last, _)| *last < (stream, partition));
            if !ascends {
                return Err(TokenParseError::NotCanonical);
            }
            positions.insert((stream, partition), offset);
        }
        Ok(Self {
            log_id: LogId::from_uuid(Uuid::from_bytes(*log_id)),
            positions,
        })
    }
}

impl Serialize for ConsistencyToken {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ConsistencyToken {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

impl PartialSchema for ConsistencyToken {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .description(Some(
                "Opaque: send it back in Rolecall-At-Least to read what it names.",
            ))
            .examples(["rc1.AZOJAbr6fm6kb0qP1Z8mWQEDKg"])
            .into()
    }
}

impl ToSchema for ConsistencyToken {}

const fn stream_code(stream: Stream) -> u8 {
    match stream {
        Stream::Users => 1,
        Stream::Identifiers => 2,
        Stream::Catalog => 3,
    }
}

fn stream_of(code: u8) -> Option<Stream> {
    Stream::ALL
        .into_iter()
        .find(|stream| stream_code(*stream) == code)
}

fn put_varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(u8::try_from(value & 0x7f).unwrap_or(0) | 0x80);
        value >>= 7;
    }
    bytes.push(u8::try_from(value).unwrap_or(0));
}

fn take_varint(bytes: &mut &[u8]) -> Result<u64, TokenParseError> {
    let mut value = 0_u64;
    // Nine groups of seven bits hold every offset, which is never negative.
    for shift in (0..63).step_by(7) {
        let (&byte, rest) = bytes.split_first().ok_or(TokenParseError::Truncated)?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            let padded = byte == 0 && shift > 0;
            return if padded {
                Err(TokenParseError::NotCanonical)
            } else {
                Ok(value)
            };
        }
    }
    Err(TokenParseError::NotCanonical)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LOG: LogId = LogId::from_uuid(Uuid::from_u128(0x0193_8901_bafa_7e6e_a46f_4a8f_d59f_2659));

    fn token() -> impl Strategy<Value = ConsistencyToken> {
        let stream = prop::sample::select(Stream::ALL.to_vec());
        let offset = prop_oneof![
            0..1_000_i64,
            Just(i64::MAX),
            any::<i64>().prop_map(|n| n & i64::MAX)
        ];
        prop::collection::vec((stream, prop_oneof![0..4, Just(i32::MAX)], offset), 0..12).prop_map(|places| {
            ConsistencyToken::from_positions(
                LOG,
                places.into_iter().map(|(stream, partition, offset)| Position {
                    stream,
                    partition,
                    offset,
                }),
            )
        })
    }

    proptest! {
        #[test]
        fn text_and_back_is_the_same_token(token in token()) {
            let text = token.to_string();
            prop_assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)));
            prop_assert_eq!(text.parse::<ConsistencyToken>().unwrap(), token);
        }

        #[test]
        fn join_is_commutative_associative_and_idempotent(a in token(), b in token(), c in token()) {
            let join = |x: &ConsistencyToken, y: &ConsistencyToken| x.clone().join(y).unwrap();
            prop_assert_eq!(join(&a, &b), join(&b, &a));
            prop_assert_eq!(join(&join(&a, &b), &c), join(&a, &join(&b, &c)));
            prop_assert_eq!(join(&a, &a), a);
        }

        #[test]
        fn a_join_is_the_least_that_covers_both(a in token(), b in token(), c in token()) {
            let joined = a.clone().join(&b).unwrap();
            prop_assert!(joined.covers(&a) && joined.covers(&b));
            prop_assert_eq!(c.covers(&joined), c.covers(&a) && c.covers(&b));
        }

        #[test]
        fn any_bytes_parse_to_a_token_of_that_text_or_to_an_error(tail in prop::collection::vec(any::<u8>(), 0..40)) {
            let bytes = [LOG.as_uuid().as_bytes().as_slice(), &tail].concat();
            let text = format!("{VERSION}{}", URL_SAFE_NO_PAD.encode(bytes));
            if let Ok(token) = text.parse::<ConsistencyToken>() {
                prop_assert_eq!(token.to_string(), text);
            }
        }
    }

    #[test]
    fn broken_texts_are_told_apart() {
        let parse = |text: &str| text.parse::<ConsistencyToken>().unwrap_err();
        assert_eq!(parse(""), TokenParseError::Version);
        assert_eq!(parse("rc2.AAAA"), TokenParseError::Version);
        assert_eq!(parse("rc1.***"), TokenParseError::Base64);
        assert_eq!(parse("rc1.AAAA"), TokenParseError::Truncated);
        assert_eq!(parse(&"x".repeat(MAX_TEXT + 1)), TokenParseError::TooLong);
    }

    #[test]
    fn another_log_neither_joins_nor_covers() {
        let other = ConsistencyToken::new(LogId::new_v7());
        let ours = ConsistencyToken::new(LOG);
        assert!(ours.clone().join(&other).is_err());
        assert!(!ours.covers(&other));
    }
}
