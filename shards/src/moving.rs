//! Moving ledgers: fill copies from the log, compare them with the live ones, read the copies, leave the former ones.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use read_model::checkpoint::{self, Placed};
use read_model::queries::Snapshot;
use read_model::snapshots::Partition;
use read_model::{Shard, access_snapshots, snapshots};
use schemas::catalog::{LedgerCopy, ShardMapChanged};

use crate::api::Api;
use crate::cli::{AbandonArgs, MoveArgs, MoveOptions};
use crate::comparing::compare;
use crate::place::Place;
use crate::steps;

/// A copy so few offsets behind the live one comes up with it within a moment.
const CLOSE: i64 = 500;
const LOOK: Duration = Duration::from_millis(200);
/// A projector that knows the new map marks what is left at once.
const RETIRING: Duration = Duration::from_secs(60);

/// What one run does, and how far it is.
struct Moving {
    place: Place,
    api: Api,
    grace: Duration,
    within: Duration,
}

pub async fn add(place: Place, options: MoveOptions) -> anyhow::Result<()> {
    let (shards, known) = (place.shards.count(), place.map.shards);
    ensure!(
        shards > known,
        "the log has all {known} shards of the configuration; name the new one in it first, everywhere"
    );
    let share = steps::share_of_new(&place.map, shards);
    say(&format!(
        "shards {known}..{shards} are new and take ledgers {:?}",
        ledgers(&share)
    ));
    Moving::new(place, options)?.run(share, shards).await
}

pub async fn move_ledgers(place: Place, args: MoveArgs) -> anyhow::Result<()> {
    let wanted: BTreeSet<i32> = args.ledgers.iter().copied().collect();
    for ledger in &wanted {
        place.shard_of(*ledger)?;
    }
    place.shard(args.to)?;
    let known = place.map.shards;
    ensure!(
        args.to < known,
        "the log has {known} shards; add shard {} first",
        args.to
    );
    let away = wanted
        .iter()
        .filter(|ledger| steps::place(&place.map, **ledger) != Some(args.to));
    let shard = args.to;
    let moves = away.map(|&ledger| LedgerCopy { ledger, shard }).collect();
    Moving::new(place, args.options)?.run(moves, known).await
}

pub async fn resume(place: Place, options: MoveOptions) -> anyhow::Result<()> {
    let (moves, shards) = (place.map.filling.clone(), place.map.shards);
    Moving::new(place, options)?.run(moves, shards).await
}

pub async fn abandon(mut place: Place, args: AbandonArgs) -> anyhow::Result<()> {
    let copies = place.map.filling.iter().copied();
    let given_up: Vec<_> = copies
        .filter(|copy| args.ledgers.contains(&copy.ledger))
        .collect();
    ensure!(
        !given_up.is_empty(),
        "no move of ledgers {:?} is planned",
        args.ledgers
    );
    place.map = steps::abandoned(&place.map, &given_up);
    Api::new(args.api, &place.trust)?.change_map(&place.map).await?;
    say(&format!("ledgers {:?} stay where they are", ledgers(&given_up)));
    sweep(&place).await
}

impl Moving {
    fn new(place: Place, options: MoveOptions) -> anyhow::Result<Self> {
        Ok(Self {
            api: Api::new(options.api, &place.trust)?,
            place,
            grace: Duration::from_secs(options.grace),
            within: Duration::from_secs(options.within),
        })
    }

    /// Each step stands in the log, so whatever is done already is not done again.
    async fn run(mut self, moves: Vec<LedgerCopy>, shards: i32) -> anyhow::Result<()> {
        // Of an earlier run: they must be left before anything comes back to them.
        self.leave().await?;
        let planned = steps::planned(&self.place.map, &moves, shards);
        if planned.filling != self.place.map.filling || planned.shards != self.place.map.shards {
            self.record(planned).await?;
        }
        if !moves.is_empty() {
            say(&format!(
                "filling ledgers {:?} on their new shards",
                ledgers(&moves)
            ));
            self.filled(&moves).await?;
            for copy in &moves {
                let (live, shard) = (self.place.shard_of(copy.ledger)?, self.place.shard(copy.shard)?);
                let digest = compare(&self.place, copy.ledger, &live, &shard).await?;
                say(&format!(
                    "ledger {} is {digest} on shards {} and {}",
                    copy.ledger, live.id, shard.id
                ));
                self.copy_snapshots(copy.ledger, &live, &shard).await?;
            }
            self.record(steps::moved(&self.place.map, &moves)).await?;
            say(&format!(
                "ledgers {:?} are read on their new shards",
                ledgers(&moves)
            ));
        }
        self.leave().await?;
        sweep(&self.place).await
    }

    async fn record(&mut self, map: ShardMapChanged) -> anyhow::Result<()> {
        self.api.change_map(&map).await?;
        say(&format!("shard map {}", map.version));
        self.place.map = map;
        Ok(())
    }

