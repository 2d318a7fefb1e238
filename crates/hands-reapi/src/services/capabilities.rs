//! What this server can do.

use hands_proto::reapi::capabilities_server::Capabilities;
use hands_proto::reapi::digest_function::Value as Function;
use hands_proto::reapi::priority_capabilities::PriorityRange;
use hands_proto::reapi::symlink_absolute_path_strategy::Value as AbsoluteSymlinks;
use hands_proto::reapi::{
    ActionCacheUpdateCapabilities, CacheCapabilities, ExecutionCapabilities,
    GetCapabilitiesRequest, PriorityCapabilities, ServerCapabilities, compressor,
};
use hands_proto::semver::SemVer;
use hands_types::DigestFunction;
use hands_types::limits::{MAX_BATCH, MAX_BLOB};
use tonic::{Request, Response, Status};

use super::chunks;
use crate::Backend;

/// Answers every instance name alike.
#[derive(Debug)]
pub struct CapabilitiesService {
    answer: ServerCapabilities,
}

impl CapabilitiesService {
    pub(super) fn new(backend: &Backend) -> Self {
        let functions: Vec<i32> =
            DigestFunction::ALL.into_iter().map(|f| Function::from(f).into()).collect();
        let zstd = vec![compressor::Value::Zstd.into()];
        // Bazel refuses priorities outside of what is announced.
        let priorities = PriorityCapabilities {
            priorities: vec![PriorityRange { min_priority: -1000, max_priority: 1000 }],
        };
        let cache = CacheCapabilities {
            digest_functions: functions.clone(),
            action_cache_update_capabilities: Some(ActionCacheUpdateCapabilities {
                update_enabled: backend.update_enabled,
            }),
            cache_priority_capabilities: Some(priorities.clone()),
            max_batch_total_size_bytes: MAX_BATCH.cast_signed(),
            symlink_absolute_path_strategy: AbsoluteSymlinks::Allowed.into(),
            supported_compressors: zstd.clone(),
            supported_batch_update_compressors: zstd,
            max_cas_blob_size_bytes: MAX_BLOB.cast_signed(),
            split_blob_support: true,
            splice_blob_support: true,
            fast_cdc_2020_params: Some(chunks::parameters()),
            rep_max_cdc_params: None,
        };
        let execution = ExecutionCapabilities {
            // Bazel before 6 compares this with ==, so it must name one.
            digest_function: Function::Sha256.into(),
            exec_enabled: backend.exec_enabled,
            execution_priority_capabilities: Some(priorities),
            // What our workers keep: of inputs, and of outputs where the command asks for it.
            supported_node_properties: vec![hands_proto::MTIME.to_owned()],
            digest_functions: functions,
        };
        let answer = ServerCapabilities {
            cache_capabilities: Some(cache),
            execution_capabilities: Some(execution),
            deprecated_api_version: None,
            // Bazel 2 to 4 speak exactly 2.0 and refuse a server whose lowest is above.
            low_api_version: Some(SemVer { major: 2, ..Default::default() }),
            high_api_version: Some(SemVer { major: 2, minor: 12, ..Default::default() }),
        };
        Self { answer }
    }
}

#[tonic::async_trait]
impl Capabilities for CapabilitiesService {
    async fn get_capabilities(
        &self,
        _: Request<GetCapabilitiesRequest>,
    ) -> Result<Response<ServerCapabilities>, Status> {
        Ok(Response::new(self.answer.clone()))
    }
}
