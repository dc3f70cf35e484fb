//! The `replay` command.

use std::process::ExitCode;

use clap::Parser as _;
use replay::cli::Cli;
use replay::{Error, Outcome};

fn main() -> ExitCode {
    let cli = Cli::parse();
    match answer(cli) {
        Ok(Outcome::Good) => ExitCode::SUCCESS,
        Ok(Outcome::Bad) => ExitCode::from(1),
        // The reader of a pipe, such as `head`, has seen enough.
        Err(error) if error.is_closed_pipe() => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("replay: {}", error.one_line());
            ExitCode::from(2)
        }
    }
}

fn answer(cli: Cli) -> Result<Outcome, Error> {
    let runtime = tokio::runtime::Runtime::new().map_err(Error::Runtime)?;
    let outcome = runtime.block_on(replay::run(cli));
    // A call into Kafka that still waits for a lost broker must not keep the answer back.
    runtime.shutdown_background();
    outcome
}
