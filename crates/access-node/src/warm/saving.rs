//! Saving ledgers behind their events: a ledger's owner saves it when what came since the last time is a fair share
//! of the ledger itself, so that a start reads little and saving costs little.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use read_model::access_snapshots;

use super::{WarmStart, chain, parts};
use crate::model::{Model, Reach};
use crate::node::AccessNode;

/// How often it is looked whether a ledger is to be saved.
const LOOK: Duration = Duration::from_secs(2);
const BACKOFF_MAX: Duration = Duration::from_secs(60);
/// A save that takes longer counts as failed.
const PATIENCE: Duration = Duration::from_secs(60);
/// A ledger is saved again after one event for so many of its users.
const USERS_PER_EVENT: usize = 8;

impl WarmStart {
    /// Saves for ever those ledgers that are `mine`; `events` must have come since the last time, at least.
    pub async fn save(self, node: Arc<AccessNode>, events: i64, mine: impl Fn(i32) -> bool) {
        node.caught_up().await;
        let model = node.model();
        // By ledger: `chain_seq` of the first event that is not saved. What another owner saved later is not known
        // here, which makes the next save come early.
        let mut saved: HashMap<i32, i64> = model.loaded().collect();
        let mut wait = LOOK;
        loop {
            tokio::time::sleep(wait).await;
            wait = match self.save_due(model, events, &mine, &mut saved).await {
                Ok(()) => LOOK,
                Err(error) => {
                    tracing::warn!("Saving access snapshots: {error}; trying again later");
                    (wait * 2).min(BACKOFF_MAX)
                }
            };
        }
    }

    async fn save_due(
        &self,
        model: &Arc<Model>,
        events: i64,
        mine: impl Fn(i32) -> bool,
        saved: &mut HashMap<i32, i64>,
    ) -> Result<(), String> {
        let mut outcome = Ok(());
        for ledger in (0..model.ledgers()).filter(|ledger| mine(*ledger)) {
            let from = saved.get(&ledger).copied().unwrap_or(0);
            let next_seq = model.next_seq(ledger).unwrap_or(from);
            metrics::gauge!("access_snapshot_tail_events", "ledger" => ledger.to_string())
                .set((next_seq - from) as f64);
            if !is_due(next_seq - from, events, model.users_of(ledger)) {
                continue;
            }
            match self.save_ledger(model, ledger).await {
                Ok(Some(reach)) => {
                    saved.insert(ledger, reach.chain.next_seq);
                }
                Ok(None) => {}
                // The others may lie on another shard.
                Err(error) => outcome = Err(format!("ledger {ledger}: {error}")),
            }
        }
        outcome
    }

    async fn save_ledger(&self, model: &Arc<Model>, ledger: i32) -> Result<Option<Reach>, String> {
        let started = Instant::now();
        let (key, topic, model) = (self.key.clone(), Arc::clone(&self.users_topic), Arc::clone(model));
        let making = tokio::task::spawn_blocking(move || {
            // First how far it reaches, then the rows: these may be ahead of it, never behind.
            let reach = model.reach(ledger, &topic)?;
            let owner = model.owners.known(schemas::Stream::Users, ledger);
            Some((
                reach,
                parts::make(&key, ledger, reach, owner, &model.rows(ledger)),
            ))
        });
        let Some((reach, made)) = making.await.map_err(|error| error.to_string())? else {
            return Ok(None);
        };
        let made = made.map_err(|error| error.to_string())?;
        let saving = async {
            let shard = self.shards.prepared(ledger, self.log_id, self.ledgers).await?;
            access_snapshots::save(&shard.pool, self.place(ledger), &made).await
        };
        let outcome = tokio::time::timeout(PATIENCE, saving).await;
        outcome
            .map_err(|_| "no answer in time".to_owned())?
            .map_err(|error| chain(&error))?;
        metrics::histogram!("access_snapshot_save_seconds").record(started.elapsed().as_secs_f64());
        Ok(Some(reach))
    }
}

fn is_due(tail: i64, at_least: i64, users: usize) -> bool {
    let share = i64::try_from(users / USERS_PER_EVENT).unwrap_or(i64::MAX);
    tail > 0 && tail >= at_least.max(share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ledger_is_saved_after_a_share_of_itself() {
        assert!(!is_due(0, 0, 0));
        assert!(!is_due(99, 100, 8));
        assert!(is_due(100, 100, 8));
        assert!(!is_due(1_999, 100, 16_000));
        assert!(is_due(2_000, 100, 16_000));
    }
}
