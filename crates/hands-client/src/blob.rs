//! Blobs of the cluster's: what an action declares, and what it wrote.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use hands_proto::{Shaped, decode_blob, reapi};
use hands_reapi::{BlobClient, BlobError};
use hands_types::{Digest, limits};
use prost::Message;

use crate::JobStream;
use crate::retry::Backoff;
use crate::{ClientError, Cluster, JobResult, agent, printable};

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
        match self.read_blob(digest, what).await {
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
        self.read_patiently(digest, what).await
    }

    /// As [`Cluster::read_blob`], and waits for a while for a hub that is away.
    pub(crate) async fn read_patiently(
        &self,
        digest: Digest,
        what: &str,
    ) -> Result<Bytes, ClientError> {
        self.patiently(|blobs| async move {
            let read = blobs.download(&digest).await;
            read.map_err(|error| self.blob_failed(what, digest, error))
        })
        .await
    }

    /// Moves blobs, and again for a while where the hub is away, which changes nothing. The while begins when nothing comes any
    /// more: a transfer of minutes that is lost has waited for nobody.
    pub(crate) async fn patiently<T, F: Future<Output = Result<T, ClientError>>>(
        &self,
        moving: impl FnMut(BlobClient) -> F,
    ) -> Result<T, ClientError> {
        self.patiently_for(limits::ORPHAN, moving).await
    }

    pub(crate) async fn patiently_for<T, F: Future<Output = Result<T, ClientError>>>(
        &self,
        patience: Duration,
        mut moving: impl FnMut(BlobClient) -> F,
    ) -> Result<T, ClientError> {
        let (blobs, received) = self.blobs().counting();
        // A try begins anew, so that only one which comes further than all before it has moved anything.
        let (mut waits, mut farthest) = (None, 0);
        loop {
            let error = match moving(blobs.clone()).await {
                Ok(moved) => return Ok(moved),
                Err(error) if error.is_lost_connection() => error,
                Err(error) => return Err(error),
            };
            let got = received.swap(0, Ordering::Relaxed);
            if got > farthest {
                (waits, farthest) = (None, got);
            }
            let backoff = waits.get_or_insert_with(|| Backoff::new(Some(patience)));
            backoff.pause(self.contact(), self.peer(), &error).await?;
            // An agent that has ended is nobody's to start but ours.
            if let Some(spec) = self.embedded_agent() {
                agent::ensure(spec, &mut |_| {}).await?;
            }
        }
    }

    /// A whole blob in memory.
    pub(crate) async fn read_blob(&self, digest: Digest, what: &str) -> Result<Bytes, ClientError> {
        let read = self.blobs().download(&digest).await;
        read.map_err(|error| self.blob_failed(what, digest, error))
    }

    /// Why a blob could not be read.
    pub(crate) fn blob_failed(&self, what: &str, digest: Digest, error: BlobError) -> ClientError {
        let peer = self.peer().to_owned();
        match error {
            BlobError::Missing(_) => {
                ClientError::MissingBlob { peer, what: what.to_owned(), digest }
            }
            BlobError::Corrupt { .. } => {
                let why = format!("{what} is not what its digest {digest} says");
                ClientError::Protocol { peer, why }
            }
            BlobError::Rpc { source, .. } => self.failed("a read", source.status()),
            BlobError::File { path, source, .. } => {
                ClientError::Write { path: printable(&path.to_string_lossy()).into_owned(), source }
            }
            BlobError::Unsupported(_) | BlobError::Protocol(_) | BlobError::Directory { .. } => {
                let why = format!("{what} can't be read: {error}");
                ClientError::Protocol { peer, why }
            }
            BlobError::Changed { .. }
            | BlobError::TooLarge { .. }
            | BlobError::Store(_)
            | BlobError::Interrupted => ClientError::Transfer {
                what: what.to_owned(),
                peer,
                class: error.class(),
                message: error.to_string(),
            },
        }
    }
}

#[cfg(test)]
mod tests;
