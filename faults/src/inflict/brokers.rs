//! Brokers that die, freeze or have no room left. The next fault of a broker waits until all copies
//! are in sync again, so that a majority is always there.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::metadata::Metadata;

use super::{down, filled, frozen};
use crate::plan::Fault;
use crate::stage::Stage;

const PATIENCE: Duration = Duration::from_secs(90);

impl Stage {
    pub(super) async fn break_brokers(&self, fault: Fault, lasts: Duration) -> Result<()> {
        let stack = &self.world.stack;
        match fault {
            Fault::KillBroker(index) => down(stack.kafka_node(index), true, lasts).await?,
            Fault::RestartBroker(index) => down(stack.kafka_node(index), false, Duration::ZERO).await?,
            Fault::PauseBroker(index) => frozen(stack.kafka_node(index), lasts).await?,
            Fault::KillLeader(ledger) => {
                let leader = self.leader_of(ledger).await?;
                down(stack.kafka_node(leader), true, lasts).await?;
            }
            Fault::KillAllBrokers => {
                let nodes = (0..self.brokers).map(|index| stack.kafka_node(index));
                futures::future::try_join_all(nodes.map(|node| down(node, true, lasts))).await?;
            }
            Fault::FillBroker(index) => {
                let Some(disk) = &self.broker_disk else {
                    bail!("no broker has a small disk")
                };
                filled(disk, stack.kafka_node(index), lasts).await?;
            }
            other => bail!("{other:?} is no fault of a broker"),
        }
        self.until_in_sync().await
    }

    /// Index of the broker that leads the users of this ledger.
    async fn leader_of(&self, ledger: usize) -> Result<usize> {
        let topic = format!("{}.users", self.world.rolecall.topic_prefix());
        let metadata = self.metadata().await?;
        let of_topic = metadata.topics().iter().find(|it| it.name() == topic);
        let mut partitions = of_topic.context("no users topic")?.partitions().iter();
        let leader = partitions.find(|it| usize::try_from(it.id()).is_ok_and(|id| id == ledger));
        let id = leader.context("no such ledger")?.leader();
        usize::try_from(id - 1).context("the ledger has no leader")
    }

    /// Waits until every partition of the cluster has all its copies in sync.
    pub async fn until_in_sync(&self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let metadata = self.metadata().await;
            if metadata.as_ref().is_ok_and(|it| is_in_sync(it, self.brokers)) {
                return Ok(());
            }
            if Instant::now() > deadline {
                metadata?;
                bail!("the brokers' copies are not in sync after {PATIENCE:?}");
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    }

    async fn metadata(&self) -> Result<Metadata> {
        let bootstrap = self.world.stack.kafka_bootstrap();
        let asked = tokio::task::spawn_blocking(move || {
            leader_hints::ignore();
            let mut config = ClientConfig::new();
            config.set("bootstrap.servers", bootstrap).set("log_level", "0");
            let client: BaseConsumer = config.create()?;
            client.fetch_metadata(None, Duration::from_secs(3))
        });
        Ok(asked.await??)
    }
}

fn is_in_sync(metadata: &Metadata, brokers: usize) -> bool {
    let mut partitions = metadata.topics().iter().flat_map(|topic| topic.partitions());
    metadata.brokers().len() == brokers
        && partitions.all(|it| it.leader() >= 0 && it.isr().len() == it.replicas().len())
}
