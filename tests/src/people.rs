//! People, and what they and the administrator do.

use std::sync::atomic::{AtomicU64, Ordering};

use schemas::UserId;
use serde_json::{Value, json};

use crate::World;
use crate::client::{Answer, Client};

pub const PASSWORD: &str = "correct horse battery staple";

/// A name that nobody else has on this stack.
pub fn unique(name: &str) -> String {
    static COUNTER: AtomicU64 = AtomicU64::new(1);
    format!("{name}-{}", COUNTER.fetch_add(1, Ordering::Relaxed))
}

/// Somebody signed in.
#[derive(Clone, Debug)]
pub struct Person {
    pub name: String,
    pub password: String,
    pub id: UserId,
    pub session_id: String,
    pub access_token: String,
    pub refresh_token: String,
    /// Of the sign-in.
    pub token: String,
    client: Client,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Client")
    }
}

impl Person {
    pub async fn log_in(client: &Client, name: &str, password: &str) -> Self {
        let body = json!({ "username": name, "password": password });
        let answer = client
            .command("POST", "/v1/sessions")
            .json(&body)
            .send()
            .await
            .expect(201);
        let text = |field: &str| answer.body[field].as_str().unwrap().to_owned();
        Self {
            name: name.to_owned(),
            password: password.to_owned(),
            id: text("user_id").parse().unwrap(),
            session_id: text("session_id"),
            access_token: text("access_token"),
            refresh_token: text("refresh_token"),
            token: answer.token(),
            client: client.clone(),
        }
    }

    /// The same person at other services.
    pub fn at(&self, client: &Client) -> Self {
        Self {
            client: client.clone(),
            ..self.clone()
        }
    }

    /// A command with this person's access token.
    pub async fn command(&self, method: &str, path: &str, body: Value) -> Answer {
        let call = self.client.command(method, path).bearer(&self.access_token);
        if body.is_null() {
            call.send().await
        } else {
            call.json(&body).send().await
        }
    }

    /// A query that reflects at least `token`; an empty one demands nothing.
    pub async fn query(&self, path: &str, token: &str) -> Answer {
        let call = self.client.query("GET", path).bearer(&self.access_token);
        if token.is_empty() {
            call.send().await
        } else {
            call.at_least(token).send().await
        }
    }

    /// Asks whether somebody may, and gives the whole answer.
    pub async fn ask(&self, user: UserId, action: &str, resource: &str, token: &str) -> Answer {
        let call = self
            .client
            .query("POST", "/access/v1/evaluation")
            .bearer(&self.access_token);
        let call = call.json(&question(user, action, resource));
        if token.is_empty() {
            call.send().await
        } else {
            call.at_least(token).send().await
        }
    }

    /// Asks whether somebody may.
    pub async fn check(&self, user: UserId, action: &str, resource: &str, token: &str) -> bool {
        self.ask(user, action, resource, token).await.expect(200).body["decision"]
            .as_bool()
            .unwrap()
    }

    pub async fn grant(&self, user: UserId, role: &str) -> String {
        self.command("PUT", &format!("/v1/users/{user}/roles/{role}"), Value::Null)
            .await
            .expect(200)
            .token()
    }

    pub async fn revoke(&self, user: UserId, role: &str) -> String {
        self.command("DELETE", &format!("/v1/users/{user}/roles/{role}"), Value::Null)
            .await
            .expect(200)
            .token()
    }

    pub async fn define_role(&self, name: &str, parent: Option<&str>) -> String {
        self.command("PUT", &format!("/v1/roles/{name}"), json!({ "parent": parent }))
            .await
            .expect(200)
            .token()
    }

    pub async fn define_permission(&self, name: &str, action: &str, resource: &str) -> String {
        let body = json!({ "resource": resource, "action": action });
        self.command("PUT", &format!("/v1/permissions/{name}"), body)
            .await
            .expect(200)
            .token()
    }

    pub async fn attach(&self, role: &str, permission: &str) -> String {
        let path = format!("/v1/roles/{role}/permissions/{permission}");
        self.command("PUT", &path, Value::Null).await.expect(200).token()
    }
}

pub fn question(user: UserId, action: &str, resource: &str) -> Value {
    json!({
        "subject": { "type": "user", "id": user },
        "action": { "name": action },
        "resource": { "type": resource, "id": "1" },
    })
}

pub fn registration(name: &str) -> Value {
    json!({ "username": name, "email": format!("{name}@example.org"), "password": PASSWORD })
}

impl World {
    /// Registers somebody: id and token.
    pub async fn register(&self, name: &str) -> (UserId, String) {
        let call = self.client.command("POST", "/v1/users").json(&registration(name));
        let answer = call.send().await.expect(201);
        (
            answer.body["user_id"].as_str().unwrap().parse().unwrap(),
            answer.token(),
        )
    }

    /// Registers somebody of a name of their own and signs in.
    pub async fn person(&self, name: &str) -> Person {
        let name = unique(name);
        self.register(&name).await;
        Person::log_in(&self.client, &name, PASSWORD).await
    }
}
