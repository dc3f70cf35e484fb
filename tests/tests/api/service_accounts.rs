//! Accounts for programs, and their keys.

use std::sync::Arc;

use schemas::{Timestamp, UserId};
use serde_json::{Value, json};
use service_kit::problem::ProblemType as P;
use tests::{Answer, World, question, registration, unique};
use uuid::Uuid;

struct Account {
    id: UserId,
    name: String,
    token: String,
}

struct Key {
    id: String,
    text: String,
    token: String,
}

impl Account {
    async fn make(world: &World) -> Self {
        let name = unique("backup");
        let body = json!({ "name": name });
        let made = world
            .admin
            .command("POST", "/v1/service-accounts", body)
            .await
            .expect(201);
        Self {
            id: made.body["user_id"].as_str().unwrap().parse().unwrap(),
            token: made.token(),
            name,
        }
    }

    /// A role of its own with these permissions of Rolecall.
    async fn with_role(&self, world: &World, permissions: &[&str]) -> String {
        let role = unique("role");
        world.admin.define_role(&role, None).await;
        for permission in permissions {
            world.admin.attach(&role, &format!("rolecall.{permission}")).await;
        }
        world.admin.grant(self.id, &role).await;
        role
    }

    fn keys(&self) -> String {
        format!("/v1/service-accounts/{}/keys", self.id)
    }

    async fn key(&self, world: &World, body: Value) -> Key {
        Key::of(world.admin.command("POST", &self.keys(), body).await)
    }

    async fn revoke(&self, world: &World, key: &Key) -> Answer {
        let path = format!("{}/{}", self.keys(), key.id);
        world.admin.command("DELETE", &path, Value::Null).await
    }
}

impl Key {
    fn of(answer: Answer) -> Self {
        let answer = answer.expect(201);
        let text = |field: &str| answer.body[field].as_str().unwrap().to_owned();
        Self {
            id: text("key_id"),
            text: text("key"),
            token: answer.token(),
        }
    }

    async fn command(&self, world: &World, method: &str, path: &str, body: Value) -> Answer {
        let call = world.client.command(method, path).bearer(&self.text);
        if body.is_null() {
            call.send().await
        } else {
            call.json(&body).send().await
        }
    }

    async fn query(&self, world: &World, path: &str) -> Answer {
        world.client.query("GET", path).bearer(&self.text).send().await
    }
}

pub async fn a_key_may_what_its_account_may_on_both_services(world: Arc<World>) {
    let account = Account::make(&world).await;
    let key = account.key(&world, Value::Null).await;
    assert!(key.text.starts_with("rolecall_sk_"));
    let role = unique("made-by-a-program");
    let path = format!("/v1/roles/{role}");
    key.command(&world, "PUT", &path, json!({}))
        .await
        .refused(P::Forbidden);
    key.query(&world, "/v1/roles").await.refused(P::Forbidden);
    // What it is granted later counts for a key that is not limited.
    account.with_role(&world, &["role_define", "catalog_read"]).await;
    let defined = key
        .command(&world, "PUT", &path, json!({}))
        .await
        .expect(200)
        .token();
    let roles = world.client.query("GET", "/v1/roles").bearer(&key.text);
    roles.at_least(&defined).send().await.expect(200);
    // It asks about itself like anybody, and the log says who it was.
    key.query(&world, &format!("/v1/users/{}/roles", account.id))
        .await
        .expect(200);
    let history = world.history().await;
    let actors = history
        .events
        .iter()
        .filter(|(_, stored)| serde_json::to_string(&stored.data).unwrap().contains(&role));
    let actors: Vec<String> = actors.map(|(_, stored)| stored.meta.actor.to_string()).collect();
    assert_eq!(actors, [format!("service:{}", account.id)]);
    let user = world
        .admin
        .query(&format!("/v1/users/{}", account.id), "latest")
        .await
        .expect(200);
    assert_eq!(user.body["username"], json!(account.name));
    assert_eq!(
        (&user.body["is_service"], &user.body["email"]),
        (&json!(true), &Value::Null)
    );
}

