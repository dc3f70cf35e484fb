//! The story: what an administrator and three people do, call by call.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use local_rolecall::ADMIN_USERNAME;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::client::{Client, Reply};
use crate::running::Running;
use crate::screen::{Screen, millis};
use crate::shutdown::Shutdown;

const ROLES: [(&str, Option<&str>); 3] = [
    ("reader", None),
    ("editor", Some("reader")),
    ("publisher", Some("editor")),
];
/// Role, and what it may do with articles.
const RIGHTS: [(&str, &str); 3] = [("reader", "read"), ("editor", "edit"), ("publisher", "publish")];
const PEOPLE: [&str; 3] = ["alice", "bob", "carol"];
/// A check that is not right by then never will be.
const PATIENCE: Duration = Duration::from_secs(10);

/// Starts everything, tells the story, and stays until Ctrl-C unless `once`.
pub async fn run(once: bool) -> Result<()> {
    let mut shutdown = Shutdown::listen()?;
    let began = Instant::now();
    let running = tokio::select! {
        started = Running::start(None) => started?,
        // Dropping the start kills what it had started.
        () = shutdown.wanted() => bail!("interrupted while starting"),
    };
    let screen = Screen::new();
    println!(
        "Rolecall and its servers are up after {:.1} s.",
        began.elapsed().as_secs_f64()
    );
    let told = tokio::select! {
        told = tell(&running, screen) => told,
        () = shutdown.wanted() => Err(anyhow::anyhow!("interrupted")),
    };
    if let Err(error) = told {
        show_logs(&running);
        running.shutdown().await?;
        return Err(error);
    }
    if !once {
        show_addresses(&running, screen);
        shutdown.wanted().await;
        println!();
    }
    println!("Stopping.");
    running.shutdown().await
}

async fn tell(running: &Running, screen: Screen) -> Result<()> {
    let rolecall = &running.rolecall;
    let mut client = Client::new(rolecall.command_url(), rolecall.query_url())?;

    screen.scene("The administrator signs in");
    let session = log_in(&mut client, ADMIN_USERNAME, rolecall.admin_password()).await?;
    show(screen, &session, &format!("user {}", session.text("user_id")?));
    client.bearer = Some(session.text("access_token")?.to_owned());

    define_roles(&mut client, screen).await?;
    let alice = register_people(&mut client, screen).await?;

    screen.scene("Alice signs in, and her access token is read");
    let session = log_in(&mut client, "alice", &password_of("alice")).await?;
    show(
        screen,
        &session,
        &format!("session {}", session.text("session_id")?),
    );
    let access_token = session.text("access_token")?;
    screen.line(&format!("header {}", part_of(access_token, 0)?));
    screen.line(&format!("claims {}", part_of(access_token, 1)?));
    screen.line("no name, no e-mail, no roles: whoever holds it learns nothing of her");
    let introspected = client.introspect(access_token).await?;
    ensure!(
        introspected.body["active"] == true,
        "a fresh token is not active: {}",
        introspected.body
    );
    show(screen, &introspected, "active: true");

    grant_and_revoke(&mut client, screen, &alice).await?;
    refuse_a_wrong_password(&mut client, screen).await?;
    show_audit(&client, screen, &alice).await?;

    screen.scene("The same from Kafka alone: replay timeline alice");
    screen.output(&replay(running, &["timeline", "alice"]).await?);

    screen.scene("Has anyone touched the log? replay verify");
    screen.output(&without_dull_partitions(&replay(running, &["verify"]).await?));
    Ok(())
}

