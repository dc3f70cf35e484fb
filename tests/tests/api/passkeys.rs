//! Passkeys: registering, signing in by one, and everything that must not pass for that.

use std::sync::Arc;

use schemas::Event;
use schemas::user::UserEvent;
use serde_json::{Value, json};
use service_kit::problem::ProblemType as P;
use tests::{Answer, PASSWORD, Person, SoftPasskey, World, unique};

use crate::totp::{log_in, step_up};

struct Owner {
    person: Person,
    passkey: SoftPasskey,
    credential_id: String,
}

fn path(person: &Person, what: &str) -> String {
    format!("/v1/users/{}/{what}", person.id)
}

async fn registration(person: &Person) -> Value {
    let body = json!({ "password": PASSWORD });
    person
        .command("POST", &path(person, "passkeys/options"), body)
        .await
        .expect(200)
        .body
}

async fn add(person: &Person, begun: &Value, credential: Value) -> Answer {
    let body = json!({ "ceremony": begun["ceremony"], "name": "her phone", "credential": credential });
    person.command("POST", &path(person, "passkeys"), body).await
}

impl Owner {
    async fn new(world: &World, name: &str) -> Self {
        Self::of(world.person(name).await).await
    }

    async fn of(person: Person) -> Self {
        let begun = registration(&person).await;
        let passkey = SoftPasskey::new(&begun["options"]);
        let added = add(&person, &begun, passkey.register(&begun["options"]))
            .await
            .expect(201);
        Self {
            person,
            passkey,
            credential_id: added.body["credential_id"].as_str().unwrap().to_owned(),
        }
    }
}

async fn challenge(world: &World, named: Value) -> Value {
    let call = world.client.command("POST", "/v1/sessions/passkey/options");
    call.json(&named).send().await.expect(200).body
}

async fn sign_in(world: &World, begun: &Value, credential: Value) -> Answer {
    let body = json!({ "ceremony": begun["ceremony"], "credential": credential });
    let call = world.client.command("POST", "/v1/sessions/passkey");
    call.json(&body).send().await
}

/// As the event of the sign-in has them.
async fn methods(world: &World, signed_in: &Answer) -> Vec<String> {
    let session_id = signed_in.body["session_id"].as_str().unwrap();
    let history = world.history().await;
    let mut events = history.events.into_iter().map(|(_, stored)| stored.data);
    let of_session = |event| match event {
        Event::User(UserEvent::LoggedIn(e)) if e.session_id.to_string() == session_id => Some(e.methods),
        _ => None,
    };
    events.find_map(of_session).unwrap()
}

pub async fn a_passkey_signs_in_without_name_and_password(world: Arc<World>) {
    let mut owner = Owner::new(&world, "with-passkey").await;
    let begun = challenge(&world, json!({})).await;
    assert_eq!(begun["options"]["publicKey"]["userVerification"], "required");
    let answer = owner.passkey.use_once(&begun["options"]);
    let signed_in = sign_in(&world, &begun, answer.clone()).await.expect(201);
    assert_eq!(signed_in.body["user_id"], json!(owner.person.id));
    assert_eq!(methods(&world, &signed_in).await, ["hwk", "user", "mfa"]);
    // Its challenge is answered.
    sign_in(&world, &begun, answer).await.refused(P::InvalidCeremony);
    // The session may at once do what needs a recent second factor.
    let mut person = owner.person.clone();
    person.session_id = signed_in.body["session_id"].as_str().unwrap().to_owned();
    person.access_token = signed_in.body["access_token"].as_str().unwrap().to_owned();
    let removed = path(&person, &format!("passkeys/{}", owner.credential_id));
    person
        .command("DELETE", &removed, json!({ "password": PASSWORD }))
        .await
        .expect(200);
    let begun = challenge(&world, json!({})).await;
    let answer = owner.passkey.use_once(&begun["options"]);
    sign_in(&world, &begun, answer)
        .await
        .refused(P::InvalidCredentials);
    log_in(&world, &person, json!({})).await.expect(201);
    let history = world.history().await;
    let names = history.names_of_user(person.id);
    for name in [
        "user.passkey_added",
        "user.passkey_counted",
        "user.passkey_removed",
    ] {
        assert!(names.contains(&name), "{name} in {names:?}");
    }
    for record in &history.records {
        let name = b"her phone";
        assert!(!record.value.windows(name.len()).any(|it| it == name));
    }
}

pub async fn a_named_user_is_asked_for_her_passkeys(world: Arc<World>) {
    let mut owner = Owner::new(&world, "named").await;
    let begun = challenge(&world, json!({ "username": owner.person.name })).await;
    let allowed = &begun["options"]["publicKey"]["allowCredentials"];
    assert_eq!(allowed[0]["id"], json!(owner.passkey.id()));
    let answer = owner.passkey.use_once(&begun["options"]);
    let signed_in = sign_in(&world, &begun, answer).await.expect(201);
    let own = owner
        .person
        .query(&path(&owner.person, "passkeys"), &signed_in.token())
        .await
        .expect(200);
    let passkey = &own.body["passkeys"][0];
    assert_eq!(passkey["name"], "her phone");
    assert_eq!(passkey["credential_id"], json!(owner.credential_id));
    assert!(passkey["last_used_at"].is_string());
}