pub async fn a_key_goes_as_far_as_its_roles_on_every_path(world: Arc<World>) {
    let account = Account::make(&world).await;
    let granting = account.with_role(&world, &["role_grant"]).await;
    let mighty = account
        .with_role(
            &world,
            &[
                "role_grant",
                "role_define",
                "permission_attach",
                "user_deactivate",
                "catalog_read",
            ],
        )
        .await;
    let whole = account.key(&world, Value::Null).await;
    let limited = account.key(&world, json!({ "roles": [granting] })).await;
    let nothing = account.key(&world, json!({ "roles": [] })).await;
    let bob = world.person("bob").await;
    let grant = |role: &str| format!("/v1/users/{}/roles/{role}", bob.id);
    let role = format!("/v1/roles/{}", unique("role"));
    for key in [&limited, &nothing] {
        key.command(&world, "PUT", &role, json!({}))
            .await
            .refused(P::Forbidden);
        key.query(&world, "/v1/roles").await.refused(P::Forbidden);
    }
    nothing
        .command(&world, "PUT", &grant(&granting), Value::Null)
        .await
        .refused(P::Forbidden);
    limited
        .command(&world, "PUT", &grant(&granting), Value::Null)
        .await
        .expect(200);
    // Nobody gives rights beyond their own, and those of a key are the key's.
    limited
        .command(&world, "PUT", &grant(&mighty), Value::Null)
        .await
        .refused(P::Escalation);
    whole
        .command(&world, "PUT", &grant(&mighty), Value::Null)
        .await
        .expect(200);
    whole.command(&world, "PUT", &role, json!({})).await.expect(200);
    // A role that is taken away counts no more, whatever the key says.
    world.admin.revoke(account.id, &granting).await;
    limited
        .command(&world, "PUT", &grant(&granting), Value::Null)
        .await
        .refused(P::Forbidden);
    for body in [
        json!({ "roles": [granting] }),
        json!({ "roles": ["administrator"] }),
    ] {
        world
            .admin
            .command("POST", &account.keys(), body)
            .await
            .refused(P::Conflict);
    }
    world
        .admin
        .command("POST", &account.keys(), json!({ "roles": ["nowhere"] }))
        .await
        .refused(P::NoSuchRole);
}

