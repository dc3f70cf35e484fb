//! What takes two people.

use std::sync::Arc;

use schemas::Event;
use schemas::user::UserEvent;
use serde_json::{Value, json};
use service_kit::problem::ProblemType as P;
use tests::{Answer, Person, World, unique};

/// A second administrator, a role of each kind, and a dangerous permission about a resource of its own.
struct Vault {
    deputy: Person,
    chief: String,
    clerk: String,
    permission: String,
    resource: String,
}

impl Vault {
    async fn make(world: &World) -> Self {
        let (admin, deputy) = (&world.admin, world.person("deputy").await);
        admin.grant(deputy.id, "administrator").await;
        let (chief, clerk, resource) = (unique("chief"), unique("clerk"), unique("vault"));
        admin.define_role(&chief, None).await;
        admin.define_role(&clerk, None).await;
        let permission = format!("{resource}.open");
        let path = format!("/v1/permissions/{permission}");
        admin
            .command("PUT", &path, dangerous(&resource))
            .await
            .expect(200);
        Self {
            deputy,
            chief,
            clerk,
            permission,
            resource,
        }
    }

    fn attachment(&self, role: &str) -> String {
        format!("/v1/roles/{role}/permissions/{}", self.permission)
    }

    /// The chief has it, by two people.
    async fn with_chief(self, world: &World) -> Self {
        let path = self.attachment(&self.chief);
        let asked = world.admin.command("PUT", &path, Value::Null).await;
        approve(&self.deputy, &asked).await.expect(200);
        self
    }
}

fn dangerous(resource: &str) -> Value {
    json!({ "resource": resource, "action": "open", "is_dangerous": true })
}

fn id_of(answer: &Answer) -> String {
    assert_eq!(answer.status, 202, "{}", answer.text);
    assert_eq!(answer.body["status"], "pending");
    answer.body["approval_id"].as_str().unwrap().to_owned()
}

async fn approve(person: &Person, asked: &Answer) -> Answer {
    let path = format!("/v1/approvals/{}/approve", id_of(asked));
    person.command("POST", &path, Value::Null).await
}

async fn waiting(world: &World, id: &str) -> Option<Value> {
    let answer = world.admin.query("/v1/approvals", "latest").await.expect(200);
    let mut all = answer.body["approvals"].as_array().unwrap().iter();
    all.find(|it| it["id"] == id).cloned()
}

pub async fn a_dangerous_permission_takes_two_people(world: Arc<World>) {
    let vault = Vault::make(&world).await;
    let (admin, bob) = (&world.admin, world.person("bob").await);
    let path = vault.attachment(&vault.chief);
    let asked = admin.command("PUT", &path, Value::Null).await;
    let id = id_of(&asked);
    // By whomever it is repeated, it is the same approval.
    for person in [admin, &vault.deputy] {
        assert_eq!(id_of(&person.command("PUT", &path, Value::Null).await), id);
    }
    let listed = waiting(&world, &id).await.unwrap();
    assert_eq!(listed["requested_by"], json!(admin.id));
    assert_eq!(listed["change"]["kind"], "attach_permission");
    assert_eq!(listed["change"]["resource"], json!(vault.resource));
    // Nothing has changed: the role gives no danger, so that one person grants it.
    let granted = admin.grant(bob.id, &vault.chief).await;
    assert!(!admin.check(bob.id, "open", &vault.resource, &granted).await);

    approve(admin, &asked).await.refused(P::OwnApproval);
    approve(&bob, &asked).await.refused(P::Forbidden);
    let token = approve(&vault.deputy, &asked).await.expect(200).token();
    assert!(admin.check(bob.id, "open", &vault.resource, &token).await);
    assert_eq!(waiting(&world, &id).await, None);
    approve(&vault.deputy, &asked).await.refused(P::NoSuchApproval);
    // What is so already needs nobody.
    admin.command("PUT", &path, Value::Null).await.expect(200);
    admin.grant(bob.id, &vault.chief).await;
}

pub async fn the_grant_of_a_dangerous_role_names_its_approval(world: Arc<World>) {
    let vault = Vault::make(&world).await.with_chief(&world).await;
    let (admin, bob) = (&world.admin, world.person("bob").await);
    let path = format!("/v1/users/{}/roles/{}", bob.id, vault.chief);
    let asked = admin.command("PUT", &path, Value::Null).await;
    let id = id_of(&asked);
    assert!(!admin.check(bob.id, "open", &vault.resource, &asked.token()).await);
    let token = approve(&vault.deputy, &asked).await.expect(200).token();
    assert!(admin.check(bob.id, "open", &vault.resource, &token).await);
    let history = world.history().await;
    let approvals: Vec<_> = history
        .of_user(bob.id)
        .into_iter()
        .filter_map(|event| match event {
            UserEvent::RoleGranted(event) => Some(event.approval_id.map(|id| id.to_string())),
            _ => None,
        })
        .collect();
    assert_eq!(approvals, [Some(id.clone())]);
    let names = history
        .events
        .iter()
        .filter_map(|(_, stored)| match &stored.data {
            Event::Catalog(event) => Some((event.event_type().name, serde_json::to_string(event).unwrap())),
            _ => None,
        });
    let told: Vec<_> = names
        .filter(|(_, text)| text.contains(&id))
        .map(|(name, _)| name)
        .collect();
    let expected = [
        "catalog.approval_requested",
        "catalog.approval_given",
        "catalog.approval_applied",
    ];
    assert_eq!(told, expected);
    // For less long one person is enough, for longer again it takes two.
    let less = json!({ "expires_at": "2100-01-01T00:00:00Z" });
    admin.command("PUT", &path, less).await.expect(200);
    let more = admin.command("PUT", &path, Value::Null).await;
    assert_ne!(id_of(&more), id);
    let nobody = format!("/v1/users/{}/roles/{}", uuid::Uuid::now_v7(), vault.chief);
    admin
        .command("PUT", &nobody, Value::Null)
        .await
        .refused(P::NoSuchUser);
}

