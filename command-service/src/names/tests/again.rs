//! The same call again under its key, after a name was taken at first.

use event_log::Recorded;
use schemas::Idempotency;

use super::*;
use crate::names::again::next;

const OWN: [&str; 2] = ["own", "own@example.org"];
const WANTED: [&str; 2] = ["wanted", "new@example.org"];

/// Of one call and its repetitions.
fn keyed() -> CommandContext {
    let digest = |text: &str| Sha256Digest::of(text.as_bytes());
    CommandContext {
        idempotency: Some(Idempotency {
            key_digest: digest("key"),
            request_digest: digest("request"),
        }),
        ..system()
    }
}

fn shared(user: UserId, texts: [&str; 2]) -> Claim {
    Claim {
        shared: true,
        ..claim(user, texts)
    }
}

/// Who has the wanted user name.
async fn somebody() -> (Names, UserId) {
    let names = names_on(MemoryLog::new(LogId::new_v7())).await;
    let holder = UserId::new_v7();
    let texts = [WANTED[0], "somebody@example.org"];
    register(&names, &claim(holder, texts), texts).await;
    (names, holder)
}

async fn refused(names: &Names, claim: &Claim, command: &UserCommand) -> ProblemType {
    let outcome = names.commit(claim.clone(), command.clone(), keyed()).await;
    outcome.unwrap_err().kind
}

/// The records that several tries at once name.
async fn succeeds(names: &Names, claim: &Claim, command: &UserCommand) -> Vec<Recorded<UserEvent>> {
    let tries = (0..8).map(|_| names.commit(claim.clone(), command.clone(), keyed()));
    let receipts = join_all(tries).await.into_iter();
    let mut records: Vec<_> = receipts.flat_map(|receipt| receipt.unwrap().records).collect();
    records.dedup();
    records
}

/// Both names are the user's for good, under the claim that followed the one given up.
async fn holds_under_next(names: &Names, first: &Claim) {
    let own = Claim {
        id: next(first.id),
        ..first.clone()
    };
    let given_up: Vec<ClaimId> = user(names, own.user).await.abandoned_claims.into_iter().collect();
    assert_eq!(given_up, [first.id]);
    for name in own.held() {
        let found = identifier(names, name).await;
        assert!(matches!(found, Identifier::Held { .. }), "{found:?}");
        let holder = found.holder().unwrap();
        assert_eq!((holder.user_id, holder.claim_id), (own.user, own.id));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registration_under_a_key_succeeds_once_its_name_is_free() {
    let (names, holder) = somebody().await;
    let wanted = shared(UserId::new_v7(), WANTED);
    let command = registering(&wanted, WANTED);
    for _ in 0..3 {
        let kind = refused(&names, &wanted, &command).await;
        assert_eq!(kind, ProblemType::UsernameTaken);
        // Nothing is kept from others meanwhile, and each repetition leaves nothing more.
        let address = wanted.held().nth(1).unwrap();
        assert_eq!(identifier(&names, address).await, Identifier::Free);
        assert_eq!(user(&names, wanted.user).await.abandoned_claims.len(), 1);
    }
    erase(&names, holder).await;
    assert_eq!(succeeds(&names, &wanted, &command).await.len(), 1);
    holds_under_next(&names, &wanted).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rename_under_a_key_succeeds_once_its_name_is_free() {
    let (names, holder) = somebody().await;
    let own = claim(UserId::new_v7(), OWN);
    register(&names, &own, OWN).await;
    let wanted = shared(own.user, WANTED);
    let command = rename(&wanted, WANTED);
    for _ in 0..3 {
        let kind = refused(&names, &wanted, &command).await;
        assert_eq!(kind, ProblemType::UsernameTaken);
        assert_eq!(user(&names, own.user).await.abandoned_claims.len(), 1);
    }
    erase(&names, holder).await;
    assert_eq!(succeeds(&names, &wanted, &command).await.len(), 1);
    holds_under_next(&names, &wanted).await;
    names.release_given_up(own.user, system()).await.unwrap();
    for name in own.held() {
        assert_eq!(identifier(&names, name).await, Identifier::Free);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_try_left_half_way_under_the_next_claim_is_finished_by_a_further_one() {
    let (names, holder) = somebody().await;
    let wanted = shared(UserId::new_v7(), WANTED);
    let command = registering(&wanted, WANTED);
    let kind = refused(&names, &wanted, &command).await;
    assert_eq!(kind, ProblemType::UsernameTaken);
    erase(&names, holder).await;
    let under_next = Claim {
        id: next(wanted.id),
        ..wanted.clone()
    };
    for name in under_next.held() {
        names.reserve(wanted.user, name, &system()).await.unwrap();
    }
    assert_eq!(succeeds(&names, &wanted, &command).await.len(), 1);
    holds_under_next(&names, &wanted).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_registered_somebody_keeps_its_answer_whatever_their_names_are_now() {
    let (names, _) = somebody().await;
    let first = shared(UserId::new_v7(), OWN);
    let command = registering(&first, OWN);
    assert_eq!(succeeds(&names, &first, &command).await.len(), 1);
    let texts = ["other", "other@example.org"];
    let new = claim(first.user, texts);
    let change = rename(&new, texts);
    names.commit(new, change, system()).await.unwrap();
    names.release_given_up(first.user, system()).await.unwrap();
    // When nobody remembers the key any more.
    let found = names.commit(first.clone(), command, system()).await.unwrap();
    assert!(found.records.is_empty() && found.last.is_some());
    for name in first.held() {
        assert_eq!(identifier(&names, name).await, Identifier::Free);
    }
    let texts = ["third", "third@example.org"];
    let third = shared(first.user, texts);
    let command = registering(&third, texts);
    let mismatch = names.commit(third, command, system()).await.unwrap_err();
    assert_eq!(mismatch.kind, ProblemType::IdempotencyMismatch);
}
