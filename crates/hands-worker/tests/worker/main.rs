//! A worker with its real sandbox and stores against a strict scripted hub, which speaks the session's protocol over a
//! pipe in memory. One binary is the test and the launcher.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a test with a harness of its own")]
#![expect(clippy::disallowed_methods, reason = "a test with a harness of its own")]

mod actions;
mod blobs;
mod cost;
mod hub;
mod mute;
mod place;
mod roots;
mod sessions;
mod streams;

use std::os::unix::process::CommandExt as _;
use std::process::{Command, exit};

use place::Tally;

const ORDINARY_USER: u32 = 65_534;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    if args.get(1).is_some_and(|word| word == hands_sandbox::LAUNCHER_WORD) {
        hands_sandbox::launcher_main();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let mut tally = Tally::new();
    // `cargo test -p hands-worker --test worker -- cost` prints what an action and an idle worker cost.
    if args.iter().any(|word| word == "cost") {
        runtime.block_on(cost::run(&mut tally));
    } else {
        runtime.block_on(async {
            actions::run(&mut tally).await;
            blobs::run(&mut tally).await;
            roots::run(&mut tally).await;
            streams::run(&mut tally).await;
            sessions::run(&mut tally).await;
            mute::run(&mut tally).await;
        });
    }
    drop(runtime);
    let mut good = tally.finish();
    if !rustix::process::geteuid().is_root() {
        if !args.iter().any(|word| word == "again") {
            eprintln!("SKIPPED as root: run the test as root for that");
        }
    } else if !args.iter().any(|word| word == "cost") {
        good &= as_ordinary_user();
    }
    exit(i32::from(!good));
}

/// The test once more, in a process of an ordinary user with a program that it can reach.
fn as_ordinary_user() -> bool {
    let place = std::env::temp_dir().join(format!("hands-worker-user-{}", std::process::id()));
    std::fs::create_dir(&place).expect("a directory for the user");
    let program = place.join("test");
    std::fs::copy(std::env::current_exe().expect("own path"), &program).expect("a copy");
    std::os::unix::fs::chown(&place, Some(ORDINARY_USER), Some(ORDINARY_USER)).expect("chown");
    let mut user = Command::new(&program);
    user.arg("again")
        .env("TMPDIR", &place)
        .uid(ORDINARY_USER)
        .gid(ORDINARY_USER)
        .current_dir(&place);
    let good = user.status().expect("the test as an ordinary user").success();
    std::fs::remove_dir_all(&place).expect("the user's directory is removed");
    good
}
