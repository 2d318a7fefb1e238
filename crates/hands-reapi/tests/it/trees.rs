use std::collections::HashSet;

use hands_proto::reapi::{Directory, DirectoryNode, FileNode, GetTreeRequest, GetTreeResponse};
use hands_types::Digest;
use prost::Message as _;
use tonic::{Code, Status};

use crate::{Hub, assert_code, digest};

pub(crate) fn file(name: &str, digest: Digest) -> FileNode {
    FileNode { name: name.to_owned(), digest: Some(digest.into()), ..Default::default() }
}

pub(crate) fn dir(name: &str, digest: Digest) -> DirectoryNode {
    DirectoryNode { name: name.to_owned(), digest: Some(digest.into()) }
}

async fn tree(
    hub: &Hub,
    root: Digest,
    page_size: i32,
    token: &str,
) -> Result<Vec<GetTreeResponse>, Status> {
    let request = GetTreeRequest {
        root_digest: Some(root.into()),
        page_size,
        page_token: token.to_owned(),
        ..Default::default()
    };
    let mut stream = hub.cas().get_tree(request).await?.into_inner();
    let mut pages = Vec::new();
    while let Some(page) = stream.message().await? {
        pages.push(page);
    }
    Ok(pages)
}

#[tokio::test]
async fn a_tree_comes_in_pages_each_directory_once_and_without_what_is_missing() {
    let hub = Hub::start().await;
    let leaf = |i: u32| Directory {
        files: vec![file(&i.to_string(), digest(b"f"))],
        ..Default::default()
    };
    let mut root = Directory::default();
    for i in 0..25 {
        let leaf = leaf(i).encode_to_vec();
        // The one that is missing is left out.
        let digest = if i == 13 { digest(&leaf) } else { hub.put(&leaf) };
        root.directories.push(dir(&format!("a{i:02}"), digest));
        root.directories.push(dir(&format!("b{i:02}"), digest));
    }
    root.directories.push(dir("empty", digest(b"")));
    let root = hub.put(&root.encode_to_vec());
    let all = tree(&hub, root, 0, "").await.unwrap();
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].directories.len(), 1 + 24 + 1);
    assert_eq!(all[0].next_page_token, "");

    let pages = tree(&hub, root, 10, "").await.unwrap();
    let counts: Vec<usize> = pages.iter().map(|p| p.directories.len()).collect();
    assert_eq!(counts, [10, 10, 6]);
    let seen: HashSet<Vec<u8>> =
        pages.iter().flat_map(|p| &p.directories).map(prost::Message::encode_to_vec).collect();
    assert_eq!(seen.len(), 26);
    // A token goes on where its page ended.
    let rest = tree(&hub, root, 10, &pages[0].next_page_token).await.unwrap();
    assert_eq!(rest, pages[1..]);

    assert_code(tree(&hub, root, 10, "x").await, Code::InvalidArgument);
    assert_code(tree(&hub, root, -1, "").await, Code::InvalidArgument);
    assert_code(tree(&hub, digest(b"no such root"), 0, "").await, Code::NotFound);
    let empty = tree(&hub, digest(b""), 0, "").await.unwrap();
    assert_eq!(empty[0].directories, [Directory::default()], "the empty directory is always there");
}

#[tokio::test]
async fn a_tree_that_grows_without_bound_by_sharing_does_not() {
    let hub = Hub::start().await;
    // 2^60 paths in 61 directories.
    let mut below = hub.put(
        &Directory { files: vec![file("f", digest(b"f"))], ..Default::default() }.encode_to_vec(),
    );
    for _ in 0..60 {
        let both =
            Directory { directories: vec![dir("a", below), dir("b", below)], ..Default::default() };
        below = hub.put(&both.encode_to_vec());
    }
    let pages = tree(&hub, below, 0, "").await.unwrap();
    assert_eq!(pages.iter().map(|p| p.directories.len()).sum::<usize>(), 61);
}
