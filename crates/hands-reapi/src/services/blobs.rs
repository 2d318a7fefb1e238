//! FindMissingBlobs, BatchUpdateBlobs, BatchReadBlobs; GetTree is in `tree`, SplitBlob and SpliceBlob in `chunks`.

use std::pin::Pin;

use bytes::Bytes;
use futures_util::Stream;
use hands_proto::reapi::content_addressable_storage_server::ContentAddressableStorage;
use hands_proto::reapi::{
    self, BatchReadBlobsRequest, BatchReadBlobsResponse, BatchUpdateBlobsRequest,
    BatchUpdateBlobsResponse, FindMissingBlobsRequest, FindMissingBlobsResponse, GetTreeRequest,
    GetTreeResponse, SpliceBlobRequest, SpliceBlobResponse, SplitBlobRequest, SplitBlobResponse,
    batch_read_blobs_response, batch_update_blobs_request, batch_update_blobs_response,
    chunking_function, compressor,
};
use hands_proto::{Charge, rpc};
use hands_store::Store;
use hands_types::limits::MAX_BATCH;
use hands_types::{Digest, DigestFunction};
use tonic::{Request, Response, Status};

use super::{
    WHOLE_BLOBS, Wanted, blocking, blocking_in, blocking_while_wanted, chunks, digest, function,
    reserve, reserve_later, tree,
};
use crate::status::to_rpc;
use crate::{Apart, Backend, INLINE, Invocation, bad_digest, codec, store_status};

/// Digests that FindMissing looks up on the reactor at once: about a millisecond.
const INLINE_LOOKUPS: usize = 1000;
/// Blobs of a batch that are read or written on the reactor at once.
const INLINE_BLOBS: usize = 32;

/// Blobs of one batch: as many as `MAX_BATCH` has room for where each has 64 bytes.
const BATCH_BLOBS: usize = 64 << 10;
/// What the answer for one blob of a batch takes beside its data, with a sentence about what failed.
const ANSWER: usize = 512;
/// What a digest takes while it is looked up: ours, and one in the answer.
const LOOKUP: usize = 256;

/// Serves the store's blobs, many at a time.
#[derive(Debug)]
pub struct CasService {
    backend: Backend,
}

impl CasService {
    pub(super) fn new(backend: &Backend) -> Self {
        Self { backend: backend.clone() }
    }
}

#[tonic::async_trait]
impl ContentAddressableStorage for CasService {
    type GetTreeStream = Pin<Box<dyn Stream<Item = Result<GetTreeResponse, Status>> + Send>>;

    async fn find_missing_blobs(
        &self,
        request: Request<FindMissingBlobsRequest>,
    ) -> Result<Response<FindMissingBlobsResponse>, Status> {
        let invocation = Invocation::of(&request);
        let charge = Charge::of(&request);
        let request = Apart::of(charge.as_ref(), request.into_inner());
        let function = function(request.digest_function)?;
        let store = self.backend.store.clone();
        let few = request.blob_digests.len() <= INLINE_LOOKUPS;
        reserve(charge.as_ref(), request.blob_digests.len() * LOOKUP)?;
        let find = move || -> Result<Vec<reapi::Digest>, Status> {
            let digests = request
                .blob_digests
                .iter()
                .map(|d| d.to_digest(function))
                .collect::<Result<Vec<_>, _>>()
                .map_err(|e| bad_digest(&e))?;
            // Those that are missing as well: they are what it sends next.
            invocation.keep(&store, &digests);
            let missing = store.missing(&digests).map_err(|e| store_status(&e))?;
            Ok(missing.iter().map(Into::into).collect())
        };
        let missing_blob_digests = if few { find()? } else { blocking(find).await?? };
        Ok(Response::new(FindMissingBlobsResponse { missing_blob_digests }))
    }

