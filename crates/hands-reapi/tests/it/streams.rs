use bytes::Bytes;
use hands_link::Address;
use hands_proto::bytestream::{QueryWriteStatusRequest, ReadRequest, WriteRequest};
use hands_store::{Store, StoreConfig};
use hands_types::{Digest, DigestFunction};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

use crate::{Hub, assert_code, digest, noise, whole};

const UUID: &str = "2f0b4a2e-5d2a-4c0e-9a37-6f0f3ad0c001";

fn upload(digest: &Digest) -> String {
    format!("uploads/{UUID}/blobs/{digest}")
}

/// A blob in pieces of a given length.
fn pieces(name: &str, data: &[u8], len: usize, from: usize) -> Vec<WriteRequest> {
    let mut at = from;
    let mut out = Vec::new();
    while at < data.len() {
        let end = (at + len).min(data.len());
        out.push(WriteRequest {
            resource_name: if at == from { name.to_owned() } else { String::new() },
            write_offset: at as i64,
            finish_write: end == data.len(),
            data: Bytes::copy_from_slice(&data[at..end]),
        });
        at = end;
    }
    out
}

#[tokio::test]
async fn blobs_of_every_size_go_in_and_come_out() {
    for hub in [Hub::start().await, Hub::start_tcp().await] {
        for (seed, len) in
            [1, 1000, 256 << 10, (256 << 10) + 1, 1 << 20, 5_000_001].into_iter().enumerate()
        {
            let data = noise(seed as u64 + 1, len);
            let digest = digest(&data);
            for instance in ["", "a", "a/b/c"] {
                let prefix =
                    if instance.is_empty() { String::new() } else { format!("{instance}/") };
                let name = format!("{prefix}{}", upload(&digest));
                let sent = hub.write(pieces(&name, &data, 100_000, 0)).await;
                assert_eq!(sent.unwrap(), len as i64);
                let name = format!("{prefix}blobs/{digest}");
                assert!(hub.read(&name, 0, 0).await.unwrap() == data, "{len} bytes");
            }
            // Part of it.
            let (from, count) = (len / 3, len / 2);
            let end = (from + count).min(len);
            let part =
                hub.read(&format!("blobs/{digest}"), from as i64, count as i64).await.unwrap();
            let expected = if count == 0 { &data[from..] } else { &data[from..end] };
            assert!(part == expected, "{len} bytes from {from}, {count} of them");
            assert_eq!(hub.read(&format!("blobs/{digest}"), len as i64, 0).await.unwrap(), b"");
        }
    }
}

