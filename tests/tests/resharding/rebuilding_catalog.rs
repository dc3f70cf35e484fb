//! What shards have of the catalog is projected anew beside the live rows, and put in their place while everything goes
//! on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use domain::ledger::ledger_of;
use read_model::catalog_digest;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgPool};
use tests::{Answer, Load, Person, World, unique};
use tokio::task::JoinHandle;

use crate::moving::{everything_is_in_its_place, shards};
use crate::readers::Readers;

/// Where the audit log tells of the catalog too.
const SHARD: i32 = 0;

/// Somebody whose rows are on that shard.
async fn person_on(world: &World, shard: i32) -> Person {
    loop {
        let person = world.person("held").await;
        let ledger = ledger_of(&person.id.to_string(), world.ledgers());
        if world.shards().await.map().shard_of(ledger) == shard {
            return person;
        }
    }
}

/// Two roles pass their names on to each other, one loses what is attached to it, and there is what the log knows
/// nothing of. What the holder may is computed from that.
async fn damage(pool: &PgPool, [one, other]: [&str; 2], holder: &Person) {
    let damage = AssertSqlSafe(format!(
        "UPDATE roles SET name = 'forged' WHERE name = '{one}';
         UPDATE roles SET name = '{one}', description = 'forged' WHERE name = '{other}';
         UPDATE roles SET name = '{other}' WHERE name = 'forged';
         DELETE FROM role_permissions WHERE role_id = (SELECT id FROM roles WHERE name = '{other}');
         INSERT INTO roles (id, name, is_system_role, level, created_at, updated_at)
         VALUES (gen_random_uuid(), 'forged', true, 0, now(), now());
         INSERT INTO permissions (id, name, resource, action, is_dangerous, created_at)
         VALUES (gen_random_uuid(), 'forged', 'everything', 'do', false, now());
         INSERT INTO role_permissions (id, role_id, permission_id, granted_at)
         SELECT gen_random_uuid(), r.id, p.id, now() FROM roles r, permissions p
         WHERE r.name = '{one}' AND p.name = 'forged';
         SELECT refresh_user_role_cache(ARRAY['{}'::uuid]);
         DELETE FROM security_audit_log WHERE ledger = -1;
         UPDATE shard_placement SET shard_id = 9 WHERE ledger = 5;",
        holder.id
    ));
    sqlx::raw_sql(damage).execute(pool).await.unwrap();
}

/// Who may do what with the tables, and whether row-level security is on.
async fn rights(pool: &PgPool) -> Vec<(String, Option<String>, bool, bool)> {
    sqlx::query_as(
        "SELECT relname::text, relacl::text, relrowsecurity, relforcerowsecurity FROM pg_class
         WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') ORDER BY relname",
    )
    .fetch_all(pool)
    .await
    .unwrap()
}

pub async fn a_catalog_that_is_wrong_is_put_right_and_told(world: Arc<World>) {
    let (role, other, permission) = (unique("role"), unique("role"), unique("permission"));
    world.admin.define_role(&role, None).await;
    world.admin.define_role(&other, None).await;
    world
        .admin
        .define_permission(&permission, "read", &permission)
        .await;
    world.admin.attach(&role, &permission).await;
    let holder = person_on(&world, SHARD).await;
    world.admin.grant(holder.id, &role).await;
    world.projected().await;
    let told = shards(&world, &["rebuild-catalog"]).await;
    let live = world.shards().await.get(SHARD).unwrap();
    let right = catalog_digest(&live.pool).await.unwrap();
    let are_right = format!("shard {SHARD}: roles and permissions are what the log says: {right}");
    assert!(told.contains(&are_right), "{told}");

    let before = rights(&live.pool).await;
    damage(&live.pool, [&role, &other], &holder).await;
    let wrong = catalog_digest(&live.pool).await.unwrap();
    assert_ne!(wrong, right);
    let (code, told) = world
        .run("rolecall-shards", &["rebuild-catalog", "--verify"])
        .await;
    let verdict = format!("the catalog of shards [{SHARD}] is not what the log says");
    assert!(code == 1 && told.contains(&verdict), "{code}: {told}");
    assert_eq!(catalog_digest(&live.pool).await.unwrap(), wrong, "it only looks");

    let (code, told) = world
        .run("rolecall-shards", &["rebuild-catalog", &SHARD.to_string()])
        .await;
    assert_eq!(code, 1, "whoever runs it is to hear of it: {told}");
    for line in [
        format!("shard {SHARD}: roles and permissions are {wrong}, and {right} by the log"),
        format!("shard {SHARD}: audit rows of the catalog were put in place anew"),
        format!("shard {SHARD}: places of ledgers were put in place anew"),
        format!("the catalog of shards [{SHARD}] was not what the log says, and was put in place anew"),
    ] {
        assert!(told.contains(&line), "{line:?} is not in:\n{told}");
    }
    assert_eq!(catalog_digest(&live.pool).await.unwrap(), right);
    assert_eq!(rights(&live.pool).await, before, "of the same tables");
    shards(&world, &["rebuild-catalog"]).await;
    // Its projection goes on from where it stood.
    let token = world.admin.define_role(&unique("role"), Some(&role)).await;
    assert!(world.admin.check(holder.id, "read", &permission, &token).await);
    everything_is_in_its_place(&world).await;
}

