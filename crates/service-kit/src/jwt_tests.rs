use ed25519_dalek::SigningKey;
use serde_json::{Value, json};

use super::*;
use crate::key_folder::KeyFolders;
use crate::signing::{Algorithm, PrivateKey};

const NOW: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);

fn key(seed: u8) -> PrivateKey {
    PrivateKey::Ed25519(SigningKey::from_bytes(&[seed; 32]))
}

fn signer_of(key: PrivateKey) -> Signer {
    Signer::new(KeyFolder::fixed(key), TokenConfig::default())
}

fn signer() -> Signer {
    signer_of(key(1))
}

fn verifier_of(key: PrivateKey) -> Verifier {
    Verifier::new(KeyFolder::fixed(key), TokenConfig::default())
}

fn verifier() -> Verifier {
    verifier_of(key(1))
}

/// Microseconds are what an event has, seconds what a token has.
fn later(seconds: u64) -> Timestamp {
    NOW.plus(Duration::from_secs(seconds))
}

fn claims() -> AccessClaims {
    AccessClaims {
        user_id: UserId::from_uuid(Uuid::from_u128(1)),
        session_id: SessionId::from_uuid(Uuid::from_u128(2)),
        client_id: "rolecall".into(),
        authentication: Authentication::new(&["pwd".to_owned()], Some(NOW)),
        issued_at: NOW,
        expires_at: NOW.plus(Duration::from_secs(300)),
        token_id: Uuid::from_u128(3),
    }
}

fn part(token: &str, number: usize) -> Value {
    decode(token.split('.').nth(number).unwrap()).unwrap()
}

/// A token with any header and payload, signed by our own key.
fn forge(header: &Value, payload: &Value) -> String {
    forge_with(&key(1), header, payload)
}

