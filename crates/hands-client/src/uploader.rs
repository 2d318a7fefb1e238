//! Uploads of Actions and Commands. While one batch is under way, what others want to upload gathers for the next: so
//! a thousand submissions at once cost a few requests, and a single one waits for nobody.

use std::collections::HashSet;
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use hands_proto::reapi::content_addressable_storage_client::ContentAddressableStorageClient;
use hands_proto::reapi::{BatchUpdateBlobsRequest, batch_update_blobs_request};
use hands_reapi::Channel;
use hands_types::{Digest, limits};
use tokio::sync::oneshot;
use tonic::{Code, Status};

/// Digests that this connection is known to have uploaded; forgotten as a whole when there are too many.
const KNOWN: usize = 4096;

#[derive(Debug)]
pub(crate) struct Uploader {
    channel: Channel,
    instance: String,
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
    pub(crate) fn new(channel: Channel, instance: String) -> Self {
        Self { channel, instance, state: Mutex::default() }
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
            if result.is_ok() {
                let mut state = self.lock();
                if state.known.len() + requests.len() > KNOWN {
                    state.known.clear();
                }
                state.known.extend(requests.iter().map(|(digest, _)| *digest));
            }
            for wanted in wave {
                // Whoever has given up does not hear it.
                drop(wanted.done.send(result.clone()));
            }
        }
    }

    async fn send(&self, blobs: &[(Digest, Bytes)]) -> Result<(), Status> {
        let Some((first, _)) = blobs.first() else { return Ok(()) };
        let request = BatchUpdateBlobsRequest {
            instance_name: self.instance.clone(),
            requests: blobs
                .iter()
                .map(|(digest, data)| batch_update_blobs_request::Request {
                    digest: Some(digest.into()),
                    data: data.clone(),
                    compressor: 0,
                })
                .collect(),
            digest_function: hands_proto::reapi::digest_function::Value::from(first.function)
                .into(),
        };
        let mut client = ContentAddressableStorageClient::new(self.channel.clone())
            .max_encoding_message_size(limits::MAX_MESSAGE)
            .max_decoding_message_size(limits::MAX_MESSAGE);
        let reply = client.batch_update_blobs(request).await?.into_inner();
        match reply.responses.into_iter().filter_map(|r| r.status).find(|s| s.code != 0) {
            Some(status) => Err(Status::new(Code::from(status.code), status.message)),
            None => Ok(()),
        }
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
