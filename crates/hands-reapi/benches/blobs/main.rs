//! What the services do per second, over a Unix socket and over loopback: `cargo bench -p hands-reapi`.
//!
//! Server and client share the machine and this process, each on a runtime of its own. With an argument
//! NAME=IP:PORT the same is asked of an engine of others; another word chooses parts.
#![expect(clippy::print_stdout, reason = "a benchmark's results are for its caller")]

mod floor;
mod large;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::stream;
use hands_link::{Address, Listener, connect, server};
use hands_proto::bytestream::WriteRequest;
use hands_proto::bytestream::byte_stream_client::ByteStreamClient;
use hands_proto::reapi::action_cache_client::ActionCacheClient;
use hands_proto::reapi::content_addressable_storage_client::ContentAddressableStorageClient;
use hands_proto::reapi::{
    ActionResult, BatchReadBlobsRequest, BatchUpdateBlobsRequest, FindMissingBlobsRequest,
    GetActionResultRequest, OutputFile, batch_update_blobs_request,
};
use hands_reapi::{Backend, Blob, BlobClient, LogName, LogSource, LogStream, Source, services};
use hands_store::{Store, StoreConfig};
use hands_types::limits::MAX_MESSAGE;
use hands_types::{Digest, DigestFunction};
use prost::Message as _;
use tonic::Status;
use tonic::transport::Channel;

const SHA: DigestFunction = DigestFunction::Sha256;
const RUN: Duration = Duration::from_secs(3);
static COUNTER: AtomicU64 = AtomicU64::new(0);

struct NoLogs;

#[tonic::async_trait]
impl LogSource for NoLogs {
    async fn read(&self, _: &LogName, _: u64) -> Result<LogStream, Status> {
        Err(Status::not_found("no logs"))
    }
}

fn main() {
    // Cargo passes `--bench`.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    let engine = arguments.iter().find_map(|a| a.split_once('='));
    let only = arguments.iter().find(|a| !a.contains('='));
    let wanted = |name: &str| only.is_none_or(|o| name.contains(o));
    let home = tempfile::tempdir().expect("a directory");
    let mut config = StoreConfig::new(home.path().join("store"));
    // Old blobs of a GiB make room for the next.
    config.quota = Some(3 << 30);
    config.reserve = 0;
    let store = Store::open(config).expect("a store");
    let backend = Backend {
        store: store.clone(),
        logs: Arc::new(NoLogs),
        exec_enabled: false,
        update_enabled: true,
    };
    let runtime =
        || tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let (serving, calling) = (runtime().expect("a runtime"), runtime().expect("a runtime"));
    let unix = Address::Unix(home.path().join("hub.sock"));
    let tcp = Address::Tcp(([127, 0, 0, 1], 0).into());
    for address in [unix, tcp] {
        let address = serving.block_on(async {
            let listener = Listener::bind(&address).expect("a listener");
            let address = listener.address().expect("not a pipe").clone();
            let serve = server()
                .add_service(services::capabilities(&backend))
                .add_service(services::cas(&backend))
                .add_service(services::action_cache(&backend))
                .add_service(services::byte_stream(&backend))
                .serve_with_incoming(listener.incoming());
            tokio::spawn(serve);
            address
        });
        println!(
            "{}",
            if matches!(address, Address::Unix(_)) { "Unix socket" } else { "loopback TCP" }
        );
        calling.block_on(parts(&address, Some(&store), home.path(), &wanted));
    }
    if let Some((name, address)) = engine {
        println!("{name}");
        let address = address.parse().expect("NAME=IP:PORT");
        calling.block_on(parts(&address, None, home.path(), &wanted));
    }
}

/// What is wanted, of whoever serves at `address`; of us if there is a store.
async fn parts(
    address: &Address,
    store: Option<&Store>,
    home: &Path,
    wanted: &dyn Fn(&str) -> bool,
) {
    let channel = connect(address);
    if let Some(store) = store.filter(|_| wanted("action")) {
        actions(store, &channel).await;
    }
    if wanted("small") {
        small(&channel).await;
    }
    if wanted("batch") {
        batches(&channel).await;
    }
    for function in DigestFunction::ALL {
        // Others know the one that everybody knows.
        let is_known = store.is_some() || function == SHA;
        if is_known && wanted(&format!("large, {}", function.name())) {
            large::both_ways(&channel, home, function).await;
        }
    }
}

fn fresh(len: usize) -> Bytes {
    let mut content = vec![0x5a; len];
    content[..8].copy_from_slice(&COUNTER.fetch_add(1, Ordering::Relaxed).to_le_bytes());
    Bytes::from(content)
}

fn digest(content: &[u8]) -> Digest {
    hands_tree::hash(SHA, content)
}

