//! Measures the engine alone: no server, no request. `just bench in-process` writes the table into docs/performance.md.
//!
//! 1,000 roles in a hierarchy of four levels, 5,000 permissions, three roles a user. Questions are about users at random;
//! every answer is compared with the right one. Time is taken of blocks of checks, since the clock itself takes about
//! as long as one.

#[path = "../tests/counting/mod.rs"]
mod counting;
#[allow(unused_imports, reason = "its tests are run with the other benches")]
#[path = "../../../bench/src/report.rs"]
mod report;
#[allow(dead_code, reason = "the other benches use the rest")]
#[path = "../../../bench/src/stats.rs"]
mod stats;

use std::hint::black_box;
use std::time::Instant;

use access::{CatalogView, Decision, Engine, PermissionView, Query, RoleView, Standing, UserAccess};
use anyhow::{Result, ensure};
use counting::Counting;
use ids::{PermissionId, RoleId, Timestamp, UserId};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use report::{Report, Row, Section};
use stats::{count, median};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const ROLES: usize = 1_000;
const LEVELS: usize = 4;
const PERMISSIONS: usize = 5_000;
const ROLES_A_USER: usize = 3;
/// Of each answer.
const QUESTIONS: usize = 100_000;
/// Checks timed as one.
const BLOCK: usize = 64;
const BATCH: usize = 100;
/// Of each measure, in turn with the others.
const ROUNDS: usize = 9;

fn main() -> Result<()> {
    // As cargo starts it, in the folder of this crate.
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/performance.md");
    let report = Report {
        machine: report::machine(&["in-process".to_owned()]),
        page: Some(page.into()),
    };
    let catalog = Catalog::new();
    let (small, middle, large) = (
        catalog.people(10_000)?,
        catalog.people(100_000)?,
        catalog.people(1_000_000)?,
    );
    let mut rows = middle.answers(&catalog);
    rows.extend(of_sizes(&small, &middle, &large));
    rows.extend(middle.batches());
    rows.push(middle.allocations());
    rows.extend([&small, &middle, &large].map(People::memory));
    rows.push(catalog.compiling());
    report.add(&Section {
        name: "in-process",
        rows,
    })
}

struct Permission {
    id: PermissionId,
    name: String,
    resource: String,
    action: String,
}

/// Roles in four levels: each but those of the first has a parent in the level above. Each has five permissions of its
/// own.
struct Catalog {
    roles: Vec<(RoleId, String)>,
    permissions: Vec<Permission>,
}

impl Catalog {
    fn new() -> Self {
        let permission = |number: usize| Permission {
            id: PermissionId::new_v7(),
            name: format!("resource-{}.action-{}", number / 10, number % 10),
            resource: format!("resource-{}", number / 10),
            action: format!("action-{}", number % 10),
        };
        Self {
            roles: (0..ROLES)
                .map(|n| (RoleId::new_v7(), format!("role-{n}")))
                .collect(),
            permissions: (0..PERMISSIONS).map(permission).collect(),
        }
    }

