use std::process::ExitCode;

use clap::Parser;
use command_service::{Config, run};
use service_kit::serve::shutdown_signal;
use service_kit::{problem, telemetry};

/// glibc keeps freed memory for itself once blocks of its size were freed before: the 19 MiB of a password's
/// hash would stay with each thread that ever computed one. Fixed, such blocks go back to the system.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "a C function that sets an option of the allocator")]
fn give_memory_back() {
    const LARGE: libc::c_int = 1024 * 1024;
    // SAFETY: takes no pointers, and may be called at any time.
    if unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE) } == 0 {
        eprintln!("command-service: the memory of password hashing may stay with the process");
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn give_memory_back() {}

#[tokio::main]
async fn main() -> ExitCode {
    give_memory_back();
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
