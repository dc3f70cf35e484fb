//! Is a token good?

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signature, Verifier as _, VerifyingKey};
use serde_json::{Value, json};
use tests::{Answer, World};

async fn introspect(world: &World, token: &str, at_least: &str) -> Answer {
    let call = world
        .client
        .query("POST", "/oauth/introspect")
        .bearer(&world.admin.access_token);
    call.at_least(at_least)
        .form(&[("token", token)])
        .send()
        .await
        .expect(200)
}

pub async fn introspection_is_exact(world: Arc<World>) {
    let person = world.person("introspected").await;
    let answer = introspect(&world, &person.access_token, &person.token).await;
    let body = answer.body.as_object().unwrap();
    assert_eq!(body["active"], true);
    assert_eq!(
        (&body["sub"], &body["sid"]),
        (&json!(person.id), &json!(person.session_id))
    );
    assert!(!answer.text.contains(&person.name));
    for nonsense in ["x", "a.b.c", &person.refresh_token] {
        assert_eq!(
            introspect(&world, nonsense, "latest").await.body,
            json!({ "active": false })
        );
    }
    let path = format!("/v1/sessions/{}", person.session_id);
    let revoked = person
        .command("DELETE", &path, Value::Null)
        .await
        .expect(200)
        .token();
    let answer = introspect(&world, &person.access_token, &revoked).await;
    assert_eq!(answer.body, json!({ "active": false }));

    let leaving = world.person("leaving").await;
    let path = format!("/v1/users/{}/deactivate", leaving.id);
    let token = world
        .admin
        .command("POST", &path, Value::Null)
        .await
        .expect(200)
        .token();
    assert_eq!(
        introspect(&world, &leaving.access_token, &token).await.body,
        json!({ "active": false })
    );
    // What ended with the account does not come back with it.
    let path = format!("/v1/users/{}/reactivate", leaving.id);
    let token = world
        .admin
        .command("POST", &path, Value::Null)
        .await
        .expect(200)
        .token();
    assert_eq!(
        introspect(&world, &leaving.access_token, &token).await.body,
        json!({ "active": false })
    );
}

pub async fn published_keys_verify_access_tokens(world: Arc<World>) {
    let person = world.person("verified").await;
    let keys = world
        .client
        .query("GET", "/.well-known/jwks.json")
        .send()
        .await
        .expect(200);
    let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).unwrap();
    let (signed, signature) = person.access_token.rsplit_once('.').unwrap();
    let header: Value = serde_json::from_slice(&decode(signed.split('.').next().unwrap())).unwrap();
    assert_eq!(
        (&header["alg"], &header["typ"]),
        (&json!("EdDSA"), &json!("at+jwt"))
    );
    let key = keys.body["keys"]
        .as_array()
        .unwrap()
        .iter()
        .find(|it| it["kid"] == header["kid"])
        .unwrap();
    assert_eq!(
        (&key["kty"], &key["crv"], &key["d"]),
        (&json!("OKP"), &json!("Ed25519"), &Value::Null)
    );
    let public: [u8; 32] = decode(key["x"].as_str().unwrap()).try_into().unwrap();
    let signature = Signature::from_slice(&decode(signature)).unwrap();
    VerifyingKey::from_bytes(&public)
        .unwrap()
        .verify(signed.as_bytes(), &signature)
        .unwrap();
    let configuration = world
        .client
        .query("GET", "/.well-known/authzen-configuration")
        .send()
        .await
        .expect(200);
    let url = configuration.body["access_evaluation_endpoint"].as_str().unwrap();
    assert!(url.ends_with("/access/v1/evaluation"), "{url}");
}
