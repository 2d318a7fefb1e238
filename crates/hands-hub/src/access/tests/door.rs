//! A real hub over real TLS, knocked at by everybody.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hands_link::{Address, HostPort, JoinString, Listener, TokenSecret};
use hands_proto::v1;
use hands_proto::v1::authority_client::AuthorityClient;
use hands_store::{Store, StoreConfig};
use hands_types::{Role, Roles};
use http_body::Frame;
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    date_time_ymd,
};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use tonic::body::Body;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tower::ServiceExt as _;

use super::METHODS;
use crate::{Hub, HubConfig, TrustConfig};

pub(super) struct Gate {
    pub(super) hub: Hub,
    pub(super) address: HostPort,
    pub(super) dir: PathBuf,
}

impl Gate {
    pub(super) fn open(leaf_ttl: Duration) -> Self {
        Self::open_for(leaf_ttl, Vec::new(), Roles::NONE.with(Role::Submit))
    }

    /// Lets in those with certificates of these authorities, too, and gives them these roles.
    pub(super) fn open_for(
        leaf_ttl: Duration,
        client_authorities: Vec<CertificateDer<'static>>,
        client_roles: Roles,
    ) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("hands-door-{}-{n}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let listener = Listener::bind(&"127.0.0.1:0".parse().unwrap()).unwrap();
        let Some(Address::Tcp(at)) = listener.address() else { unreachable!("bound to TCP") };
        let address = HostPort::from(*at);
        let store = Store::open(StoreConfig::new(dir.join("store"))).unwrap();
        let trust = TrustConfig {
            cluster: "test".to_owned(),
            addresses: vec![address.clone()],
            leaf_ttl,
            public: None,
            client_authorities,
            client_roles,
        };
        let hub = Hub::open_for_others(HubConfig::new(dir.join("hub"), store), trust).unwrap();
        hub.serve(listener.over_tls(&hub.tls().unwrap()));
        Self { hub, address, dir }
    }

    pub(super) fn invite(&self, roles: Roles) -> JoinString {
        self.hub.invite(roles).unwrap().parse().unwrap()
    }

    pub(super) async fn join(&self, name: &str, role: Role) -> (PathBuf, Channel) {
        let dir = self.dir.join(name);
        let roles = Roles::NONE.with(role);
        hands_link::enrol(&self.invite(roles), name, roles, &dir).await.unwrap();
        let channel = hands_link::connect(&Address::Member(dir.clone()));
        (dir, channel)
    }

    /// As the hub's own user.
    pub(super) fn operator(&self) -> AuthorityClient<Channel> {
        AuthorityClient::new(self.hub.pipe().connect())
    }

    /// Encrypted, and without a certificate: how a foreign client with a token comes.
    pub(super) async fn stranger(&self) -> Channel {
        self.comes_with(None).await
    }

