//! Servers that are somebody else's.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use local_stack::{Certificates, Server};
use tests::{World, unique, until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use transport::Certificate;

use crate::launch;

const WITHIN: Duration = Duration::from_secs(60);

#[derive(Clone, Copy)]
enum Speaks {
    Tls,
    /// TLS after PostgreSQL's question for it.
    Postgres,
}

/// Has a certificate of the right host by an authority that nobody trusts.
struct Impostor {
    address: SocketAddr,
    seen: Arc<Seen>,
    serving: JoinHandle<()>,
    _folder: tempfile::TempDir,
}

#[derive(Default)]
struct Seen {
    /// Handshakes that the client broke off.
    refused: AtomicUsize,
    /// Handshakes that it went on from, and so what was told.
    told: AtomicUsize,
}

impl Impostor {
    async fn start(speaks: Speaks) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pair = Certificates::open(folder.path(), [] as [&str; 0])
            .unwrap()
            .server();
        let acceptor = Certificate::open(&pair.certificate, &pair.key)
            .unwrap()
            .acceptor("http/1.1")
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Seen::default());
        let noting = Arc::clone(&seen);
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, noting) = (acceptor.clone(), Arc::clone(&noting));
                tokio::spawn(async move {
                    match handshake(stream, speaks, &acceptor).await {
                        Ok(()) => noting.told.fetch_add(1, Ordering::Relaxed),
                        Err(_) => noting.refused.fetch_add(1, Ordering::Relaxed),
                    }
                });
            }
        });
        Self {
            address,
            seen,
            serving,
            _folder: folder,
        }
    }

    /// Has broken off several times, and told nothing.
    async fn is_told_nothing(&self) {
        until(WITHIN, "the impostor is tried again", || async {
            self.seen.refused.load(Ordering::Relaxed) > 1
        })
        .await;
        assert_eq!(self.seen.told.load(Ordering::Relaxed), 0);
    }
}

impl Drop for Impostor {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn handshake(mut stream: TcpStream, speaks: Speaks, acceptor: &TlsAcceptor) -> std::io::Result<()> {
    if matches!(speaks, Speaks::Postgres) {
        let mut question = [0; 8];
        stream.read_exact(&mut question).await?;
        stream.write_all(b"S").await?;
    }
    let mut stream = acceptor.accept(stream).await?;
    // Ends with an alert, or with what the client says.
    stream.read_u8().await.map(drop)
}

/// One that cannot become ready, with a port of its own.
async fn start(world: &World, program: &str, changed: &[(&str, String)]) -> (Server, String) {
    let port = local_stack::free_port().unwrap();
    let listen = [("ROLECALL_LISTEN", format!("127.0.0.1:{port}"))];
    let url = world.rolecall.url_of(format_args!("127.0.0.1:{port}"));
    let changed: Vec<_> = listen.into_iter().chain(changed.iter().cloned()).collect();
    let server = Server::start(launch(world, program, &changed).ready_at(format!("{url}/healthz")));
    (server.await.unwrap(), url)
}

/// Its `/readyz`, while it says 503.
async fn not_ready(world: &World, url: &str) -> String {
    let answer = world.http().get(format!("{url}/readyz")).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 503);
    answer.text().await.unwrap()
}

async fn logs(server: &Server, words: &str) {
    until(WITHIN, words, || async {
        std::fs::read_to_string(server.log()).unwrap().contains(words)
    })
    .await;
}

pub async fn kafka_of_another_authority_is_told_nothing(world: Arc<World>) {
    let impostor = Impostor::start(Speaks::Tls).await;
    for program in crate::SERVICES {
        let kafka = [("ROLECALL_KAFKA", impostor.address.to_string())];
        let (server, url) = start(&world, program, &kafka).await;
        logs(&server, "certificate verify failed").await;
        not_ready(&world, &url).await;
        server.stop().await.unwrap();
    }
    impostor.is_told_nothing().await;
}

pub async fn a_registry_of_another_authority_is_told_nothing(world: Arc<World>) {
    let impostor = Impostor::start(Speaks::Tls).await;
    // Only a new log needs a registry.
    let changed = [
        ("ROLECALL_TOPIC_PREFIX", unique("unregistered")),
        ("ROLECALL_SHARDS", String::new()),
        (
            "ROLECALL_SCHEMA_REGISTRY_URL",
            format!("https://{}", impostor.address),
        ),
    ];
    let (server, url) = start(&world, "command-service", &changed).await;
    impostor.is_told_nothing().await;
    let said = not_ready(&world, &url).await;
    assert!(
        said.contains("schema registry") && said.contains("UnknownIssuer"),
        "{said}"
    );
    server.stop().await.unwrap();
}

pub async fn a_shard_of_another_authority_is_told_nothing(world: Arc<World>) {
    let impostor = Impostor::start(Speaks::Postgres).await;
    let mut shards = world.stack.service_dsns();
    shards[1] = format!("postgres://{}/rolecall_shard_01", impostor.address);
    for program in ["command-service", "projector"] {
        let (server, _) = start(&world, program, &[("ROLECALL_SHARDS", shards.join(","))]).await;
        logs(&server, "UnknownIssuer").await;
        server.stop().await.unwrap();
    }
    impostor.is_told_nothing().await;
}
