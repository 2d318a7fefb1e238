//! Many small files in one answer.

use std::collections::BTreeMap;

use bytes::Bytes;
use hands_proto::reapi::BatchReadBlobsRequest;
use hands_proto::reapi::content_addressable_storage_client::ContentAddressableStorageClient;
use hands_proto::reapi::digest_function::Value;
use hands_types::{Digest, limits};
use tonic::Code;

use super::File;
use crate::{ClientError, Cluster};

/// A larger file comes as a stream of its own.
pub(super) const LARGEST: u64 = 64 << 10;
/// Bytes in one answer; well below what every gRPC library decodes.
pub(super) const BYTES: u64 = 1 << 20;
/// Files in one answer.
pub(super) const FILES: usize = 500;

/// Brings these files' contents; those that the store has not got are left out. Nothing is verified yet.
pub(super) async fn read(
    cluster: &Cluster,
    files: &[(&str, &File)],
) -> Result<BTreeMap<Digest, Bytes>, ClientError> {
    let mut digests: Vec<Digest> = files.iter().map(|(_, file)| file.digest).collect();
    digests.sort_unstable();
    digests.dedup();
    let request = BatchReadBlobsRequest {
        instance_name: cluster.instance().to_owned(),
        digests: digests.iter().map(Into::into).collect(),
        acceptable_compressors: Vec::new(),
        digest_function: Value::from(cluster.function()).into(),
    };
    let mut client = ContentAddressableStorageClient::new(cluster.channel())
        .max_decoding_message_size(limits::MAX_MESSAGE);
    let what = "the request for outputs";
    let reply = cluster.answer(what, client.batch_read_blobs(cluster.request(request)).await)?;
    let mut contents = BTreeMap::new();
    for response in reply.responses {
        let status = response.status.unwrap_or_default();
        match Code::from(status.code) {
            Code::Ok => {}
            Code::NotFound => continue,
            code => {
                let status = tonic::Status::new(code, status.message);
                return Err(ClientError::rpc(what, cluster.peer(), &status));
            }
        }
        let digest = response.digest.as_ref().map(|d| d.to_digest(cluster.function()));
        if let Some(Ok(digest)) = digest {
            contents.insert(digest, response.data);
        }
    }
    Ok(contents)
}