    async fn batch_update_blobs(
        &self,
        request: Request<BatchUpdateBlobsRequest>,
    ) -> Result<Response<BatchUpdateBlobsResponse>, Status> {
        let invocation = Invocation::of(&request);
        let charge = Charge::of(&request);
        let mut request = Apart::of(charge.as_ref(), request.into_inner());
        let function = function(request.digest_function)?;
        let n = request.requests.len();
        // The sum of what was announced bounds what decompression may allocate.
        let announced = sum(request.requests.iter().map(|r| r.digest.as_ref()));
        let sent = request.requests.iter().map(|r| r.data.len() as u64).sum::<u64>();
        let expanded = check_batch(n, announced.max(sent))?;
        // What is not compressed stays where it came.
        let packed = request.requests.iter().filter(|r| r.compressor != 0);
        let unpacked = sum(packed.map(|r| r.digest.as_ref()));
        reserve(charge.as_ref(), n * ANSWER + usize::try_from(unpacked).unwrap_or(expanded))?;
        let store = self.backend.store.clone();
        let is_quick = n <= INLINE_BLOBS && expanded <= INLINE;
        let mut update =
            move || update(&store, std::mem::take(&mut request.requests), function, &invocation);
        let responses = if is_quick { update() } else { blocking(update).await? };
        Ok(Response::new(BatchUpdateBlobsResponse { responses }))
    }

    async fn batch_read_blobs(
        &self,
        request: Request<BatchReadBlobsRequest>,
    ) -> Result<Response<BatchReadBlobsResponse>, Status> {
        let charge = Charge::of(&request);
        let mut request = Apart::of(charge.as_ref(), request.into_inner());
        let function = function(request.digest_function)?;
        let n = request.digests.len();
        let announced = check_batch(n, sum(request.digests.iter().map(Some)))?;
        // The answer twice: as blobs, and as the bytes that travel.
        reserve_later(charge.as_ref(), n * ANSWER + 2 * announced).await?;
        let zstd = request.acceptable_compressors.contains(&compressor::Value::Zstd.into());
        let store = self.backend.store.clone();
        let is_quick = n <= INLINE_BLOBS && announced <= INLINE && !zstd;
        let mut read = move |wanted: &Wanted| -> Result<Vec<_>, Status> {
            let mut responses = Vec::with_capacity(n);
            for digest in std::mem::take(&mut request.digests) {
                wanted.check()?;
                responses.push(read_one(&store, digest, function, zstd));
            }
            Ok(responses)
        };
        let responses = if is_quick {
            read(&Wanted::default())?
        } else {
            blocking_while_wanted(read).await??
        };
        Ok(Response::new(BatchReadBlobsResponse { responses }))
    }

    async fn get_tree(
        &self,
        request: Request<GetTreeRequest>,
    ) -> Result<Response<Self::GetTreeStream>, Status> {
        let charge = Charge::of(&request);
        let request = request.into_inner();
        let function = function(request.digest_function)?;
        let root = digest(request.root_digest.as_ref(), "root_digest", function)?;
        let (size, token) = (request.page_size, &request.page_token);
        let pages = tree::pages(&self.backend.store, root, size, token, charge).await?;
        Ok(Response::new(Box::pin(pages)))
    }

    async fn split_blob(
        &self,
        request: Request<SplitBlobRequest>,
    ) -> Result<Response<SplitBlobResponse>, Status> {
        let invocation = Invocation::of(&request);
        let request = request.into_inner();
        match chunking_function::Value::try_from(request.chunking_function) {
            Ok(chunking_function::Value::Unknown | chunking_function::Value::FastCdc2020) => {}
            Ok(chunking_function::Value::RepMaxCdc) | Err(_) => {
                return Err(Status::invalid_argument("this hub splits by FAST_CDC_2020 only"));
            }
        }
        let function = function(request.digest_function)?;
        let blob = digest(request.blob_digest.as_ref(), "blob_digest", function)?;
        let store = self.backend.store.clone();
        let pieces = blocking_in(&WHOLE_BLOBS, move |wanted| {
            chunks::split(&store, blob, &invocation, wanted)
        })
        .await??;
        Ok(Response::new(SplitBlobResponse {
            chunk_digests: pieces.iter().map(Into::into).collect(),
            chunking_function: chunking_function::Value::FastCdc2020.into(),
        }))
    }

    async fn splice_blob(
        &self,
        request: Request<SpliceBlobRequest>,
    ) -> Result<Response<SpliceBlobResponse>, Status> {
        let invocation = Invocation::of(&request);
        let charge = Charge::of(&request);
        let request = Apart::of(charge.as_ref(), request.into_inner());
        let function = function(request.digest_function)?;
        let blob = digest(request.blob_digest.as_ref(), "blob_digest", function)?;
        reserve(charge.as_ref(), request.chunk_digests.len() * LOOKUP)?;
        let store = self.backend.store.clone();
        let answer = request.blob_digest.clone();
        blocking_in(&WHOLE_BLOBS, move |wanted| {
            let pieces = request
                .chunk_digests
                .iter()
                .map(|piece| piece.to_digest(function))
                .collect::<Result<Vec<Digest>, _>>()
                .map_err(|e| bad_digest(&e))?;
            chunks::splice(&store, blob, &pieces, &invocation, wanted)
        })
        .await??;
        Ok(Response::new(SpliceBlobResponse { blob_digest: answer }))
    }
}

