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

use std::collections::HashMap;
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

    fn people(&self, number: usize) -> Result<People> {
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
        let allowed: Vec<_> = (0..QUESTIONS)
            .map(|_| {
                let place = random.random_range(0..number);
                let role = roles[place][random.random_range(0..ROLES_A_USER)];
                let given: Vec<_> = lineage(role).flat_map(own).collect();
                (place, given[random.random_range(0..given.len())])
            })
            .collect();
        // The same is asked about others, so that the answer is all that differs.
        let denied: Vec<_> = allowed
            .iter()
            .map(|&(_, permission)| {
                loop {
                    let place = random.random_range(0..number);
                    if !roles[place].iter().any(|role| gives(*role, permission)) {
                        break (place, permission);
                    }
                }
            })
            .collect();
        let pairs = allowed.iter().zip(&denied);
        let people = People {
            engine,
            bytes: bytes as f64 / number as f64,
            bare: users.iter().copied().zip(roles.iter().copied()).collect(),
            mixed: self.questions(&users, pairs.flat_map(|(allowed, denied)| [*allowed, *denied])),
            allowed: self.questions(&users, allowed.iter().copied()),
            denied: self.questions(&users, denied.iter().copied()),
            number,
        };
        people.verify()?;
        Ok(people)
    }

    fn questions(&self, users: &[UserId], asked: impl Iterator<Item = (usize, usize)>) -> Questions {
        let mut questions = Questions::default();
        for (place, permission) in asked {
            let permission = &self.permissions[permission];
            questions.text.push_str(&permission.resource);
            let middle = questions.text.len();
            questions.text.push_str(&permission.action);
            let end = questions.text.len();
            questions.places.push((users[place], middle, end));
        }
        questions
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

/// In the order in which they are asked, their words as near as those of a request that was just read.
#[derive(Default)]
struct Questions {
    text: String,
    /// Of each: about whom, and where resource and action end.
    places: Vec<(UserId, usize, usize)>,
}

impl Questions {
    fn iter(&self) -> impl Iterator<Item = (UserId, Query<'_>)> {
        let mut start = 0;
        self.places.iter().map(move |&(user, middle, end)| {
            let resource = &self.text[start..middle];
            let action = &self.text[middle..end];
            start = end;
            (
                user,
                Query {
                    resource,
                    id: Some("7"),
                    action,
                },
            )
        })
    }
}

struct People {
    engine: Engine,
    /// Of memory a user.
    bytes: f64,
    /// The least that anybody could do to know a user's roles.
    bare: HashMap<UserId, [usize; ROLES_A_USER]>,
    allowed: Questions,
    denied: Questions,
    /// One allowed, one denied, and so on.
    mixed: Questions,
    number: usize,
}

impl People {
    fn verify(&self) -> Result<()> {
        let now = Timestamp::now();
        let (allowed, denied) = (self.allowed.iter(), self.denied.iter());
        for ((user, query), right) in allowed.map(|q| (q, true)).chain(denied.map(|q| (q, false))) {
            let decision = self.engine.check(user, query, now);
            ensure!(decision.allowed == right, "{query:?}: {decision:?}");
        }
        Ok(())
    }

    fn answers(&self, catalog: &Catalog) -> Vec<Row> {
        let [mut mixed, mut allowed, mut denied, mut bare] = [const { Vec::new() }; 4];
        let (engine, now) = (&self.engine, Timestamp::now());
        let check = |user: UserId, query: Query<'_>| {
            black_box(engine.check(user, query, now));
        };
        for _ in 0..ROUNDS {
            mixed.extend(time(&self.mixed, check));
            allowed.extend(time(&self.allowed, check));
            denied.extend(time(&self.denied, check));
            bare.extend(time(&self.mixed, |user, _| {
                black_box(self.bare.get(&user));
            }));
        }
        let [mixed, allowed, denied, bare] = [mixed, allowed, denied, bare].map(Times::of);
        let ratio = denied.p50 / allowed.p50;
        let model = format!(
            "{} users, {} roles, {} permissions",
            count(self.number as f64),
            count(catalog.roles.len() as f64),
            count(catalog.permissions.len() as f64)
        );
        vec![
            Row::new(format!("check, {model}: p50"), nanos(mixed.p50))
                .against(format!("the user found in a HashMap: {}", nanos(bare.p50)))
                .ratio(mixed.p50 / bare.p50)
                .goal("< 200 ns", mixed.p50 < 200.0),
            Row::new(format!("p99, of blocks of {BLOCK}"), nanos(mixed.p99))
                .against(nanos(bare.p99))
                .ratio(mixed.p99 / bare.p99)
                .goal("< 1 us", mixed.p99 < 1_000.0),
            Row::new("denied, p50", nanos(denied.p50))
                .against(format!("allowed: {}", nanos(allowed.p50)))
                .ratio(ratio)
                .goal("within 10 %", (ratio - 1.0).abs() <= 0.1),
        ]
    }

    fn checks_a_second(&self) -> f64 {
        let now = Timestamp::now();
        let took = seconds(|| {
            for (user, query) in self.mixed.iter() {
                black_box(self.engine.check(user, query, now));
            }
        });
        self.mixed.places.len() as f64 / took
    }

    fn bare_a_second(&self) -> f64 {
        let took = seconds(|| {
            for (user, _) in self.mixed.iter() {
                black_box(self.bare.get(&user));
            }
        });
        self.mixed.places.len() as f64 / took
    }

    /// A batch about one user, and one about as many users as it has questions.
    fn batches(&self) -> Vec<Row> {
        let (now, batches) = (Timestamp::now(), self.mixed.places.len() / BATCH);
        let mut answers: Vec<Decision> = Vec::with_capacity(BATCH);
        let (mut of_one, mut of_many) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let mut questions = self.mixed.iter();
            let took = seconds(|| {
                for batch in self.mixed.places.chunks_exact(BATCH) {
                    answers.clear();
                    let asked = self.engine.ask(batch[0].0);
                    let queries = questions.by_ref().take(BATCH);
                    answers.extend(queries.map(|(_, query)| asked.check(query, now)));
                    black_box(&answers);
                }
            });
            of_one.push((batches * BATCH) as f64 / took);
            let mut questions = self.mixed.iter();
            let took = seconds(|| {
                for _ in 0..batches {
                    answers.clear();
                    let queries = questions.by_ref().take(BATCH);
                    answers.extend(queries.map(|(user, query)| self.engine.check(user, query, now)));
                    black_box(&answers);
                }
            });
            of_many.push((batches * BATCH) as f64 / took);
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
        let (now, asked) = (Timestamp::now(), self.mixed.places.len());
        let before = Counting::allocations();
        for (user, query) in self.mixed.iter() {
            black_box(self.engine.check(user, query, now));
        }
        let made = Counting::allocations() - before;
        Row::new(
            "allocations a check",
            format!("{:.3}", made as f64 / asked as f64),
        )
        .goal("0", made == 0)
    }

    fn memory(&self) -> Row {
        let what = format!("memory a user with three roles, of {}", count(self.number as f64));
        Row::new(what, format!("{:.0} bytes", self.bytes)).goal("<= 100", self.bytes <= 100.0)
    }
}

