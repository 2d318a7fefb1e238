//! The Remote Asset API: digests by URI and qualifiers. What was pushed is given out for as long as its blobs are here; nothing
//! is ever fetched from elsewhere, as a hub opens connections to nobody.

use std::sync::Arc;
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hands_proto::asset::fetch_server::Fetch;
use hands_proto::asset::push_server::Push;
use hands_proto::asset::{
    FetchBlobRequest, FetchBlobResponse, FetchDirectoryRequest, FetchDirectoryResponse,
    PushBlobRequest, PushBlobResponse, PushDirectoryRequest, PushDirectoryResponse, Qualifier,
};
use hands_proto::{Charge, Room, Tight, reapi, rpc, v1};
use hands_store::{LookError, Store};
use hands_tree::Hasher;
use hands_types::{Digest, DigestFunction};
use prost::Message as _;
use prost_types::Timestamp;
use tonic::{Code, Request, Response, Status};

use super::{ROOM_WITHIN, digest};
use crate::{
    Backend, Invocation, check_instance, looking, missing_blobs, stage_status, store_status,
};

/// Before the instance name: assets lie among the results of actions. Whoever can write there by an instance of such a name
/// may push as well.
const KEEP: &str = "\u{1}assets/";
/// URIs and qualifiers of one call, each.
const MOST: usize = 100;
/// Bytes of each of them.
const MOST_BYTES: usize = 8 << 10;
/// The qualifier that is held against the content (Subresource Integrity).
const CHECKSUM: &str = "checksum.sri";

/// Gives out what was pushed.
#[derive(Debug)]
pub struct FetchService {
    backend: Backend,
}

/// Takes what clients push.
#[derive(Debug)]
pub struct PushService {
    backend: Backend,
}

impl FetchService {
    pub(super) fn new(backend: &Backend) -> Self {
        Self { backend: backend.clone() }
    }
}

impl PushService {
    pub(super) fn new(backend: &Backend) -> Self {
        Self { backend: backend.clone() }
    }
}

#[tonic::async_trait]
impl Fetch for FetchService {
    async fn fetch_blob(
        &self,
        request: Request<FetchBlobRequest>,
    ) -> Result<Response<FetchBlobResponse>, Status> {
        let (invocation, charge) = (Invocation::of(&request), Charge::of(&request));
        let request = request.into_inner();
        let named = Named::new(
            Kind::Blob,
            &request.instance_name,
            request.uris,
            request.qualifiers,
            request.digest_function,
        )?;
        let digest_function = reapi::digest_function::Value::from(named.function).into();
        let store = self.backend.store.clone();
        let oldest = request.oldest_content_accepted;
        let found = named
            .look(charge.as_ref(), move |named, room| {
                named.find(&store, oldest.as_ref(), &invocation, room)
            })
            .await?;
        let (status, found) = found.told();
        Ok(Response::new(FetchBlobResponse {
            status: Some(status),
            uri: found.uri,
            qualifiers: found.qualifiers,
            expires_at: found.asset.expires,
            blob_digest: found.asset.digest,
            digest_function,
        }))
    }

    async fn fetch_directory(
        &self,
        request: Request<FetchDirectoryRequest>,
    ) -> Result<Response<FetchDirectoryResponse>, Status> {
        let (invocation, charge) = (Invocation::of(&request), Charge::of(&request));
        let request = request.into_inner();
        let named = Named::new(
            Kind::Directory,
            &request.instance_name,
            request.uris,
            request.qualifiers,
            request.digest_function,
        )?;
        let digest_function = reapi::digest_function::Value::from(named.function).into();
        let store = self.backend.store.clone();
        let oldest = request.oldest_content_accepted;
        let found = named
            .look(charge.as_ref(), move |named, room| {
                named.find(&store, oldest.as_ref(), &invocation, room)
            })
            .await?;
        let (status, found) = found.told();
        Ok(Response::new(FetchDirectoryResponse {
            status: Some(status),
            uri: found.uri,
            qualifiers: found.qualifiers,
            expires_at: found.asset.expires,
            root_directory_digest: found.asset.digest,
            digest_function,
        }))
    }
}

#[tonic::async_trait]
impl Push for PushService {
    async fn push_blob(
        &self,
        request: Request<PushBlobRequest>,
    ) -> Result<Response<PushBlobResponse>, Status> {
        let (invocation, charge) = (Invocation::of(&request), Charge::of(&request));
        let request = request.into_inner();
        let named = Named::new(
            Kind::Blob,
            &request.instance_name,
            request.uris,
            request.qualifiers,
            request.digest_function,
        )?;
        let blob = digest(request.blob_digest.as_ref(), "blob_digest", named.function)?;
        let store = self.backend.store.clone();
        let expires = request.expire_at;
        named
            .look(charge.as_ref(), move |named, room| {
                named.keep(&store, blob, expires, &invocation, room)
            })
            .await?;
        Ok(Response::new(PushBlobResponse {}))
    }

