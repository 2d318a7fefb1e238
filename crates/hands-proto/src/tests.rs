use hands_types::{Digest, DigestFunction};
use prost::Message as _;

use crate::{
    BadDigest, decode_blob, fields, function_from_proto, longrunning, pack, reapi, unpack, weigh,
};

#[test]
fn a_digest_survives_the_way_there_and_back() {
    let digest = Digest { function: DigestFunction::Blake3, hash: [0xab; 32], size: 12 };
    let sent = reapi::Digest::from(&digest);
    assert_eq!(sent.hash.len(), 64);
    assert_eq!(sent.to_digest(DigestFunction::Blake3), Ok(digest));
}

#[test]
fn a_digest_that_is_none_is_refused() {
    let hash = "ab".repeat(32);
    let bad = [
        reapi::Digest { hash: hash.clone(), size_bytes: -1 },
        reapi::Digest { hash: hash.to_uppercase(), size_bytes: 1 },
        reapi::Digest { hash: "../../etc/passwd".to_owned(), size_bytes: 1 },
        reapi::Digest { hash: "é".repeat(32), size_bytes: 1 },
        reapi::Digest::default(),
    ];
    for digest in bad {
        assert!(
            matches!(digest.to_digest(DigestFunction::Sha256), Err(BadDigest::Malformed { .. })),
            "{digest:?}"
        );
    }
}

#[test]
fn an_unset_digest_function_is_sha256_and_a_foreign_one_is_named() {
    assert_eq!(function_from_proto(0), Ok(DigestFunction::Sha256));
    assert_eq!(function_from_proto(9), Ok(DigestFunction::Blake3));
    assert_eq!(function_from_proto(3), Err(BadDigest::Function("MD5".to_owned())));
    assert_eq!(function_from_proto(99), Err(BadDigest::Function("99".to_owned())));
}

#[test]
fn an_any_opens_only_as_what_it_holds() {
    let metadata = reapi::ExecuteOperationMetadata {
        stage: reapi::execution_stage::Value::Queued.into(),
        ..Default::default()
    };
    let any = pack(&metadata);
    assert_eq!(
        any.type_url,
        "type.googleapis.com/build.bazel.remote.execution.v2.ExecuteOperationMetadata"
    );
    assert_eq!(unpack::<reapi::ExecuteOperationMetadata>(&any).expect("its own type"), metadata);
    unpack::<longrunning::Operation>(&any).expect_err("another type");
    let cut = prost_types::Any { value: vec![0x0a, 0x7f], ..any };
    unpack::<reapi::ExecuteOperationMetadata>(&cut).expect_err("a cut message");
}

/// What a Directory takes beside itself.
fn heap(directory: &reapi::Directory) -> usize {
    let text = |text: &String| text.capacity();
    let digest = |digest: &Option<reapi::Digest>| digest.as_ref().map_or(0, |d| text(&d.hash));
    let properties = |properties: &Option<reapi::NodeProperties>| {
        properties.as_ref().map_or(0, |all| {
            let each = all.properties.iter().map(|one| text(&one.name) + text(&one.value));
            size_of_val(&all.properties[..]) + each.sum::<usize>()
        })
    };
    let files = directory.files.iter();
    let files = files.map(|n| text(&n.name) + digest(&n.digest) + properties(&n.node_properties));
    let links = directory.symlinks.iter().map(|n| text(&n.name) + text(&n.target));
    let below = directory.directories.iter().map(|n| text(&n.name) + digest(&n.digest));
    size_of_val(&directory.files[..])
        + size_of_val(&directory.symlinks[..])
        + size_of_val(&directory.directories[..])
        + files.chain(links).chain(below).sum::<usize>()
}

