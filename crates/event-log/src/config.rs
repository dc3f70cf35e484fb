//! How a program reaches Kafka.

use std::time::Duration;

use rdkafka::ClientConfig;
use transport::Trust;

use crate::security::{KafkaSecurity, Security};
use crate::topics::{HEARTBEAT, Topics};

/// How long a fetch that finds nothing stays at the broker. Records end it at once, but that a marker
/// was passed shows only when it comes back empty: who asks for the latest waits so long.
const FETCH_WAIT: Duration = Duration::from_millis(30);

/// Where the log is. Several logs may share a cluster under different prefixes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaConfig {
    /// Comma-separated host:port list.
    pub bootstrap: String,
    /// First part of every topic's name and transactional id, `rolecall` by default.
    pub topic_prefix: String,
    security: Security,
    fetch_wait: Duration,
    /// See [`Self::key_segment`].
    pub(crate) key_segment: Duration,
}

impl KafkaConfig {
    /// As a program is told to reach it.
    ///
    /// # Errors
    /// Where that is plain text, and plain text is not allowed.
    pub fn new(
        bootstrap: impl Into<String>,
        topic_prefix: impl Into<String>,
        security: KafkaSecurity,
        trust: &Trust,
    ) -> Result<Self, transport::Error> {
        Ok(Self {
            security: Security::new(security, trust)?,
            ..Self::plain(bootstrap, topic_prefix)
        })
    }

    /// Of a cluster that speaks plain text, for tests and measurements on one machine.
    pub fn plain(bootstrap: impl Into<String>, topic_prefix: impl Into<String>) -> Self {
        Self {
            bootstrap: bootstrap.into(),
            topic_prefix: topic_prefix.into(),
            security: Security::Plaintext,
            fetch_wait: FETCH_WAIT,
            key_segment: HEARTBEAT,
        }
    }

    /// For a reader of whom nobody asks for the latest: each empty fetch costs the broker as much as
    /// a small transaction.
    #[must_use]
    pub fn patient(mut self) -> Self {
        self.fetch_wait = FETCH_WAIT * 5;
        self
    }

    /// How long a segment of a new log's keys topic stays open at most, and a key that was overwritten in one
    /// that is closed. An owner's heartbeats have to come as often.
    #[must_use]
    pub fn key_segment(mut self, at_most: Duration) -> Self {
        self.key_segment = at_most;
        self
    }

    pub fn topics(&self) -> Topics {
        Topics::new(&self.topic_prefix)
    }

    /// What every client needs, whatever it is for.
    pub fn client(&self) -> ClientConfig {
        leader_hints::ignore();
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.bootstrap)
            .set("client.id", "rolecall")
            .set("socket.nagle.disable", "true")
            .set("reconnect.backoff.ms", "50")
            .set("reconnect.backoff.max.ms", "1000")
            .set("log_level", "4");
        self.security.apply(&mut config);
        config
    }

    /// A reader that sees only committed records, from offsets that Rolecall keeps itself.
    pub(crate) fn reader(&self) -> ClientConfig {
        let mut config = self.client();
        config
            // Never joined: librdkafka wants a name before it lets a consumer assign partitions.
            .set("group.id", format!("{}-reader", self.topic_prefix))
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("isolation.level", "read_committed")
            .set("auto.offset.reset", "error")
            .set("allow.auto.create.topics", "false")
            .set("enable.partition.eof", "true")
            .set("check.crcs", "true")
            .set("fetch.min.bytes", "1")
            .set("fetch.wait.max.ms", self.fetch_wait.as_millis().to_string())
            // One partition that is slow to come back must not stall the rest for a second.
            .set("fetch.error.backoff.ms", "50")
            .set("fetch.queue.backoff.ms", "20")
            .set("queued.min.messages", "20000")
            .set("queued.max.messages.kbytes", "16384");
        config
    }

    /// A member of a group that shares out partitions and reads none of them.
    pub(crate) fn member(&self, group: &str) -> ClientConfig {
        let mut config = self.client();
        config
            .set("group.id", format!("{}-{group}", self.topic_prefix))
            // Only what moves stops for a moment; who stays keeps the rest.
            .set("partition.assignment.strategy", "cooperative-sticky")
            // The shortest that brokers allow as they come, and how soon a member learns of a change.
            .set("session.timeout.ms", "6000")
            .set("heartbeat.interval.ms", "300")
            // How long the others wait for one that is alive and does not come to share out anew.
            .set("max.poll.interval.ms", "15000")
            // A broker may not know a topic yet that was just made: the member's share is empty then, until the
            // client looks again, which it would do after five minutes.
            .set("topic.metadata.refresh.interval.ms", "1000")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "latest")
            .set("allow.auto.create.topics", "false");
        config
    }

    pub(crate) fn writer(&self, transactional_id: &str) -> ClientConfig {
        let mut config = self.client();
        config
            .set("transactional.id", transactional_id)
            .set("transaction.timeout.ms", "10000")
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("linger.ms", "0")
            // Connects to every broker at once, and not when the first record for it comes.
            .set("enable.sparse.connections", "false")
            .set("delivery.timeout.ms", "8000")
            .set("socket.timeout.ms", "5000");
        config
    }
}