async fn define_roles(client: &mut Client, screen: Screen) -> Result<()> {
    screen.scene("Roles in a hierarchy: publisher > editor > reader");
    for (role, parent) in ROLES {
        let path = format!("/v1/roles/{role}");
        let reply = client
            .command(Method::PUT, &path, Some(json!({ "parent": parent })))
            .await?;
        let says = parent
            .map(|parent| format!("inherits from {parent}"))
            .unwrap_or_default();
        show(screen, &reply.expect(StatusCode::OK)?, &says);
    }
    for (role, action) in RIGHTS {
        let permission = format!("article.{action}");
        let path = format!("/v1/permissions/{permission}");
        let body = json!({ "resource": "article", "action": action });
        let defined = client.command(Method::PUT, &path, Some(body)).await?;
        show(screen, &defined.expect(StatusCode::OK)?, "");
        let path = format!("/v1/roles/{role}/permissions/{permission}");
        show(
            screen,
            &client
                .command(Method::PUT, &path, None)
                .await?
                .expect(StatusCode::OK)?,
            "",
        );
    }
    Ok(())
}

/// Gives Alice's user id.
async fn register_people(client: &mut Client, screen: Screen) -> Result<String> {
    screen.scene("Three people register");
    let mut ids = Vec::new();
    for name in PEOPLE {
        let body = json!({
            "username": name,
            "email": format!("{name}@example.org"),
            "password": password_of(name),
        });
        let reply = client
            .command(Method::POST, "/v1/users", Some(body))
            .await?
            .expect(StatusCode::CREATED)?;
        let id = reply.text("user_id")?.to_owned();
        show(screen, &reply, &format!("{name}, user {id}"));
        ids.push(id);
    }
    ids.into_iter().next().context("nobody registered")
}

async fn grant_and_revoke(client: &mut Client, screen: Screen, alice: &str) -> Result<()> {
    screen.scene("Alice becomes publisher: may she read, two levels up?");
    let (allowed, reply) = client.check(alice, "read", "article").await?;
    ensure!(!allowed, "allowed before any grant");
    show(screen, &reply, "denied: she has no role");
    let path = format!("/v1/users/{alice}/roles/publisher");
    let reply = client
        .command(Method::PUT, &path, None)
        .await?
        .expect(StatusCode::OK)?;
    let took = until(client, alice, true).await?;
    show(screen, &reply, "granted");
    screen.good(&screen.strong(&format!("allowed in {}", millis(took).trim())));
    screen.line("from the grant's answer to a check, sent with the grant's token, that allows");

    screen.scene("And no longer");
    let reply = client
        .command(Method::DELETE, &path, None)
        .await?
        .expect(StatusCode::OK)?;
    let took = until(client, alice, false).await?;
    show(screen, &reply, "revoked");
    screen.good(&screen.strong(&format!("denied in {}", millis(took).trim())));
    Ok(())
}

/// How long until a check with the last command's token answers this.
async fn until(client: &Client, user: &str, wanted: bool) -> Result<Duration> {
    let began = Instant::now();
    loop {
        let (allowed, _) = client.check(user, "read", "article").await?;
        if allowed == wanted {
            return Ok(began.elapsed());
        }
        ensure!(began.elapsed() < PATIENCE, "the check still answers {allowed}");
    }
}

async fn refuse_a_wrong_password(client: &mut Client, screen: Screen) -> Result<()> {
    screen.scene("Somebody guesses Alice's password");
    let body = json!({ "username": "alice", "password": "alice-2024!" });
    let bearer = client.bearer.take();
    let reply = client.command(Method::POST, "/v1/sessions", Some(body)).await;
    client.bearer = bearer;
    let reply = reply?.expect(StatusCode::UNAUTHORIZED)?;
    show(screen, &reply, reply.text("title")?);
    screen.line(&format!("type {}", reply.text("type")?));
    Ok(())
}

async fn show_audit(client: &Client, screen: Screen, alice: &str) -> Result<()> {
    screen.scene("Alice's audit log, from PostgreSQL");
    let reply = client.get(&format!("/v1/users/{alice}/audit?limit=20")).await?;
    let events = reply.body["events"]
        .as_array()
        .context("an audit without events")?;
    show(screen, &reply, &format!("{} events", events.len()));
    for event in events.iter().rev() {
        let text = |field: &str| event[field].as_str().unwrap_or_default().to_owned();
        let line = format!(
            "{}  {:<22} {:<8}",
            text("occurred_at"),
            text("type"),
            text("status")
        );
        screen.line(&format!("{line} {}", text("description")));
    }
    Ok(())
}

