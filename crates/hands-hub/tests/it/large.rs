//! Answers of megabytes: read, decoded and packed aside, and the same by every way to them.

use hands_proto::longrunning::Operation;
use hands_proto::longrunning::WaitOperationRequest;
use hands_proto::reapi;
use prost::Message as _;

use crate::support::{World, ours, response, soon};

const FILES: usize = 3000;

fn n_files(operation: &Operation) -> usize {
    response(operation).result.unwrap().output_files.len()
}

#[tokio::test]
async fn a_large_answer_is_the_same_by_every_way_to_it() {
    let mut world = World::new();
    let content = world.blob(b"content");
    let paths: Vec<String> = (0..FILES).map(|n| format!("{n:08}")).collect();
    let declared = paths.clone();
    let digest = world.action(|action, command| {
        action.do_not_cache = true;
        action.salt = b"large".to_vec().into();
        command.output_paths = declared;
    });
    let mut worker = world.worker("w").await;
    let client = world.client();
    let following = client.execute_with(digest, |_| {}, Some(ours())).await.unwrap();
    let (name, id) = (following.name().to_owned(), following.id());
    let lease = worker.lease().await;
    worker.started(&lease).await;
    let file = |path: &String| reapi::OutputFile {
        path: path.clone(),
        digest: Some(content.into()),
        ..Default::default()
    };
    worker
        .report(&lease, |finished| {
            finished.result.get_or_insert_default().output_files = paths.iter().map(file).collect();
        })
        .await;
    worker.acknowledged(&lease).await;
    let told = following.response().await;
    assert!(told.encoded_len() > 128 << 10, "it is no small one: {}", told.encoded_len());
    let files = told.result.unwrap().output_files;
    assert_eq!(files.len(), FILES);
    drop(worker);
    // What ended just now is in memory, and what ended before the hub began is in its table only.
    for _ in 0..2 {
        let client = world.client();
        assert_eq!(n_files(&client.get(&name).await.unwrap()), FILES);
        let waited = client.wait(&name).await.unwrap().response().await;
        assert_eq!(waited.result.unwrap().output_files, files);
        let request = WaitOperationRequest { name: name.clone(), ..Default::default() };
        let waited = soon("the operation", client.operations().wait_operation(request)).await;
        assert_eq!(n_files(waited.unwrap().get_ref()), FILES);
        assert_eq!(client.job(&id).await.id, id);
        // A cancel of what has ended is no error.
        client.cancel(&name).await.unwrap();
        // The same salted submission gets the same answer, with the contents that it wants inside.
        let inline = |request: &mut reapi::ExecuteRequest| {
            request.inline_output_files = vec!["00000007".into()];
        };
        let again = client.execute_with(digest, inline, Some(ours())).await.unwrap();
        let again = again.response().await.result.unwrap().output_files;
        assert_eq!((again.len(), &again[7].contents[..]), (FILES, &b"content"[..]));
        assert!(again[8].contents.is_empty());
        world.restart().await;
    }
}
