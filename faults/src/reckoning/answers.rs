//! Each check was right at its positions: at the token of its answer, or at what came to be known
//! until the answer was there; and the token covers what was demanded.

use domain::ledger::ledger_of;

use crate::naive::Past;
use crate::record::{Answer, Check};

/// Stamps are cut to the millisecond.
const GRAIN_MS: i64 = 1;

pub fn reckon(checks: &[Check], past: &Past, ledgers: i32) -> Vec<String> {
    checks
        .iter()
        .filter_map(|check| judge(check, past, ledgers))
        .collect()
}

fn judge(check: &Check, past: &Past, ledgers: i32) -> Option<String> {
    let Answer::Decided { allowed, at, .. } = &check.answer else {
        return None;
    };
    let ledger = ledger_of(&check.user.to_string(), ledgers);
    if at.catalog < check.floor.catalog || at.users < check.floor.users {
        return Some(format!(
            "an answer from before what it must reflect, with ledger {ledger}: {check:?}"
        ));
    }
    let until = check.span.ended_ms + GRAIN_MS;
    let catalogs = past.catalogs(at.catalog, until);
    let users = past.states(check.user, at.users, until);
    let right = catalogs.iter().any(|catalog| {
        users
            .iter()
            .any(|user| user.may(catalog, &check.resource) == *allowed)
    });
    let states = (catalogs.len(), users.len());
    (!right).then(|| format!("a wrong answer at each of {states:?} states of catalog and user: {check:?}"))
}