pub async fn a_catalog_is_put_in_place_anew_while_it_changes(world: Arc<World>) {
    let forged = unique("role");
    world.admin.define_role(&forged, None).await;
    let holder = world.person("held").await;
    world.admin.grant(holder.id, &forged).await;
    world.projected().await;
    let (load, readers) = (Load::start(&world, 2).await, Readers::start(&world, 4).await);
    let editors = Editors::start(&world, 3);
    let all: Vec<_> = world.shards().await.iter().collect();
    for shard in &all {
        sqlx::query("UPDATE roles SET level = 7, description = 'forged' WHERE name = $1")
            .bind(&forged)
            .execute(&shard.pool)
            .await
            .unwrap();
    }
    let (code, told) = world.run("rolecall-shards", &["rebuild-catalog"]).await;
    let ids: Vec<i32> = all.iter().map(|shard| shard.id).collect();
    let verdict =
        format!("the catalog of shards {ids:?} was not what the log says, and was put in place anew");
    assert!(code == 1 && told.contains(&verdict), "{code}: {told}");
    let told = shards(&world, &["rebuild-catalog", "--always"]).await;
    for id in ids {
        let line = format!("shard {id}: roles and permissions were put in place anew");
        assert!(told.contains(&line), "{told}");
    }
    load.more(50).await;
    let changes = editors.reckon().await;
    let right = readers.reckon().await;
    load.reckon().await;
    println!("        {right} answers were right, and the catalog after {changes} changes");
    everything_is_in_its_place(&world).await;
}

/// People who change the catalog all the time, and read what they have made of it.
struct Editors {
    stop: Arc<AtomicBool>,
    running: Vec<JoinHandle<usize>>,
}

impl Editors {
    fn start(world: &Arc<World>, count: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut running = Vec::new();
        for _ in 0..count {
            let (world, stop) = (Arc::clone(world), Arc::clone(&stop));
            running.push(tokio::spawn(Editor { world, stop }.run()));
        }
        Self { stop, running }
    }

    /// How often the catalog was read as it had been made.
    async fn reckon(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        let mut changes = 0;
        for running in self.running {
            changes += running.await.unwrap();
        }
        changes
    }
}

struct Editor {
    world: Arc<World>,
    stop: Arc<AtomicBool>,
}

impl Editor {
    async fn run(self) -> usize {
        let mut changes = 0;
        while !self.stop.load(Ordering::Relaxed) {
            let (role, permission) = (unique("edited"), unique("permission"));
            let path = format!("/v1/roles/{role}");
            self.change("PUT", &path, json!({ "parent": null })).await;
            let right = json!({ "resource": permission, "action": "read" });
            self.change("PUT", &format!("/v1/permissions/{permission}"), right)
                .await;
            let attach = format!("{path}/permissions/{permission}");
            let attached = self.change("PUT", &attach, Value::Null).await;
            assert_eq!(self.gives(&role, &attached).await, Some(json!([permission])));
            let deleted = self.change("DELETE", &path, Value::Null).await;
            assert_eq!(self.gives(&role, &deleted).await, None);
            changes += 2;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        changes
    }

    async fn change(&self, method: &str, path: &str, body: Value) -> String {
        self.answered(&Asking::Change(method, path, body)).await.token()
    }

    /// What a role gives, if there is one.
    async fn gives(&self, role: &str, token: &str) -> Option<Value> {
        let answer = self.answered(&Asking::Roles(token)).await;
        let mut roles = answer.body["roles"].as_array().unwrap().iter();
        let found = roles.find(|it| it["name"] == role);
        found.map(|it| it["permissions"].clone())
    }

    /// What is not known yet, or not for a moment, is asked for again.
    async fn answered(&self, asking: &Asking<'_>) -> Answer {
        let admin = &self.world.admin;
        for _ in 0..200 {
            let answer = match asking {
                Asking::Change(method, path, body) => admin.command(method, path, body.clone()).await,
                Asking::Roles(token) => admin.query("/v1/roles", token).await,
            };
            match answer.status {
                200 => return answer,
                503 => tokio::time::sleep(Duration::from_millis(50)).await,
                other => panic!("answered {other}: {}", answer.text),
            }
        }
        panic!("there is no answer any more")
    }
}

enum Asking<'a> {
    Change(&'a str, &'a str, Value),
    /// As of a token at least.
    Roles(&'a str),
}
