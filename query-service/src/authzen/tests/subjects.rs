//! Who may do something, by the rows of a real PostgreSQL and the node's memory.

use std::collections::BTreeSet;
use std::time::Duration;

use domain::access::Query;
use schemas::{RoleId, Timestamp, UserId};
use serde_json::{Value, json};
use uuid::Uuid;

use super::ask;
use super::search::SUBJECT;
use crate::testing::{ADMIN, ALICE, BOB, EDITOR, TestApp, catch_up, one_shard, project_grants, registered};

fn may_write() -> Value {
    json!({
        "subject": { "type": "user" },
        "action": { "name": "write" },
        "resource": { "type": "document", "id": "1" },
    })
}

fn user(number: u128) -> UserId {
    // Spread like real ids, in no order of their numbers.
    UserId::from_uuid(Uuid::from_u128(
        number.wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835),
    ))
}

/// All pages, and how many there were.
async fn pages(test: &TestApp, limit: usize) -> (Vec<UserId>, usize) {
    let mut body = may_write();
    body["page"] = json!({ "limit": limit });
    let mut found = Vec::new();
    for count in 1.. {
        let answer = ask(test, SUBJECT, ADMIN, &body).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let results = answer.body["results"].as_array().unwrap();
        assert_eq!(answer.body["page"]["count"], results.len());
        assert!(results.len() <= limit);
        for result in results {
            assert_eq!(result["type"], "user");
            found.push(result["id"].as_str().unwrap().parse().unwrap());
        }
        let next = answer.body["page"]["next_token"].as_str().unwrap();
        if next.is_empty() {
            return (found, count);
        }
        body["page"] = json!({ "token": next });
    }
    unreachable!()
}

fn allowed(test: &TestApp, users: &[UserId]) -> Vec<UserId> {
    let writing = Query {
        resource: "document",
        id: Some("1"),
        action: "write",
    };
    let may = |user: &&UserId| test.app.node.check(**user, writing, Timestamp::now()).allowed;
    let allowed: BTreeSet<_> = users.iter().filter(may).copied().collect();
    allowed.into_iter().collect()
}

/// Of four ledgers: some were revoked since, some are inactive, some grants have expired.
#[tokio::test]
async fn pages_are_together_all_who_may_each_once_and_in_order() {
    let (stack, dsn, pool) = one_shard().await;
    let test = TestApp::with_shard(&dsn, None);
    let users: Vec<UserId> = (1..=1_000).map(user).collect();
    for user in &users {
        test.fed.user(*user, &registered(*user));
        test.grant(*user, EDITOR, None);
    }
    project_grants(&pool, &test, &users, EDITOR).await;
    for (number, user) in users.iter().enumerate() {
        match number % 10 {
            0 => drop(test.revoke(*user, EDITOR)),
            1 => drop(test.deactivate(*user)),
            2 => drop(test.grant(*user, EDITOR, Some(Timestamp::now()))),
            _ => {}
        }
    }
    catch_up(&pool, &test).await;
    let expected = allowed(&test, &users);
    assert_eq!(expected.len(), 700);
    for limit in [7, 350, 699, 700, 701, 5_000] {
        let (found, count) = pages(&test, limit).await;
        assert!(found == expected, "limit {limit}");
        let pages = 700_usize.div_ceil(limit.min(1_000));
        assert_eq!(count, pages, "limit {limit}");
    }
    let answer = ask(&test, SUBJECT, ADMIN, &may_write()).await;
    assert_eq!(answer.body["page"]["count"], 50);
    assert_eq!(answer.body["page"].get("total"), None);
    the_searched_id_is_ignored(&test).await;
    no_limit_finds_nobody(&test).await;
    stack.shutdown().await.unwrap();
}

