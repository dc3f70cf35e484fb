//! Ports to serve on.

use std::net::TcpListener;

use crate::Error;

/// Whether nobody listens on this port.
pub fn is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok()
}

/// This port if nobody has it, else a free one.
pub fn port_or_free(port: u16) -> Result<u16, Error> {
    if is_free(port) { Ok(port) } else { free_port() }
}

/// Below the range from which the kernel gives ports to outgoing connections.
pub(crate) const PORTS: std::ops::Range<u16> = 15_000..32_000;

pub(crate) fn free_port() -> Result<u16, Error> {
    for _ in 0..200 {
        let port = rand::random_range(PORTS);
        if is_free(port) {
            return Ok(port);
        }
    }
    Err(Error::NoFreePort)
}
