//! Authenticator apps and recovery codes as second factors.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use futures::future::join_all;
use serde_json::{Value, json};
use service_kit::problem::ProblemType as P;
use tests::{Answer, PASSWORD, Person, World};
use totp_rs::{Builder, Secret};

/// Somebody with an app.
pub struct Enrolled {
    pub person: Person,
    secret: String,
    /// Of the last code shown.
    step: u64,
    pub recovery_codes: Vec<String>,
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn code(secret: &str, step: u64) -> String {
    let secret = Secret::try_from_base32(secret).unwrap();
    let totp = Builder::new().with_secret(secret).build().unwrap();
    totp.generate(step * 30).to_string()
}

fn path(person: &Person, what: &str) -> String {
    format!("/v1/users/{}/{what}", person.id)
}

async fn start(person: &Person) -> Answer {
    person
        .command("POST", &path(person, "totp"), json!({ "password": PASSWORD }))
        .await
}

async fn confirm(person: &Person, code: &str) -> Answer {
    person
        .command("POST", &path(person, "totp/confirm"), json!({ "code": code }))
        .await
}

pub async fn log_in(world: &World, person: &Person, more: Value) -> Answer {
    let mut body = json!({ "username": person.name, "password": person.password });
    for (field, value) in more.as_object().unwrap() {
        body[field] = value.clone();
    }
    let call = world.client.command("POST", "/v1/sessions");
    call.json(&body).send().await
}

pub async fn step_up(person: &Person, shown: Value) -> Answer {
    let session = &person.session_id;
    person
        .command("POST", &format!("/v1/sessions/{session}/step-up"), shown)
        .await
}

fn texts(value: &Value) -> Vec<String> {
    let texts = value.as_array().unwrap().iter();
    texts.map(|text| text.as_str().unwrap().to_owned()).collect()
}

impl Enrolled {
    /// By the code before the one of now, so that two more count without waiting.
    pub async fn new(world: &World, name: &str) -> Self {
        Self::of(world.person(name).await).await
    }

    pub async fn of(person: Person) -> Self {
        let started = start(&person).await.expect(201);
        let secret = started.body["secret"].as_str().unwrap().to_owned();
        let step = now() / 30 - 1;
        let confirmed = confirm(&person, &code(&secret, step)).await.expect(200);
        Self {
            recovery_codes: texts(&confirmed.body["recovery_codes"]),
            person,
            secret,
            step,
        }
    }

    /// A code that was not shown.
    pub fn next_code(&mut self) -> String {
        self.step = (now() / 30 - 1).max(self.step + 1);
        code(&self.secret, self.step)
    }

