//! Who may call what: each operation of both services is called without a token, with a foreign one and
//! by somebody with too few rights. One that the table here does not name fails.

use std::sync::Arc;

use schemas::Timestamp;
use serde_json::{Value, json};
use service_kit::assurance::Authentication;
use service_kit::jwt::{AccessClaims, Signer, TokenConfig};
use service_kit::key_folder::KeyFolder;
use service_kit::problem::ProblemType as P;
use service_kit::signing::{Algorithm, PrivateKey};
use tests::{Answer, Call, Person, World, unique};
use uuid::Uuid;

use crate::contract::{Operation, nobody, operations};

/// What a caller needs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Needs {
    /// Nothing: no token is asked for, and none looked at.
    Nothing,
    /// A permission, whatever it is about.
    Permission,
    /// A permission, unless it is about the caller.
    PermissionForOthers,
    /// To be the one it is about: no permission is enough.
    Own,
}

use Needs::{Nothing, Own, Permission, PermissionForOthers};

const NEEDS: &[(&str, Needs)] = &[
    ("POST /v1/users", Nothing),
    ("POST /v1/sessions", Nothing),
    ("POST /v1/sessions/refresh", Nothing),
    ("POST /v1/sessions/passkey/options", Nothing),
    ("POST /v1/sessions/passkey", Nothing),
    ("DELETE /v1/sessions/{id}", PermissionForOthers),
    ("DELETE /v1/users/{id}/sessions", PermissionForOthers),
    ("POST /v1/users/{id}/password", PermissionForOthers),
    ("PATCH /v1/users/{id}", PermissionForOthers),
    ("DELETE /v1/users/{id}", PermissionForOthers),
    ("POST /v1/users/{id}/unlock", Permission),
    ("POST /v1/users/{id}/email/verification", Own),
    ("POST /v1/users/{id}/email/confirm", Own),
    ("POST /v1/users/{id}/phone/verification", Own),
    ("POST /v1/users/{id}/phone/confirm", Own),
    ("POST /v1/users/{id}/totp", Own),
    ("POST /v1/users/{id}/totp/confirm", Own),
    ("DELETE /v1/users/{id}/totp", PermissionForOthers),
    ("POST /v1/users/{id}/recovery-codes", Own),
    ("POST /v1/users/{id}/passkeys/options", Own),
    ("POST /v1/users/{id}/passkeys", Own),
    (
        "DELETE /v1/users/{id}/passkeys/{credential_id}",
        PermissionForOthers,
    ),
    ("POST /v1/sessions/{id}/step-up", Own),
    ("POST /v1/imports", Permission),
    ("PUT /v1/shard-map", Permission),
    ("POST /v1/service-accounts", Permission),
    ("POST /v1/service-accounts/{id}/keys", Permission),
    ("DELETE /v1/service-accounts/{id}/keys/{key_id}", Permission),
    ("POST /v1/approvals/{id}/approve", Permission),
    ("DELETE /v1/approvals/{id}", Permission),
    ("POST /v1/users/{id}/deactivate", Permission),
    ("POST /v1/users/{id}/reactivate", Permission),
    ("PUT /v1/users/{id}/roles/{role}", Permission),
    ("DELETE /v1/users/{id}/roles/{role}", Permission),
    ("PUT /v1/roles/{name}", Permission),
    ("DELETE /v1/roles/{name}", Permission),
    ("PUT /v1/permissions/{name}", Permission),
    ("DELETE /v1/permissions/{name}", Permission),
    ("PUT /v1/roles/{role}/permissions/{permission}", Permission),
    ("DELETE /v1/roles/{role}/permissions/{permission}", Permission),
    ("POST /oauth/revoke", Nothing),
    ("POST /v1/password-resets", Nothing),
    ("POST /v1/password-resets/confirm", Nothing),
    ("POST /access/v1/evaluation", PermissionForOthers),
    ("POST /access/v1/evaluations", PermissionForOthers),
    ("POST /access/v1/search/subject", Permission),
    ("POST /access/v1/search/resource", PermissionForOthers),
    ("POST /access/v1/search/action", PermissionForOthers),
    ("GET /.well-known/authzen-configuration", Nothing),
    ("GET /.well-known/jwks.json", Nothing),
    ("POST /oauth/introspect", Permission),
    ("GET /v1/users/{id}", PermissionForOthers),
    ("GET /v1/users/{id}/roles", PermissionForOthers),
    ("GET /v1/users/{id}/grants", PermissionForOthers),
    ("GET /v1/users/{id}/passkeys", PermissionForOthers),
    ("GET /v1/service-accounts/{id}/keys", PermissionForOthers),
    ("GET /v1/approvals", Permission),
    ("GET /v1/users/{id}/permissions", PermissionForOthers),
    ("GET /v1/users/{id}/sessions", PermissionForOthers),
    ("GET /v1/users/{id}/audit", PermissionForOthers),
    ("GET /v1/users", Permission),
    ("GET /v1/audit", Permission),
    ("GET /v1/roles", Permission),
    ("GET /v1/permissions", Permission),
];

