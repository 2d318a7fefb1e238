//! Whether TLS is spoken at an address that was dialed without.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rustls::{ClientConnection, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::client::engine_config;

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(2);
/// The kinds of a first record: an alert, or a part of a handshake; and the number that every version begins with.
const RECORDS: [u8; 2] = [0x15, 0x16];
const VERSION: u8 = 3;

/// Whether somebody at this address answers the first words of TLS with words of TLS; any other answer, and none, is a no.
/// None where nobody can be asked.
pub async fn speaks_tls(address: SocketAddr) -> Option<bool> {
    let until = Instant::now() + PATIENCE;
    let stream = match timeout_at(until, TcpStream::connect(address)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(_)) => return None,
        Err(_) => return Some(false),
    };
    Some(matches!(timeout_at(until, ask(stream, address)).await, Ok(Ok(true))))
}

async fn ask(mut stream: TcpStream, address: SocketAddr) -> io::Result<bool> {
    let config = engine_config(RootCertStore::empty(), None).map_err(io::Error::other)?;
    let mut greeting = Vec::new();
    ClientConnection::new(config, address.ip().into())
        .map_err(io::Error::other)?
        .write_tls(&mut greeting)?;
    stream.write_all(&greeting).await?;
    let mut answer = [0; 2];
    stream.read_exact(&mut answer).await?;
    Ok(RECORDS.contains(&answer[0]) && answer[1] == VERSION)
}
