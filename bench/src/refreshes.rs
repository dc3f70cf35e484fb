//! Refreshes a second: each client rotates the token of a session of its own, again and again.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::bare_hash::PASSWORD;
use crate::client::{Connection, request};
use crate::report::{Row, Section};
use crate::stats::{Samples, count, median, millis};
use crate::warm_up;
use crate::world::World;

const CLIENTS: usize = 256;
const ROUND: Duration = Duration::from_secs(5);
const ROUNDS: usize = 5;
const GOAL: f64 = 5_000.0;

pub async fn run(world: &World) -> Result<Section> {
    let mut sessions = sessions(world, "refreshes", CLIENTS).await?;
    warm_up::until_compiled(world, async || rotate(&mut sessions, ROUND).await.map(drop)).await?;
    let (mut rates, mut samples) = (vec![], Samples::default());
    for _ in 0..ROUNDS {
        let (rate, round) = rotate(&mut sessions, ROUND).await?;
        rates.push(rate);
        samples.extend(round);
    }
    let rate = median(&rates);
    let rows = vec![
        Row::new(format!("refreshes/s, {CLIENTS} clients"), count(rate)).goal(">= 5,000", rate >= GOAL),
        Row::new(
            "refresh at that load, p50 and p99",
            format!("{}, {}", millis(samples.p50()), millis(samples.p99())),
        ),
    ];
    Ok(Section {
        name: "refreshes",
        rows,
    })
}

/// A session whose refresh token is at hand.
pub struct Session {
    service: SocketAddr,
    refresh_token: String,
}

/// Registers people of that name and signs each in.
pub async fn sessions(world: &World, name: &str, people: usize) -> Result<Vec<Session>> {
    let mut sessions = Vec::with_capacity(people);
    let mut connection = Connection::open(world.command).await?;
    for number in 0..people {
        let name = format!("{name}-{number}");
        let body = serde_json::json!({ "username": name, "email": format!("{name}@example.org"), "password": PASSWORD });
        let register = request("POST", "/v1/users", &[], &body.to_string());
        connection.send(&register).await?.expect(201)?;
        let body = serde_json::json!({ "username": name, "password": PASSWORD }).to_string();
        let sign_in = request("POST", "/v1/sessions", &[], &body);
        let refresh_token = connection
            .send(&sign_in)
            .await?
            .expect(201)?
            .text("refresh_token")?;
        sessions.push(Session {
            service: world.command,
            refresh_token,
        });
    }
    Ok(sessions)
}

/// Each session refreshes as soon as it has its answer, over a connection of its own. Gives the rate of all a second.
pub async fn rotate(sessions: &mut [Session], during: Duration) -> Result<(f64, Samples)> {
    let began = Instant::now();
    let runs = sessions.iter_mut().map(async |session| -> Result<Samples> {
        let mut samples = Samples::default();
        let mut connection = Connection::open(session.service).await?;
        while began.elapsed() < during {
            let body = serde_json::json!({ "refresh_token": session.refresh_token }).to_string();
            let refresh = request("POST", "/v1/sessions/refresh", &[], &body);
            let sent = Instant::now();
            let answer = connection.send(&refresh).await?.expect(200)?;
            samples.push(sent.elapsed());
            session.refresh_token = answer.text("refresh_token")?;
        }
        Ok(samples)
    });
    let mut all = Samples::default();
    for samples in futures::future::try_join_all(runs).await? {
        all.extend(samples);
    }
    Ok((all.len() as f64 / began.elapsed().as_secs_f64(), all))
}
