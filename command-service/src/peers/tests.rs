//! The call over HTTP, to whoever listens.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use event_log::{Forward, ForwardError, Instance};
use local_stack::Certificates;
use parking_lot::Mutex;
use schemas::{Timestamp, WriterId};
use service_kit::keys::TokenKey;
use tokio_util::sync::CancellationToken;
use transport::{CertificateFiles, Trust};

use super::endpoint::{PATH, admit, sealed};
use super::numbers::Numbers;
use super::seal::{Call, given_seal};
use super::{PeerCalls, endpoint};

const WITHIN: Duration = Duration::from_secs(30);

fn key() -> TokenKey {
    TokenKey::parse(&[7; 32]).unwrap()
}

/// Listens, and answers like this.
async fn listening<F>(answer: F) -> String
where
    F: Fn(HeaderMap, Bytes) -> Response + Clone + Send + Sync + 'static,
{
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, answering(answer)).await });
    address
}

fn answering<F>(answer: F) -> Router
where
    F: Fn(HeaderMap, Bytes) -> Response + Clone + Send + Sync + 'static,
{
    let handler = post(async move |headers: HeaderMap, body: Bytes| answer(headers, body));
    Router::new().route(endpoint::PATH, handler)
}

/// As [`listening_peer`], by TLS, with how many calls it read.
async fn listening_by_tls(certificates: &Certificates) -> (Instance, Arc<AtomicUsize>) {
    let pair = certificates.server();
    let files = CertificateFiles {
        tls_cert_file: Some(pair.certificate),
        tls_key_file: Some(pair.key),
    };
    let listener = service_kit::listen("127.0.0.1:0".parse().unwrap(), &files, &Trust::public()).await;
    let listener = listener.unwrap();
    let instance = named(&format!("https://{}", listener.local_addr().unwrap()));
    let (answer, calls) = (peer(Arc::new(Mutex::new(Some(instance.clone())))), Arc::default());
    let count: Arc<AtomicUsize> = Arc::clone(&calls);
    let router = answering(move |headers, body| {
        count.fetch_add(1, Ordering::Relaxed);
        answer(headers, body)
    });
    tokio::spawn(service_kit::serve(
        listener,
        router,
        CancellationToken::new(),
        WITHIN,
    ));
    (instance, calls)
}

async fn call_trusting(trust: &Trust, to: &Instance) -> Result<Vec<u8>, ForwardError> {
    let calls = PeerCalls::new(trust.http().unwrap(), key(), WriterId::new_v7()).unwrap();
    calls.forward(to, b"question".to_vec(), WITHIN).await
}

fn named(address: &str) -> Instance {
    Instance {
        id: WriterId::new_v7(),
        address: address.to_owned(),
    }
}

async fn call(to: &Instance) -> Result<Vec<u8>, ForwardError> {
    let calls = PeerCalls::new(reqwest::Client::builder(), key(), WriterId::new_v7()).unwrap();
    calls.forward(to, b"question".to_vec(), WITHIN).await
}

/// A peer whose answer to any question is the question.
fn peer(own: Arc<Mutex<Option<Instance>>>) -> impl Fn(HeaderMap, Bytes) -> Response + Clone {
    let numbers = Arc::new(Numbers::default());
    move |headers, body| {
        let own = own.lock().clone().unwrap();
        match admit(&own, &key(), &numbers, &headers, &body) {
            Ok(call) => sealed(&key(), call, given_seal(&headers), StatusCode::OK, body.to_vec()),
            Err(refusal) => refusal,
        }
    }
}

async fn listening_peer() -> Instance {
    let own = Arc::default();
    let address = listening(peer(Arc::clone(&own))).await;
    let instance = named(&address);
    *own.lock() = Some(instance.clone());
    instance
}

fn is_unclear(outcome: &Result<Vec<u8>, ForwardError>) -> bool {
    matches!(outcome, Err(ForwardError::Unclear(_)))
}

#[tokio::test]
async fn a_peer_answers_and_says_when_another_was_meant() {
    let own = listening_peer().await;
    assert_eq!(call(&own).await, Ok(b"question".to_vec()));
    let former = named(&own.address);
    let outcome = call(&former).await;
    assert!(matches!(outcome, Err(ForwardError::NotSent(_))), "{outcome:?}");
}

#[tokio::test]
async fn a_peer_of_another_authority_or_without_tls_is_told_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let [ours, others] =
        ["ours", "others"].map(|name| Certificates::open(dir.path().join(name), [] as [&str; 0]).unwrap());
    let trusting = |certificates: &Certificates| Trust {
        ca_file: Some(certificates.authority()),
        ..Trust::public()
    };
    let (instance, calls) = listening_by_tls(&ours).await;
    assert_eq!(
        call_trusting(&trusting(&ours), &instance).await,
        Ok(b"question".to_vec())
    );
    assert_eq!(calls.load(Ordering::Relaxed), 1);
    let refused = call_trusting(&trusting(&others), &instance).await;
    assert!(matches!(refused, Err(ForwardError::NotSent(_))), "{refused:?}");
    assert_eq!(calls.load(Ordering::Relaxed), 1);

    let plain = listening_peer().await;
    let refused = call_trusting(&trusting(&ours), &plain).await;
    assert!(matches!(refused, Err(ForwardError::NotSent(_))), "{refused:?}");
}

#[tokio::test]
async fn what_is_not_sealed_is_no_answer() {
    for status in [
        StatusCode::OK,
        StatusCode::MISDIRECTED_REQUEST,
        StatusCode::NOT_FOUND,
    ] {
        // Whoever listens there knows what a peer would say, but not the key.
        let said = Arc::new(Mutex::new(String::new()));
        let text = Arc::clone(&said);
        let address = listening(move |_, _| (status, text.lock().clone()).into_response()).await;
        *said.lock() = address.clone();
        let outcome = call(&named(&address)).await;
        assert!(is_unclear(&outcome), "{status}: {outcome:?}");
    }
}

#[tokio::test]
async fn a_peer_at_another_address_proves_nothing_about_this_one() {
    let own = listening_peer().await;
    let elsewhere = own.address.replace("127.0.0.1", "localhost");
    let outcome = call(&named(&elsewhere)).await;
    assert!(is_unclear(&outcome), "{outcome:?}");
}

#[tokio::test]
async fn nobody_there_is_not_sent() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let outcome = call(&named(&address)).await;
    assert!(matches!(outcome, Err(ForwardError::NotSent(_))), "{outcome:?}");
}

#[tokio::test]
async fn a_call_that_somebody_read_is_not_carried_out_again() {
    let own = listening_peer().await;
    let call = Call {
        to: own.id,
        from: WriterId::new_v7(),
        number: 1,
    };
    let send = async |call: Call, sealed_as: Call| {
        let sealed = sealed_as.seal(&key(), Timestamp::now().as_millis(), b"question");
        let request = reqwest::Client::new().post(format!("{}{PATH}", own.address));
        let named = [("rolecall-peer-number", call.number.to_string())];
        let others = sealed.into_iter().filter(|(name, _)| name != named[0].0);
        let request = others.fold(request, |request, (name, value)| request.header(name, value));
        let [(name, value)] = named;
        let request = request.header(name, value).body("question");
        request.send().await.unwrap().status()
    };
    assert_eq!(send(call, call).await, StatusCode::OK);
    assert_eq!(send(call, call).await, StatusCode::CONFLICT);
    let next = Call { number: 2, ..call };
    assert_eq!(send(next, call).await, StatusCode::UNAUTHORIZED);
    assert_eq!(send(next, next).await, StatusCode::OK);
}
