//! Rebuilding a ledger: its rows are projected anew from the log into a database of their own while the live ones serve,
//! compared at one position, and put in the place of the live ones in one transaction.
//!
//! Readers see the former rows or the new ones, never both and never none.

use anyhow::{bail, ensure};
use read_model::queries::Snapshot;
use read_model::{Shard, checkpoint, digest, ledger_rows, schema};
use schemas::Sha256Digest;
use sqlx::PgPool;

use crate::cli::RebuildArgs;
use crate::generation::{Generation, with_scratch};
use crate::months::{keep_the_same, make_room};
use crate::place::Place;

/// The new rows of a ledger.
struct Rebuilding<'a> {
    ledger: i32,
    generation: Generation<'a>,
}

pub async fn run(place: &Place, args: RebuildArgs) -> anyhow::Result<()> {
    let ledger = args.ledger;
    let live = place.shard_of(ledger)?;
    let moving = place.map.filling.iter().chain(&place.map.leaving);
    ensure!(
        moving.clone().all(|copy| copy.ledger != ledger),
        "ledger {ledger} is being moved"
    );
    with_scratch(place, &live, args.scratch.as_deref(), async |new| {
        rebuild(place, &args, live.clone(), new).await
    })
    .await
}

async fn rebuild(place: &Place, args: &RebuildArgs, live: Shard, new: PgPool) -> anyhow::Result<()> {
    let ledger = args.ledger;
    let rebuilding = Rebuilding {
        ledger,
        generation: Generation::new(place, Some(ledger), live, new).await?,
    };
    let (of_live, of_log) = rebuilding.compare().await?;
    if of_live == of_log {
        println!("ledger {ledger} is what the log says: {of_log}");
    } else {
        println!("ledger {ledger} is {of_live}, and {of_log} by the log");
    }
    if args.options.verify {
        ensure!(of_live == of_log, "ledger {ledger} is not what the log says");
        return Ok(());
    }
    if of_live != of_log || args.options.always {
        let digest = rebuilding.swap().await?;
        println!("ledger {ledger} was put in place anew: {digest}");
    }
    Ok(())
}

impl Rebuilding<'_> {
    /// Digests of the live rows and of the new ones at one position, which both have come to while the live ones went
    /// on.
    async fn compare(&self) -> anyhow::Result<(Sha256Digest, Sha256Digest)> {
        let (live, new) = (&self.generation.live.pool, &self.generation.new);
        let began = Snapshot::begin(live).await?.checkpoints().await?;
        println!("projecting ledger {} anew", self.ledger);
        schema::migrate(new).await?;
        let made = Snapshot::begin(new).await?.checkpoints().await?;
        ensure!(made.is_empty(), "the database for the new rows is not empty");
        keep_the_same(live, new).await?;
        self.generation.reach(&began).await?;
        keep_the_same(live, new).await?;
        // What came meanwhile is little; and no snapshot of the live rows was held for long.
        let mut snapshot = Snapshot::begin(live).await?;
        let reached = snapshot.checkpoints().await?;
        let of_live = digest::digest_in(&mut snapshot, self.ledger).await?;
        drop(snapshot);
        self.generation.reach(&reached).await?;
        Ok((of_live, digest::digest(new, self.ledger).await?))
    }

    /// Puts the new rows in the place of the live ones. The projection of this ledger stands still meanwhile, and goes
    /// on from the same position.
    async fn swap(&self) -> anyhow::Result<Sha256Digest> {
        let (ledger, generation) = (self.ledger, &self.generation);
        let (live, new) = (&generation.live, &generation.new);
        generation.come_close().await?;
        make_room(new, &live.pool, ledger).await?;
        // As long as it takes: it is bounded by the ledger.
        let (mut tx, stopped) = generation.meet(None).await?;
        let retired = stopped.iter().any(|it| it.standing.retired_by_map.is_some());
        ensure!(!retired, "ledger {ledger} has left shard {}", live.id);
        let expected = digest::digest(new, ledger).await?;
        let mut from = new.acquire().await?;
        let topics = generation.place.topics_of_ledger();
        for (stream, topic) in topics.iter().rev() {
            ledger_rows::delete(&mut tx, *stream, ledger).await?;
            checkpoint::clear_failure(&mut tx, topic, ledger).await?;
        }
        for (stream, _) in topics {
            ledger_rows::copy(&mut from, &mut tx, stream, ledger).await?;
        }
        let found = digest::digest_within(&mut tx, ledger).await?;
        if found != expected {
            bail!("the new rows are {found} in their place and were {expected}: nothing was changed");
        }
        tx.commit().await?;
        Ok(found)
    }
}