/// A body that would be taken from whoever has the right.
fn body(operation: &str, about: &Person) -> Value {
    let question = json!({
        "subject": { "type": "user", "id": about.id },
        "action": { "name": "read" },
        "resource": { "type": "article", "id": "7" },
    });
    match operation {
        "POST /v1/users/{id}/password" => json!({
            "current_password": about.password, "new_password": "another long enough phrase",
        }),
        "PATCH /v1/users/{id}" => json!({ "phone_number": null }),
        "POST /v1/users/{id}/email/confirm" => json!({ "token": "a" }),
        "POST /v1/users/{id}/phone/confirm" | "POST /v1/users/{id}/totp/confirm" => {
            json!({ "code": "123456" })
        }
        "POST /v1/users/{id}/totp"
        | "POST /v1/users/{id}/recovery-codes"
        | "POST /v1/users/{id}/passkeys/options" => {
            json!({ "password": about.password })
        }
        "POST /v1/users/{id}/passkeys" => json!({
            "ceremony": "a", "name": "a", "credential": {
                "id": "AA", "rawId": "AA", "type": "public-key", "extensions": {},
                "response": { "attestationObject": "AA", "clientDataJSON": "AA" },
            },
        }),
        "POST /v1/service-accounts" => json!({ "name": "backup" }),
        "POST /v1/sessions/{id}/step-up" => json!({ "totp_code": "123456" }),
        "PUT /v1/permissions/{name}" => json!({ "resource": "a", "action": "b" }),
        "PUT /v1/roles/{name}" => json!({}),
        "PUT /v1/shard-map" => json!({ "version": 1, "placement": [], "shards": 1 }),
        "POST /access/v1/evaluation"
        | "POST /access/v1/search/subject"
        | "POST /access/v1/search/resource"
        | "POST /access/v1/search/action" => question,
        "POST /access/v1/evaluations" => json!({ "evaluations": [question] }),
        _ => Value::Null,
    }
}

/// The operation about a person and Rolecall's own role and permission.
fn call(world: &World, operation: &Operation, about: &Person, approval: &str) -> Call {
    let is_of = |kind: &str| operation.path.starts_with(kind);
    let value = |parameter: &str| match parameter {
        "id" if is_of("/v1/sessions/") => about.session_id.clone(),
        "id" if is_of("/v1/approvals/") => approval.to_owned(),
        "id" => about.id.to_string(),
        "role" => "administrator".to_owned(),
        "permission" => "rolecall.user_read".to_owned(),
        other => nobody(other),
    };
    let call = operation.call(&world.client, &value);
    match body(&operation.name(), about) {
        Value::Null if operation.form => call.form(&[("token", &about.access_token)]),
        Value::Null => call,
        body => call.json(&body),
    }
}

fn needs(operation: &Operation) -> Needs {
    let name = operation.name();
    let named = NEEDS.iter().find(|(known, _)| *known == name);
    named
        .unwrap_or_else(|| panic!("nobody says who may call {name}"))
        .1
}

