//! Logs and metrics of a process, set up once at its start.

use std::io::IsTerminal as _;
use std::sync::Mutex;
use std::time::Duration;

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

pub const REQUEST_DURATION: &str = "http_request_duration_seconds";

/// From 100 us, a check from memory, to 10 s, the longest bounded wait.
const BUCKETS: [f64; 15] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
];
/// How often histograms that nobody scrapes are folded, so that they stay small.
const UPKEEP: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    #[error("RUST_LOG is not a filter: {0}")]
    Filter(#[source] ParseError),
    #[error("installing the metrics recorder: {0}")]
    Metrics(#[source] BuildError),
}

/// Starts logging to standard error, filtered by `RUST_LOG` (default `info`): lines of JSON when
/// `ROLECALL_LOG=json`, compact text otherwise. A second call in one process changes nothing.
pub fn init_logging() -> Result<(), TelemetryError> {
    let filter = match std::env::var("RUST_LOG") {
        Ok(text) if !text.is_empty() => EnvFilter::try_new(text).map_err(TelemetryError::Filter)?,
        _ => EnvFilter::new("info"),
    };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    let started = if std::env::var("ROLECALL_LOG").is_ok_and(|format| format == "json") {
        builder.json().flatten_event(true).try_init()
    } else {
        builder.compact().try_init()
    };
    if started.is_err() {
        tracing::debug!("Logging runs already");
    }
    Ok(())
}

/// Installs the metrics recorder and keeps it tidy; every call in one process gives the same
/// handle.
pub fn init_metrics() -> Result<PrometheusHandle, TelemetryError> {
    static INSTALLED: Mutex<Option<PrometheusHandle>> = Mutex::new(None);
    let mut installed = INSTALLED
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(handle) = installed.as_ref() {
        return Ok(handle.clone());
    }
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &BUCKETS)
        .and_then(PrometheusBuilder::install_recorder)
        .map_err(TelemetryError::Metrics)?;
    // A thread of its own, not a task: in tests the handle outlives the runtime it was made in.
    let upkeep = handle.clone();
    std::thread::Builder::new()
        .name("metrics-upkeep".to_owned())
        .spawn(move || {
            loop {
                std::thread::sleep(UPKEEP);
                upkeep.run_upkeep();
            }
        })
        .map_or_else(|error| tracing::warn!(%error, "Metrics go without upkeep"), drop);
    *installed = Some(handle.clone());
    Ok(handle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_start_gives_the_same_recorder() {
        let first = init_metrics().unwrap();
        metrics::counter!("telemetry_test_total").increment(1);
        for handle in [first, init_metrics().unwrap()] {
            assert!(handle.render().contains("telemetry_test_total 1"));
        }
        init_logging().unwrap();
        init_logging().unwrap();
    }
}