/// As a disk does it: length and times stay, and nothing tells but the content.
#[tokio::test]
async fn a_blob_that_was_spoiled_after_it_was_checked_is_not_given_out() {
    use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
    for compressor in ["blobs", "compressed-blobs/zstd"] {
        let home = tempfile::tempdir().unwrap();
        let (data, address) =
            (noise(7, 9_000_000), Address::Unix(home.path().join("socket/hub.sock")));
        let digest = digest(&data);
        // Of what a process has written itself it knows the time, which a disk does not change. This one is of another process.
        let earlier = Store::open(StoreConfig::new(home.path().join("store"))).unwrap();
        earlier.put(digest, data.clone().into()).unwrap();
        drop(earlier);
        let hub = Hub::start_on(&address, home, |_| {});
        let name = format!("{compressor}/{digest}");
        assert!(!hub.read(&name, 0, 0).await.unwrap().is_empty());
        let path = hub.store.dir().join("blobs/sha256").join(&digest.hex()[..2]).join(digest.hex());
        let before = std::fs::metadata(&path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        file.write_all_at(b"spoiled", 4_000_000).unwrap();
        file.set_times(std::fs::FileTimes::new().set_modified(before.modified().unwrap())).unwrap();
        // The end is held back, so that nobody takes it for a whole blob; then it is gone.
        let mut stream = hub
            .streams()
            .read(ReadRequest { resource_name: name.clone(), ..ReadRequest::default() })
            .await
            .unwrap()
            .into_inner();
        let mut got = 0;
        let status = loop {
            match stream.message().await {
                Ok(Some(piece)) => got += piece.data.len(),
                Ok(None) => panic!("it was served"),
                Err(status) => break status,
            }
        };
        assert_eq!(status.code(), Code::NotFound);
        assert!(got < data.len());
        assert_eq!(hub.store.missing(&[digest]).unwrap(), [digest]);
        assert_eq!(hub.store.usage().corrupt, 1);
        hub.put(&data);
        assert!(!hub.read(&name, 0, 0).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn compressed_blobs_travel_both_ways() {
    let hub = Hub::start().await;
    let text = b"manyhands and more\n".repeat(200_000);
    for data in [text, noise(7, 3 << 20), Vec::new()] {
        let digest = digest(&data);
        let packed = zstd::bulk::compress(&data, 3).unwrap();
        let name = format!("i/uploads/{UUID}/compressed-blobs/zstd/{digest}/some/metadata");
        let messages: Vec<WriteRequest> = pieces(&name, &packed, 70_000, 0);
        let committed = hub.write(messages.clone()).await.unwrap();
        // The empty blob is always there.
        assert_eq!(committed, if data.is_empty() { -1 } else { packed.len() as i64 });
        assert_eq!(hub.write(messages).await.unwrap(), -1, "already there");
        for offset in [0, data.len() / 2, data.len()] {
            let name = format!("i/compressed-blobs/zstd/{digest}");
            let wire = hub.read(&name, offset as i64, 0).await.unwrap();
            // The offset counts uncompressed bytes.
            assert!(zstd::decode_all(wire.as_slice()).unwrap() == data[offset..]);
        }
        assert_code(
            hub.read(&format!("i/compressed-blobs/zstd/{digest}"), 0, 1).await,
            Code::InvalidArgument,
        );
    }
}

#[tokio::test]
async fn a_blob_that_is_there_ends_its_upload_at_once() {
    let hub = Hub::start().await;
    let data = noise(9, 2 << 20);
    let digest = hub.put(&data);
    // The stream stays open: the answer must not wait for the rest of it.
    let (sender, receiver) = mpsc::channel(1);
    let first = WriteRequest {
        resource_name: upload(&digest),
        data: Bytes::from_static(b"whatever"),
        ..Default::default()
    };
    sender.send(first).await.unwrap();
    let reply = hub.streams().write(ReceiverStream::new(receiver)).await.unwrap().into_inner();
    assert_eq!(reply.committed_size, data.len() as i64, "the full size");
    drop(sender);
}

#[tokio::test]
async fn content_that_is_not_what_it_claims_is_refused() {
    let hub = Hub::start().await;
    for len in [10, 3 << 20] {
        let (data, other) = (noise(1, len), noise(2, len));
        let name = upload(&digest(&data));
        assert_code(hub.write(pieces(&name, &other, 1 << 20, 0)).await, Code::InvalidArgument);
        assert_code(
            hub.write(whole(name.clone(), data[1..].to_vec())).await,
            Code::InvalidArgument,
        );
        let longer = [data.as_slice(), b"x"].concat();
        assert_code(hub.write(pieces(&name, &longer, 1 << 20, 0)).await, Code::InvalidArgument);
        assert_code(hub.read(&format!("blobs/{}", digest(&data)), 0, 0).await, Code::NotFound);
        let mut gap = pieces(&name, &data, len / 2, 0);
        gap[1].write_offset += 1;
        assert_code(hub.write(gap).await, Code::InvalidArgument);
        let mut renamed = pieces(&name, &data, len / 2, 0);
        renamed[1].resource_name = upload(&digest(&other));
        assert_code(hub.write(renamed).await, Code::InvalidArgument);
        // Still fine after all that.
        assert_eq!(hub.write(pieces(&name, &data, len / 2, 0)).await.unwrap(), len as i64);
    }
    assert_code(hub.write(vec![]).await, Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bomb_goes_off_at_its_announced_size() {
    let hub = Hub::start().await;
    let bomb = zstd::bulk::compress(&vec![0; 256 << 20], 19).unwrap();
    assert!(bomb.len() < 64 << 10);
    let claimed = Digest { size: 100_000, ..digest(b"bomb") };
    let name = format!("uploads/{UUID}/compressed-blobs/zstd/{claimed}");
    let status = assert_code(hub.write(whole(name, bomb)).await, Code::InvalidArgument);
    assert!(status.message().contains("100000"), "{status:?}");
    // Few bytes that stand for many and claim to be even more: nothing is written before they are looked at.
    let bomb = zstd::bulk::compress(&vec![0; 256 << 20], 19).unwrap();
    let claimed = Digest { size: 1 << 30, ..digest(b"bomb") };
    let name = format!("uploads/{UUID}/compressed-blobs/zstd/{claimed}");
    let (refused, most) = most_unfinished(&hub, whole(name, bomb));
    assert_code(refused, Code::InvalidArgument);
    assert_eq!(most, 0, "bytes were written");
    // A claim alone takes neither memory nor disk.
    let claimed = Digest { size: 1 << 30, ..digest(b"huge") };
    let status =
        assert_code(hub.write(whole(upload(&claimed), b"x".to_vec())).await, Code::InvalidArgument);
    assert!(status.message().contains("1 bytes"), "{status:?}");
    let beyond = Digest { size: 1 << 50, ..digest(b"huge") };
    assert_code(hub.write(whole(upload(&beyond), b"x".to_vec())).await, Code::InvalidArgument);
}

/// Sends an upload, and has the most that its unfinished bytes took on disk meanwhile.
fn most_unfinished(hub: &Hub, messages: Vec<WriteRequest>) -> (Result<i64, Status>, u64) {
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|threads| {
        let watching = threads.spawn(|| {
            let mut most = 0;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                most = most.max(hub.store.usage().temp_bytes);
                std::thread::yield_now();
            }
            most
        });
        let outcome = tokio::runtime::Handle::current();
        let outcome = tokio::task::block_in_place(|| outcome.block_on(hub.write(messages)));
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        (outcome, watching.join().unwrap())
    })
}

/// The check of a bomb that comes whole and is small is no use where it may come in another way.
#[tokio::test(flavor = "multi_thread")]
async fn no_bomb_takes_more_disk_than_its_sender_sent() {
    let hub = Hub::start().await;
    // Too much to be gathered, and too little for what it claims.
    let data = [noise(3, 3 << 20), vec![0; 253 << 20]].concat();
    let sent = zstd::bulk::compress(&data, 3).unwrap();
    let n = sent.len() as u64;
    let claimed = Digest { size: 1 << 30, ..digest(b"bomb") };
    let name = |digest: &Digest| format!("uploads/{UUID}/compressed-blobs/zstd/{digest}");
    let (refused, most) = most_unfinished(&hub, pieces(&name(&claimed), &sent, 1 << 20, 0));
    assert_code(refused, Code::InvalidArgument);
    assert!(most <= n, "{most} of {n}");
    // Without its end.
    let bomb = zstd::bulk::compress(&vec![0; 256 << 20], 19).unwrap();
    for sent in [bomb, sent.clone()] {
        let mut messages = pieces(&name(&claimed), &sent, 1 << 20, 0);
        messages.last_mut().unwrap().finish_write = false;
        let (committed, most) = most_unfinished(&hub, messages);
        assert_eq!(committed.unwrap(), 0);
        assert!(most <= n, "{most} of {n}");
    }
    // What is what it says is taken, and what was kept is gone.
    let digest = digest(&data);
    let (committed, _) = most_unfinished(&hub, pieces(&name(&digest), &sent, 1 << 20, 0));
    assert_eq!(committed.unwrap(), n as i64);
    assert!(hub.read(&format!("blobs/{digest}"), 0, 0).await.unwrap() == data);
    assert_eq!(hub.store.usage().temp_bytes, 0);
}

/// Its other half comes as a stream of its own, of which nobody can tell what it is without the first.
#[tokio::test]
async fn no_bomb_is_the_rest_of_an_upload() {
    let hub = Hub::start().await;
    let claimed = Digest { size: 1 << 30, ..digest(b"bomb") };
    let first = WriteRequest {
        resource_name: upload(&claimed),
        data: Bytes::from_static(b"x"),
        ..Default::default()
    };
    assert_eq!(hub.write(vec![first]).await.unwrap(), 1);
    let rest = WriteRequest {
        resource_name: format!("uploads/{UUID}/compressed-blobs/zstd/{claimed}"),
        write_offset: 1,
        finish_write: true,
        data: zstd::bulk::compress(&vec![0; 32 << 20], 3).unwrap().into(),
    };
    assert_code(hub.write(vec![rest]).await, Code::Aborted);
    let request = QueryWriteStatusRequest { resource_name: upload(&claimed) };
    let status = hub.streams().query_write_status(request).await.unwrap().into_inner();
    assert_eq!(status.committed_size, 0, "it begins anew");
}

#[tokio::test]
async fn a_broken_upload_is_taken_up_where_it_ended() {
    let hub = Hub::start().await;
    let data = noise(11, 4 << 20);
    let digest = digest(&data);
    let name = upload(&digest);
    let query = || async {
        let request = QueryWriteStatusRequest { resource_name: name.clone() };
        let reply = hub.streams().query_write_status(request).await.unwrap().into_inner();
        (reply.committed_size, reply.complete)
    };
    assert_eq!(query().await, (0, false), "of an unknown upload nothing is here");
    // Ends without finish_write: the answer says how far it came.
    let mut first = pieces(&name, &data, 300_000, 0);
    first.truncate(5);
    assert_eq!(hub.write(first).await.unwrap(), 1_500_000);
    assert_eq!(query().await, (1_500_000, false));
    // From elsewhere it does not go on; from there it does.
    let elsewhere = pieces(&name, &data, 300_000, 600_000);
    assert_code(hub.write(elsewhere).await, Code::InvalidArgument);
    let mut second = pieces(&name, &data, 300_000, 1_500_000);
    second.truncate(2);
    assert_eq!(hub.write(second).await.unwrap(), 2_100_000);

    // A stream that its client resets is parked too.
    let (sender, receiver) = mpsc::channel(16);
    for message in pieces(&name, &data, 300_000, 2_100_000).into_iter().take(3) {
        sender.send(message).await.unwrap();
    }
    let mut client = hub.streams();
    let call = tokio::spawn(async move { client.write(ReceiverStream::new(receiver)).await });
    // All three have left the channel, so the server has been sent them or will be.
    while sender.capacity() < 16 {
        tokio::task::yield_now().await;
    }
    // Every moment is right for the break; what is committed is never less than before.
    call.abort();
    let _aborted = call.await;
    let from = loop {
        // Parked when the server has seen the reset; taken out while it still works on the stream.
        match query().await.0 {
            0 => tokio::task::yield_now().await,
            from => break from,
        }
    };
    assert!((2_100_000..=3_000_000).contains(&from), "{from}");
    let rest = pieces(&name, &data, 300_000, usize::try_from(from).unwrap());
    assert_eq!(hub.write(rest).await.unwrap(), data.len() as i64);
    assert_eq!(query().await, (data.len() as i64, true));
    assert!(hub.read(&format!("blobs/{digest}"), 0, 0).await.unwrap() == data);
}

#[tokio::test]
async fn names_are_read_from_the_right_and_bad_ones_are_refused() {
    let hub = Hub::start().await;
    let data = b"named";
    let blake = hands_tree::hash(DigestFunction::Blake3, data);
    hub.write(whole(
        format!("a/b/uploads/{UUID}/blobs/blake3/{}/5/meta/blobs/x", blake.hex()),
        data.as_slice(),
    ))
    .await
    .unwrap();
    assert_eq!(hub.read(&format!("x/y/blobs/blake3/{}/5", blake.hex()), 0, 0).await.unwrap(), data);
    let hash = digest(data).hex();
    hub.put(data);
    for bad in [
        String::new(),
        "blobs".to_owned(),
        format!("blobs/{hash}"),
        format!("blobs/{hash}/-5"),
        format!("blobs/{hash}/5/6"),
        format!("blobs/{}/5", hash.to_uppercase()),
        format!("blobs/md5/{hash}/5"),
        format!("blobs/x/blobs/{hash}/5"),
        format!("compressed-blobs/deflate/{hash}/5"),
        format!("compressed-blobs/{hash}/5"),
    ] {
        assert_code(hub.read(&bad, 0, 0).await, Code::InvalidArgument);
        assert_code(hub.write(whole(bad.clone(), data.as_slice())).await, Code::InvalidArgument);
    }
    let name = format!("blobs/{hash}/5");
    assert_code(hub.read(&name, 6, 0).await, Code::OutOfRange);
    assert_code(hub.read(&name, -1, 0).await, Code::OutOfRange);
    assert_code(hub.read(&name, 0, -1).await, Code::InvalidArgument);
}

#[tokio::test]
async fn logs_are_read_by_name() {
    let hub = Hub::start().await;
    for name in ["logs/01h/stdout", "logs/01h/1/stdout", "a/logs/b/logs/01h/12/stderr"] {
        assert_eq!(hub.read(name, 0, 0).await.unwrap(), name.as_bytes());
        assert_eq!(hub.read(name, 2, 5).await.unwrap(), &name.as_bytes()[2..7]);
    }
    assert_code(hub.read("logs/unknown/stdout", 0, 0).await, Code::NotFound);
    assert_code(hub.read("xlogs/01h/stdout", 0, 0).await, Code::InvalidArgument);
}
