//! `hands.v1.Stores`: what an operator asks about this hub's blob store, and the trees that stay in it by their names.

use std::ops::ControlFlow;
use std::sync::Arc;

use hands_proto::v1::stores_server::Stores;
use hands_proto::{Charge, v1};
use hands_reapi::{ROOM_WITHIN, looking, stage_status, store_status};
use hands_store::{NameError, NamedTree, Store, Verified};
use hands_types::text::{cut, printable};
use hands_types::{Digest, TreeName};
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

    async fn names(
        &self,
        request: Request<v1::TreeNamesRequest>,
    ) -> Result<Response<v1::TreeNames>, Status> {
        let names = request.into_inner().names;
        let names: Vec<TreeName> = names.iter().map(|text| name(text)).collect::<Result<_, _>>()?;
        let store = self.0.store.clone();
        let found = crate::task::blocking(move || store.named_trees(&names)).await?;
        let trees = found.map_err(|e| store_status(&e))?.into_iter().map(told).collect();
        Ok(Response::new(v1::TreeNames { trees }))
    }

    async fn pin(
        &self,
        request: Request<v1::PinTreeRequest>,
    ) -> Result<Response<v1::PinTreeReply>, Status> {
        let charge = Charge::of(&request);
        let v1::PinTreeRequest { name: text, tree } = request.into_inner();
        let name = name(&text)?;
        let root: Digest = tree.parse().map_err(|error| {
            Status::invalid_argument(format!("`{}` is {error}", printable(&cut(&tree, 100))))
        })?;
        let store = self.0.store.clone();
        let naming = looking(charge.as_ref(), 0, ROOM_WITHIN, move |room| {
            match store.name_tree_within(&name, &root, room) {
                Err(NameError::Tight(tight)) => Err(tight),
                named => Ok(named),
            }
        });
        let (tree, before) = naming.await?.found.map_err(|error| name_status(&error))?;
        let before = before.map(|root| root.to_string()).unwrap_or_default();
        Ok(Response::new(v1::PinTreeReply { tree: Some(told(tree)), before }))
    }

    async fn unpin(
        &self,
        request: Request<v1::UnpinTreeRequest>,
    ) -> Result<Response<v1::UnpinTreeReply>, Status> {
        let name = name(&request.into_inner().name)?;
        let store = self.0.store.clone();
        let gone = crate::task::blocking(move || store.unname_tree(&name)).await?;
        let tree = gone.map_err(|e| store_status(&e))?.map(told);
        Ok(Response::new(v1::UnpinTreeReply { tree }))
    }
}

fn name(text: &str) -> Result<TreeName, Status> {
    TreeName::new(text).map_err(|error| Status::invalid_argument(error.to_string()))
}

fn told(tree: NamedTree) -> v1::NamedTree {
    v1::NamedTree {
        name: tree.name.to_string(),
        tree: tree.root.to_string(),
        blobs: tree.blobs,
        bytes: tree.bytes,
        since: Some(tree.since.into()),
    }
}

fn name_status(error: &NameError) -> Status {
    match error {
        NameError::Tree(error) => stage_status(error),
        NameError::Missing { .. } => Status::not_found(error.to_string()),
        NameError::Tight(_) | NameError::TooMany | NameError::TooLarge { .. } => {
            Status::invalid_argument(error.to_string())
        }
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
        named: usage.named,
        named_bytes: usage.named_bytes,
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
        let reply = |corrupt: &[Digest], done| v1::VerifyStoreReply {
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