    /// Likewise, with a certificate of another authority.
    pub(super) async fn comes_with(&self, identity: Option<hands_link::TlsKeys>) -> Channel {
        let (dir, channel) = self.join("stranger", Role::Read).await;
        drop(channel);
        // What our own library can't be made to do: forget its certificate.
        let own = hands_link::Identity::load(&dir).unwrap();
        let pem = std::fs::read(own.authority_file()).unwrap();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(hands_link::pem::certificates(&pem).unwrap().remove(0)).unwrap();
        let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match identity {
            Some(own) => config.with_client_auth_cert(own.chain, own.key).unwrap(),
            None => config.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
        let to = (self.address.host.clone(), self.address.port);
        tonic::transport::Endpoint::from_static("http://hub").connect_with_connector_lazy(
            tower::service_fn(move |_: http::Uri| {
                let (connector, to) = (connector.clone(), to.clone());
                async move {
                    let stream = tokio::net::TcpStream::connect(to).await?;
                    let name = "localhost".try_into().expect("a DNS name");
                    let stream = connector.connect(name, stream).await?;
                    Ok::<_, std::io::Error>(hyper_util::rt::TokioIo::new(stream))
                }
            }),
        )
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        // A test that failed may have left it half used.
        let _gone = std::fs::remove_dir_all(&self.dir);
    }
}

/// One empty message.
struct Empty(Option<Bytes>);

impl http_body::Body for Empty {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Status>>> {
        std::task::Poll::Ready(self.0.take().map(|bytes| Ok(Frame::data(bytes))))
    }
}

/// Calls a method with an empty message; what its answer's headers say.
pub(super) async fn knock(channel: &Channel, path: &str, bearer: Option<&str>) -> Code {
    let mut request = http::Request::post(format!("http://hub{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    if let Some(bearer) = bearer {
        request = request.header("authorization", format!("Bearer {bearer}"));
    }
    let body = Body::new(Empty(Some(Bytes::from_static(&[0; 5]))));
    let answer = channel.clone().oneshot(request.body(body).unwrap()).await.unwrap();
    let status = answer.headers().get(Status::GRPC_STATUS);
    status.map_or(Code::Ok, |status| Code::from_bytes(status.as_bytes()))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_method_is_closed_to_all_but_its_roles() {
    let gate = Gate::open(Duration::from_secs(3600));
    let stranger = gate.stranger().await;
    for method in METHODS.iter().filter(|method| !method.is_open) {
        assert_eq!(knock(&stranger, method.path, None).await, Code::Unauthenticated, "{method:?}");
    }
    for path in ["/hands.v1.Agent/Stop", "/nobody.Knows/This"] {
        assert_eq!(knock(&stranger, path, None).await, Code::Unauthenticated, "{path}");
    }
    for role in Role::ALL {
        let (_, member) = gate.join(role.name(), role).await;
        let request = v1::CreateTokenRequest {
            roles: Roles::NONE.with(role).with(Role::Read).names(),
            bearer: true,
            ..Default::default()
        };
        let bearer = gate.operator().create_token(request).await.unwrap().into_inner().secret;
        for method in METHODS.iter().filter(|method| !method.is_open) {
            let denied = knock(&member, method.path, None).await == Code::PermissionDenied;
            assert_eq!(denied, !method.roles.has(role), "{role} at {method:?}");
            let denied =
                knock(&stranger, method.path, Some(&bearer)).await == Code::PermissionDenied;
            let has = Roles::NONE.with(role).with(Role::Read).without(Role::Worker);
            assert_eq!(denied, !method.roles.meets(has), "bearer of {has} at {method:?}");
        }
    }
    // What has the form of a token and is none.
    let forged = TokenSecret::new([7; 8], [7; 32]).bearer();
    let path = "/hands.v1.Jobs/Info";
    for bad in [forged.as_str(), "handst1_AAAA", "x", ""] {
        assert_eq!(knock(&stranger, path, Some(bad)).await, Code::Unauthenticated, "{bad}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bearer_token_ends_when_it_is_revoked_and_with_its_time() {
    let gate = Gate::open(Duration::from_secs(3600));
    let stranger = gate.stranger().await;
    let path = "/hands.v1.Jobs/Info";
    let request = |ttl_s| v1::CreateTokenRequest {
        roles: vec!["read".to_owned()],
        ttl_s,
        bearer: true,
        ..Default::default()
    };
    let made = gate.operator().create_token(request(0)).await.unwrap().into_inner();
    assert_eq!(knock(&stranger, path, Some(&made.secret)).await, Code::Ok);
    let id = made.token.unwrap().id;
    let revoke = v1::RevokeTokenRequest { id: id[..8].to_owned(), members: false };
    assert_eq!(gate.operator().revoke_token(revoke).await.unwrap().into_inner().id, id);
    // Its connection was cut; a new one is refused.
    let stranger = gate.stranger().await;
    assert_eq!(knock(&stranger, path, Some(&made.secret)).await, Code::Unauthenticated);

    let made = gate.operator().create_token(request(1)).await.unwrap().into_inner();
    let expires = made.token.unwrap().expires.unwrap();
    let expires = Duration::new(
        u64::try_from(expires.seconds).unwrap(),
        u32::try_from(expires.nanos).unwrap() + 2_000_000,
    );
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    // What is tested is the passing of this very time.
    tokio::time::sleep(expires.saturating_sub(now)).await;
    assert_eq!(knock(&stranger, path, Some(&made.secret)).await, Code::Unauthenticated);
    // The table on disk holds no secret.
    let files =
        ["authority.db", "authority.db-wal"].map(|f| gate.dir.join("hub/authority").join(f));
    let secret = TokenSecret::parse_bearer(&made.secret).unwrap();
    let needle = hands_link::Identity::load(&gate.dir.join("stranger")).unwrap().token;
    assert_ne!(needle, secret.to_string());
    let raw = base64_url(made.secret.strip_prefix("handst1_").unwrap());
    for file in files {
        let bytes = std::fs::read(file).unwrap_or_default();
        assert!(!bytes.windows(32).any(|window| window == &raw[9..41]), "a secret on disk");
    }
}

/// A message that never comes.
struct Silent;

impl http_body::Body for Silent {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Status>>> {
        std::task::Poll::Pending
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_with_the_token_by_which_it_was_begun() {
    let gate = Gate::open(Duration::from_secs(3600));
    let stranger = gate.stranger().await;
    let request = v1::CreateTokenRequest {
        roles: vec!["submit".to_owned()],
        ttl_s: 2,
        bearer: true,
        ..Default::default()
    };
    let secret = gate.operator().create_token(request).await.unwrap().into_inner().secret;
    is_cut_in_time(stranger, Some(&secret)).await;

    let (authority, keys) = certified(Duration::from_secs(3));
    let roles = Roles::NONE.with(Role::Submit);
    let gate = Gate::open_for(Duration::from_secs(3600), vec![authority], roles);
    is_cut_in_time(gate.comes_with(Some(keys)).await, None).await;
}

/// An authority of the operator's own, of which nobody can take certificates back, and one of these that is good for so long.
pub(super) fn certified(life: Duration) -> (CertificateDer<'static>, hands_link::TlsKeys) {
    let authority = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let trusted = params.self_signed(&authority).unwrap().der().clone();
    let key = KeyPair::generate().unwrap();
    let mut leaf = CertificateParams::default();
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    leaf.not_after = date_time_ymd(1970, 1, 1) + now + life;
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let certificate = leaf.signed_by(&key, &Issuer::new(params, authority)).unwrap();
    let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
    (trusted, hands_link::TlsKeys { chain: vec![certificate.der().clone()], key })
}

/// A stream that would go on for ever ends with a right that has two or three seconds to go.
async fn is_cut_in_time(channel: Channel, bearer: Option<&str>) {
    let mut upload = http::Request::post("http://hub/google.bytestream.ByteStream/Write")
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    if let Some(bearer) = bearer {
        upload = upload.header("authorization", format!("Bearer {bearer}"));
    }
    let began = std::time::Instant::now();
    let answer = channel.oneshot(upload.body(Body::new(Silent)).unwrap());
    let ended = tokio::time::timeout(Duration::from_secs(20), answer).await;
    let ended = ended.expect("the stream goes on without a right");
    assert!(ended.is_err(), "{ended:?}");
    assert!(began.elapsed() > Duration::from_secs(1), "cut before its time");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_without_a_header_belongs_to_the_token_of_its_connection() {
    let gate = Gate::open(Duration::from_secs(3600));
    let make = async |role: &str| {
        let roles = vec![role.to_owned()];
        let request = v1::CreateTokenRequest { roles, bearer: true, ..Default::default() };
        gate.operator().create_token(request).await.unwrap().into_inner().secret
    };
    let (submit, read) = (make("submit").await, make("read").await);
    let [info, upload] = ["/hands.v1.Jobs/Info", "/google.bytestream.ByteStream/QueryWriteStatus"];
    let stranger = gate.stranger().await;
    let capabilities = "/build.bazel.remote.execution.v2.Capabilities/GetCapabilities";
    assert_eq!(knock(&stranger, capabilities, None).await, Code::Ok);
    // A wrong secret under the right name vouches for nobody.
    let id = TokenSecret::parse_bearer(&submit).unwrap().id;
    let forged = TokenSecret::new(id, [7; 32]).bearer();
    assert_eq!(knock(&stranger, info, Some(&forged)).await, Code::Unauthenticated);
    assert_eq!(knock(&stranger, upload, None).await, Code::Unauthenticated);
    assert_eq!(knock(&stranger, info, Some(&submit)).await, Code::Ok);
    // The empty name of what is uploaded is what is wrong now.
    assert_eq!(knock(&stranger, upload, None).await, Code::InvalidArgument);
    for method in METHODS.iter().filter(|method| !method.is_open && !method.may_be_bare) {
        assert_eq!(knock(&stranger, method.path, None).await, Code::Unauthenticated, "{method:?}");
    }
    let other = gate.stranger().await;
    assert_eq!(knock(&other, upload, None).await, Code::Unauthenticated);
    assert_eq!(knock(&other, info, Some(&read)).await, Code::Ok);
    assert_eq!(knock(&other, upload, None).await, Code::PermissionDenied);
    // Two on one connection: somebody stands between, and nobody knows whose a call is that does not say so.
    assert_eq!(knock(&other, info, Some(&submit)).await, Code::Ok);
    assert_eq!(knock(&other, upload, None).await, Code::Unauthenticated);
    assert_eq!(knock(&other, upload, Some(&submit)).await, Code::InvalidArgument);
}

/// Six bits a letter.
fn base64_url(text: &str) -> Vec<u8> {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut bits = 0_u32;
    let mut held = 0;
    let mut bytes = Vec::new();
    for letter in text.bytes() {
        let value = alphabet.iter().position(|a| *a == letter).unwrap();
        bits = (bits << 6) | u32::try_from(value).unwrap();
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push(u8::try_from((bits >> held) & 0xff).unwrap());
        }
    }
    bytes
}
