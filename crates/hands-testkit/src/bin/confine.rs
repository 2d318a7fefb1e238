//! `hands-testkit-confine COMMAND…`: runs a command as in an ordinary container, where namespaces and mounts are denied.

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

#[expect(clippy::print_stderr, reason = "this is the whole program's output")]
fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let Some(program) = arguments.next() else {
        eprintln!("usage: hands-testkit-confine COMMAND [ARGUMENT…]");
        return ExitCode::from(2);
    };
    if let Err(why) = hands_testkit::confine::confine() {
        eprintln!("seccomp: {why}");
        return ExitCode::from(3);
    }
    let error = Command::new(program).args(arguments).exec();
    eprintln!("exec: {error}");
    ExitCode::from(127)
}
