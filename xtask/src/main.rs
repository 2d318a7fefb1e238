//! Repository chores. `cargo test -p xtask` runs every tidy check, so that CI needs no second list.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "chores talk to a person")]

mod bench;
mod clients;
mod dist;
mod kernels;
mod leftovers;
mod macos;
mod proto;
mod soak;
mod sources;
mod suite;
#[cfg(test)]
mod tidy;

use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Result, bail};

const USAGE: &str = "usage: cargo xtask COMMAND

  test            run every check and test, and see that nothing is left
  clients [NAME…] only the tests with programs of others as our clients
  dist            the program to give to others: one static file, target/dist/hands
  proto           generate hands-proto's code from proto/
  bench [SET]     the figures of bench/, beside each peer that is installed: core, cluster or both;
                  bazel and reapi by name
  kernels [PKG…]  the sandbox's test on other kernels, in an emulated machine; minutes for each
  soak            the long counts: an hour of kills, hostile calls and more, recorded in bench/results
";

fn main() -> Result<ExitCode> {
    let mut arguments = std::env::args().skip(1);
    let command = arguments.next();
    match command.as_deref() {
        Some("test") => return Ok(suite::run(root())),
        Some("clients") => {
            let mut tally = suite::Tally::default();
            let scratch = suite::scratch_directory()?;
            suite::clients(root(), &scratch, &arguments.collect::<Vec<_>>(), &mut tally);
            std::fs::remove_dir_all(scratch)?;
            return Ok(if tally.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        Some("dist") => dist::run(root())?,
        Some("proto") => proto::generate(root(), &root().join(proto::OUTPUT))?,
        Some("soak") => return soak::run(root()),
        Some("kernels") => kernels::run(root(), &arguments.collect::<Vec<_>>())?,
        Some("bench") => bench::run(root(), &arguments.collect::<Vec<_>>())?,
        Some(other) => bail!("unknown command {other}\n{USAGE}"),
        None => bail!("{USAGE}"),
    }
    Ok(ExitCode::SUCCESS)
}

/// Cargo as it is where nobody runs it from within `cargo run`: the variables by which that names the package of this
/// program are a reason for some build scripts to build all anew.
fn cargo() -> Command {
    let mut command = Command::new(env!("CARGO"));
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    command
}

/// The workspace's root: everything that a chore touches is below it.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies one below the root")
}
