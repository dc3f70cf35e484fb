//! Each check was right at its positions: at the token of its answer, or at what came to be known
//! until the answer was there; and the token covers what was demanded.

use domain::ledger::ledger_of;
use schemas::{Position, Stream};

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
    let places = [(Stream::Catalog, 0), (Stream::Users, ledger)];
    for (stream, partition) in places {
        let (demanded, reached) = (
            offset(&check.floor, stream, partition),
            offset(at, stream, partition),
        );
        if reached < demanded {
            return Some(format!(
                "an answer from before what it must reflect: {stream:?}-{partition} at {reached}, {demanded} was \
                 demanded: {check:?}"
            ));
        }
    }
    let until = check.span.ended_ms + GRAIN_MS;
    let catalogs = past.catalogs(offset(at, Stream::Catalog, 0), until);
    let users = past.states(check.user, offset(at, Stream::Users, ledger), until);
    let right = catalogs.iter().any(|catalog| {
        users
            .iter()
            .any(|user| user.may(catalog, &check.resource) == *allowed)
    });
    let states = (catalogs.len(), users.len());
    (!right).then(|| format!("a wrong answer at each of {states:?} states of catalog and user: {check:?}"))
}

/// -1: nothing of this partition.
fn offset(positions: &[Position], stream: Stream, partition: i32) -> i64 {
    let mut of_partition = positions.iter();
    let found = of_partition.find(|it| it.stream == stream && it.partition == partition);
    found.map_or(-1, |it| it.offset)
}
