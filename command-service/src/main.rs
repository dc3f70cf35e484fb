use std::process::ExitCode;

use clap::Parser;
use command_service::{Config, run};
use service_kit::serve::shutdown_signal;
use service_kit::{problem, telemetry};

/// Also for librdkafka, which makes and frees a dozen blocks for each record, in different threads: with glibc's that is a third
/// of this service's time in an import. It gives large blocks, such as the 19 MiB of a password's hash, back to the system at once.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    let config = Config::parse();
    if let Err(error) = telemetry::init_logging() {
        eprintln!("command-service: {error}");
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
            eprintln!("command-service: {reason}");
            ExitCode::FAILURE
        }
    }
}
