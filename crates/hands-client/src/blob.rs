//! One blob or log stream, read from the cluster.

use bytes::Bytes;
use hands_proto::bytestream::ReadRequest;
use hands_proto::bytestream::byte_stream_client::ByteStreamClient;
use hands_proto::{Shaped, decode_blob, reapi};
use hands_types::{Digest, limits};
use prost::Message;
use tonic::{Code, Streaming};

use crate::job::JobStream;
use crate::{ClientError, Cluster, JobResult};

/// Reads one blob, checking it against its digest.
pub(crate) struct BlobReader {
    stream: Option<Streaming<hands_proto::bytestream::ReadResponse>>,
    hasher: Option<hands_tree::Hasher>,
    digest: Digest,
    peer: String,
    what: String,
}

impl BlobReader {
    pub(crate) async fn open(
        cluster: &Cluster,
        digest: Digest,
        what: String,
    ) -> Result<Self, ClientError> {
        let stream = if digest.is_empty() {
            None
        } else {
            let name = blob_name(cluster.instance(), &digest);
            Some(read_stream(cluster, name, 0).await.map_err(|status| match status.code() {
                Code::NotFound => ClientError::MissingBlob {
                    peer: cluster.peer().to_owned(),
                    what: what.clone(),
                    digest,
                },
                _ => ClientError::rpc("a read", cluster.peer(), &status),
            })?)
        };
        let hasher = Some(hands_tree::Hasher::new(digest.function));
        Ok(Self { stream, hasher, digest, peer: cluster.peer().to_owned(), what })
    }

    /// The next piece; none after the last, when the whole was what the digest says.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        let Some(stream) = &mut self.stream else { return Ok(None) };
        let piece = stream.message().await.map_err(|status| match status.code() {
            Code::NotFound => ClientError::MissingBlob {
                peer: self.peer.clone(),
                what: self.what.clone(),
                digest: self.digest,
            },
            _ => ClientError::rpc("a read", &self.peer, &status),
        })?;
        match (piece, &mut self.hasher) {
            (Some(piece), Some(hasher)) => {
                hasher.update(&piece.data);
                // Before a disk is full of it.
                if hasher.size() > self.digest.size {
                    return Err(ClientError::Protocol {
                        peer: self.peer.clone(),
                        why: format!(
                            "{} is longer than its digest {} says",
                            self.what, self.digest
                        ),
                    });
                }
                Ok(Some(piece.data))
            }
            (Some(_), None) | (None, None) => Ok(None),
            (None, Some(_)) => {
                let hasher = self.hasher.take().expect("matched above");
                if hasher.finish() == self.digest {
                    return Ok(None);
                }
                Err(ClientError::Protocol {
                    peer: self.peer.clone(),
                    why: format!("{} is not what its digest {} says", self.what, self.digest),
                })
            }
        }
    }

    pub(crate) async fn read_all(mut self) -> Result<Bytes, ClientError> {
        let mut all = Vec::new();
        while let Some(piece) = self.next().await? {
            if all.is_empty() && u64::try_from(piece.len()) == Ok(self.digest.size) {
                // The usual case is one piece: kept as it is, when nothing follows.
                return self.next().await.map(|_| piece);
            }
            all.extend_from_slice(&piece);
        }
        Ok(all.into())
    }
}

/// Opens a read of a blob or a log stream.
pub(crate) async fn read_stream(
    cluster: &Cluster,
    resource_name: String,
    offset: u64,
) -> Result<Streaming<hands_proto::bytestream::ReadResponse>, tonic::Status> {
    let mut client =
        ByteStreamClient::new(cluster.channel()).max_decoding_message_size(limits::MAX_MESSAGE);
    let read_offset = i64::try_from(offset).map_err(|_| tonic::Status::out_of_range("offset"))?;
    let request = ReadRequest { resource_name, read_offset, read_limit: 0 };
    Ok(client.read(cluster.request(request)).await?.into_inner())
}

/// REAPI's resource name of a blob. `Digest` prints itself as these names want it.
pub(crate) fn blob_name(instance: &str, digest: &Digest) -> String {
    if instance.is_empty() {
        format!("blobs/{digest}")
    } else {
        format!("{instance}/blobs/{digest}")
    }
}

impl Cluster {
    /// The outputs that an action declares, as it names them. None where its messages are not in the store any more.
    pub async fn declared_outputs(&self, action: Digest) -> Result<Vec<String>, ClientError> {
        let Some(action) = self.message::<reapi::Action>(action, "the action").await? else {
            return Ok(Vec::new());
        };
        let command = action.command_digest.unwrap_or_default();
        let command = command.to_digest(self.function()).map_err(|e| ClientError::Protocol {
            peer: self.peer().to_owned(),
            why: format!("the action's command has a {e}"),
        })?;
        let command = self.message::<reapi::Command>(command, "the command").await?;
        let command = command.unwrap_or_default();
        Ok(if command.output_paths.is_empty() {
            // Clients of versions before 2.1 tell files from directories.
            [command.output_files, command.output_directories].concat()
        } else {
            command.output_paths
        })
    }

    /// A blob that holds one message; none if it is not there.
    async fn message<M: Message + Shaped + Default>(
        &self,
        digest: Digest,
        what: &str,
    ) -> Result<Option<M>, ClientError> {
        let read =
            async { BlobReader::open(self, digest, what.to_owned()).await?.read_all().await };
        match read.await {
            Ok(bytes) => decode_blob(bytes).map(Some).map_err(|e| ClientError::Protocol {
                peer: self.peer().to_owned(),
                why: format!("{what} can't be read: {e}"),
            }),
            Err(ClientError::MissingBlob { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// One stream of a result as a whole: what came with it, or read from the store.
    pub async fn stream_of(
        &self,
        result: &JobResult,
        stream: JobStream,
    ) -> Result<Bytes, ClientError> {
        let Some(result) = &result.result else { return Ok(Bytes::new()) };
        let (raw, digest, what) = match stream {
            JobStream::Stdout => (&result.stdout_raw, &result.stdout_digest, "stdout"),
            JobStream::Stderr => (&result.stderr_raw, &result.stderr_digest, "stderr"),
        };
        let Some(digest) = digest.as_ref() else { return Ok(raw.clone()) };
        let digest = digest.to_digest(self.function()).map_err(|e| ClientError::Protocol {
            peer: self.peer().to_owned(),
            why: format!("{what} has a {e}"),
        })?;
        if u64::try_from(raw.len()) == Ok(digest.size) {
            return Ok(raw.clone());
        }
        BlobReader::open(self, digest, what.to_owned()).await?.read_all().await
    }
}
