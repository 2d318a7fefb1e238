//! What the Tree of an output directory may hold. Whoever made it, nobody gets one that can't be put in place.

use hands_proto::reapi;
use hands_proto::reapi::action_cache_client::ActionCacheClient;
use hands_types::{Digest, DigestFunction};
use prost::Message;
use std::time::Duration;
use tonic::Code;

use crate::support::{Client, World, code, soon};
use crate::worker::Worker;

fn file(name: &str, content: Digest) -> reapi::FileNode {
    reapi::FileNode { name: name.into(), digest: Some(content.into()), ..Default::default() }
}

fn below(name: &str, digest: Digest) -> reapi::DirectoryNode {
    reapi::DirectoryNode { name: name.into(), digest: Some(digest.into()) }
}

fn link(name: &str, target: &str) -> reapi::SymlinkNode {
    reapi::SymlinkNode { name: name.into(), target: target.into(), ..Default::default() }
}

fn digest_of(directory: &reapi::Directory) -> Digest {
    hands_tree::hash(DigestFunction::Sha256, &directory.encode_to_vec())
}

fn tree(root: reapi::Directory, children: Vec<reapi::Directory>) -> Vec<u8> {
    reapi::Tree { root: Some(root), children }.encode_to_vec()
}

fn of_files(names: &[&str], content: Digest) -> Vec<u8> {
    let files = names.iter().map(|name| file(name, content)).collect();
    tree(reapi::Directory { files, ..Default::default() }, Vec::new())
}

/// A directory in a directory in a directory, the top one as the root; `width` names for each.
fn chain(depth: usize, width: usize, name: &str, content: Digest) -> Vec<u8> {
    let bottom = reapi::Directory { files: vec![file("f", content)], ..Default::default() };
    let mut all = vec![bottom];
    for _ in 0..depth {
        let digest = digest_of(&all[all.len() - 1]);
        let directories = (0..width).map(|n| below(&format!("{name}{n}"), digest)).collect();
        all.push(reapi::Directory { directories, ..Default::default() });
    }
    let root = all.pop().unwrap();
    all.reverse();
    tree(root, all)
}

/// Trees that nobody can put in place, and a word of what is said of each.
fn flawed(content: Digest) -> Vec<(&'static str, Vec<u8>)> {
    let mut all: Vec<(&str, Vec<u8>)> = Vec::new();
    for name in ["../x", "a/b", "", ".", "..", "/etc", "nul\0"] {
        all.push(("one path component", of_files(&[name], content)));
        let links = reapi::Directory { symlinks: vec![link(name, "t")], ..Default::default() };
        all.push(("one path component", tree(links, Vec::new())));
        let inner = reapi::Directory { files: vec![file(name, content)], ..Default::default() };
        let outer = reapi::Directory {
            directories: vec![below("d", digest_of(&inner))],
            ..Default::default()
        };
        all.push(("one path component", tree(outer, vec![inner])));
        let empty = hands_tree::empty(DigestFunction::Sha256);
        let named =
            reapi::Directory { directories: vec![below(name, empty)], ..Default::default() };
        all.push(("one path component", tree(named, Vec::new())));
    }
    all.push(("one path component", of_files(&[&"x".repeat(256)], content)));
    all.push(("twice", of_files(&["a", "a"], content)));
    all.push(("out of order", of_files(&["b", "a"], content)));
    let mixed = reapi::Directory {
        files: vec![file("a", content)],
        symlinks: vec![link("a", "/etc")],
        ..Default::default()
    };
    all.push(("twice", tree(mixed, Vec::new())));
    for target in ["", "nul\0", &"t".repeat(5000)] {
        let links = reapi::Directory { symlinks: vec![link("l", target)], ..Default::default() };
        all.push(("no valid target", tree(links, Vec::new())));
    }
    let absent = hands_tree::hash(DigestFunction::Sha256, b"of no directory here");
    let lost = reapi::Directory { directories: vec![below("d", absent)], ..Default::default() };
    all.push(("does not bring", tree(lost, Vec::new())));
    // 2^40 files in 41 small directories.
    all.push(("entries", chain(40, 2, "d", content)));
    // A path that no kernel takes.
    all.push(("path", chain(30, 1, &"n".repeat(200), content)));
    let digestless = reapi::FileNode { name: "f".into(), ..Default::default() };
    let directory = reapi::Directory { files: vec![digestless], ..Default::default() };
    all.push(("no digest", tree(directory, Vec::new())));
    all.push(("root", [of_files(&["a"], content), of_files(&["a"], content)].concat()));
    all.push(("no protobuf message", b"\xff\xff\xff".to_vec()));
    // A list of files that is a number: other readers take it for no message at all.
    all.push(("no protobuf message", vec![0x0a, 2, 0x08, 1]));
    all
}

async fn cached(client: &Client, action: Digest) -> Result<reapi::ActionResult, tonic::Status> {
    let request =
        reapi::GetActionResultRequest { action_digest: Some(action.into()), ..Default::default() };
    let mut cache = ActionCacheClient::new(client.channel.clone());
    Ok(soon("the result", cache.get_action_result(request)).await?.into_inner())
}

fn output(tree: Digest) -> Vec<reapi::OutputDirectory> {
    let tree_digest = Some(tree.into());
    vec![reapi::OutputDirectory { path: "out".into(), tree_digest, ..Default::default() }]
}