    /// Not the code of any time near.
    pub fn wrong_code(&self) -> String {
        let step = now() / 30;
        let near: Vec<String> = (step - 3..step + 4)
            .map(|step| code(&self.secret, step))
            .collect();
        let mut codes = (0..).map(|number| format!("{number:06}"));
        codes.find(|code| !near.contains(code)).unwrap()
    }
}

pub async fn an_authenticator_app_becomes_a_second_factor(world: Arc<World>) {
    let person = world.person("with-app").await;
    let wrong = json!({ "password": "not her password" });
    person
        .command("POST", &path(&person, "totp"), wrong)
        .await
        .refused(P::InvalidCredentials);
    confirm(&person, "000000").await.refused(P::Conflict);
    let started = start(&person).await.expect(201);
    let secret = started.body["secret"].as_str().unwrap().to_owned();
    let uri = started.body["otpauth_uri"].as_str().unwrap();
    assert!(uri.starts_with("otpauth://totp/Rolecall:with-app"), "{uri}");
    // Nothing has changed yet.
    log_in(&world, &person, json!({})).await.expect(201);
    let mut enrolled = Enrolled {
        secret: secret.clone(),
        step: 0,
        recovery_codes: vec![],
        person,
    };
    let person = enrolled.person.clone();
    confirm(&person, &enrolled.wrong_code())
        .await
        .refused(P::WrongSecondFactor);
    let first = enrolled.next_code();
    let confirmed = confirm(&person, &first).await.expect(200);
    let codes = texts(&confirmed.body["recovery_codes"]);
    assert_eq!(codes.len(), 10);
    assert!(codes.iter().all(|code| code.len() == 19), "{codes:?}");
    confirm(&person, &first).await.refused(P::Conflict);

    let asked = log_in(&world, &person, json!({}))
        .await
        .refused(P::SecondFactorRequired);
    assert_eq!(asked.body["factors"], json!(["totp_code", "recovery_code"]));
    // The code that confirmed is used up.
    log_in(&world, &person, json!({ "totp_code": first }))
        .await
        .refused(P::WrongSecondFactor);
    let code = enrolled.next_code();
    let signed_in = log_in(&world, &person, json!({ "totp_code": code }))
        .await
        .expect(201);
    log_in(&world, &person, json!({ "totp_code": code }))
        .await
        .refused(P::WrongSecondFactor);
    let account = person
        .query(&format!("/v1/users/{}", person.id), &signed_in.token())
        .await;
    assert_eq!(account.expect(200).body["totp_enabled"], json!(true));
    // The log has neither secret nor codes in plain.
    let history = world.history().await;
    let secrets: Vec<String> = codes
        .iter()
        .map(|code| code.replace('-', ""))
        .chain([secret])
        .collect();
    for record in &history.records {
        for secret in &secrets {
            let found = record
                .value
                .windows(secret.len())
                .any(|it| it == secret.as_bytes());
            assert!(!found, "{:?}", record.offset);
        }
    }
    let names = history.names_of_user(person.id);
    assert!(names.contains(&"user.totp_enrolment_started") && names.contains(&"user.totp_enabled"));
}

pub async fn only_who_knows_the_password_learns_of_a_second_factor(world: Arc<World>) {
    let mut enrolled = Enrolled::new(&world, "discreet").await;
    let code = enrolled.next_code();
    let mut person = enrolled.person.clone();
    person.password = "not her password".to_owned();
    for shown in [
        json!({}),
        json!({ "totp_code": code }),
        json!({ "recovery_code": enrolled.recovery_codes[0] }),
    ] {
        let refused = log_in(&world, &person, shown)
            .await
            .refused(P::InvalidCredentials);
        assert_eq!(refused.body.get("factors"), None);
    }
    // Neither was used up by that.
    log_in(&world, &enrolled.person, json!({ "totp_code": code }))
        .await
        .expect(201);
}

pub async fn two_factors_at_once_are_refused(world: Arc<World>) {
    let enrolled = Enrolled::new(&world, "eager").await;
    let both = json!({ "totp_code": "123456", "recovery_code": enrolled.recovery_codes[0] });
    log_in(&world, &enrolled.person, both.clone())
        .await
        .refused(P::InvalidBody);
    step_up(&enrolled.person, both).await.refused(P::InvalidBody);
    step_up(&enrolled.person, json!({})).await.refused(P::InvalidBody);
}

pub async fn of_many_sign_ins_with_one_code_one_counts(world: Arc<World>) {
    let mut enrolled = Enrolled::new(&world, "racing").await;
    for field in ["totp_code", "recovery_code"] {
        let code = match field {
            "totp_code" => enrolled.next_code(),
            _ => enrolled.recovery_codes[3].clone(),
        };
        let tries = (0..4).map(|_| log_in(&world, &enrolled.person, json!({ field: code })));
        let answers = join_all(tries).await;
        let good = answers.iter().filter(|answer| answer.status == 201).count();
        assert_eq!(good, 1, "{field}");
        let refused = answers
            .iter()
            .filter(|answer| answer.slug() == "wrong-second-factor")
            .count();
        assert_eq!(refused, 3, "{field}");
    }
}

pub async fn a_recovery_code_works_once_and_new_ones_void_the_rest(world: Arc<World>) {
    let enrolled = Enrolled::new(&world, "without-phone").await;
    let (person, codes) = (&enrolled.person, &enrolled.recovery_codes);
    let spelled = codes[0].to_lowercase().replace('-', " ");
    log_in(&world, person, json!({ "recovery_code": spelled }))
        .await
        .expect(201);
    log_in(&world, person, json!({ "recovery_code": codes[0] }))
        .await
        .refused(P::WrongSecondFactor);
    let replaced = person
        .command(
            "POST",
            &path(person, "recovery-codes"),
            json!({ "password": PASSWORD }),
        )
        .await
        .expect(200);
    let new = texts(&replaced.body["recovery_codes"]);
    assert!(new.iter().all(|code| !codes.contains(code)));
    log_in(&world, person, json!({ "recovery_code": codes[1] }))
        .await
        .refused(P::WrongSecondFactor);
    log_in(&world, person, json!({ "recovery_code": new[1] }))
        .await
        .expect(201);
    let stranger = world.person("factorless").await;
    stranger
        .command(
            "POST",
            &path(&stranger, "recovery-codes"),
            json!({ "password": PASSWORD }),
        )
        .await
        .refused(P::NoSuchFactor);
}

pub async fn wrong_codes_lock_like_wrong_passwords(world: Arc<World>) {
    let mut enrolled = Enrolled::new(&world, "guessed").await;
    let wrong = enrolled.wrong_code();
    for shown in [
        "totp_code",
        "recovery_code",
        "totp_code",
        "recovery_code",
        "totp_code",
    ] {
        log_in(&world, &enrolled.person, json!({ shown: wrong }))
            .await
            .refused(P::WrongSecondFactor);
    }
    let code = enrolled.next_code();
    log_in(&world, &enrolled.person, json!({ "totp_code": code }))
        .await
        .refused(P::UserLocked);
    let history = world.history().await;
    assert_eq!(
        history.names_of_user(enrolled.person.id).last(),
        Some(&"user.locked")
    );
    assert_eq!(
        history.failures_of_user(enrolled.person.id).iter().sum::<i32>(),
        5
    );
}

pub async fn a_lost_answer_gives_the_same_recovery_codes(world: Arc<World>) {
    let person = world.person("interrupted").await;
    let secret = start(&person).await.expect(201).body["secret"]
        .as_str()
        .unwrap()
        .to_owned();
    let step = now() / 30 - 1;
    let again = async |code: String| {
        let call = world.client.command("POST", &path(&person, "totp/confirm"));
        let call = call
            .bearer(&person.access_token)
            .header("idempotency-key", "confirm");
        call.json(&json!({ "code": code })).send().await
    };
    let first = again(code(&secret, step)).await.expect(200);
    let second = again(code(&secret, step)).await.expect(200);
    assert_eq!(first.body["recovery_codes"], second.body["recovery_codes"]);
    again(code(&secret, step + 1))
        .await
        .refused(P::IdempotencyMismatch);
    let names = world.history().await.names_of_user(person.id);
    assert_eq!(
        names.iter().filter(|name| **name == "user.totp_enabled").count(),
        1
    );
}

pub async fn sensitive_calls_need_a_recent_second_factor(world: Arc<World>) {
    let person = world.person("careful").await;
    let earlier = Person::log_in(&world.client, &person.name, PASSWORD).await;
    let mut enrolled = Enrolled::of(person).await;
    let change = |password: &str| json!({ "current_password": PASSWORD, "new_password": password });
    let refused = earlier
        .command(
            "POST",
            &path(&earlier, "password"),
            change("another fine password"),
        )
        .await
        .refused(P::StepUpRequired);
    let challenge = refused.header("www-authenticate");
    assert!(
        challenge.contains("insufficient_user_authentication"),
        "{challenge}"
    );
    let remove = json!({ "password": PASSWORD });
    earlier
        .command("DELETE", &path(&earlier, "totp"), remove)
        .await
        .refused(P::StepUpRequired);
    start(&earlier).await.refused(P::StepUpRequired);
    // Somebody else's session is not stepped up by this one.
    let other = format!("/v1/sessions/{}/step-up", enrolled.person.session_id);
    let shown = json!({ "totp_code": enrolled.next_code() });
    earlier
        .command("POST", &other, shown.clone())
        .await
        .refused(P::Forbidden);
    step_up(&earlier, shown.clone()).await.expect(200);
    step_up(&earlier, shown).await.refused(P::WrongSecondFactor);
    earlier
        .command(
            "POST",
            &path(&earlier, "password"),
            change("another fine password"),
        )
        .await
        .expect(200);
    let names = world.history().await.names_of_user(earlier.id);
    assert!(names.contains(&"user.session_stepped_up"));
}

pub async fn the_owner_disables_it_with_password_and_factor(world: Arc<World>) {
    let person = world.person("leaving").await;
    let earlier = Person::log_in(&world.client, &person.name, PASSWORD).await;
    let mut enrolled = Enrolled::of(person).await;
    let remove = async |body: Value| earlier.command("DELETE", &path(&earlier, "totp"), body).await;
    remove(json!({})).await.refused(P::InvalidBody);
    remove(json!({ "password": "not her password", "totp_code": "1" }))
        .await
        .refused(P::InvalidCredentials);
    remove(json!({ "password": PASSWORD, "totp_code": enrolled.wrong_code() }))
        .await
        .refused(P::WrongSecondFactor);
    remove(json!({ "password": PASSWORD, "totp_code": enrolled.next_code() }))
        .await
        .expect(200);
    let signed_in = log_in(&world, &earlier, json!({})).await.expect(201);
    let account = earlier
        .query(&format!("/v1/users/{}", earlier.id), &signed_in.token())
        .await;
    assert_eq!(account.expect(200).body["totp_enabled"], json!(false));
    // What was enrolled is a factor no more, nor is a code that stood in for it.
    let late = json!({ "recovery_code": enrolled.recovery_codes[5] });
    log_in(&world, &earlier, late).await.refused(P::WrongSecondFactor);
}

pub async fn an_administrator_takes_lost_factors_away(world: Arc<World>) {
    let enrolled = Enrolled::new(&world, "locked-out").await;
    let person = &enrolled.person;
    let stranger = world.person("meddler").await;
    stranger
        .command("DELETE", &path(person, "totp"), Value::Null)
        .await
        .refused(P::Forbidden);
    world
        .admin
        .command("DELETE", &path(person, "totp"), Value::Null)
        .await
        .expect(200);
    log_in(&world, person, json!({})).await.expect(201);
    let nobody = format!("/v1/users/{}/totp", uuid::Uuid::now_v7());
    world
        .admin
        .command("DELETE", &nobody, Value::Null)
        .await
        .refused(P::NoSuchUser);
}

pub async fn others_do_not_enrol_for_somebody(world: Arc<World>) {
    let person = world.person("alone").await;
    for what in ["totp", "passkeys/options", "recovery-codes"] {
        let body = json!({ "password": PASSWORD });
        world
            .admin
            .command("POST", &path(&person, what), body)
            .await
            .refused(P::Forbidden);
    }
}
