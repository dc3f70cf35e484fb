//! What people get by mail, and what comes back.

use std::sync::Arc;

use futures::future::join_all;
use local_stack::Mail;
use serde_json::{Value, json};
use service_kit::problem::ProblemType as P;
use tests::{Answer, PASSWORD, Person, World, unique};

const NEW_PASSWORD: &str = "something else altogether";

fn address(person: &Person) -> String {
    format!("{}@example.org", person.name)
}

/// The token in the link of a mail.
fn token(mail: &Mail) -> String {
    // Long lines are broken by quoted-printable.
    let text = mail.text.replace("=\n", "").replace("=3D", "=");
    let token = text
        .split("#token=")
        .nth(1)
        .unwrap_or_else(|| panic!("no token in {text}"));
    token.split_whitespace().next().unwrap().to_owned()
}

fn subject(mail: &Mail) -> &str {
    mail.header("Subject").unwrap()
}

async fn ask_for_reset(world: &World, email: &str) -> Answer {
    let call = world.client.command("POST", "/v1/password-resets");
    call.json(&json!({ "email": email })).send().await
}

async fn reset(world: &World, token: &str, password: &str) -> Answer {
    let body = json!({ "token": token, "new_password": password });
    let call = world.client.command("POST", "/v1/password-resets/confirm");
    call.json(&body).send().await
}

async fn log_in(world: &World, name: &str, password: &str) -> Answer {
    let body = json!({ "username": name, "password": password });
    world
        .client
        .command("POST", "/v1/sessions")
        .json(&body)
        .send()
        .await
}

async fn post(person: &Person, what: &str, body: Value) -> Answer {
    let path = format!("/v1/users/{}/{what}", person.id);
    person.command("POST", &path, body).await
}

async fn row(world: &World, person: &Person) -> Value {
    let path = format!("/v1/users/{}", person.id);
    world.admin.query(&path, "latest").await.expect(200).body
}

pub async fn an_address_is_verified_with_the_token_from_the_mail(world: Arc<World>) {
    let (person, other) = (world.person("verifies").await, world.person("clicks").await);
    assert_eq!(row(&world, &person).await["email_verified"], json!(false));
    post(&person, "email/verification", Value::Null).await.expect(200);
    post(&person, "email/verification", Value::Null).await.expect(200);
    let mails = world.rolecall.mail().wait_for(&address(&person), 1).await;
    assert!(subject(&mails[0]).contains("Confirm your e-mail address"));
    // The newest token is the one that counts; the first may never have been sent.
    let newest = || async {
        let mails = world.rolecall.mail().to(&address(&person));
        token(mails.last().unwrap())
    };
    let confirm = |token: String| json!({ "token": token });
    post(&other, "email/confirm", confirm(newest().await))
        .await
        .refused(P::InvalidOneTimeToken);
    post(&other, "email/verification", Value::Null).await.expect(200);
    let path = format!("/v1/users/{}/email/confirm", person.id);
    other
        .command("POST", &path, confirm(newest().await))
        .await
        .refused(P::Forbidden);
    let mut answer = post(&person, "email/confirm", confirm(newest().await)).await;
    while answer.status == 400 {
        // The mail with the second token is still on its way.
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        answer = post(&person, "email/confirm", confirm(newest().await)).await;
    }
    answer.expect(200);
    assert_eq!(row(&world, &person).await["email_verified"], json!(true));
    post(&person, "email/confirm", confirm(newest().await))
        .await
        .refused(P::InvalidOneTimeToken);
    // Another address is not verified.
    let body = json!({ "email": format!("{}@example.org", unique("moved")), "current_password": PASSWORD });
    person
        .command("PATCH", &format!("/v1/users/{}", person.id), body)
        .await
        .expect(200);
    assert_eq!(row(&world, &person).await["email_verified"], json!(false));
}

pub async fn a_phone_number_is_verified_with_a_code_in_a_few_tries(world: Arc<World>) {
    let person = world.person("phones").await;
    post(&person, "phone/verification", Value::Null)
        .await
        .refused(P::Conflict);
    let number: u32 = rand::random_range(10_000_000..99_999_999);
    let body = json!({ "phone_number": format!("+49 {number}") });
    person
        .command("PATCH", &format!("/v1/users/{}", person.id), body)
        .await
        .expect(200);
    let inbox = format!("49{number}@sms.example.org");
    let code = async |count: usize| {
        let mails = world.rolecall.mail().wait_for(&inbox, count).await;
        let text = mails
            .last()
            .unwrap()
            .text
            .split("\n\n")
            .nth(1)
            .unwrap()
            .to_owned();
        let code = text.split_whitespace().next().unwrap().to_owned();
        assert!(
            code.len() == 6 && code.bytes().all(|b| b.is_ascii_digit()),
            "{text}"
        );
        code
    };
    let confirm = |code: &str| json!({ "code": code });
    post(&person, "phone/verification", Value::Null).await.expect(200);
    let first = code(1).await;
    let wrong = if first == "000000" { "000001" } else { "000000" };
    for _ in 0..5 {
        post(&person, "phone/confirm", confirm(wrong))
            .await
            .refused(P::InvalidOneTimeToken);
    }
    post(&person, "phone/confirm", confirm(&first))
        .await
        .refused(P::InvalidOneTimeToken);
    post(&person, "phone/verification", Value::Null).await.expect(200);
    let second = code(2).await;
    post(&person, "phone/confirm", confirm(&second)).await.expect(200);
    assert_eq!(row(&world, &person).await["phone_verified"], json!(true));
    let history = world.history().await;
    let failed = history.names_of_user(person.id);
    let failed = failed
        .iter()
        .filter(|it| **it == "user.phone_verification_failed")
        .count();
    assert_eq!(failed, 5);
}

