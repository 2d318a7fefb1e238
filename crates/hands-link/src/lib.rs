//! Addresses, listeners, connections and identities: the byte streams that gRPC runs over, and who is at their ends.
//!
//! Owns sockets and nothing above them. A [`Listener`] hands accepted streams to a tonic server; [`connect`] gives a
//! channel that dials when first used and again whenever its connection was lost. It starts no task of its own and
//! ends when it is dropped, taking its socket file with it.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod address;
mod bounds;
mod connection;
mod dial;
mod door;
mod engine;
mod enrol;
mod error;
mod frames;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod host;
mod identity;
mod join;
mod listen;
mod member;
mod peer;
pub mod pem;
mod private;
mod quality;
mod race;
mod route;
mod socket_file;
mod stdio;
mod stream;
mod tls;
pub mod trust;
mod turn;
mod way;

pub use address::{Address, DEFAULT_PORT, ParseAddressError};
pub use bounds::{MAX_CONNECTIONS, MAX_CONNECTIONS_OF_ONE, MAX_HEADERS, MAX_STREAMS, OPENING};
pub use connection::{Connection, ConnectionId, ConnectionInfo, StreamEnd};
pub use dial::{connect, dial};
pub use door::{Door, Pipe};
pub use engine::Engine;
pub use enrol::{enrol, renew};
pub use error::{IdentityError, LinkError};
pub use host::{HostPort, ParseHostError};
pub use identity::{Identity, write as write_private};
pub use join::{JoinString, ParseJoinError, TokenId, TokenSecret};
pub use listen::{Incoming, Listener, server, server_with};
pub use member::{keep_fresh, renew_if_due};
pub use peer::{Peer, Source, Standing};
pub use private::{PrivateError, private_directory, private_place};
pub use quality::{Parameters, Quality};
pub use race::Mute;
pub use route::{ParseRouteError, Route};
pub use socket_file::{SocketFile, connect_unix, is_served, listen_unix};
pub use stdio::Stdio;
pub use stream::ByteStream;
pub use tls::{PeerCertificate, ServerTls, TlsError, TlsKeys, TlsPeer, speaks_tls};
pub use trust::Pin;
pub use turn::Turn;
pub use way::{Better, Way};

#[cfg(test)]
mod tests;
