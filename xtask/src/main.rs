//! Repository chores. `cargo test -p xtask` runs every tidy check, so that CI needs no second list.
#![forbid(unsafe_code)]

mod proto;
#[cfg(test)]
mod tidy;

use std::path::Path;

use anyhow::{Result, bail};

const USAGE: &str =
    "usage: cargo xtask COMMAND\n\n  proto   generate hands-proto's code from proto/";

fn main() -> Result<()> {
    let command = std::env::args().nth(1);
    match command.as_deref() {
        Some("proto") => proto::generate(root(), &root().join(proto::OUTPUT)),
        Some(other) => bail!("unknown command {other}\n{USAGE}"),
        None => bail!("{USAGE}"),
    }
}

/// The workspace's root: everything that a chore touches is below it.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies one below the root")
}
