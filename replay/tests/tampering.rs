//! Whatever is done to a partition's records is found, and named at the right offset.

#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use event_log::Record;
use proptest::prelude::*;
use replay::verify::{Finding, Kind, Verifier};
use schemas::{Stream, link};
use support::Log;

const COUNT: usize = 24;

fn first_finding(log: &Log, records: &[Record]) -> Option<Finding> {
    log.verify(records).findings().next().cloned()
}

/// Gives the records their places again after some were moved, as a rewritten topic would.
fn at_offsets_of(mut records: Vec<Record>) -> Vec<Record> {
    for (offset, record) in (0..).zip(&mut records) {
        record.offset = offset;
    }
    records
}

fn flip(record: &mut Record, byte: usize, mask: u8) {
    let keys = record.key.len();
    let byte = byte % (keys + record.value.len());
    if byte < keys {
        record.key[byte] ^= mask;
    } else {
        record.value[byte - keys] ^= mask;
    }
}

#[test]
fn a_true_log_is_sound() {
    let log = Log::with_users(COUNT);
    let verdict = log.verify(&log.records);
    assert_eq!(verdict.findings().next(), None);
    assert_eq!(verdict.events(), log.records.len() as u64);
}

#[test]
fn each_byte_of_each_record_but_the_last_counts() {
    let log = Log::with_users(9);
    for index in 0..log.records.len() - 1 {
        let size = log.records[index].key.len() + log.records[index].value.len();
        for byte in 0..size {
            for mask in [0x01, 0x02, 0x80, 0xff] {
                let mut records = log.records.clone();
                flip(&mut records[index], byte, mask);
                let found = first_finding(&log, &records);
                let found = found.map(|f| (f.kind, f.offset, f.chain_seq));
                let offset = records[index].offset;
                let seq = i64::try_from(index).unwrap();
                assert_eq!(
                    found,
                    Some((Kind::Altered, offset, seq)),
                    "record {index} byte {byte} mask {mask:#x}"
                );
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_altered_byte_is_named(index in 0..COUNT, byte in any::<usize>(), mask in 1..=u8::MAX) {
        let log = Log::with_users(COUNT);
        let mut records = log.records.clone();
        flip(&mut records[index], byte, mask);
        let found = first_finding(&log, &records).map(|f| (f.kind, f.offset));
        prop_assert_eq!(found, Some((Kind::Altered, records[index].offset)));
    }

    #[test]
    fn dropped_records_are_missing_where_the_gap_ends(index in 0..COUNT, count in 1..4_usize) {
        let log = Log::with_users(COUNT);
        let mut records = log.records.clone();
        let end = (index + count).min(records.len() - 1);
        records.drain(index..end);
        let found = first_finding(&log, &records).map(|f| (f.kind, f.offset, f.chain_seq));
        let seq = i64::try_from(index).unwrap();
        prop_assert_eq!(found, Some((Kind::Missing, log.records[end].offset, seq)));
    }

    #[test]
    fn a_copied_record_is_inserted_where_it_stands(from in 0..COUNT, to in 0..=COUNT) {
        let log = Log::with_users(COUNT);
        let mut records = log.records.clone();
        records.insert(to, log.records[from].clone());
        let records = at_offsets_of(records);
        // Before itself, the second of the twins is the one that repeats.
        let stands = if to == from { to + 1 } else { to };
        let found = first_finding(&log, &records).map(|f| (f.kind, f.offset));
        prop_assert_eq!(found, Some((Kind::Inserted, i64::try_from(stands).unwrap())));
    }

    #[test]
    fn swapped_records_are_named_at_the_first_of_them(a in 0..COUNT, b in 0..COUNT) {
        prop_assume!(a < b);
        let log = Log::with_users(COUNT);
        let mut records = log.records.clone();
        records.swap(a, b);
        let records = at_offsets_of(records);
        let found = first_finding(&log, &records).map(|f| (f.kind, f.offset));
        let kind = if b == a + 1 { Kind::Inserted } else { Kind::Altered };
        prop_assert_eq!(found, Some((kind, i64::try_from(a).unwrap())));
    }

    #[test]
    fn a_cut_end_is_missing_once_a_head_was_noted(keep in 0..COUNT) {
        let log = Log::with_users(COUNT);
        let mut verifier = log.verifier();
        let last = log.records.last().unwrap();
        let hash = link("test.users", 0, &last.key, &last.value);
        verifier.expect(format!("users-0={}:{hash}", log.records.len() - 1).parse().unwrap()).unwrap();
        for record in &log.records[..keep] {
            verifier.feed(record);
        }
        let verdict = verifier.finish(&log.ends());
        let found: Vec<_> = verdict.findings().map(|f| (f.kind, f.chain_seq)).collect();
        prop_assert_eq!(found, [(Kind::Missing, i64::try_from(keep).unwrap())]);
    }

    #[test]
    fn an_altered_last_record_does_not_match_a_noted_head(byte in any::<usize>(), mask in 1..=u8::MAX, numbered: bool) {
        let log = Log::with_users(COUNT);
        let mut records = log.records.clone();
        let last = records.len() - 1;
        let hash = link("test.users", 0, &records[last].key, &records[last].value);
        let seq = if numbered { format!("{last}:") } else { String::new() };
        flip(&mut records[last], byte, mask);
        let mut verifier = log.verifier();
        verifier.expect(format!("users-0={seq}{hash}").parse().unwrap()).unwrap();
        for record in &records {
            verifier.feed(record);
        }
        prop_assert!(!verifier.finish(&log.ends()).is_sound());
    }

    #[test]
    fn an_altered_header_is_named(index in 0..=COUNT, header in 0..8_usize, mask in 1..=u8::MAX) {
        let log = Log::with_users(COUNT);
        let mut records = log.records.clone();
        // Without a readable type, a tail does not deliver the record at all.
        prop_assume!(records[index].headers[header].0 != "ce_dataschema");
        records[index].headers[header].1[0] ^= mask;
        let found = first_finding(&log, &records).map(|f| (f.kind, f.offset));
        prop_assert_eq!(found, Some((Kind::Altered, records[index].offset)));
    }
}

#[test]
fn a_head_noted_before_the_log_grew_is_still_met() {
    let log = Log::with_users(COUNT);
    for (seq, record) in log.records.iter().enumerate() {
        let hash = link("test.users", 0, &record.key, &record.value);
        for head in [format!("users-0={hash}"), format!("users-0={seq}:{hash}")] {
            let mut verifier = log.verifier();
            verifier.expect(head.parse().unwrap()).unwrap();
            for record in &log.records {
                verifier.feed(record);
            }
            assert!(verifier.finish(&log.ends()).is_sound());
        }
    }
}

#[test]
fn a_forged_twin_is_told_from_the_event_that_the_chain_goes_on_from() {
    let log = Log::with_users(COUNT);
    // A forger who knows the rules: right place, right predecessor, another event.
    let forged = {
        let mut other = Log::new();
        other.identity = log.identity.clone();
        log.records[..3].iter().for_each(|r| other.take(r));
        other.claim(support::USERS);
        other.records.last().unwrap().clone()
    };
    for (place, named) in [(3, 3), (4, 4)] {
        let mut records = log.records.clone();
        records.insert(place, forged.clone());
        let found = first_finding(&log, &at_offsets_of(records)).map(|f| (f.kind, f.offset));
        assert_eq!(found, Some((Kind::Inserted, named)));
    }
}

#[test]
fn a_header_that_does_not_belong_there_is_named() {
    let log = Log::with_users(COUNT);
    for (name, value) in [("ce_type", "user.locked"), ("ce_extra", "1"), ("x", "")] {
        let mut records = log.records.clone();
        records[5]
            .headers
            .push((name.to_owned(), value.as_bytes().to_vec()));
        let found = first_finding(&log, &records).map(|f| (f.kind, f.offset));
        assert_eq!(found, Some((Kind::Altered, records[5].offset)), "{name}");
    }
    let mut records = log.records.clone();
    records[5]
        .headers
        .push(("traceparent".to_owned(), b"00-1-2-01".to_vec()));
    assert_eq!(first_finding(&log, &records), None);
    records[5].headers.remove(1);
    assert!(first_finding(&log, &records).is_some());
}

#[test]
fn an_event_under_another_type_is_altered() {
    let log = Log::with_users(COUNT);
    let mut records = log.records.clone();
    records[5].event_type = records[6].event_type;
    let found = first_finding(&log, &records).map(|f| (f.kind, f.offset));
    assert_eq!(found, Some((Kind::Altered, records[5].offset)));
}

#[test]
fn a_record_without_a_readable_type_is_altered_or_inserted() {
    let log = Log::with_users(COUNT);
    let feed = |verifier: &mut Verifier, index: usize| {
        log.records[..index].iter().for_each(|r| verifier.feed(r));
        verifier.unreadable(support::USERS, log.records[index].offset, "no header".to_owned());
    };
    for (goes_on_from, kind) in [(5, Kind::Inserted), (6, Kind::Altered)] {
        let mut verifier = log.verifier();
        feed(&mut verifier, 5);
        log.records[goes_on_from..].iter().for_each(|r| verifier.feed(r));
        let verdict = verifier.finish(&log.ends());
        let found: Vec<_> = verdict.findings().map(|f| (f.kind, f.offset)).collect();
        assert_eq!(found, [(kind, log.records[5].offset)]);
    }
}

#[test]
fn a_catalog_begins_with_its_log() {
    let mut log = Log::new();
    log.created();
    log.schema(2);
    log.schema(3);
    log.claim(support::CATALOG);
    log.append(support::CATALOG, "catalog", Log::role("editor"));
    // A later program introduces its schemas in a batch of its own.
    log.schema(1);
    log.schema(2);
    log.append(support::CATALOG, "catalog", Log::role("reader"));
    assert_eq!(first_finding(&log, &log.records), None);

    let mut other = Log::new();
    other.schema(1);
    other.claim(support::CATALOG);
    let found = first_finding(&other, &other.records).unwrap();
    assert_eq!((found.kind, found.offset), (Kind::Irregular, 0));
}

#[test]
fn what_a_writer_would_not_write_is_irregular() {
    let user = schemas::UserId::new_v7().to_string();
    let event = || schemas::user::UserEvent::Reactivated(schemas::user::UserReactivated {});
    let mut log = Log::new();
    log.append(support::USERS, &user, event());
    log.append_as(support::USERS, &user, 3, event());
    log.append_as(support::USERS, &user, 4, event());
    let found = first_finding(&log, &log.records).unwrap();
    assert_eq!((found.kind, found.offset), (Kind::Irregular, 1));

    let mut log = Log::new();
    log.identity.created.ledgers = 1_000;
    log.append(support::USERS, &user, event());
    log.append(support::USERS, &user, event());
    let found = first_finding(&log, &log.records).unwrap();
    assert_eq!((found.kind, found.offset), (Kind::Irregular, 0));
    assert!(found.words.contains("belongs on ledger"), "{}", found.words);
}

#[test]
fn an_event_relied_on_but_not_there_shows_a_cut_end() {
    let mut log = Log::with_users(COUNT);
    let last = log.records.last().unwrap().offset;
    log.created();
    log.basis = vec![schemas::Position {
        stream: Stream::Users,
        partition: 0,
        offset: last,
    }];
    log.claim(support::CATALOG);
    assert_eq!(first_finding(&log, &log.records), None);

    let (users, catalog): (Vec<_>, Vec<_>) = log
        .records
        .iter()
        .cloned()
        .partition(|r| r.stream == Stream::Users);
    let kept = &users[..users.len() - 2];
    let mut verifier = log.verifier();
    kept.iter().chain(&catalog).for_each(|r| verifier.feed(r));
    let mut ends = log.ends();
    ends.insert(support::USERS, kept.last().unwrap().offset + 1);
    let verdict = verifier.finish(&ends);
    let found = verdict.findings().next().unwrap();
    assert_eq!((found.kind, found.topic.as_str()), (Kind::Missing, "test.users"));
}

#[test]
fn a_finding_reads_as_one_line() {
    let log = Log::with_users(COUNT);
    let mut records = log.records.clone();
    records.remove(4);
    let line = first_finding(&log, &records).unwrap().to_string();
    let expected = "missing: test.users partition 0 offset 6 chain_seq 4: \
                    1 event is missing between offset 4 and offset 6";
    assert_eq!(line, expected);
}
