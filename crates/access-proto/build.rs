//! Rust for the messages and services: by a compiler of its own, since `protoc` is a program that has to be installed.

use std::error::Error;
use std::path::PathBuf;

use prost::Message as _;

const FOLDER: &str = "proto";
const FILES: [&str; 1] = ["rolecall/access/v1/access.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={FOLDER}");
    let descriptors = protox::compile(FILES, [FOLDER])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("access.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    Ok(())
}
