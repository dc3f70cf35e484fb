//! Whether the time of a refusal tells an unknown name from a wrong password.
//!
//! Both are tried in random order, and the Mann-Whitney test (Mann and Whitney 1947) asks whether one takes longer
//! than the other: it compares ranks, so the few slow answers of a busy machine do not hide a small shift of all.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use rand::seq::SliceRandom;

use crate::client::{Connection, request};
use crate::report::{Row, Section};
use crate::stats::{Samples, mann_whitney, millis};
use crate::world::World;

const PEOPLE: usize = 400;
/// For each name: fewer than lock.
const GUESSES: usize = 3;
/// As unlikely as that must a difference be by chance before it counts.
const SIGNIFICANCE: f64 = 0.01;

#[derive(Clone, Copy)]
enum Name {
    Known(usize),
    Unknown(usize),
}

pub async fn run(world: &World) -> Result<Section> {
    let mut connection = Connection::open(world.command).await?;
    for number in 0..PEOPLE {
        let name = Name::Known(number).text();
        let body = serde_json::json!({
            "username": name,
            "email": format!("{name}@example.org"),
            "password": "correct horse battery staple",
        });
        let register = request("POST", "/v1/users", &[], &body.to_string());
        connection.send(&register).await?.expect(201)?;
    }
    let mut guesses: Vec<Name> = (0..PEOPLE * GUESSES)
        .flat_map(|number| [Name::Known(number % PEOPLE), Name::Unknown(number % PEOPLE)])
        .collect();
    guesses.shuffle(&mut rand::rng());
    let (mut known, mut unknown) = (Samples::default(), Samples::default());
    for name in guesses {
        let took = guess(&mut connection, name).await?;
        match name {
            Name::Known(_) => known.push(took),
            Name::Unknown(_) => unknown.push(took),
        }
    }
    let found = mann_whitney(&known, &unknown);
    let rows = vec![
        Row::new("refusal of a wrong password, p50", millis(known.p50()))
            .against(format!("of an unknown name: {}", millis(unknown.p50())))
            .ratio(known.p50().as_secs_f64() / unknown.p50().as_secs_f64()),
        Row::new(
            format!(
                "how often the wrong password takes longer, of {} each",
                known.len()
            ),
            format!("{:.3}", found.share),
        )
        .against(format!("chance: 0.500; Mann-Whitney p = {:.3}", found.p))
        .goal(format!("p >= {SIGNIFICANCE}"), found.p >= SIGNIFICANCE),
    ];
    Ok(Section { name: "timing", rows })
}

async fn guess(connection: &mut Connection, name: Name) -> Result<Duration> {
    let body = serde_json::json!({ "username": name.text(), "password": "a wrong password" });
    let request = request("POST", "/v1/sessions", &[], &body.to_string());
    let sent = Instant::now();
    let answer = connection.send(&request).await?;
    let took = sent.elapsed();
    ensure!(answer.status == 401, "a guess was answered {}", answer.status);
    Ok(took)
}

impl Name {
    /// Equally long.
    fn text(self) -> String {
        match self {
            Self::Known(number) => format!("timing-known-{number:04}"),
            Self::Unknown(number) => format!("timing-other-{number:04}"),
        }
    }
}