/// Each way to give danger, or to make it look harmless, and what one person may do.
pub async fn no_detour_takes_one_person(world: Arc<World>) {
    let vault = Vault::make(&world).await.with_chief(&world).await;
    let admin = &world.admin;
    let (resource, other) = (&vault.resource, unique("other"));
    let permission = |name: &str| format!("/v1/permissions/{name}");
    let harmless = |resource: &str| json!({ "resource": resource, "action": "open" });
    admin
        .command("PUT", &permission(&other), harmless(&other))
        .await
        .expect(200);
    admin.attach(&vault.clerk, &other).await;
    let below = json!({ "parent": vault.chief });
    for (path, body) in [
        (vault.attachment(&vault.clerk), Value::Null),
        (format!("/v1/roles/{}", vault.clerk), below.clone()),
        (format!("/v1/roles/{}", unique("new")), below),
        (permission(&vault.permission), harmless(resource)),
        (permission(&unique("innocent")), harmless(resource)),
        (permission(&other), harmless(resource)),
        (permission(&other), dangerous(resource)),
    ] {
        id_of(&admin.command("PUT", &path, body).await);
    }
    let delete = permission(&vault.permission);
    admin.command("DELETE", &delete, Value::Null).await.expect(200);
    id_of(&admin.command("PUT", &delete, harmless(resource)).await);
}

pub async fn rights_that_were_lost_meanwhile_approve_nothing(world: Arc<World>) {
    let vault = Vault::make(&world).await;
    let (admin, deputy) = (&world.admin, &vault.deputy);
    let ask = async |role: &str| deputy.command("PUT", &vault.attachment(role), Value::Null).await;
    let second = world.person("second").await;
    admin.grant(second.id, "administrator").await;
    let asked = ask(&vault.chief).await;
    admin.revoke(second.id, "administrator").await;
    approve(&second, &asked).await.refused(P::Forbidden);
    admin.revoke(deputy.id, "administrator").await;
    approve(admin, &asked).await.refused(P::Conflict);
    // It goes on waiting, and counts once who asked may again.
    admin.grant(deputy.id, "administrator").await;
    approve(admin, &asked).await.expect(200);
    // Nor does a name that means something else by now.
    let asked = ask(&vault.clerk).await;
    let clerk = format!("/v1/roles/{}", vault.clerk);
    admin.command("DELETE", &clerk, Value::Null).await.expect(200);
    admin.define_role(&vault.clerk, None).await;
    approve(admin, &asked).await.refused(P::Conflict);
}

pub async fn an_approval_is_withdrawn_or_refused(world: Arc<World>) {
    let vault = Vault::make(&world).await;
    let (admin, stranger) = (&world.admin, world.person("stranger").await);
    let path = vault.attachment(&vault.chief);
    for person in [admin, &vault.deputy] {
        let asked = admin.command("PUT", &path, Value::Null).await;
        let ended = format!("/v1/approvals/{}", id_of(&asked));
        stranger
            .command("DELETE", &ended, Value::Null)
            .await
            .refused(P::Forbidden);
        person.command("DELETE", &ended, Value::Null).await.expect(200);
        person
            .command("DELETE", &ended, Value::Null)
            .await
            .refused(P::NoSuchApproval);
        approve(&vault.deputy, &asked).await.refused(P::NoSuchApproval);
    }
    stranger.query("/v1/approvals", "").await.refused(P::Forbidden);
}

pub async fn a_key_gives_the_same_approval_and_the_same_answer(world: Arc<World>) {
    let vault = Vault::make(&world).await;
    let path = vault.attachment(&vault.chief);
    let send = async |person: &Person, method: &str, path: &str| {
        let call = world.client.command(method, path).bearer(&person.access_token);
        call.key("two-people").send().await
    };
    let asked = send(&world.admin, "PUT", &path).await;
    let again = send(&world.admin, "PUT", &path).await;
    assert_eq!(id_of(&asked), id_of(&again));
    let approve = format!("/v1/approvals/{}/approve", id_of(&asked));
    for _ in 0..2 {
        send(&vault.deputy, "POST", &approve).await.expect(200);
    }
}
