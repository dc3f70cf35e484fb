//! What the projector tells about itself: readiness, metrics, log lines.

use std::time::Duration;

use read_model::ShardId;
use schemas::Stream;
use service_kit::Readiness;

use crate::progress::Lane;

/// Speaks for the workers of one shard.
#[derive(Clone, Debug)]
pub struct Status {
    readiness: Readiness,
    shard: ShardId,
}

impl Status {
    pub fn new(readiness: Readiness, shard: ShardId) -> Self {
        Self { readiness, shard }
    }

    /// The shard does not answer, or not yet.
    pub fn down(&self, reason: &str) {
        self.readiness.set_not_ready(self.shard_name(), reason);
    }

    pub fn up(&self) {
        self.readiness.set_ready(self.shard_name());
    }

    /// The shard's partitions are this instance's from now on.
    pub fn owned(&self, lanes: &[Lane]) {
        tracing::info!(shard.id = self.shard, "Filling shard {}", self.shard);
        self.gauge_owned(lanes.len());
    }

    /// The shard is another instance's: nothing of it is this one's to tell.
    pub fn left(&self, lanes: &[Lane]) {
        lanes.iter().for_each(|lane| self.restarted(*lane));
        self.readiness.remove(&self.shard_name());
        self.gauge_owned(0);
    }

    /// Whether the configuration names every shard that the log's newest map has ledgers on.
    pub fn shard_map(&self, misfit: Option<read_model::Error>) {
        match misfit {
            None => self.readiness.remove("shard-map"),
            Some(misfit) => self.readiness.set_not_ready("shard-map", misfit.to_string()),
        }
    }

    pub fn set_back(&self) {
        tracing::warn!(
            shard.id = self.shard,
            "The database of shard {} was set back: filling it again from its checkpoints",
            self.shard
        );
    }

    /// A worker takes the partition up, whatever became of the one before.
    pub fn restarted(&self, lane: Lane) {
        self.gauge_halted(lane, 0.0);
        self.readiness.remove(&self.lane_name(lane));
    }

    /// The shard takes nothing, and not for a moment only.
    pub fn stuck(&self, lane: Lane, reason: &str) {
        self.readiness
            .set_not_ready(self.lane_name(lane), format!("waiting for the shard: {reason}"));
    }

    /// It takes something again, or said why it never will.
    pub fn unstuck(&self, lane: Lane) {
        self.readiness.remove(&self.lane_name(lane));
        self.up();
    }

    pub fn applied(&self, lane: Lane, events: usize, next_offset: i64, took: Duration) {
        let (stream, partition) = labels(lane);
        metrics::counter!("projector_events_applied_total", "stream" => stream).increment(events as u64);
        metrics::histogram!("projector_batch_seconds", "stream" => stream).record(took.as_secs_f64());
        #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
        let position = next_offset as f64;
        metrics::gauge!("projector_position", "stream" => stream, "partition" => partition,
                        "shard" => self.shard.to_string())
        .set(position);
    }

    pub fn retried(&self, lane: Lane) {
        metrics::counter!("projector_retries_total", "stream" => labels(lane).0, "shard" => self.shard.to_string())
            .increment(1);
    }

    pub fn halted(&self, lane: Lane, offset: i64, reason: &str) {
        let (stream, partition) = labels(lane);
        tracing::error!(
            stream,
            partition,
            shard.id = self.shard,
            offset,
            reason,
            "Halted {stream}-{partition} on shard {} at {offset}: {reason}",
            self.shard
        );
        self.gauge_halted(lane, 1.0);
        self.readiness.set_not_ready(
            self.lane_name(lane),
            format!("halted at offset {offset}: {reason}"),
        );
    }

    pub fn fenced(&self, lane: Lane, reason: &str) {
        let (stream, partition) = labels(lane);
        // As it happens for a moment when a shard goes from one projector to another.
        tracing::warn!(
            stream,
            partition,
            shard.id = self.shard,
            reason,
            "Gave up {stream}-{partition}: {reason}"
        );
        self.readiness
            .set_not_ready(self.lane_name(lane), reason.to_owned());
    }

    fn gauge_owned(&self, lanes: usize) {
        #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
        let lanes = lanes as f64;
        metrics::gauge!("projector_lanes_owned", "shard" => self.shard.to_string()).set(lanes);
    }

    fn gauge_halted(&self, lane: Lane, value: f64) {
        let (stream, partition) = labels(lane);
        metrics::gauge!("projector_partition_halted", "stream" => stream, "partition" => partition,
                        "shard" => self.shard.to_string())
        .set(value);
    }

    fn shard_name(&self) -> String {
        format!("shard-{}", self.shard)
    }

    fn lane_name(&self, lane: Lane) -> String {
        let (stream, partition) = labels(lane);
        format!("{stream}-{partition}-on-shard-{}", self.shard)
    }
}

fn labels((stream, partition): Lane) -> (&'static str, String) {
    (Stream::name(stream), partition.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_halt_shows_for_its_shard_alone_and_until_the_partition_is_taken_up_again() {
        let metrics = service_kit::telemetry::init_metrics().unwrap();
        let gauge = |shard: ShardId| {
            let name = "projector_partition_halted{";
            let labels = [
                r#"stream="users""#,
                r#"partition="4""#,
                &format!(r#"shard="{shard}""#),
            ];
            let shown = metrics.render();
            let mut lines = shown.lines().filter(|line| line.starts_with(name));
            let line = lines.find(|line| labels.iter().all(|it| line.contains(it)))?;
            line.split(' ').next_back().map(str::to_owned)
        };
        let lane = (Stream::Users, 4);
        let of_shard = |shard| Status::new(Readiness::default(), shard);
        of_shard(701).restarted(lane);
        of_shard(702).halted(lane, 9, "broken");
        assert_eq!(gauge(701).as_deref(), Some("0"));
        assert_eq!(gauge(702).as_deref(), Some("1"));
        of_shard(702).restarted(lane);
        assert_eq!(gauge(702).as_deref(), Some("0"));
    }
}
