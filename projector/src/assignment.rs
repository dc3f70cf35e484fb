//! Which shards are this instance's, where several projectors share the work.
//!
//! Shared out are whole shards: an event waits until what it rests on is applied in the same database, and how
//! far that is, only the workers of one process tell each other at once. The share is advice; what keeps two
//! projectors from applying a batch twice is the checkpoint.

use event_log::Share;
use read_model::ShardId;
use tokio::sync::watch;

/// What this instance is told to work on.
#[derive(Clone, Debug)]
pub struct Assignment(Option<Shared>);

#[derive(Clone, Debug)]
struct Shared {
    /// Its partitions stand for the shards.
    topic: String,
    share: watch::Receiver<Option<Share>>,
}

impl Assignment {
    /// For a projector that works alone.
    pub const fn every_shard() -> Self {
        Self(None)
    }

    /// The shards whose partition of `topic` is in the share.
    pub const fn shared(topic: String, share: watch::Receiver<Option<Share>>) -> Self {
        Self(Some(Shared { topic, share }))
    }

    /// Waits until the shard is this instance's. Calls `not_yet` when it turns out not to be.
    pub(crate) async fn begins(&self, shard: ShardId, not_yet: impl FnOnce()) {
        let Some(shared) = &self.0 else { return };
        if !shared
            .until(|share| share.map(|share| shared.is_in(share, shard)))
            .await
        {
            not_yet();
            shared
                .until(|share| share.map(|share| shared.is_in(share, shard)).filter(|it| *it))
                .await;
        }
    }

    /// Waits until the shard is another's.
    pub(crate) async fn ends(&self, shard: ShardId) {
        match &self.0 {
            Some(shared) => {
                let is_left = |share: Option<&Share>| !share.is_some_and(|share| shared.is_in(share, shard));
                shared.until(|share| is_left(share).then_some(true)).await;
            }
            None => std::future::pending().await,
        }
    }
}

impl Shared {
    fn is_in(&self, share: &Share, shard: ShardId) -> bool {
        share.contains(&(self.topic.clone(), shard))
    }

    /// The first answer to `ask`, which is repeated whenever the share changes.
    async fn until(&self, ask: impl Fn(Option<&Share>) -> Option<bool>) -> bool {
        let mut share = self.share.clone();
        loop {
            if let Some(answer) = ask(share.borrow_and_update().as_ref()) {
                return answer;
            }
            if share.changed().await.is_err() {
                std::future::pending::<()>().await; // the instance has left: the run ends
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    const TOPIC: &str = "test.projectors";

    fn share(shards: &[ShardId]) -> Option<Share> {
        Some(shards.iter().map(|&shard| (TOPIC.to_owned(), shard)).collect())
    }

    #[tokio::test]
    async fn who_works_alone_has_every_shard_for_ever() {
        let alone = Assignment::every_shard();
        assert!(alone.begins(3, || panic!("it is")).now_or_never().is_some());
        assert!(alone.ends(3).now_or_never().is_none());
    }

    #[tokio::test]
    async fn nothing_is_known_until_it_is_told() {
        let (told, receiver) = watch::channel(None);
        let assignment = Assignment::shared(TOPIC.to_owned(), receiver);
        let begins = |shard| assignment.begins(shard, || {}).now_or_never().is_some();
        let mut said = false;
        assert!(assignment.begins(0, || said = true).now_or_never().is_none());
        assert!(!said, "perhaps it is");
        told.send_replace(share(&[1, 2]));
        assert!(assignment.begins(0, || said = true).now_or_never().is_none());
        assert!(said);
        assert!(begins(1) && begins(2));
        assert!(assignment.ends(1).now_or_never().is_none());
        told.send_replace(share(&[2]));
        assert!(assignment.ends(1).now_or_never().is_some());
        assert!(!begins(1));
    }
}
