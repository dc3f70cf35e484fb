//! What stands between the second query service and Kafka.

use std::net::SocketAddrV4;
use std::sync::OnceLock;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Passes everything on, or nothing. There is one in a program.
pub struct Cut(watch::Sender<bool>);

static CUT: OnceLock<Cut> = OnceLock::new();

impl Cut {
    pub async fn start(address: SocketAddrV4, target: SocketAddrV4) {
        let listener = TcpListener::bind(address).await.unwrap();
        let (cut, is_cut) = watch::channel(false);
        assert!(CUT.set(Self(cut)).is_ok());
        tokio::spawn(async move {
            loop {
                match listener.accept().await {
                    Ok((client, _)) => drop(tokio::spawn(pass(client, target, is_cut.clone()))),
                    Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
                }
            }
        });
    }

    /// Breaks what is open, and whatever comes.
    pub fn off() {
        CUT.get().unwrap().0.send_replace(true);
    }

    pub fn on() {
        CUT.get().unwrap().0.send_replace(false);
    }
}

async fn pass(mut client: TcpStream, target: SocketAddrV4, mut is_cut: watch::Receiver<bool>) {
    if *is_cut.borrow() {
        return;
    }
    let Ok(mut server) = TcpStream::connect(target).await else {
        return;
    };
    if client.set_nodelay(true).and(server.set_nodelay(true)).is_err() {
        return;
    }
    tokio::select! {
        _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
        _ = is_cut.wait_for(|cut| *cut) => {}
    }
}