pub async fn a_key_that_is_over_stops_at_once(world: Arc<World>) {
    let account = Account::make(&world).await;
    let key = account.key(&world, Value::Null).await;
    let roles = format!("/v1/users/{}/roles", account.id);
    let ask = async |token: &str| {
        let call = world.client.query("GET", &roles).bearer(&key.text);
        call.at_least(token).send().await
    };
    ask(&key.token).await.expect(200);
    let path = |what: &str| format!("/v1/users/{}/{what}", account.id);
    let ended = world
        .admin
        .command("POST", &path("deactivate"), Value::Null)
        .await
        .expect(200);
    ask(&ended.token()).await.refused(P::Unauthenticated);
    ask("latest").await.refused(P::Unauthenticated);
    let back = world
        .admin
        .command("POST", &path("reactivate"), Value::Null)
        .await
        .expect(200);
    // Asked without the token, the service may not have read of it yet.
    world.admin.query(&roles, &back.token()).await.expect(200);
    ask(&back.token()).await.expect(200);

    let revoked = account.revoke(&world, &key).await.expect(200).token();
    for at_least in [revoked.as_str(), "latest"] {
        ask(at_least).await.refused(P::Unauthenticated);
    }
    // A change of rights is decided on all that is in the log, whatever the caller demands.
    key.command(&world, "PUT", "/v1/roles/any", json!({}))
        .await
        .refused(P::Unauthenticated);
    account.revoke(&world, &key).await.refused(P::NoSuchKey);

    let expires_at = Timestamp::now().plus(std::time::Duration::from_millis(1_500));
    let short = account
        .key(&world, json!({ "expires_at": expires_at.to_string() }))
        .await;
    world.admin.query(&roles, &short.token).await.expect(200);
    while Timestamp::now() < expires_at {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    short.query(&world, &roles).await.refused(P::Unauthenticated);
    let listed = world.admin.query(&account.keys(), "latest").await.expect(200);
    let good: Vec<&Value> = listed.body["keys"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["good"])
        .collect();
    assert_eq!(good, [false, false]);
    assert!(!listed.text.contains("rolecall_sk_"));
}

/// A key that leaked is revoked by whoever found it, and a guess at it revokes nothing.
pub async fn whoever_holds_a_key_may_have_it_revoked(world: Arc<World>) {
    let account = Account::make(&world).await;
    let found = account.key(&world, Value::Null).await;
    let other = account.key(&world, Value::Null).await;
    let roles = format!("/v1/users/{}/roles", account.id);
    let ask = async |key: &Key, token: &str| {
        let call = world.client.query("GET", &roles).bearer(&key.text);
        call.at_least(token).send().await
    };
    let revoke = async |token: &str, idempotency_key: &str| {
        let call = world.client.command("POST", "/oauth/revoke");
        let call = call.key(idempotency_key).form(&[("token", token)]);
        call.send().await.expect(200)
    };
    let token_key = service_kit::keys::TokenKey::parse(&[1; 32]).unwrap();
    let id = found.id.parse().unwrap();
    let guess = service_kit::service_key::ServiceKey::derive(&token_key, account.id, id, "guess");
    revoke(&guess.text(), &unique("key")).await;
    ask(&found, "latest").await.expect(200);
    let its_key = unique("key");
    let revoked = revoke(&found.text, &its_key).await;
    let token = revoked.token();
    for at_least in [token.as_str(), "latest"] {
        ask(&found, at_least).await.refused(P::Unauthenticated);
    }
    ask(&other, &token).await.expect(200);
    // A retry gets the first answer, and whoever comes later is told nothing.
    assert_eq!(revoke(&found.text, &its_key).await.body, revoked.body);
    revoke(&found.text, &unique("key")).await;
    let history = world.history().await;
    let names = history.names_of_user(account.id);
    let revocations = names.iter().filter(|name| **name == "user.service_key_revoked");
    assert_eq!(revocations.count(), 1);
    // One that is found while the account is deactivated does not come back with it.
    for (path, found) in [("deactivate", Some(&other)), ("reactivate", None)] {
        let path = format!("/v1/users/{}/{path}", account.id);
        world.admin.command("POST", &path, Value::Null).await.expect(200);
        if let Some(found) = found {
            revoke(&found.text, &unique("key")).await;
        }
    }
    ask(&other, "latest").await.refused(P::Unauthenticated);
}

pub async fn a_repeated_call_shows_the_same_key(world: Arc<World>) {
    let name = unique("twice");
    let send = async |path: &str, body: Value| {
        let call = world
            .client
            .command("POST", path)
            .bearer(&world.admin.access_token);
        call.key("service-account").json(&body).send().await
    };
    let create = async || {
        let made = send("/v1/service-accounts", json!({ "name": name }))
            .await
            .expect(201);
        made.body["user_id"].as_str().unwrap().to_owned()
    };
    let id = create().await;
    assert_eq!(create().await, id);
    let keys = format!("/v1/service-accounts/{id}/keys");
    let first = Key::of(send(&keys, json!({})).await);
    let again = Key::of(send(&keys, json!({})).await);
    assert_eq!((&first.id, &first.text), (&again.id, &again.text));
    send(&keys, json!({ "roles": [] }))
        .await
        .refused(P::IdempotencyMismatch);
    let listed = world.admin.query(&keys, &again.token).await.expect(200);
    assert_eq!(listed.body["keys"].as_array().unwrap().len(), 1);
    assert_eq!(listed.body["keys"][0]["issued_by"], json!(world.admin.id));
}

pub async fn a_service_accounts_name_is_a_user_name_and_nobody_signs_in_with_it(world: Arc<World>) {
    let account = Account::make(&world).await;
    let mut taken = registration(&account.name);
    taken["email"] = json!(format!("{}@example.org", unique("other")));
    let register = world.client.command("POST", "/v1/users").json(&taken);
    register.send().await.refused(P::UsernameTaken);
    let (person, _) = (world.person("person").await, ());
    for name in [&account.name, &person.name] {
        let body = json!({ "name": name });
        let again = world.admin.command("POST", "/v1/service-accounts", body).await;
        again.refused(P::UsernameTaken);
    }
    let body = json!({ "username": account.name, "password": "correct horse battery staple" });
    let sign_in = world.client.command("POST", "/v1/sessions").json(&body);
    sign_in.send().await.refused(P::InvalidCredentials);
    // A person has no keys, and who may not make accounts makes none.
    let keys = format!("/v1/service-accounts/{}/keys", person.id);
    world
        .admin
        .command("POST", &keys, json!({}))
        .await
        .refused(P::NoSuchUser);
    person
        .command("POST", "/v1/service-accounts", json!({ "name": "mine" }))
        .await
        .refused(P::Forbidden);
    person
        .command("POST", &account.keys(), json!({}))
        .await
        .refused(P::Forbidden);
    for bad in [json!({ "name": "a b" }), json!({ "name": "" })] {
        world
            .admin
            .command("POST", "/v1/service-accounts", bad)
            .await
            .refused(P::InvalidUsername);
    }
    assert!(!account.token.is_empty());
}

/// Whoever issues a key can use it, so it must not be worth more than they are.
pub async fn nobody_issues_a_key_beyond_their_own_rights(world: Arc<World>) {
    let account = Account::make(&world).await;
    let (reading, mighty) = (
        account.with_role(&world, &["catalog_read"]).await,
        account.with_role(&world, &["user_deactivate"]).await,
    );
    let (issuer, own) = (world.person("issuer").await, unique("issuing"));
    world.admin.define_role(&own, None).await;
    for permission in ["rolecall.service_key_issue", "rolecall.catalog_read"] {
        world.admin.attach(&own, permission).await;
    }
    world.admin.grant(issuer.id, &own).await;
    let issue = async |body: Value| issuer.command("POST", &account.keys(), body).await;
    issue(json!({})).await.refused(P::Escalation);
    issue(json!({ "roles": [mighty] })).await.refused(P::Escalation);
    issue(json!({ "roles": [reading] })).await.expect(201);
}

pub async fn guessed_keys_are_refused_and_limited(world: Arc<World>) {
    let account = Account::make(&world).await;
    let key = account.key(&world, Value::Null).await;
    let roles = format!("/v1/users/{}/roles", account.id);
    let good = async || {
        world
            .client
            .query("GET", &roles)
            .bearer(&key.text)
            .at_least(&key.token)
            .send()
            .await
    };
    good().await.expect(200);
    for bad in [
        &key.text[1..],
        &key.text[..key.text.len() - 1],
        "rolecall_sk_",
        "rolecall_sk_AAAA",
    ] {
        let call = world.client.query("GET", &roles).bearer(bad);
        assert_eq!(call.send().await.status, 401, "{bad}");
    }
    let guess = || {
        let id = schemas::KeyId::new_v7();
        let token_key = service_kit::keys::TokenKey::parse(&[1; 32]).unwrap();
        service_kit::service_key::ServiceKey::derive(&token_key, account.id, id, "guess").text()
    };
    let mut refusals = Vec::new();
    for _ in 0..40 {
        let answer = world.client.query("GET", &roles).bearer(&guess()).send().await;
        refusals.push(answer.status);
    }
    assert_eq!(refusals[0], 401);
    assert_eq!(refusals[39], 429);
    // Which keeps nobody out who has the key.
    good().await.expect(200);
}

/// What is a check worth to a service that a program calls? It introspects the key and asks about it.
pub async fn checks_know_what_a_key_is_for(world: Arc<World>) {
    let (account, resource) = (Account::make(&world).await, unique("ledger"));
    let mut roles = vec![];
    for action in ["read", "write"] {
        let (role, permission) = (unique("role"), unique("permission"));
        world.admin.define_role(&role, None).await;
        world
            .admin
            .define_permission(&permission, action, &resource)
            .await;
        world.admin.attach(&role, &permission).await;
        world.admin.grant(account.id, &role).await;
        roles.push(role);
    }
    let whole = account.key(&world, Value::Null).await;
    let reading = account.key(&world, json!({ "roles": [roles[0]] })).await;
    let asks = async |bearer: &str, key: Option<&str>, action: &str| {
        let mut question = question(account.id, action, &resource);
        if let Some(key) = key {
            question["subject"]["properties"] = json!({ "key_id": key });
        }
        let call = world.client.query("POST", "/access/v1/evaluation").bearer(bearer);
        let answer = call.at_least("latest").json(&question).send().await.expect(200);
        answer.body["decision"].as_bool().unwrap()
    };
    let admin = world.admin.access_token.as_str();
    for (action, may) in [("read", true), ("write", false), ("burn", false)] {
        // About itself, who brings a key asks about the key.
        assert_eq!(asks(&reading.text, None, action).await, may, "{action}");
        assert_eq!(asks(admin, Some(&reading.id), action).await, may, "{action}");
        let account_may = action != "burn";
        assert_eq!(asks(&whole.text, None, action).await, account_may, "{action}");
        assert_eq!(
            asks(admin, Some(&whole.id), action).await,
            account_may,
            "{action}"
        );
        assert_eq!(asks(admin, None, action).await, account_may, "{action}");
    }
    for nobodys in [Uuid::now_v7().to_string(), "nonsense".to_owned()] {
        assert!(!asks(admin, Some(&nobodys), "read").await);
    }
    account.revoke(&world, &reading).await.expect(200);
    assert!(!asks(admin, Some(&reading.id), "read").await);
    // What is not the account's any more is not the key's.
    world.admin.revoke(account.id, &roles[0]).await;
    assert!(!asks(&whole.text, None, "read").await);
    assert!(asks(&whole.text, None, "write").await);
}

/// Whoever issues a key alone could use it: what takes two people to give is not had that way.
pub async fn a_key_is_no_way_around_the_second_person(world: Arc<World>) {
    let account = Account::make(&world).await;
    let (role, permission, books) = (unique("role"), unique("permission"), unique("books"));
    world.admin.define_role(&role, None).await;
    world.admin.define_permission(&permission, "burn", &books).await;
    world.admin.attach(&role, &permission).await;
    world.admin.grant(account.id, &role).await;
    account.key(&world, Value::Null).await;
    let path = format!("/v1/permissions/{permission}");
    let dangerous = json!({ "resource": books, "action": "burn", "is_dangerous": true });
    world.admin.command("PUT", &path, dangerous).await.expect(200);
    let issue = async || world.admin.command("POST", &account.keys(), Value::Null).await;
    issue().await.refused(P::Escalation);
    world.admin.revoke(account.id, &role).await;
    issue().await.expect(201);
}

/// It signs nowhere, has no factors and approves nothing; where a session is needed it is refused.
pub async fn a_key_is_no_session(world: Arc<World>) {
    let account = Account::make(&world).await;
    let key = account.key(&world, Value::Null).await;
    let own = |what: &str| format!("/v1/users/{}/{what}", account.id);
    let change = json!({ "current_password": "a", "new_password": "another long enough phrase" });
    for (path, body) in [
        (own("password"), change),
        (own("totp"), json!({ "password": "a" })),
        (own("passkeys/options"), json!({ "password": "a" })),
        (own("recovery-codes"), json!({ "password": "a" })),
        (format!("/v1/approvals/{}/approve", Uuid::now_v7()), Value::Null),
    ] {
        key.command(&world, "POST", &path, body)
            .await
            .refused(P::Forbidden);
    }
    let log_out = format!("/v1/sessions/{}", world.admin.session_id);
    key.command(&world, "DELETE", &log_out, Value::Null)
        .await
        .refused(P::Forbidden);
    let rename = json!({ "username": unique("other") });
    key.command(&world, "PATCH", &format!("/v1/users/{}", account.id), rename)
        .await
        .refused(P::Forbidden);
}

pub async fn an_erased_account_leaves_its_name_and_no_key(world: Arc<World>) {
    let account = Account::make(&world).await;
    let key = account.key(&world, Value::Null).await;
    let path = format!("/v1/users/{}", account.id);
    let erased = world
        .admin
        .command("DELETE", &path, Value::Null)
        .await
        .expect(200);
    let call = world.client.query("GET", &path).bearer(&key.text);
    call.at_least(&erased.token())
        .send()
        .await
        .refused(P::Unauthenticated);
    let listed = world
        .admin
        .query(&account.keys(), &erased.token())
        .await
        .expect(200);
    assert_eq!(listed.body["keys"][0]["good"], false);
    let told = world.admin.query(&path, &erased.token()).await.expect(200);
    assert_eq!(
        (
            &told.body["erased"],
            &told.body["username"],
            &told.body["is_service"]
        ),
        (&json!(true), &Value::Null, &json!(true))
    );
    let again = json!({ "name": account.name });
    world
        .admin
        .command("POST", "/v1/service-accounts", again)
        .await
        .expect(201);
}

pub async fn the_trail_tells_of_keys_and_of_what_was_done_with_them(world: Arc<World>) {
    let account = Account::make(&world).await;
    let role = account.with_role(&world, &["role_grant"]).await;
    let key = account.key(&world, json!({ "roles": [role] })).await;
    let bob = world.person("bob").await;
    let grant = format!("/v1/users/{}/roles/{role}", bob.id);
    let granted = key.command(&world, "PUT", &grant, Value::Null).await.expect(200);
    let revoked = account.revoke(&world, &key).await.expect(200);
    let trail = async |user: UserId, token: &str| {
        let path = format!("/v1/users/{user}/audit");
        let answer = world.admin.query(&path, token).await.expect(200);
        answer.body["events"].as_array().unwrap().clone()
    };
    let of_account = trail(account.id, &revoked.token()).await;
    let types: Vec<&str> = of_account.iter().map(|it| it["type"].as_str().unwrap()).collect();
    assert_eq!(
        types,
        [
            "user.service_key_revoked",
            "user.service_key_issued",
            "user.role_granted",
            "user.service_account_created",
        ]
    );
    let of_bob = trail(bob.id, &granted.token()).await;
    assert_eq!(of_bob[0]["actor"], json!(format!("service:{}", account.id)));
}

pub async fn introspection_tells_of_keys(world: Arc<World>) {
    let account = Account::make(&world).await;
    let key = account
        .key(&world, json!({ "expires_at": "2100-01-01T00:00:00Z" }))
        .await;
    let introspect = async |at_least: &str| {
        let call = world
            .client
            .query("POST", "/oauth/introspect")
            .bearer(&world.admin.access_token)
            .at_least(at_least);
        call.form(&[("token", &key.text)]).send().await.expect(200).body
    };
    let told = introspect(&key.token).await;
    assert_eq!(told["active"], true);
    assert_eq!(told["sub"], json!(account.id));
    assert_eq!(told["jti"], json!(key.id));
    assert_eq!(told["exp"], 4_102_444_800_i64);
    let revoked = account.revoke(&world, &key).await.expect(200);
    assert_eq!(introspect(&revoked.token()).await["active"], false);
}
