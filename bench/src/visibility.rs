//! How soon a check tells of a grant or a revocation, with nothing else going on.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::client::{Connection, request};
use crate::report::{Row, Section};
use crate::seed::{ROLES, resource};
use crate::stats::{Samples, millis};
use crate::world::{World, grant_path};

const SAMPLES: usize = 1_000;
const WARM_UP: usize = 50;
const GOAL: Duration = Duration::from_millis(20);

/// Since the command's answer, and since it was sent.
#[derive(Default)]
struct Seen {
    since_answer: Samples,
    since_sent: Samples,
}

pub async fn run(world: &World) -> Result<Section> {
    let (mut granted, mut revoked) = (Seen::default(), Seen::default());
    let mut command = Connection::open(world.command).await?;
    let mut query = Connection::open(world.query).await?;
    for number in 0..WARM_UP + SAMPLES {
        // Every other one of the users, from the end: the other benches grant from the beginning.
        let user = world.people.users.len() - 1 - number;
        let role = (user + ROLES / 2) % ROLES;
        for (method, expected, seen) in [("PUT", true, &mut granted), ("DELETE", false, &mut revoked)] {
            let change = world.command(method, &grant_path(&world.people, user, role));
            let sent = Instant::now();
            let token = command.send(&change).await?.expect(200)?.text("token")?;
            let answered = Instant::now();
            let check = check(world, user, role, &token);
            let decision = query.send(&check).await?.expect(200)?.decision()?;
            ensure!(
                decision == expected,
                "{method} was not seen by a check at its own token"
            );
            if number >= WARM_UP {
                seen.since_answer.push(answered.elapsed());
                seen.since_sent.push(sent.elapsed());
            }
        }
    }
    Ok(Section {
        name: "visibility",
        rows: [
            rows("grant to visible", &granted),
            rows("revoke to denied", &revoked),
        ]
        .concat(),
    })
}

fn check(world: &World, user: usize, role: usize, token: &str) -> Vec<u8> {
    let body = serde_json::json!({
        "subject": { "type": "user", "id": world.people.users[user] },
        "action": { "name": "read" },
        "resource": { "type": resource(role), "id": "1" },
    });
    let headers = [
        ("authorization", world.authorization.as_str()),
        ("rolecall-at-least", token),
    ];
    request("POST", "/access/v1/evaluation", &headers, &body.to_string())
}

fn rows(what: &str, seen: &Seen) -> Vec<Row> {
    let both = |samples: &Samples| format!("p50 {}, p99 {}", millis(samples.p50()), millis(samples.p99()));
    vec![
        Row::new(format!("{what}, since the answer"), both(&seen.since_answer)),
        Row::new(format!("{what}, since sent"), both(&seen.since_sent))
            .goal("p99 < 20 ms", seen.since_sent.p99() < GOAL),
    ]
}