    async fn push_directory(
        &self,
        request: Request<PushDirectoryRequest>,
    ) -> Result<Response<PushDirectoryResponse>, Status> {
        let (invocation, charge) = (Invocation::of(&request), Charge::of(&request));
        let request = request.into_inner();
        let named = Named::new(
            Kind::Directory,
            &request.instance_name,
            request.uris,
            request.qualifiers,
            request.digest_function,
        )?;
        let root = digest(
            request.root_directory_digest.as_ref(),
            "root_directory_digest",
            named.function,
        )?;
        let store = self.backend.store.clone();
        let expires = request.expire_at;
        named
            .look(charge.as_ref(), move |named, room| {
                named.keep(&store, root, expires, &invocation, room)
            })
            .await?;
        Ok(Response::new(PushDirectoryResponse {}))
    }
}

/// What a look brings, or that it needs more memory.
type Answer<T> = Result<Result<T, Status>, Tight>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Blob,
    Directory,
}

/// What a call names.
struct Named {
    kind: Kind,
    place: String,
    uris: Vec<String>,
    /// Sorted, each name once; without the checksum.
    qualifiers: Vec<Qualifier>,
    checksum: Option<String>,
    function: DigestFunction,
}

/// What a call is answered with.
#[derive(Default)]
struct Found {
    uri: String,
    qualifiers: Vec<Qualifier>,
    asset: v1::Asset,
    /// Something was pushed, and is not what the checksum says.
    is_other: bool,
}

impl Found {
    fn told(self) -> (rpc::Status, Self) {
        let (code, message) = match (&self.asset.digest, self.is_other) {
            (Some(_), false) => (Code::Ok, ""),
            (_, true) => (Code::Aborted, "what was pushed for it does not match checksum.sri"),
            (None, false) => (
                Code::NotFound,
                "nothing was pushed for it that is still here, and this hub fetches nothing by itself",
            ),
        };
        (rpc::Status { code: code.into(), message: message.to_owned(), details: Vec::new() }, self)
    }
}

impl Named {
    fn new(
        kind: Kind,
        instance: &str,
        uris: Vec<String>,
        mut qualifiers: Vec<Qualifier>,
        function: i32,
    ) -> Result<Self, Status> {
        let function = super::function(function)?;
        check_instance(instance)?;
        let texts = qualifiers.iter().flat_map(|qualifier| [&qualifier.name, &qualifier.value]);
        if uris.iter().chain(texts).any(|text| text.len() > MOST_BYTES) {
            return Err(Status::invalid_argument(format!(
                "a URI or a qualifier has more than {MOST_BYTES} bytes"
            )));
        }
        if uris.is_empty() || uris.len() > MOST || qualifiers.len() > MOST {
            return Err(Status::invalid_argument(format!(
                "a call has one to {MOST} URIs and at most {MOST} qualifiers"
            )));
        }
        qualifiers.sort_by(|a, b| a.name.cmp(&b.name));
        if let Some(pair) = qualifiers.windows(2).find(|pair| pair[0].name == pair[1].name) {
            return Err(Status::invalid_argument(format!(
                "the qualifier {:?} is given twice",
                pair[0].name
            )));
        }
        let at = qualifiers.iter().position(|qualifier| qualifier.name == CHECKSUM);
        let checksum = at.map(|at| qualifiers.remove(at).value);
        if let Some(checksum) = &checksum {
            let is_known = function == DigestFunction::Sha256 && checksum.starts_with("sha256-");
            if kind == Kind::Directory || !is_known {
                return Err(Status::invalid_argument(format!(
                    "{CHECKSUM} is `sha256-…`, of a blob whose digest is SHA-256, and not {checksum:?}"
                )));
            }
        }
        Ok(Self { kind, place: format!("{KEEP}{instance}"), uris, qualifiers, checksum, function })
    }

    /// Where what is pushed under a URI lies. Every part has its length before it, so that no two are alike by chance.
    fn key(&self, uri: &str) -> Digest {
        let mut hasher = Hasher::new(DigestFunction::Sha256);
        let mut part = |text: &str| {
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        };
        part(match self.kind {
            Kind::Blob => "blob",
            Kind::Directory => "directory",
        });
        part(self.function.name());
        part(uri);
        for qualifier in &self.qualifiers {
            part(&qualifier.name);
            part(&qualifier.value);
        }
        hasher.finish()
    }

