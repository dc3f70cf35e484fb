//! People of every ledger whose rights and rows are asked for all the time: an answer may be late, never wrong.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tests::{Answer, Person, World, unique};
use tokio::task::JoinHandle;

pub struct Readers {
    stop: Arc<AtomicBool>,
    answers: Arc<AtomicUsize>,
    running: Vec<JoinHandle<()>>,
}

impl Readers {
    /// Of so many people, each of whom gets and loses a role in turn.
    pub async fn start(world: &Arc<World>, people: usize) -> Self {
        let (role, resource) = (unique("reader"), unique("resource"));
        world.admin.define_role(&role, None).await;
        world.admin.define_permission(&resource, "read", &resource).await;
        world.admin.attach(&role, &resource).await;
        let (stop, answers) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let mut running = Vec::new();
        for _ in 0..people {
            let reader = Reader {
                world: Arc::clone(world),
                person: world.person("read").await,
                role: role.clone(),
                resource: resource.clone(),
                stop: Arc::clone(&stop),
                answers: Arc::clone(&answers),
            };
            running.push(tokio::spawn(reader.run()));
        }
        Self {
            stop,
            answers,
            running,
        }
    }

    /// How many answers were right.
    pub async fn reckon(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        for running in self.running {
            running.await.unwrap();
        }
        self.answers.load(Ordering::Relaxed)
    }
}

struct Reader {
    world: Arc<World>,
    person: Person,
    role: String,
    resource: String,
    stop: Arc<AtomicBool>,
    answers: Arc<AtomicUsize>,
}

impl Reader {
    async fn run(self) {
        let mut grants = 0;
        while !self.stop.load(Ordering::Relaxed) {
            let granted = self.change(true).await;
            grants += 1;
            self.rights_are(true, &granted).await;
            self.audit_tells(grants, &granted).await;
            let revoked = self.change(false).await;
            self.rights_are(false, &revoked).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn change(&self, granted: bool) -> String {
        let method = if granted { "PUT" } else { "DELETE" };
        self.answered(&Asking::Command(method)).await.token()
    }

    async fn rights_are(&self, allowed: bool, token: &str) {
        let answer = self.answered(&Asking::Check(token)).await;
        assert_eq!(answer.body["decision"], allowed);
        self.answers.fetch_add(1, Ordering::Relaxed);
    }

    /// From the user's shard: every grant there was stands in it, once.
    async fn audit_tells(&self, grants: usize, token: &str) {
        let answer = self.answered(&Asking::Audit(token)).await;
        let events = answer.body["events"].as_array().unwrap();
        let told = events
            .iter()
            .filter(|event| event["type"] == "user.role_granted")
            .count();
        // Pages hold no more.
        if events.len() < 500 {
            assert_eq!(told, grants, "of {} by {token}: {}", self.person.id, answer.text);
        }
        self.answers.fetch_add(1, Ordering::Relaxed);
    }

    /// What is not known yet, or not for a moment, is asked for again.
    async fn answered(&self, asking: &Asking<'_>) -> Answer {
        for _ in 0..200 {
            let answer = self.ask(asking).await;
            match answer.status {
                200 => return answer,
                503 => tokio::time::sleep(Duration::from_millis(50)).await,
                other => panic!("answered {other}: {}", answer.text),
            }
        }
        panic!("{} is not answered for any more", self.person.id)
    }

    async fn ask(&self, asking: &Asking<'_>) -> Answer {
        let (admin, user) = (&self.world.admin, self.person.id);
        match asking {
            Asking::Command(method) => {
                let path = format!("/v1/users/{user}/roles/{}", self.role);
                admin.command(method, &path, serde_json::Value::Null).await
            }
            Asking::Check(token) => admin.ask(user, "read", &self.resource, token).await,
            Asking::Audit(token) => {
                let path = format!("/v1/users/{user}/audit?limit=500");
                admin.query(&path, token).await
            }
        }
    }
}

/// Each reflects its token, where it has one.
enum Asking<'a> {
    Command(&'a str),
    Check(&'a str),
    Audit(&'a str),
}