pub async fn a_forgotten_password_is_reset_once_and_every_session_ends(world: Arc<World>) {
    let person = world.person("forgets").await;
    ask_for_reset(&world, &address(&person)).await.expect(202);
    let mails = world.rolecall.mail().wait_for(&address(&person), 1).await;
    let old = token(&mails[0]);
    ask_for_reset(&world, &address(&person)).await.expect(202);
    let mails = world.rolecall.mail().wait_for(&address(&person), 2).await;
    let newer = token(&mails[1]);
    reset(&world, &old, NEW_PASSWORD)
        .await
        .refused(P::InvalidOneTimeToken);
    reset(&world, &newer, "short").await.refused(P::WeakPassword);
    // Of two at once one wins.
    let answers = join_all([
        reset(&world, &newer, NEW_PASSWORD),
        reset(&world, &newer, "and yet another one"),
    ])
    .await;
    let won = answers.iter().position(|it| it.status == 200).unwrap();
    assert_eq!(answers[1 - won].slug(), "invalid-one-time-token");
    let password = [NEW_PASSWORD, "and yet another one"][won];
    log_in(&world, &person.name, PASSWORD)
        .await
        .refused(P::InvalidCredentials);
    log_in(&world, &person.name, password).await.expect(201);
    let refresh = json!({ "refresh_token": person.refresh_token });
    let call = world
        .client
        .command("POST", "/v1/sessions/refresh")
        .json(&refresh);
    call.send().await.refused(P::SessionEnded);
    let mails = world.rolecall.mail().wait_for(&address(&person), 3).await;
    assert!(subject(&mails[2]).contains("Your password was reset"));
    let history = world.history().await;
    for record in &history.records {
        for secret in [&newer, &old] {
            assert!(!contains(&record.value, secret.as_bytes()), "a token in the log");
        }
    }
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|it| it == needle)
}

pub async fn a_reset_ends_a_lock_and_dies_with_the_password(world: Arc<World>) {
    let person = world.person("locked-out").await;
    for _ in 0..5 {
        log_in(&world, &person.name, "wrong")
            .await
            .refused(P::InvalidCredentials);
    }
    ask_for_reset(&world, &address(&person)).await.expect(202);
    let mails = world.rolecall.mail().wait_for(&address(&person), 2).await;
    assert!(
        mails
            .iter()
            .any(|mail| subject(mail).contains("Sign-in is locked"))
    );
    let is_reset = |mail: &&Mail| subject(mail).contains("Set a new password");
    let first = token(mails.iter().find(is_reset).unwrap());
    reset(&world, &first, NEW_PASSWORD).await.expect(200);
    let again = log_in(&world, &person.name, NEW_PASSWORD).await.expect(201);
    ask_for_reset(&world, &address(&person)).await.expect(202);
    let mails = world.rolecall.mail().wait_for(&address(&person), 4).await;
    let second = token(mails.iter().rfind(is_reset).unwrap());
    assert_ne!(first, second);
    let body = json!({ "current_password": NEW_PASSWORD, "new_password": "a third phrase, long enough" });
    let path = format!("/v1/users/{}/password", person.id);
    let call = world
        .client
        .command("POST", &path)
        .bearer(again.body["access_token"].as_str().unwrap());
    call.json(&body).send().await.expect(200);
    reset(&world, &second, NEW_PASSWORD)
        .await
        .refused(P::InvalidOneTimeToken);
}

pub async fn who_resets_the_password_signs_in_though_others_guess(world: Arc<World>) {
    let person = world.person("besieged").await;
    ask_for_reset(&world, &address(&person)).await.expect(202);
    let mails = world.rolecall.mail().wait_for(&address(&person), 1).await;
    let done = reset(&world, &token(&mails[0]), NEW_PASSWORD).await.expect(200);
    for _ in 0..5 {
        log_in(&world, &person.name, "wrong")
            .await
            .refused(P::InvalidCredentials);
    }
    log_in(&world, &person.name, NEW_PASSWORD)
        .await
        .refused(P::UserLocked);
    let body = json!({
        "username": person.name, "password": NEW_PASSWORD, "device_token": done.body["device_token"],
    });
    let call = world.client.command("POST", "/v1/sessions");
    let session = call.json(&body).send().await.expect(201);
    // It counts as a new device all the same.
    let path = format!("/v1/users/{}/audit", person.id);
    let trail = world.admin.query(&path, &session.token()).await.expect(200);
    let events = trail.body["events"].as_array().unwrap();
    assert_eq!(events[0]["type"], "user.logged_in");
    assert!(events[0]["risk_score"].as_i64().unwrap() >= 75, "{}", events[0]);
}

