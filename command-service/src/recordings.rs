//! Wrong passwords on their way to the log. Whoever guesses is answered without waiting for it: how long that takes
//! would tell that the account exists.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use schemas::UserId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// On their way at once; one more waits.
const AT_ONCE: usize = 1_024;

/// What this instance is recording, by user.
pub struct Recordings {
    under_way: Arc<Mutex<HashMap<UserId, TaskTracker>>>,
    room: Arc<Semaphore>,
}

impl Default for Recordings {
    fn default() -> Self {
        Self {
            under_way: Arc::default(),
            room: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }
}

/// One on its way; dropped when it has arrived.
pub struct Recording {
    user: UserId,
    under_way: Arc<Mutex<HashMap<UserId, TaskTracker>>>,
    token: Option<TaskTrackerToken>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Recordings {
    pub async fn begin(&self, user: UserId) -> Recording {
        // The semaphore is never closed.
        let permit = Arc::clone(&self.room).acquire_owned().await.ok();
        let mut under_way = self.under_way.lock();
        let tracker = under_way.entry(user).or_insert_with(|| {
            let tracker = TaskTracker::new();
            tracker.close();
            tracker
        });
        Recording {
            user,
            under_way: Arc::clone(&self.under_way),
            token: Some(tracker.token()),
            _permit: permit,
        }
    }

    /// Waits until everything has arrived that is on its way for this user.
    pub async fn arrived(&self, user: UserId) {
        let tracker = self.under_way.lock().get(&user).cloned();
        if let Some(tracker) = tracker {
            tracker.wait().await;
        }
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        let mut under_way = self.under_way.lock();
        self.token.take();
        if under_way.get(&self.user).is_some_and(TaskTracker::is_empty) {
            under_way.remove(&self.user);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn all_of_a_users_are_waited_for_and_nobody_elses() {
        let (recordings, user) = (Recordings::default(), UserId::new_v7());
        let [one, two] = [recordings.begin(user).await, recordings.begin(user).await];
        recordings.arrived(UserId::new_v7()).await;
        let soon = Duration::from_millis(20);
        assert!(
            tokio::time::timeout(soon, recordings.arrived(user))
                .await
                .is_err()
        );
        drop(one);
        assert!(
            tokio::time::timeout(soon, recordings.arrived(user))
                .await
                .is_err()
        );
        drop(two);
        recordings.arrived(user).await;
        assert!(recordings.under_way.lock().is_empty());
    }

    #[tokio::test]
    async fn they_are_bounded() {
        let (recordings, user) = (Recordings::default(), UserId::new_v7());
        let mut all = Vec::new();
        for _ in 0..AT_ONCE {
            all.push(recordings.begin(user).await);
        }
        let soon = Duration::from_millis(20);
        assert!(tokio::time::timeout(soon, recordings.begin(user)).await.is_err());
        all.pop();
        recordings.begin(user).await;
    }
}