pub async fn names_without_a_passkey_look_alike(world: Arc<World>) {
    let person = world.person("plain").await;
    for name in [person.name.clone(), unique("nobody")] {
        let named = json!({ "username": name });
        let options = |begun: &Value| begun["options"]["publicKey"]["allowCredentials"].clone();
        let (first, second) = (
            challenge(&world, named.clone()).await,
            challenge(&world, named).await,
        );
        assert_eq!(options(&first), options(&second));
        let passkey = Owner::new(&world, "somebody").await.passkey;
        let answer = passkey.answer(&first["options"]);
        sign_in(&world, &first, answer)
            .await
            .refused(P::InvalidCredentials);
    }
}

pub async fn a_passkey_is_a_second_factor_after_the_password(world: Arc<World>) {
    let mut owner = Owner::new(&world, "both").await;
    let asked = log_in(&world, &owner.person, json!({}))
        .await
        .refused(P::SecondFactorRequired);
    assert_eq!(asked.body["factors"], json!(["passkey"]));
    let begun = &asked.body["passkey"];
    let allowed = &begun["options"]["publicKey"]["allowCredentials"];
    assert_eq!(allowed[0]["id"], json!(owner.passkey.id()));
    let shown = json!({ "passkey": {
        "ceremony": begun["ceremony"],
        "credential": owner.passkey.use_once(&begun["options"]),
    } });
    let signed_in = log_in(&world, &owner.person, shown.clone()).await.expect(201);
    assert_eq!(methods(&world, &signed_in).await, ["pwd", "hwk", "user", "mfa"]);
    log_in(&world, &owner.person, shown)
        .await
        .refused(P::InvalidCeremony);
    // And in a session that is signed in.
    let begun = challenge(&world, json!({})).await;
    let shown = json!({ "passkey": {
        "ceremony": begun["ceremony"],
        "credential": owner.passkey.use_once(&begun["options"]),
    } });
    step_up(&owner.person, shown).await.expect(200);
}

pub async fn a_synchronised_passkey_is_told_as_software(world: Arc<World>) {
    let person = world.person("synchronised").await;
    let begun = registration(&person).await;
    let mut passkey = SoftPasskey::new(&begun["options"]);
    (passkey.is_synchronised, passkey.counter) = (true, 0);
    add(&person, &begun, passkey.register(&begun["options"]))
        .await
        .expect(201);
    // It does not count, however often it is used.
    for _ in 0..2 {
        let begun = challenge(&world, json!({})).await;
        let answer = passkey.answer(&begun["options"]);
        let signed_in = sign_in(&world, &begun, answer).await.expect(201);
        assert_eq!(methods(&world, &signed_in).await, ["swk", "user", "mfa"]);
    }
}

/// A way in which an authenticator or a page is not what it should be.
type Flaw = fn(&mut SoftPasskey);

const FLAWS: [(&str, Flaw); 4] = [
    ("another origin", |it| {
        it.origin = "https://evil.example".to_owned()
    }),
    ("another port", |it| {
        it.origin = "http://localhost:9999".to_owned()
    }),
    ("another domain", |it| {
        it.relying_party = "evil.example".to_owned()
    }),
    ("nobody verified", |it| it.verifies_user = false),
];

pub async fn what_does_not_fit_is_not_registered(world: Arc<World>) {
    let person = world.person("picky").await;
    for (name, flaw) in FLAWS {
        let begun = registration(&person).await;
        let mut passkey = SoftPasskey::new(&begun["options"]);
        flaw(&mut passkey);
        let answer = add(&person, &begun, passkey.register(&begun["options"])).await;
        assert_eq!(answer.slug(), "invalid-passkey", "{name}: {}", answer.text);
    }
    // The answer to one challenge under another, a challenge to sign in, and one of another session.
    let (one, other) = (registration(&person).await, registration(&person).await);
    let passkey = SoftPasskey::new(&one["options"]);
    let made = passkey.register(&one["options"]);
    add(&person, &other, made.clone())
        .await
        .refused(P::InvalidPasskey);
    let to_sign_in = challenge(&world, json!({})).await;
    add(&person, &to_sign_in, made.clone())
        .await
        .refused(P::InvalidCeremony);
    let second = Person::log_in(&world.client, &person.name, PASSWORD).await;
    add(&second, &one, made.clone()).await.refused(P::InvalidCeremony);
    let stranger = world.person("stranger").await;
    add(&stranger, &one, made.clone())
        .await
        .refused(P::InvalidCeremony);
    let text = one["ceremony"].as_str().unwrap();
    for forged in [
        "",
        "wc1.",
        "wc1.AAAA",
        &text[..text.len() - 4],
        &format!("{text}AAAA"),
    ] {
        let forged = json!({ "ceremony": forged });
        add(&person, &forged, made.clone())
            .await
            .refused(P::InvalidCeremony);
    }
    add(&person, &one, made.clone()).await.expect(201);
    add(&person, &one, made).await.refused(P::InvalidCeremony);
    let begun = registration(&person).await;
    let excluded = &begun["options"]["publicKey"]["excludeCredentials"];
    assert_eq!(excluded[0]["id"], json!(passkey.id()));
    add(&person, &begun, passkey.register(&begun["options"]))
        .await
        .refused(P::Conflict);
}

