//! One client: it does what comes into its mind, one call after the other, and remembers all of it.

mod asking;
mod commanding;
mod people;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use schemas::{Timestamp, UserId};
use serde_json::json;
use tests::{Answer, Call, Client};
use uuid::Uuid;

use crate::Settings;
use crate::campaign::said;
use crate::record::{Action, Attempt, Calls, Command, Outcome, Span};
use crate::shared::Shared;
use people::Person;

/// How often a command is tried again under its key.
const TRIES: usize = 40;

pub struct Actor {
    number: usize,
    random: StdRng,
    shared: Arc<Shared>,
    pace: Duration,
    /// Of a hundred calls.
    checks: u32,
    /// Repeats under an idempotency key what was not acknowledged.
    has_keys: bool,
    /// Hangs up now and then before the answer is there.
    is_hasty: bool,
    people: Vec<Person>,
    /// Token of the last acknowledgement.
    last_token: Option<String>,
    calls: Calls,
}

impl Actor {
    pub fn new(number: usize, settings: &Settings, shared: Arc<Shared>) -> Self {
        let own = settings.seed.wrapping_mul(1_000_003).wrapping_add(number as u64);
        Self {
            number,
            random: StdRng::seed_from_u64(own),
            shared,
            pace: settings.pace,
            checks: settings.checks,
            has_keys: number.is_multiple_of(2),
            is_hasty: number % 4 >= 2,
            people: Vec::new(),
            last_token: None,
            calls: Calls::default(),
        }
    }