/// Calls per second with `tasks` callers.
async fn rate<F: Future<Output = ()> + Send + 'static>(
    tasks: usize,
    call: impl Fn() -> F + Send + Clone + 'static,
) -> f64 {
    let started = Instant::now();
    let callers: Vec<_> = (0..tasks)
        .map(|_| {
            let call = call.clone();
            tokio::spawn(async move {
                let mut count = 0u32;
                while started.elapsed() < RUN {
                    call().await;
                    count += 1;
                }
                count
            })
        })
        .collect();
    let mut total = 0;
    for caller in callers {
        total += caller.await.expect("no panic");
    }
    f64::from(total) / started.elapsed().as_secs_f64()
}

/// Median and 99th percentile of one caller, in milliseconds.
async fn latency<F: Future<Output = ()>>(mut call: impl FnMut() -> F) -> String {
    let mut times = Vec::new();
    for _ in 0..2000 {
        let started = Instant::now();
        call().await;
        times.push(started.elapsed());
    }
    times.sort_unstable();
    let ms = |at: usize| times[at].as_secs_f64() * 1e3;
    format!("p50 {:.3} ms, p99 {:.3} ms", ms(times.len() / 2), ms(times.len() * 99 / 100))
}

async fn actions(store: &Store, channel: &Channel) {
    let out = fresh(1024);
    store.put(digest(&out), out.clone()).expect("room");
    let result = ActionResult {
        output_files: vec![OutputFile {
            path: "out".to_owned(),
            digest: Some(digest(&out).into()),
            ..Default::default()
        }],
        ..Default::default()
    };
    let action = digest(&fresh(100));
    store.action_put("", action, result.encode_to_vec().into()).expect("room");
    let client = ActionCacheClient::new(channel.clone());
    let hit = move || {
        let mut client = client.clone();
        async move {
            let request =
                GetActionResultRequest { action_digest: Some(action.into()), ..Default::default() };
            client.get_action_result(request).await.expect("a hit");
        }
    };
    println!("  GetActionResult, hit         {}", latency(&hit).await);
    println!("  GetActionResult, 16 streams  {:.0}/s", rate(16, hit).await);
}

async fn small(channel: &Channel) {
    let client = ByteStreamClient::new(channel.clone());
    let write = move || {
        let mut client = client.clone();
        async move {
            let data = fresh(1024);
            let message = WriteRequest {
                resource_name: format!(
                    "uploads/2f0b4a2e-5d2a-4c0e-9a37-6f0f3ad0c001/blobs/{}",
                    digest(&data)
                ),
                finish_write: true,
                data,
                ..Default::default()
            };
            client.write(stream::iter([message])).await.expect("written");
        }
    };
    println!("  ByteStream.Write 1 KiB       {}", latency(&write).await);
    println!("  ByteStream.Write, 16 streams {:.0}/s", rate(16, write).await);
}

async fn batches(channel: &Channel) {
    let client = ContentAddressableStorageClient::new(channel.clone())
        .max_decoding_message_size(MAX_MESSAGE);
    let update = {
        let client = client.clone();
        move || {
            let mut client = client.clone();
            async move {
                let requests = (0..100)
                    .map(|_| {
                        let data = fresh(1024);
                        let digest = Some(digest(&data).into());
                        batch_update_blobs_request::Request { digest, data, compressor: 0 }
                    })
                    .collect();
                let request = BatchUpdateBlobsRequest { requests, ..Default::default() };
                client.batch_update_blobs(request).await.expect("written");
            }
        }
    };
    println!("  BatchUpdate 100 x 1 KiB      {:.0} blobs/s", 100.0 * rate(4, update).await);
    let known: Vec<Bytes> = (0..1000).map(|_| fresh(1024)).collect();
    let blobs = known
        .iter()
        .map(|b| Blob { digest: digest(b), source: Source::Bytes(b.clone()) })
        .collect();
    BlobClient::new(channel.clone(), "", SHA).upload(blobs).await.expect("written");
    let digests: Vec<_> = known.iter().map(|b| digest(b).into()).collect();
    let read = {
        let (client, digests) = (client.clone(), digests[..100].to_vec());
        move || {
            let (mut client, digests) = (client.clone(), digests.clone());
            async move {
                let request = BatchReadBlobsRequest { digests, ..Default::default() };
                client.batch_read_blobs(request).await.expect("read");
            }
        }
    };
    println!("  BatchRead 100 x 1 KiB        {:.0} blobs/s", 100.0 * rate(4, read).await);
    let find = move || {
        let (mut client, blob_digests) = (client.clone(), digests.clone());
        async move {
            let request = FindMissingBlobsRequest { blob_digests, ..Default::default() };
            client.find_missing_blobs(request).await.expect("an answer");
        }
    };
    println!("  FindMissing, 1,000           {}", latency(find).await);
}