    /// Looks at what the store has of it, with a room for a tree.
    async fn look<T: Send + 'static>(
        self,
        charge: Option<&Arc<Charge>>,
        work: impl Fn(&Self, &mut Room) -> Answer<T> + Send + Sync + 'static,
    ) -> Result<T, Status> {
        looking(charge, 0, ROOM_WITHIN, move |room| work(&self, room)).await?.found
    }

    /// Looks each URI up; the first that is here counts. Blocks.
    fn find(
        &self,
        store: &Store,
        oldest: Option<&Timestamp>,
        invocation: &Invocation,
        room: &Room,
    ) -> Answer<Found> {
        let now = Timestamp::from(SystemTime::now());
        let mut other = None;
        for uri in &self.uris {
            let stored = match store.action(&self.place, &self.key(uri)) {
                Ok(stored) => stored,
                Err(error) => return Ok(Err(store_status(&error))),
            };
            let Some(asset) = stored.and_then(|bytes| v1::Asset::decode(bytes).ok()) else {
                continue;
            };
            let is_over = asset.expires.as_ref().is_some_and(|expires| !is_before(&now, expires));
            let is_old = match (&asset.pushed, oldest) {
                (Some(pushed), Some(oldest)) => is_before(pushed, oldest),
                _ => false,
            };
            let content = match digest(asset.digest.as_ref(), "digest", self.function) {
                Ok(content) => content,
                Err(status) => return Ok(Err(status)),
            };
            if is_over || is_old {
                continue;
            }
            match self.missing(store, content, invocation, room.rest())? {
                Ok(missing) if missing.is_empty() => {}
                Ok(_) => continue,
                Err(status) => return Ok(Err(status)),
            }
            if !self.is_wanted(&content) {
                other = other.or_else(|| Some(uri.clone()));
                continue;
            }
            let qualifiers = self.qualifiers.clone();
            return Ok(Ok(Found { uri: uri.clone(), qualifiers, asset, is_other: false }));
        }
        let is_other = other.is_some();
        Ok(Ok(Found {
            uri: other.unwrap_or_else(|| self.uris[0].clone()),
            is_other,
            ..Found::default()
        }))
    }

    /// Records what is pushed, under each URI. Its blobs must be here. What it refers to besides is a hint that is not taken:
    /// blobs stay for as long as they are used. Blocks.
    fn keep(
        &self,
        store: &Store,
        content: Digest,
        expires: Option<Timestamp>,
        invocation: &Invocation,
        room: &Room,
    ) -> Answer<()> {
        if !self.is_wanted(&content) {
            return Ok(Err(Status::invalid_argument(format!(
                "{CHECKSUM} is not that of the blob {content}"
            ))));
        }
        match self.missing(store, content, invocation, room.rest())? {
            Ok(missing) if missing.is_empty() => {}
            Ok(missing) => return Ok(Err(missing_blobs(Code::FailedPrecondition, &missing))),
            Err(status) => return Ok(Err(status)),
        }
        let asset = v1::Asset {
            digest: Some(content.into()),
            pushed: Some(Timestamp::from(SystemTime::now())),
            expires,
        };
        let bytes = Bytes::from(asset.encode_to_vec());
        for uri in &self.uris {
            if let Err(error) = store.action_put(&self.place, self.key(uri), bytes.clone()) {
                return Ok(Err(store_status(&error)));
            }
        }
        Ok(Ok(()))
    }

    /// The blobs of an asset that are not here; those that are stay for the invocation.
    fn missing(
        &self,
        store: &Store,
        content: Digest,
        invocation: &Invocation,
        mut room: Room,
    ) -> Answer<Vec<Digest>> {
        match self.kind {
            Kind::Blob => {
                invocation.keep(store, &[content]);
                Ok(store.missing(&[content]).map_err(|e| store_status(&e)))
            }
            Kind::Directory => match store.look_at_tree(&content, &mut room, &mut |_| {}) {
                Ok(report) => {
                    invocation.keep(store, &report.blobs);
                    Ok(Ok(report.missing))
                }
                Err(LookError::Tight(tight)) => Err(tight),
                Err(LookError::Stage(error)) => Ok(Err(stage_status(&error))),
            },
        }
    }

    /// Whether a blob is what the checksum says.
    fn is_wanted(&self, content: &Digest) -> bool {
        let is = |checksum: &String| {
            checksum.strip_prefix("sha256-") == Some(STANDARD.encode(content.hash).as_str())
        };
        self.checksum.as_ref().is_none_or(is)
    }
}

fn is_before(a: &Timestamp, b: &Timestamp) -> bool {
    (a.seconds, a.nanos) < (b.seconds, b.nanos)
}
