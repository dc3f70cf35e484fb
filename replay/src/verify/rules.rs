//! What one record must keep to by itself, whatever stands before it.

use domain::ledger_of;
use event_log::Record;
use schemas::log::LogEvent;
use schemas::{CloudEventHeaders, Event, LogId, Meta, Stored, Stream, ce, data_schema, streams_of, unframe};

use super::verifier::Facts;

/// The event in a record's value, or why there is none.
pub(super) fn decode(record: &Record) -> Result<Stored<Event>, String> {
    let (_, body) = unframe(&record.value).map_err(|error| error.to_string())?;
    Event::decode_as(record.event_type, body).map_err(|error| with_cause(&error))
}

fn with_cause(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

/// Compares the headers with what the value says. The chain does not cover headers, and the value
/// says nothing of `traceparent`: any or none may stand there.
pub(super) fn check_headers(
    record: &Record,
    event: &Event,
    meta: &Meta,
    log_id: LogId,
) -> Result<(), String> {
    let newest = data_schema(event.event_type());
    let written = data_schema(record.event_type);
    let find = |name: &str| {
        let value = record
            .headers
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, value)| value.as_slice())?;
        // An event written under an older version is read as the newest, and its header is right.
        Some(if name == ce::DATA_SCHEMA && value == written.as_bytes() {
            newest.as_bytes()
        } else {
            value
        })
    };
    let expected = CloudEventHeaders::of(log_id, event, meta);
    expected.verify(find).map_err(|error| error.to_string())?;
    for (index, (name, _)) in record.headers.iter().enumerate() {
        let known = name == ce::TRACE_PARENT || expected.iter().any(|(n, _)| n == name);
        if !known || record.headers[..index].iter().any(|(n, _)| n == name) {
            return Err(format!("header {name} does not belong there"));
        }
    }
    Ok(())
}

/// Checks that the event is where and what a writer would have written.
pub(super) fn check_content(record: &Record, stored: &Stored<Event>, facts: &Facts) -> Result<(), String> {
    let id = &stored.meta.aggregate_id;
    if record.key != id.as_bytes() {
        let key = String::from_utf8_lossy(&record.key);
        return Err(format!("its key is {key:?}, its aggregate {id:?}"));
    }
    if !streams_of(record.event_type).contains(&record.stream) {
        return Err(format!(
            "{} does not belong into {}",
            record.event_type.name,
            record.stream.name()
        ));
    }
    let home = match &stored.data {
        Event::Log(LogEvent::LedgerClaimed(_)) => Some(format!("ledger-{}", record.partition)),
        Event::Log(LogEvent::Created(_) | LogEvent::SchemaRegistered(_)) => Some("log".to_owned()),
        Event::User(_) | Event::Identifier(_) | Event::Catalog(_) => None,
    };
    let is_own = home.is_none();
    if let Some(home) = home.filter(|home| home != id) {
        return Err(format!(
            "{} belongs to {home:?}, not {id:?}",
            record.event_type.name
        ));
    }
    let Some(log) = &facts.log else { return Ok(()) };
    let (found, _) = unframe(&record.value).map_err(|error| error.to_string())?;
    log.schema_ids
        .check(record.event_type, found)
        .map_err(|error| error.to_string())?;
    if record.stream != Stream::Catalog && record.partition >= log.created.ledgers {
        return Err(format!(
            "the log was created with {} ledgers",
            log.created.ledgers
        ));
    }
    let ledger = ledger_of(id, log.created.ledgers);
    if record.stream != Stream::Catalog && is_own && ledger != record.partition {
        return Err(format!("{id} belongs on ledger {ledger}"));
    }
    Ok(())
}
