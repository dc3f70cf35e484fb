//! Stopping: what was begun is finished, if it can be in time.

use std::time::Duration;

use tokio_util::task::TaskTracker;

/// Each of their steps waits for Kafka as long as a command may, and they have many. What is left half way is
/// finished by the next owner, for whom each step is safe to repeat.
pub async fn finish_sagas(sagas: &TaskTracker, within: Duration) {
    sagas.close();
    if tokio::time::timeout(within, sagas.wait()).await.is_err() {
        tracing::warn!(
            sagas = sagas.len(),
            "Stopping with {} pieces of work half done; the next owner finishes them",
            sagas.len()
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_that_does_not_end_holds_up_no_stop() {
        let sagas = TaskTracker::new();
        sagas.spawn(std::future::pending::<()>());
        finish_sagas(&sagas, Duration::from_millis(1)).await;
        assert_eq!((sagas.len(), sagas.is_closed()), (1, true));
    }
}
