//! Questions by the stream.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use access_proto::v1::access_client::AccessClient;
use access_proto::v1::check_bulk_response::Result as Outcome;
use access_proto::v1::{CheckBulkRequest, CheckBulkResponse, CheckRequest};
use futures::{Stream, StreamExt as _, stream};
use schemas::{Position, Timestamp, UserId};
use service_kit::auth::{Caller, Credential};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tonic::transport::Endpoint;
use tonic::{Code, Status, Streaming};

use super::super::access::{Asking, WINDOW, answers, each};
use super::super::door::Door;
use super::{Served, at_least, may_write, reason};
use crate::testing::{ADMIN, ALICE, BOB, EDITOR, TestApp, session};

fn numbered(id: u64, asked: CheckRequest) -> CheckBulkRequest {
    CheckBulkRequest {
        id,
        check: Some(asked),
    }
}

/// The decision, or the code and type of what is wrong with the question.
fn outcome(answer: CheckBulkResponse) -> Result<bool, (Code, String)> {
    match answer.result.unwrap() {
        Outcome::Answer(answer) => Ok(answer.decision),
        Outcome::Refusal(refusal) => Err((Code::from(refusal.code), refusal.r#type)),
    }
}

#[tokio::test]
async fn ten_thousand_questions_have_each_their_answer() {
    const COUNT: u64 = 10_000;
    let served = Served::start().await;
    served.test.grant(BOB, EDITOR, None);
    let whose = |id: u64| if id.is_multiple_of(3) { BOB } else { ALICE };
    let asked = stream::iter((0..COUNT).map(move |id| numbered(id, may_write(whose(id)))));
    let answered = served.access().check_bulk(served.by(ADMIN, asked)).await.unwrap();
    let answers: Vec<_> = answered.into_inner().collect().await;
    let found: BTreeMap<u64, bool> = answers
        .into_iter()
        .map(|answer| answer.map(|it| (it.id, outcome(it).unwrap())).unwrap())
        .collect();
    let expected: BTreeMap<u64, bool> = (0..COUNT).map(|id| (id, whose(id) == BOB)).collect();
    assert_eq!(found, expected);
}

/// Asks one after the other, each as the test says.
async fn conversation(
    served: &Served,
    caller: UserId,
) -> (mpsc::Sender<CheckBulkRequest>, Streaming<CheckBulkResponse>) {
    let (sender, mut receiver) = mpsc::channel(8);
    let asked = stream::poll_fn(move |cx| receiver.poll_recv(cx));
    let answered = served
        .access()
        .check_bulk(served.by(caller, asked))
        .await
        .unwrap();
    (sender, answered.into_inner())
}

#[tokio::test]
async fn what_is_wrong_with_a_question_spoils_no_other() {
    let served = Served::start().await;
    let (ask, mut answers) = conversation(&served, ALICE).await;
    let beyond = {
        let position = served.test.grant(ALICE, EDITOR, None);
        let offset = position.offset + 1;
        served.test.token_of(Position { offset, ..position })
    };
    let broken = CheckBulkRequest { id: 1, check: None };
    let asked = [
        numbered(0, may_write(ALICE)),
        broken,
        numbered(2, may_write(BOB)),
        numbered(3, at_least(may_write(ALICE), beyond)),
        numbered(4, may_write(ALICE)),
    ];
    for question in asked {
        ask.send(question).await.unwrap();
    }
    let mut found = BTreeMap::new();
    for _ in 0..5 {
        let answer = answers.next().await.unwrap().unwrap();
        found.insert(answer.id, outcome(answer));
    }
    let page = |slug: &str| format!("https://rolecall.dev/errors/{slug}");
    let expected = [
        (0, Ok(true)),
        (1, Err((Code::InvalidArgument, page("invalid-body")))),
        (2, Err((Code::PermissionDenied, page("forbidden")))),
        (3, Err((Code::Unavailable, page("not-yet")))),
        (4, Ok(true)),
    ];
    assert_eq!(found, expected.into());
    drop(ask);
    assert!(answers.next().await.is_none());
}

#[tokio::test]
async fn a_stream_ends_with_its_callers_session() {
    let served = Served::start().await;
    let (ask, mut answers) = conversation(&served, ADMIN).await;
    ask.send(numbered(1, may_write(BOB))).await.unwrap();
    answers.next().await.unwrap().unwrap();
    served.test.log_out(ADMIN);
    ask.send(numbered(2, may_write(BOB))).await.unwrap();
    let ended = answers.next().await.unwrap().unwrap_err();
    assert_eq!(
        (ended.code(), reason(&ended)),
        (Code::Unauthenticated, "SESSION_ENDED".to_owned())
    );
}

#[tokio::test]
async fn a_service_that_stops_answers_what_it_read_and_ends_the_stream() {
    let served = Served::start().await;
    let (ask, mut answers) = conversation(&served, ADMIN).await;
    ask.send(numbered(1, may_write(BOB))).await.unwrap();
    answers.next().await.unwrap().unwrap();
    served.stopping.cancel();
    let ended = answers.next().await.unwrap().unwrap_err();
    assert_eq!(ended.code(), Code::Unavailable);
    // It waits for nobody who only listens.
    served.serving.await.unwrap().unwrap();
}

/// As when its process is killed: no stream was ended, and no connection closed.
#[tokio::test]
async fn nothing_is_kept_of_a_client_that_is_gone() {
    let served = Served::start().await;
    let before = Arc::strong_count(&served.test.app);
    let elsewhere = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let (asked, address) = (served.by(ADMIN, ()), served.address.clone());
    let (asks, was_answered) = tokio::sync::oneshot::channel();
    elsewhere.spawn(async move {
        let channel = Endpoint::from_shared(address).unwrap().connect_lazy();
        let questions = stream::iter([numbered(1, may_write(BOB))]).chain(stream::pending());
        let asked = asked.map(|()| questions);
        let answered = AccessClient::new(channel).check_bulk(asked).await.unwrap();
        let mut answers = answered.into_inner();
        let answer = answers.next().await.unwrap().unwrap();
        asks.send(outcome(answer)).unwrap();
        std::future::pending::<()>().await;
    });
    assert_eq!(was_answered.await.unwrap(), Ok(false));
    assert!(Arc::strong_count(&served.test.app) > before);
    elsewhere.shutdown_background();
    let gone = async {
        while Arc::strong_count(&served.test.app) > before {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), gone).await.unwrap();
}

fn asking(until: Option<Timestamp>) -> Asking {
    let caller = Caller {
        user_id: ADMIN,
        credential: Credential::Session(session(ADMIN)),
        assurance: Default::default(),
        authenticated_at: None,
    };
    Asking { caller, until }
}

fn answers_to(
    test: &TestApp,
    until: Option<Timestamp>,
    asked: impl Stream<Item = CheckBulkRequest> + Send + 'static,
) -> impl Stream<Item = Result<CheckBulkResponse, Status>> {
    let door = Door {
        app: Arc::clone(&test.app),
        stopping: CancellationToken::new(),
    };
    answers(door, asking(until), asked.map(Ok))
}

#[tokio::test]
async fn no_more_questions_are_read_than_the_window_has_room_for() {
    let (log, read) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
    let counter = Arc::clone(&read);
    let asked = stream::iter(0..3 * WINDOW).inspect(move |_| {
        counter.fetch_add(1, Ordering::Relaxed);
    });
    let waits = Arc::clone(&log);
    let mut answers = Box::pin(each(asked, CancellationToken::new(), move |id| {
        let log = Arc::clone(&waits);
        async move { log.acquire().await.map(|_| id) }
    }));
    // Nobody takes answers yet.
    assert_eq!(read.load(Ordering::Relaxed), 0);
    assert!(futures::poll!(answers.next()).is_pending());
    assert_eq!(read.load(Ordering::Relaxed), WINDOW);
    log.add_permits(1);
    answers.next().await.unwrap().unwrap();
    assert!(read.load(Ordering::Relaxed) <= WINDOW + 1);
    assert_eq!(answers.count().await, 3 * WINDOW - 1);
}

/// A question that waits for the log holds up none that does not.
#[tokio::test]
async fn answers_come_as_they_are_decided() {
    let log = Arc::new(Semaphore::new(0));
    let stopping = CancellationToken::new();
    let waits = Arc::clone(&log);
    let asked = stream::iter([1, 2]).chain(stream::pending());
    let mut answers = Box::pin(each(asked, stopping.clone(), move |id| {
        let log = Arc::clone(&waits);
        async move {
            if id == 1 {
                log.acquire().await.unwrap().forget();
            }
            id
        }
    }));
    assert_eq!(answers.next().await, Some(2));
    // The first was read, so it is still answered.
    stopping.cancel();
    assert!(futures::poll!(answers.next()).is_pending());
    log.add_permits(1);
    assert_eq!(answers.next().await, Some(1));
    assert_eq!(answers.next().await, None);
}

#[tokio::test]
async fn a_stream_ends_with_its_access_token() {
    let test = TestApp::new();
    let asked = || stream::iter([numbered(1, may_write(BOB))]);
    let later = Timestamp::now().plus(Duration::from_secs(60));
    for (until, expected) in [
        (None, Ok(1)),
        (Some(later), Ok(1)),
        (Some(Timestamp::now()), Err(Code::Unauthenticated)),
    ] {
        let mut answers = Box::pin(answers_to(&test, until, asked()));
        let found = answers.next().await.unwrap();
        assert_eq!(found.map(|it| it.id).map_err(|status| status.code()), expected);
    }
}
