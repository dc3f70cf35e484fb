//! A TCP proxy that may delay, swallow or cut what passes.

use std::io;
use std::net::SocketAddrV4;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What the proxy does with its connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub enum Mode {
    #[default]
    Pass,
    /// Each chunk, in each direction, waits so long.
    Delay { millis: u64 },
    /// Nothing passes and nothing breaks, as when packets are dropped. What was held back goes on
    /// afterwards.
    Drop,
    /// Requests arrive, answers do not.
    DropAnswers,
    /// Open connections break, new ones break at once.
    Cut,
}

/// Listens on an address and passes on to another. Dropping it ends it.
pub struct Proxy {
    address: SocketAddrV4,
    mode: watch::Sender<Mode>,
    target: SocketAddrV4,
    accepting: JoinHandle<()>,
}

impl Proxy {
    pub async fn start(address: SocketAddrV4, target: SocketAddrV4) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let (mode, watched) = watch::channel(Mode::Pass);
        let accepting = tokio::spawn(accept(listener, target, watched));
        Ok(Self {
            address,
            mode,
            target,
            accepting,
        })
    }

    pub fn address(&self) -> SocketAddrV4 {
        self.address
    }

    pub fn target(&self) -> SocketAddrV4 {
        self.target
    }

    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.set(Mode::Cut);
    }
}

async fn accept(listener: TcpListener, target: SocketAddrV4, mode: watch::Receiver<Mode>) {
    loop {
        let Ok((client, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        tokio::spawn(connection(client, target, mode.clone()));
    }
}

/// Ends when either side does, or when it is cut.
async fn connection(client: TcpStream, target: SocketAddrV4, mut mode: watch::Receiver<Mode>) {
    // A closed sender means that the proxy is gone, and the connection with it.
    if mode.wait_for(|mode| *mode != Mode::Drop).await.is_err() || *mode.borrow() == Mode::Cut {
        return;
    }
    let Ok(server) = TcpStream::connect(target).await else {
        return;
    };
    let nagle = client.set_nodelay(true).and(server.set_nodelay(true));
    if nagle.is_err() {
        return;
    }
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let cut = mode.clone();
    tokio::select! {
        _ = pump(from_client, to_server, mode.clone(), false) => {}
        _ = pump(from_server, to_client, mode, true) => {}
        () = until_cut(cut) => {}
    }
}

async fn until_cut(mut mode: watch::Receiver<Mode>) {
    // Gone counts as cut.
    mode.wait_for(|mode| *mode == Mode::Cut).await.ok();
}

async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut mode: watch::Receiver<Mode>,
    is_answer: bool,
) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return to.shutdown().await;
        }
        let passes = |mode: &Mode| *mode != Mode::Drop && !(is_answer && *mode == Mode::DropAnswers);
        let delay = match mode.wait_for(passes).await.map(|mode| *mode) {
            Ok(Mode::Delay { millis }) => Duration::from_millis(millis),
            Ok(_) => Duration::ZERO,
            Err(_) => return Ok(()),
        };
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        to.write_all(&buffer[..read]).await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    async fn echo() -> SocketAddrV4 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    tokio::io::copy(&mut from, &mut to).await.ok();
                });
            }
        });
        address
    }

    async fn call(stream: &mut TcpStream) -> io::Result<u8> {
        stream.write_u8(7).await?;
        stream.read_u8().await
    }

    #[tokio::test]
    async fn it_passes_holds_back_and_cuts() {
        let proxy = Proxy::start(
            SocketAddrV4::new(Ipv4Addr::LOCALHOST, local_stack::free_port().unwrap()),
            echo().await,
        )
        .await
        .unwrap();
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(call(&mut stream).await.unwrap(), 7);
        for mode in [Mode::Drop, Mode::DropAnswers] {
            proxy.set(mode);
            let waiting = tokio::time::timeout(Duration::from_millis(200), call(&mut stream));
            assert!(waiting.await.is_err(), "{mode:?}");
            proxy.set(Mode::Pass);
            assert_eq!(stream.read_u8().await.unwrap(), 7);
        }
        proxy.set(Mode::Cut);
        assert!(call(&mut stream).await.is_err());
        let mut refused = TcpStream::connect(proxy.address()).await.unwrap();
        assert!(call(&mut refused).await.is_err());
        proxy.set(Mode::Delay { millis: 1 });
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(call(&mut stream).await.unwrap(), 7);
    }
}
