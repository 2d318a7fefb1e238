//! The trees of output directories, all of them in as few requests as it takes.

use std::collections::HashMap;

use bytes::Bytes;
use hands_proto::decode_blob;
use hands_proto::reapi::{OutputDirectory, Tree};
use hands_reapi::BlobError;
use hands_types::{Digest, limits};

use crate::{ClientError, Cluster, JobResult, printable};

/// They, encoded.
pub(super) struct Trees(HashMap<Digest, Bytes>);

pub(super) async fn read<'a>(
    cluster: &Cluster,
    results: impl Iterator<Item = &'a JobResult>,
) -> Result<Trees, ClientError> {
    let directories = results.filter_map(|result| result.result.as_ref());
    let directories: Vec<&OutputDirectory> =
        directories.flat_map(|result| &result.output_directories).collect();
    let digests = directories.iter().map(|directory| digest(cluster, directory));
    let digests: Vec<Digest> = digests.collect::<Result<_, _>>()?;
    let (Some(first), Some(directory)) = (digests.first(), directories.first()) else {
        return Ok(Trees(HashMap::new()));
    };
    let digests = &digests;
    let read = cluster.patiently(|blobs| async move {
        let read = blobs.download_many(digests.iter().copied()).await;
        read.map_err(|error| cluster.blob_failed(&name(directory), *first, error))
    });
    read.await.map(Trees)
}

impl Trees {
    pub(super) fn of(
        &self,
        cluster: &Cluster,
        directory: &OutputDirectory,
    ) -> Result<Tree, ClientError> {
        let digest = digest(cluster, directory)?;
        if digest.is_empty() {
            return Ok(Tree::default());
        }
        let bytes = self.0.get(&digest).ok_or_else(|| {
            let missing = BlobError::Missing(vec![digest]);
            cluster.blob_failed(&name(directory), digest, missing)
        })?;
        let tree = decode_blob::<Tree>(bytes.clone());
        tree.map_err(|error| broken(cluster, directory, &format!("can't be read: {error}")))
    }
}

fn digest(cluster: &Cluster, directory: &OutputDirectory) -> Result<Digest, ClientError> {
    let broken = |why: String| broken(cluster, directory, &why);
    let digest =
        directory.tree_digest.as_ref().ok_or_else(|| broken("has no digest".to_owned()))?;
    let digest = digest.to_digest(cluster.function()).map_err(|e| broken(format!("has a {e}")))?;
    if digest.size > limits::MAX_PROTO_BLOB {
        return Err(broken(format!("is larger than {} bytes", limits::MAX_PROTO_BLOB)));
    }
    Ok(digest)
}

fn broken(cluster: &Cluster, directory: &OutputDirectory, why: &str) -> ClientError {
    let why = format!("{} {why}", name(directory));
    ClientError::Protocol { peer: cluster.peer().to_owned(), why }
}

fn name(directory: &OutputDirectory) -> String {
    format!("the tree of the output `{}`", printable(&directory.path))
}
