use hands_store::StoreConfig;

use std::sync::atomic::{AtomicBool, Ordering};

use hands_proto::longrunning::ListOperationsRequest;
use hands_proto::longrunning::operations_server::Operations as _;
use hands_proto::reapi;
use hands_proto::v1::jobs_server::Jobs as _;
use hands_types::{DigestFunction, OperationId};
use tonic::Request;

use super::*;
use crate::core::{Owner, Submission};
use crate::db::{Commit, Done, PASSED, Record, Then, Write};

#[tokio::test]
async fn a_hub_whose_table_has_gone_ends() {
    let dir = std::env::temp_dir().join(format!("hands-hub-table-{}", std::process::id()));
    let store = Store::open(StoreConfig::new(dir.join("store"))).unwrap();
    let hub = Hub::open(HubConfig::new(&dir, store)).unwrap();
    // On the table's thread, which it ends.
    let planted: Then = Box::new(|| panic!("planted"));
    hub.shared.db.submit(Commit { then: vec![planted], ..Commit::default() });
    let ended = tokio::time::timeout(Duration::from_secs(60), hub.ended()).await;
    hub.close().await;
    drop(hub);
    std::fs::remove_dir_all(&dir).unwrap();
    ended.expect("the hub goes on without its table");
}

/// A queue as one client may have it: nothing that is asked about all of it holds up what others ask meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_looks_at_a_long_queue_makes_nobody_wait() {
    const QUEUED: usize = if cfg!(debug_assertions) { 50_000 } else { 200_000 };
    let dir = std::env::temp_dir().join(format!("hands-hub-queue-{}", std::process::id()));
    let store = Store::open(StoreConfig::new(dir.join("store"))).unwrap();
    let hub = Hub::open(HubConfig::new(&dir, store)).unwrap();
    let shared = Arc::clone(&hub.shared);
    let needs = Arc::new(hands_sched::Needs::default());
    let mut answers = Vec::new();
    for n in 0..QUEUED {
        let digest = hands_tree::hash(DigestFunction::Sha256, &n.to_be_bytes());
        let (reply, answer) = oneshot::channel();
        let submission = Submission {
            record: record(digest, n),
            platform: bytes::Bytes::new(),
            owner: Owner::Local,
            needs: Arc::clone(&needs),
            trees: Vec::new(),
            inputs: Vec::new(),
            messages: None,
            input_root: digest,
            command_digest: digest,
            effects: false,
            skip_cache_lookup: true,
            connection: None,
            asked: tokio::time::Instant::now(),
            reply: crate::core::Reply::Stream(reply),
        };
        shared.core.send(Event::Submit(Box::new(submission))).await;
        answers.push(answer);
    }
    assert_eq!(shared.ask(|core| core.counts().0).await.unwrap(), QUEUED);

    let done = Arc::new(AtomicBool::new(false));
    let asking = tokio::spawn({
        let (shared, done) = (Arc::clone(&shared), Arc::clone(&done));
        async move {
            let mut took = Vec::new();
            while !done.load(Ordering::Relaxed) {
                let began = std::time::Instant::now();
                shared.ask(|_| ()).await.unwrap();
                took.push(began.elapsed());
            }
            took.sort_unstable();
            took
        }
    });
    let (jobs, operations) = (JobsService(Arc::clone(&shared)), OperationsService(shared));
    for _ in 0..3 {
        let request = Request::new(v1::OverviewRequest { rows: 1000 });
        let overview = jobs.overview(request).await.unwrap().into_inner();
        assert_eq!(overview.invocations[0].queued as usize, QUEUED);
        let oldest: Vec<&str> = overview.queued.iter().map(|job| job.title.as_str()).collect();
        assert!(oldest.len() > 100 && oldest[..3] == ["0", "1", "2"], "{oldest:?}");
        let filter = "done=false AND invocation=\"another\"".to_owned();
        let request = ListOperationsRequest { filter, ..Default::default() };
        let listed = operations.list_operations(Request::new(request)).await.unwrap();
        assert!(listed.into_inner().operations.is_empty());
        let request = v1::ListRequest { limit: 10_000, active_only: true, ..Default::default() };
        let listed = jobs.list(Request::new(request)).await.unwrap().into_inner();
        assert!(listed.jobs.len() > 1000 && listed.jobs[0].title == (QUEUED - 1).to_string());
    }
    done.store(true, Ordering::Relaxed);
    let took = asking.await.unwrap();
    let (p99, longest) = (took[took.len() * 99 / 100], took[took.len() - 1]);
    // Where each look was one step, two questions were answered for each of the nine.
    assert!(took.len() > 200, "{} questions were answered meanwhile", took.len());
    assert!(p99 < Duration::from_millis(20), "{p99:?}, at most {longest:?}");
    drop((jobs, operations));
    hub.close().await;
    drop(hub);
    std::fs::remove_dir_all(&dir).unwrap();
}

/// A hub of years has millions of rows, and a list of one instance's few would look at all of them for each page.
#[tokio::test]
async fn a_list_of_one_instance_looks_at_so_many_rows_and_goes_on_from_there() {
    let dir = std::env::temp_dir().join(format!("hands-hub-instances-{}", std::process::id()));
    let store = Store::open(StoreConfig::new(dir.join("store"))).unwrap();
    let hub = Hub::open(HubConfig::new(&dir, store)).unwrap();
    let digest = hands_tree::hash(DigestFunction::Sha256, b"");
    let finished =
        i64::try_from(std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap();
    let done = Done {
        response: Arc::default(),
        finished,
        started: None,
        attempt: hands_types::Attempt(1),
        worker_name: "w".into(),
        retained: false,
    };
    // The oldest and the newest are wanted.
    let newest = PASSED + 500;
    let written = |n: usize| {
        let instance = if n == 0 || n == newest { "mine" } else { "other" };
        let record = Record { instance: instance.into(), ..record(digest, n) };
        Write::Answered { record: Arc::new(record), done: done.clone() }
    };
    let (reply, answer) = oneshot::channel();
    let then: Then = Box::new(move || reply.send(()).unwrap());
    let writes = (0..=newest).map(written).collect();
    hub.shared.db.submit(Commit { writes, then: vec![then], ..Commit::default() });
    answer.await.unwrap();
    let operations = OperationsService(Arc::clone(&hub.shared));
    let mut request =
        ListOperationsRequest { filter: "instance=\"mine\"".to_owned(), ..Default::default() };
    let mut pages = Vec::new();
    while pages.is_empty() || !request.page_token.is_empty() {
        let page = operations.list_operations(Request::new(request.clone())).await.unwrap();
        let page = page.into_inner();
        request.page_token = page.next_page_token;
        pages.push(page.operations.len());
    }
    assert_eq!(pages, [1, 1], "the second begins where the first has stopped to look");
    drop(operations);
    hub.close().await;
    drop(hub);
    std::fs::remove_dir_all(&dir).unwrap();
}

/// An action that asks for nothing. Ids are time-ordered, and so are these.
fn record(digest: hands_types::Digest, n: usize) -> Record {
    Record {
        id: OperationId::from_parts(1_700_000_000_000, n as u128),
        instance: "".into(),
        digest,
        joinable: false,
        cacheable: false,
        salted: false,
        ours: true,
        cached: false,
        priority: 0,
        shape: 0,
        metadata: Arc::new(reapi::RequestMetadata {
            tool_invocation_id: "one".to_owned(),
            ..Default::default()
        }),
        options: Arc::new(v1::ExecuteOptions { detach: true, ..Default::default() }),
        title: n.to_string().into(),
        created: 1_700_000_000_000,
    }
}
