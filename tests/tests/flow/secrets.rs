//! What must stand nowhere in plain: names, addresses, passwords, tokens.

use std::sync::Arc;

use serde_json::json;
use tests::{PASSWORD, Person, World};
use tokio::process::Command;

pub async fn no_plaintext_is_left_anywhere(world: Arc<World>) {
    let marker = format!("zq{}", uuid::Uuid::now_v7().simple());
    let name = format!("{}-name", &marker[..20]);
    let (phone, agent, wrong) = (
        "+49 30 90210777",
        format!("{marker}-agent"),
        format!("{marker}-wrong"),
    );
    let mut body = tests::registration(&name);
    body["email"] = json!(format!("{marker}@mail.example.org"));
    body["phone_number"] = json!(phone);
    let register = world
        .client
        .command("POST", "/v1/users")
        .header("user-agent", &agent);
    register.json(&body).send().await.expect(201);
    let log_in = json!({ "username": name, "password": wrong });
    let log_in = world
        .client
        .command("POST", "/v1/sessions")
        .header("user-agent", &agent)
        .json(&log_in);
    log_in.send().await.expect(401);
    let log_in = json!({ "email": format!("{marker}@mail.example.org"), "password": PASSWORD });
    let log_in = world
        .client
        .command("POST", "/v1/sessions")
        .header("user-agent", &agent)
        .json(&log_in);
    log_in.send().await.expect(201);
    let person = Person::log_in(&world.client, &name, PASSWORD).await;
    // Read back in plain, so it is stored, and the shard has it too.
    let user = person
        .query(&format!("/v1/users/{}", person.id), &person.token)
        .await
        .expect(200);
    assert_eq!(user.body["phone_number"], phone);

    let secrets = [
        name.as_str(),
        &marker[..20],
        phone,
        agent.as_str(),
        wrong.as_str(),
        PASSWORD,
        person.refresh_token.as_str(),
        person.access_token.as_str(),
        world.rolecall.admin_password(),
        "$argon2id$",
    ];
    for record in &world.history().await.records {
        for secret in secrets {
            assert!(
                !holds(&record.value, secret),
                "{secret} stands in {:?}@{}",
                record.stream,
                record.offset
            );
            assert!(!holds(&record.key, secret));
            for (header, value) in &record.headers {
                assert!(!holds(value, secret), "{secret} stands in {header}");
            }
        }
    }
    // Everything on the disk but the keys and the administrator's password file: topics,
    // databases with their write-ahead log, Redis, and all logs.
    let found = files_with(&world, &secrets).await;
    assert_eq!(found, Vec::<String>::new());
    // What may stand there is found where it must be.
    let found = files_with(&world, &["user.registered"]).await;
    for part in ["kafka", "postgres"] {
        assert!(
            found.iter().any(|path| path.contains(part)),
            "nothing of {part} was searched"
        );
    }
}

async fn files_with(world: &World, texts: &[&str]) -> Vec<String> {
    let mut grep = Command::new("grep");
    grep.args([
        "-rlaF",
        "--exclude-dir",
        world.rolecall.topic_prefix(),
        "--exclude=*.index",
        "--exclude=*.timeindex",
    ]);
    for text in texts {
        grep.args(["-e", text]);
    }
    let output = grep
        .arg(world.stack.data_dir())
        .env("LC_ALL", "C")
        .output()
        .await
        .unwrap();
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(str::to_owned)
        .collect()
}

fn holds(bytes: &[u8], secret: &str) -> bool {
    let mut rest = bytes;
    let first = secret.as_bytes()[0];
    while let Some(at) = rest.iter().position(|byte| *byte == first) {
        if rest[at..].starts_with(secret.as_bytes()) {
            return true;
        }
        rest = &rest[at + 1..];
    }
    false
}