pub async fn what_does_not_fit_signs_nobody_in(world: Arc<World>) {
    let owner = Owner::new(&world, "guarded").await;
    for (name, flaw) in FLAWS {
        let begun = challenge(&world, json!({})).await;
        let mut passkey = owner.passkey.clone();
        passkey.counter += 1;
        flaw(&mut passkey);
        let answer = sign_in(&world, &begun, passkey.answer(&begun["options"])).await;
        assert_eq!(answer.slug(), "invalid-credentials", "{name}: {}", answer.text);
    }
    let mut passkey = owner.passkey.clone();
    passkey.counter += 1;
    // The answer to one challenge under another, and a challenge of a registration.
    let (one, other) = (
        challenge(&world, json!({})).await,
        challenge(&world, json!({})).await,
    );
    let answer = passkey.answer(&one["options"]);
    sign_in(&world, &other, answer.clone())
        .await
        .refused(P::InvalidCredentials);
    let stranger = Owner::new(&world, "thief").await;
    let to_register = registration(&stranger.person).await;
    sign_in(&world, &to_register, answer.clone())
        .await
        .refused(P::InvalidCeremony);
    // A key of another's under the owner's name, and the owner's id with another key.
    let posing = stranger.passkey.impostor(owner.passkey.user_handle());
    let forged = passkey.impostor(owner.passkey.user_handle());
    let renamed = {
        let mut answer = passkey.answer(&one["options"]);
        answer["response"]["userHandle"] = json!(stranger.passkey.user_handle());
        answer
    };
    for credential in [
        posing.answer(&one["options"]),
        forged.answer(&one["options"]),
        renamed,
    ] {
        sign_in(&world, &one, credential)
            .await
            .refused(P::InvalidCredentials);
    }
    // Another's passkey is no second factor of hers.
    let begun = challenge(&world, json!({})).await;
    let shown = json!({ "passkey": {
        "ceremony": begun["ceremony"],
        "credential": stranger.passkey.clone().use_once(&begun["options"]),
    } });
    log_in(&world, &owner.person, shown)
        .await
        .refused(P::WrongSecondFactor);
    sign_in(&world, &one, answer).await.expect(201);
}

pub async fn a_copied_passkey_is_refused_and_told(world: Arc<World>) {
    let mut owner = Owner::new(&world, "copied").await;
    let copy = owner.passkey.clone();
    let begun = challenge(&world, json!({})).await;
    let answer = owner.passkey.use_once(&begun["options"]);
    sign_in(&world, &begun, answer).await.expect(201);
    // The copy has not seen that.
    for counter in [0, 1, owner.passkey.counter] {
        let begun = challenge(&world, json!({})).await;
        let mut copy = copy.clone();
        copy.counter = counter;
        let refused = sign_in(&world, &begun, copy.answer(&begun["options"]))
            .await
            .refused(P::WrongSecondFactor);
        assert!(refused.body["detail"].as_str().unwrap().contains("copied"));
    }
    let told = path(&owner.person, "audit?limit=1");
    let audit = owner.person.query(&told, "latest").await.expect(200);
    let last = &audit.body["events"][0];
    assert_eq!(last["type"], "user.passkey_clone_suspected");
    assert_eq!(last["suspicious"], json!(true));
}

pub async fn the_last_passkey_goes_only_with_a_long_password(world: Arc<World>) {
    let owner = Owner::new(&world, "brief").await;
    let (person, short) = (&owner.person, "k4Zw!9qP");
    let change = json!({ "current_password": PASSWORD, "new_password": short });
    person
        .command("POST", &path(person, "password"), change)
        .await
        .expect(200);
    let passkey = path(person, &format!("passkeys/{}", owner.credential_id));
    let remove = async |password: &str| {
        person
            .command("DELETE", &passkey, json!({ "password": password }))
            .await
    };
    remove(short).await.refused(P::WeakPassword);
    let change = json!({ "current_password": short, "new_password": "another fine password" });
    person
        .command("POST", &path(person, "password"), change)
        .await
        .expect(200);
    remove("another fine password").await.expect(200);
    remove("another fine password").await.refused(P::NoSuchFactor);
}
