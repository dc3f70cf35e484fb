//! How long is waited for ledgers.

use std::time::{Duration, Instant};

/// A command waits this long at most for its turn and its transaction.
pub(super) const DEADLINE: Duration = Duration::from_secs(10);
/// And this long more to learn what became of one that was sent in time.
pub(crate) const SETTLE: Duration = Duration::from_secs(5);

tokio::task_local! {
    static UNTIL: Instant;
}

/// All that `work` asks of ledgers, one after the other, is to be answered in the time that one command has: who signs
/// in asks several. Tasks that it spawns have their own time.
pub async fn within_one_deadline<F: Future>(work: F) -> F::Output {
    UNTIL.scope(Instant::now() + DEADLINE, work).await
}

pub(crate) fn deadline() -> Instant {
    UNTIL
        .try_with(|until| *until)
        .unwrap_or_else(|_| Instant::now() + DEADLINE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_one_request_asks_has_one_deadline() {
        let asked_twice = async {
            let first = deadline();
            tokio::task::yield_now().await;
            (first, deadline())
        };
        let (first, second) = within_one_deadline(asked_twice).await;
        assert_eq!(first, second);
        let alone = deadline();
        assert!(alone > first);
        assert!(deadline() > alone);
    }
}