/// In turn, so that whatever else the machine does concerns all of them.
fn of_sizes(small: &People, middle: &People, large: &People) -> Vec<Row> {
    let (mut rates, mut bare) = ([const { Vec::new() }; 3], [const { Vec::new() }; 3]);
    for _ in 0..ROUNDS {
        for (place, people) in [small, middle, large].into_iter().enumerate() {
            rates[place].push(people.checks_a_second());
            bare[place].push(people.bare_a_second());
        }
    }
    let (rates, bare) = (
        rates.map(|rates| median(&rates)),
        bare.map(|rates| median(&rates)),
    );
    let row = |place: usize, people: &People| {
        let ratio = rates[place] / rates[0];
        let row = Row::new(
            format!("checks/s, one thread, {} users", count(people.number as f64)),
            count(rates[place]),
        );
        let others = format!("of 10,000: {}; the HashMap alone", count(rates[0]));
        (
            row.against(format!("{others}: {:.2}", bare[place] / bare[0]))
                .ratio(ratio),
            ratio,
        )
    };
    let ((middle, _), (large, ratio)) = (row(1, middle), row(2, large));
    vec![middle, large.goal(">= 0.90", ratio >= 0.9)]
}

/// Nanoseconds for each question, of each block.
fn time(questions: &Questions, mut work: impl FnMut(UserId, Query<'_>)) -> Vec<f64> {
    let mut questions = questions.iter();
    let blocks = (0..QUESTIONS / BLOCK).map(|_| {
        let began = Instant::now();
        for (user, query) in questions.by_ref().take(BLOCK) {
            work(user, query);
        }
        began.elapsed().as_secs_f64() * 1e9 / BLOCK as f64
    });
    blocks.collect()
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
