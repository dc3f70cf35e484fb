//! What shows that a call between instances comes from one, and its answer from whom it was sent to.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use schemas::{Sha256Digest, Timestamp, WriterId};
use service_kit::keys::TokenKey;

/// The instance that is called.
pub const INSTANCE: HeaderName = HeaderName::from_static("rolecall-peer");
/// The one that calls, and the how manieth of its calls this is.
pub const SENDER: HeaderName = HeaderName::from_static("rolecall-peer-from");
pub const NUMBER: HeaderName = HeaderName::from_static("rolecall-peer-number");
pub const TIME: HeaderName = HeaderName::from_static("rolecall-peer-time");
pub const SEAL: HeaderName = HeaderName::from_static("rolecall-peer-seal");

/// Clocks may differ by less than this and the time that a call takes.
pub const FRESH: Duration = Duration::from_secs(60);

/// Who calls whom, and which of its calls this is: no two have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    pub to: WriterId,
    pub from: WriterId,
    pub number: u64,
}

impl Call {
    /// As the headers name it.
    pub fn named(headers: &HeaderMap) -> Option<Self> {
        Some(Self {
            to: text(headers, &INSTANCE)?.parse().ok()?,
            from: text(headers, &SENDER)?.parse().ok()?,
            number: text(headers, &NUMBER)?.parse().ok()?,
        })
    }

    /// The headers that go with a call's body.
    pub fn seal(self, key: &TokenKey, at_ms: i64, body: &[u8]) -> [(HeaderName, String); 5] {
        [
            (INSTANCE, self.to.to_string()),
            (SENDER, self.from.to_string()),
            (NUMBER, self.number.to_string()),
            (TIME, at_ms.to_string()),
            (SEAL, hex::encode(self.mac(key, at_ms, body))),
        ]
    }

    /// Whether the headers fit the body, and it is of now.
    pub fn is_sealed(self, key: &TokenKey, headers: &HeaderMap, body: &[u8]) -> bool {
        is_genuine(headers, |at_ms| self.mac(key, at_ms, body))
    }

    /// The headers that go with the answer to it.
    pub fn seal_answer(self, key: &TokenKey, answer: &Answer<'_>, at_ms: i64) -> [(HeaderName, String); 2] {
        let seal = hex::encode(self.answer_mac(key, answer, at_ms));
        [(TIME, at_ms.to_string()), (SEAL, seal)]
    }

    /// Whether the answer is one to this call, from an instance that has the key.
    pub fn is_answered(self, key: &TokenKey, answer: &Answer<'_>, headers: &HeaderMap) -> bool {
        is_genuine(headers, |at_ms| self.answer_mac(key, answer, at_ms))
    }

    fn mac(self, key: &TokenKey, at_ms: i64, body: &[u8]) -> [u8; 32] {
        let bound = [&self.bytes()[..], body].concat();
        key.derive("peer-call", self.to.as_uuid(), at_ms.unsigned_abs(), &bound)
    }

    fn answer_mac(self, key: &TokenKey, answer: &Answer<'_>, at_ms: i64) -> [u8; 32] {
        // Digests and numbers of one length, so that no two answers run together.
        let call = Sha256Digest::of(answer.call_seal.as_bytes());
        let status = answer.status.as_u16().to_be_bytes();
        let bound = [&call.0[..], &status, answer.body].concat();
        key.derive("peer-answer", self.to.as_uuid(), at_ms.unsigned_abs(), &bound)
    }

    /// Of one length; the receiver is bound in beside it.
    fn bytes(self) -> [u8; 24] {
        let mut bytes = [0; 24];
        bytes[..16].copy_from_slice(self.from.as_uuid().as_bytes());
        bytes[16..].copy_from_slice(&self.number.to_be_bytes());
        bytes
    }
}

/// All that an answer says.
#[derive(Clone, Copy)]
pub struct Answer<'a> {
    /// Of the call that it is to, and so to no other one.
    pub call_seal: &'a str,
    pub status: StatusCode,
    pub body: &'a [u8],
}

/// The seal that came with a body.
pub fn given_seal(headers: &HeaderMap) -> &str {
    text(headers, &SEAL).unwrap_or_default()
}

fn is_genuine(headers: &HeaderMap, mac: impl Fn(i64) -> [u8; 32]) -> bool {
    let Some(at_ms) = text(headers, &TIME).and_then(|it| it.parse::<i64>().ok()) else {
        return false;
    };
    let age_ms = Timestamp::now().as_millis().abs_diff(at_ms);
    let given = text(headers, &SEAL).and_then(|it| hex::decode(it).ok());
    u128::from(age_ms) < FRESH.as_millis() && given.is_some_and(|given| is_equal(&given, &mac(at_ms)))
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).map(HeaderValue::to_str)?.ok()
}

/// Takes the same time wherever two differ.
fn is_equal(given: &[u8], wanted: &[u8; 32]) -> bool {
    given.len() == wanted.len()
        && given
            .iter()
            .zip(wanted)
            .fold(0, |differ, (a, b)| differ | (a ^ b))
            == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(sealed: impl IntoIterator<Item = (HeaderName, String)>) -> HeaderMap {
        sealed
            .into_iter()
            .map(|(name, value)| (name, value.parse().unwrap()))
            .collect()
    }

    fn key(byte: u8) -> TokenKey {
        TokenKey::parse(&[byte; 32]).unwrap()
    }

    fn call() -> Call {
        Call {
            to: WriterId::new_v7(),
            from: WriterId::new_v7(),
            number: 7,
        }
    }

    #[test]
    fn only_the_very_call_is_taken() {
        let (key, own, call, now) = (key(7), key(8), call(), Timestamp::now().as_millis());
        let sealed = headers(call.seal(&key, now, b"body"));
        assert_eq!(Call::named(&sealed), Some(call));
        assert!(call.is_sealed(&key, &sealed, b"body"));
        assert!(!call.is_sealed(&key, &sealed, b"b0dy"));
        assert!(!call.is_sealed(&own, &sealed, b"body"));
        assert!(!call.is_sealed(&key, &HeaderMap::new(), b"body"));
        let (to, from) = (WriterId::new_v7(), WriterId::new_v7());
        for other in [
            Call { to, ..call },
            Call { from, ..call },
            Call { number: 8, ..call },
        ] {
            assert!(!other.is_sealed(&key, &sealed, b"body"), "{other:?}");
        }
        let long_ago = now - 2 * i64::try_from(FRESH.as_millis()).unwrap();
        let old = headers(call.seal(&key, long_ago, b"body"));
        assert!(!call.is_sealed(&key, &old, b"body"));
    }

    #[test]
    fn an_answer_is_of_one_call_with_its_status() {
        let (key, call, now) = (key(7), call(), Timestamp::now().as_millis());
        let answer = Answer {
            call_seal: "1",
            status: StatusCode::OK,
            body: b"body",
        };
        let sealed = headers(call.seal_answer(&key, &answer, now));
        assert!(call.is_answered(&key, &answer, &sealed));
        let status = StatusCode::MISDIRECTED_REQUEST;
        for other in [
            Answer {
                call_seal: "2",
                ..answer
            },
            Answer { status, ..answer },
            Answer {
                body: b"b0dy",
                ..answer
            },
        ] {
            assert!(!call.is_answered(&key, &other, &sealed));
        }
        // Nor is a call its own answer.
        assert!(!call.is_answered(&key, &answer, &headers(call.seal(&key, now, b"body"))));
    }
}
