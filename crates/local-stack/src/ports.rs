//! Free TCP ports on the loopback interface.

use std::collections::HashSet;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{LazyLock, Mutex, PoisonError};

use rand::RngExt;

use crate::{Error, Result};

/// Below the kernel's range for outgoing connections: a client's connection must not take the port of a server that a
/// test has stopped for a while (or even connect to itself there).
const LOW: u16 = 15_000;
const HIGH: u16 = 32_000;

/// Fixed ports; what is `None` is chosen. With several Kafka nodes or PostgreSQL clusters, the next ones follow.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ports {
    pub kafka: Option<u16>,
    pub registry: Option<u16>,
    pub postgres: Option<u16>,
    pub redis: Option<u16>,
}

impl Ports {
    /// The well-known port of each server.
    pub const STANDARD: Self = Self {
        kafka: Some(9092),
        registry: Some(8085),
        postgres: Some(5432),
        redis: Some(6379),
    };
}

/// A port that nobody listens on, given out once in this process.
pub fn free() -> Result<u16> {
    static GIVEN: LazyLock<Mutex<HashSet<u16>>> = LazyLock::new(Mutex::default);
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    for _ in 0..1_000 {
        let port = rand::rng().random_range(LOW..HIGH);
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() && given.insert(port) {
            return Ok(port);
        }
    }
    Err(Error::NoFreePort { low: LOW, high: HIGH })
}

/// The fixed port, moved on by `index`, or a free one.
pub(crate) fn fixed_or_free(fixed: Option<u16>, index: usize) -> Result<u16> {
    match fixed {
        Some(port) => Ok(port.saturating_add(u16::try_from(index).unwrap_or(u16::MAX))),
        None => free(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_port_is_given_twice() {
        let ports: HashSet<u16> = (0..100).map(|_| free().unwrap()).collect();
        assert_eq!(ports.len(), 100);
    }
}
