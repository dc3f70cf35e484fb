//! Waiting, bounded, until the node has applied what a caller demands.

use std::time::Duration;

use access_node::AccessNode;
use schemas::{Position, Stream};
use service_kit::at_least::AtLeast;
use service_kit::problem::{Problem, ProblemType};
use tokio::time::Instant;

/// How long a request waits for the log.
pub const WAIT: Duration = Duration::from_secs(2);

/// Returns at once where nothing is demanded.
pub async fn reach(node: &AccessNode, at_least: &AtLeast) -> Result<(), Problem> {
    let deadline = Instant::now() + WAIT;
    if let Some(token) = &at_least.token {
        let wanted: Vec<_> = token.positions().collect();
        reach_positions(node, &wanted, deadline).await?;
    }
    if at_least.latest {
        let latest = tokio::time::timeout_at(deadline, node.latest())
            .await
            .map_err(|_| not_yet())?
            .map_err(|error| Problem::unavailable(&error))?;
        wait(node, &latest, deadline).await?;
    }
    Ok(())
}

async fn reach_positions(node: &AccessNode, wanted: &[Position], deadline: Instant) -> Result<(), Problem> {
    tokio::select! {
        biased;
        reached = wait(node, wanted, deadline) => reached,
        () = is_beyond_the_end(node, wanted) => Err(not_yet()),
    }
}

async fn wait(node: &AccessNode, wanted: &[Position], deadline: Instant) -> Result<(), Problem> {
    let left = deadline.saturating_duration_since(Instant::now());
    node.wait_for(wanted, left).await.map_err(|_| not_yet())
}

/// Ends when a position is known to lie beyond what is in the log: waiting for it is of no use.
async fn is_beyond_the_end(node: &AccessNode, wanted: &[Position]) {
    let Ok(last) = node.latest().await else {
        return std::future::pending().await;
    };
    let is_in_log = |position: &Position| {
        let place = (position.stream, position.partition);
        let mut ends = last.iter();
        // Checks rest on nothing in the identifiers, so the node does not follow them.
        position.stream == Stream::Identifiers
            || ends.any(|end| (end.stream, end.partition) == place && position.offset <= end.offset)
    };
    if wanted.iter().all(is_in_log) {
        std::future::pending().await
    }
}

pub fn not_yet() -> Problem {
    Problem::new(ProblemType::NotYet).retry_after(Duration::from_secs(1))
}