fn forge_with(key: &PrivateKey, header: &Value, payload: &Value) -> String {
    let signed = format!("{}.{}", encode(header).unwrap(), encode(payload).unwrap());
    let signature = key.sign(signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn refused(token: &str) -> TokenError {
    verifier().verify(token, NOW).unwrap_err()
}

#[test]
fn a_token_is_verified_and_says_what_was_issued() {
    let token = signer().issue(&claims()).unwrap();
    let verifier = verifier();
    for _ in 0..3 {
        assert_eq!(verifier.verify(&token, NOW), Ok(claims()));
    }
}

#[test]
fn equal_claims_give_equal_tokens() {
    assert_eq!(
        signer().issue(&claims()).unwrap(),
        signer().issue(&claims()).unwrap()
    );
}

#[test]
fn a_token_holds_ids_and_times_and_nothing_else() {
    let token = signer().issue(&claims()).unwrap();
    let kid = key(1).public().kid();
    assert_eq!(
        part(&token, 0),
        json!({ "alg": "EdDSA", "typ": "at+jwt", "kid": kid })
    );
    assert_eq!(
        part(&token, 1),
        json!({
            "iss": "rolecall",
            "sub": "00000000-0000-0000-0000-000000000001",
            "aud": "rolecall",
            "client_id": "rolecall",
            "iat": 1_800_000_000,
            "exp": 1_800_000_300,
            "jti": "00000000-0000-0000-0000-000000000003",
            "sid": "00000000-0000-0000-0000-000000000002",
            "auth_time": 1_800_000_000,
            "acr": "aal1",
            "amr": ["pwd"],
        })
    );
}

#[test]
fn a_remembered_token_still_expires_to_the_second() {
    let token = signer().issue(&claims()).unwrap();
    let verifier = verifier();
    let end = claims().expires_at;
    assert!(
        verifier
            .verify(&token, Timestamp::from_micros(end.as_micros() - 1))
            .is_ok()
    );
    assert_eq!(verifier.verify(&token, end), Err(TokenError::Expired));
    assert_eq!(self::verifier().verify(&token, end), Err(TokenError::Expired));
}

#[test]
fn every_changed_character_is_refused() {
    for algorithm in [Algorithm::EdDsa, Algorithm::Es256] {
        let key = PrivateKey::generate(algorithm);
        let (token, verifier) = (signer_of(key.clone()).issue(&claims()).unwrap(), verifier_of(key));
        verifier.verify(&token, NOW).unwrap();
        for at in 0..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert!(verifier.verify(&changed, NOW).is_err(), "{algorithm:?} at {at}");
        }
    }
}

#[test]
fn what_nobody_told_of_the_sign_in_is_not_in_the_token() {
    let mut untold = claims();
    untold.authentication = Authentication::default();
    let token = signer().issue(&untold).unwrap();
    for name in ["acr", "amr", "auth_time"] {
        assert!(part(&token, 1).get(name).is_none(), "{name}");
    }
    assert_eq!(verifier().verify(&token, NOW), Ok(untold));
}

/// A service with keys of both kinds lets neither be taken for the other.
#[test]
fn a_token_must_name_the_algorithm_of_its_key() {
    let keys = [Algorithm::EdDsa, Algorithm::Es256].map(PrivateKey::generate);
    for (key, other) in [(&keys[0], "ES256"), (&keys[1], "EdDSA")] {
        let token = signer_of(key.clone()).issue(&claims()).unwrap();
        let (mut header, payload) = (part(&token, 0), part(&token, 1));
        let verifier = verifier_of(key.clone());
        for algorithm in [other, "none", "HS256", "RS256"] {
            header["alg"] = algorithm.into();
            let forged = forge_with(key, &header, &payload);
            assert_eq!(
                verifier.verify(&forged, NOW),
                Err(TokenError::WrongType),
                "{algorithm}"
            );
        }
    }
}

#[test]
fn another_implementation_verifies_by_the_key_set() {
    for algorithm in [Algorithm::EdDsa, Algorithm::Es256] {
        let key = PrivateKey::generate(algorithm);
        let token = signer_of(key.clone()).issue(&claims()).unwrap();
        let published = serde_json::to_value(verifier_of(key).jwks(NOW)).unwrap();
        let published: jsonwebtoken::jwk::JwkSet = serde_json::from_value(published).unwrap();
        let header = jsonwebtoken::decode_header(&token).unwrap();
        let jwk = published.find(header.kid.as_deref().unwrap()).unwrap();
        let mut rules = jsonwebtoken::Validation::new(header.alg);
        rules.set_audience(&["rolecall"]);
        rules.validate_exp = false;
        let key = jsonwebtoken::DecodingKey::from_jwk(jwk).unwrap();
        let read = jsonwebtoken::decode::<Value>(&token, &key, &rules).unwrap();
        assert_eq!(read.claims["acr"], "aal1");
    }
}

#[test]
fn keys_rotate_without_a_token_that_anybody_refuses() {
    let dir = tempfile::tempdir().unwrap();
    let folders = KeyFolders {
        signing: dir.path().join("signing"),
        verifying: dir.path().join("verifying"),
    };
    let old = folders.add(Algorithm::EdDsa, NOW).unwrap();
    let [private, public] =
        [&folders.signing, &folders.verifying].map(|folder| KeyFolder::open(folder).unwrap());
    let config = TokenConfig::default;
    let signer = Signer::new(Arc::clone(&private), config());
    let verifier = Verifier::new(Arc::clone(&public), config());
    let token_at = |seconds| {
        let token = AccessClaims {
            issued_at: later(seconds),
            expires_at: later(seconds + 300),
            ..claims()
        };
        signer.issue(&token).unwrap()
    };
    let kid = |token: &str| part(token, 0)["kid"].as_str().unwrap().to_owned();
    let published = |seconds| {
        let keys = verifier.jwks(later(seconds)).keys;
        keys.into_iter().map(|key| key.kid).collect::<Vec<_>>()
    };
    let first = token_at(0);
    verifier.verify(&first, later(1)).unwrap();

    let new = folders.add(Algorithm::Es256, later(600)).unwrap();
    private.reread().unwrap();
    public.reread().unwrap();
    let mut both = vec![old.kid.clone(), new.kid.clone()];
    both.sort_unstable();
    assert_eq!(published(10), both);
    let (last, next) = (token_at(599), token_at(600));
    assert_eq!((kid(&last), kid(&next)), (old.kid.clone(), new.kid.clone()));
    // An answer given again after the change is the same.
    assert_eq!(token_at(599), last);
    verifier.verify(&last, later(898)).unwrap();
    verifier.verify(&next, later(600)).unwrap();
    // The clocks of both may differ by a minute.
    assert_eq!(published(959), both);
    assert_eq!(published(960), std::slice::from_ref(&new.kid));
    assert_eq!(folders.prune(later(960), config().ttl()).unwrap()[0].kid, old.kid);
}

#[test]
fn a_key_that_was_taken_away_verifies_nothing_more_though_its_token_is_remembered() {
    let dir = tempfile::tempdir().unwrap();
    let folders = KeyFolders {
        signing: dir.path().join("signing"),
        verifying: dir.path().join("verifying"),
    };
    folders.add(Algorithm::EdDsa, NOW).unwrap();
    let keys = KeyFolder::open(&folders.signing).unwrap();
    let token = Signer::new(Arc::clone(&keys), TokenConfig::default())
        .issue(&claims())
        .unwrap();
    let verifier = Verifier::new(Arc::clone(&keys), TokenConfig::default());
    verifier.verify(&token, NOW).unwrap();
    for entry in std::fs::read_dir(&folders.signing).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
    folders.add(Algorithm::EdDsa, later(1)).unwrap();
    keys.reread().unwrap();
    assert_eq!(verifier.verify(&token, later(2)), Err(TokenError::UnknownKey));
}

#[test]
fn no_other_algorithm_is_taken_even_with_a_good_signature() {
    let token = signer().issue(&claims()).unwrap();
    let (mut header, payload) = (part(&token, 0), part(&token, 1));
    for algorithm in ["none", "None", "HS256", "RS256", "ES256", "eddsa", ""] {
        header["alg"] = algorithm.into();
        assert_eq!(
            refused(&forge(&header, &payload)),
            TokenError::WrongType,
            "{algorithm}"
        );
    }
    header["alg"] = "none".into();
    let unsigned = format!("{}.{}.", encode(&header).unwrap(), encode(&payload).unwrap());
    assert_eq!(refused(&unsigned), TokenError::WrongType);
}

#[test]
fn tokens_of_another_use_issuer_audience_or_key_are_told_apart() {
    let token = signer().issue(&claims()).unwrap();
    let (header, payload) = (part(&token, 0), part(&token, 1));
    let with = |base: &Value, name: &str, value: Value| {
        let mut changed = base.clone();
        changed[name] = value;
        changed
    };
    assert_eq!(
        refused(&forge(&with(&header, "typ", "JWT".into()), &payload)),
        TokenError::WrongType
    );
    assert_eq!(
        refused(&forge(&with(&header, "kid", "x".into()), &payload)),
        TokenError::UnknownKey
    );
    assert_eq!(
        refused(&forge(&with(&header, "crit", json!(["b64"])), &payload)),
        TokenError::Malformed
    );
    assert_eq!(
        refused(&forge(&header, &with(&payload, "iss", "evil".into()))),
        TokenError::WrongIssuer
    );
    assert_eq!(
        refused(&forge(&header, &with(&payload, "aud", json!(["a", "b"])))),
        TokenError::WrongAudience
    );
    assert_eq!(
        refused(&forge(&header, &with(&payload, "sub", "alice".into()))),
        TokenError::Malformed
    );
    let several = forge(&header, &with(&payload, "aud", json!(["a", "rolecall"])));
    assert_eq!(verifier().verify(&several, NOW), Ok(claims()));
    let stranger = signer_of(key(2));
    assert_eq!(
        refused(&stranger.issue(&claims()).unwrap()),
        TokenError::UnknownKey
    );
}

#[test]
fn anothers_signature_under_our_key_id_is_bad() {
    let token = signer().issue(&claims()).unwrap();
    let (signed, _) = token.rsplit_once('.').unwrap();
    let signature = key(2).sign(signed.as_bytes());
    let forged = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature));
    assert_eq!(refused(&forged), TokenError::BadSignature);
}

#[test]
fn text_that_is_no_token_is_malformed() {
    let token = signer().issue(&claims()).unwrap();
    let long = "x".repeat(MAX_TOKEN + 1);
    for text in ["", ".", "..", "...", "a.b.c", &long, &format!("{token}=")] {
        assert_eq!(refused(text), TokenError::Malformed, "{text}");
    }
}
