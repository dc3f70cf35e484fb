//! Who may what.

use std::sync::Arc;

use serde_json::{Value, json};
use service_kit::problem::ProblemType as P;
use tests::{World, unique};

pub async fn nobody_gives_rights_they_do_not_hold(world: Arc<World>) {
    let admin = &world.admin;
    let (editor, other) = (world.person("editor").await, world.person("other").await);
    let role = unique("role-editor");
    admin.define_role(&role, None).await;
    for permission in [
        "role_define",
        "role_grant",
        "role_revoke",
        "permission_attach",
        "permission_define",
    ] {
        admin.attach(&role, &format!("rolecall.{permission}")).await;
    }
    admin.grant(editor.id, &role).await;

    let own = unique("own");
    editor.define_role(&own, None).await;
    for (method, path, body) in [
        (
            "PUT",
            format!("/v1/users/{}/roles/administrator", editor.id),
            Value::Null,
        ),
        (
            "PUT",
            format!("/v1/users/{}/roles/administrator", other.id),
            Value::Null,
        ),
        (
            "PUT",
            format!("/v1/roles/{own}/permissions/rolecall.user_deactivate"),
            Value::Null,
        ),
        (
            "PUT",
            format!("/v1/roles/{own}"),
            json!({ "parent": "administrator" }),
        ),
        (
            "PUT",
            format!("/v1/roles/{}", unique("below")),
            json!({ "parent": "administrator" }),
        ),
    ] {
        editor.command(method, &path, body).await.refused(P::Escalation);
    }
    // What the editor holds may be passed on, and what is not about Rolecall.
    editor.attach(&own, "rolecall.role_grant").await;
    let permission = unique("permission");
    editor.define_permission(&permission, "read", "invoice").await;
    editor.attach(&own, &permission).await;
    let token = editor.grant(other.id, &own).await;
    assert!(admin.check(other.id, "role_grant", "rolecall", &token).await);
    assert!(!admin.check(other.id, "user_deactivate", "rolecall", &token).await);
    // Nor by a detour: a role of one's own that a greater one is put above.
    let above = unique("above");
    admin.define_role(&above, None).await;
    admin.attach(&above, "rolecall.user_deactivate").await;
    let path = format!("/v1/roles/{own}");
    editor
        .command("PUT", &path, json!({ "parent": above }))
        .await
        .refused(P::Escalation);
}

pub async fn a_role_is_never_its_own_ancestor(world: Arc<World>) {
    let admin = &world.admin;
    let [a, b, c] = [unique("a"), unique("b"), unique("c")];
    admin.define_role(&a, None).await;
    admin.define_role(&b, Some(&a)).await;
    admin.define_role(&c, Some(&b)).await;
    for (role, parent) in [(&a, &a), (&a, &b), (&a, &c), (&b, &c)] {
        let path = format!("/v1/roles/{role}");
        admin
            .command("PUT", &path, json!({ "parent": parent }))
            .await
            .refused(P::RoleCycle);
    }
    admin
        .command("DELETE", &format!("/v1/roles/{a}"), Value::Null)
        .await
        .refused(P::RoleInUse);
    for bad in ["with%20space", "%20", "a%2Fb", "caf%C3%A9", &"x".repeat(256)] {
        admin
            .command("PUT", &format!("/v1/roles/{bad}"), json!({}))
            .await
            .refused(P::InvalidName);
    }
}

pub async fn what_is_rolecalls_own_cannot_be_changed(world: Arc<World>) {
    let admin = &world.admin;
    let (administrator, permission) = ("/v1/roles/administrator", unique("permission"));
    admin.define_permission(&permission, "read", "invoice").await;
    let own = json!({ "resource": "rolecall", "action": "user_read" });
    for (method, path, body) in [
        ("PUT", administrator.to_owned(), json!({ "description": "mine" })),
        ("DELETE", administrator.to_owned(), Value::Null),
        (
            "DELETE",
            format!("{administrator}/permissions/rolecall.user_read"),
            Value::Null,
        ),
        (
            "PUT",
            format!("{administrator}/permissions/{permission}"),
            Value::Null,
        ),
        (
            "DELETE",
            "/v1/permissions/rolecall.user_read".to_owned(),
            Value::Null,
        ),
        (
            "PUT",
            "/v1/permissions/rolecall.user_read".to_owned(),
            own.clone(),
        ),
        (
            "PUT",
            "/v1/permissions/rolecall.brand_new".to_owned(),
            json!({ "resource": "x", "action": "y" }),
        ),
        ("PUT", format!("/v1/permissions/{}", unique("innocent")), own),
    ] {
        admin.command(method, &path, body).await.refused(P::SystemRole);
    }
}