async fn brings(worker: &mut Worker, tree: Digest) -> hands_proto::v1::Lease {
    let lease = worker.lease().await;
    worker.started(&lease).await;
    worker
        .report(&lease, |finished| {
            finished.result.get_or_insert_default().output_directories = output(tree);
        })
        .await;
    lease
}

#[tokio::test]
async fn a_tree_that_can_t_be_put_in_place_is_no_result_of_a_worker() {
    let world = World::with(|config| config.scheduler.pause = Duration::from_millis(1));
    let client = world.client();
    let mut worker = world.worker("w").await;
    let content = world.blob(b"content");
    for (n, (word, bytes)) in flawed(content).into_iter().enumerate() {
        let tree = world.blob(&bytes);
        let action = world.action(|_, command| {
            command.output_paths = vec!["out".into()];
            command.arguments.push(n.to_string());
        });
        let following = client.execute(action).await.unwrap();
        let lease = brings(&mut worker, tree).await;
        let why = worker.refused(&lease).await;
        assert!(why.contains(word), "{n}: {word}: {why}");
        assert!(!why.contains(|c: char| c.is_control()), "{why:?}");
        // Another attempt brings one that is well.
        let lease = brings(&mut worker, world.blob(&of_files(&["a", "b"], content))).await;
        worker.acknowledged(&lease).await;
        assert_eq!(code(&following.response().await), Code::Ok);
        assert_eq!(cached(&client, action).await.unwrap().output_directories.len(), 1);
    }
}

/// Writers may leave out a message with nothing in it.
#[tokio::test]
async fn a_tree_without_a_root_is_an_empty_directory() {
    let world = World::new();
    let client = world.client();
    let mut worker = world.worker("w").await;
    let action = world.action(|_, command| command.output_paths = vec!["out".into()]);
    let following = client.execute(action).await.unwrap();
    let tree = reapi::Tree { root: None, children: Vec::new() };
    let lease = brings(&mut worker, world.blob(&tree.encode_to_vec())).await;
    worker.acknowledged(&lease).await;
    assert_eq!(code(&following.response().await), Code::Ok);
    assert_eq!(cached(&client, action).await.unwrap().output_directories.len(), 1);
}

#[tokio::test]
async fn a_tree_that_can_t_be_put_in_place_is_no_result_of_a_client() {
    let world = World::new();
    let client = world.client();
    let content = world.blob(b"content");
    for (n, (word, bytes)) in flawed(content).into_iter().enumerate() {
        let tree = world.blob(&bytes);
        let action = world.action(|_, command| command.arguments.push(n.to_string()));
        let result = reapi::ActionResult { output_directories: output(tree), ..Default::default() };
        // One that an older hub took is none any more.
        world.store.action_put("", action, result.encode_to_vec().into()).unwrap();
        let status = cached(&client, action).await.unwrap_err();
        assert_eq!(status.code(), Code::NotFound, "{n}: {word}: {status}");
        let update = reapi::UpdateActionResultRequest {
            action_digest: Some(action.into()),
            action_result: Some(result),
            ..Default::default()
        };
        let mut cache = ActionCacheClient::new(client.channel.clone());
        let status = soon("the update", cache.update_action_result(update)).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{n}: {word}: {status}");
        assert!(status.message().contains(word), "{n}: {word}: {status}");
    }
}

/// The same by the other way in which a result names a directory: the digest of its root.
#[tokio::test]
async fn a_root_that_can_t_be_put_in_place_is_no_result() {
    let world = World::new();
    let content = world.blob(b"content");
    let put = |directory: reapi::Directory| world.blob(&directory.encode_to_vec());
    let of_file =
        |name: &str| reapi::Directory { files: vec![file(name, content)], ..Default::default() };
    let around = |name: &str, digest| {
        let directories = vec![below(name, digest)];
        put(reapi::Directory { directories, ..Default::default() })
    };
    let mut shared = put(of_file("f"));
    for _ in 0..40 {
        let directories = vec![below("a", shared), below("b", shared)];
        shared = put(reapi::Directory { directories, ..Default::default() });
    }
    let hostile = [
        ("one path component", put(of_file("../x"))),
        ("one path component", around("d", put(of_file("a/b")))),
        ("entries", shared),
    ];
    for (n, (word, root)) in hostile.into_iter().enumerate() {
        let action = world.action(|_, command| command.arguments.push(n.to_string()));
        let directory = reapi::OutputDirectory {
            path: "out".into(),
            root_directory_digest: Some(root.into()),
            ..Default::default()
        };
        let result =
            reapi::ActionResult { output_directories: vec![directory], ..Default::default() };
        let update = reapi::UpdateActionResultRequest {
            action_digest: Some(action.into()),
            action_result: Some(result),
            ..Default::default()
        };
        let mut cache = ActionCacheClient::new(world.client().channel);
        let status = soon("the update", cache.update_action_result(update)).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{word}: {status}");
        assert!(status.message().contains(word), "{word}: {status}");
    }
}

/// As deep as a path can be: what an action nests that deep, its worker brings.
#[tokio::test]
async fn a_deep_tree_of_outputs_is_one() {
    let world = World::new();
    let mut worker = world.worker("w").await;
    let content = world.blob(b"content");
    let tree = world.blob(&chain(1000, 1, "d", content));
    let action = world.action(|_, command| command.output_paths = vec!["out".into()]);
    let following = world.client().execute(action).await.unwrap();
    let lease = brings(&mut worker, tree).await;
    worker.acknowledged(&lease).await;
    assert_eq!(code(&following.response().await), Code::Ok);
}
