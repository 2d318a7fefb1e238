//! How long a transfer is waited for that was lost.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use hands_proto::bytestream::ReadResponse;
use hands_types::DigestFunction;
use tonic::Status;

use crate::fake::{Engine, Script, these};

/// Too large for a batch.
const SIZE: usize = 8 << 20;

#[tokio::test]
async fn a_long_transfer_that_is_lost_is_waited_for_as_long_as_a_short_one() {
    let content = Bytes::from(vec![7; SIZE]);
    let digest = hands_tree::hash(DigestFunction::Sha256, &content);
    let whole = content.clone();
    let patience = Duration::from_secs(1);
    let read = Box::new(move |n, _| {
        let piece = |data: Bytes| Ok(ReadResponse { data });
        let away = || Err(Status::unavailable("it is started again"));
        match n {
            // Longer under way than anybody would wait for it.
            0 => {
                let end = async move {
                    tokio::time::sleep(patience * 3 / 2).await;
                    away()
                };
                Ok(these([piece(whole.slice(..9))]).chain(stream::once(end)).boxed())
            }
            1..4 => Err(Status::unavailable("it is started again")),
            _ => Ok(these((0..SIZE >> 20).map(|n| piece(whole.slice(n << 20..(n + 1) << 20))))),
        }
    });
    let engine = Engine::start(Script { read, ..Script::default() }).await;
    let cluster = &engine.cluster;
    let read = cluster.patiently_for(patience, |blobs| async move {
        let read = blobs.download(&digest).await;
        read.map_err(|error| cluster.blob_failed("a blob", digest, error))
    });
    assert_eq!(read.await.unwrap(), content);
}

#[tokio::test]
async fn what_stays_away_is_given_up() {
    let engine = Engine::start(Script {
        read: Box::new(|_, _| Err(Status::unavailable("it is away"))),
        ..Script::default()
    });
    let engine = engine.await;
    let digest = hands_tree::hash(DigestFunction::Sha256, &vec![7; SIZE]);
    let cluster = &engine.cluster;
    let read = cluster.patiently_for(Duration::from_secs(1), |blobs| async move {
        let read = blobs.download(&digest).await;
        read.map_err(|error| cluster.blob_failed("a blob", digest, error))
    });
    let error = read.await.unwrap_err().to_string();
    assert!(error.contains("for 1 s that it can't"), "{error}");
}
