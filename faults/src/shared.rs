//! What all clients share: the addresses, the users and roles everybody works on, and the newest
//! token that anybody has.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use local_rolecall::Service;
use rand::RngExt as _;
use rand::rngs::StdRng;
use schemas::{Position, UserId};
use service_kit::consistency::ConsistencyToken;
use tests::{Client, World};

const ROLES: usize = 10;
const PERMISSIONS: usize = 8;
const SUBJECTS: usize = 8;
/// Longer than any call may take.
const GIVEN_UP: Duration = Duration::from_secs(90);
/// What every permission of the campaign allows, each on a resource of its own.
pub const ACT: &str = "act";

pub struct Shared {
    pub world: Arc<World>,
    commands: Vec<Client>,
    queries: Vec<Client>,
    /// Users whose grants all clients change and ask about.
    pub subjects: Vec<UserId>,
    known: Mutex<ConsistencyToken>,
    stop: AtomicBool,
    pub counts: Counts,
}

#[derive(Default)]
pub struct Counts {
    pub acknowledged: AtomicU64,
    pub commands: AtomicU64,
    pub unknown: AtomicU64,
    pub checks: AtomicU64,
}

impl Shared {
    /// Makes the roles, permissions and users.
    pub async fn prepare(world: Arc<World>) -> Self {
        let rolecall = &world.rolecall;
        let command_urls = (0..rolecall.count(Service::Command)).map(|at| rolecall.url(Service::Command, at));
        let query_urls = (0..rolecall.count(Service::Query)).map(|at| rolecall.url(Service::Query, at));
        let commands = command_urls
            .map(|url| Client::within(GIVEN_UP, rolecall.certificates(), url, rolecall.query_url()));
        let queries = query_urls
            .map(|url| Client::within(GIVEN_UP, rolecall.certificates(), rolecall.command_url(), url));
        let (commands, queries) = (commands.collect(), queries.collect());
        let known = Mutex::new(ConsistencyToken::new(world.identity.created.log_id));
        for role in (0..ROLES).map(role) {
            world.admin.define_role(&role, None).await;
        }
        for (name, resource) in (0..PERMISSIONS).map(|number| (permission(number), resource(number))) {
            world.admin.define_permission(&name, ACT, &resource).await;
        }
        for number in 0..ROLES {
            world
                .admin
                .attach(&role(number), &permission(number % PERMISSIONS))
                .await;
        }
        let mut subjects = Vec::new();
        for number in 0..SUBJECTS {
            subjects.push(world.register(&format!("subject-{number}")).await.0);
        }
        Self {
            world,
            commands,
            queries,
            subjects,
            known,
            stop: AtomicBool::new(false),
            counts: Counts::default(),
        }
    }

    pub fn any_command(&self, random: &mut StdRng) -> (usize, Client) {
        let index = random.random_range(0..self.commands.len());
        (index, self.commands[index].clone())
    }

    pub fn any_query(&self, random: &mut StdRng) -> (usize, Client) {
        let index = random.random_range(0..self.queries.len());
        (index, self.queries[index].clone())
    }

    /// A token that came with an acknowledgement.
    pub fn learn(&self, token: &str) {
        if let Ok(token) = token.parse::<ConsistencyToken>() {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            token.positions().for_each(|position| known.include(position));
        }
    }

    /// All that was acknowledged to anybody by now.
    pub fn known(&self) -> Vec<Position> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.positions().collect()
    }

    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    pub fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

fn role(number: usize) -> String {
    format!("role-{number}")
}

fn permission(number: usize) -> String {
    format!("permission-{number}")
}

fn resource(number: usize) -> String {
    format!("thing-{number}")
}

pub fn any_role(random: &mut StdRng) -> String {
    role(random.random_range(0..ROLES))
}

pub fn any_permission(random: &mut StdRng) -> String {
    permission(random.random_range(0..PERMISSIONS))
}

pub fn any_resource(random: &mut StdRng) -> String {
    resource(random.random_range(0..PERMISSIONS))
}

pub fn positions(token: &str) -> Vec<Position> {
    token
        .parse::<ConsistencyToken>()
        .map(|token| token.positions().collect())
        .unwrap_or_default()
}
