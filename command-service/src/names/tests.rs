//! A crash at every step: whoever serves next finishes what became a fact, and nothing else.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use domain::user::{ChangeProfile, Erase, NewName, Register, Status};
use event_log::{
    CommitError, Committed, Group, GroupSpec, Instance, MemoryLog, NewDataKey, Outgoing, Owners, Record,
    Target, WriterLog, WriterLogError, WriterTransaction,
};
use schemas::user::UserRegistered;
use schemas::{LogId, RequestId, SchemaIds, Sealed, Sha256Digest, Stream};
use tokio::sync::Notify;

use super::*;

mod again;

const LEDGERS: i32 = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Crash {
    BeforeCommit,
    AfterCommit,
}

/// A log whose owner dies at one of its commits.
struct Mortal {
    log: MemoryLog,
    left: AtomicUsize,
    crash: Crash,
    died: Arc<Notify>,
}

struct Dying {
    transaction: <MemoryLog as WriterLog>::Transaction,
    mortal: Arc<Mortal>,
}

#[derive(Clone)]
struct Life(Arc<Mortal>);

impl WriterLog for Life {
    type Transaction = Dying;
    type Reader = ();

    fn claim(&self, id: &str, ready: &mut dyn FnMut()) -> Result<Dying, WriterLogError> {
        let transaction = self.0.log.claim(id, ready)?;
        let mortal = Arc::clone(&self.0);
        Ok(Dying { transaction, mortal })
    }

    fn read(
        &self,
        reader: &mut (),
        range: &[(Stream, i32, i64, i64)],
        each: &mut dyn FnMut(Record) -> ControlFlow<WriterLogError>,
    ) -> Result<(), WriterLogError> {
        self.0.log.read(reader, range, each)
    }

    fn high_watermarks(&self, partitions: &[(Stream, i32)]) -> Result<Vec<i64>, WriterLogError> {
        self.0.log.high_watermarks(partitions)
    }

    fn stable_ends(&self, partitions: &[(Stream, i32)]) -> Result<Vec<i64>, WriterLogError> {
        self.0.log.stable_ends(partitions)
    }

    fn topic(&self, stream: Stream) -> String {
        self.0.log.topic(stream)
    }

    fn log_id(&self) -> LogId {
        self.0.log.log_id()
    }
}

impl WriterTransaction for Dying {
    fn commit(&mut self, records: &[Outgoing]) -> Result<Committed, CommitError> {
        let before = self.mortal.left.load(Ordering::SeqCst);
        if before > 0 {
            self.mortal.left.store(before - 1, Ordering::SeqCst);
            return self.transaction.commit(records);
        }
        if self.mortal.crash == Crash::AfterCommit {
            self.transaction.commit(records)?;
        }
        // Once only: a dead owner does not come back to commit more.
        self.mortal.died.notify_one();
        std::thread::park();
        Err(CommitError::Fenced)
    }
}

/// With one writer for all ledgers, so that the steps of a claim are one transaction.
async fn names_on<L: WriterLog + Clone>(log: L) -> Names {
    names_with(log, 1).await
}

async fn names_with<L: WriterLog + Clone>(log: L, writers: i32) -> Names {
    let bus = Bus::new(LEDGERS);
    for number in 0..writers {
        let spec = GroupSpec::of_ledgers(number, writers, LEDGERS);
        let (log, ids) = (Arc::new(log.clone()), Arc::new(SchemaIds::numbered()));
        let group = Group::start(log, &spec, ids, Instance::alone(), Owners::default());
        bus.route(&spec.partitions, group);
    }
    bus.settled().await;
    Names::new(bus, "key".to_owned())
}

/// Every way to die, with one writer and with one for each ledger.
fn deaths() -> impl Iterator<Item = (Crash, i32)> {
    let crashes = [Crash::BeforeCommit, Crash::AfterCommit].into_iter();
    crashes.flat_map(|crash| [(crash, 1), (crash, LEDGERS)])
}

fn system() -> CommandContext {
    CommandContext::system(RequestId::new_v7())
}

fn index(text: &str) -> BlindIndex {
    BlindIndex(Sha256Digest::of(text.as_bytes()))
}

fn claim(user: UserId, names: [&str; 2]) -> Claim {
    Claim {
        user,
        id: ClaimId::new_v7(),
        names: vec![
            (IdentifierKind::Username, index(names[0])),
            (IdentifierKind::Email, index(names[1])),
        ],
        shared: false,
    }
}

