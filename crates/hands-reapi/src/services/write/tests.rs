use hands_store::StoreConfig;
use hands_types::DigestFunction;

use super::*;

/// Zeros of which a few bytes come, that are not so many that they are doubted.
#[tokio::test]
async fn what_few_bytes_stand_for_is_not_written_once_nobody_waits() {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(StoreConfig::new(home.path().join("store"))).unwrap();
    let zeros = vec![0; 8 << 20];
    let digest = hands_tree::hash(DigestFunction::Sha256, &zeros);
    let name = UploadName::parse(&format!(
        "uploads/2f0b4a2e-5d2a-4c0e-9a37-6f0f3ad0c001/compressed-blobs/zstd/{digest}"
    ))
    .unwrap();
    let packed = Bytes::from(zstd::bulk::compress(&zeros, 3).unwrap());
    let sink = || {
        let writer = store.upload(digest).unwrap();
        Sink::new(store.clone(), writer, &name, None, Wanted::default()).unwrap()
    };
    // The stream breaks.
    let mut broken = sink();
    broken.push(packed.clone()).await.unwrap();
    assert_eq!(broken.stop().await.unwrap().writer.written(), 0);
    // The client leaves while it is written.
    let mut left = sink();
    left.push(packed.clone()).await.unwrap();
    left.wanted.end();
    let work = left.finish().await.unwrap();
    assert!(work.is_cut);
    assert_eq!(work.writer.written(), 0);
    // The same with a client.
    let mut whole = sink();
    whole.push(packed).await.unwrap();
    let work = whole.finish().await.unwrap();
    assert!(!work.is_cut);
    work.commit().unwrap();
    assert!(store.contains(&digest).unwrap());
}
