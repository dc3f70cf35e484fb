//! How services are spoken to.

use std::sync::Arc;
use std::time::Duration;

use local_rolecall::Service;
use local_stack::Server;
use serde_json::Value;
use service_kit::problem::ProblemType as P;
use tests::{World, until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::launch;

const WITHIN: Duration = Duration::from_secs(60);

async fn connect(world: &World, service: Service) -> TcpStream {
    TcpStream::connect(("127.0.0.1", world.rolecall.port(service, 0)))
        .await
        .unwrap()
}

/// All that comes until the other side ends it.
async fn rest(stream: &mut TcpStream) -> String {
    let mut said = Vec::new();
    let read = tokio::time::timeout(WITHIN, stream.read_to_end(&mut said)).await;
    // A connection that is reset is ended too.
    if let Ok(Err(error)) = &read {
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    }
    assert!(read.is_ok(), "it is still open after {WITHIN:?}");
    String::from_utf8_lossy(&said).into_owned()
}

pub async fn plain_http_is_answered_with_a_problem(world: Arc<World>) {
    for service in Service::ALL {
        let mut stream = connect(&world, service).await;
        let request = b"GET /healthz HTTP/1.1\r\nHost: here\r\n\r\n";
        stream.write_all(request).await.unwrap();
        let said = rest(&mut stream).await;
        let (head, body) = said.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 400 "), "{said}");
        let body: Value = serde_json::from_str(body).unwrap();
        assert_eq!(body["type"], P::TlsRequired.uri());
        // Neither HTTP nor TLS.
        let mut stream = connect(&world, service).await;
        stream.write_all(&[0; 64]).await.unwrap();
        let said = rest(&mut stream).await;
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 400 "), "{said}");
    }
}

pub async fn slow_handshakes_keep_nobody_out_and_end(world: Arc<World>) {
    let mut slow = Vec::new();
    for begun in [&[][..], &[22], &[22, 3, 1, 2, 0, 1]] {
        for _ in 0..50 {
            let mut stream = connect(&world, Service::Command).await;
            stream.write_all(begun).await.unwrap();
            slow.push(stream);
        }
    }
    // A client of its own, so that it shakes hands now.
    let answer = world
        .http()
        .get(format!("{}/healthz", world.rolecall.command_url()))
        .send()
        .await;
    assert!(answer.unwrap().status().is_success());
    for stream in &mut slow {
        assert_eq!(rest(stream).await, "");
    }
}

/// The certificate that a new connection is shown.
async fn shown(world: &World, url: &str) -> Vec<u8> {
    let client = tests::http(world.stack.certificates())
        .tls_info(true)
        .build()
        .unwrap();
    let answer = client.get(format!("{url}/healthz")).send().await.unwrap();
    let info = answer.extensions().get::<reqwest::tls::TlsInfo>().unwrap();
    info.peer_certificate().unwrap().to_vec()
}

pub async fn a_renewed_certificate_is_served_to_whoever_comes_then(world: Arc<World>) {
    let certificates = world.stack.certificates().unwrap();
    let pair = certificates.issue("renewed").unwrap();
    let port = local_stack::free_port().unwrap();
    let url = world.rolecall.url_of(format_args!("127.0.0.1:{port}"));
    let changed = [
        ("ROLECALL_LISTEN", format!("127.0.0.1:{port}")),
        ("ROLECALL_TLS_CERT_FILE", pair.certificate.display().to_string()),
        ("ROLECALL_TLS_KEY_FILE", pair.key.display().to_string()),
    ];
    let launch = launch(&world, "query-service", &changed).ready_at(format!("{url}/readyz"));
    let server = Server::start(launch).await.unwrap();
    let first = shown(&world, &url).await;
    let old_connection = world.http();
    let health = async || {
        old_connection
            .get(format!("{url}/healthz"))
            .send()
            .await
            .unwrap()
            .status()
    };
    assert!(health().await.is_success());

    certificates.issue("renewed").unwrap();
    until(WITHIN, "the new certificate is shown", || async {
        shown(&world, &url).await != first
    })
    .await;
    assert!(health().await.is_success());

    // What does not fit together is not taken up.
    let second = shown(&world, &url).await;
    std::fs::write(&pair.key, "half a k").unwrap();
    until(WITHIN, "the bad key is noticed", || async {
        std::fs::read_to_string(server.log())
            .unwrap()
            .contains("The certificate stays as it is")
    })
    .await;
    assert_eq!(shown(&world, &url).await, second);
    server.stop().await.unwrap();
}