/// What the digests of a batch claim, together; what is malformed claims nothing and is refused later.
fn sum<'a>(digests: impl Iterator<Item = Option<&'a reapi::Digest>>) -> u64 {
    digests.flatten().map(|d| u64::try_from(d.size_bytes).unwrap_or(0)).fold(0, u64::saturating_add)
}

/// The bytes of a batch, if it is not too large.
fn check_batch(blobs: usize, bytes: u64) -> Result<usize, Status> {
    if blobs > BATCH_BLOBS {
        return Err(Status::invalid_argument(format!(
            "the batch holds {blobs} blobs, more than {BATCH_BLOBS}: send several"
        )));
    }
    if bytes > MAX_BATCH {
        return Err(Status::invalid_argument(format!(
            "the batch holds {bytes} bytes, more than max_batch_total_size_bytes ({MAX_BATCH}): use ByteStream"
        )));
    }
    Ok(usize::try_from(bytes).unwrap_or(usize::MAX))
}

fn update(
    store: &Store,
    requests: Vec<batch_update_blobs_request::Request>,
    function: DigestFunction,
    invocation: &Invocation,
) -> Vec<batch_update_blobs_response::Response> {
    let mut responses = Vec::with_capacity(requests.len());
    let mut good = Vec::with_capacity(requests.len());
    let mut places = Vec::with_capacity(requests.len());
    for request in requests {
        let content = content(&request, function);
        let status = content.as_ref().err().map_or_else(rpc::Status::default, to_rpc);
        if let Ok(blob) = content {
            places.push(responses.len());
            good.push(blob);
        }
        responses.push(batch_update_blobs_response::Response {
            digest: request.digest,
            status: Some(status),
        });
    }
    let digests: Vec<Digest> = good.iter().map(|(digest, _)| *digest).collect();
    invocation.keep(store, &digests);
    for (outcome, place) in store.put_many(good).into_iter().zip(places) {
        if let Err(error) = outcome {
            responses[place].status = Some(to_rpc(&store_status(&error)));
        }
    }
    responses
}

/// The uncompressed content of one blob of a batch, of the announced size.
fn content(
    request: &batch_update_blobs_request::Request,
    function: DigestFunction,
) -> Result<(Digest, Bytes), Status> {
    let digest = digest(request.digest.as_ref(), "digest", function)?;
    let data = match compressor::Value::try_from(request.compressor) {
        Ok(compressor::Value::Identity) => request.data.clone(),
        Ok(compressor::Value::Zstd) => codec::expand(&request.data, digest.size)
            .map_err(|e| Status::invalid_argument(format!("the data of {digest} {e}")))?,
        Ok(compressor::Value::Deflate | compressor::Value::Brotli) | Err(_) => {
            return Err(Status::invalid_argument(format!(
                "the data of {digest} is compressed other than by zstd"
            )));
        }
    };
    if data.len() as u64 != digest.size {
        return Err(Status::invalid_argument(format!(
            "the data of {digest} has {} bytes",
            data.len()
        )));
    }
    Ok((digest, data))
}

fn read_one(
    store: &Store,
    asked: reapi::Digest,
    function: DigestFunction,
    zstd: bool,
) -> batch_read_blobs_response::Response {
    let found = asked.to_digest(function).map_err(|e| bad_digest(&e)).and_then(|digest| {
        if digest.is_empty() {
            return Ok(Bytes::new());
        }
        store
            .read(&digest)
            .map_err(|e| store_status(&e))?
            .ok_or_else(|| Status::not_found(format!("the blob {digest} is not here")))
    });
    let (data, status) = match found {
        Ok(data) => (data, rpc::Status::default()),
        Err(status) => (Bytes::new(), to_rpc(&status)),
    };
    let packed = if zstd { codec::shrink(&data) } else { None };
    let (data, compressor) = match packed {
        Some(packed) => (packed, compressor::Value::Zstd),
        None => (data, compressor::Value::Identity),
    };
    batch_read_blobs_response::Response {
        digest: Some(asked),
        data,
        status: Some(status),
        compressor: compressor.into(),
    }
}
