//! Grants that reach their expiry: whoever owns the ledger says so in the log.
//!
//! A check never waits for that, it goes by the clock. The event is for those who read the log or its
//! tables: a role that was held until a time is seen to end. The access node knows which grants end next, so
//! nothing is looked through; after a takeover or a restart the new owner finds what became due in between.

use std::sync::Arc;
use std::time::Duration;

use access_node::DueGrant;
use domain::user::{ExpireGrant, User, UserCommand};
use event_log::{BusError, CommandContext};
use futures::{StreamExt as _, stream};
use schemas::{RequestId, Stream, Timestamp};

use crate::app::App;

const LOOK: Duration = Duration::from_millis(250);
/// After failures: the ledger may be between owners for a while.
const LOOK_MAX: Duration = Duration::from_secs(5);
/// Of one ledger at a time; the rest is due a moment later.
const AT_MOST: usize = 256;
const AT_ONCE: usize = 16;

/// Runs for ever.
pub async fn expire_grants(app: Arc<App>) {
    let mut wait = LOOK;
    loop {
        tokio::time::sleep(wait).await;
        wait = if expire_due(&app).await {
            LOOK
        } else {
            (wait * 2).min(LOOK_MAX)
        };
    }
}

/// False if some could not be settled yet.
async fn expire_due(app: &App) -> bool {
    let mut all_settled = true;
    for (stream, ledger) in app.bus.serving() {
        if stream != Stream::Users {
            continue;
        }
        let due = app.node.due_grants(ledger, Timestamp::now(), AT_MOST);
        let settled = stream::iter(due).map(|grant| expire(app, grant));
        let settled: Vec<bool> = settled.buffer_unordered(AT_ONCE).collect().await;
        all_settled &= settled.into_iter().all(|it| it);
    }
    all_settled
}

/// The user's owner decides by the state of the user and its own clock, so this is safe to repeat.
async fn expire(app: &App, grant: DueGrant) -> bool {
    let user_id = grant.user_id;
    let command = UserCommand::ExpireGrant(ExpireGrant {
        role_id: grant.role_id,
        scope: grant.scope.as_deref().cloned(),
        expires_at: grant.expires_at,
    });
    let context = CommandContext::system(RequestId::new_v7());
    match app
        .bus
        .execute::<User>(&user_id.to_string(), command, context)
        .await
    {
        // A refusal is final: the user is gone, and the grant with it.
        Ok(_) | Err(BusError::Refused(_)) => {
            app.node.forget_due(&grant);
            true
        }
        Err(error) => {
            tracing::warn!(user.id = %user_id, "The end of a grant could not be recorded yet: {error}");
            false
        }
    }
}
