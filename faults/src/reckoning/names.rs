//! Each e-mail address and user name has one holder at most, at every moment.

use std::collections::HashMap;

use schemas::identifier::IdentifierEvent;
use schemas::user::UserEvent;
use schemas::{ClaimId, Event, UserId};
use tests::History;

pub fn reckon(history: &History) -> Vec<String> {
    let mut wrong = registered_twice(history);
    wrong.extend(held_twice(history));
    wrong
}

/// Nobody changes a name or goes, so no two users ever have the same one.
fn registered_twice(history: &History) -> Vec<String> {
    let mut owners: HashMap<String, UserId> = HashMap::new();
    let mut wrong = Vec::new();
    for (at, stored) in &history.events {
        let Event::User(UserEvent::Registered(event)) = &stored.data else {
            continue;
        };
        for index in [&event.username_index, &event.email_index] {
            let before = owners.insert(format!("{index:?}"), event.user_id);
            if let Some(before) = before {
                wrong.push(format!(
                    "{before} and {} have the same name: {index:?} at {at:?}",
                    event.user_id
                ));
            }
        }
    }
    wrong
}

/// On the identifier's own ledger nobody gets what another has reserved or holds.
fn held_twice(history: &History) -> Vec<String> {
    let mut holders: HashMap<&str, (UserId, ClaimId)> = HashMap::new();
    let mut wrong = Vec::new();
    for (at, stored) in &history.events {
        let Event::Identifier(event) = &stored.data else {
            continue;
        };
        let name = stored.meta.aggregate_id.as_str();
        let (claim, is_release) = match event {
            IdentifierEvent::Reserved(it) => ((it.user_id, it.claim_id), false),
            IdentifierEvent::Confirmed(it) => ((it.user_id, it.claim_id), false),
            IdentifierEvent::Released(it) => ((it.user_id, it.claim_id), true),
        };
        let holder = holders.get(name).copied();
        if holder.is_some_and(|holder| holder != claim) {
            wrong.push(format!(
                "{name} is {holder:?}'s, and at {at:?} there is {event:?}"
            ));
        }
        if is_release {
            holders.remove(name);
        } else {
            holders.insert(name, claim);
        }
    }
    wrong
}