#[test]
fn a_message_weighs_at_least_what_it_becomes_and_an_honest_one_not_much_more() {
    let digest = reapi::Digest { hash: "ab".repeat(32), size_bytes: 1 << 20 };
    let property = reapi::NodeProperty { name: "p".to_owned(), value: "v".to_owned() };
    let properties = reapi::NodeProperties { properties: vec![property; 3], ..Default::default() };
    for n in [0, 1, 4, 100, 5000] {
        let directory = reapi::Directory {
            files: (0..n)
                .map(|n| reapi::FileNode {
                    name: format!("file-{n}"),
                    digest: Some(digest.clone()),
                    node_properties: (n % 2 == 0).then(|| properties.clone()),
                    ..Default::default()
                })
                .collect(),
            symlinks: (0..n)
                .map(|n| reapi::SymlinkNode { name: format!("{n}"), ..Default::default() })
                .collect(),
            ..Default::default()
        };
        let bytes = directory.encode_to_vec();
        let weight = weigh::<reapi::Directory>(&bytes, usize::MAX).unwrap();
        let decoded = reapi::Directory::decode(&bytes[..]).unwrap();
        assert!(weight >= heap(&decoded), "{n}: {weight} of {}", heap(&decoded));
        assert!(weight <= 3 * heap(&decoded) + 4096, "{n}: {weight} of {}", heap(&decoded));
        assert_eq!(decode_blob::<reapi::Directory>(bytes.into()), Ok(directory));
    }
    // The largest message of digests that there may be.
    let digests = reapi::FindMissingBlobsRequest {
        blob_digests: vec![digest; 210_000],
        ..Default::default()
    };
    let bytes = digests.encode_to_vec();
    assert!(bytes.len() > 14 << 20 && bytes.len() < 16 << 20, "{}", bytes.len());
    weigh::<reapi::FindMissingBlobsRequest>(&bytes, (64 << 20) - bytes.len()).unwrap();
}

#[test]
fn empty_elements_are_refused_at_any_depth() {
    let empties = [2 << 3 | 2, 0].repeat(8 << 20);
    let error = weigh::<reapi::BatchReadBlobsRequest>(&empties, 32 << 20).unwrap_err();
    assert!(error.elements < 1 << 20, "{error}");
    // In groups, in maps, one by one, and behind what is no field at all.
    let mut nested = vec![3 << 3 | 2];
    nested.extend([0x80, 0x80, 0x80, 0x08]);
    nested.extend_from_slice(&empties);
    assert!(weigh::<reapi::UpdateActionResultRequest>(&nested, 32 << 20).is_err());
    let logs = [4 << 3 | 2, 0].repeat(4 << 20);
    assert!(weigh::<reapi::ExecuteResponse>(&logs, 32 << 20).is_err());
    let numbers = [3 << 3, 1].repeat(8 << 20);
    assert!(weigh::<reapi::BatchReadBlobsRequest>(&numbers, 32 << 20).is_err());
    assert!(decode_blob::<reapi::Directory>([1 << 3 | 2, 0].repeat(20 << 20).into()).is_err());
}

#[test]
fn noise_is_looked_at_without_harm() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for _ in 0..20_000 {
        let length = next() % 64;
        // Bytes of the kind that protobuf has.
        let bytes: Vec<u8> = (0..length).map(|_| (next() % 40) as u8).collect();
        let weight = weigh::<reapi::ActionResult>(&bytes, usize::MAX).unwrap();
        assert!(weight < 1 << 20, "{bytes:?}");
        let n = fields(&bytes).filter(Result::is_ok).count();
        assert!(n <= bytes.len() / 2, "{bytes:?}");
        if reapi::ActionResult::decode(&bytes[..]).is_ok() {
            assert!(fields(&bytes).all(|field| field.is_ok()), "{bytes:?}");
        }
    }
}

mod budget {
    use std::sync::Arc;

    use crate::{Charge, MessageBound, MessageBudget, Prefixes};

    const ALL: usize = 1 << 20;

    fn call(budget: &Arc<MessageBudget>) -> Arc<Charge> {
        let bound = MessageBound { request: ALL, memory: ALL, answer: ALL, streams: true };
        Charge::new(budget.account(), bound)
    }

    #[test]
    fn whoever_comes_next_finds_room_beside_greedy_ones() {
        let budget = MessageBudget::new(ALL, |_, work| work());
        let mut calls = Vec::new();
        let mut free = ALL;
        for greedy in 1..=10 {
            let charge = call(&budget);
            while charge.reserve(1 << 10).is_ok() {}
            calls.push(charge);
            let left = ALL - budget.used().0;
            assert!(left >= free * 2 / 3 && left < free, "{greedy} leave {left}");
            free = left;
        }
        drop(calls);
        assert_eq!(budget.used().0, 0);
    }

    #[test]
    fn messages_of_a_stream_cost_what_the_last_one_does() {
        let budget = MessageBudget::new(ALL, |_, work| work());
        let charge = call(&budget);
        let mut prefixes = Prefixes::default();
        for length in (0..100_000_u32).map(|n| n % 40) {
            let mut bytes = vec![0];
            bytes.extend(length.to_be_bytes());
            bytes.resize(5 + length as usize, 7);
            charge.waits();
            // Cut anywhere, as HTTP/2 does.
            let (first, rest) = bytes.split_at(length as usize % 7 % bytes.len());
            for piece in [first, rest] {
                prefixes.follow(piece, |length| charge.announced(length)).unwrap();
            }
            charge.decoded(length as usize, 100).unwrap();
            assert_eq!(budget.used().0, length as usize + 100);
        }
    }

