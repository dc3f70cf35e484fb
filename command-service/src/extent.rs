//! At each start the catalog learns how far the other topics have come, so that the next one sees
//! when one of them was deleted, made anew or cut.

use std::time::Duration;

use domain::catalog::{Catalog, CatalogCommand, RecordExtent};
use event_log::identity::LogIdentity;
use event_log::{CommandContext, KafkaConfig, extent};
use schemas::RequestId;

use crate::app::App;

const AGAIN: Duration = Duration::from_secs(1);
const TRIES: usize = 10;

/// Once the ledgers are claimed, so that no partition is empty. A start does not fail by it.
pub async fn record_extent(app: &App, kafka: &KafkaConfig, identity: &LogIdentity) {
    for _ in 0..TRIES {
        match try_record(app, kafka, identity.created.ledgers).await {
            Ok(()) => return,
            Err(reason) => tracing::warn!("Recording the extent of the log: {reason}; trying again"),
        }
        tokio::time::sleep(AGAIN).await;
    }
}

async fn try_record(app: &App, kafka: &KafkaConfig, ledgers: i32) -> Result<(), String> {
    let kafka = kafka.clone();
    let asked = tokio::task::spawn_blocking(move || extent(&kafka, ledgers)).await;
    let ends = asked
        .map_err(|error| error.to_string())?
        .map_err(|error| error.to_string())?;
    let command = CatalogCommand::RecordExtent(RecordExtent { ends });
    let context = CommandContext::system(RequestId::new_v7());
    let executed = app.bus.execute::<Catalog>("catalog", command, context).await;
    executed.map(drop).map_err(|error| error.to_string())
}
