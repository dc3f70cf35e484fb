//! Rebuilding what shards have by the catalog's events: projected anew beside the live rows, compared at one position, and
//! put in their place in one transaction, with what is computed from them.
//!
//! Readers see the former rows or the new ones. The projection of the catalog stands still on that shard meanwhile, and
//! that of users where it rests on the catalog: the catalog is small, and what takes longer than it should is given up.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use projector::projections::replace_catalog;
use read_model::digest::{self, CATALOG_LEDGER, CatalogDigests, CatalogPart};
use read_model::{Shard, checkpoint};
use schemas::Stream;
use sqlx::PgPool;

use crate::cli::RebuildCatalogArgs;
use crate::generation::{Generation, with_scratch};
use crate::months::make_room;
use crate::place::Place;

/// For which the live rows wait for the new ones, and each statement of the swap may take. But the rights of whoever
/// holds a role that was wrong are computed anew however long it takes, as when a role changes.
const STANDSTILL: Duration = Duration::from_secs(30);

/// Fails where a shard was wrong, though it is right from then on: whoever runs it is to hear of that.
pub async fn run(place: &Place, args: RebuildCatalogArgs) -> anyhow::Result<()> {
    let (mut wrong, mut failed) = (Vec::new(), Vec::new());
    for live in chosen(place, &args)? {
        let rebuilt = with_scratch(place, &live, args.scratch.as_deref(), async |new| {
            rebuild(place, &args, live.clone(), new).await
        });
        match rebuilt.await {
            Ok(true) => {}
            Ok(false) => wrong.push(live.id),
            Err(error) => {
                println!("shard {}: {error:#}", live.id);
                failed.push(live.id);
            }
        }
    }
    let verdict = if args.options.verify {
        "is not what the log says"
    } else {
        "was not what the log says, and was put in place anew"
    };
    let mut complaints = Vec::new();
    if !wrong.is_empty() {
        complaints.push(format!("the catalog of shards {wrong:?} {verdict}"));
    }
    if !failed.is_empty() {
        complaints.push(format!("nothing was done about the catalog of shards {failed:?}"));
    }
    ensure!(complaints.is_empty(), "{}", complaints.join("; "));
    Ok(())
}

/// Those that are named, or all of the log.
fn chosen(place: &Place, args: &RebuildCatalogArgs) -> anyhow::Result<Vec<Shard>> {
    let wanted: Vec<i32> = match args.only.is_empty() {
        true => (0..place.map.shards).collect(),
        false => args.only.clone(),
    };
    ensure!(
        args.scratch.is_none() || wanted.len() == 1,
        "one database for the new rows is for one shard"
    );
    wanted.into_iter().map(|id| place.shard(id)).collect()
}

/// Whether the shard was right.
async fn rebuild(place: &Place, args: &RebuildCatalogArgs, live: Shard, new: PgPool) -> anyhow::Result<bool> {
    let (shard, catalog) = (live.id, place.kafka.topics().of(Stream::Catalog));
    println!("projecting the catalog of shard {shard} anew");
    let generation = Generation::new(place, None, live, new).await?;
    let compared = generation.compare().await?;
    let mut found = compared.live.checkpoints.iter();
    ensure!(
        found.any(|it| it.topic == catalog),
        "no projector has taken the catalog up"
    );
    let (of_live, of_log) = (compared.live.of_catalog(), compared.rebuilt.of_catalog());
    let is_right = of_live == of_log;
    if args.options.verify || is_right && !args.options.always {
        tell(shard, &of_live, &of_log);
        return Ok(is_right);
    }
    swap(&generation, &catalog, args.options.always).await
}

/// Puts the new rows in the place of the live ones, those that differ or all; whether these were right at that moment.
async fn swap(generation: &Generation<'_>, catalog: &str, all: bool) -> anyhow::Result<bool> {
    let (shard, new) = (generation.live.id, &generation.new);
    generation.come_close().await?;
    make_room(new, &generation.live.pool, i32::from(CATALOG_LEDGER)).await?;
    let met = tokio::time::timeout(STANDSTILL, generation.meet(Some(STANDSTILL))).await;
    let (mut tx, _) =
        met.context("the new rows do not come up with the live ones: nothing was changed")??;
    let was = digest::catalog_digests_within(&mut tx).await?;
    let by_log = digest::catalog_digests(new).await?;
    let parts = match all {
        true => CatalogPart::ALL.to_vec(),
        false => was.differing(&by_log),
    };
    let changed = replace_catalog(&mut tx, new, &parts).await?;
    checkpoint::clear_failure(&mut tx, catalog, 0).await?;
    let is = digest::catalog_digests_within(&mut tx).await?;
    ensure!(
        is == by_log,
        "the new rows are {is:?} in their place and were {by_log:?}: nothing was changed"
    );
    tx.commit().await?;
    tell(shard, &was, &by_log);
    for part in parts {
        println!("shard {shard}: {part} were put in place anew");
    }
    if changed > 0 {
        println!("shard {shard}: {changed} roles gave something else before");
    }
    Ok(was == by_log)
}

fn tell(shard: i32, found: &CatalogDigests, by_log: &CatalogDigests) {
    for part in CatalogPart::ALL {
        let (found, by_log) = (found.of(part), by_log.of(part));
        if found == by_log {
            println!("shard {shard}: {part} are what the log says: {by_log}");
        } else {
            println!("shard {shard}: {part} are {found}, and {by_log} by the log");
        }
    }
}
