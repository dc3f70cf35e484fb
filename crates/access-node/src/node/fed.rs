//! A node without Kafka, fed by hand.

use domain::catalog::Catalog;
use parking_lot::Mutex;
use schemas::catalog::CatalogEvent;
use schemas::user::UserEvent;
use schemas::{Actor, EventId, Meta, RequestId, Sha256Digest};

use super::*;

/// Applies what a test says, at once; the log ends where it has been fed to.
pub struct FedNode {
    pub node: Arc<AccessNode>,
    catalog: Mutex<Catalog>,
    standing: watch::Sender<Standing>,
}

impl AccessNode {
    /// The end of every partition.
    pub(super) fn applied(&self) -> Arc<[((Stream, i32), i64)]> {
        followed(self.ledgers)
            .map(|place| (place, self.model.positions.next(place.0, place.1)))
            .collect()
    }
}

impl FedNode {
    pub fn new(log_id: LogId, ledgers: i32) -> Self {
        let (standing, watch) = watch::channel(Standing::Following);
        let model = Arc::new(Model::new(ledgers));
        let node = AccessNode {
            model,
            ends: Ends::Applied,
            standing: watch,
            log_id,
            ledgers,
        };
        Self {
            node: Arc::new(node),
            catalog: Mutex::default(),
            standing,
        }
    }

    pub fn user(&self, user: UserId, event: &UserEvent) -> Position {
        let partition = self.node.ledger(user);
        let offset = self.node.model.positions.next(Stream::Users, partition);
        self.node.model.apply_user(partition, &meta(user), event);
        self.advance(Position {
            stream: Stream::Users,
            partition,
            offset,
        })
    }

    pub fn catalog(&self, event: &CatalogEvent) -> Position {
        let offset = self.node.model.positions.next(Stream::Catalog, 0);
        let mut catalog = self.catalog.lock();
        catalog.apply(event);
        self.node.model.set_catalog(&catalog);
        self.advance(Position {
            stream: Stream::Catalog,
            partition: 0,
            offset,
        })
    }

    /// As a ledger that others went on without: nothing is said of its users until one more record of it came.
    pub fn lag(&self, ledger: i32) {
        let positions = &self.node.model.positions;
        positions.refuse_until(ledger, positions.next(Stream::Users, ledger));
    }

    /// As a record that cannot be read does.
    pub fn stop(&self, why: &str) {
        self.standing.send_replace(Standing::Stopped(why.to_owned()));
    }

    fn advance(&self, position: Position) -> Position {
        self.node
            .model
            .positions
            .applied(position.stream, position.partition, position.offset);
        self.node.model.positions.announce();
        position
    }
}

fn meta(user: UserId) -> Meta {
    Meta {
        event_id: EventId::new_v7(),
        aggregate_id: user.to_string(),
        sequence: 1,
        occurred_at: Timestamp::now(),
        actor: Actor::System,
        request_id: RequestId::new_v7(),
        causation_id: None,
        idempotency: None,
        chain_seq: 0,
        prev_hash: Sha256Digest([0; 32]),
        basis: Vec::new(),
    }
}
