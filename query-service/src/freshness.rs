//! Waiting, bounded, until the node has applied what a caller demands.

use std::time::Duration;

use access_node::AccessNode;
use service_kit::at_least::AtLeast;
use service_kit::auth::{Authenticate, Caller, SessionState};
use service_kit::problem::{Problem, ProblemType};
use tokio::time::Instant;

use crate::app::App;

/// How long a request waits for the log; for the sign-in of its token too.
pub const WAIT: Duration = Duration::from_secs(2);

impl App {
    /// Returns at once where nothing is demanded. What is demanded may be the very event that ended
    /// the caller's session, so the session is looked at again.
    pub async fn reach(&self, caller: Caller, at_least: &AtLeast) -> Result<(), Problem> {
        if at_least.token.is_none() && !at_least.latest {
            return Ok(());
        }
        reach(&self.node, at_least).await?;
        match self.standing_of(caller) {
            SessionState::Live => Ok(()),
            SessionState::Ended | SessionState::UserInactive => Err(caller.ended()),
            SessionState::Unknown => Err(not_yet()),
        }
    }
}

async fn reach(node: &AccessNode, at_least: &AtLeast) -> Result<(), Problem> {
    let deadline = Instant::now() + WAIT;
    let left = || deadline.saturating_duration_since(Instant::now());
    if let Some(token) = &at_least.token {
        let wanted: Vec<_> = token.positions().collect();
        node.wait_for_logged(&wanted, left())
            .await
            .map_err(|_| not_yet())?;
    }
    if at_least.latest {
        let latest = tokio::time::timeout_at(deadline, node.latest())
            .await
            .map_err(|_| not_yet())?
            .map_err(|error| Problem::unavailable(&error))?;
        node.wait_for(&latest, left()).await.map_err(|_| not_yet())?;
    }
    Ok(())
}

pub fn not_yet() -> Problem {
    Problem::new(ProblemType::NotYet).retry_after(Duration::from_secs(1))
}