async fn log_in(client: &mut Client, username: &str, password: &str) -> Result<Reply> {
    let body = json!({ "username": username, "password": password });
    let bearer = client.bearer.take();
    let reply = client.command(Method::POST, "/v1/sessions", Some(body)).await;
    client.bearer = bearer;
    reply?.expect(StatusCode::CREATED)
}

/// The programs lie side by side; the key files let replay find a name and open personal data.
async fn replay(running: &Running, arguments: &[&str]) -> Result<String> {
    let program = std::env::current_exe()
        .context("finding this program")?
        .with_file_name("replay");
    let mut command = tokio::process::Command::new(&program);
    command.args(arguments).envs(
        running
            .rolecall
            .environment()
            .iter()
            .map(|(name, value)| (name, value)),
    );
    let output = command.kill_on_drop(true).output().await;
    let output = output.with_context(|| format!("running {}", program.display()))?;
    if !output.status.success() {
        bail!(
            "replay {}: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    String::from_utf8(output.stdout).context("what replay printed")
}

/// Most partitions of a new log hold little but their owner's claim; their lines say nothing here.
fn without_dull_partitions(report: &str) -> String {
    let is_dull = |line: &&str| {
        let mut words = line.split_whitespace();
        let is_ledger = words
            .next()
            .is_some_and(|it| it.starts_with("users-") || it.starts_with("identifiers-"));
        is_ledger && words.next().is_some_and(|events| matches!(events, "0" | "1"))
    };
    let (dull, telling): (Vec<&str>, Vec<&str>) = report.lines().partition(is_dull);
    format!(
        "{}\n({} partitions with no more than their owner's claim are not shown)",
        telling.join("\n"),
        dull.len()
    )
}

fn password_of(name: &str) -> String {
    format!("{name}: correct horse battery staple")
}

/// A part of a JWT, as it stands there.
fn part_of(token: &str, index: usize) -> Result<Value> {
    let part = token
        .split('.')
        .nth(index)
        .context("an access token has three parts")?;
    let bytes = URL_SAFE_NO_PAD
        .decode(part)
        .context("an access token is base64url")?;
    serde_json::from_slice(&bytes).context("an access token is JSON")
}

fn show(screen: Screen, reply: &Reply, says: &str) {
    screen.call(&short(&reply.call), reply.status.as_u16(), reply.took, says);
}

/// User ids take half a line.
fn short(call: &str) -> String {
    let parts = call.split('/').map(|part| {
        if is_id(part) {
            format!("{}…", &part[..8])
        } else {
            part.to_owned()
        }
    });
    parts.collect::<Vec<_>>().join("/")
}

fn is_id(part: &str) -> bool {
    part.len() == 36 && part.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
}

fn show_addresses(running: &Running, screen: Screen) {
    let (rolecall, stack) = (&running.rolecall, &running.stack);
    screen.scene("Everything stays up until Ctrl-C");
    for (what, address) in [
        ("command service", format!("{}/docs", rolecall.command_url())),
        ("query service", format!("{}/docs", rolecall.query_url())),
        ("Kafka", stack.kafka_bootstrap()),
        ("schema registry", stack.registry_url()),
        (
            "administrator",
            format!("{ADMIN_USERNAME}, password {}", rolecall.admin_password()),
        ),
        ("logs", stack.log_of("*").display().to_string()),
    ] {
        println!("  {what:<16} {address}");
    }
}

/// They go with the temporary folder.
fn show_logs(running: &Running) {
    for server in running.services() {
        eprintln!("--- the end of {}", server.log().display());
        match std::fs::read_to_string(server.log()) {
            Ok(text) => {
                let lines: Vec<&str> = text.lines().collect();
                let end = &lines[lines.len().saturating_sub(15)..];
                eprintln!("{}", end.join("\n"));
            }
            Err(error) => eprintln!("unreadable: {error}"),
        }
    }
}