async fn the_searched_id_is_ignored(test: &TestApp) {
    let whole = ask(test, SUBJECT, ADMIN, &may_write()).await;
    for id in [json!(BOB), json!("alice"), json!(7), json!({})] {
        let mut body = may_write();
        body["subject"]["id"] = id;
        assert_eq!(ask(test, SUBJECT, ADMIN, &body).await.body, whole.body);
    }
    // One page may name it, and the next another.
    let mut body = may_write();
    body["subject"]["id"] = json!("x");
    body["page"] = json!({ "token": whole.body["page"]["next_token"] });
    assert_eq!(ask(test, SUBJECT, ADMIN, &body).await.status, 200);
}

async fn no_limit_finds_nobody(test: &TestApp) {
    let mut body = may_write();
    body["page"] = json!({ "limit": 0 });
    let answer = ask(test, SUBJECT, ADMIN, &body).await;
    assert_eq!(answer.body["results"], json!([]));
    assert_ne!(answer.body["page"]["next_token"], "");
}

/// Rows that no longer give anything take no longer than a page may.
#[tokio::test]
async fn a_page_ends_early_rather_than_look_at_everybody() {
    let (stack, dsn, pool) = one_shard().await;
    let test = TestApp::with_shard(&dsn, None);
    let users: Vec<UserId> = (1..=1_200).map(user).collect();
    project_grants(&pool, &test, &users, EDITOR).await;
    let last = *users.iter().max().unwrap();
    test.fed.user(last, &registered(last));
    test.grant(last, EDITOR, None);
    catch_up(&pool, &test).await;
    let (found, count) = pages(&test, 10).await;
    assert_eq!(found, [last]);
    // 512 are looked at for each of the first two.
    assert_eq!(count, 3);
    stack.shutdown().await.unwrap();
}

#[tokio::test]
async fn whoever_may_is_waited_for_and_never_missed() {
    let (stack, dsn, pool) = one_shard().await;
    let test = TestApp::with_shard(&dsn, None);
    catch_up(&pool, &test).await;
    let found = async |at_least: Option<String>| {
        let mut request = test.post(SUBJECT, ADMIN, may_write().to_string());
        if let Some(at_least) = at_least {
            let header = at_least.parse().unwrap();
            request.headers_mut().insert("rolecall-at-least", header);
        }
        test.send(request).await
    };
    let answer = found(None).await;
    assert_eq!(answer.body["results"], json!([]), "{}", answer.text);
    let everything: Vec<_> = (0..test.app.shards.ledgers())
        .flat_map(|ledger| test.app.node.basis_of_ledger(ledger))
        .collect();
    assert_eq!(
        answer.header("rolecall-token"),
        test.app.token(everything).to_string()
    );

    // The node has the grant, and the shard has not.
    let granted = test.grant(BOB, EDITOR, None);
    for at_least in [None, Some("latest".to_owned()), Some(test.token_of(granted))] {
        let answer = found(at_least).await;
        assert_eq!((answer.status, answer.header("retry-after")), (503, "1"));
    }
    let projector = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        project_grants(&pool, &test, &[BOB], EDITOR).await;
        catch_up(&pool, &test).await;
    };
    let (answer, ()) = tokio::join!(found(None), projector);
    assert_eq!(
        answer.body["results"],
        json!([{ "type": "user", "id": BOB }]),
        "{}",
        answer.text
    );

    // Revoked, and the row still says otherwise: no row gives a right.
    test.revoke(BOB, EDITOR);
    catch_up(&pool, &test).await;
    let answer = found(None).await;
    assert_eq!(answer.body["results"], json!([]), "{}", answer.text);

    // A role that was deleted, or never was, stands in no question.
    project_grants(&pool, &test, &[ALICE], RoleId::from_uuid(Uuid::from_u128(0xBAD))).await;
    assert_eq!(found(None).await.body["results"], json!([]));

    // A row says that Carol may, and whether it is so is not known.
    let carol = test.elsewhere();
    project_grants(&pool, &test, &[carol], EDITOR).await;
    catch_up(&pool, &test).await;
    test.fed.lag(test.app.node.ledger(carol));
    assert_eq!(found(None).await.status, 503);
    stack.shutdown().await.unwrap();
}
