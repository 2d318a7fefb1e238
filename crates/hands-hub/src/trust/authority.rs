//! The cluster's certificate authority: one P-256 key that the hub makes once and keeps.

use std::fmt;
use std::fs::{self, DirBuilder};
use std::net::IpAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use hands_link::trust::NodeKey;
use hands_link::{Pin, TlsKeys, pem};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType, SerialNumber,
    SignatureAlgorithm, date_time_ymd,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::HubError;

const KEY: &str = "ca.key";
const CERTIFICATE: &str = "ca.pem";
/// The authority's own certificate is looked at by foreign clients only; ours look at its key.
const LIFE: Duration = Duration::from_secs(10 * 366 * 24 * 3600);
/// For nodes whose clocks are behind.
const BACKDATED: Duration = Duration::from_secs(3600);

pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    pin: Pin,
    domain: String,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("domain", &self.domain).finish_non_exhaustive()
    }
}

/// What a certificate says.
pub(super) struct Leaf<'a> {
    pub(super) uri: String,
    /// DNS names and IP addresses.
    pub(super) hosts: &'a [String],
    pub(super) is_server: bool,
    pub(super) ttl: Duration,
}

/// A public key that somebody else holds the other half of.
struct Point<'a>(&'a [u8]);

impl PublicKeyData for Point<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

pub(super) fn make_directory(dir: &Path) -> Result<(), HubError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(|source| HubError::Io { what: "make", path: dir.to_owned(), source })
}

/// Whether an authority was made there.
pub(super) fn has_key(dir: &Path) -> bool {
    dir.join(KEY).exists()
}

impl Authority {
    /// Reads the authority in a directory, or makes it there.
    pub(super) fn open(dir: &Path) -> Result<Self, HubError> {
        let io = |what, path: &Path| {
            let path = path.to_owned();
            move |source| HubError::Io { what, path, source }
        };
        make_directory(dir)?;
        let (key_path, certificate_path) = (dir.join(KEY), dir.join(CERTIFICATE));
        if !key_path.exists() {
            let key = KeyPair::generate().map_err(HubError::Authority)?;
            let write = |file, text: &str| {
                hands_link::write_private(dir, file, text).map_err(HubError::AuthorityFiles)
            };
            let certificate = params(&key).self_signed(&key).map_err(HubError::Authority)?;
            // The key comes last: with it the authority is there.
            write(CERTIFICATE, &pem::encode_certificates(&[certificate.der().clone()]))?;
            write(KEY, &pem::encode("PRIVATE KEY", key.serialized_der()))?;
        }
        let damaged = |path: &Path| HubError::AuthorityDamaged { path: path.to_owned() };
        let text = fs::read(&key_path).map_err(io("read", &key_path))?;
        let key = match pem::private_key(&text) {
            Some(PrivateKeyDer::Pkcs8(der)) => {
                KeyPair::from_pkcs8_der_and_sign_algo(&der, &PKCS_ECDSA_P256_SHA256).ok()
            }
            _ => None,
        };
        let key = key.ok_or_else(|| damaged(&key_path))?;
        let text = fs::read(&certificate_path).map_err(io("read", &certificate_path))?;
        let certificate = pem::certificates(&text).and_then(|mut all| all.pop());
        let certificate = certificate.ok_or_else(|| damaged(&certificate_path))?;
        let pin = Pin::of(&certificate).ok_or_else(|| damaged(&certificate_path))?;
        let issuer = Issuer::new(params(&key), key);
        Ok(Self { issuer, certificate, pin, domain: pin.domain() })
    }

    pub(super) const fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    pub(super) const fn pin(&self) -> &Pin {
        &self.pin
    }

    pub(super) fn domain(&self) -> &str {
        &self.domain
    }

    /// A certificate for somebody's key, an uncompressed point.
    pub(super) fn issue(
        &self,
        public_key: &[u8],
        leaf: &Leaf<'_>,
    ) -> Result<CertificateDer<'static>, rcgen::Error> {
        let now = now();
        let mut params = CertificateParams::default();
        params.not_before = date_time_ymd(1970, 1, 1) + now.saturating_sub(BACKDATED);
        params.not_after = date_time_ymd(1970, 1, 1) + now + leaf.ttl;
        params.serial_number = Some(serial());
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names = vec![SanType::URI(leaf.uri.as_str().try_into()?)];
        for host in leaf.hosts {
            let name = match host.parse::<IpAddr>() {
                Ok(ip) => SanType::IpAddress(ip),
                Err(_) => SanType::DnsName(host.as_str().try_into()?),
            };
            if !params.subject_alt_names.contains(&name) {
                params.subject_alt_names.push(name);
            }
        }
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![if leaf.is_server {
            ExtendedKeyUsagePurpose::ServerAuth
        } else {
            ExtendedKeyUsagePurpose::ClientAuth
        }];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&Point(public_key), &self.issuer)?;
        Ok(certificate.der().clone())
    }

    /// A fresh key of the hub's own, and its certificate.
    pub(super) fn own(&self, leaf: &Leaf<'_>) -> Result<TlsKeys, HubError> {
        let key = NodeKey::generate().ok_or(HubError::NoRandomness)?;
        let certificate = self.issue(&key.public_key(), leaf).map_err(HubError::Authority)?;
        let der = PrivatePkcs8KeyDer::from(key.pkcs8().secret_pkcs8_der().to_vec());
        Ok(TlsKeys { chain: vec![certificate, self.certificate.clone()], key: der.into() })
    }
}

/// What the authority's certificate says. Its name holds the key's identifier, so that no two clusters' are the same.
fn params(key: &KeyPair) -> CertificateParams {
    let mut params = CertificateParams::default();
    let now = now();
    params.not_before = date_time_ymd(1970, 1, 1) + now.saturating_sub(BACKDATED);
    params.not_after = date_time_ymd(1970, 1, 1) + now + LIFE;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    let id: String =
        params.key_identifier(key).iter().take(10).map(|byte| format!("{byte:02x}")).collect();
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, format!("Manyhands cluster {id}"));
    params.distinguished_name = name;
    params
}

/// Positive and at most 20 bytes (RFC 5280 §4.1.2.2).
fn serial() -> SerialNumber {
    let random = (crate::id::random() >> 1) | 1;
    SerialNumber::from_slice(&random.to_be_bytes())
}

fn now() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}