    fn view(&self) -> CatalogView<'_> {
        let permissions = self.permissions.iter().map(|permission| PermissionView {
            id: permission.id,
            name: &permission.name,
            resource: &permission.resource,
            action: &permission.action,
            is_dangerous: false,
        });
        let roles = self
            .roles
            .iter()
            .enumerate()
            .map(|(number, (id, name))| RoleView {
                id: *id,
                name,
                parent: number
                    .checked_sub(ROLES / LEVELS)
                    .map(|parent| self.roles[parent].0),
                level: i32::try_from(number / (ROLES / LEVELS)).unwrap_or_default(),
                is_system_role: false,
                permissions: own(number)
                    .map(|permission| self.permissions[permission].id)
                    .collect(),
            });
        CatalogView {
            permissions: permissions.collect(),
            roles: roles.collect(),
            dangerous: Vec::new(),
        }
    }

    fn people(&self, number: usize) -> Result<People<'_>> {
        let mut random = StdRng::seed_from_u64(7);
        let engine = Engine::default();
        engine.set_catalog(&self.view());
        let users: Vec<_> = (0..number).map(|_| UserId::new_v7()).collect();
        let before = Counting::bytes();
        let mut roles = Vec::new();
        let mut bytes_of_roles = 0;
        for user in &users {
            let own: [usize; ROLES_A_USER] = std::array::from_fn(|_| random.random_range(0..ROLES));
            let grants = own.map(|role| (self.roles[role].0, None));
            engine.insert(*user, 0, &UserAccess::new(Standing::Active, grants));
            let held = Counting::bytes();
            roles.push(own);
            bytes_of_roles += Counting::bytes() - held;
        }
        let bytes = Counting::bytes() - before - bytes_of_roles;
        let mut ask = |allowed: bool| self.question(&users, &roles, allowed, &mut random);
        let people = People {
            engine,
            bytes: bytes as f64 / number as f64,
            allowed: (0..QUESTIONS).map(|_| ask(true)).collect(),
            denied: (0..QUESTIONS).map(|_| ask(false)).collect(),
            number,
        };
        people.verify()?;
        Ok(people)
    }

    fn question(
        &self,
        users: &[UserId],
        roles: &[[usize; ROLES_A_USER]],
        allowed: bool,
        random: &mut StdRng,
    ) -> Question<'_> {
        let place = random.random_range(0..users.len());
        let given = |permission: usize| roles[place].iter().any(|role| gives(*role, permission));
        let permission = loop {
            // Few of all are given: those of one of the roles are tried, or any.
            let permission = match allowed {
                true => {
                    let role = roles[place][random.random_range(0..ROLES_A_USER)];
                    let lineage: Vec<_> = lineage(role).flat_map(own).collect();
                    lineage[random.random_range(0..lineage.len())]
                }
                false => random.random_range(0..PERMISSIONS),
            };
            if given(permission) == allowed {
                break &self.permissions[permission];
            }
        };
        Question {
            user: users[place],
            query: Query {
                resource: &permission.resource,
                action: &permission.action,
            },
        }
    }

    fn compiling(&self) -> Row {
        let rounds = (0..ROUNDS).map(|_| {
            let engine = Engine::default();
            let began = Instant::now();
            engine.set_catalog(&self.view());
            began.elapsed().as_secs_f64()
        });
        let rounds: Vec<_> = rounds.collect();
        Row::new(
            "a changed catalog compiled",
            format!("{:.1} ms", median(&rounds) * 1e3),
        )
    }
}

fn own(role: usize) -> impl Iterator<Item = usize> {
    (0..PERMISSIONS / ROLES).map(move |number| number * ROLES + role)
}

fn lineage(role: usize) -> impl Iterator<Item = usize> {
    std::iter::successors(Some(role), |role| role.checked_sub(ROLES / LEVELS))
}

fn gives(role: usize, permission: usize) -> bool {
    lineage(role).any(|role| permission % ROLES == role)
}

#[derive(Clone, Copy)]
struct Question<'a> {
    user: UserId,
    query: Query<'a>,
}

struct People<'a> {
    engine: Engine,
    /// Of memory a user.
    bytes: f64,
    allowed: Vec<Question<'a>>,
    denied: Vec<Question<'a>>,
    number: usize,
}

