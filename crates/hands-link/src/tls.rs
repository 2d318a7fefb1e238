//! TLS: how we recognize a hub, and how a hub takes connections.

mod client;
mod server;
mod spoken;
mod validity;

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls_pki_types::CertificateDer;

pub(crate) use client::{ClientTls, WrongHub, client_config, engine_config};
pub use server::{ServerTls, TlsError, TlsKeys};
pub use spoken::speaks_tls;

use crate::trust::{Binding, EXPORTER, Pin, p256_point};

/// What gRPC speaks inside TLS.
const ALPN: &[u8] = b"h2";

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// What TLS says about the other end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsPeer {
    /// Its certificate, if it showed one. The signatures up to an authority that we trust were checked, and that it
    /// holds the key.
    pub certificate: Option<PeerCertificate>,
    /// The same at both ends, and different for any two connections. TLS 1.3 only.
    pub binding: Option<Binding>,
}

/// What stands in a peer's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerCertificate {
    /// The URIs among its names.
    pub uris: Vec<String>,
    /// Its key, if that is P-256: the uncompressed point.
    pub p256: Option<Vec<u8>>,
    /// SHA-256 of its key, whatever the kind (of the SubjectPublicKeyInfo).
    pub key: [u8; 32],
    /// When it expires, seconds since 1970.
    pub not_after: Option<i64>,
}

impl PeerCertificate {
    fn read(certificate: &CertificateDer<'_>) -> Option<Self> {
        let not_after = validity::not_after(certificate);
        let key = Pin::of(certificate)?.0;
        let certificate = webpki::EndEntityCert::try_from(certificate).ok()?;
        Some(Self {
            uris: certificate.valid_uri_names().map(str::to_owned).collect(),
            p256: p256_point(&certificate.subject_public_key_info()),
            key,
            not_after,
        })
    }
}

macro_rules! peer {
    ($connection:expr) => {{
        let connection = $connection;
        let is_13 = connection.protocol_version() == Some(rustls::ProtocolVersion::TLSv1_3);
        // It fails before the end of the handshake only.
        let binding = is_13
            .then(|| connection.export_keying_material([0; 32], EXPORTER, None).ok())
            .flatten();
        let first = connection.peer_certificates().and_then(|chain| chain.first());
        TlsPeer { certificate: first.and_then(PeerCertificate::read), binding }
    }};
}

impl TlsPeer {
    pub(crate) fn of_client(connection: &rustls::ServerConnection) -> Self {
        peer!(connection)
    }

    pub(crate) fn of_server(connection: &rustls::ClientConnection) -> Self {
        peer!(connection)
    }
}
