//! What was acknowledged stands in the log once, what was refused does not, and what is unknown
//! stands there at most once.

use std::collections::HashMap;

use domain::ledger::ledger_of;
use schemas::{Event, UserId};
use tests::History;
use uuid::Uuid;

use crate::naive::Past;
use crate::record::{Action, Command, Outcome, Reach};
use crate::shared::positions;

pub fn reckon(commands: &[Command], history: &History, past: &Past, ledgers: i32) -> Vec<String> {
    let mut by_request: HashMap<Uuid, Vec<&Event>> = HashMap::new();
    for (_, stored) in &history.events {
        let request = stored.meta.request_id.as_uuid();
        by_request.entry(request).or_default().push(&stored.data);
    }
    let one = |command| judge(command, &by_request, past, ledgers);
    commands.iter().filter_map(one).collect()
}

fn judge(
    command: &Command,
    by_request: &HashMap<Uuid, Vec<&Event>>,
    past: &Past,
    ledgers: i32,
) -> Option<String> {
    let events = command
        .attempts
        .iter()
        .filter_map(|it| by_request.get(&it.request));
    let found = events
        .flatten()
        .filter(|event| command.action.makes(event))
        .count();
    let right = match command.outcome() {
        Outcome::Acknowledged if command.action.may_change_nothing() => {
            found == 1 || (found == 0 && already(command, past, ledgers))
        }
        Outcome::Acknowledged => found == 1,
        Outcome::Refused(_) => found == 0,
        Outcome::Unknown(_) => found <= 1,
    };
    (!right).then(|| {
        format!(
            "{:?}, and {found} times in the log: {command:?}",
            command.outcome()
        )
    })
}

/// Whether there was nothing to do at the position that the acknowledgement names.
fn already(command: &Command, past: &Past, ledgers: i32) -> bool {
    let at = |ledger| {
        let token = command.token.as_deref().unwrap_or_default();
        Reach::of(positions(token), ledger)
    };
    let catalog = || past.catalog_at(at(0).catalog);
    let user_at = |user: UserId| {
        let ledger = ledger_of(&user.to_string(), ledgers);
        past.user_at(user, at(ledger).users)
    };
    match &command.action {
        Action::Attach { role, permission } => catalog().has_attached(role, permission),
        Action::Detach { role, permission } => !catalog().has_attached(role, permission),
        Action::Deactivate { user } => !user_at(*user).is_active,
        Action::Reactivate { user } => user_at(*user).is_active,
        // The name may have gone to another role since the command was decided.
        Action::Revoke { user, role } => {
            let held = catalog()
                .role(role)
                .is_some_and(|role| user_at(*user).grants.contains(&(role, None)));
            !held
        }
        Action::LogOut { .. } => true,
        _ => false,
    }
}
