//! Who is at the other end of a Unix socket.

use std::io;

use tokio::net::UnixStream;

/// The peer's user and, where the kernel tells it, process.
pub(crate) fn of(stream: &UnixStream) -> io::Result<(u32, Option<i32>)> {
    // SO_PEERCRED on Linux, getpeereid and LOCAL_PEERPID on macOS.
    let cred = stream.peer_cred()?;
    Ok((cred.uid(), cred.pid()))
}

/// This process's user.
pub(crate) fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}
