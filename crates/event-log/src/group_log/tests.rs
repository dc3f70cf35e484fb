use domain::ledger::LEDGER_FUNCTION;
use schemas::catalog::{CatalogEvent, RoleDefined};
use schemas::log::{LedgerClaimed, LogCreated, SchemaRegistered};
use schemas::{KeyEncryptionKey, RoleId, UserId, WriterId, schema_text};

use super::*;
use crate::memory::to_record;

const CATALOG: (Stream, i32) = (Stream::Catalog, 0);

fn group(log_id: LogId, ids: SchemaIds) -> GroupLog {
    GroupLog::new(log_id, Arc::new(ids), &[CATALOG], |stream| {
        stream.name().to_owned()
    })
}

fn first_events(log_id: LogId, ids: &SchemaIds) -> Vec<LogEvent> {
    let created = LogEvent::Created(LogCreated {
        log_id,
        ledgers: 4,
        groups: 2,
        ledger_function: LEDGER_FUNCTION.to_owned(),
        chain_version: 1,
        index_key_id: "index".to_owned(),
        key_check: KeyEncryptionKey::parse(&[7; 32]).unwrap().check_value(log_id),
        administrator: UserId::new_v7(),
    });
    let registered = SchemaIds::default().missing().into_iter().map(|event_type| {
        LogEvent::SchemaRegistered(SchemaRegistered {
            event_type: event_type.name.to_owned(),
            event_version: event_type.version,
            schema_id: ids.id_of(event_type).unwrap(),
            fingerprint: schema_text(event_type).unwrap().1,
        })
    });
    [created].into_iter().chain(registered).collect()
}

/// The log as a program finds it that starts on it for the first time.
#[test]
fn an_owner_learns_the_ids_of_a_log_that_is_in_use() {
    let (log_id, ids) = (LogId::new_v7(), SchemaIds::numbered());
    let writer = group(log_id, ids.clone());
    let mut batch = writer.prepare();
    let claimed = LogEvent::LedgerClaimed(LedgerClaimed {
        instance: WriterId::new_v7(),
        address: String::new(),
        group: -1,
    });
    let defined = Event::Catalog(CatalogEvent::RoleDefined(RoleDefined {
        role_id: RoleId::new_v7(),
        name: "reader".to_owned(),
        description: None,
        parent_id: None,
        level: 0,
        is_system_role: false,
    }));
    let role = Append {
        events: vec![defined],
        ..Append::of_log(Stream::Catalog, 0, vec![])
    };
    let appends = [
        Append::of_log(Stream::Catalog, 0, first_events(log_id, &ids)),
        Append::of_log(Stream::Catalog, 0, vec![claimed]),
        role,
    ];
    for append in &appends {
        writer.add(&mut batch, append, Timestamp::now()).unwrap();
    }
    let mut reader = group(log_id, SchemaIds::default());
    for (offset, outgoing) in (0..).zip(batch.outgoing) {
        reader
            .read(&to_record(Stream::Catalog, 0, offset, outgoing).unwrap())
            .unwrap();
    }
    assert_eq!(*reader.ids, ids);
}

#[test]
fn what_belongs_to_another_group_is_refused() {
    let writer = group(LogId::new_v7(), SchemaIds::numbered());
    let mut batch = writer.prepare();
    let refused = writer.add(&mut batch, &Append::heartbeat(0), Timestamp::now());
    assert!(matches!(
        refused,
        Err(EncodeError::ForeignPartition(Stream::Users, 0))
    ));
}
