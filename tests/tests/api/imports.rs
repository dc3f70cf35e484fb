//! Users in bulk.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use service_kit::problem::ProblemType as P;
use tests::{Answer, Person, World, registration, unique};

/// bcrypt of "correct horse b\u{e4}ttery", made by another program.
pub const HASH: &str = "$2b$04$bcl7Ws10NlJbv8cvu7Ffl.unWJ8YNoFoFaTXD2/8AgEdk/VuCoIwG";
pub const ITS_PASSWORD: &str = "correct horse b\u{e4}ttery";

fn row(name: &str) -> Value {
    json!({ "username": name, "email": format!("{name}@example.org"), "password_hash": HASH })
}

/// A service takes two imports at once; whoever comes third tries again.
async fn import(world: &World, person: &Person, key: Option<&str>, lines: &[String]) -> Answer {
    loop {
        let call = world
            .client
            .command("POST", "/v1/imports")
            .bearer(&person.access_token)
            .bytes("application/x-ndjson", lines.join("\n"));
        let answer = match key {
            Some(key) => call.key(key).send().await,
            None => call.send().await,
        };
        if answer.status != 429 {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn rejections(answer: &Answer) -> Vec<(u64, String)> {
    let rejected = answer.body["rejected"].as_array().unwrap();
    let slug = |rejected: &Value| {
        rejected["problem"]["type"]
            .as_str()
            .unwrap()
            .rsplit_once('/')
            .unwrap()
            .1
            .to_owned()
    };
    rejected
        .iter()
        .map(|it| (it["line"].as_u64().unwrap(), slug(it)))
        .collect()
}

async fn account(world: &World, person: &Person) -> Value {
    world
        .admin
        .query(&format!("/v1/users/{}", person.id), "latest")
        .await
        .expect(200)
        .body
}

pub async fn users_are_imported_with_the_passwords_they_have(world: Arc<World>) {
    let names: Vec<String> = (0..50).map(|_| unique("imported")).collect();
    let mut rows: Vec<Value> = names.iter().map(|name| row(name)).collect();
    rows[0]["email_verified"] = json!(true);
    rows[0]["phone_number"] = json!("+49 30 123456");
    rows[1].as_object_mut().unwrap().remove("password_hash");
    let lines: Vec<String> = rows.iter().map(Value::to_string).collect();
    let answer = import(&world, &world.admin, None, &lines).await.expect(200);
    assert_eq!(answer.body["imported"], 50);
    assert_eq!(rejections(&answer), []);

    let first = Person::log_in(&world.client, &names[0], ITS_PASSWORD).await;
    let seen = account(&world, &first).await;
    assert_eq!(seen["email_verified"], true);
    assert_eq!(seen["phone_verified"], false);
    // The hash is made anew at the first sign-in, and the password stays what it was.
    let is_rehashed = async || {
        let audit = format!("/v1/users/{}/audit", first.id);
        let audit = world.admin.query(&audit, "latest").await.expect(200);
        audit.text.contains("user.password_rehashed")
    };
    while !is_rehashed().await {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Person::log_in(&world.client, &names[0], ITS_PASSWORD).await;
    assert_eq!(account(&world, &first).await["active"], true);
    // Without a hash there is no password that fits.
    for password in ["", "*", ITS_PASSWORD] {
        let body = json!({ "username": names[1], "password": password });
        let call = world.client.command("POST", "/v1/sessions").json(&body);
        call.send().await.refused(P::InvalidCredentials);
    }
    // Their names are taken like everybody else's.
    let body = registration(&names[2]);
    let call = world.client.command("POST", "/v1/users").json(&body);
    assert_eq!(call.send().await.status, 409);
}

pub async fn each_line_is_imported_or_rejected_with_its_reason(world: Arc<World>) {
    let names: Vec<String> = (0..4).map(|_| unique("line")).collect();
    let mut unusable = row(&names[1]);
    unusable["password_hash"] = json!("5f4dcc3b5aa765d61d8327deb882cf99");
    let mut bad_mail = row(&names[2]);
    bad_mail["email"] = json!("nobody");
    let mut taken = row(&names[3]);
    taken["email"] = json!(format!("{}@other.example.org", names[3]));
    let lines = [
        row(&names[0]).to_string(),
        String::new(),
        "{".to_owned(),
        json!({ "username": names[1] }).to_string(),
        unusable.to_string(),
        bad_mail.to_string(),
        "x".repeat(9_000),
        row(&names[3]).to_string(),
    ];
    let answer = import(&world, &world.admin, None, &lines).await.expect(200);
    assert_eq!(answer.body["imported"], 2, "{}", answer.text);
    let expected = [
        (3, "malformed-json"),
        (4, "invalid-body"),
        (5, "unusable-hash"),
        (6, "invalid-email"),
        (7, "body-too-large"),
    ];
    assert_eq!(
        rejections(&answer),
        expected.map(|(line, slug)| (line, slug.to_owned()))
    );

    // Names that somebody has, here or in the same import, are not imported a second time; the free name of such a
    // line stays free.
    let free = unique("free");
    let mut mail_taken = row(&free);
    mail_taken["email"] = json!(format!("{}@example.org", names[0]));
    let lines = [taken.to_string(), mail_taken.to_string()];
    let answer = import(&world, &world.admin, None, &lines).await.expect(200);
    let expected = [(1, "username-taken"), (2, "email-taken")];
    assert_eq!(
        rejections(&answer),
        expected.map(|(line, slug)| (line, slug.to_owned()))
    );
    let answer = import(&world, &world.admin, None, &[row(&free).to_string()])
        .await
        .expect(200);
    assert_eq!(answer.body["imported"], 1);
}

pub async fn of_lines_with_the_same_name_the_first_is_imported(world: Arc<World>) {
    let (names, strange) = (
        (0..400).map(|_| unique("twin")).collect::<Vec<_>>(),
        unique("strange"),
    );
    let mut lines: Vec<String> = names.iter().map(|name| row(name).to_string()).collect();
    // Every second line comes again: as it is, or with one name of its own.
    let mut expected = Vec::new();
    for (number, name) in names.iter().enumerate().step_by(2) {
        let mut again = row(name);
        let (by_email, other) = (number.is_multiple_of(4), format!("{strange}-{number}"));
        if by_email {
            again["username"] = json!(other);
        } else {
            again["email"] = json!(format!("{other}@example.org"));
        }
        lines.push(again.to_string());
        let slug = if by_email { "email-taken" } else { "username-taken" };
        expected.push((lines.len() as u64, slug.to_owned()));
    }
    // A line that is rejected for itself takes no name from a later one.
    let mut unusable = row(&strange);
    unusable["password_hash"] = json!("5f4dcc3b5aa765d61d8327deb882cf99");
    lines.push(unusable.to_string());
    expected.push((lines.len() as u64, "unusable-hash".to_owned()));
    lines.push(row(&strange).to_string());
    for key in [None, Some(unique("twins"))] {
        let lines: Vec<String> = match &key {
            None => lines.clone(),
            // Other people, the same way.
            Some(key) => lines
                .iter()
                .map(|line| line.replace("twin", key).replace("strange", key))
                .collect(),
        };
        for _ in 0..2 {
            let answer = import(&world, &world.admin, key.as_deref(), &lines)
                .await
                .expect(200);
            assert_eq!(answer.body["imported"], 401, "{}", answer.text);
            assert_eq!(rejections(&answer), expected);
            if key.is_none() {
                break;
            }
        }
        // The free names of rejected lines are free.
        let free = lines[400].replace("@example.org", "@other.example.org");
        let answer = import(&world, &world.admin, None, &[free]).await.expect(200);
        assert_eq!(answer.body["imported"], 1, "{}", answer.text);
    }
}

pub async fn many_lines_are_imported_though_half_of_them_are_not(world: Arc<World>) {
    let names: Vec<String> = (0..3_000).map(|_| unique("half")).collect();
    let of = |numbers: std::ops::Range<usize>| -> Vec<String> {
        names[numbers].iter().map(|name| row(name).to_string()).collect()
    };
    let answer = import(&world, &world.admin, None, &of(0..1_500))
        .await
        .expect(200);
    assert_eq!(answer.body["imported"], 1_500);
    let answer = import(&world, &world.admin, None, &of(0..3_000))
        .await
        .expect(200);
    assert_eq!(answer.body["imported"], 1_500);
    let expected: Vec<_> = (1..=1_500).map(|line| (line, "email-taken".to_owned())).collect();
    assert_eq!(rejections(&answer), expected);
    for name in [&names[0], &names[2_999]] {
        Person::log_in(&world.client, name, ITS_PASSWORD).await;
    }
}

pub async fn an_import_repeated_with_its_key_repeats_nothing(world: Arc<World>) {
    let names: Vec<String> = (0..20).map(|_| unique("again")).collect();
    let lines: Vec<String> = names.iter().map(|name| row(name).to_string()).collect();
    let key = unique("import-key");
    let first = import(&world, &world.admin, Some(&key), &lines[..12])
        .await
        .expect(200);
    assert_eq!(first.body["imported"], 12);
    // What an interrupted import had done is found, and the rest is done.
    let both = [0, 1].map(|_| import(&world, &world.admin, Some(&key), &lines));
    for answer in futures::future::join_all(both).await {
        let answer = answer.expect(200);
        assert_eq!(
            (answer.body["imported"].clone(), rejections(&answer)),
            (json!(20), vec![])
        );
    }
    // Under the same key another row on a line is another request.
    let other = unique("another");
    let answer = import(&world, &world.admin, Some(&key), &[row(&other).to_string()])
        .await
        .expect(200);
    assert_eq!(rejections(&answer), [(1, "idempotency-mismatch".to_owned())]);
    let answer = import(&world, &world.admin, None, &[row(&other).to_string()])
        .await
        .expect(200);
    assert_eq!(answer.body["imported"], 1);
}

pub async fn only_those_with_the_permission_import(world: Arc<World>) {
    let person = world.person("importer").await;
    let lines = [row(&unique("never")).to_string()];
    import(&world, &person, None, &lines).await.refused(P::Forbidden);
    let call = world
        .client
        .command("POST", "/v1/imports")
        .bearer(&world.admin.access_token);
    call.json(&json!({}))
        .send()
        .await
        .refused(P::UnsupportedMediaType);
}

/// A claim that was given up is over for ever; the line is not.
pub async fn a_line_rejected_as_taken_is_imported_once_the_name_is_free(world: Arc<World>) {
    let holder = world.person("holder").await;
    let (wanted, key) = (format!("{}@example.org", holder.name), unique("import-key"));
    let mut line = row(&unique("patient"));
    line["email"] = json!(wanted);
    let repeat = async |line: &Value| {
        let answer = import(&world, &world.admin, Some(&key), &[line.to_string()]).await;
        answer.expect(200)
    };
    let taken = [(1, "email-taken".to_owned())];
    for _ in 0..2 {
        assert_eq!(rejections(&repeat(&line).await), taken);
    }
    let move_to = async |address: String| {
        let body = json!({ "email": address, "current_password": holder.password });
        let path = format!("/v1/users/{}", holder.id);
        holder.command("PATCH", &path, body).await.expect(200);
    };
    // Free, taken and free again.
    let aside = format!("{}@example.org", unique("aside"));
    move_to(aside.clone()).await;
    move_to(wanted.clone()).await;
    assert_eq!(rejections(&repeat(&line).await), taken);
    move_to(aside).await;
    for _ in 0..2 {
        let answer = repeat(&line).await;
        assert_eq!(
            (rejections(&answer), &answer.body["imported"]),
            (vec![], &json!(1))
        );
    }
    let mismatch = [(1, "idempotency-mismatch".to_owned())];
    let other = row(&unique("another"));
    for _ in 0..2 {
        assert_eq!(rejections(&repeat(&other).await), mismatch);
    }
    let username = line["username"].as_str().unwrap();
    Person::log_in(&world.client, username, ITS_PASSWORD).await;
}
