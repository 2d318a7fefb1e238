//! Who is at the other end of a stream, as far as the way by which it came can tell.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tokio::net::{TcpStream, UnixStream};

/// Who is at the other end of a stream, before TLS has said anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// For people and logs: an address, a process, the name of a machine.
    pub name: Arc<str>,
    /// What they are counted with as long as nobody knows who they are.
    pub source: Source,
    /// What the way itself says of them.
    pub standing: Standing,
    /// Whether they are on this machine, so that bytes cost next to nothing on their way.
    pub is_here: bool,
}

/// What the way by which a peer came says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// A process of this user, or this process: the kernel or whoever made the stream vouches for it.
    Own,
    /// Any program that reached a listener that takes all of this machine without TLS.
    Machine,
    /// Anybody: who it is must be shown over TLS.
    Stranger,
}

/// What strangers are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// All who come from one address of the network.
    Address(IpAddr),
    /// All who come by one kind of way, where its ends have no addresses.
    Way(&'static str),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(ip) => ip.fmt(f),
            Self::Way(way) => f.write_str(way),
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Peer {
    /// The other end of a pipe within this process.
    pub(crate) fn this_process() -> Self {
        Self {
            name: "this process".into(),
            source: Source::Way("pipe"),
            standing: Standing::Own,
            is_here: true,
        }
    }

    /// Somebody whom no address tells from others: at the other end of a process that was started, for example. `name` is
    /// for people.
    pub fn by_way(way: &'static str, name: &str, standing: Standing) -> Self {
        Self { name: name.into(), source: Source::Way(way), standing, is_here: false }
    }

    /// At the other end of a TCP connection.
    pub(crate) fn of_tcp(stream: &TcpStream, standing: Standing) -> io::Result<Self> {
        let (from, to) = (stream.peer_addr()?, stream.local_addr()?);
        // Two ends with one address are ends of one machine.
        let is_here = from.ip().is_loopback() || from.ip() == to.ip();
        Ok(Self { is_here, ..Self::at(from, standing) })
    }

    pub(crate) fn at(from: SocketAddr, standing: Standing) -> Self {
        Self {
            name: from.to_string().into(),
            source: Source::Address(from.ip()),
            standing,
            is_here: false,
        }
    }

    /// A process of this user.
    pub(crate) fn process(pid: Option<i32>) -> Self {
        let name = pid.map_or_else(|| "a process".to_owned(), |pid| format!("process {pid}"));
        Self {
            name: name.into(),
            source: Source::Way("unix"),
            standing: Standing::Own,
            is_here: true,
        }
    }
}

/// The user and, where the kernel tells it, the process at the other end of a Unix socket.
pub(crate) fn of(stream: &UnixStream) -> io::Result<(u32, Option<i32>)> {
    // SO_PEERCRED on Linux, getpeereid and LOCAL_PEERPID on macOS.
    let cred = stream.peer_cred()?;
    Ok((cred.uid(), cred.pid()))
}

/// This process's user.
pub(crate) fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}
