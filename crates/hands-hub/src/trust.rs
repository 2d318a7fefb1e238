//! Who belongs to the cluster: the authority, the table of tokens and members, and the hub's own certificate.
//!
//! Owns `authority/` in the state directory. It must never give a certificate to a key that has not signed for it over
//! the very connection that asked, nor know a revoked token or a removed member again. Changes are durable before they
//! are said and hold from that moment, for connections that are open too.

mod authority;
mod budget;
mod connections;
mod registry;
mod schema;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hands_link::trust::{hub_uri, member_uri};
use hands_link::{ConnectionInfo, HostPort, JoinString, ServerTls, TlsKeys, TokenId, TokenSecret};
use hands_proto::v1;
use hands_types::limits::{MAX_NAME, MAX_TOKEN_LIFE};
use hands_types::text::{check_name, cut};
use hands_types::{MemberId, Role, Roles};
use rustls_pki_types::CertificateDer;
use tokio::sync::watch;
use tonic::Status;

use crate::HubError;
use crate::pages::{PAGE_BYTES, Page};
use crate::place::Place;
use crate::time::timestamp;
use authority::{Authority, Leaf};
use budget::Budget;
pub(crate) use budget::Claimed;
use connections::Connections;
pub(crate) use connections::Subject;
pub(crate) use registry::{Denied, MemberRow, NewToken, Registry, TokenRow};

/// What a hub must be told to take others in.
#[derive(Debug)]
pub struct TrustConfig {
    /// The cluster's name, for people.
    pub cluster: String,
    /// Where the hub is reached: these stand in join strings and in its certificate.
    pub addresses: Vec<HostPort>,
    /// How long certificates live.
    pub leaf_ttl: Duration,
    /// A certificate of the operator's own for those who do not ask for the hub's by its name.
    pub public: Option<TlsKeys>,
    /// Authorities of the operator's own whose certificates clients may show.
    pub client_authorities: Vec<CertificateDer<'static>>,
    /// What those clients may do.
    pub client_roles: Roles,
}

/// How long a certificate lives that nothing else is said about.
pub const LEAF_TTL: Duration = Duration::from_secs(24 * 3600);
const JOIN_TTL: Duration = Duration::from_secs(3600);
const BEARER_TTL: Duration = Duration::from_secs(30 * 24 * 3600);
/// Longest name of a member.
const MAX_MEMBER_NAME: usize = 64;
/// Ids that are named where a name fits several members.
const NAMED: usize = 8;

/// The table comes before the key: with the key there was a table, and an empty one in its place would know nobody, also none
/// of those that were removed.
fn open_registry(dir: &Path) -> Result<Registry, HubError> {
    authority::make_directory(dir)?;
    let path = dir.join("authority.db");
    let is_there = std::fs::metadata(&path).is_ok_and(|file| file.len() > 0);
    if authority::has_key(dir) && !is_there {
        return Err(HubError::MembersGone { path });
    }
    Registry::open(&path)
}

/// The cluster's gate.
#[derive(Debug)]
pub(crate) struct Trust {
    config: TrustConfig,
    hub_id: String,
    authority: Authority,
    registry: Registry,
    connections: Connections,
    budget: Budget,
    tls: ServerTls,
}

impl Trust {
    /// Opens the authority below a state directory, or makes it. Blocks.
    pub(crate) fn open(dir: &Path, hub_id: &str, config: TrustConfig) -> Result<Self, HubError> {
        let dir = dir.join("authority");
        let registry = open_registry(&dir)?;
        let authority = Authority::open(&dir)?;
        let own = own_certificate(&authority, &config, hub_id)?;
        let mut authorities = vec![authority.certificate().clone()];
        authorities.extend(config.client_authorities.iter().cloned());
        let public = config
            .public
            .as_ref()
            .map(|keys| TlsKeys { chain: keys.chain.clone(), key: keys.key.clone_key() });
        let tls = ServerTls::new(authority.pin(), own, public, &authorities)
            .map_err(HubError::Certificates)?;
        Ok(Self {
            config,
            hub_id: hub_id.to_owned(),
            authority,
            registry,
            connections: Connections::default(),
            budget: Budget::default(),
            tls,
        })
    }

    /// What must not go while the hub runs: without it, it would forget who was removed.
    pub(crate) fn place(dir: &Path) -> Result<Place, HubError> {
        Registry::place(&dir.join("authority/authority.db"))
    }

    pub(crate) const fn tls(&self) -> &ServerTls {
        &self.tls
    }

    pub(crate) const fn registry(&self) -> &Registry {
        &self.registry
    }

    pub(crate) const fn budget(&self) -> &Budget {
        &self.budget
    }

