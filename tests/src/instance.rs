//! Further instances of a service beside those that every world has, and who of them owns what.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use event_log::{Owners, Tail, TailItem, decode};
use local_stack::{Launch, Server};
use schemas::log::LogEvent;
use schemas::{Event, Position, Stream};
use tokio::task::JoinHandle;

use crate::people::unique;
use crate::world::{World, programs};

/// One running service of several.
pub struct Instance {
    pub server: Server,
    pub url: String,
}

/// Who owns what, as the log tells, kept up to date.
pub struct Claims {
    owners: Owners,
    following: JoinHandle<()>,
}

impl Claims {
    /// Address of a ledger's owner, or of the catalog's.
    pub fn owner(&self, stream: Stream, partition: i32) -> Option<String> {
        Some(self.owners.of(stream, partition)?.address)
    }
}

impl Drop for Claims {
    fn drop(&mut self) {
        self.following.abort();
    }
}

impl World {
    /// Starts one more of a program, as the first one was, and waits until it is ready.
    pub async fn another(&self, program: &str) -> Instance {
        let port = free_port();
        let url = self.rolecall.url_of(format_args!("127.0.0.1:{port}"));
        let log = self.stack.log_of(&unique(program));
        let launch = Launch::new(program, programs().await.join(program), log)
            .envs(
                self.rolecall
                    .environment()
                    .iter()
                    .map(|(name, value)| (name, value)),
            )
            .env("ROLECALL_LISTEN", format!("127.0.0.1:{port}"))
            .trusting(self.rolecall.certificates())
            .ready_at(format!("{url}/readyz"));
        let server = Server::start(launch).await.unwrap();
        Instance { server, url }
    }

    /// Follows the claims of each ledger and the catalog.
    pub fn claims(&self) -> Claims {
        let owners = Owners::default();
        let users = (0..self.ledgers()).map(|ledger| (Stream::Users, ledger, 0));
        let start: Vec<_> = users.chain([(Stream::Catalog, 0, 0)]).collect();
        let mut tail = Tail::open(&self.kafka(), &start).unwrap();
        let (ids, told) = (self.identity.schema_ids.clone(), owners.clone());
        let following = tokio::spawn(async move {
            while let Ok(items) = tail.next(1_000).await {
                for item in items {
                    let TailItem::Record(record) = item else { continue };
                    if let Event::Log(LogEvent::LedgerClaimed(claim)) = decode(&record, &ids).unwrap().data {
                        let (stream, partition, offset) = (record.stream, record.partition, record.offset);
                        told.learn(
                            Position {
                                stream,
                                partition,
                                offset,
                            },
                            &claim,
                        );
                    }
                }
            }
        });
        Claims { owners, following }
    }

    /// How many ledgers each address owns, the catalog counted as one.
    pub fn owned(&self, claims: &Claims) -> BTreeMap<String, usize> {
        assert!(
            !claims.following.is_finished(),
            "nobody follows the claims any more"
        );
        let mut owned = BTreeMap::new();
        let users = (0..self.ledgers()).map(|ledger| (Stream::Users, ledger));
        for (stream, partition) in users.chain([(Stream::Catalog, 0)]) {
            if let Some(owner) = claims.owner(stream, partition) {
                *owned.entry(owner).or_default() += 1;
            }
        }
        owned
    }
}

/// Waits until it is so, and gives how long that took.
pub async fn until<F>(within: Duration, what: &str, is_so: impl Fn() -> F) -> Duration
where
    F: Future<Output = bool>,
{
    let began = Instant::now();
    while !is_so().await {
        assert!(began.elapsed() < within, "not within {within:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    began.elapsed()
}

fn free_port() -> u16 {
    // Below the range from which the kernel gives ports to outgoing connections.
    let mut ports = std::iter::repeat_with(|| rand::random_range(15_000..32_000));
    ports.find(|&port| local_rolecall::is_free(port)).unwrap()
}
