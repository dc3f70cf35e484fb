use serde_json::{Value, json};

use super::*;

const NOW: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);

fn signing_key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn signer() -> Signer {
    Signer::new(signing_key(1), TokenConfig::default()).unwrap()
}

fn verifier() -> Verifier {
    Verifier::new([signing_key(1).verifying_key()], TokenConfig::default())
}

fn claims() -> AccessClaims {
    AccessClaims {
        user_id: UserId::from_uuid(Uuid::from_u128(1)),
        session_id: SessionId::from_uuid(Uuid::from_u128(2)),
        client_id: "rolecall".into(),
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
    let signed = format!("{}.{}", encode(header).unwrap(), encode(payload).unwrap());
    let signature = signing_key(1).sign(signed.as_bytes()).to_bytes();
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
    let kid = thumbprint(&signing_key(1).verifying_key());
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
    let token = signer().issue(&claims()).unwrap();
    let verifier = verifier();
    verifier.verify(&token, NOW).unwrap();
    for at in 0..token.len() {
        let mut changed = token.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).unwrap();
        assert!(verifier.verify(&changed, NOW).is_err(), "changed at {at}");
    }
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
    let stranger = Signer::new(signing_key(2), TokenConfig::default()).unwrap();
    assert_eq!(
        refused(&stranger.issue(&claims()).unwrap()),
        TokenError::UnknownKey
    );
}

#[test]
fn anothers_signature_under_our_key_id_is_bad() {
    let token = signer().issue(&claims()).unwrap();
    let (signed, _) = token.rsplit_once('.').unwrap();
    let signature = signing_key(2).sign(signed.as_bytes()).to_bytes();
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

/// The key and thumbprint of RFC 8037, appendix A.
#[test]
fn key_ids_are_thumbprints() {
    let x = URL_SAFE_NO_PAD
        .decode("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")
        .unwrap();
    let key = VerifyingKey::try_from(x.as_slice()).unwrap();
    assert_eq!(thumbprint(&key), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    let document = serde_json::to_value(Jwks::of([&key])).unwrap();
    assert_eq!(
        document["keys"][0],
        json!({
            "kty": "OKP",
            "crv": "Ed25519",
            "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
            "kid": "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
            "use": "sig",
            "alg": "EdDSA",
        })
    );
}
