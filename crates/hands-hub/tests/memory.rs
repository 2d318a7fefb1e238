//! What calls read from the store is bounded together. A program of its own: it looks at what all of it takes.

use std::path::PathBuf;
use std::time::Duration;

use hands_hub::{Hub, HubConfig};
use hands_proto::asset::push_client::PushClient;
use hands_proto::reapi::action_cache_client::ActionCacheClient;
use hands_proto::reapi::execution_client::ExecutionClient;
use hands_proto::{asset, reapi};
use hands_store::{Store, StoreConfig};
use hands_types::{Digest, DigestFunction};
use prost::Message;
use tonic::{Code, Status};

const MIB: u64 = 1 << 20;
/// Bytes of each tree, and calls of each kind at once.
const TREE: u64 = 40 * MIB;
const CALLS: usize = 8;
/// What `docs/limits.md` promises of all looks, small and large, and what this program takes besides. Without the lines these
/// calls took 1,024 MiB.
const LOOKS: u64 = (128 + 384) * MIB;
const BESIDES: u64 = 96 * MIB;

/// A field of this process's status, bytes.
fn memory(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    let kib: u64 =
        line.trim_start_matches(':').trim().strip_suffix(" kB").unwrap().parse().unwrap();
    kib << 10
}

/// A directory of so many bytes with few entries, so that looking at it costs little time.
fn large(content: Digest, salt: usize) -> reapi::Directory {
    let target = "t".repeat(4000);
    let n = usize::try_from(TREE).unwrap() / 4030;
    let link = |n: usize| reapi::SymlinkNode {
        name: format!("{n:08}-{salt}"),
        target: target.clone(),
        ..Default::default()
    };
    let digest = Some(content.into());
    let file = reapi::FileNode { name: "f".into(), digest, ..Default::default() };
    reapi::Directory {
        files: vec![file],
        symlinks: (0..n).map(link).collect(),
        ..Default::default()
    }
}

struct World {
    hub: Hub,
    store: Store,
    dir: PathBuf,
}

impl World {
    fn new() -> Self {
        let name = format!("hub-memory-{}", std::process::id());
        let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        let store = Store::open(StoreConfig::new(dir.join("store"))).unwrap();
        let hub = Hub::open(HubConfig::new(dir.join("hub"), store.clone())).unwrap();
        Self { hub, store, dir }
    }

    fn blob(&self, bytes: &[u8]) -> Digest {
        self.store.put_bytes(DigestFunction::Sha256, bytes).unwrap()
    }

    fn action(&self, salt: usize, root: Digest) -> Digest {
        let arguments = vec!["/bin/true".to_owned(), salt.to_string()];
        let command = reapi::Command { arguments, ..Default::default() };
        let action = reapi::Action {
            command_digest: Some(self.blob(&command.encode_to_vec()).into()),
            input_root_digest: Some(root.into()),
            ..Default::default()
        };
        self.blob(&action.encode_to_vec())
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // A test that failed may have left it half used.
        let _gone = std::fs::remove_dir_all(&self.dir);
    }
}

fn result_of(tree: Digest) -> reapi::ActionResult {
    let directory = reapi::OutputDirectory {
        path: "out".into(),
        tree_digest: Some(tree.into()),
        ..Default::default()
    };
    reapi::ActionResult { output_directories: vec![directory], ..Default::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn calls_of_any_kind_together_read_no_more_than_is_promised() {
    let world = World::new();
    let content = world.blob(b"content");
    let (trees, roots): (Vec<Digest>, Vec<Digest>) = (0..4)
        .map(|n| {
            let directory = large(content, n);
            let root = world.blob(&directory.encode_to_vec());
            let tree = reapi::Tree { root: Some(directory), ..Default::default() };
            (world.blob(&tree.encode_to_vec()), root)
        })
        .unzip();
    let empty = hands_tree::empty(DigestFunction::Sha256);
    let cached = world.action(1000, empty);
    world.store.action_put("", cached, result_of(trees[0]).encode_to_vec().into()).unwrap();
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = memory("VmRSS");

    let mut calls = tokio::task::JoinSet::new();
    for n in 0..CALLS {
        // Connections of their own: each is another client.
        let channel = world.hub.pipe().connect();
        let (tree, root) = (trees[n % trees.len()], roots[n % roots.len()]);
        let update = reapi::UpdateActionResultRequest {
            action_digest: Some(world.action(n, empty).into()),
            action_result: Some(result_of(tree)),
            ..Default::default()
        };
        let mut cache = ActionCacheClient::new(channel.clone());
        calls.spawn(async move { cache.update_action_result(update).await.map(drop) });
        let get = reapi::GetActionResultRequest {
            action_digest: Some(cached.into()),
            ..Default::default()
        };
        let mut cache = ActionCacheClient::new(channel.clone());
        calls.spawn(async move { cache.get_action_result(get).await.map(drop) });
        let execute = reapi::ExecuteRequest {
            action_digest: Some(world.action(2000 + n, root).into()),
            ..Default::default()
        };
        let mut execution = ExecutionClient::new(channel.clone());
        calls.spawn(async move { execution.execute(execute).await.map(drop) });
        let push = asset::PushDirectoryRequest {
            uris: vec![format!("https://example.org/{n}")],
            root_directory_digest: Some(root.into()),
            ..Default::default()
        };
        let mut assets = PushClient::new(channel.clone());
        calls.spawn(async move { assets.push_directory(push).await.map(drop) });
    }
    // Somebody else's small calls go on meanwhile.
    let mut honest = ActionCacheClient::new(world.hub.pipe().connect());
    let mut n_honest = 0;
    while !calls.is_empty() {
        let request = reapi::UpdateActionResultRequest {
            action_digest: Some(cached.into()),
            action_result: Some(result_of(
                world.blob(
                    &reapi::Tree { root: Some(reapi::Directory::default()), ..Default::default() }
                        .encode_to_vec(),
                ),
            )),
            instance_name: "honest".into(),
            ..Default::default()
        };
        let call = honest.update_action_result(request);
        tokio::time::timeout(Duration::from_secs(10), call).await.unwrap().unwrap();
        n_honest += 1;
        // All that have ended by now.
        while let Some(ended) = calls.try_join_next() {
            let ended: Result<(), Status> = ended.unwrap();
            let code = ended.as_ref().err().map_or(Code::Ok, Status::code);
            assert!(matches!(code, Code::Ok | Code::ResourceExhausted), "{ended:?}");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(n_honest > 1, "{n_honest}");
    let peak = memory("VmHWM").saturating_sub(before);
    eprintln!("{} MiB at most, of {} MiB of trees", peak / MIB, 4 * CALLS as u64 * TREE / MIB);
    assert!(peak < LOOKS + BESIDES, "{} MiB", peak / MIB);
}
