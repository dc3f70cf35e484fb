//! What an investigator sees of an event, with and without keys.

#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use event_log::decode;
use replay::timeline::{PersonalData, RoleNames, Row};
use schemas::catalog::CatalogEvent;
use schemas::user::{RoleGranted, UserEvent, UserRegistered};
use schemas::{BlindIndex, ClaimId, DataKey, Event, Sha256Digest, UserId};
use support::Log;

struct Case {
    log: Log,
    user: UserId,
    key: DataKey,
    roles: RoleNames,
}

/// One user with the given address, who then got a role.
fn case(email: &str) -> Case {
    let (mut log, user, key) = (Log::new(), UserId::new_v7(), DataKey::generate());
    let seal = |field, text| key.seal(log.identity.created.log_id, user, field, text).unwrap();
    let index = BlindIndex(Sha256Digest::of(b"index"));
    let registered = UserEvent::Registered(UserRegistered {
        user_id: user,
        claim_id: ClaimId::new_v7(),
        username: seal("username", "alice"),
        username_index: index,
        email: seal("email", email),
        email_index: index,
        phone_number: None,
        password_hash: seal("password_hash", "$argon2id$secret"),
        email_verified: false,
        phone_verified: false,
    });
    let role = Log::role("editor");
    let CatalogEvent::RoleDefined(defined) = &role else {
        panic!("a role")
    };
    let granted = UserEvent::RoleGranted(RoleGranted::of(defined.role_id));
    let mut roles = RoleNames::default();
    roles.note(Event::Catalog(role.clone()));
    log.append(support::USERS, &user.to_string(), registered);
    log.append(support::USERS, &user.to_string(), granted);
    Case {
        log,
        user,
        key,
        roles,
    }
}

impl Case {
    fn rows(&self) -> Vec<Row> {
        let ids = &self.log.identity.schema_ids;
        self.log
            .records
            .iter()
            .map(|r| Row::of(r, decode(r, ids).unwrap()))
            .collect()
    }

    fn open(&self) -> PersonalData {
        PersonalData::Open {
            log: self.log.identity.created.log_id,
            user: self.user,
            key: self.key.clone(),
        }
    }

    fn lines(&self, data: &PersonalData) -> Vec<String> {
        self.rows()
            .iter()
            .map(|row| row.line(1_000, self.user, data, &self.roles))
            .collect()
    }

    fn json(&self, data: &PersonalData) -> Vec<serde_json::Value> {
        let line = |row: &Row| row.json(data, &self.roles).unwrap();
        self.rows()
            .iter()
            .map(|row| serde_json::from_str(&line(row)).unwrap())
            .collect()
    }
}

#[test]
fn without_a_key_no_personal_data_is_shown() {
    let case = case("alice@example.org");
    for (data, shown) in [
        (PersonalData::Sealed, "<sealed>"),
        (PersonalData::Erased, "<erased>"),
    ] {
        assert!(case.lines(&data)[0].ends_with(&format!("username={shown} email={shown}")));
        let json = case.json(&data);
        assert_eq!(
            (&json[0]["data"]["email"], &json[0]["data"]["phone_number"]),
            (&shown.into(), &().into())
        );
    }
}

#[test]
fn with_the_key_personal_data_is_shown_and_secrets_are_not() {
    let case = case("alice@example.org");
    let (lines, json) = (case.lines(&case.open()), case.json(&case.open()));
    assert!(
        lines[0].ends_with(r#"username="alice" email="alice@example.org""#),
        "{}",
        lines[0]
    );
    assert_eq!(json[0]["data"]["email"], "alice@example.org");
    assert_eq!(json[0]["data"]["password_hash"], "<sealed>");
    assert!(!lines.concat().contains("argon2"));
}

#[test]
fn what_someone_typed_cannot_fake_an_event() {
    let case = case("<sealed>\n2026-01-01T00:00:00.000000Z  7  user.role_granted");
    let lines = case.lines(&case.open());
    assert!(!lines[0].contains('\n'), "{}", lines[0]);
}

#[test]
fn a_role_is_shown_by_name_and_id() {
    let case = case("alice@example.org");
    let (lines, json) = (
        case.lines(&PersonalData::Sealed),
        case.json(&PersonalData::Sealed),
    );
    assert!(lines[1].contains("  role editor (0"), "{}", lines[1]);
    assert_eq!(json[1]["role_name"], "editor");
    assert_eq!(
        (&json[1]["event_type"], &json[1]["position"]["offset"]),
        (&"user.role_granted".into(), &1.into())
    );
    assert_eq!(json[1]["meta"]["sequence"], 2);
    assert_eq!(
        lines[0].find("user.registered"),
        lines[1].find("user.role_granted")
    );
}