    #[tokio::test]
    async fn who_waits_for_room_gets_it_when_another_call_ends() {
        let budget = MessageBudget::new(ALL, |_, work| work());
        let account = budget.account();
        let bound = MessageBound { request: ALL, memory: ALL, answer: ALL, streams: false };
        let [first, second] = [(); 2].map(|()| Charge::new(Arc::clone(&account), bound));
        first.reserve(ALL / 3).unwrap();
        second.reserve(1).unwrap_err();
        let waits = tokio::spawn(async move { second.reserve_later(ALL / 3).await });
        tokio::task::yield_now().await;
        drop(first);
        waits.await.unwrap().unwrap();
    }

    /// Polled once with a waker that counts.
    #[derive(Default)]
    struct Polls(std::sync::atomic::AtomicUsize);
    impl std::task::Wake for Polls {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
    }

    /// What one gives back is not worth a look to all others who wait.
    #[test]
    fn those_who_wait_are_a_line_and_no_herd() {
        use std::sync::atomic::Ordering;
        use std::task::{Context, Poll};

        use crate::MOST_WAITING;

        const ONE: usize = ALL / 3 / 4;
        let budget = MessageBudget::new(ALL, |_, work| work());
        let bound = MessageBound { request: ALL, memory: ALL, answer: ALL, streams: false };
        let (account, other) = (budget.account(), budget.account());
        let charge = |account: &Arc<_>| Charge::new(Arc::clone(account), bound);
        let full: Vec<_> = (0..4).map(|_| charge(&account)).collect();
        full.iter().for_each(|call| call.reserve(ONE).unwrap());
        let polls = Arc::new(Polls::default());
        let waker = Arc::clone(&polls).into();
        let mut cx = Context::from_waker(&waker);
        let calls: Vec<_> = (0..=MOST_WAITING).map(|_| charge(&account)).collect();
        // The first is larger than what the next give, and smaller ones do not pass it by.
        let sizes = std::iter::once(2 * ONE).chain(std::iter::repeat(ONE / MOST_WAITING));
        let waits =
            calls.iter().zip(sizes).map(|(call, bytes)| Box::pin(call.reserve_later(bytes)));
        let mut waits: Vec<_> = waits.collect();
        let mut last = waits.pop().expect("one more than may wait");
        assert!(waits.iter_mut().all(|wait| wait.as_mut().poll(&mut cx).is_pending()));
        let Poll::Ready(Err(status)) = last.as_mut().poll(&mut cx) else {
            panic!("there is no end to them");
        };
        assert_eq!(status.code(), tonic::Code::ResourceExhausted);
        assert!(!status.details().is_empty(), "when it may come again is told");
        // Of another client, which waits for nothing.
        for _ in 0..1000 {
            charge(&other).reserve(1).unwrap();
        }
        let mut full = full.into_iter();
        drop(full.next());
        assert_eq!(polls.0.load(Ordering::Relaxed), 0, "there is nothing for anybody yet");
        drop(full.next());
        assert_eq!(polls.0.load(Ordering::Relaxed), 1, "the first has what it wants");
        assert!(waits[0].as_mut().poll(&mut cx).is_ready());
        assert!(waits[1..].iter_mut().all(|wait| wait.as_mut().poll(&mut cx).is_pending()));
        // One that leaves the line is in nobody's way.
        drop(waits.remove(1));
        drop(full.next());
        assert!(waits[1..].iter_mut().all(|wait| wait.as_mut().poll(&mut cx).is_ready()));
        drop((last, waits));
        drop((calls, full));
        assert_eq!(budget.used().0, 0);
    }

    /// Nobody stands behind what can never be had.
    #[tokio::test]
    async fn what_would_wait_for_ever_is_refused() {
        let budget = MessageBudget::new(ALL, |_, work| work());
        let charge = call(&budget);
        charge.reserve_later(ALL / 2).await.unwrap_err();
        charge.reserve_later(ALL / 4).await.unwrap();
        let other = call(&budget);
        // What has left while it was handed over is given back.
        let waits = async { charge.reserve_later(ALL / 4).await };
        let left = tokio::time::timeout(std::time::Duration::ZERO, waits).await;
        left.unwrap_err();
        other.reserve(ALL / 8).unwrap();
        drop((charge, other));
        assert_eq!(budget.used().0, 0);
    }

