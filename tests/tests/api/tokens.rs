//! Access tokens, true and false.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use schemas::Timestamp;
use serde_json::{Value, json};
use service_kit::assurance::Authentication;
use service_kit::jwt::{AccessClaims, Signer, TokenConfig};
use service_kit::key_folder::KeyFolder;
use service_kit::problem::ProblemType as P;
use service_kit::signing::{Algorithm, PrivateKey, PublicKey};
use tests::{Answer, Person, World};
use uuid::Uuid;

/// What both services say to this token.
async fn presented(world: &World, token: &str) -> [Answer; 2] {
    let command = world
        .client
        .command("DELETE", "/v1/roles/nowhere")
        .bearer(token)
        .send()
        .await;
    let query = world
        .client
        .query("GET", &format!("/v1/users/{}/roles", world.admin.id))
        .bearer(token)
        .send()
        .await;
    [command, query]
}

fn claims(person: &Person) -> AccessClaims {
    AccessClaims {
        user_id: person.id,
        session_id: person.session_id.parse().unwrap(),
        client_id: "rolecall".into(),
        authentication: Authentication::default(),
        issued_at: Timestamp::now(),
        expires_at: Timestamp::now().plus(Duration::from_secs(60)),
        token_id: Uuid::now_v7(),
    }
}

fn encoded(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

pub async fn forged_tokens_are_refused_by_both_services(world: Arc<World>) {
    let genuine = &world.admin.access_token;
    let parts: Vec<&str> = genuine.split('.').collect();
    let decode =
        |part: &str| -> Value { serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap() };
    let (header, payload) = (decode(parts[0]), decode(parts[1]));
    // Who may read a token learns nobody's name, address or role.
    let mut names: Vec<&str> = payload.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "acr",
            "amr",
            "aud",
            "auth_time",
            "client_id",
            "exp",
            "iat",
            "iss",
            "jti",
            "sid",
            "sub"
        ]
    );

    let with = |value: &Value, field: &str, new: Value| {
        let mut value = value.clone();
        value[field] = new;
        encoded(&value)
    };
    let own_keys = world.rolecall.keys().signing_keys().unwrap();
    let [stranger, other_kind] = [Algorithm::EdDsa, Algorithm::Es256]
        .map(|algorithm| KeyFolder::fixed(PrivateKey::generate(algorithm)));
    let signed = |keys: &Arc<KeyFolder>, config: TokenConfig| {
        let signer = Signer::new(Arc::clone(keys), config);
        signer.issue(&claims(&world.admin)).unwrap()
    };
    let other_audience = TokenConfig {
        audience: "elsewhere".to_owned(),
        ..TokenConfig::default()
    };
    let other_issuer = TokenConfig {
        issuer: "elsewhere".to_owned(),
        ..TokenConfig::default()
    };
    let mut flipped = URL_SAFE_NO_PAD.decode(parts[2]).unwrap();
    flipped[10] ^= 1;
    for forged in [
        String::new(),
        "a.b.c".to_owned(),
        format!("{}.{}.", parts[0], parts[1]),
        format!("{}.{}.", with(&header, "alg", json!("none")), parts[1]),
        format!(
            "{}.{}.{}",
            with(&header, "alg", json!("none")),
            parts[1],
            parts[2]
        ),
        format!(
            "{}.{}.{}",
            with(&header, "alg", json!("HS256")),
            parts[1],
            parts[2]
        ),
        hs256(&world, &with(&header, "alg", json!("HS256")), parts[1]),
        format!("{}.{}.{}", with(&header, "typ", json!("JWT")), parts[1], parts[2]),
        format!(
            "{}.{}.{}",
            parts[0],
            with(&payload, "sub", json!(Uuid::now_v7())),
            parts[2]
        ),
        format!(
            "{}.{}.{}",
            parts[0],
            with(&payload, "exp", json!(9_999_999_999_i64)),
            parts[2]
        ),
        format!("{}.{}.{}", parts[0], parts[1], URL_SAFE_NO_PAD.encode(flipped)),
        signed(&stranger, TokenConfig::default()),
        signed(&other_kind, TokenConfig::default()),
        format!(
            "{}.{}.{}",
            with(&header, "alg", json!("ES256")),
            parts[1],
            parts[2]
        ),
        signed(&own_keys, other_audience),
        signed(&own_keys, other_issuer),
        format!("{genuine}.{}", parts[2]),
        "x".repeat(10_000),
    ] {
        for answer in presented(&world, &forged).await {
            answer.refused(P::Unauthenticated);
        }
    }
    // A true signature over a session that never was, and over somebody else's.
    let person = world.person("victim").await;
    let (mut invented, mut borrowed) = (claims(&person), claims(&world.admin));
    invented.session_id = Uuid::now_v7().into();
    borrowed.session_id = person.session_id.parse().unwrap();
    for claims in [invented, borrowed] {
        let signer = Signer::new(Arc::clone(&own_keys), TokenConfig::default());
        let token = signer.issue(&claims).unwrap();
        for answer in presented(&world, &token).await {
            answer.refused(P::SessionEnded);
        }
    }
}

