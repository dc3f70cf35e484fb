//! A PostgreSQL cluster that follows another one, as its hot standby.

use crate::postgres::Cluster;
use crate::starter::Part;
use crate::{Server, Stack};

/// A running standby. Dropping it kills it; it ends before the stack that it belongs to.
#[derive(Debug)]
pub struct Replica(pub(crate) Part<Cluster>);

impl Replica {
    pub fn server(&self) -> &Server {
        &self.0.server
    }

    /// Address of the copy of a shard, as [`Stack::shard_dsns`] gives that of the shard. Of those alone that lie on the
    /// cluster it follows.
    pub fn dsn(&self, shard: usize) -> String {
        self.0.address.dsn(Some(crate::postgres::USER), shard)
    }

    /// As [`Stack::service_dsns`].
    pub fn service_dsn(&self, shard: usize) -> String {
        self.0.address.service_dsn(shard)
    }
}

impl Stack {
    /// Starts a standby of cluster `index`, and returns when it answers.
    ///
    /// # Panics
    /// If there is no cluster `index`, counted from 0.
    pub async fn replicate(&self, index: usize) -> crate::Result<Replica> {
        self.start_replica(index).await.map(Replica)
    }
}
