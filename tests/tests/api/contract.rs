//! What holds for every call: derived from the documents that the services serve, so that a new
//! call is tested by being there.

use std::sync::Arc;

use serde_json::{Value, json};
use service_kit::problem::ProblemType as P;
use tests::{Answer, Call, Client, World};
use uuid::Uuid;

/// One operation of a service's OpenAPI document.
pub struct Operation {
    query: bool,
    pub method: String,
    pub path: String,
    /// Schema of its JSON body.
    pub body: Option<Value>,
    pub form: bool,
    pub secured: bool,
}

impl Operation {
    pub fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    /// With a value for each parameter.
    pub fn call(&self, client: &Client, value: &dyn Fn(&str) -> String) -> Call {
        let mut path = String::new();
        let mut rest = self.path.as_str();
        while let Some((before, after)) = rest.split_once('{') {
            let (parameter, after) = after.split_once('}').unwrap();
            path = path + before + &value(parameter);
            rest = after;
        }
        path += rest;
        if self.query {
            client.query(&self.method, &path)
        } else {
            client.command(&self.method, &path)
        }
    }

    pub fn is_authzen(&self) -> bool {
        self.path.starts_with("/access/")
    }
}

/// Somebody and something that are nowhere.
pub fn nobody(parameter: &str) -> String {
    if parameter == "id" || parameter.ends_with("_id") {
        Uuid::now_v7().to_string()
    } else {
        "nowhere".to_owned()
    }
}

pub async fn operations(client: &Client) -> Vec<Operation> {
    let mut found = Vec::new();
    for query in [false, true] {
        let document = if query {
            client.query("GET", "/openapi.json")
        } else {
            client.command("GET", "/openapi.json")
        };
        let document = document.send().await.expect(200).body;
        for (path, methods) in document["paths"].as_object().unwrap() {
            for (method, operation) in methods.as_object().unwrap() {
                let content = &operation["requestBody"]["content"];
                let security = operation.get("security").or_else(|| document.get("security"));
                found.push(Operation {
                    query,
                    method: method.to_uppercase(),
                    path: path.clone(),
                    body: content
                        .get("application/json")
                        .map(|body| resolve(&document, &body["schema"])),
                    form: content.get("application/x-www-form-urlencoded").is_some(),
                    secured: security.is_some_and(|it| it[0].get("bearer").is_some()),
                });
            }
        }
    }
    assert!(found.len() > 25, "{} operations only", found.len());
    found
}

/// The object behind references and "this or null".
fn resolve(document: &Value, schema: &Value) -> Value {
    if let Some(reference) = schema["$ref"].as_str() {
        return resolve(
            document,
            document.pointer(reference.trim_start_matches('#')).unwrap(),
        );
    }
    let mut options = schema["oneOf"].as_array().into_iter().flatten();
    match options.rfind(|it| it["type"] != json!("null")) {
        Some(option) => resolve(document, option),
        None => schema.clone(),
    }
}

async fn with_body(world: &World, operation: &Operation, media_type: &str, body: &[u8]) -> Answer {
    let call = operation
        .call(&world.client, &nobody)
        .bearer(&world.admin.access_token);
    call.bytes(media_type, body).send().await
}

/// The service answers and closes the connection without reading on, so the answer may be lost.
async fn oversized(world: &World, operation: &Operation, media_type: &str, body: &[u8]) {
    for _ in 0..20 {
        let call = operation
            .call(&world.client, &nobody)
            .bearer(&world.admin.access_token);
        if let Ok(answer) = call
            .header("connection", "close")
            .bytes(media_type, body)
            .try_send()
            .await
        {
            assert_eq!(answer.status, 413, "{}: {}", operation.name(), answer.text);
            return;
        }
    }
    panic!("{}: no answer to an oversized body", operation.name());
}

const JSON: &str = "application/json";

pub async fn broken_bodies_are_told_apart(world: Arc<World>) {
    let cases: [(&str, &[u8], P); 6] = [
        (JSON, b"{", P::MalformedJson),
        (JSON, b"{\"a\": 1} x", P::MalformedJson),
        (JSON, b"[]", P::InvalidBody),
        (JSON, b"{\"surprise\": 1}", P::InvalidBody),
        (JSON, b"{\"a\": \"\xff\xfe\"}", P::InvalidUtf8),
        ("text/plain", b"{}", P::UnsupportedMediaType),
    ];
    for operation in operations(&world.client)
        .await
        .iter()
        .filter(|it| it.body.is_some())
    {
        for (media_type, body, expected) in &cases {
            let answer = with_body(&world, operation, media_type, body).await;
            if operation.is_authzen() {
                answer.expect(400);
            } else {
                answer.refused(*expected);
            }
        }
        let padding = if operation.path.ends_with("evaluations") {
            600_000
        } else {
            70_000
        };
        let body = json!({ "padding": "x".repeat(padding) }).to_string();
        oversized(&world, operation, JSON, body.as_bytes()).await;
        let deep = [b"[".repeat(10_000), b"]".repeat(10_000)].concat();
        let answer = with_body(&world, operation, JSON, &deep).await;
        assert!(
            [400, 422].contains(&answer.status),
            "{}: {}",
            operation.name(),
            answer.text
        );
    }
}