pub async fn a_grant_that_has_expired_already_is_refused(world: Arc<World>) {
    let person = world.person("late").await;
    let role = unique("role");
    world.admin.define_role(&role, None).await;
    let path = format!("/v1/users/{}/roles/{role}", person.id);
    for past in [
        "2020-01-01T00:00:00Z",
        "1969-12-31T23:59:59Z",
        "0001-01-01T00:00:00Z",
    ] {
        world
            .admin
            .command("PUT", &path, json!({ "expires_at": past }))
            .await
            .refused(P::ExpiryInPast);
    }
    for wrong in [
        json!("+10000-01-01T00:00:00Z"),
        json!("+262142-12-31T23:59:59Z"),
        json!("tomorrow"),
        json!(1_800_000_000),
        json!("2100-13-01T00:00:00Z"),
        json!("2100-01-01"),
    ] {
        world
            .admin
            .command("PUT", &path, json!({ "expires_at": wrong }))
            .await
            .refused(P::InvalidBody);
    }
    assert_eq!(
        world.history().await.names_of_user(person.id),
        ["user.registered", "user.logged_in"]
    );
}

pub async fn people_read_what_is_their_own_and_give_themselves_nothing(world: Arc<World>) {
    let person = world.person("plain").await;
    let own = |path: &str| format!("/v1/users/{}{path}", person.id);
    for path in ["", "/roles", "/permissions", "/sessions", "/audit"] {
        person.query(&own(path), &person.token).await.expect(200);
    }
    person
        .ask(person.id, "read", "x", &person.token)
        .await
        .expect(200);
    person
        .command("PUT", &own("/roles/administrator"), Value::Null)
        .await
        .refused(P::Forbidden);
    // Whether a session exists is nobody else's business.
    let unknown = format!("/v1/sessions/{}", uuid::Uuid::now_v7());
    person
        .command("DELETE", &unknown, Value::Null)
        .await
        .refused(P::Forbidden);
}

pub async fn a_revoked_administrator_changes_nothing_any_more(world: Arc<World>) {
    let other = world.person("other").await;
    let role = unique("role");
    world.admin.define_role(&role, None).await;
    for _ in 0..20 {
        let deputy = world.person("deputy").await;
        world.admin.grant(deputy.id, "administrator").await;
        deputy.grant(other.id, &role).await;
        world.admin.revoke(deputy.id, "administrator").await;
        // No token demanded: the service must know by itself.
        let path = format!("/v1/users/{}/roles/administrator", deputy.id);
        deputy
            .command("PUT", &path, Value::Null)
            .await
            .refused(P::Forbidden);
        world.admin.revoke(other.id, &role).await;
    }
}

pub async fn nobody_gives_rights_for_longer_than_they_hold_them(world: Arc<World>) {
    let (admin, other) = (&world.admin, world.person("other").await);
    let temporary = world.person("temporary").await;
    let granted = |user: schemas::UserId, role: &str| format!("/v1/users/{user}/roles/{role}");
    let until = |year: u32| json!({ "expires_at": format!("{year}-01-01T00:00:00Z") });
    let own = granted(temporary.id, "administrator");
    admin.command("PUT", &own, until(2100)).await.expect(200);
    let role = unique("role");
    temporary.define_role(&role, None).await;
    let (below, parent) = (format!("/v1/roles/{role}"), json!({ "parent": "administrator" }));
    let attached = format!("/v1/roles/{role}/permissions/rolecall.user_read");
    for (path, body) in [
        (own.clone(), Value::Null),
        (own.clone(), until(2101)),
        (granted(other.id, "administrator"), Value::Null),
        (below, parent),
        (attached, Value::Null),
    ] {
        temporary.command("PUT", &path, body).await.refused(P::Escalation);
    }
    for year in [2099, 2100] {
        let path = granted(other.id, "administrator");
        temporary.command("PUT", &path, until(year)).await.expect(200);
    }
    // What is not about Rolecall may be given for good.
    temporary.grant(other.id, &role).await;
    // The longest of several grants counts.
    let deputy = unique("deputy");
    admin.define_role(&deputy, Some("administrator")).await;
    admin.grant(temporary.id, &deputy).await;
    temporary.grant(other.id, "administrator").await;
}

pub async fn the_grant_of_a_deleted_role_is_revoked_by_its_id(world: Arc<World>) {
    let (admin, person) = (&world.admin, world.person("leftover").await);
    let role = unique("role");
    let defined = admin.define_role(&role, None).await;
    let roles = admin.query("/v1/roles", &defined).await.expect(200);
    let mut roles = roles.body["roles"].as_array().unwrap().iter();
    let id = roles.find(|it| it["name"] == json!(role)).unwrap()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    admin.grant(person.id, &role).await;
    admin
        .command("DELETE", &format!("/v1/roles/{role}"), Value::Null)
        .await
        .expect(200);
    let path = |role: &str| format!("/v1/users/{}/roles/{role}", person.id);
    admin
        .command("DELETE", &path(&role), Value::Null)
        .await
        .refused(P::NoSuchRole);
    for _ in 0..2 {
        admin.revoke(person.id, &id).await;
    }
    let names = world.history().await.names_of_user(person.id);
    assert_eq!(names[2..], ["user.role_granted", "user.role_revoked"]);
}
