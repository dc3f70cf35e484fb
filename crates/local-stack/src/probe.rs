//! Asking a server whether it serves, in its own protocol. An open port alone says little.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use crate::certificates::{Connection, connect};

const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// How to ask. A server that refuses, is silent or answers with an error is not ready yet.
#[derive(Debug, Clone)]
pub enum Probe {
    /// `GET` of this address must answer 200: an `https://` one by a server that the authority certifies.
    Http { url: String, authority: Option<PathBuf> },
    /// A metadata request to this port must list this node among the brokers, and at least `brokers` in all. By TLS
    /// where an authority is named.
    Kafka {
        port: u16,
        node: i32,
        brokers: usize,
        authority: Option<PathBuf>,
    },
    /// A session on this socket must reach "ready for query".
    Postgres { socket: PathBuf, user: &'static str },
    /// `PING` to this port must answer `PONG`.
    Redis { port: u16 },
    /// Ready as soon as it runs.
    None,
}

impl Probe {
    pub async fn is_ready(&self) -> bool {
        let asked = async {
            match self {
                Self::Http { url, authority } => http(url, authority.as_deref()).await,
                Self::Kafka {
                    port,
                    node,
                    brokers,
                    authority,
                } => {
                    let nodes = kafka_brokers(*port, authority.as_deref()).await?;
                    Ok(nodes.contains(node) && nodes.len() >= *brokers)
                }
                Self::Postgres { socket, user } => postgres(UnixStream::connect(socket).await?, user).await,
                Self::Redis { port } => redis(*port).await,
                Self::None => Ok(true),
            }
        };
        matches!(timeout(ANSWER_WITHIN, asked).await, Ok(Ok(true)))
    }
}

async fn http(url: &str, authority: Option<&Path>) -> io::Result<bool> {
    let (address, port, authority) = match url.split_once("://") {
        Some(("http", address)) => (address, 80, None),
        Some(("https", address)) if authority.is_some() => (address, 443, authority),
        _ => return Err(io::Error::other("not an address that can be asked")),
    };
    let (host, path) = address.split_once('/').unwrap_or((address, ""));
    let target = if host.contains(':') {
        host.to_owned()
    } else {
        format!("{host}:{port}")
    };
    let mut stream = connect(&target, authority).await?;
    let request = format!("GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;
    let mut status = [0; 12];
    stream.read_exact(&mut status).await?;
    Ok(status.starts_with(b"HTTP/1.") && status.ends_with(b" 200"))
}

async fn redis(port: u16) -> io::Result<bool> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.write_all(b"PING\r\n").await?;
    let mut answer = [0; 7];
    stream.read_exact(&mut answer).await?;
    Ok(&answer == b"+PONG\r\n")
}

/// Starts a session as libpq does; with `trust` the server goes straight to "ready for query" (`Z`).
async fn postgres(mut stream: UnixStream, user: &str) -> io::Result<bool> {
    const PROTOCOL_3: i32 = 196_608;
    const TERMINATE: [u8; 5] = [b'X', 0, 0, 0, 4];
    let mut startup = PROTOCOL_3.to_be_bytes().to_vec();
    startup.extend(format!("user\0{user}\0database\0postgres\0\0").as_bytes());
    stream
        .write_i32(i32::try_from(startup.len() + 4).map_err(io::Error::other)?)
        .await?;
    stream.write_all(&startup).await?;
    loop {
        let kind = stream.read_u8().await?;
        let length = stream.read_u32().await?;
        let mut body = vec![0; usize::try_from(length.saturating_sub(4)).map_err(io::Error::other)?];
        stream.read_exact(&mut body).await?;
        match kind {
            b'Z' => {
                stream.write_all(&TERMINATE).await?;
                return Ok(true);
            }
            b'E' => return Ok(false),
            _ => {}
        }
    }
}

/// The ids of the brokers that this one knows to be alive: a `Metadata` request, version 1, for no topic.
async fn kafka_brokers(port: u16, authority: Option<&Path>) -> io::Result<Vec<i32>> {
    const METADATA: i16 = 3;
    const VERSION: i16 = 1;
    let client = b"local-stack";
    let mut request = vec![];
    request.extend(METADATA.to_be_bytes());
    request.extend(VERSION.to_be_bytes());
    request.extend(7_i32.to_be_bytes()); // correlation id
    request.extend(
        i16::try_from(client.len())
            .map_err(io::Error::other)?
            .to_be_bytes(),
    );
    request.extend(client);
    request.extend(0_i32.to_be_bytes()); // no topics
    let mut stream = connect(&format!("127.0.0.1:{port}"), authority).await?;
    stream
        .write_i32(i32::try_from(request.len()).map_err(io::Error::other)?)
        .await?;
    stream.write_all(&request).await?;
    stream.flush().await?;

    let _length = stream.read_i32().await?;
    let _correlation = stream.read_i32().await?;
    let mut nodes = vec![];
    for _ in 0..stream.read_i32().await? {
        nodes.push(stream.read_i32().await?);
        skip_string(&mut *stream).await?; // host
        let _port = stream.read_i32().await?;
        skip_string(&mut *stream).await?; // rack
    }
    Ok(nodes)
}

/// A string of the Kafka protocol; length -1 stands for null.
async fn skip_string(stream: &mut dyn Connection) -> io::Result<()> {
    let length = stream.read_i16().await?;
    let mut text = vec![0; usize::try_from(length).unwrap_or(0)];
    stream.read_exact(&mut text).await?;
    Ok(())
}
