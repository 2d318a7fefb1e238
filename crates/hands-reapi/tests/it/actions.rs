use bytes::Bytes;
use hands_proto::reapi::{
    ActionResult, Directory, ExecutedActionMetadata, GetActionResultRequest, OutputDirectory,
    OutputFile, Tree, UpdateActionResultRequest,
};
use hands_proto::rpc::PreconditionFailure;
use hands_proto::{rpc, unpack};
use hands_types::Digest;
use prost::Message as _;
use tonic::{Code, Status};

use crate::trees::{dir, file};
use crate::{Hub, assert_code, digest};

async fn get(hub: &Hub, action: Digest) -> Result<ActionResult, Status> {
    let request =
        GetActionResultRequest { action_digest: Some(action.into()), ..Default::default() };
    Ok(hub.actions().get_action_result(request).await?.into_inner())
}

async fn set(hub: &Hub, action: Digest, result: ActionResult) -> Result<ActionResult, Status> {
    let request = UpdateActionResultRequest {
        action_digest: Some(action.into()),
        action_result: Some(result),
        ..Default::default()
    };
    Ok(hub.actions().update_action_result(request).await?.into_inner())
}

fn output(path: &str, digest: Digest) -> OutputFile {
    OutputFile { path: path.to_owned(), digest: Some(digest.into()), ..Default::default() }
}

