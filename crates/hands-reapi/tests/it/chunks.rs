//! SplitBlob and SpliceBlob.

use hands_proto::reapi::chunking_function::Value as Chunking;
use hands_proto::reapi::{
    FindMissingBlobsRequest, GetCapabilitiesRequest, SpliceBlobRequest, SplitBlobRequest,
};
use hands_types::Digest;
use tonic::{Code, Status};

use crate::{Hub, SHA, digest, noise};

async fn split(hub: &Hub, blob: Digest) -> Result<Vec<Digest>, Status> {
    let request = SplitBlobRequest { blob_digest: Some(blob.into()), ..Default::default() };
    let reply = hub.cas().split_blob(request).await?.into_inner();
    assert_eq!(reply.chunking_function(), Chunking::FastCdc2020);
    Ok(reply.chunk_digests.iter().map(|piece| piece.to_digest(SHA).unwrap()).collect())
}

async fn splice(hub: &Hub, blob: Digest, pieces: &[Digest]) -> Result<(), Status> {
    let request = SpliceBlobRequest {
        blob_digest: Some(blob.into()),
        chunk_digests: pieces.iter().map(Into::into).collect(),
        chunking_function: Chunking::FastCdc2020.into(),
        ..Default::default()
    };
    let reply = hub.cas().splice_blob(request).await?.into_inner();
    assert_eq!(reply.blob_digest, Some(blob.into()));
    Ok(())
}

#[tokio::test]
async fn a_blob_is_cut_where_its_content_says() {
    let hub = Hub::start().await;
    let said = hub.capabilities().get_capabilities(GetCapabilitiesRequest::default()).await;
    let said = said.unwrap().into_inner().cache_capabilities.unwrap();
    assert!(said.split_blob_support && said.splice_blob_support);
    let parameters = said.fast_cdc_2020_params.unwrap();
    assert_eq!((parameters.avg_chunk_size_bytes, parameters.seed), (512 << 10, 0));

    let content = noise(7, 8 << 20);
    let before = split(&hub, hub.put(&content)).await.unwrap();
    // Clients cut for themselves and look for the same pieces: the borders may never move.
    let sizes: Vec<u64> = before.iter().map(|piece| piece.size).collect();
    let fixed = [
        684399, 623357, 487773, 598780, 187885, 755398, 236612, 634934, 552850, 1406610, 537245,
        636355, 532929, 513481,
    ];
    assert_eq!(sizes, fixed);
    let mut again = Vec::new();
    for piece in &before {
        again.extend_from_slice(&hub.store.read(piece).unwrap().unwrap());
    }
    assert!(again == content);

    let mut changed = content;
    changed.splice(3_000_000..3_000_000, *b"some more");
    let after = split(&hub, hub.put(&changed)).await.unwrap();
    let new = after.iter().filter(|piece| !before.contains(piece)).count();
    assert!((1..=2).contains(&new), "{new} of {} pieces are new", after.len());

    let small = hub.put(b"small");
    assert_eq!(split(&hub, small).await.unwrap(), [small]);
    let unknown = split(&hub, digest(b"unknown")).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    let request = SplitBlobRequest {
        blob_digest: Some(small.into()),
        chunking_function: Chunking::RepMaxCdc.into(),
        ..Default::default()
    };
    let other = hub.cas().split_blob(request).await.unwrap_err();
    assert_eq!(other.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn pieces_become_the_blob_that_they_are_and_no_other() {
    let hub = Hub::start().await;
    let content = noise(8, 3 << 20);
    let blob = digest(&content);
    let pieces: Vec<Digest> = content.chunks(1 << 20).map(|piece| hub.put(piece)).collect();
    let [a, b, c] = pieces[..] else { panic!("{pieces:?}") };
    let absent = digest(&noise(9, 1 << 20));
    for (wrong, code) in [
        (vec![b, a, c], Code::InvalidArgument),
        (vec![a, b], Code::InvalidArgument),
        (vec![a, b, c, c], Code::InvalidArgument),
        (vec![], Code::InvalidArgument),
        (vec![a, absent, c], Code::NotFound),
    ] {
        let refused = splice(&hub, blob, &wrong).await.unwrap_err();
        assert_eq!(refused.code(), code, "{wrong:?}: {refused:?}");
        assert!(!hub.store.contains(&blob).unwrap(), "{wrong:?}");
    }
    let missing = splice(&hub, blob, &[a, absent, c]).await.unwrap_err();
    assert!(missing.message().contains(&absent.to_string()), "{missing:?}");
    splice(&hub, blob, &pieces).await.unwrap();
    assert!(hub.store.read(&blob).unwrap().unwrap() == content);
    // It is here: what it is made of does not matter any more.
    hub.store.delete(&b).unwrap();
    let request =
        FindMissingBlobsRequest { blob_digests: vec![blob.into(), b.into()], ..Default::default() };
    let missing = hub.cas().find_missing_blobs(request).await.unwrap().into_inner();
    assert_eq!(missing.missing_blob_digests, [b.into()], "whoever has pieces has the whole");
    splice(&hub, blob, &pieces).await.unwrap();
    splice(&hub, digest(b""), &[]).await.unwrap();
}
