//! The member that means well: one action after another, and blobs that must stay.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use hands_link::Address;
use hands_proto::reapi::content_addressable_storage_client::ContentAddressableStorageClient;
use hands_proto::reapi::{self, BatchReadBlobsRequest};
use hands_types::Digest;
use tonic::transport::Channel;

use super::{Measured, TAG};
use crate::wire::Client;

/// Between two actions: a person's build is not all that a hub has to do.
const PAUSE: Duration = Duration::from_millis(5);
/// Of each so many actions one leaves a blob that is read at the end.
const EACH: usize = 20;

pub(super) struct Honest {
    client: Client,
    blobs: ContentAddressableStorageClient<Channel>,
    left: Vec<Digest>,
}

/// What was still there at the end.
pub(super) struct Kept {
    pub(super) blobs: usize,
    pub(super) lost: usize,
}

impl Honest {
    pub(super) fn new(address: &Address) -> Self {
        let channel = hands_link::connect(address);
        let mut client = Client::new(channel.clone(), 0);
        client.of_invocation("honest");
        client.with_tag(TAG);
        Self { client, blobs: ContentAddressableStorageClient::new(channel), left: Vec::new() }
    }

    pub(super) async fn warm(&mut self) -> Result<()> {
        for _ in 0..100 {
            self.client.noop().await?;
        }
        Ok(())
    }

    /// Actions one after another for this long.
    pub(super) async fn measure(&mut self, length: Duration) -> Result<Measured> {
        let start = Instant::now();
        let mut measured = Measured::default();
        while start.elapsed() < length {
            let begun = Instant::now();
            match self.client.stages().await {
                Ok(stages) => {
                    measured.times.push(begun.elapsed());
                    measured.stages.push(stages);
                }
                Err(error) => measured.errors.push(error),
            }
            measured.actions += 1;
            if measured.actions.is_multiple_of(EACH) {
                self.left.push(self.client.action());
            }
            tokio::time::sleep(PAUSE).await;
        }
        Ok(measured)
    }

    /// Reads what it left.
    pub(super) async fn kept(&mut self) -> Result<Kept> {
        let mut lost = 0;
        for some in self.left.chunks(500) {
            let digests: Vec<reapi::Digest> = some.iter().map(reapi::Digest::from).collect();
            let request = BatchReadBlobsRequest { digests, ..Default::default() };
            let answer = self.blobs.batch_read_blobs(request).await?.into_inner();
            ensure!(answer.responses.len() == some.len(), "answers are missing");
            let is_lost = |response: &reapi::batch_read_blobs_response::Response| {
                response.status.as_ref().is_some_and(|status| status.code != 0)
            };
            lost += answer.responses.iter().filter(|response| is_lost(response)).count();
        }
        Ok(Kept { blobs: self.left.len(), lost })
    }
}