    pub(crate) fn domain(&self) -> &str {
        self.authority.domain()
    }

    pub(crate) const fn client_roles(&self) -> Roles {
        self.config.client_roles
    }

    /// Notes that somebody uses a connection, so that it is cut when their right to it ends.
    pub(crate) fn note(&self, subject: Subject, connection: &ConnectionInfo) {
        self.connections.note(subject, connection);
    }

    /// Has a connection cut when the right ends by which it is used, milliseconds since 1970.
    pub(crate) fn ends_at(&self, expires: i64, connection: &ConnectionInfo) {
        self.connections.ends_at(expires, connection);
    }

    /// Cuts connections whose time is over, until the hub is closed. Calls are looked at when they begin; a stream that
    /// goes on for hours ends with the right by which it was begun.
    pub(crate) async fn cut_expired(self: Arc<Self>, mut closed: watch::Receiver<bool>) {
        /// The clock may be set meanwhile, and the machine may have slept.
        const LOOK: Duration = Duration::from_secs(60);
        loop {
            let wait = self.connections.cut_expired(unix_millis()).unwrap_or(LOOK).min(LOOK);
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.connections.sooner() => {}
                // Its error means that the hub was dropped.
                _ = closed.wait_for(|closed| *closed) => return,
            }
        }
    }

    /// Notes that a token's secret was shown on a connection and is right.
    pub(crate) fn has_shown(&self, id: TokenId, connection: &ConnectionInfo) {
        self.connections.has_shown(id, connection);
    }

    /// The one token that was shown on a connection.
    pub(crate) fn shown(&self, connection: &ConnectionInfo) -> Option<TokenId> {
        self.connections.shown(connection)
    }

    /// Replaces the hub's certificate at two thirds of its life, until the hub is closed.
    pub(crate) async fn keep_fresh(self: Arc<Self>, mut closed: watch::Receiver<bool>) {
        let every = (self.config.leaf_ttl * 2 / 3).max(Duration::from_millis(100));
        loop {
            tokio::select! {
                () = tokio::time::sleep(every) => {}
                // Its error means that the hub was dropped.
                _ = closed.wait_for(|closed| *closed) => return,
            }
            let fresh = own_certificate(&self.authority, &self.config, &self.hub_id)
                .and_then(|keys| self.tls.replace(keys).map_err(HubError::Certificates));
            match fresh {
                Ok(()) => tracing::debug!("the hub has a new certificate"),
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::error!(error, "the hub's certificate can't be renewed");
                }
            }
        }
    }

    /// Makes a token; the secret is said this once. Blocks.
    pub(crate) fn create_token(
        &self,
        request: &v1::CreateTokenRequest,
    ) -> Result<v1::CreateTokenReply, Status> {
        let roles: Roles = request
            .roles
            .iter()
            .map(|role| role.parse::<Role>())
            .collect::<Result<_, _>>()
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        if roles.is_empty() {
            return Err(Status::invalid_argument("a token needs a role"));
        }
        if request.bearer && roles == Roles::NONE.with(Role::Worker) {
            return Err(Status::invalid_argument(
                "a worker needs a certificate: a bearer token can't have the role worker alone",
            ));
        }
        let ttl = match (request.ttl_s, request.bearer) {
            (0, false) => JOIN_TTL,
            (0, true) => BEARER_TTL,
            (seconds, _) => Duration::from_secs(seconds),
        };
        if ttl > MAX_TOKEN_LIFE {
            return Err(Status::invalid_argument("a token lives ten years (3650d) at most"));
        }
        let uses = if request.bearer { 0 } else { request.uses.max(1) };
        let secret = fresh_secret();
        let new = NewToken { secret: &secret, roles, bearer: request.bearer, uses, ttl };
        let row = self.registry.add_token(new)?;
        let secret = if request.bearer {
            secret.bearer()
        } else {
            JoinString {
                routes: self.config.addresses.iter().cloned().map(Into::into).collect(),
                pin: *self.authority.pin(),
                token: secret,
                is_one_use: uses == 1,
            }
            .to_string()
        };
        Ok(v1::CreateTokenReply { token: Some(row.to_proto()), secret })
    }

    /// Ends a token and, if wanted, the memberships that came from it. Blocks.
    pub(crate) fn revoke_token(
        &self,
        id: &str,
        members: bool,
    ) -> Result<v1::RevokeTokenReply, Status> {
        let id = self.registry.find_token(id)?;
        let removed = self.registry.revoke_token(id, members)?;
        self.connections.cut(&Subject::Token(id));
        let (removed, more) = self.thrown_out(&removed);
        Ok(v1::RevokeTokenReply { id: registry::hex(&id), removed, more })
    }

    /// Ends memberships by name or id; with `all` several, where they fit. Blocks.
    pub(crate) fn remove_member(
        &self,
        member: &str,
        all: bool,
    ) -> Result<v1::RemoveMemberReply, Status> {
        let found = self.registry.find_members(member);
        let called = cut(member, MAX_NAME);
        if found.is_empty() {
            return Err(Status::not_found(format!("no member is called {called:?}")));
        }
        if found.len() > 1 && !all {
            let ids: Vec<String> = found.iter().take(NAMED).map(ToString::to_string).collect();
            let more = if found.len() > NAMED { " and more" } else { "" };
            return Err(Status::invalid_argument(format!(
                "{} members fit {called:?}: {}{more}; name one by its id, or all of them with `--all`",
                found.len(),
                ids.join(", ")
            )));
        }
        let removed = self.registry.remove_members(&found)?;
        let (removed, more) = self.thrown_out(&removed);
        Ok(v1::RemoveMemberReply { removed, more })
    }

    /// Cuts the connections of those who were removed. Names them, as many as fit an answer, and counts the others.
    fn thrown_out(&self, removed: &[MemberRow]) -> (Vec<v1::Member>, u32) {
        for member in removed {
            tracing::info!(member = member.name, id = %member.id, "removed from the cluster");
            self.connections.cut(&Subject::Member(member.id));
        }
        let page = Page::of(removed.iter().map(MemberRow::to_proto), usize::MAX, PAGE_BYTES);
        let more = removed.len() - page.rows.len();
        (page.rows, u32::try_from(more).unwrap_or(u32::MAX))
    }

    /// Takes a node in; its signatures have been checked. Blocks.
    pub(crate) fn enrol(
        &self,
        token: &TokenRow,
        public_key: &[u8],
        name: &str,
        wanted: Roles,
    ) -> Result<Result<v1::Membership, Denied>, Status> {
        if name.is_empty() || name.len() > MAX_MEMBER_NAME || check_name(name).is_err() {
            return Err(Status::invalid_argument(format!(
                "a member's name has 1 to {MAX_MEMBER_NAME} bytes and no control characters"
            )));
        }
        match self.registry.enrol(token.id, public_key, name, wanted)? {
            Ok(member) => {
                tracing::info!(member = name, id = %member.id, roles = %member.roles, "joined the cluster");
                self.membership(&member).map(Ok)
            }
            Err(denied) => Ok(Err(denied)),
        }
    }

    /// A new certificate for a member, whose key has signed for it. Blocks.
    pub(crate) fn renew(&self, member: MemberId) -> Result<Option<v1::Membership>, Status> {
        match self.registry.renewed(member)? {
            Some(member) => self.membership(&member).map(Some),
            None => Ok(None),
        }
    }

    fn membership(&self, member: &MemberRow) -> Result<v1::Membership, Status> {
        let uri = member_uri(self.domain(), member.roles, member.id);
        let leaf = Leaf { uri, hosts: &[], is_server: false, ttl: self.config.leaf_ttl };
        let certificate = self.authority.issue(&member.public_key, &leaf).map_err(|error| {
            Status::internal(format!("the certificate could not be made: {error}"))
        })?;
        let now = unix_millis();
        let ttl = i64::try_from(self.config.leaf_ttl.as_millis()).unwrap_or(i64::MAX);
        Ok(v1::Membership {
            member_id: member.id.to_string(),
            name: member.name.clone(),
            roles: member.roles.names(),
            chain: [&certificate, self.authority.certificate()]
                .map(|der| der.to_vec().into())
                .to_vec(),
            cluster: self.config.cluster.clone(),
            addresses: self.config.addresses.iter().map(ToString::to_string).collect(),
            routes: Vec::new(),
            now: Some(timestamp(now)),
            not_after: Some(timestamp(now.saturating_add(ttl))),
        })
    }
}

fn fresh_secret() -> TokenSecret {
    let random: [[u8; 16]; 3] = std::array::from_fn(|_| crate::id::random().to_be_bytes());
    let bytes = random.concat();
    let id = bytes[..8].try_into().expect("cut to eight bytes");
    let seed = bytes[16..].try_into().expect("48 bytes without 16 are 32");
    TokenSecret::new(id, seed)
}

fn own_certificate(
    authority: &Authority,
    config: &TrustConfig,
    hub_id: &str,
) -> Result<TlsKeys, HubError> {
    let mut hosts: Vec<String> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec();
    hosts.extend(config.addresses.iter().map(|address| address.host.clone()));
    let uri = hub_uri(authority.domain(), hub_id);
    let leaf = Leaf { uri, hosts: &hosts, is_server: true, ttl: config.leaf_ttl };
    authority.own(&leaf)
}

fn unix_millis() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
