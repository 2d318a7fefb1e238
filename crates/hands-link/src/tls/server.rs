//! The accepting end: a hub's certificates, which are replaced while it runs, and the authorities of its clients.

use std::sync::{Arc, PoisonError, RwLock};

use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use super::{ALPN, provider};
use crate::Pin;

/// A certificate, those up to its authority, and its key.
#[derive(Debug)]
pub struct TlsKeys {
    /// The leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    /// The leaf's.
    pub key: PrivateKeyDer<'static>,
}

/// Why certificates can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The certificate does not fit its key, or one of them can't be read.
    #[error("the certificate and its key can't be used together")]
    Keys(#[source] rustls::Error),
    /// Not an authority.
    #[error("the certificates of clients' authorities can't be used")]
    Authorities(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// How a hub takes TLS connections: TLS 1.3, and 1.2 with its AEAD suites, which Bazel's Java needs. A client need not
/// show a certificate; one that it shows must be of a known authority and in force. Cheap to clone; all clones share the
/// certificates.
#[derive(Clone, Debug)]
pub struct ServerTls {
    config: Arc<ServerConfig>,
    certificates: Arc<Certificates>,
}

impl ServerTls {
    /// Serves the hub's own certificate to those who ask for the name that belongs to `pin`, and `public` to all
    /// others, or the hub's own where there is no other. Clients' certificates are of `authorities`.
    pub fn new(
        pin: &Pin,
        own: TlsKeys,
        public: Option<TlsKeys>,
        authorities: &[CertificateDer<'static>],
    ) -> Result<Self, TlsError> {
        let certificates = Arc::new(Certificates {
            own_name: pin.server_name(),
            own: RwLock::new(certified(own)?),
            public: public.map(certified).transpose()?,
        });
        let wrong = |error: Box<dyn std::error::Error + Send + Sync>| TlsError::Authorities(error);
        let mut roots = RootCertStore::empty();
        for authority in authorities {
            roots.add(authority.clone()).map_err(|e| wrong(e.into()))?;
        }
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
            .allow_unauthenticated()
            .build()
            .map_err(|e| wrong(e.into()))?;
        let resolver: Arc<dyn ResolvesServerCert> = Arc::clone(&certificates) as _;
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(TlsError::Keys)?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(resolver);
        config.alpn_protocols = vec![ALPN.to_vec()];
        Ok(Self { config: Arc::new(config), certificates })
    }

    /// Replaces the hub's own certificate for the connections to come.
    pub fn replace(&self, own: TlsKeys) -> Result<(), TlsError> {
        let own = certified(own)?;
        *self.certificates.own.write().unwrap_or_else(PoisonError::into_inner) = own;
        Ok(())
    }

    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.config))
    }
}

fn certified(keys: TlsKeys) -> Result<Arc<CertifiedKey>, TlsError> {
    CertifiedKey::from_der(keys.chain, keys.key, &provider()).map(Arc::new).map_err(TlsError::Keys)
}

#[derive(Debug)]
struct Certificates {
    own_name: String,
    own: RwLock<Arc<CertifiedKey>>,
    public: Option<Arc<CertifiedKey>>,
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let is_ours = hello.server_name() == Some(self.own_name.as_str());
        match &self.public {
            Some(public) if !is_ours => Some(Arc::clone(public)),
            _ => Some(Arc::clone(&self.own.read().unwrap_or_else(PoisonError::into_inner))),
        }
    }
}
