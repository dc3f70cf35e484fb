//! One question at a time.

use access_proto::v1::{CheckRequest, Subject};
use schemas::{Position, Timestamp, UserId};
use serde_json::json;
use tonic::{Code, Request};
use tonic_types::StatusExt as _;

use super::{Served, at_least, may_write, reason, with_token};
use crate::testing::{ADMIN, ALICE, BOB, EDITOR, NOBODY, TestApp};

#[tokio::test]
async fn a_grant_allows_and_its_revocation_denies() {
    let served = Served::start().await;
    let granted = served.test.grant(BOB, EDITOR, None);
    let answer = served.check(ADMIN, may_write(BOB)).await.unwrap();
    assert!(answer.decision);
    assert_eq!(
        (answer.reason.as_str(), answer.role_id),
        ("granted", EDITOR.to_string())
    );
    let token = answer.token.parse::<service_kit::ConsistencyToken>().unwrap();
    assert!(token.covers(&served.test.app.token([granted])));

    let revoked = served.test.revoke(BOB, EDITOR);
    let asked = at_least(may_write(BOB), served.test.token_of(revoked));
    let answer = served.check(ADMIN, asked).await.unwrap();
    assert!(!answer.decision);
    assert_eq!(
        (answer.reason.as_str(), answer.role_id.as_str()),
        ("no_grant", "")
    );
}

/// The same question over HTTP has the same answer.
#[tokio::test]
async fn both_doors_say_the_same() {
    let served = Served::start().await;
    served.test.grant(ALICE, EDITOR, Some(Timestamp::now()));
    served.test.grant(BOB, EDITOR, None);
    let users = [ADMIN, ALICE, BOB, NOBODY].map(|user: UserId| user.to_string());
    let subjects = users.iter().map(String::as_str).chain(["bob@example.org"]);
    let subjects = subjects.flat_map(|id| ["user", "robot"].map(|kind| (kind, id)));
    for (kind, id) in subjects {
        for action in ["write", "shred"] {
            let mut asked = may_write(BOB);
            asked.subject = Some(Subject {
                r#type: kind.to_owned(),
                id: id.to_owned(),
                properties: String::new(),
            });
            asked.action.as_mut().unwrap().name = action.to_owned();
            let answer = served.check(ADMIN, asked).await.unwrap();
            let body = json!({
                "subject": { "type": kind, "id": id },
                "action": { "name": action },
                "resource": { "type": "document", "id": "1" },
            });
            let request = served.test.post("/access/v1/evaluation", ADMIN, body.to_string());
            let over_http = served.test.send(request).await.body;
            let context = &over_http["context"];
            let expected = (
                over_http["decision"].as_bool().unwrap(),
                context["reason"].as_str().unwrap(),
                context["role_id"].as_str().unwrap_or_default(),
            );
            let found = (answer.decision, answer.reason.as_str(), answer.role_id.as_str());
            assert_eq!(found, expected, "{kind} {id} {action}");
        }
    }
}

#[tokio::test]
async fn nobody_asks_without_a_token_that_counts() {
    let served = Served::start().await;
    let mut access = served.access();
    let none = access.check(Request::new(may_write(BOB))).await.unwrap_err();
    assert_eq!(
        (none.code(), reason(&none)),
        (Code::Unauthenticated, "UNAUTHENTICATED".to_owned())
    );
    // Signed by somebody else, for a session that lives here.
    let foreign = TestApp::new().access_token(ADMIN);
    let old = Timestamp::from_micros(Timestamp::now().as_micros() - 301_000_000);
    let old = served.test.access_token_issued(ADMIN, old);
    for (token, expected) in [
        (foreign, "UNAUTHENTICATED"),
        (old, "TOKEN_EXPIRED"),
        ("x.y.z".to_owned(), "UNAUTHENTICATED"),
        ("rolecall_sk_AAAA".to_owned(), "UNAUTHENTICATED"),
    ] {
        let refused = access
            .check(with_token(&token, may_write(BOB)))
            .await
            .unwrap_err();
        assert_eq!(
            (refused.code(), reason(&refused).as_str()),
            (Code::Unauthenticated, expected)
        );
    }
    let mut twice = served.by(ADMIN, may_write(BOB));
    let other = twice.metadata().get("authorization").unwrap().clone();
    twice.metadata_mut().append("authorization", other);
    assert_eq!(
        access.check(twice).await.unwrap_err().code(),
        Code::Unauthenticated
    );

    served.test.log_out(ADMIN);
    let ended = served.check(ADMIN, may_write(BOB)).await.unwrap_err();
    assert_eq!(
        (ended.code(), reason(&ended)),
        (Code::Unauthenticated, "SESSION_ENDED".to_owned())
    );
}

