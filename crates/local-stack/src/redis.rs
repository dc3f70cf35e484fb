//! Redis, as a cache: nothing is kept on disk.

use std::path::Path;

use crate::{Launch, Probe, Result, files};

pub(crate) fn launch(program: &Path, data: &Path, log: &Path, port: u16) -> Result<Launch> {
    files::create_dir(data)?;
    Ok(Launch::new("redis", program, log)
        .args([
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
            "--daemonize",
            "no",
            "--dir",
        ])
        .arg(data)
        .args(["--port", &port.to_string()])
        .probe(Probe::Redis { port }))
}
