//! Files of other repositories, which Bazel has the hub look up by their address.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;

use hands_link::Address;
use hands_proto::asset::PushBlobRequest;
use hands_proto::asset::push_client::PushClient;
use hands_proto::reapi::batch_update_blobs_request::Request as Upload;
use hands_proto::reapi::content_addressable_storage_client::ContentAddressableStorageClient;
use hands_proto::reapi::{self, BatchUpdateBlobsRequest};
use hands_types::{Digest, DigestFunction};

use super::Bazel;
use crate::grid::Grid;
use crate::tool::tool;

const CONTENT: &[u8] = b"an archive of others\n";

#[test]
fn what_was_pushed_is_fetched_by_address_and_nothing_else_is() {
    let Some(program) = tool("HANDS_TEST_BAZEL") else { return };
    let grid = Grid::new(&[]);
    let bazel = Bazel::new_4(&grid, &program);
    let digest = hands_tree::hash(DigestFunction::Sha256, CONTENT);
    // Nobody can fetch from there, neither the hub nor Bazel.
    let address = |name: &str| format!("https://files.invalid/{name}");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(push(&grid, digest, &[address("pushed"), address("other")]));

    let mut workspace =
        OpenOptions::new().append(true).open(bazel.root().join("WORKSPACE")).unwrap();
    writeln!(workspace, "load('@bazel_tools//tools/build_defs/repo:http.bzl', 'http_file')")
        .unwrap();
    let mut rules = String::new();
    // What Bazel has by its sum it asks nobody for. Of the third there is something under its address, and it is another.
    let other = hands_tree::hash(DigestFunction::Sha256, b"another");
    for (name, sum) in [("pushed", digest), ("unknown", other), ("other", other)] {
        let (url, sum) = (address(name), sum.hex());
        writeln!(workspace, "http_file(name = '{name}', urls = ['{url}'], sha256 = '{sum}')")
            .unwrap();
        let file = format!("srcs = ['@{name}//file'], outs = ['{name}.txt'], cmd = 'cat $< > $@'");
        writeln!(rules, "genrule(name = '{name}', {file})").unwrap();
    }
    grid.home.write("ws/fetched/BUILD", &rules);

    let downloader = format!("--experimental_remote_downloader=grpcs://{}", grid.address);
    let build = |name: &str| {
        bazel.run(&["build", "--config=hands", &downloader, &format!("//fetched:{name}")])
    };
    let built = build("pushed");
    assert_eq!(built.code, 0, "{built:?}");
    assert_eq!(bazel.read("fetched/pushed.txt").as_bytes(), CONTENT);
    // The hub says that there is nothing, or another. This Bazel does not read it: what it has then is an empty file, and what
    // it was told to expect is another.
    for name in ["unknown", "other"] {
        let refused = build(name);
        let empty = hands_tree::empty(DigestFunction::Sha256).hex();
        let told = format!("Checksum was {empty} but wanted {}", other.hex());
        assert!(refused.code == 1 && refused.err.contains(&told), "{name}: {refused:?}");
    }
}

/// Puts the content under these addresses, as somebody who may.
async fn push(grid: &Grid, digest: Digest, uris: &[String]) {
    let writer = grid.member("writer", &["submit", "cache-write"]);
    let channel = hands_link::connect(&Address::Member(writer.join("state/clusters/grid")));
    let wire: reapi::Digest = digest.into();
    let upload = Upload { digest: Some(wire.clone()), data: CONTENT.into(), ..Upload::default() };
    let request = BatchUpdateBlobsRequest { requests: vec![upload], ..Default::default() };
    let mut blobs = ContentAddressableStorageClient::new(channel.clone());
    let reply = blobs.batch_update_blobs(request).await.unwrap().into_inner();
    assert_eq!(reply.responses[0].status.as_ref().unwrap().code, 0, "{reply:?}");
    let request =
        PushBlobRequest { uris: uris.to_vec(), blob_digest: Some(wire), ..Default::default() };
    PushClient::new(channel).push_blob(request).await.unwrap();
}