#[tokio::test]
async fn only_permitted_callers_ask_about_others() {
    let served = Served::start().await;
    let refused = served.check(ALICE, may_write(BOB)).await.unwrap_err();
    assert_eq!(
        (refused.code(), reason(&refused)),
        (Code::PermissionDenied, "FORBIDDEN".to_owned())
    );
    assert!(refused.message().contains("rolecall.access_check"), "{refused}");
    assert!(!served.check(ALICE, may_write(ALICE)).await.unwrap().decision);
}

/// Leaves one part of a good question out, or makes it wrong.
type Spoil = fn(&mut CheckRequest);

#[tokio::test]
async fn what_is_wrong_with_a_question_is_named_by_its_field() {
    let served = Served::start().await;
    let spoiled: [(&str, Spoil); 15] = [
        ("subject", |asked| asked.subject = None),
        ("subject.type", |asked| {
            asked.subject.as_mut().unwrap().r#type.clear()
        }),
        ("subject.id", |asked| asked.subject.as_mut().unwrap().id.clear()),
        ("action", |asked| asked.action = None),
        ("action.name", |asked| asked.action.as_mut().unwrap().name.clear()),
        ("resource", |asked| asked.resource = None),
        ("resource.type", |asked| {
            asked.resource.as_mut().unwrap().r#type.clear()
        }),
        ("resource.id", |asked| asked.resource.as_mut().unwrap().id.clear()),
        ("subject.properties", |asked| {
            asked.subject.as_mut().unwrap().properties = "[null]".to_owned();
        }),
        ("subject.properties", |asked| {
            asked.subject.as_mut().unwrap().properties = "{".to_owned();
        }),
        ("action.properties", |asked| {
            asked.action.as_mut().unwrap().properties = "7".to_owned();
        }),
        ("resource.properties", |asked| {
            asked.resource.as_mut().unwrap().properties = "{} {}".to_owned();
        }),
        ("context", |asked| asked.context = "null".to_owned()),
        ("context", |asked| asked.context = "{\"a\": nothing}".to_owned()),
        ("context", |asked| {
            asked.context = format!("{{\"a\": {}", "[".repeat(50_000))
        }),
    ];
    for (field, spoil) in spoiled {
        let mut asked = may_write(BOB);
        spoil(&mut asked);
        let refused = served.check(ADMIN, asked).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{field}: {refused}");
        let details = refused.get_error_details();
        let named = &details.bad_request().unwrap().field_violations[0].field;
        assert_eq!(named, field);
    }
    let mut good = may_write(BOB);
    good.context = "{\"time\": [1, {}]}".to_owned();
    good.subject.as_mut().unwrap().properties = " {\"department\": \"x\"}".to_owned();
    served.check(ADMIN, good).await.unwrap();
}

#[tokio::test]
async fn a_message_that_is_too_large_is_refused() {
    let served = Served::start().await;
    let mut asked = may_write(BOB);
    asked.context = format!("{{\"padding\": \"{}\"}}", "x".repeat(70_000));
    let refused = served.check(ADMIN, asked).await.unwrap_err();
    assert_eq!(refused.code(), Code::OutOfRange, "{refused}");
}

#[tokio::test]
async fn tokens_of_another_log_and_broken_ones_are_refused() {
    let served = Served::start().await;
    let foreign = service_kit::ConsistencyToken::new(schemas::LogId::new_v7()).to_string();
    for (token, expected) in [
        (foreign.as_str(), "FOREIGN_TOKEN"),
        ("", "INVALID_TOKEN_HEADER"),
        ("rc1.*", "INVALID_TOKEN_HEADER"),
    ] {
        let refused = served
            .check(ADMIN, at_least(may_write(BOB), token))
            .await
            .unwrap_err();
        assert_eq!(
            (refused.code(), reason(&refused).as_str()),
            (Code::InvalidArgument, expected)
        );
    }
}

#[tokio::test]
async fn what_is_not_applied_yet_is_waited_for_and_then_refused() {
    let served = Served::start().await;
    let granted = served.test.grant(BOB, EDITOR, None);
    let next = Position {
        offset: granted.offset + 1,
        ..granted
    };
    let demanded = at_least(may_write(BOB), served.test.token_of(next));
    let refused = served.check(ADMIN, demanded.clone()).await.unwrap_err();
    assert_eq!(
        (refused.code(), reason(&refused)),
        (Code::Unavailable, "NOT_YET".to_owned())
    );
    assert!(refused.get_error_details().retry_info().is_some());

    assert_eq!(served.test.revoke(BOB, EDITOR), next);
    assert!(!served.check(ADMIN, demanded).await.unwrap().decision);
}