fn sealed(text: &str) -> Sealed {
    Sealed::from_bytes(text.as_bytes())
}

fn registering(claim: &Claim, texts: [&str; 2]) -> UserCommand {
    let registration = UserRegistered {
        user_id: claim.user,
        claim_id: claim.id,
        username: sealed(texts[0]),
        username_index: claim.names[0].1,
        email: sealed(texts[1]),
        email_index: claim.names[1].1,
        phone_number: None,
        password_hash: sealed("hash"),
        email_verified: false,
        phone_verified: false,
    };
    UserCommand::Register(Box::new(Register { registration }))
}

async fn register(names: &Names, claim: &Claim, texts: [&str; 2]) {
    let command = registering(claim, texts);
    names.commit(claim.clone(), command, system()).await.unwrap();
}

/// With all of their names free for others.
async fn erase(names: &Names, id: UserId) {
    let command = UserCommand::Erase(Erase { credentials: None });
    let aggregate_id = id.to_string();
    let erased = names.bus.execute::<User>(&aggregate_id, command, system());
    erased.await.unwrap();
    names.release_given_up(id, system()).await.unwrap();
}

fn rename(claim: &Claim, texts: [&str; 2]) -> UserCommand {
    let name = |number: usize| {
        Some(NewName {
            name: sealed(texts[number]),
            index: claim.names[number].1,
            claim_id: Some(claim.id),
        })
    };
    UserCommand::ChangeProfile(Box::new(ChangeProfile {
        username: name(0),
        email: name(1),
        phone_number: None,
        credentials: None,
    }))
}

async fn identifier(names: &Names, name: HeldName) -> Identifier {
    let found = names.bus.inspect::<Identifier>(&name.index.to_hex()).await;
    found.unwrap().aggregate
}

async fn user(names: &Names, id: UserId) -> User {
    names
        .bus
        .inspect::<User>(&id.to_string())
        .await
        .unwrap()
        .aggregate
}

/// Finishes what is open, and a second time what must not be open any more.
async fn finish(names: &Names, log: &MemoryLog) {
    names.finish_open().await;
    let before = events(log);
    names.finish_open().await;
    assert_eq!(events(log), before, "finishing again changes nothing");
}

fn events(log: &MemoryLog) -> usize {
    let streams = [Stream::Users, Stream::Identifiers];
    let places = streams
        .iter()
        .flat_map(|stream| (0..LEDGERS).map(|p| Target::Event(*stream, p)));
    places.map(|place| log.records(place).len()).sum()
}

