//! A hub whose store is far too small for a build, and which is told in the middle of it to clean up.

use std::fmt::Write as _;
use std::fs;

use hands_link::Address;
use hands_proto::reapi::batch_update_blobs_request::Request as Upload;
use hands_proto::reapi::content_addressable_storage_client::ContentAddressableStorageClient;
use hands_proto::reapi::{self, BatchUpdateBlobsRequest, FindMissingBlobsRequest};
use hands_types::DigestFunction;
use tonic::transport::Channel;

use super::Bazel;
use crate::grid::{Grid, noise};
use crate::home::ran;
use crate::tool::tool;

/// Actions, each of which gets a MiB and makes two.
const N: usize = 24;
const MIB: usize = 1 << 20;

#[test]
fn a_build_larger_than_the_store_passes_and_what_nobody_needs_goes() {
    let Some(program) = tool("HANDS_TEST_BAZEL") else { return };
    let grid = Grid::new(&["--quota", "16M"]);
    let bazel = Bazel::new_4(&grid, &program);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let others = runtime.block_on(Others::upload(&grid, 8));
    assert_eq!(runtime.block_on(others.n_missing()), 0);

    let package = bazel.root().join("large");
    fs::create_dir_all(&package).unwrap();
    let mut rules = String::new();
    for i in 0..N {
        fs::write(package.join(format!("source{i}")), noise(i, MIB)).unwrap();
        // No two of them alike, and different each time: nothing but the store has them.
        let command = format!("(cat $<; head -c {MIB} /dev/urandom) > $@; sleep 0.2");
        let names = format!("name = 'made{i}', srcs = ['source{i}'], outs = ['made{i}.bin']");
        writeln!(rules, "genrule({names}, cmd = '{command}')").unwrap();
    }
    rules += "genrule(name = 'all', outs = ['all.txt'], cmd = 'cat $(SRCS) | wc -c > $@',\n";
    writeln!(rules, "  srcs = [':made%d' % i for i in range({N})])").unwrap();
    fs::write(package.join("BUILD"), rules).unwrap();

    // Of what is made on the way this machine sees nothing: the hub alone has it for the last action.
    let flags = ["--config=hands", "--jobs=4", "--remote_download_toplevel", "//large:all"];
    let build = bazel.start(&[&["build"], &flags[..]].concat());
    let done = |grid: &Grid| {
        let jobs = grid.jobs(&["-a", "--limit=500"]);
        jobs.iter().filter(|job| job["state"] == "done").count()
    };
    for part in [N / 4, N / 2] {
        grid.until("a part is done", |grid| done(grid) >= part);
        let cleaned = grid.store("gc");
        assert!(cleaned["bytes"].as_u64() > cleaned["quota"].as_u64(), "{cleaned}");
    }
    let built = ran(build.wait_with_output().unwrap());
    assert_eq!(built.code, 0, "{}\n{}", built.out, built.err);
    assert_eq!(bazel.read("large/all.txt").trim(), (N * 2 * MIB).to_string());
    assert!(!bazel.output("large/made0.bin").exists(), "it was downloaded");
    assert_eq!(runtime.block_on(others.n_missing()), 8, "nobody had an invocation open for them");
    // The build is all there, so that the next needs nothing that is not.
    bazel.ok(&["clean"]);
    let again = bazel.ok(&[&["build"], &flags[..]].concat());
    assert!(again.err.contains(&format!("{} remote cache hit", N + 1)), "{}", again.err);
}

/// Blobs of a client that names no invocation: nothing protects them.
struct Others {
    blobs: ContentAddressableStorageClient<Channel>,
    digests: Vec<reapi::Digest>,
}

impl Others {
    async fn upload(grid: &Grid, n: usize) -> Self {
        let member = Address::Member(grid.client_home().join("state/clusters/grid"));
        let mut blobs = ContentAddressableStorageClient::new(hands_link::connect(&member));
        let mut digests = Vec::new();
        for i in 0..n {
            let data = noise(1000 + i, MIB);
            let digest = hands_tree::hash(DigestFunction::Sha256, &data);
            let upload =
                Upload { digest: Some(digest.into()), data: data.into(), ..Upload::default() };
            let request = BatchUpdateBlobsRequest { requests: vec![upload], ..Default::default() };
            let reply = blobs.batch_update_blobs(request).await.unwrap().into_inner();
            assert_eq!(reply.responses[0].status.as_ref().unwrap().code, 0, "{reply:?}");
            digests.push(digest.into());
        }
        Self { blobs, digests }
    }

    async fn n_missing(&self) -> usize {
        let request = FindMissingBlobsRequest {
            blob_digests: self.digests.clone(),
            ..FindMissingBlobsRequest::default()
        };
        let reply = self.blobs.clone().find_missing_blobs(request).await.unwrap();
        reply.into_inner().missing_blob_digests.len()
    }
}