pub async fn a_lost_answer_to_a_reset_is_given_again(world: Arc<World>) {
    let person = world.person("lost-reset").await;
    ask_for_reset(&world, &address(&person)).await.expect(202);
    let mails = world.rolecall.mail().wait_for(&address(&person), 1).await;
    let body = |password: &str| json!({ "token": token(&mails[0]), "new_password": password });
    let call = |password: &str| {
        let call = world.client.command("POST", "/v1/password-resets/confirm");
        call.key("lost").json(&body(password)).send()
    };
    let first = call(NEW_PASSWORD).await.expect(200).token();
    assert_eq!(call(NEW_PASSWORD).await.expect(200).token(), first);
    call("not the one that was set")
        .await
        .refused(P::InvalidOneTimeToken);
}

pub async fn whether_an_address_is_known_is_not_told(world: Arc<World>) {
    let (person, gone) = (world.person("known-here").await, world.person("left").await);
    let path = format!("/v1/users/{}/deactivate", gone.id);
    world.admin.command("POST", &path, Value::Null).await.expect(200);
    let mut answers = Vec::new();
    for email in [
        address(&person),
        address(&gone),
        format!("{}@example.org", unique("nobody")),
    ] {
        let answer = ask_for_reset(&world, &email).await.expect(202);
        let mut names: Vec<String> = answer.headers.keys().map(ToString::to_string).collect();
        names.sort();
        answers.push((answer.body, names));
    }
    assert!(answers.iter().all(|it| *it == answers[0]), "{answers:?}");
    world.rolecall.mail().wait_for(&address(&person), 1).await;
    // By now the others would have come too: all were asked for before.
    assert!(world.rolecall.mail().to(&address(&gone)).is_empty());
    ask_for_reset(&world, "no address").await.refused(P::InvalidEmail);
    // By the hour, known or not.
    for email in [address(&person), format!("{}@example.org", unique("nobody"))] {
        let mut refused = None;
        for _ in 0..40 {
            let answer = ask_for_reset(&world, &email).await;
            if answer.status == 429 {
                refused = Some(answer);
                break;
            }
        }
        refused.unwrap().refused(P::TooManyAttempts);
    }
}

pub async fn who_changed_what_is_told_to_the_former_address_too(world: Arc<World>) {
    let person = world.person("noticed").await;
    let new = format!("{}@example.org", unique("noticed-at"));
    let body = json!({ "email": new, "current_password": PASSWORD });
    person
        .command("PATCH", &format!("/v1/users/{}", person.id), body)
        .await
        .expect(200);
    let former = world.rolecall.mail().wait_for(&address(&person), 1).await;
    assert!(subject(&former[0]).contains("Your e-mail address was changed"));
    let current = world.rolecall.mail().wait_for(&new, 1).await;
    assert!(subject(&current[0]).contains("This is your e-mail address now"));
    let body = json!({ "current_password": PASSWORD, "new_password": NEW_PASSWORD });
    post(&person, "password", body).await.expect(200);
    let current = world.rolecall.mail().wait_for(&new, 2).await;
    assert!(subject(&current[1]).contains("Your password was changed"));
    assert_eq!(current[1].header("Auto-Submitted"), Some("auto-generated"));
    assert_ne!(current[0].header("Message-ID"), current[1].header("Message-ID"));
    assert_eq!(world.rolecall.mail().to(&address(&person)).len(), 1);
}

pub async fn a_busy_mail_server_gets_it_again_and_one_that_refuses_does_not(world: Arc<World>) {
    let (busy, refused, other) = (
        world.person("grey").await,
        world.person("no-box").await,
        world.person("fine").await,
    );
    let mail = world.rolecall.mail();
    mail.refuse(&address(&busy), 451, 3);
    mail.refuse(&address(&refused), 550, 1);
    for person in [&busy, &refused, &other] {
        ask_for_reset(&world, &address(person)).await.expect(202);
    }
    mail.wait_for(&address(&other), 1).await;
    mail.wait_for(&address(&busy), 1).await;
    assert!(mail.refused() >= 4);
    assert!(mail.to(&address(&refused)).is_empty());
    let metrics = world
        .client
        .command("GET", "/metrics")
        .send()
        .await
        .expect(200)
        .text;
    assert!(metrics.contains("messages_refused_total"), "{metrics}");
    let log = std::fs::read_to_string(world.rolecall.command().log()).unwrap();
    assert!(!log.contains(&address(&refused)) && log.contains("was refused: the mail server answers 550"));
}
