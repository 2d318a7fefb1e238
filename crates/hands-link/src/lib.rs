//! Addresses, listeners and connections: the byte streams that gRPC runs over.
//!
//! Owns sockets and nothing above them. A [`Listener`] hands accepted streams to a tonic server; [`connect`] gives a
//! channel that dials when first used and again whenever its connection was lost. It starts no task of its own and
//! ends when it is dropped, taking its socket file with it.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod address;
mod connection;
mod dial;
mod error;
mod listen;
mod peer;
mod socket_file;

pub use address::{Address, DEFAULT_PORT, ParseAddressError};
pub use connection::{Connection, ConnectionId, ConnectionInfo, Peer, StreamEnd};
pub use dial::{Pipe, connect, dial};
pub use error::LinkError;
pub use listen::{Incoming, Listener, server};

#[cfg(test)]
mod tests;
