//! What the node has in memory: written by the follower, read by checks.

use std::sync::Arc;

use arc_swap::ArcSwap;
use domain::access::CompiledCatalog;
use event_log::Owners;
use parking_lot::RwLock;
use schemas::Meta;
use schemas::user::UserEvent;

use crate::partition::UsersPartition;
use crate::positions::Positions;

pub(crate) struct Model {
    pub(crate) users: Box<[RwLock<UsersPartition>]>,
    pub(crate) catalog: ArcSwap<CompiledCatalog>,
    pub(crate) positions: Positions,
    pub(crate) owners: Owners,
}

impl Model {
    pub(crate) fn new(ledgers: i32) -> Self {
        Self {
            users: (0..ledgers).map(|_| RwLock::default()).collect(),
            catalog: ArcSwap::default(),
            positions: Positions::new(ledgers),
            owners: Owners::default(),
        }
    }

    pub(crate) fn apply_user(&self, partition: i32, meta: &Meta, event: &UserEvent) {
        let Some(users) = usize::try_from(partition).ok().and_then(|i| self.users.get(i)) else {
            return;
        };
        if let Err(error) = users.write().apply(meta, event) {
            tracing::error!(%error, "A user event names no user id");
        }
    }

    pub(crate) fn set_catalog(&self, catalog: CompiledCatalog) {
        self.catalog.store(Arc::new(catalog));
    }
}
