//! What the engine takes, asked once.

use std::sync::Arc;

use hands_proto::reapi::capabilities_client::CapabilitiesClient;
use hands_proto::reapi::digest_function::Value;
use hands_proto::reapi::{CacheCapabilities, GetCapabilitiesRequest, compressor};
use hands_types::DigestFunction;
use hands_types::limits::MAX_BATCH;
use tokio::sync::OnceCell;

use super::{BlobClient, BlobError};

/// Room for digests and statuses around the data of a batch, per blob.
const PER_BLOB: u64 = 160;
/// Blobs in one batch, whatever their size.
const BATCH_BLOBS: usize = 1000;

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
    /// What every hub of ours takes.
    const fn of_hub(compress: bool) -> Self {
        Self { batch: MAX_BATCH, blob: None, zstd_stream: compress, zstd_batch: compress }
    }

    /// What an engine announces.
    fn announced(
        cache: &CacheCapabilities,
        function: DigestFunction,
        compress: bool,
    ) -> Result<Self, BlobError> {
        let value = Value::from(function);
        if !cache.digest_functions.is_empty() && !cache.digest_functions.contains(&value.into()) {
            return Err(BlobError::Unsupported(format!(
                "does not know the digest function {}",
                function.name()
            )));
        }
        let zstd = i32::from(compressor::Value::Zstd);
        let positive = |value| u64::try_from(value).ok().filter(|v| *v > 0);
        Ok(Self {
            // Never above what gRPC libraries decode by default, whatever the engine allows.
            batch: positive(cache.max_batch_total_size_bytes)
                .map_or(MAX_BATCH, |b| b.min(MAX_BATCH)),
            blob: positive(cache.max_cas_blob_size_bytes),
            zstd_stream: compress && cache.supported_compressors.contains(&zstd),
            zstd_batch: compress && cache.supported_batch_update_compressors.contains(&zstd),
        })
    }

    /// Whether a blob of so many bytes goes by itself.
    pub(super) fn is_large(&self, size: u64) -> bool {
        size.saturating_add(PER_BLOB) > self.batch
    }

    /// Puts what is small into batches. What is large is left over.
    pub(super) fn split<T>(
        &self,
        all: impl IntoIterator<Item = T>,
        size: impl Fn(&T) -> u64,
    ) -> (Vec<Vec<T>>, Vec<T>) {
        let (mut batches, mut large) = (Vec::new(), Vec::new());
        let (mut batch, mut cost) = (Vec::new(), 0);
        for one in all {
            let size = size(&one);
            if self.is_large(size) {
                large.push(one);
                continue;
            }
            let own = size + PER_BLOB;
            if cost + own > self.batch || batch.len() == BATCH_BLOBS {
                batches.push(std::mem::take(&mut batch));
                cost = 0;
            }
            cost += own;
            batch.push(one);
        }
        if !batch.is_empty() {
            batches.push(batch);
        }
        (batches, large)
    }
}

impl BlobClient {
    /// The other end is a hub of ours, whose bounds are known. To be said after [`BlobClient::with_compression`].
    #[must_use]
    pub fn of_hub(self) -> Self {
        Self { limits: Arc::new(OnceCell::new_with(Some(Limits::of_hub(self.compress)))), ..self }
    }

    /// The other end has announced its bounds already. To be said after [`BlobClient::with_compression`].
    pub fn announced(self, cache: &CacheCapabilities) -> Result<Self, BlobError> {
        let limits = Limits::announced(cache, self.function, self.compress)?;
        Ok(Self { limits: Arc::new(OnceCell::new_with(Some(limits))), ..self })
    }

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
        Limits::announced(&cache, self.function, self.compress)
    }
}
