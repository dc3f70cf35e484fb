//! Who owns each ledger, as the log tells: the last claim of each partition.

use std::collections::HashMap;
use std::sync::Arc;

use schemas::log::LedgerClaimed;
use schemas::{Position, Stream, WriterId};
use tokio::sync::watch;

/// A command service as its peers know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Of one run of the program.
    pub id: WriterId,
    /// Where its peers reach it: the root of an `http://` address.
    pub address: String,
}

impl Instance {
    /// One that nobody forwards to.
    pub fn alone() -> Self {
        Self {
            id: WriterId::new_v7(),
            address: String::new(),
        }
    }
}

/// By group: users and identifiers of a ledger are always claimed together, so users stand for both.
type Table = HashMap<(Stream, i32), (i64, Instance)>;

/// Filled by whoever reads the log, asked by whoever has a command. Clones share one table.
///
/// An owner that died stands here until another has claimed: a route, not a promise.
#[derive(Clone, Debug)]
pub struct Owners(Arc<watch::Sender<Table>>);

impl Default for Owners {
    fn default() -> Self {
        Self(Arc::new(watch::channel(Table::new()).0))
    }
}

/// Tells of each claim that is learnt from now on.
pub(crate) struct News(watch::Receiver<Table>);

impl News {
    /// Waits for the next one.
    pub(crate) async fn next(&mut self) {
        if self.0.changed().await.is_err() {
            // Nobody learns any more.
            std::future::pending::<()>().await;
        }
    }
}

impl Owners {
    pub(crate) fn news(&self) -> News {
        News(self.0.subscribe())
    }

    /// Takes a claim in; one older than what is known changes nothing.
    pub fn learn(&self, position: Position, claim: &LedgerClaimed) {
        let instance = Instance {
            id: claim.instance,
            address: claim.address.clone(),
        };
        self.recall(position, instance);
    }

    /// As [`Self::learn`], of a claim that was learnt before, see [`Self::known`].
    pub fn recall(&self, position: Position, instance: Instance) {
        if position.stream == Stream::Identifiers {
            return;
        }
        self.0.send_if_modified(|table| {
            let place = (position.stream, position.partition);
            let is_news = table
                .get(&place)
                .is_none_or(|&(known, _)| known < position.offset);
            if is_news {
                table.insert(place, (position.offset, instance));
            }
            is_news
        });
    }

    pub fn of(&self, stream: Stream, partition: i32) -> Option<Instance> {
        self.known(stream, partition).map(|(_, instance)| instance)
    }

    /// Whether another instance has claimed at this offset or behind it.
    pub(crate) fn has_rival(&self, own: WriterId, (stream, partition): (Stream, i32), end: i64) -> bool {
        let known = self.known(stream, partition);
        known.is_some_and(|(offset, owner)| owner.id != own && offset >= end)
    }

    /// The owner with the offset of its claim.
    pub fn known(&self, stream: Stream, partition: i32) -> Option<(i64, Instance)> {
        let stream = match stream {
            Stream::Users | Stream::Identifiers => Stream::Users,
            Stream::Catalog => Stream::Catalog,
        };
        self.0.borrow().get(&(stream, partition)).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(stream: Stream, offset: i64) -> Position {
        Position {
            stream,
            partition: 3,
            offset,
        }
    }

    fn claim(address: &str) -> LedgerClaimed {
        LedgerClaimed {
            instance: WriterId::new_v7(),
            address: address.to_owned(),
            group: 0,
        }
    }

    #[test]
    fn the_last_claim_tells_the_owner_whatever_is_read_first() {
        let owners = Owners::default();
        owners.learn(at(Stream::Users, 7), &claim("new"));
        owners.learn(at(Stream::Users, 2), &claim("old"));
        let address = |stream| owners.of(stream, 3).map(|it| it.address);
        assert_eq!(address(Stream::Users).as_deref(), Some("new"));
        assert_eq!(address(Stream::Identifiers).as_deref(), Some("new"));
        assert_eq!(address(Stream::Catalog), None);
        assert_eq!(owners.of(Stream::Users, 4), None);
    }
}
