//! The catalog is believed only as far as its own chain proves it, and nobody else is blamed for it.

#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use event_log::Record;
use replay::Error;
use replay::reading::Item;
use replay::verify::{Facts, Finding, Kind, Trial, Verdict, Verifier};
use schemas::log::{LogCreated, LogEvent};
use schemas::{LogId, Sha256Digest, Stream};
use support::{CATALOG, Log, USERS, alter, alter_creation};

/// As `replay verify` goes about it.
fn verify(log: &Log, records: &[Record]) -> Result<Verdict, Error> {
    let mut trial = Trial::new(log.topics.clone());
    for record in records.iter().filter(|it| it.stream == Stream::Catalog) {
        trial.take(Item::Record(record));
    }
    Ok(verdict_with(trial.finish()?.facts, log, records))
}

fn verdict_with(facts: Facts, log: &Log, records: &[Record]) -> Verdict {
    let mut verifier = Verifier::new(facts, &[CATALOG, USERS]);
    records
        .iter()
        .for_each(|record| verifier.take(Item::Record(record)));
    verifier.finish(&log.ends())
}

fn only_finding(verdict: &Verdict) -> &Finding {
    let found: Vec<_> = verdict.findings().collect();
    let [finding] = found[..] else {
        panic!("one finding was expected: {found:?}")
    };
    finding
}

type Forgery = (&'static str, fn(&mut LogCreated));

/// What a forger may do to the log's first event.
fn forgeries() -> [Forgery; 5] {
    [
        ("ledger_function", |it| it.ledger_function = "other".to_owned()),
        ("chain_version", |it| it.chain_version = 2),
        ("log_id", |it| it.log_id = LogId::new_v7()),
        ("ledgers", |it| it.ledgers = 7),
        ("key_check", |it| it.key_check = Sha256Digest::of(b"other")),
    ]
}

#[test]
fn a_whole_log_is_checked_in_full() {
    let log = Log::whole("test");
    let verdict = verify(&log, &log.records).unwrap();
    assert_eq!(verdict.findings().next(), None);
    assert!(verdict.is_full);
    assert_eq!(verdict.events(), log.records.len() as u64);
}

#[test]
fn an_altered_first_event_is_named_and_no_other_partition_accused() {
    let log = Log::whole("test");
    for (what, forge) in forgeries() {
        let mut records = log.records.clone();
        alter_creation(&mut records[0], forge);
        let verdict = verify(&log, &records).unwrap();
        let found = only_finding(&verdict);
        let named = (found.kind, found.topic.as_str(), found.offset);
        assert_eq!(named, (Kind::Altered, "test.catalog", 0), "{what}");
        assert!(!verdict.is_full, "{what}");
    }
}

#[test]
fn an_altered_schema_id_accuses_no_record_that_has_the_true_one() {
    let log = Log::whole("test");
    for index in 1..log.records.len() {
        let mut records = log.records.clone();
        if records[index].event_type.name != "schema.registered" {
            continue;
        }
        alter(&mut records[index], |event| match event {
            LogEvent::SchemaRegistered(event) => event.schema_id += 1_000,
            other => panic!("not schema.registered: {other:?}"),
        });
        let verdict = verify(&log, &records).unwrap();
        let found = only_finding(&verdict);
        let named = (found.kind, found.topic.as_str(), found.offset);
        assert_eq!(named, (Kind::Altered, "test.catalog", records[index].offset));
    }
}

#[test]
fn without_a_sound_catalog_chains_are_followed_all_the_same() {
    let log = Log::whole("test");
    let mut records = log.records.clone();
    alter_creation(&mut records[0], |it| it.log_id = LogId::new_v7());
    let second = records.iter().position(|it| it.stream == Stream::Users).unwrap() + 1;
    let byte = records[second].value.len() - 1;
    records[second].value[byte] ^= 1;
    let verdict = verify(&log, &records).unwrap();
    let found: Vec<_> = verdict
        .findings()
        .map(|it| (it.topic.as_str(), it.offset))
        .collect();
    let expected = [("test.users", records[second].offset), ("test.catalog", 0)];
    assert_eq!(found, expected);
}

#[test]
fn an_empty_catalog_beside_events_is_missing() {
    let log = Log::whole("test");
    let users: Vec<_> = log
        .records
        .iter()
        .filter(|it| it.stream == Stream::Users)
        .cloned()
        .collect();
    let verdict = verify(&log, &users).unwrap();
    let found = only_finding(&verdict);
    assert_eq!(
        (found.kind, found.topic.as_str(), found.offset),
        (Kind::Missing, "test.catalog", 0)
    );
}

#[test]
fn nothing_at_all_is_no_finding() {
    let log = Log::whole("test");
    let verdict = verify(&log, &[]).unwrap();
    assert!(verdict.holds_nothing());
    assert!(!verify(&log, &log.records).unwrap().holds_nothing());
}

#[test]
fn a_log_that_says_truly_that_it_has_other_rules_is_refused() {
    for (what, forge) in &forgeries()[..2] {
        let mut log = Log::under("test");
        forge(&mut log.identity.created);
        log.created();
        log.claim(CATALOG);
        let refused = verify(&log, &log.records);
        assert!(matches!(refused, Err(Error::Foreign { .. })), "{what}");
    }
}

#[test]
fn a_deleted_partition_is_missing() {
    let mut log = Log::whole("test");
    log.identity.created.ledgers = 2;
    let gone = (Stream::Users, 1);
    let facts = Facts::of(log.topics.clone(), log.identity.clone());
    let mut verifier = Verifier::new(facts, &[CATALOG, gone]);
    verifier.absent(gone);
    let catalog = log.records.iter().filter(|it| it.stream == Stream::Catalog);
    catalog.for_each(|record| verifier.feed(record));
    let verdict = verifier.finish(&log.ends());
    let found = only_finding(&verdict);
    assert_eq!((found.kind, found.partition), (Kind::Missing, 1));
}
