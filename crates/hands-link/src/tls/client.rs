//! The dialing end: a hub is whoever holds the key that our pin names, or has it sign.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, OtherError, RootCertStore,
    SignatureScheme,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use tokio_rustls::TlsConnector;
use webpki::KeyUsage;

use super::{ALPN, provider};
use crate::stream::BoxStream;
use crate::trust::{Named, Pin, read_uri};

/// How to dial one hub.
#[derive(Clone)]
pub(crate) struct ClientTls {
    connector: TlsConnector,
    server_name: ServerName<'static>,
}

impl ClientTls {
    pub(crate) fn new(config: Arc<ClientConfig>, pin: &Pin) -> Self {
        let server_name = ServerName::try_from(pin.server_name())
            .expect("hexadecimal digits and fixed labels are a DNS name");
        Self { connector: TlsConnector::from(config), server_name }
    }

    pub(crate) async fn connect(
        &self,
        stream: BoxStream,
    ) -> std::io::Result<tokio_rustls::client::TlsStream<BoxStream>> {
        self.connector.connect(self.server_name.clone(), stream).await
    }
}

/// TLS 1.3 towards the hub with this pin, with our certificate where we have one.
pub(crate) fn client_config(
    pin: Pin,
    own: Option<(Vec<CertificateDer<'static>>, PrivatePkcs8KeyDer<'static>)>,
) -> Result<Arc<ClientConfig>, rustls::Error> {
    let provider = provider();
    let verifier = Arc::new(PinVerifier { pin, provider: Arc::clone(&provider) });
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match own {
        Some((chain, key)) => builder.with_client_auth_cert(chain, key.into())?,
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(Arc::new(config))
}

/// TLS towards an engine of somebody else's, by the usual rules of the web.
pub(crate) fn engine_config(
    roots: RootCertStore,
    own: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
) -> Result<Arc<ClientConfig>, rustls::Error> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    let mut config = match own {
        Some((chain, key)) => builder.with_client_auth_cert(chain, key)?,
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(Arc::new(config))
}

/// Whoever answered is not the hub that we look for.
#[derive(Debug)]
pub(crate) struct WrongHub(&'static str);

impl fmt::Display for WrongHub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for WrongHub {}

#[derive(Debug)]
struct PinVerifier {
    pin: Pin,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for PinVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let wrong = |why| {
            let error = OtherError(Arc::new(WrongHub(why)));
            rustls::Error::InvalidCertificate(CertificateError::Other(error))
        };
        let authority = intermediates
            .iter()
            .find(|certificate| Pin::of(certificate) == Some(self.pin))
            .ok_or_else(|| wrong("its certificate is not of the cluster's authority"))?;
        let anchor = webpki::anchor_from_trusted_cert(authority)
            .map_err(|_| wrong("its authority's certificate can't be read"))?;
        let leaf = webpki::EndEntityCert::try_from(end_entity)
            .map_err(|_| wrong("its certificate can't be read"))?;
        leaf.verify_for_usage(
            self.provider.signature_verification_algorithms.all,
            &[anchor],
            &[],
            now,
            KeyUsage::server_auth(),
            None,
            None,
        )
        .map_err(|error| match error {
            webpki::Error::CertExpired { .. } | webpki::Error::CertNotValidYet { .. } => {
                wrong("its certificate is not valid by this machine's clock")
            }
            _ => wrong("its certificate is not of the cluster's authority"),
        })?;
        let domain = self.pin.domain();
        if leaf.valid_uri_names().any(|uri| read_uri(&domain, uri) == Some(Named::Hub)) {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(wrong("its certificate is a member's and not the hub's"))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
