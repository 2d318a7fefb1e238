//! What is sent of a large blob.

use hands_types::DigestFunction;

use super::*;
use crate::codec::tests::noise;

/// Whether it goes as zstd, the names under which such a blob is sent, and the bytes that travel.
fn sent(content: Vec<u8>, zstd: bool) -> (bool, String, Vec<u8>) {
    let digest = hands_tree::hash(DigestFunction::Sha256, &content);
    let blob = Blob { digest, source: Source::Bytes(Bytes::from(content)) };
    let (sender, mut receiver) = mpsc::channel(1000);
    let is_zstd = produce(&blob, "i".to_owned(), zstd, &sender).unwrap();
    drop(sender);
    let (mut name, mut bytes) = (String::new(), Vec::new());
    while let Some(message) = receiver.blocking_recv() {
        name += &message.resource_name;
        bytes.extend_from_slice(&message.data);
    }
    (is_zstd, name, bytes)
}

#[test]
fn only_a_blob_whose_beginning_shrinks_is_sent_as_zstd() {
    let text = b"words that come again, ".repeat(300_000);
    let noise = noise(5 << 20);
    let (zstd, name, bytes) = sent(text.clone(), true);
    assert!(zstd && name.contains("/compressed-blobs/zstd/"), "{name}");
    assert!(zstd::decode_all(&*bytes).unwrap() == text);
    for (content, asked) in [(noise, true), (text, false)] {
        let (zstd, name, bytes) = sent(content.clone(), asked);
        assert!(!zstd && name.contains("/blobs/") && !name.contains("zstd"), "{name}");
        assert!(bytes == content);
    }
}
