//! A cache that is emptied, or that says something else than it was told.

use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

pub(super) async fn wipe(url: &str) -> Result<()> {
    commands(url, &["FLUSHALL".to_owned()]).await
}

/// Every key gets a random value of some other kind.
pub(super) async fn lie(url: &str) -> Result<()> {
    let script = "for _, key in ipairs(redis.call('KEYS', '*')) do redis.call('SET', key, ARGV[1]) end";
    let value: u128 = rand::random();
    commands(url, &[format!("EVAL \"{script}\" 0 {value:x}")]).await
}

async fn commands(url: &str, commands: &[String]) -> Result<()> {
    let address = url.strip_prefix("redis://").context("not a Redis address")?;
    let talk = async {
        let mut stream = BufReader::new(TcpStream::connect(address).await?);
        for command in commands {
            stream.write_all(format!("{command}\r\n").as_bytes()).await?;
            let mut answer = String::new();
            stream.read_line(&mut answer).await?;
            anyhow::ensure!(!answer.starts_with('-'), "Redis answers {answer}");
        }
        Ok(())
    };
    tokio::time::timeout(Duration::from_secs(5), talk).await?
}
