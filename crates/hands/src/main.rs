//! `hands`: argument parsing and exit codes.
//!
//! Dispatches to one file per subcommand. Nothing else of the workspace decides exit codes of the process or installs
//! a panic hook.

mod cli;

use clap::Parser;

fn main() {
    let _cli = cli::Cli::parse();
}