    /// Waits until each copy has nearly come up with the live one.
    async fn filled(&self, moves: &[LedgerCopy]) -> anyhow::Result<()> {
        let began = Instant::now();
        let mut told = Instant::now();
        loop {
            let mut behind = 0;
            for copy in moves {
                behind += self.behind(copy).await?.unwrap_or(CLOSE + 1).min(i64::MAX / 4096);
            }
            if behind <= CLOSE {
                return Ok(());
            }
            ensure!(
                began.elapsed() < self.within,
                "the copies are still {behind} offsets behind; `resume` goes on with them"
            );
            if told.elapsed() > Duration::from_secs(5) {
                say(&format!("{behind} offsets to go"));
                told = Instant::now();
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Offsets between a copy and the live one; `None` while no projector has taken it up.
    async fn behind(&self, copy: &LedgerCopy) -> anyhow::Result<Option<i64>> {
        let (live, shard) = (self.place.shard_of(copy.ledger)?, self.place.shard(copy.shard)?);
        let (of_live, of_copy) = (standings(&live).await?, standings(&shard).await?);
        let mut behind = 0;
        for (_, topic) in self.place.topics_of_ledger() {
            if checkpoint::has_failure(&shard.pool, &topic, copy.ledger).await? {
                bail!(
                    "{topic}-{} halted on shard {}; see its projector",
                    copy.ledger,
                    shard.id
                );
            }
            let at = |all: &[Placed]| {
                let own = all
                    .iter()
                    .find(|it| it.topic == topic && it.partition == copy.ledger);
                own.filter(|it| it.standing.retired_by_map.is_none())
                    .map(|it| it.checkpoint.next_offset)
            };
            let Some(found) = at(&of_copy) else {
                return Ok(None);
            };
            behind += at(&of_live).unwrap_or(0).saturating_sub(found).max(0);
        }
        Ok(Some(behind))
    }

    /// Owners of ledgers go on from there: else each start after the move would read the whole ledger.
    async fn copy_snapshots(&self, ledger: i32, from: &Shard, to: &Shard) -> anyhow::Result<()> {
        for partition in partitions(&self.place, ledger) {
            snapshots::copy(&from.pool, &to.pool, partition).await?;
        }
        Ok(access_snapshots::copy(&from.pool, &to.pool, self.place.log_id, ledger).await?)
    }

    /// Gives up former copies once everybody had time to hear of the new map, and empties them.
    async fn leave(&mut self) -> anyhow::Result<()> {
        let former = self.place.map.leaving.clone();
        if former.is_empty() {
            return Ok(());
        }
        say(&format!("former copies are kept up for {:?}", self.grace));
        tokio::time::sleep(self.grace).await;
        self.record(steps::left(&self.place.map, &former)).await?;
        for copy in &former {
            let shard = self.place.shard(copy.shard)?;
            empty(&self.place, copy.ledger, &shard).await?;
            say(&format!("ledger {} has left shard {}", copy.ledger, shard.id));
        }
        Ok(())
    }
}

fn partitions(place: &Place, ledger: i32) -> impl Iterator<Item = Partition> + use<> {
    let log_id = place.log_id;
    place
        .topics_of_ledger()
        .into_iter()
        .map(move |(stream, _)| Partition {
            log_id,
            stream: stream.name(),
            number: ledger,
        })
}

/// Removes all rows and snapshots of a copy that the newest map gives up: an erasure reaches them no more. The rows go
/// last, since by them the next run finds what is left.
async fn empty(place: &Place, ledger: i32, shard: &Shard) -> anyhow::Result<()> {
    for partition in partitions(place, ledger) {
        snapshots::forget(&shard.pool, partition).await?;
    }
    access_snapshots::forget(&shard.pool, place.log_id, ledger).await?;
    let deadline = Instant::now() + RETIRING;
    for (stream, topic) in place.topics_of_ledger() {
        while !checkpoint::empty_retired(&shard.pool, (stream, &topic), ledger).await? {
            ensure!(
                Instant::now() < deadline,
                "no projector has retired {topic}-{ledger} on shard {}; its rows stay there until `resume`",
                shard.id
            );
            tokio::time::sleep(LOOK).await;
        }
    }
    Ok(())
}

/// Empties copies that the map does not name and that still have rows: what was given up just now, and what a run that
/// was interrupted left behind.
async fn sweep(place: &Place) -> anyhow::Result<()> {
    let topics = place.topics_of_ledger().map(|(_, topic)| topic);
    for shard in place.shards.iter() {
        let standings = match standings(&shard).await {
            Ok(standings) => standings,
            Err(error) => {
                say(&format!(
                    "what was left on shard {} is not looked for: {error:#}",
                    shard.id
                ));
                continue;
            }
        };
        let left_over = standings.iter().filter(|it| {
            let has_rows = it.checkpoint.next_offset > 0 && topics.contains(&it.topic);
            has_rows && !steps::names(&place.map, it.partition, shard.id)
        });
        let left_over: BTreeSet<i32> = left_over.map(|it| it.partition).collect();
        for ledger in left_over {
            empty(place, ledger, &shard).await?;
            say(&format!(
                "nothing of ledger {ledger} is left on shard {}",
                shard.id
            ));
        }
    }
    Ok(())
}

/// How far each partition is on a shard; nothing where it has no tables yet.
pub async fn standings(shard: &Shard) -> anyhow::Result<Vec<Placed>> {
    let mut snapshot = Snapshot::begin(&shard.pool)
        .await
        .with_context(|| format!("asking shard {}", shard.id))?;
    match snapshot.checkpoints().await {
        Err(error) if error.is_unprepared() => Ok(Vec::new()),
        found => Ok(found?),
    }
}

fn ledgers(copies: &[LedgerCopy]) -> Vec<i32> {
    copies.iter().map(|copy| copy.ledger).collect()
}

fn say(what: &str) {
    println!("{what}");
}
