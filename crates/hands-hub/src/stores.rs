//! `hands.v1.Stores`: what an operator asks about this hub's blob store.

use std::ops::ControlFlow;
use std::sync::Arc;

use hands_proto::v1;
use hands_proto::v1::stores_server::Stores;
use hands_reapi::store_status;
use hands_store::{Store, Verified};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use crate::shared::Shared;

/// The service.
#[derive(Clone, Debug)]
pub(crate) struct StoresService(pub(crate) Arc<Shared>);

/// Corrupt blobs named in one message.
const NAMED: usize = 1000;

#[tonic::async_trait]
impl Stores for StoresService {
    async fn usage(
        &self,
        _: Request<v1::StoreUsageRequest>,
    ) -> Result<Response<v1::StoreUsage>, Status> {
        Ok(Response::new(store_usage(&self.0.store)))
    }

    async fn collect(
        &self,
        _: Request<v1::CollectStoreRequest>,
    ) -> Result<Response<v1::StoreUsage>, Status> {
        let store = self.0.store.clone();
        let collected =
            crate::task::blocking(move || store.gc().map(|_after| store_usage(&store))).await?;
        collected.map(Response::new).map_err(|e| store_status(&e))
    }

    type VerifyStream = ReceiverStream<Result<v1::VerifyStoreReply, Status>>;

    async fn verify(
        &self,
        _: Request<v1::VerifyStoreRequest>,
    ) -> Result<Response<Self::VerifyStream>, Status> {
        let store = self.0.store.clone();
        let (replies, stream) = mpsc::channel(2);
        crate::task::spawn("verify-store", async move {
            let to = replies.clone();
            let verifying = crate::task::blocking(move || verify(&store, &to)).await;
            if let Err(status) = verifying
                && replies.send(Err(status)).await.is_err()
            {
                tracing::debug!("who asked to verify the store has gone");
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

/// What a store holds, as the hub tells it.
pub fn store_usage(store: &Store) -> v1::StoreUsage {
    let usage = store.usage();
    v1::StoreUsage {
        directory: store.dir().display().to_string(),
        pack_bytes: usage.pack_bytes,
        file_bytes: usage.file_bytes,
        tree_bytes: usage.tree_bytes,
        temp_bytes: usage.temp_bytes,
        quota: usage.quota,
        pinned: usage.pinned,
        trees: usage.trees,
        corrupt: usage.corrupt,
        grace_s: usage.grace.as_secs(),
    }
}

/// Reads everything and says so, until nobody listens.
fn verify(store: &Store, replies: &mpsc::Sender<Result<v1::VerifyStoreReply, Status>>) {
    let mut named = 0;
    let mut say = |so_far: &Verified, done: bool| {
        let fresh = &so_far.corrupt[named..];
        named = so_far.corrupt.len();
        let mut pieces: Vec<&[_]> = fresh.chunks(NAMED).collect();
        let last = pieces.pop().unwrap_or_default();
        let reply = |corrupt: &[hands_types::Digest], done| v1::VerifyStoreReply {
            blobs: so_far.blobs,
            bytes: so_far.bytes,
            corrupt: corrupt.iter().map(ToString::to_string).collect(),
            done,
        };
        let said = pieces
            .into_iter()
            .map(|piece| reply(piece, false))
            .chain([reply(last, done)])
            .all(|message| replies.blocking_send(Ok(message)).is_ok());
        if said { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    };
    match store.verify(|so_far| say(so_far, false)) {
        Ok(verified) => {
            // Who asked may have gone: then it was not all read, and nobody hears of it.
            let _said = say(&verified, true);
        }
        Err(error) => {
            let _said = replies.blocking_send(Err(store_status(&error)));
        }
    }
}