    #[test]
    fn what_is_refused_wakes_nobody() {
        use std::sync::atomic::{AtomicUsize, Ordering};
        use std::task::{Context, Wake};

        #[derive(Default)]
        struct Woken(AtomicUsize);
        impl Wake for Woken {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        let budget = MessageBudget::new(ALL, |_, work| work());
        let account = budget.account();
        let bound = MessageBound { request: ALL, memory: ALL, answer: ALL, streams: false };
        let [first, second] = [(); 2].map(|()| Charge::new(Arc::clone(&account), bound));
        first.reserve(ALL / 3).unwrap();
        let woken = Arc::new(Woken::default());
        let waker = Arc::clone(&woken).into();
        let mut waits = Box::pin(second.reserve_later(ALL / 3));
        assert!(waits.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        first.reserve(ALL / 3).unwrap_err();
        assert_eq!(woken.0.load(Ordering::Relaxed), 0, "whoever waits would try again for ever");
        drop(first);
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        assert!(waits.as_mut().poll(&mut Context::from_waker(&waker)).is_ready());
    }
}

/// Whoever sends many large messages keeps one thread busy with them, and others none of their own.
#[tokio::test]
async fn one_large_message_of_a_client_is_decoded_at_a_time() {
    use std::sync::Arc;
    use std::task::Poll;

    use super::{Charge, MessageBound, MessageBudget};

    let budget = MessageBudget::new(1 << 20, |_, work| work());
    let bound = MessageBound { request: 1, memory: 1, answer: 1, streams: false };
    let (one, other) = (budget.account(), budget.account());
    let charge = |account| Charge::new(Arc::clone(account), bound);
    let (a, b, c) = (charge(&one), charge(&one), charge(&other));
    a.decodes().await;
    c.decodes().await;
    let mut later = Box::pin(b.decodes());
    let waits = std::future::poll_fn(|cx| Poll::Ready(later.as_mut().poll(cx).is_pending())).await;
    assert!(waits, "another of the same client is decoded");
    // One that comes again before it has used its turn does not wait for itself, but behind others.
    a.has_decoded();
    later.await;
    drop(b);
    a.decodes().await;
    a.decodes().await;
}

/// Large looks of one client stand in a line of their own, and small ones of others go by.
#[tokio::test]
async fn looks_wait_in_lines_and_give_back_what_they_had() {
    use std::sync::Arc;
    use std::task::Poll;

    use super::{Charge, LARGEST_LOOK, MessageBound, MessageBudget, SMALL_LOOK};

    let budget = MessageBudget::new(1 << 20, |_, work| work());
    let bound = MessageBound { request: 1, memory: 1, answer: 1, streams: false };
    let (one, other) = (budget.account(), budget.account());
    let charge = |account| Charge::new(Arc::clone(account), bound);
    let (a, b, c) = (charge(&one), charge(&one), charge(&other));
    let mut first = a.look(usize::MAX).await;
    let mut later = Box::pin(b.look(LARGEST_LOOK));
    let waits = std::future::poll_fn(|cx| Poll::Ready(later.as_mut().poll(cx).is_pending())).await;
    assert!(waits, "all is taken");
    // Small looks have another line, of which one client has half.
    let small = [c.look(SMALL_LOOK).await, c.look(SMALL_LOOK).await, a.look(SMALL_LOOK).await];
    let mut third = Box::pin(c.look(1));
    let waits = std::future::poll_fn(|cx| Poll::Ready(third.as_mut().poll(cx).is_pending())).await;
    assert!(waits, "this client has its half");
    let _more = b.look(SMALL_LOOK).await;
    drop(small);
    third.await;
    // What has shrunk makes room for another large one, and not for one of everything.
    first.shrink(64 << 20);
    drop(c.look(320 << 20).await);
    drop(first);
    later.await;
}

#[test]
fn a_look_begins_with_what_is_expected_of_it() {
    use super::{FIRST_LOOK, LARGEST_LOOK, SMALL_LOOK, rooms};
    let of = |expected| rooms(expected).collect::<Vec<_>>();
    // Four of the middle ones go on at once.
    let middle = LARGEST_LOOK / 4;
    assert_eq!(of(0), [FIRST_LOOK, SMALL_LOOK, middle, LARGEST_LOOK]);
    assert_eq!(of(SMALL_LOOK), [SMALL_LOOK, middle, LARGEST_LOOK]);
    assert_eq!(of(SMALL_LOOK + 1), [SMALL_LOOK + 1, middle, LARGEST_LOOK]);
    assert_eq!(of(middle), [middle, LARGEST_LOOK]);
    assert_eq!(of(usize::MAX), [LARGEST_LOOK]);
}
