//! The program `rolecall-import`.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use tests::{Person, World, unique};
use tokio::process::Command;

use super::imports::{HASH, ITS_PASSWORD};

/// Runs it on a file: its exit code and what it printed.
async fn run(world: &World, file: &Path, more: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(tests::programs().await.join("rolecall-import"))
        .arg(file)
        .args(["--chunk", "10", "--url", &world.rolecall.command_url()])
        .args(more)
        .arg("--ca-file")
        .arg(world.stack.certificates().unwrap().authority())
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    (output.status.code(), said)
}

/// Line and last part of the type of each rejection, as the program wrote them down.
fn rejected(file: &Path) -> Vec<(u64, String)> {
    let mut path = file.to_owned().into_os_string();
    path.push(".rejected");
    let text = std::fs::read_to_string(path).unwrap();
    let told = text.lines().map(|line| {
        let told: Value = serde_json::from_str(line).unwrap();
        let kind = told["problem"]["type"].as_str().unwrap();
        let slug = kind.rsplit('/').next().unwrap().to_owned();
        (told["line"].as_u64().unwrap(), slug)
    });
    told.collect()
}

pub async fn a_program_imports_files_and_goes_on_after_an_interruption(world: Arc<World>) {
    let folder = tempfile::tempdir().unwrap();
    let (file, password) = (folder.path().join("users.csv"), folder.path().join("password"));
    std::fs::write(&password, world.rolecall.admin_password()).unwrap();
    let names: Vec<String> = (0..25).map(|_| unique("filed")).collect();
    let mut text = "username,email,password_hash,email_verified\n".to_owned();
    for name in &names {
        text.push_str(&format!("{name},{name}@example.org,{HASH},true\n"));
    }
    text.push_str("x,nobody,,\n");
    std::fs::write(&file, text).unwrap();
    let password = password.to_str().unwrap();
    let admin = ["--username", &world.admin.name, "--password-file", password];
    let (code, said) = run(&world, &file, &admin).await;
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("25 imported, 1 rejected"), "{said}");
    assert_eq!(rejected(&file), [(27, "invalid-email".to_owned())]);
    Person::log_in(&world.client, &names[24], ITS_PASSWORD).await;
    // As a crash leaves it: the last chunk is not known to be done. Nothing of it comes twice.
    let journal = folder.path().join("users.csv.journal");
    let lines = std::fs::read_to_string(&journal).unwrap();
    let kept: Vec<&str> = lines.lines().take(2).collect();
    std::fs::write(&journal, kept.join("\n") + "\n").unwrap();
    let (code, said) = run(&world, &file, &admin).await;
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("25 imported, 1 rejected"), "{said}");
}

/// A service account that may import, and the file with its key.
async fn service_key(world: &World, folder: &Path) -> String {
    let account = json!({ "name": unique("importer") });
    let made = world.admin.command("POST", "/v1/service-accounts", account).await;
    let id = made.expect(201).body["user_id"].as_str().unwrap().to_owned();
    let role = unique("importing");
    world.admin.define_role(&role, None).await;
    world.admin.attach(&role, "rolecall.user_import").await;
    world.admin.grant(id.parse().unwrap(), &role).await;
    let keys = format!("/v1/service-accounts/{id}/keys");
    let key = world.admin.command("POST", &keys, json!({})).await.expect(201);
    let file = folder.join("key");
    std::fs::write(&file, key.body["key"].as_str().unwrap()).unwrap();
    file.to_str().unwrap().to_owned()
}

pub async fn a_program_with_a_key_imports_what_it_can_of_a_file(world: Arc<World>) {
    let folder = tempfile::tempdir().unwrap();
    let key = service_key(&world, folder.path()).await;
    let with_key = ["--service-key-file", key.as_str()];
    let names: Vec<String> = (0..4).map(|_| unique("sound")).collect();
    let csv = folder.path().join("users.csv");
    let row = |name: &str| format!("{name},{name}@example.org,{HASH}\n");
    let rows = [row(&names[0]), "short\n".to_owned(), row(&names[1])].concat();
    std::fs::write(&csv, format!("username,email,password_hash\n{rows}")).unwrap();
    let (code, said) = run(&world, &csv, &with_key).await;
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("2 imported, 1 rejected"), "{said}");
    assert_eq!(rejected(&csv), [(3, "invalid-body".to_owned())]);

    let ndjson = folder.path().join("users.ndjson");
    let line = |name: &str| {
        let user = json!({ "username": name, "email": format!("{name}@example.org"), "password_hash": HASH });
        user.to_string().into_bytes()
    };
    let lines = [
        line(&names[2]),
        vec![b'x'; 40_000],
        b"{\"username\": \"\xff\"}".to_vec(),
        b"{".to_vec(),
        line(&names[3]),
    ];
    std::fs::write(&ndjson, lines.join(&b'\n')).unwrap();
    let (code, said) = run(&world, &ndjson, &with_key).await;
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("2 imported, 3 rejected"), "{said}");
    let expected = [(2, "body-too-large"), (3, "invalid-utf8"), (4, "malformed-json")];
    assert_eq!(
        rejected(&ndjson),
        expected.map(|(line, slug)| (line, slug.to_owned()))
    );
    for name in &names {
        Person::log_in(&world.client, name, ITS_PASSWORD).await;
    }
}