fn missing(status: &Status) -> Vec<(String, String)> {
    let details = rpc::Status::decode(status.details()).unwrap().details;
    assert_eq!(details.len(), 1, "exactly one detail");
    let failure: PreconditionFailure = unpack(&details[0]).unwrap();
    failure.violations.into_iter().map(|v| (v.r#type, v.subject)).collect()
}

#[tokio::test]
async fn a_result_is_served_while_everything_that_it_refers_to_is_there() {
    let hub = Hub::start().await;
    let action = digest(b"action");
    assert_code(get(&hub, action).await, Code::NotFound);
    let [f, out, err, in_tree, in_child, in_root, deep] =
        ["f", "out", "err", "in tree", "in child", "in root", "deep"]
            .map(|c| hub.put(c.as_bytes()));
    let child = Directory { files: vec![file("c", in_child)], ..Default::default() };
    let tree = Tree {
        root: Some(Directory { files: vec![file("t", in_tree)], ..Default::default() }),
        children: vec![child],
    };
    let tree = hub.put(&tree.encode_to_vec());
    let below =
        hub.put(&Directory { files: vec![file("d", deep)], ..Default::default() }.encode_to_vec());
    let root = Directory {
        files: vec![file("r", in_root)],
        directories: vec![dir("below", below)],
        ..Default::default()
    };
    let root = hub.put(&root.encode_to_vec());
    let result = ActionResult {
        output_files: vec![output("f", f)],
        output_directories: vec![OutputDirectory {
            path: "d".to_owned(),
            tree_digest: Some(tree.into()),
            root_directory_digest: Some(root.into()),
            ..Default::default()
        }],
        stdout_digest: Some(out.into()),
        stderr_digest: Some(err.into()),
        execution_metadata: Some(ExecutedActionMetadata {
            worker: "w".to_owned(),
            ..Default::default()
        }),
        ..Default::default()
    };
    assert_eq!(set(&hub, action, result.clone()).await.unwrap(), result);
    assert_eq!(get(&hub, action).await.unwrap(), result);
    for lost in [f, out, err, in_tree, in_child, in_root, deep, below, tree, root] {
        let content = hub.store.read(&lost).unwrap().unwrap();
        assert!(hub.store.delete(&lost).unwrap());
        assert_code(get(&hub, action).await, Code::NotFound);
        let refused =
            assert_code(set(&hub, action, result.clone()).await, Code::FailedPrecondition);
        assert_eq!(missing(&refused), [("MISSING".to_owned(), format!("blobs/{lost}"))]);
        hub.store.put(lost, content).unwrap();
        assert_eq!(get(&hub, action).await.unwrap(), result, "whole again");
    }
    // Other instances do not see it.
    let other = GetActionResultRequest {
        instance_name: "other".to_owned(),
        action_digest: Some(action.into()),
        ..Default::default()
    };
    assert_code(hub.actions().get_action_result(other).await, Code::NotFound);
}

#[tokio::test]
async fn all_missing_blobs_are_named_at_once() {
    let hub = Hub::start().await;
    let (a, b) = (digest(b"a"), digest(b"b"));
    let result =
        ActionResult { output_files: vec![output("a", a), output("b", b)], ..Default::default() };
    let status = assert_code(set(&hub, digest(b"action"), result).await, Code::FailedPrecondition);
    let mut subjects: Vec<String> =
        missing(&status).into_iter().map(|(_, subject)| subject).collect();
    subjects.sort();
    let mut expected = [format!("blobs/{a}"), format!("blobs/{b}")];
    expected.sort();
    assert_eq!(subjects, expected);
}

#[tokio::test]
async fn contents_travel_inside_the_result_when_asked_for() {
    let hub = Hub::start().await;
    let action = digest(b"action");
    // What came inside becomes a blob, and metadata is there, without which Buck2 fails.
    let sent = ActionResult {
        stdout_raw: Bytes::from_static(b"hello"),
        output_files: vec![OutputFile {
            path: "f".to_owned(),
            contents: Bytes::from_static(b"content"),
            ..Default::default()
        }],
        ..Default::default()
    };
    let kept = set(&hub, action, sent).await.unwrap();
    assert_eq!(kept.stdout_digest, Some(digest(b"hello").into()));
    assert_eq!(kept.output_files[0].digest, Some(digest(b"content").into()));
    assert!(kept.execution_metadata.is_some());
    assert_eq!(get(&hub, action).await.unwrap().output_files[0].contents, "");
    let request = GetActionResultRequest {
        action_digest: Some(action.into()),
        inline_output_files: vec!["f".to_owned(), "unknown".to_owned()],
        ..Default::default()
    };
    let got = hub.actions().get_action_result(request).await.unwrap().into_inner();
    assert_eq!(got.output_files[0].contents, "content");

    let out = hub.put(b"out");
    let plain = ActionResult { stdout_digest: Some(out.into()), ..Default::default() };
    set(&hub, digest(b"other"), plain).await.unwrap();
    let mut request = GetActionResultRequest {
        action_digest: Some(digest(b"other").into()),
        inline_stderr: true,
        ..Default::default()
    };
    let without = hub.actions().get_action_result(request.clone()).await.unwrap().into_inner();
    assert_eq!(without.stdout_raw, "");
    request.inline_stdout = true;
    let with = hub.actions().get_action_result(request).await.unwrap().into_inner();
    assert_eq!(with.stdout_raw, "out");
}

#[tokio::test]
async fn a_malformed_result_and_a_client_without_the_right_are_refused() {
    let hub = Hub::start().await;
    let no_digest =
        ActionResult { output_files: vec![OutputFile::default()], ..Default::default() };
    assert_code(set(&hub, digest(b"a"), no_digest).await, Code::InvalidArgument);
    let no_tree =
        ActionResult { output_directories: vec![OutputDirectory::default()], ..Default::default() };
    assert_code(set(&hub, digest(b"a"), no_tree).await, Code::InvalidArgument);
    assert_code(
        hub.actions().get_action_result(GetActionResultRequest::default()).await,
        Code::InvalidArgument,
    );
    let request = UpdateActionResultRequest {
        action_digest: Some(digest(b"a").into()),
        ..Default::default()
    };
    assert_code(hub.actions().update_action_result(request).await, Code::InvalidArgument);

    let hub = Hub::start_with(|backend| backend.update_enabled = false).await;
    assert_code(set(&hub, digest(b"a"), ActionResult::default()).await, Code::PermissionDenied);
}
