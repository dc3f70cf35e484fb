//! Against a gateway of a few lines.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::http::HeaderMap;
use axum::response::{IntoResponse as _, Response};
use local_stack::Certificates;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use transport::{CertificateFiles, Trust};

use super::*;

const NUMBER: &str = "+49 30 123456";

fn answering<F>(answer: F) -> Router
where
    F: Fn(HeaderMap, String) -> Response + Clone + Send + Sync + 'static,
{
    // Any path: where a redirection leads, too.
    Router::new().fallback(async move |headers: HeaderMap, body: String| answer(headers, body))
}

/// Its address.
async fn listening(router: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/messages", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

async fn send(url: &str) -> Result<(), SendError> {
    let gateway = Gateway::new(url, None).unwrap();
    gateway.send(NUMBER, "123456 is your code", "id.0").await
}

#[tokio::test]
async fn a_message_comes_with_its_id_and_the_token() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "the-token\n").unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noting = Arc::clone(&seen);
    let router = answering(move |headers, body| {
        noting.lock().push((headers, body));
        StatusCode::ACCEPTED.into_response()
    });
    let gateway = Gateway::new(&listening(router).await, Some(&file)).unwrap();
    for _ in 0..2 {
        assert_eq!(gateway.send(NUMBER, "123456 is your code", "id.0").await, Ok(()));
    }
    let seen = seen.lock();
    let (headers, body) = &seen[0];
    assert_eq!(headers["content-type"], "application/json");
    assert_eq!(headers["authorization"], "Bearer the-token");
    let body: Value = serde_json::from_str(body).unwrap();
    let expected = json!({ "to": NUMBER, "text": "123456 is your code", "message_id": "id.0" });
    assert_eq!(body, expected);
    assert_eq!(seen[1].1, seen[0].1);
}

#[tokio::test]
async fn an_answer_tells_whether_to_try_again() {
    for status in [200, 202, 204] {
        let status = StatusCode::from_u16(status).unwrap();
        let url = listening(answering(move |_, _| status.into_response())).await;
        assert_eq!(send(&url).await, Ok(()), "{status}");
    }
    for status in [400, 404, 410, 422] {
        let status = StatusCode::from_u16(status).unwrap();
        let url = listening(answering(move |_, _| status.into_response())).await;
        let refused = SendError::Refused(format!("the gateway answers {status}"));
        assert_eq!(send(&url).await, Err(refused));
    }
    for status in [401, 403, 408, 429, 500, 503] {
        let status = StatusCode::from_u16(status).unwrap();
        let url = listening(answering(move |_, _| status.into_response())).await;
        let not_now = SendError::NotNow(format!("the gateway answers {status}"));
        assert_eq!(send(&url).await, Err(not_now));
    }
    let not_now = SendError::NotNow("the gateway is not reached".to_owned());
    // Nobody listens on port 1.
    assert_eq!(send("http://127.0.0.1:1/messages").await, Err(not_now));
}

#[tokio::test]
async fn a_redirection_is_not_followed_and_no_delivery() {
    for status in [StatusCode::SEE_OTHER, StatusCode::TEMPORARY_REDIRECT] {
        let calls = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&calls);
        let router = answering(move |_, _| match count.fetch_add(1, Ordering::SeqCst) {
            0 => (status, [("location", "/elsewhere")]).into_response(),
            _ => StatusCode::OK.into_response(),
        });
        let not_now = SendError::NotNow(format!("the gateway answers {status}"));
        assert_eq!(send(&listening(router).await).await, Err(not_now));
        assert_eq!(calls.load(Ordering::SeqCst), 1);
    }
}

#[tokio::test]
async fn a_gateway_of_an_unknown_authority_is_told_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let pair = Certificates::open(folder.path(), [] as [&str; 0])
        .unwrap()
        .server();
    let files = CertificateFiles {
        tls_cert_file: Some(pair.certificate),
        tls_key_file: Some(pair.key),
    };
    let listener = service_kit::listen("127.0.0.1:0".parse().unwrap(), &files, &Trust::public()).await;
    let listener = listener.unwrap();
    let url = format!("https://{}/messages", listener.local_addr().unwrap());
    let calls = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&calls);
    let router = answering(move |_, _| {
        count.fetch_add(1, Ordering::SeqCst);
        StatusCode::OK.into_response()
    });
    tokio::spawn(service_kit::serve(
        listener,
        router,
        CancellationToken::new(),
        TIMEOUT,
    ));
    let not_now = SendError::NotNow("the gateway is not reached".to_owned());
    assert_eq!(send(&url).await, Err(not_now));
    assert_eq!(calls.load(Ordering::SeqCst), 0);
}

#[test]
fn what_cannot_work_or_is_not_sealed_is_told_at_the_start() {
    let refusal = |url: &str, file: Option<&Path>| Gateway::new(url, file).err().unwrap().to_string();
    for plain in [
        "http://sms.example.org/send",
        "HTTP://10.0.0.1/",
        "http://localhost.example.org/",
    ] {
        assert!(
            refusal(plain, None).contains("without TLS only to this machine"),
            "{plain}"
        );
    }
    for no_url in ["sms.example.org", "ftp://sms.example.org"] {
        assert!(
            refusal(no_url, None).starts_with("ROLECALL_SMS_WEBHOOK_URL: "),
            "{no_url}"
        );
    }
    for good in [
        "https://sms.example.org/send",
        "http://localhost:9000",
        "http://[::1]:9000",
    ] {
        assert!(Gateway::new(good, None).is_ok(), "{good}");
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    for content in ["\n", "two\nlines"] {
        std::fs::write(&file, content).unwrap();
        let said = refusal("https://sms.example.org", Some(&file));
        assert!(said.contains("one line of ASCII"), "{said}");
    }
}