/// Does something, dying at commit number `at`. Whether it died.
async fn die(
    log: &MemoryLog,
    at: usize,
    (crash, writers): (Crash, i32),
    act: impl AsyncFnOnce(&Names),
) -> bool {
    let died = Arc::new(Notify::new());
    let mortal = Arc::new(Mortal {
        log: log.clone(),
        left: AtomicUsize::new(usize::MAX),
        crash,
        died: Arc::clone(&died),
    });
    let names = names_with(Life(Arc::clone(&mortal)), writers).await;
    mortal.left.store(at, Ordering::SeqCst);
    tokio::select! {
        () = act(&names) => false,
        () = died.notified() => true,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_at_any_step_of_a_rename_leaves_no_name_half_way() {
    let (old_texts, new_texts) = (["alice", "alice@example.org"], ["alicia", "alicia@example.org"]);
    for death in deaths() {
        let mut renamed_after = None;
        for at in 0.. {
            let log = MemoryLog::new(LogId::new_v7());
            let id = UserId::new_v7();
            let (old, new) = (claim(id, old_texts), claim(id, new_texts));
            register(&names_on(log.clone()).await, &old, old_texts).await;
            let died = die(&log, at, death, async |names| {
                names
                    .commit(new.clone(), rename(&new, new_texts), system())
                    .await
                    .unwrap();
                names.release_given_up(id, system()).await.unwrap();
            })
            .await;

            let names = names_on(log.clone()).await;
            finish(&names, &log).await;
            let state = user(&names, id).await;
            let is_renamed = new.held().all(|name| state.holds(name));
            assert!(state.given_up.is_empty(), "{death:?} at {at}");
            for name in if is_renamed { new.held() } else { old.held() } {
                assert!(matches!(
                    identifier(&names, name).await,
                    Identifier::Held { holder } if (holder.user_id, holder.claim_id) == (id, name.claim_id)
                ));
            }
            for name in if is_renamed { old.held() } else { new.held() } {
                let left = identifier(&names, name).await;
                if is_renamed {
                    assert_eq!(left, Identifier::Free, "{death:?} at {at}");
                } else if left != Identifier::Free {
                    // Reserved by nobody who lives: a contender gets it, and the late event is refused.
                    assert!(names.take_from(id, name, &system()).await.unwrap());
                    assert_eq!(identifier(&names, name).await, Identifier::Free);
                    let aggregate_id = id.to_string();
                    let late = names
                        .bus
                        .execute::<User>(&aggregate_id, rename(&new, new_texts), system());
                    assert_eq!(
                        late.await.unwrap_err(),
                        BusError::Refused(user::Error::ClaimAbandoned)
                    );
                }
            }
            if is_renamed {
                renamed_after.get_or_insert(at);
            }
            if !died {
                assert!(is_renamed);
                assert!(
                    at > 2,
                    "reserve, user event, confirm and release: {at} commits only"
                );
                break;
            }
        }
        // Both are seen: crashes before the commit point and after it, unless one transaction is all there is.
        let first = usize::from(death != (Crash::AfterCommit, 1));
        assert!(renamed_after.is_some_and(|at| at >= first), "{death:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_at_any_step_of_an_erasure_frees_the_names_all_the_same() {
    let texts = ["carol", "carol@example.org"];
    for death in deaths() {
        for at in 0.. {
            let log = MemoryLog::new(LogId::new_v7());
            let id = UserId::new_v7();
            let own = claim(id, texts);
            register(&names_on(log.clone()).await, &own, texts).await;
            let died = die(&log, at, death, async |names| {
                erase(names, id).await;
            })
            .await;

            let names = names_on(log.clone()).await;
            finish(&names, &log).await;
            let state = user(&names, id).await;
            let is_erased = state.status() == Status::Erased;
            assert!(state.given_up.is_empty(), "{death:?} at {at}");
            for name in own.held() {
                let is_free = identifier(&names, name).await == Identifier::Free;
                assert_eq!(is_free, is_erased, "{death:?} at {at}");
            }
            let markers = (0..LEDGERS).map(|ledger| log.records(Target::Key(ledger)).len());
            assert_eq!(
                markers.sum::<usize>(),
                usize::from(is_erased),
                "the marker goes with the event"
            );
            if !died {
                assert!(is_erased && at > 1);
                break;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_one_writer_a_claim_is_one_transaction() {
    let (texts, taken) = (["dora", "dora@example.org"], ["eve", "dora@example.org"]);
    let log = MemoryLog::new(LogId::new_v7());
    let died = die(&log, 1, (Crash::BeforeCommit, 1), async |names| {
        let own = claim(UserId::new_v7(), texts);
        register(names, &own, texts).await;
        for name in own.held() {
            assert!(matches!(identifier(names, name).await, Identifier::Held { .. }));
        }
    });
    assert!(!died.await, "a second transaction");
    // What one of them refuses is refused as ever, and nothing of it stays.
    let names = names_on(log).await;
    let late = claim(UserId::new_v7(), taken);
    let refused = names.commit(late.clone(), registering(&late, taken), system());
    assert_eq!(refused.await.unwrap_err().kind, ProblemType::EmailTaken);
    let own = HeldName {
        index: index("eve"),
        ..late.held().next().unwrap()
    };
    assert_eq!(identifier(&names, own).await, Identifier::Free);
    assert!(user(&names, late.user).await.account.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_new_is_beside_their_address_where_writers_are_few() {
    let names = names_with(MemoryLog::new(LogId::new_v7()), LEDGERS).await;
    for number in 0..20 {
        let email = index(&number.to_string());
        let user = names.user_beside(email).to_string();
        assert!((names.bus).have_one_writer::<User, Identifier>(&user, &email.to_hex()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contender_gets_what_was_reserved_anew_under_a_claim_used_up() {
    let log = MemoryLog::new(LogId::new_v7());
    let (id, old_texts, new_texts) = (
        UserId::new_v7(),
        ["bob", "bob@example.org"],
        ["rob", "rob@example.org"],
    );
    let (old, new) = (claim(id, old_texts), claim(id, new_texts));
    let names = names_on(log.clone()).await;
    register(&names, &old, old_texts).await;
    // Only the address changes: the user name stays under the first claim.
    let email_only = Claim {
        names: vec![new.names[1]],
        ..claim(id, new_texts)
    };
    let command = UserCommand::ChangeProfile(Box::new(ChangeProfile {
        email: Some(NewName {
            name: sealed(new_texts[1]),
            index: email_only.names[0].1,
            claim_id: Some(email_only.id),
        }),
        ..ChangeProfile::default()
    }));
    names.commit(email_only, command, system()).await.unwrap();
    names.release_given_up(id, system()).await.unwrap();
    // A retry of the registration that was delayed until now.
    let address = old
        .held()
        .find(|name| name.kind == IdentifierKind::Email)
        .unwrap();
    names.reserve(id, address, &system()).await.unwrap();
    assert!(names.take_from(id, address, &system()).await.unwrap());
    assert_eq!(identifier(&names, address).await, Identifier::Free);
    // What the same claim still holds is not taken.
    let username = old
        .held()
        .find(|name| name.kind == IdentifierKind::Username)
        .unwrap();
    assert!(!names.take_from(id, username, &system()).await.unwrap());
    assert!(matches!(
        identifier(&names, username).await,
        Identifier::Held { .. }
    ));
}

fn registration(number: u128, texts: &[String; 2], shared: bool) -> Registration {
    let user = UserId::from_uuid(uuid::Uuid::from_u128(number));
    let id = ClaimId::from_uuid(uuid::Uuid::from_u128(number));
    let claim = Claim {
        user,
        id,
        shared,
        ..claim(user, [&texts[0], &texts[1]])
    };
    let registered = UserRegistered {
        user_id: user,
        claim_id: id,
        username: sealed(&texts[0]),
        username_index: claim.names[0].1,
        email: sealed(&texts[1]),
        email_index: claim.names[1].1,
        phone_number: None,
        password_hash: sealed("hash"),
        email_verified: false,
        phone_verified: false,
    };
    let key = schemas::KeyEncryptionKey::parse(&[7; 32]).unwrap();
    let wrapped = key
        .wrap(LogId::new_v7(), user, &schemas::DataKey::generate())
        .unwrap();
    let new_data_key = NewDataKey {
        user_id: user,
        wrapped,
        key_encryption_key_id: key.id(),
    };
    Registration {
        claim,
        registered,
        new_data_key,
    }
}

/// Half of them want a name that somebody has.
fn half_taken(shared: bool) -> Vec<Registration> {
    let texts = |number: u128| match number % 4 {
        1 => ["taken".to_owned(), format!("u{number}@example.org")],
        3 => [format!("u{number}"), "taken@example.org".to_owned()],
        _ => [format!("u{number}"), format!("u{number}@example.org")],
    };
    (10..22)
        .map(|number| registration(number, &texts(number), shared))
        .collect()
}

/// Each user has both names or neither, and no name is kept for nobody.
async fn all_or_nothing(names: &Names, registrations: &[Registration]) -> usize {
    let mut registered = 0;
    for Registration { claim, .. } in registrations {
        let is_there = user(names, claim.user).await.account.is_some();
        registered += usize::from(is_there);
        for name in claim.held() {
            let found = identifier(names, name).await;
            let own = found.holder().filter(|holder| holder.user_id == claim.user);
            let Some(claim_id) = own.map(|holder| holder.claim_id) else {
                assert!(!is_there, "{found:?}");
                continue;
            };
            if is_there {
                assert!(matches!(found, Identifier::Held { .. }), "{found:?}");
            } else {
                // Reserved by nobody who lives: a contender gets it.
                let name = HeldName { claim_id, ..name };
                assert!(names.take_from(claim.user, name, &system()).await.unwrap());
            }
        }
    }
    registered
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_at_any_step_of_many_registrations_leaves_each_whole_or_undone() {
    let holder = claim(UserId::new_v7(), ["taken", "taken@example.org"]);
    for (crash, shared) in [
        (Crash::BeforeCommit, false),
        (Crash::AfterCommit, false),
        (Crash::BeforeCommit, true),
        (Crash::AfterCommit, true),
    ] {
        let mut seen = std::collections::BTreeSet::new();
        for at in 0.. {
            let log = MemoryLog::new(LogId::new_v7());
            register(
                &names_on(log.clone()).await,
                &holder,
                ["taken", "taken@example.org"],
            )
            .await;
            let died = die(&log, at, (crash, 1), async |names| {
                let outcomes = names.register_all(half_taken(shared), &system()).await;
                for (number, outcome) in (10..).zip(outcomes) {
                    assert_eq!(outcome.is_ok(), number % 2 == 0, "{number}");
                }
            })
            .await;
            let names = names_on(log.clone()).await;
            finish(&names, &log).await;
            seen.insert(all_or_nothing(&names, &half_taken(shared)).await);
            // With a key the rest is done by the next try, under further claims where a contender was quicker.
            if died && shared {
                let log = log.clone();
                let names = names_on(log).await;
                names.register_all(half_taken(true), &system()).await;
                assert_eq!(all_or_nothing(&names, &half_taken(true)).await, 6);
            }
            if !died {
                assert!(
                    at > 2,
                    "reserve, register, confirm and release: {at} commits only"
                );
                break;
            }
        }
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), [0, 6], "{crash:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_registrations_are_told_apart() {
    let log = MemoryLog::new(LogId::new_v7());
    let names = names_on(log).await;
    let holder = claim(UserId::new_v7(), ["taken", "taken@example.org"]);
    register(&names, &holder, ["taken", "taken@example.org"]).await;
    let told = |outcomes: Vec<Result<event_log::Done, Problem>>| -> Vec<Option<ProblemType>> {
        outcomes
            .into_iter()
            .map(|outcome| outcome.err().map(|problem| problem.kind))
            .collect()
    };
    let expected = [
        None,
        Some(ProblemType::EmailTaken),
        None,
        Some(ProblemType::UsernameTaken),
    ];
    let expected: Vec<_> = expected.into_iter().cycle().take(12).collect();
    let first = told(names.register_all(half_taken(true), &system()).await);
    assert_eq!(first, expected);
    assert_eq!(all_or_nothing(&names, &half_taken(true)).await, 6);
    // The same again changes nothing of those that are there.
    let again = names.register_all(half_taken(true), &system()).await;
    assert!(again.iter().flatten().all(|done| !done.is_new));
    assert_eq!(all_or_nothing(&names, &half_taken(true)).await, 6);
}

/// Under an idempotency key: the same user, and a claim that follows from the row.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_is_registered_once_its_name_is_free_and_another_row_is_not() {
    let names = names_on(MemoryLog::new(LogId::new_v7())).await;
    let texts = ["wanted".to_owned(), "wanted@example.org".to_owned()];
    let holder = claim(UserId::new_v7(), ["wanted", "other@example.org"]);
    register(&names, &holder, ["wanted", "other@example.org"]).await;
    let try_all = async |registration: Registration| {
        let mut outcomes = names.register_all(vec![registration], &system()).await;
        outcomes.remove(0)
    };
    let try_alone = async |registration: Registration| names.register_one(registration, &system()).await;
    let row = || registration(7, &texts, true);
    for _ in 0..2 {
        assert_eq!(try_all(row()).await.unwrap_err().kind, ProblemType::UsernameTaken);
        assert_eq!(
            try_alone(row()).await.unwrap_err().kind,
            ProblemType::UsernameTaken
        );
    }
    erase(&names, holder.user).await;
    assert!(try_all(row()).await.unwrap().is_new);
    for _ in 0..2 {
        assert!(!try_all(row()).await.unwrap().is_new);
        assert!(!try_alone(row()).await.unwrap().is_new);
    }
    assert_eq!(all_or_nothing(&names, &[row()]).await, 1);
    let other = || {
        let mut other = registration(7, &["own".to_owned(), "own@example.org".to_owned()], true);
        let id = ClaimId::from_uuid(uuid::Uuid::from_u128(8));
        (other.claim.id, other.registered.claim_id) = (id, id);
        other
    };
    for _ in 0..2 {
        let refused = try_all(other()).await.unwrap_err();
        assert_eq!(refused.kind, ProblemType::IdempotencyMismatch);
        let refused = try_alone(other()).await.unwrap_err();
        assert_eq!(refused.kind, ProblemType::IdempotencyMismatch);
    }
    // Its names are nobody's.
    for name in other().claim.held() {
        assert_eq!(identifier(&names, name).await, Identifier::Free);
    }
}