pub async fn every_field_is_checked_for_its_type_and_presence(world: Arc<World>) {
    let operations = operations(&world.client).await;
    for operation in operations.iter().filter(|it| !it.is_authzen()) {
        let Some(schema) = &operation.body else { continue };
        let properties = schema["properties"].as_object().unwrap();
        let text: Value = properties
            .keys()
            .map(|field| (field.clone(), json!("x1")))
            .collect();
        for field in properties.keys() {
            let mut body = text.clone();
            body[field] = json!({ "not": ["this"] });
            let answer = with_body(&world, operation, JSON, body.to_string().as_bytes())
                .await
                .refused(P::InvalidBody);
            let name = operation.name();
            assert!(
                answer.body["errors"][0]["detail"].is_string(),
                "{name}: {}",
                answer.text
            );
        }
        for field in schema["required"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
        {
            let mut body = text.clone();
            body.as_object_mut().unwrap().remove(field);
            let answer = with_body(&world, operation, JSON, body.to_string().as_bytes()).await;
            // What the others hold may be refused first; what is missing never passes.
            assert!(
                (400..500).contains(&answer.status),
                "{}: {}",
                operation.name(),
                answer.text
            );
        }
    }
}

pub async fn forms_are_checked_like_bodies(world: Arc<World>) {
    const FORM: &str = "application/x-www-form-urlencoded";
    let operations = operations(&world.client).await;
    let forms: Vec<&Operation> = operations.iter().filter(|it| it.form).collect();
    assert_eq!(forms.len(), 2);
    for operation in forms {
        oversized(
            &world,
            operation,
            FORM,
            format!("token={}", "x".repeat(70_000)).as_bytes(),
        )
        .await;
        with_body(&world, operation, "text/plain", b"token=x")
            .await
            .refused(P::UnsupportedMediaType);
        for body in [&b"other=x"[..], b"", b"token=x&token=y", b"%"] {
            let answer = with_body(&world, operation, FORM, body).await;
            assert!(
                (400..500).contains(&answer.status),
                "{}: {}",
                operation.name(),
                answer.text
            );
        }
    }
}

pub async fn unknown_things_are_404_and_malformed_ids_400(world: Arc<World>) {
    let admin = &world.admin;
    let nobody = Uuid::now_v7();
    let person = world.person("known").await;
    let id = person.id;
    for (method, path, expected) in [
        (
            "PUT",
            format!("/v1/users/{nobody}/roles/administrator"),
            P::NoSuchUser,
        ),
        (
            "DELETE",
            format!("/v1/users/{nobody}/roles/administrator"),
            P::NoSuchUser,
        ),
        ("PUT", format!("/v1/users/{id}/roles/nowhere"), P::NoSuchRole),
        ("DELETE", format!("/v1/users/{id}/roles/nowhere"), P::NoSuchRole),
        ("POST", format!("/v1/users/{nobody}/deactivate"), P::NoSuchUser),
        ("POST", format!("/v1/users/{nobody}/reactivate"), P::NoSuchUser),
        ("POST", format!("/v1/users/{nobody}/unlock"), P::NoSuchUser),
        ("DELETE", format!("/v1/users/{nobody}/sessions"), P::NoSuchUser),
        ("DELETE", format!("/v1/sessions/{nobody}"), P::NoSuchSession),
        ("DELETE", "/v1/roles/nowhere".to_owned(), P::NoSuchRole),
        (
            "DELETE",
            "/v1/permissions/nowhere".to_owned(),
            P::NoSuchPermission,
        ),
        (
            "PUT",
            "/v1/roles/nowhere/permissions/rolecall.user_read".to_owned(),
            P::NoSuchRole,
        ),
        (
            "PUT",
            "/v1/users/7/roles/administrator".to_owned(),
            P::InvalidParameter,
        ),
        ("DELETE", "/v1/sessions/x".to_owned(), P::InvalidParameter),
        ("POST", "/v1/users/%ff/deactivate".to_owned(), P::InvalidUtf8),
    ] {
        admin.command(method, &path, Value::Null).await.refused(expected);
    }
    let role = tests::unique("lonely");
    admin.define_role(&role, None).await;
    let path = format!("/v1/roles/{role}/permissions/nowhere");
    admin
        .command("PUT", &path, Value::Null)
        .await
        .refused(P::NoSuchPermission);
    let parent = json!({ "parent": "nowhere" });
    admin
        .command("PUT", &format!("/v1/roles/{role}"), parent)
        .await
        .refused(P::NoSuchRole);
    for path in ["", "/roles", "/permissions", "/sessions", "/audit"] {
        admin
            .query(&format!("/v1/users/{nobody}{path}"), "")
            .await
            .refused(P::NoSuchUser);
        admin
            .query(&format!("/v1/users/x{path}"), "")
            .await
            .refused(P::InvalidParameter);
    }
    for query in ["limit=0", "limit=501", "limit=x", "before=x", "before=%ff"] {
        let answer = admin.query(&format!("/v1/users/{id}/audit?{query}"), "").await;
        assert_eq!(answer.status, 400, "{query}: {}", answer.text);
    }
}

pub async fn what_is_no_route_or_no_method_is_a_problem_too(world: Arc<World>) {
    let (client, id) = (&world.client, world.admin.id);
    for path in ["/", "/v2/users", "/v1/users/", "/v1/roles/a/b/c"] {
        client.command("POST", path).send().await.refused(P::NotFound);
        client.query("GET", path).send().await.refused(P::NotFound);
    }
    client
        .command("PATCH", "/v1/sessions")
        .send()
        .await
        .refused(P::MethodNotAllowed);
    client
        .query("DELETE", &format!("/v1/users/{id}"))
        .send()
        .await
        .refused(P::MethodNotAllowed);
    // AuthZEN's callers know no problems; the client makes sure of that.
    let call = client.query("GET", "/access/v1/evaluation");
    call.send().await.expect(405);
    client
        .query("POST", "/access/v1/nothing")
        .send()
        .await
        .expect(404);
}
