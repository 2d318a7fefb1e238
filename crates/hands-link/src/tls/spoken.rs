//! Whether TLS is spoken at an address that was dialed without.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rustls::{ClientConnection, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::client::engine_config;

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(2);
/// The kinds of a first record: an alert, or a part of a handshake; and the number that every version begins with.
const RECORDS: [u8; 2] = [0x15, 0x16];
const VERSION: u8 = 3;

/// Whether somebody at this address answers the first words of TLS with words of TLS. Nobody, and any other answer, is a no.
pub async fn speaks_tls(address: SocketAddr) -> bool {
    matches!(tokio::time::timeout(PATIENCE, ask(address)).await, Ok(Ok(true)))
}

async fn ask(address: SocketAddr) -> io::Result<bool> {
    let config = engine_config(RootCertStore::empty(), None).map_err(io::Error::other)?;
    let mut greeting = Vec::new();
    ClientConnection::new(config, address.ip().into())
        .map_err(io::Error::other)?
        .write_tls(&mut greeting)?;
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(&greeting).await?;
    let mut answer = [0; 2];
    stream.read_exact(&mut answer).await?;
    Ok(RECORDS.contains(&answer[0]) && answer[1] == VERSION)
}
