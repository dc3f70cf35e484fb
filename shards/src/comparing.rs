//! Whether two copies of a ledger are the same, at one position of the log, while both go on.
//!
//! The copy that nobody reads is held for a moment; the live one is looked at in a snapshot and never waits. Then the
//! held one goes on up to just there.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::bail;
use read_model::queries::Snapshot;
use read_model::{Shard, checkpoint, digest};
use schemas::{Sha256Digest, Stream};

use crate::months::keep_the_same;
use crate::place::Place;

/// Holds end by themselves if this program does.
const LEASE_SECONDS: f64 = 20.0;
const PATIENCE: Duration = Duration::from_secs(8);
const LOOK: Duration = Duration::from_millis(10);
/// The catalog may change in between; then everything is looked at again.
const TRIES: usize = 10;

/// Where a ledger's rows stand, by topic.
type Positions = HashMap<String, i64>;

/// How a shard stands to what is looked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Look {
    There,
    NotYet,
    /// It went beyond.
    Past,
}

/// The digest of both copies; an error if they differ.
pub async fn compare(place: &Place, ledger: i32, live: &Shard, copy: &Shard) -> anyhow::Result<Sha256Digest> {
    let mut difference = None;
    for _ in 0..TRIES {
        keep_the_same(&live.pool, &copy.pool).await?;
        let outcome = compare_once(place, ledger, live, copy).await;
        for (_, topic) in place.topics_of_ledger() {
            checkpoint::release(&copy.pool, &topic, ledger).await?;
        }
        match outcome? {
            None => {}
            Some((of_live, of_copy)) if of_live == of_copy => return Ok(of_live),
            // Once it may be that a month was let go in between.
            found if difference.is_none() => difference = found,
            Some((of_live, of_copy)) => bail!(
                "ledger {ledger} is {of_live} on shard {} and {of_copy} on shard {}: it stays where it is",
                live.id,
                copy.id
            ),
        }
    }
    bail!("ledger {ledger} cannot be compared: the copies come to no common position")
}

/// `None` if they came to no common position.
async fn compare_once(
    place: &Place,
    ledger: i32,
    live: &Shard,
    copy: &Shard,
) -> anyhow::Result<Option<(Sha256Digest, Sha256Digest)>> {
    let mut held = Positions::new();
    for (_, topic) in place.topics_of_ledger() {
        let at = checkpoint::hold(&copy.pool, &topic, ledger, None, LEASE_SECONDS).await?;
        held.insert(topic, at);
    }
    let has_passed = |found: &Positions| {
        let passed = held.iter().all(|(topic, at)| found.get(topic) >= Some(at));
        if passed { Look::There } else { Look::NotYet }
    };
    let Some((mut of_live, reached)) = snapshot_when(place, ledger, live, has_passed).await? else {
        return Ok(None);
    };
    for (_, topic) in place.topics_of_ledger() {
        let at = reached.get(&topic).copied();
        checkpoint::hold(&copy.pool, &topic, ledger, at, LEASE_SECONDS).await?;
    }
    let live_digest = digest::digest_in(&mut of_live, ledger);
    let copy_digest = async {
        let is_there = |found: &Positions| {
            if *found == reached {
                return Look::There;
            }
            // Only the catalog, which is not held: others on that shard need it.
            let past = reached.iter().any(|(topic, at)| found.get(topic) > Some(at));
            if past { Look::Past } else { Look::NotYet }
        };
        let Some((mut of_copy, _)) = snapshot_when(place, ledger, copy, is_there).await? else {
            return Ok(None);
        };
        // Its digest is of the snapshot: the copy may go on.
        for (_, topic) in place.topics_of_ledger() {
            checkpoint::release(&copy.pool, &topic, ledger).await?;
        }
        anyhow::Ok(Some(digest::digest_in(&mut of_copy, ledger).await?))
    };
    let (live_digest, copy_digest) = tokio::join!(live_digest, copy_digest);
    let live_digest = live_digest?;
    Ok(copy_digest?.map(|copy_digest| (live_digest, copy_digest)))
}

/// A moment of a shard at which the ledger's positions are so; `None` if they do not come to be.
async fn snapshot_when(
    place: &Place,
    ledger: i32,
    shard: &Shard,
    look: impl Fn(&Positions) -> Look,
) -> anyhow::Result<Option<(Snapshot, Positions)>> {
    let deadline = Instant::now() + PATIENCE;
    let catalog = place.kafka.topics().of(Stream::Catalog);
    let topics = place.topics_of_ledger();
    while Instant::now() < deadline {
        let mut snapshot = Snapshot::begin(&shard.pool).await?;
        let placed = snapshot.checkpoints().await?.into_iter();
        let concerns = placed.filter(|it| {
            let mut own = topics.iter();
            it.topic == catalog || it.partition == ledger && own.any(|(_, topic)| *topic == it.topic)
        });
        let found = concerns.map(|it| (it.topic, it.checkpoint.next_offset)).collect();
        match look(&found) {
            Look::There => return Ok(Some((snapshot, found))),
            Look::Past => return Ok(None),
            Look::NotYet => drop(snapshot),
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(None)
}