/// Signed with what everybody knows, the public key, as if it were a secret.
fn hs256(world: &World, header: &str, payload: &str) -> String {
    let keys = world.rolecall.keys().signing_keys().unwrap().timeline();
    let PublicKey::Ed25519(public) = keys.all()[0].public else {
        panic!("another key than made at the start");
    };
    let text = format!("{header}.{payload}");
    let tag = hmac_sha256(public.as_bytes(), text.as_bytes());
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(tag))
}

fn hmac_sha256(key: &[u8; 32], text: &[u8]) -> [u8; 32] {
    let padded = |with: u8| {
        let mut block = [with; 64];
        block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
        block
    };
    let inner = schemas::Sha256Digest::of(&[&padded(0x36)[..], text].concat());
    schemas::Sha256Digest::of(&[&padded(0x5c)[..], &inner.0].concat()).0
}

pub async fn an_expired_token_is_named_as_such(world: Arc<World>) {
    let own_keys = world.rolecall.keys().signing_keys().unwrap();
    let now = Timestamp::now().as_micros();
    let claims = AccessClaims {
        issued_at: Timestamp::from_micros(now - 3_600_000_000),
        expires_at: Timestamp::from_micros(now - 2_000_000),
        ..claims(&world.admin)
    };
    let signer = Signer::new(own_keys, TokenConfig::default());
    let token = signer.issue(&claims).unwrap();
    for answer in presented(&world, &token).await {
        answer.refused(P::TokenExpired);
    }
}

pub async fn a_deactivated_users_token_is_refused_at_once(world: Arc<World>) {
    for _ in 0..20 {
        let person = world.person("leaving").await;
        let own = format!("/v1/users/{}", person.id);
        person.query(&own, &person.token).await.expect(200);
        let answer = world
            .admin
            .command("POST", &format!("{own}/deactivate"), Value::Null)
            .await
            .expect(200);
        // Who demands that the deactivation counts is not let in by a node that has not seen it.
        person
            .query(&format!("{own}/roles"), &answer.token())
            .await
            .refused(P::SessionEnded);
        person.query(&own, "latest").await.refused(P::SessionEnded);
        assert_eq!(person.ask(person.id, "read", "x", "latest").await.status, 401);
        let call = world
            .client
            .command("DELETE", &format!("{own}/sessions"))
            .bearer(&person.access_token);
        call.at_least(&answer.token())
            .send()
            .await
            .refused(P::SessionEnded);
    }
}

pub async fn two_authorization_headers_are_none(world: Arc<World>) {
    let token = &world.admin.access_token;
    let path = format!("/v1/users/{}/roles", world.admin.id);
    let call = world.client.query("GET", &path).bearer(token).bearer(token);
    call.send().await.refused(P::Unauthenticated);
    for scheme in ["Basic", "Token", ""] {
        let call = world
            .client
            .query("GET", &path)
            .header("authorization", format!("{scheme} {token}"));
        call.send().await.refused(P::Unauthenticated);
    }
}
