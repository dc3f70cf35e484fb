//! A keep-alive HTTP connection that costs as little as possible, as it shares the cores with what
//! it measures.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// An answer in the connection's buffer.
pub struct Answer<'a> {
    pub status: u16,
    pub body: &'a [u8],
}

/// A request as bytes, made before the clock runs.
pub fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Vec<u8> {
    let json = [("content-type", "application/json")];
    let headers = match body.is_empty() {
        true => headers.to_vec(),
        false => [headers, &json].concat(),
    };
    request_of(method, path, &headers, body)
}

/// As [`request`], with a body of whatever type the headers name.
pub fn request_of(method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Vec<u8> {
    let mut text = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str(&format!("content-length: {}\r\n\r\n{body}", body.len()));
    text.into_bytes()
}

impl Connection {
    pub async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address)
            .await
            .with_context(|| format!("connecting to {address}"))?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buffer: Vec::with_capacity(4096),
        })
    }

    pub async fn send(&mut self, request: &[u8]) -> Result<Answer<'_>> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        loop {
            ensure!(
                self.stream.read_buf(&mut self.buffer).await? > 0,
                "the server closed the connection"
            );
            if let Some((status, start, end)) = head(&self.buffer)? {
                while self.buffer.len() < end {
                    ensure!(
                        self.stream.read_buf(&mut self.buffer).await? > 0,
                        "the answer broke off"
                    );
                }
                return Ok(Answer {
                    status,
                    body: &self.buffer[start..end],
                });
            }
        }
    }
}

/// Status, start and end of the body, once the head is there.
fn head(buffer: &[u8]) -> Result<Option<(u16, usize, usize)>> {
    let Some(end) = buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
        return Ok(None);
    };
    let text = std::str::from_utf8(&buffer[..end]).context("the answer's head")?;
    let status = text
        .get(9..12)
        .and_then(|digits| digits.parse().ok())
        .context("the answer's status")?;
    let length = text.split("\r\n").find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse::<usize>().ok())?
    });
    let Some(length) = length else {
        bail!("an answer without a length: {text}")
    };
    Ok(Some((status, end + 4, end + 4 + length)))
}

impl Answer<'_> {
    pub fn expect(self, status: u16) -> Result<Self> {
        let text = String::from_utf8_lossy(self.body);
        ensure!(
            self.status == status,
            "answered {} instead of {status}: {text}",
            self.status
        );
        Ok(self)
    }

    pub fn json(&self) -> Result<Value> {
        serde_json::from_slice(self.body).context("the answer's body")
    }

    /// A text of the body.
    pub fn text(&self, field: &str) -> Result<String> {
        let body = self.json()?;
        body[field]
            .as_str()
            .map(str::to_owned)
            .with_context(|| format!("no {field} in {body}"))
    }

    /// The answer to a check.
    pub fn decision(&self) -> Result<bool> {
        match self.body.get(..15) {
            Some(br#"{"decision":tru"#) => Ok(true),
            Some(br#"{"decision":fal"#) => Ok(false),
            _ => bail!("no decision: {}", String::from_utf8_lossy(self.body)),
        }
    }
}