impl People<'_> {
    fn verify(&self) -> Result<()> {
        let now = Timestamp::now();
        let (allowed, denied) = (self.allowed.iter(), self.denied.iter());
        for (question, right) in allowed.map(|q| (q, true)).chain(denied.map(|q| (q, false))) {
            let decision = self.engine.check(question.user, question.query, now);
            ensure!(decision.allowed == right, "{:?}: {decision:?}", question.query);
        }
        Ok(())
    }

    /// One allowed, one denied, and so on.
    fn mixed(&self) -> Vec<Question<'_>> {
        let pairs = self.allowed.iter().zip(&self.denied);
        pairs.flat_map(|(allowed, denied)| [*allowed, *denied]).collect()
    }

    fn answers(&self, catalog: &Catalog) -> Vec<Row> {
        let (mixed, mut times, mut allowed, mut denied) = (self.mixed(), Vec::new(), Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            times.extend(self.time(&mixed));
            allowed.extend(self.time(&self.allowed));
            denied.extend(self.time(&self.denied));
        }
        let [mixed, allowed, denied] = [times, allowed, denied].map(Times::of);
        let ratio = denied.p50 / allowed.p50;
        let model = format!(
            "{} users, {} roles, {} permissions",
            count(self.number as f64),
            count(catalog.roles.len() as f64),
            count(catalog.permissions.len() as f64)
        );
        vec![
            Row::new(format!("check, {model}: p50"), nanos(mixed.p50)).goal("< 200 ns", mixed.p50 < 200.0),
            Row::new("p99, of blocks of 64", nanos(mixed.p99)).goal("< 1 us", mixed.p99 < 1_000.0),
            Row::new("denied, p50", nanos(denied.p50))
                .against(format!("allowed: {}", nanos(allowed.p50)))
                .ratio(ratio)
                .goal("within 10 %", (ratio - 1.0).abs() <= 0.1),
        ]
    }

    /// Nanoseconds a check, of each block.
    fn time(&self, questions: &[Question<'_>]) -> Vec<f64> {
        let now = Timestamp::now();
        let blocks = questions.chunks_exact(BLOCK).map(|block| {
            let began = Instant::now();
            for question in block {
                black_box(self.engine.check(question.user, question.query, now));
            }
            began.elapsed().as_secs_f64() * 1e9 / BLOCK as f64
        });
        blocks.collect()
    }

    fn checks_a_second(&self, questions: &[Question<'_>]) -> f64 {
        questions.len() as f64 / seconds(|| drop(self.time(questions)))
    }

    /// A batch about one user, and one about as many users as it has questions.
    fn batches(&self) -> Vec<Row> {
        let (mixed, now) = (self.mixed(), Timestamp::now());
        let mut answers: Vec<Decision> = Vec::with_capacity(BATCH);
        let (mut of_one, mut of_many) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let took = seconds(|| {
                for batch in mixed.chunks_exact(BATCH) {
                    answers.clear();
                    let asked = self.engine.ask(batch[0].user);
                    answers.extend(batch.iter().map(|question| asked.check(question.query, now)));
                    black_box(&answers);
                }
            });
            of_one.push(mixed.len() as f64 / took);
            let took = seconds(|| {
                for batch in mixed.chunks_exact(BATCH) {
                    answers.clear();
                    let decide = |it: &Question<'_>| self.engine.check(it.user, it.query, now);
                    answers.extend(batch.iter().map(decide));
                    black_box(&answers);
                }
            });
            of_many.push(mixed.len() as f64 / took);
        }
        let row = |what, rate| {
            Row::new(format!("decisions/s in batches of {BATCH} {what}"), count(rate))
                .goal(">= 1,000,000", rate >= 1e6)
        };
        vec![
            row("about one user", median(&of_one)),
            row("about many", median(&of_many)),
        ]
    }

    fn allocations(&self) -> Row {
        let now = Timestamp::now();
        let mixed = self.mixed();
        let before = Counting::allocations();
        for question in &mixed {
            black_box(self.engine.check(question.user, question.query, now));
        }
        let made = Counting::allocations() - before;
        Row::new(
            "allocations a check",
            format!("{:.3}", made as f64 / mixed.len() as f64),
        )
        .goal("0", made == 0)
    }

    fn memory(&self) -> Row {
        let what = format!("memory a user with three roles, of {}", count(self.number as f64));
        Row::new(what, format!("{:.0} bytes", self.bytes)).goal("<= 100", self.bytes <= 100.0)
    }
}

/// In turn, so that whatever else the machine does concerns all of them.
fn of_sizes(small: &People<'_>, middle: &People<'_>, large: &People<'_>) -> Vec<Row> {
    let sizes = [small, middle, large].map(|people| (people, people.mixed()));
    let mut rates = [Vec::new(), Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        for ((people, questions), rates) in sizes.iter().zip(&mut rates) {
            rates.push(people.checks_a_second(questions));
        }
    }
    let [small_rate, middle_rate, large_rate] = rates.map(|rates| median(&rates));
    let ratio = large_rate / small_rate;
    let against = format!("{} users: {}", count(small.number as f64), count(small_rate));
    vec![
        Row::new(
            format!("checks/s, one thread, {} users", count(middle.number as f64)),
            count(middle_rate),
        )
        .against(against.clone())
        .ratio(middle_rate / small_rate),
        Row::new(
            format!("checks/s, one thread, {} users", count(large.number as f64)),
            count(large_rate),
        )
        .against(against)
        .ratio(ratio)
        .goal(">= 0.90", ratio >= 0.9),
    ]
}

struct Times {
    p50: f64,
    p99: f64,
}

impl Times {
    fn of(mut blocks: Vec<f64>) -> Self {
        blocks.sort_by(f64::total_cmp);
        let at = |share: f64| blocks[((blocks.len() - 1) as f64 * share) as usize];
        Self {
            p50: at(0.5),
            p99: at(0.99),
        }
    }
}

fn seconds(work: impl FnOnce()) -> f64 {
    let began = Instant::now();
    work();
    began.elapsed().as_secs_f64()
}

fn nanos(nanos: f64) -> String {
    format!("{nanos:.0} ns")
}
