//! Uploads of Actions and Commands. While one batch is under way, what others want to upload gathers for the next: so
//! a thousand submissions at once cost a few requests, and a single one waits for nobody.

use std::collections::HashSet;
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use hands_reapi::{Blob, BlobClient, BlobError, Source};
use hands_types::{Digest, limits};
use tokio::sync::oneshot;
use tonic::{Code, Status};

/// Digests that this connection is known to have uploaded; forgotten as a whole when there are too many.
const KNOWN: usize = 4096;

#[derive(Debug)]
pub(crate) struct Uploader {
    client: BlobClient,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    queue: Vec<Wanted>,
    running: bool,
    known: HashSet<Digest>,
}

#[derive(Debug)]
struct Wanted {
    blobs: Vec<(Digest, Bytes)>,
    done: oneshot::Sender<Result<(), Status>>,
}

impl Uploader {
    pub(crate) fn new(client: BlobClient) -> Self {
        Self { client, state: Mutex::default() }
    }

    /// Returns when all of these are in the store. One that was uploaded over this connection before is not sent again
    /// unless it was [`Uploader::forget`]ten.
    pub(crate) async fn upload(
        self: &Arc<Self>,
        mut blobs: Vec<(Digest, Bytes)>,
    ) -> Result<(), Status> {
        let (done, answer) = oneshot::channel();
        {
            let mut state = self.lock();
            blobs.retain(|(digest, _)| !digest.is_empty() && !state.known.contains(digest));
            if blobs.is_empty() {
                return Ok(());
            }
            state.queue.push(Wanted { blobs, done });
            if !mem::replace(&mut state.running, true) {
                drop(tokio::spawn(Arc::clone(self).run()));
            }
        }
        answer.await.unwrap_or_else(|_| Err(Status::unavailable("the upload was given up")))
    }

    /// The store says that it has not got these: the next upload sends them again.
    pub(crate) fn forget(&self, digests: &[Digest]) {
        let mut state = self.lock();
        for digest in digests {
            state.known.remove(digest);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn run(self: Arc<Self>) {
        loop {
            let (wave, requests) = {
                let mut state = self.lock();
                let wave = take_wave(&mut state.queue);
                if wave.is_empty() {
                    state.running = false;
                    return;
                }
                let mut seen = HashSet::new();
                let blobs: Vec<(Digest, Bytes)> = wave
                    .iter()
                    .flat_map(|w| &w.blobs)
                    .filter(|(digest, _)| !state.known.contains(digest) && seen.insert(*digest))
                    .cloned()
                    .collect();
                (wave, blobs)
            };
            let result = self.send(&requests).await;
            let is_shared = wave.len() > 1;
            for Wanted { blobs, done } in wave {
                let result = match &result {
                    // One that is refused is no reason to refuse those beside it.
                    Err(refused) if is_shared && is_of_one(refused) => self.send(&blobs).await,
                    result => result.clone(),
                };
                // Whoever has given up does not hear it.
                drop(done.send(result));
            }
        }
    }

    async fn send(&self, blobs: &[(Digest, Bytes)]) -> Result<(), Status> {
        let sent = blobs.iter().map(|(digest, bytes)| {
            let source = Source::Bytes(bytes.clone());
            Blob { digest: *digest, source }
        });
        self.client.upload(sent.collect()).await.map_err(|error| status_of(&error))?;
        let mut state = self.lock();
        if state.known.len() + blobs.len() > KNOWN {
            state.known.clear();
        }
        state.known.extend(blobs.iter().map(|(digest, _)| *digest));
        Ok(())
    }
}

/// Whether an error may be that of one blob, and not of a connection or an engine that can't take any now.
fn is_of_one(status: &Status) -> bool {
    let is_of_all = std::error::Error::source(status).is_some()
        || status.code() == Code::Unavailable
        || hands_reapi::passes(status);
    !is_of_all
}

/// What each of those hears who wait for an upload.
fn status_of(error: &BlobError) -> Status {
    match error {
        BlobError::Rpc { source, .. } => source.status().clone(),
        BlobError::TooLarge { .. } => Status::invalid_argument(error.to_string()),
        BlobError::Interrupted => Status::unavailable(error.to_string()),
        _ => Status::failed_precondition(error.to_string()),
    }
}

/// Takes from the front what fits into one batch, and at least one.
fn take_wave(queue: &mut Vec<Wanted>) -> Vec<Wanted> {
    let mut bytes = 0;
    let fits = queue
        .iter()
        .take_while(|wanted| {
            // Around each blob stands its digest: 64 characters and some.
            bytes += wanted.blobs.iter().map(|(d, _)| d.size + 100).sum::<u64>();
            bytes <= limits::MAX_BATCH
        })
        .count();
    let take = fits.max(1).min(queue.len());
    queue.drain(..take).collect()
}
