//! What shows that a call between instances comes from one.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use schemas::{Sha256Digest, Timestamp, WriterId};
use service_kit::keys::TokenKey;

pub const INSTANCE: HeaderName = HeaderName::from_static("rolecall-peer");
pub const TIME: HeaderName = HeaderName::from_static("rolecall-peer-time");
pub const SEAL: HeaderName = HeaderName::from_static("rolecall-peer-seal");

/// Clocks may differ by less than this and the time that a call takes.
const FRESH_MS: i64 = 60_000;

/// Which way a body goes: an answer is never taken for a call, nor for the answer to another one.
#[derive(Clone, Copy)]
pub enum Way<'a> {
    Call,
    /// To the call with this seal.
    Answer(&'a str),
}

/// The headers that go with a body to or from this instance.
pub fn seal(
    key: &TokenKey,
    way: Way<'_>,
    instance: WriterId,
    at_ms: i64,
    body: &[u8],
) -> [(HeaderName, String); 3] {
    let seal = hex::encode(mac(key, way, instance, at_ms, body));
    [
        (INSTANCE, instance.to_string()),
        (TIME, at_ms.to_string()),
        (SEAL, seal),
    ]
}

/// Whether the headers fit the body, and it is of now. The instance named in them is for the caller to judge.
pub fn is_sealed(key: &TokenKey, way: Way<'_>, instance: WriterId, headers: &HeaderMap, body: &[u8]) -> bool {
    let Some(at_ms) = text(headers, &TIME).and_then(|it| it.parse::<i64>().ok()) else {
        return false;
    };
    let is_fresh = Timestamp::now().as_millis().abs_diff(at_ms) < FRESH_MS.unsigned_abs();
    let given = text(headers, &SEAL).and_then(|it| hex::decode(it).ok());
    let wanted = mac(key, way, instance, at_ms, body);
    is_fresh && given.is_some_and(|given| is_equal(&given, &wanted))
}

pub fn named_instance(headers: &HeaderMap) -> Option<WriterId> {
    text(headers, &INSTANCE)?.parse().ok()
}

/// The seal that came with a body.
pub fn given_seal(headers: &HeaderMap) -> &str {
    text(headers, &SEAL).unwrap_or_default()
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).map(HeaderValue::to_str)?.ok()
}

fn mac(key: &TokenKey, way: Way<'_>, instance: WriterId, at_ms: i64, body: &[u8]) -> [u8; 32] {
    let (instance, at) = (instance.as_uuid(), at_ms.unsigned_abs());
    match way {
        Way::Call => key.derive("peer-call", instance, at, body),
        Way::Answer(call) => {
            // A digest of one length, so that no two pairs run together.
            let call = Sha256Digest::of(call.as_bytes());
            let bound: Vec<u8> = call.0.iter().chain(body).copied().collect();
            key.derive("peer-answer", instance, at, &bound)
        }
    }
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

    fn headers(sealed: [(HeaderName, String); 3]) -> HeaderMap {
        sealed
            .into_iter()
            .map(|(name, value)| (name, value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn only_the_very_call_is_taken() {
        let key = TokenKey::parse(&[7; 32]).unwrap();
        let (to, now) = (WriterId::new_v7(), Timestamp::now().as_millis());
        let sealed = headers(seal(&key, Way::Call, to, now, b"body"));
        assert!(is_sealed(&key, Way::Call, to, &sealed, b"body"));
        assert_eq!(named_instance(&sealed), Some(to));
        assert!(!is_sealed(&key, Way::Call, to, &sealed, b"b0dy"));
        assert!(!is_sealed(&key, Way::Answer("1"), to, &sealed, b"body"));
        assert!(!is_sealed(&key, Way::Call, WriterId::new_v7(), &sealed, b"body"));
        assert!(!is_sealed(
            &TokenKey::parse(&[8; 32]).unwrap(),
            Way::Call,
            to,
            &sealed,
            b"body"
        ));
        assert!(!is_sealed(&key, Way::Call, to, &HeaderMap::new(), b"body"));
        let answer = headers(seal(&key, Way::Answer("1"), to, now, b"body"));
        assert!(is_sealed(&key, Way::Answer("1"), to, &answer, b"body"));
        assert!(!is_sealed(&key, Way::Answer("2"), to, &answer, b"body"));
        let old = headers(seal(&key, Way::Call, to, now - 2 * FRESH_MS, b"body"));
        assert!(!is_sealed(&key, Way::Call, to, &old, b"body"));
    }
}
