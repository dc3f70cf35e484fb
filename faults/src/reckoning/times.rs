//! Every call is answered or refused within a stated time, unless who was asked stood still or was cut off.

use std::time::Duration;

use local_rolecall::Service;

use crate::inflict::Inflicted;
use crate::network::Instance;
use crate::plan::Fault;
use crate::record::{Action, Calls, Span};

/// A command waits for its caller's rights (2 s), for the session (1 s), for its group (10 s) and for
/// a doubt to be settled (5 s); the rest is a machine that does everything at once.
pub const COMMAND_LIMIT: Duration = Duration::from_secs(25);
/// Registering is up to five commands, one after the other: two reservations, the user, and both names given
/// back if that fails.
pub const REGISTRATION_LIMIT: Duration = Duration::from_secs(80);
/// A check waits for a session (1 s) and for what is demanded (2 s).
pub const CHECK_LIMIT: Duration = Duration::from_secs(12);

/// The first time that TCP waits for, at most.
const RESEND: Duration = Duration::from_secs(3);

pub fn reckon(calls: &Calls, inflicted: &[Inflicted]) -> Vec<String> {
    let mut wrong = Vec::new();
    for command in &calls.commands {
        let limit = match command.action {
            Action::Register { .. } => REGISTRATION_LIMIT,
            _ => COMMAND_LIMIT,
        };
        for attempt in &command.attempts {
            let asked = instance(Service::Command, attempt.service);
            if is_late(attempt.sent, limit, asked, inflicted) {
                wrong.push(format!(
                    "after {:?} {:?}: {command:?}",
                    attempt.sent.took, attempt.outcome
                ));
            }
        }
    }
    for check in &calls.checks {
        let asked = instance(Service::Query, check.service);
        if is_late(check.span, CHECK_LIMIT, asked, inflicted) {
            wrong.push(format!("after {:?}: {check:?}", check.span.took));
        }
    }
    wrong
}

fn instance(service: Service, index: usize) -> Instance {
    Instance { service, index }
}

fn is_late(span: Span, limit: Duration, asked: Instance, inflicted: &[Inflicted]) -> bool {
    span.took > limit && !inflicted.iter().any(|it| could_not_answer(it, asked, span))
}

fn could_not_answer(it: &Inflicted, asked: Instance, span: Span) -> bool {
    match it.fault {
        Fault::Pause(whose) => whose == asked && span.overlaps(it.from, it.to),
        // TCP waits twice as long before each time that it sends again.
        Fault::CutOff(whose, _) => {
            whose == asked && span.overlaps(it.from, it.to + (it.to - it.from) + RESEND)
        }
        _ => false,
    }
}
