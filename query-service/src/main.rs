use std::process::ExitCode;

use clap::Parser;
use query_service::{Config, run};
use service_kit::serve::shutdown_signal;
use service_kit::{problem, telemetry};

#[tokio::main]
async fn main() -> ExitCode {
    let config = Config::parse();
    if let Err(error) = telemetry::init_logging() {
        eprintln!("query-service: {error}");
        return ExitCode::FAILURE;
    }
    let outcome = match shutdown_signal() {
        Ok(shutdown) => run(config, shutdown)
            .await
            .map_err(|error| problem::chain(&error)),
        Err(error) => Err(error.to_string()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("query-service: {reason}");
            ExitCode::FAILURE
        }
    }
}
