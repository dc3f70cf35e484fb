//! Starts and stops the real servers Rolecall runs on (Apache Kafka, the Apicurio schema registry, PostgreSQL and
//! Redis) as child processes with their own ports and data folder, for the demo, the benches and the tests.
//!
//! ```no_run
//! # async fn example() -> Result<(), local_stack::Error> {
//! let stack = local_stack::Stack::builder().shards(16).start().await?;
//! println!("{} {:?}", stack.kafka_bootstrap(), stack.shard_dsns());
//! stack.kafka().kill().await?; // as a crash would
//! stack.kafka().restart().await?; // same data, same port
//! stack.shutdown().await
//! # }
//! ```
//!
//! No child outlives its owner: [`Stack::shutdown`] stops them in order, dropping kills what is left, and the kernel
//! kills them when the owning process dies in any other way.
//!
//! To add a server: write a file like `redis.rs` that returns a [`Launch`], give it a [`Probe`] that asks the server
//! itself, start it in `starter.rs`, and name its package or jar in `install.rs`.

mod certificates;
mod error;
mod files;
mod home;
mod install;
mod jvm;
mod kafka;
mod mail;
mod maven;
mod ports;
mod postgres;
mod probe;
mod progress;
mod redis;
mod registry;
mod replica;
mod server;
mod sms;
mod spawn;
mod stack;
mod starter;

pub use certificates::{CertificatePair, Certificates};
pub use error::{Error, Result};
pub use install::{install, install_package};
pub use kafka::Door;
pub use mail::{Mail, MailServer};
pub use ports::{Ports, free as free_port};
pub use probe::Probe;
pub use progress::Progress;
pub use replica::Replica;
pub use server::{Launch, Server};
pub use sms::{SmsCall, SmsFailure, SmsGateway};
pub use spawn::spawn_detached;
pub use stack::{Builder, Stack};
