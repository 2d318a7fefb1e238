//! The words of identity: pins, domains, names in certificates, keys, and what is signed. `docs/design/002-trust.md`
//! has the construction.

use std::fmt;
use std::str::FromStr;

use hands_types::{MemberId, Roles};
use ring::digest::{SHA256, digest};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, ED25519, EcdsaKeyPair, KeyPair as _,
    UnparsedPublicKey,
};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};

use crate::join::TokenSecret;

/// Label of the TLS exporter (RFC 5705) that binds a signature to the connection that carries it.
pub(crate) const EXPORTER: &[u8] = b"EXPORTER-hands-v1";
/// DER of a SubjectPublicKeyInfo for P-256 up to the point (RFC 5480).
const P256_PREFIX: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// What differs for any two connections, and is the same at both ends of one.
pub type Binding = [u8; 32];

/// SHA-256 of the SubjectPublicKeyInfo of a hub's authority.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pin(pub [u8; 32]);

impl Pin {
    /// Of a certificate's key; none if it is no certificate.
    pub fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let certificate = webpki::EndEntityCert::try_from(certificate).ok()?;
        let sum = digest(&SHA256, &certificate.subject_public_key_info());
        sum.as_ref().try_into().ok().map(Self)
    }

    /// The trust domain of the authority that has this key. It begins with a letter: an old Java (11.0.2, which Bazel 2.1
    /// brings) refuses a certificate with a URI whose host does not.
    pub fn domain(&self) -> String {
        format!("h{}", &self.to_string()[..20])
    }

    /// The TLS server name by which our own programs ask for the hub's own certificate.
    pub fn server_name(&self) -> String {
        format!("hub.{}.hands.internal", self.domain())
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pin({self})")
    }
}

impl FromStr for Pin {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = "a pin has 64 hexadecimal digits";
        if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(wrong);
        }
        let mut bytes = [0; 32];
        for (byte, at) in bytes.iter_mut().zip((0..64).step_by(2)) {
            *byte = u8::from_str_radix(&text[at..at + 2], 16).map_err(|_| wrong)?;
        }
        Ok(Self(bytes))
    }
}

/// Who a certificate of a cluster's authority names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Named {
    /// The hub.
    Hub,
    /// A member, with the roles that it had when the certificate was made.
    Member(MemberId, Roles),
}

/// The name in the hub's own certificate.
pub fn hub_uri(domain: &str, hub_id: &str) -> String {
    format!("spiffe://{domain}/hub/{hub_id}")
}

/// The name in a member's certificate.
pub fn member_uri(domain: &str, roles: Roles, member: MemberId) -> String {
    format!("spiffe://{domain}/{}/{member}", roles.names().join("."))
}

/// Reads a name; none if it is of another domain, or no name of ours.
pub fn read_uri(domain: &str, uri: &str) -> Option<Named> {
    let (trust_domain, path) = uri.strip_prefix("spiffe://")?.split_once('/')?;
    let (kind, id) = path.split_once('/')?;
    if trust_domain != domain {
        return None;
    }
    if kind == "hub" {
        return Some(Named::Hub);
    }
    let roles = kind.replace('.', ",").parse().ok()?;
    Some(Named::Member(id.parse().ok()?, roles))
}

/// A node's key: ECDSA P-256.
pub struct NodeKey {
    pkcs8: Vec<u8>,
    pair: EcdsaKeyPair,
}

impl NodeKey {
    /// A fresh key. None if the machine has no randomness to give.
    pub fn generate() -> Option<Self> {
        let document =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &SystemRandom::new())
                .ok()?;
        Self::from_pkcs8(document.as_ref().to_vec())
    }

    /// From PKCS #8 DER. None if that is no P-256 key.
    pub fn from_pkcs8(pkcs8: Vec<u8>) -> Option<Self> {
        let pair =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &pkcs8, &SystemRandom::new())
                .ok()?;
        Some(Self { pkcs8, pair })
    }

    /// PKCS #8 DER.
    pub fn pkcs8(&self) -> PrivatePkcs8KeyDer<'_> {
        PrivatePkcs8KeyDer::from(self.pkcs8.as_slice())
    }

    /// The public key, an uncompressed point of 65 bytes.
    pub fn public_key(&self) -> Vec<u8> {
        self.pair.public_key().as_ref().to_vec()
    }

    /// Signs; none if the machine has no randomness to give.
    fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        let signature = self.pair.sign(&SystemRandom::new(), message).ok()?;
        Some(signature.as_ref().to_vec())
    }
}

impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeKey").finish_non_exhaustive()
    }
}

/// The point of a P-256 SubjectPublicKeyInfo.
pub(crate) fn p256_point(spki: &[u8]) -> Option<Vec<u8>> {
    spki.strip_prefix(&P256_PREFIX).filter(|point| point.len() == 65).map(<[u8]>::to_vec)
}

/// What an enrolment signs.
#[derive(Clone, Copy, Debug)]
pub struct EnrolTranscript<'a> {
    /// Of the connection.
    pub binding: &'a Binding,
    /// The token.
    pub token_id: &'a [u8],
    /// The node's public key.
    pub public_key: &'a [u8],
    /// The name that it wants.
    pub name: &'a str,
    /// The roles that it wants, as the request has them.
    pub roles: &'a [String],
}

impl EnrolTranscript<'_> {
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = b"hands enrol v1\0".to_vec();
        let roles = self.roles.join(",");
        for part in
            [self.binding, self.token_id, self.public_key, self.name.as_bytes(), roles.as_bytes()]
        {
            // Lengths before parts: no two requests have the same transcript.
            bytes.extend((part.len() as u64).to_be_bytes());
            bytes.extend(part);
        }
        bytes
    }

    /// By the token's key and by the node's; none if the machine has no randomness to give.
    pub fn sign(&self, token: &TokenSecret, key: &NodeKey) -> Option<(Vec<u8>, Vec<u8>)> {
        let bytes = self.bytes();
        Some((token.key().sign(&bytes).as_ref().to_vec(), key.sign(&bytes)?))
    }

    /// Whether both keys signed this.
    pub fn verify(&self, token_key: &[u8], by_token: &[u8], by_key: &[u8]) -> bool {
        let bytes = self.bytes();
        UnparsedPublicKey::new(&ED25519, token_key).verify(&bytes, by_token).is_ok()
            && verify_p256(self.public_key, &bytes, by_key)
    }
}

/// What a renewal signs.
pub fn sign_renewal(binding: &Binding, member: &str, key: &NodeKey) -> Option<Vec<u8>> {
    key.sign(&renewal(binding, member))
}

/// Whether the member's key signed a renewal over this connection.
pub fn verify_renewal(binding: &Binding, member: &str, public_key: &[u8], by_key: &[u8]) -> bool {
    verify_p256(public_key, &renewal(binding, member), by_key)
}

fn renewal(binding: &Binding, member: &str) -> Vec<u8> {
    [b"hands renew v1\0".as_slice(), binding, member.as_bytes()].concat()
}

fn verify_p256(public_key: &[u8], message: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, public_key).verify(message, signature).is_ok()
}
