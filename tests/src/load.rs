//! A steady stream of commands, and afterwards the reckoning: what was acknowledged stands in the
//! log once, what was refused does not, and nothing stands there twice.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use schemas::user::UserEvent;
use schemas::{Event, Timestamp, UserId};
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::people::{registration, unique};
use crate::{Answer, Client, World};

/// What became of one command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Acknowledged,
    /// "Certainly not applied", or refused before anything was decided.
    NotApplied,
    /// The connection broke, or the service does not know.
    Unknown,
}

/// A grant is told from all others by its expiry.
type GrantId = (UserId, Timestamp);

#[derive(Default)]
struct Ledger {
    grants: HashMap<GrantId, Outcome>,
    registered: Vec<UserId>,
    /// How often each problem type came.
    refusals: HashMap<String, usize>,
}

/// Several people's commands at once until it is told to stop.
pub struct Load {
    world: Arc<World>,
    workers: Vec<JoinHandle<Ledger>>,
    stop: Arc<AtomicBool>,
    acknowledged: watch::Receiver<u64>,
}

const PACE: Duration = Duration::from_millis(40);

/// Numbers the grants of this process.
static GRANTS: AtomicU64 = AtomicU64::new(0);

impl Load {
    /// `patient` workers repeat a command under its key until it is acknowledged; the others, as
    /// many, send each command once, without a key.
    pub async fn start(world: &Arc<World>, patient: usize) -> Self {
        Self::start_at(world, world.client.clone(), patient).await
    }

    /// As [`Self::start`], at the command services of this client, in turn.
    pub async fn start_at(world: &Arc<World>, client: Client, patient: usize) -> Self {
        let role = unique("load");
        world.admin.define_role(&role, None).await;
        let stop = Arc::new(AtomicBool::new(false));
        let (count, acknowledged) = watch::channel(0);
        let mut workers = Vec::new();
        for number in 0..patient * 2 {
            let (user, _) = world.register(&unique("loaded")).await;
            let worker = Worker {
                world: Arc::clone(world),
                client: client.clone(),
                role: role.clone(),
                user,
                keyed: number < patient,
                count: count.clone(),
                stop: Arc::clone(&stop),
                ledger: Ledger::default(),
            };
            workers.push(tokio::spawn(worker.run()));
        }
        let load = Self {
            world: Arc::clone(world),
            workers,
            stop,
            acknowledged,
        };
        load.more(50).await;
        load
    }

    /// Waits until so many more commands were acknowledged.
    pub async fn more(&self, commands: u64) {
        let mut acknowledged = self.acknowledged.clone();
        let target = *acknowledged.borrow() + commands;
        let reached = acknowledged.wait_for(|count| *count >= target);
        let reached = tokio::time::timeout(Duration::from_secs(60), reached).await;
        assert!(reached.is_ok(), "commands are not acknowledged any more");
    }

    pub fn acknowledged(&self) -> u64 {
        *self.acknowledged.borrow()
    }

    /// Ends the load and compares it with the log. Gives how often each refusal came.
    pub async fn reckon(mut self) -> HashMap<String, usize> {
        self.stop.store(true, Ordering::Relaxed);
        let mut sum = Ledger::default();
        for worker in std::mem::take(&mut self.workers) {
            let ledger = worker.await.unwrap();
            sum.grants.extend(ledger.grants);
            sum.registered.extend(ledger.registered);
            for (slug, count) in ledger.refusals {
                *sum.refusals.entry(slug).or_default() += count;
            }
        }
        let history = self.world.history().await;
        let mut grants: HashMap<GrantId, usize> = HashMap::new();
        let mut registered: HashMap<UserId, usize> = HashMap::new();
        for (_, stored) in &history.events {
            match &stored.data {
                Event::User(UserEvent::RoleGranted(granted)) => {
                    let user = stored.meta.aggregate_id.parse().unwrap();
                    if let Some(expires_at) = granted.expires_at {
                        *grants.entry((user, expires_at)).or_default() += 1;
                    }
                }
                Event::User(UserEvent::Registered(it)) => *registered.entry(it.user_id).or_default() += 1,
                _ => {}
            }
        }
        for (id, outcome) in &sum.grants {
            let found = grants.get(id).copied().unwrap_or(0);
            let right = match outcome {
                Outcome::Acknowledged => found == 1,
                Outcome::NotApplied => found == 0,
                Outcome::Unknown => found <= 1,
            };
            assert!(right, "{outcome:?}, and {found} times in the log: {id:?}");
        }
        for user in &sum.registered {
            assert_eq!(registered.get(user), Some(&1), "registered {user}");
        }
        let acknowledged = sum
            .grants
            .values()
            .filter(|it| **it == Outcome::Acknowledged)
            .count();
        println!(
            "        {acknowledged} of {} grants and {} registrations acknowledged; refusals: {:?}",
            sum.grants.len(),
            sum.registered.len(),
            sum.refusals
        );
        sum.refusals
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.workers.iter().for_each(JoinHandle::abort);
    }
}