    pub async fn run(mut self) -> Calls {
        while !self.shared.is_stopped() {
            // An answer against the contract is a panic: worth a line, and no reason to stop.
            if let Err(panic) = AssertUnwindSafe(self.act()).catch_unwind().await {
                self.wrong(format!("client {}: {}", self.number, said(&*panic)));
            }
            let most = u64::try_from(self.pace.as_millis()).unwrap_or(u64::MAX).max(1);
            let pause = self.random.random_range(0..most * 2);
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
        self.calls
    }

    async fn act(&mut self) {
        if self.random.random_range(0..100) < self.checks {
            match self.random.random_range(0..8) {
                0 => self.ask_after_the_end().await,
                _ => self.ask().await,
            }
        } else {
            self.change().await;
        }
    }

    async fn change(&mut self) {
        match self.random.random_range(0..60) {
            0..12 => self.grant().await,
            12..21 => self.revoke().await,
            21..28 => self.change_catalog().await,
            28..32 => self.register().await,
            32..40 => self.log_in().await,
            40..42 => self.guess_password().await,
            42..48 => self.refresh().await,
            48..52 => self.log_out().await,
            52..54 => self.change_password().await,
            54..57 => self.deactivate().await,
            _ => self.reactivate().await,
        }
    }

    async fn grant(&mut self) {
        let (user, role) = (self.any_user(), crate::shared::any_role(&mut self.random));
        let expires_at = unique_expiry();
        let (path, body) = (
            format!("/v1/users/{user}/roles/{role}"),
            json!({ "expires_at": expires_at }),
        );
        let action = Action::Grant {
            user,
            role,
            expires_at,
        };
        let admin = self.admin();
        self.command(action, |client| {
            client.command("PUT", &path).bearer(&admin).json(&body)
        })
        .await;
    }

    async fn revoke(&mut self) {
        let (user, role) = (self.any_user(), crate::shared::any_role(&mut self.random));
        let path = format!("/v1/users/{user}/roles/{role}");
        let admin = self.admin();
        self.command(Action::Revoke { user, role }, |client| {
            client.command("DELETE", &path).bearer(&admin)
        })
        .await;
    }

    /// One of everybody's or one of its own.
    fn any_user(&mut self) -> UserId {
        let subjects = self.shared.subjects.len();
        let index = self.random.random_range(0..subjects + self.people.len());
        match index.checked_sub(subjects) {
            None => self.shared.subjects[index],
            Some(own) => self.people[own].id,
        }
    }

    fn admin(&self) -> String {
        self.shared.world.admin.access_token.clone()
    }

    fn new_uuid(&mut self) -> Uuid {
        uuid::Builder::from_random_bytes(self.random.random()).into_uuid()
    }

    fn wrong(&mut self, what: String) {
        self.calls.violations.push(what);
    }

    /// Sends it, again and again if it has a key, and remembers what became of it.
    async fn command(&mut self, action: Action, call: impl Fn(&Client) -> Call) -> (Outcome, Option<Answer>) {
        let key = self.has_keys.then(|| self.new_uuid().to_string());
        let mut command = Command {
            client: self.number,
            action,
            has_key: key.is_some(),
            attempts: Vec::new(),
            token: None,
        };
        let counts = &Arc::clone(&self.shared).counts;
        counts.commands.fetch_add(1, Ordering::Relaxed);
        let mut acknowledged = None;
        while command.attempts.len() < TRIES {
            let (attempt, answer) = self.attempt(&call, key.as_deref()).await;
            let outcome = attempt.outcome.clone();
            command.attempts.push(attempt);
            if outcome == Outcome::Acknowledged {
                acknowledged = answer;
                break;
            }
            if key.is_none() || !may_pass(&outcome) || self.shared.is_stopped() {
                break;
            }
            let pause = Duration::from_millis(self.random.random_range(50..800));
            tokio::time::sleep(pause).await;
        }
        let outcome = command.outcome();
        match &outcome {
            Outcome::Acknowledged => counts.acknowledged.fetch_add(1, Ordering::Relaxed),
            Outcome::Unknown(_) => counts.unknown.fetch_add(1, Ordering::Relaxed),
            Outcome::Refused(_) => 0,
        };
        if let Some(answer) = &acknowledged {
            let token = answer.header("rolecall-token").to_owned();
            self.shared.learn(&token);
            command.token = Some(token.clone());
            self.last_token = Some(token);
        }
        self.calls.commands.push(command);
        (outcome, acknowledged)
    }

    async fn attempt(
        &mut self,
        call: &impl Fn(&Client) -> Call,
        key: Option<&str>,
    ) -> (Attempt, Option<Answer>) {
        let (service, client) = self.shared.any_command(&mut self.random);
        let request = self.new_uuid();
        let call = call(&client).header("x-request-id", request.to_string());
        let call = match key {
            Some(key) => call.key(key),
            None => call,
        };
        let patience = self.patience();
        let sent = Instant::now();
        let (outcome, answer) = match tokio::time::timeout(patience, call.try_send()).await {
            Err(_) => (Outcome::Unknown("hung up".to_owned()), None),
            Ok(Err(error)) => (lost(&error), None),
            Ok(Ok(answer)) => (self.judge(&answer, request), Some(answer)),
        };
        let attempt = Attempt {
            request,
            service,
            sent: Span::since(sent),
            outcome,
        };
        (attempt, answer)
    }

    fn patience(&mut self) -> Duration {
        if self.is_hasty && self.random.random_ratio(1, 6) {
            return Duration::from_millis(self.random.random_range(1..80));
        }
        // The HTTP client gives up before that.
        Duration::from_secs(3_600)
    }

    fn judge(&mut self, answer: &Answer, request: Uuid) -> Outcome {
        if answer.status < 300 {
            return Outcome::Acknowledged;
        }
        let slug = answer.slug();
        if answer.status >= 500 && answer.status != 503 {
            self.wrong(format!(
                "request {request} is answered {}: {}",
                answer.status, answer.text
            ));
            return Outcome::Unknown(slug);
        }
        match slug.as_str() {
            "outcome-unknown" => Outcome::Unknown(slug),
            _ => Outcome::Refused(slug),
        }
    }
}

fn lost(error: &reqwest::Error) -> Outcome {
    if error.is_connect() {
        Outcome::Refused("unreachable".to_owned())
    } else if error.is_timeout() {
        Outcome::Unknown("timeout".to_owned())
    } else {
        Outcome::Unknown("connection lost".to_owned())
    }
}

/// Whether another try may fare better.
fn may_pass(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Acknowledged => false,
        Outcome::Unknown(_) => true,
        Outcome::Refused(slug) => [
            "not-applied",
            "not-yet",
            "busy",
            "dependency-unavailable",
            "unreachable",
        ]
        .contains(&slug.as_str()),
    }
}

/// A second of its own for each grant, a hundred years from now.
fn unique_expiry() -> String {
    static COUNTER: AtomicI64 = AtomicI64::new(0);
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    Timestamp::from_micros(4_102_444_800_000_000 + number * 1_000_000).to_string()
}
