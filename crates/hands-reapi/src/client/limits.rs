//! What the engine takes, asked once.

use hands_proto::reapi::capabilities_client::CapabilitiesClient;
use hands_proto::reapi::digest_function::Value;
use hands_proto::reapi::{GetCapabilitiesRequest, compressor};
use hands_types::limits::MAX_BATCH;

use super::{BlobClient, BlobError};

/// Room for digests and statuses around the data of a batch, per blob.
const PER_BLOB: u64 = 160;

/// An engine's bounds, as far as blobs go.
#[derive(Clone, Debug)]
pub(super) struct Limits {
    /// Data and overhead of one batch, bytes.
    pub(super) batch: u64,
    /// Largest blob; none if there is no bound.
    pub(super) blob: Option<u64>,
    /// ByteStream with zstd.
    pub(super) zstd_stream: bool,
    /// Batches with zstd.
    pub(super) zstd_batch: bool,
}

impl Limits {
    /// What a blob counts for in a batch.
    pub(super) fn cost(size: u64) -> u64 {
        size.saturating_add(PER_BLOB)
    }
}

impl BlobClient {
    /// What the engine announced; asked at first use and remembered once it answered.
    pub(super) async fn limits(&self) -> Result<&Limits, BlobError> {
        self.limits.get_or_try_init(|| self.ask_limits()).await
    }

    async fn ask_limits(&self) -> Result<Limits, BlobError> {
        let request = GetCapabilitiesRequest { instance_name: self.instance.to_string() };
        let reply =
            CapabilitiesClient::new(self.channel.clone())
                .get_capabilities(request)
                .await
                .map_err(|status| BlobError::rpc("ask for the engine's capabilities", status))?;
        let cache = reply.into_inner().cache_capabilities.unwrap_or_default();
        let function = Value::from(self.function);
        if !cache.digest_functions.is_empty() && !cache.digest_functions.contains(&function.into())
        {
            return Err(BlobError::Unsupported(format!(
                "does not know the digest function {}",
                self.function.name()
            )));
        }
        let zstd = i32::from(compressor::Value::Zstd);
        let positive = |value| u64::try_from(value).ok().filter(|v| *v > 0);
        Ok(Limits {
            // Never above what gRPC libraries decode by default, whatever the engine allows.
            batch: positive(cache.max_batch_total_size_bytes)
                .map_or(MAX_BATCH, |b| b.min(MAX_BATCH)),
            blob: positive(cache.max_cas_blob_size_bytes),
            zstd_stream: self.compress && cache.supported_compressors.contains(&zstd),
            zstd_batch: self.compress && cache.supported_batch_update_compressors.contains(&zstd),
        })
    }
}