struct Worker {
    world: Arc<World>,
    client: Client,
    role: String,
    user: UserId,
    keyed: bool,
    count: watch::Sender<u64>,
    stop: Arc<AtomicBool>,
    ledger: Ledger,
}

impl Worker {
    async fn run(mut self) -> Ledger {
        let mut turn = 0_u64;
        while !self.stop.load(Ordering::Relaxed) {
            if self.keyed && turn % 10 == 9 {
                self.register().await;
            } else {
                self.grant().await;
            }
            turn += 1;
            // Enough to be in the middle of something at any moment.
            tokio::time::sleep(PACE).await;
        }
        self.ledger
    }

    async fn grant(&mut self) {
        let number = i64::try_from(GRANTS.fetch_add(1, Ordering::Relaxed)).unwrap();
        let expires_at = Timestamp::from_micros(4_102_444_800_000_000 + number * 1_000_000);
        let path = format!("/v1/users/{}/roles/{}", self.user, self.role);
        let body = json!({ "expires_at": expires_at.to_string() });
        let key = uuid::Uuid::now_v7().to_string();
        let mut doubt = false;
        let outcome = loop {
            let call = self
                .client
                .command("PUT", &path)
                .bearer(&self.world.admin.access_token);
            let call = if self.keyed { call.key(&key) } else { call };
            let outcome = self.judge(call.json(&body).try_send().await.ok());
            doubt |= outcome == Outcome::Unknown;
            if !self.keyed || outcome == Outcome::Acknowledged {
                break outcome;
            }
            if self.stop.load(Ordering::Relaxed) {
                break if doubt { Outcome::Unknown } else { outcome };
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        if outcome == Outcome::Acknowledged {
            self.count.send_modify(|count| *count += 1);
        }
        self.ledger.grants.insert((self.user, expires_at), outcome);
    }

    async fn register(&mut self) {
        let (body, key) = (registration(&unique("recruit")), uuid::Uuid::now_v7().to_string());
        loop {
            let call = self.client.command("POST", "/v1/users").key(&key).json(&body);
            let answer = call.try_send().await.ok();
            if self.judge(answer.clone()) == Outcome::Acknowledged {
                let user = answer.unwrap().body["user_id"].as_str().unwrap().parse().unwrap();
                self.ledger.registered.push(user);
                self.count.send_modify(|count| *count += 1);
                return;
            }
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Whatever is broken, the answer is one of these.
    fn judge(&mut self, answer: Option<Answer>) -> Outcome {
        let Some(answer) = answer else {
            return Outcome::Unknown;
        };
        if answer.status < 300 {
            return Outcome::Acknowledged;
        }
        let slug = answer.slug();
        *self.ledger.refusals.entry(slug.clone()).or_default() += 1;
        match slug.as_str() {
            "not-applied"
            | "not-yet"
            | "shutting-down"
            | "dependency-unavailable"
            | "deadline-exceeded"
            | "busy" => Outcome::NotApplied,
            "outcome-unknown" => Outcome::Unknown,
            _ => panic!(
                "under a fault the service answers {}: {}",
                answer.status, answer.text
            ),
        }
    }
}