/// A token that is right in everything but the key that signed it.
fn foreign(person: &Person) -> String {
    let claims = AccessClaims {
        user_id: person.id,
        session_id: person.session_id.parse().unwrap(),
        client_id: "rolecall".into(),
        authentication: Authentication::default(),
        issued_at: Timestamp::now(),
        expires_at: Timestamp::now().plus(std::time::Duration::from_secs(60)),
        token_id: Uuid::now_v7(),
    };
    let stranger = KeyFolder::fixed(PrivateKey::generate(Algorithm::EdDsa));
    Signer::new(stranger, TokenConfig::default())
        .issue(&claims)
        .unwrap()
}

/// Of a change that takes two people.
async fn waiting_approval(admin: &Person) -> String {
    let (role, permission) = (unique("role"), unique("permission"));
    admin.define_role(&role, None).await;
    let dangerous = json!({ "resource": permission, "action": "burn", "is_dangerous": true });
    let path = format!("/v1/permissions/{permission}");
    admin.command("PUT", &path, dangerous).await.expect(200);
    let path = format!("/v1/roles/{role}/permissions/{permission}");
    let waiting = admin.command("PUT", &path, Value::Null).await.expect(202);
    waiting.body["approval_id"].as_str().unwrap().to_owned()
}

fn is_refused(answer: &Answer, operation: &Operation, kind: P) {
    assert_eq!(
        answer.status,
        kind.status().as_u16(),
        "{}: {}",
        operation.name(),
        answer.text
    );
    if !operation.is_authzen() {
        assert_eq!(answer.slug(), kind.slug(), "{}", operation.name());
    }
}

pub async fn every_call_says_who_may_make_it_and_refuses_all_others(world: Arc<World>) {
    let (person, other) = (world.person("plain").await, world.person("other").await);
    let foreign = foreign(&world.admin);
    let approval = waiting_approval(&world.admin).await;
    let operations = operations(&world.client).await;
    for operation in &operations {
        let needs = needs(operation);
        assert_eq!(
            operation.secured,
            needs != Nothing,
            "{} is documented otherwise",
            operation.name()
        );
        if needs == Nothing {
            continue;
        }
        for wrong in [None, Some("nonsense"), Some(&foreign)] {
            let call = call(&world, operation, &other, &approval);
            let call = match wrong {
                None => call,
                Some(token) => call.bearer(token),
            };
            is_refused(&call.send().await, operation, P::Unauthenticated);
        }
        let by_person = |about| call(&world, operation, about, &approval).bearer(&person.access_token);
        is_refused(&by_person(&other).send().await, operation, P::Forbidden);
        if needs == Own {
            let by_admin = call(&world, operation, &other, &approval).bearer(&world.admin.access_token);
            is_refused(&by_admin.send().await, operation, P::Forbidden);
        }
        if needs == Permission {
            is_refused(&by_person(&person).send().await, operation, P::Forbidden);
        }
    }
    for (name, _) in NEEDS {
        let exists = operations.iter().any(|operation| operation.name() == *name);
        assert!(exists, "{name} is not there any more");
    }
    // Not one of them changed anything.
    person
        .query(&format!("/v1/users/{}", person.id), &person.token)
        .await
        .expect(200);
    other
        .query(&format!("/v1/users/{}/roles", other.id), &other.token)
        .await
        .expect(200);
}

/// What needs no token does not look at one: refreshing must work with an expired one at hand.
pub async fn public_calls_do_not_look_at_a_token(world: Arc<World>) {
    for operation in operations(&world.client).await {
        if needs(&operation) != Nothing {
            continue;
        }
        for token in [None, Some("nonsense")] {
            let call = operation.call(&world.client, &nobody);
            let call = match token {
                None => call,
                Some(token) => call.bearer(token),
            };
            let answer = call.send().await;
            assert_ne!(answer.status, 401, "{}: {}", operation.name(), answer.text);
        }
    }
    for path in ["/healthz", "/readyz", "/metrics", "/docs/"] {
        world.client.command("GET", path).send().await.expect(200);
        world.client.query("GET", path).send().await.expect(200);
    }
}
