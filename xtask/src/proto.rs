//! Turns `proto/` into the code that `hands-proto` checks in, so that no build needs protoc or a build script.

mod shapes;

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

/// Where the generated code lies, from the workspace's root.
pub(crate) const OUTPUT: &str = "crates/hands-proto/src/generated";

/// The files that define something; what they import comes with them.
const SOURCES: &[&str] = &[
    "build/bazel/remote/asset/v1/remote_asset.proto",
    "build/bazel/remote/execution/v2/remote_execution.proto",
    "build/bazel/semver/semver.proto",
    "google/bytestream/bytestream.proto",
    "google/longrunning/operations.proto",
    "google/rpc/code.proto",
    "google/rpc/error_details.proto",
    "google/rpc/status.proto",
    "hands/v1/actions.proto",
    "hands/v1/agent.proto",
    "hands/v1/common.proto",
    "hands/v1/jobs.proto",
    "hands/v1/stores.proto",
    "hands/v1/trust.proto",
    "hands/v1/workers.proto",
];

/// Writes one file per protobuf package into `output`, which is made if need be.
pub(crate) fn generate(root: &Path, output: &Path) -> Result<()> {
    fs::create_dir_all(output).with_context(|| format!("make {}", output.display()))?;
    let mut compiler = protox::Compiler::new([root.join("proto")]).context("find proto/")?;
    compiler
        .include_imports(true)
        .include_source_info(true)
        .open_files(SOURCES)
        .context("read proto/")?;
    let descriptors = compiler.file_descriptor_set();
    let shapes = shapes::text(&compiler.descriptor_pool())?;
    let mut config = tonic_prost_build::Config::new();
    // Packing into an Any needs them.
    config.enable_type_names();
    tonic_prost_build::configure()
        // Blob data must not be copied out of the buffer that it arrived in.
        .bytes(".")
        // Encoding must not depend on a hash map's order.
        .btree_map(".")
        // Looks at a message before it is decoded.
        .codec_path("crate::codec::BoundedCodec")
        .out_dir(output)
        .compile_fds_with_config(descriptors, config)
        .context("generate code")?;
    fs::write(output.join("shapes.rs"), shapes)?;
    let mut files = Vec::new();
    for entry in fs::read_dir(output)? {
        files.push(entry?.path());
    }
    let rustfmt = Command::new("rustfmt")
        .args(["--edition", "2024", "--config-path"])
        .arg(root.join("rustfmt.toml"))
        .args(&files)
        .status()
        .context("start rustfmt")?;
    ensure!(rustfmt.success(), "rustfmt failed on the generated code");
    Ok(())
}
