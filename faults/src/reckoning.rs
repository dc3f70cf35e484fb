//! Afterwards: does what the clients were told agree with what is in the log?

mod answers;
mod commands;
mod names;
mod times;

use std::collections::HashMap;

use schemas::EventId;
use tests::History;

use crate::inflict::Inflicted;
use crate::naive::Past;
use crate::record::Calls;

/// Everything that is wrong, each in a sentence.
pub fn reckon(calls: &Calls, history: &History, inflicted: &[Inflicted], ledgers: i32) -> Vec<String> {
    let past = Past::of(history);
    let mut wrong = calls.violations.clone();
    wrong.extend(no_event_twice(history));
    wrong.extend(commands::reckon(&calls.commands, history, &past, ledgers));
    wrong.extend(names::reckon(history));
    wrong.extend(answers::reckon(&calls.checks, &past, ledgers));
    wrong.extend(times::reckon(calls, inflicted));
    wrong
}

fn no_event_twice(history: &History) -> Vec<String> {
    let mut seen: HashMap<EventId, usize> = HashMap::new();
    for (_, stored) in &history.events {
        *seen.entry(stored.meta.event_id).or_default() += 1;
    }
    let twice = seen.into_iter().filter(|(_, times)| *times > 1);
    twice
        .map(|(event, times)| format!("event {event} is in the log {times} times"))
        .collect()
}
