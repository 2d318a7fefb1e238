//! A worker with its real sandbox and stores against a strict scripted hub, which speaks the session's protocol over a
//! pipe in memory. One binary is the test and the launcher.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a test with a harness of its own")]
#![expect(clippy::exit, clippy::disallowed_methods, reason = "a test with a harness of its own")]

mod actions;
mod blobs;
mod cost;
mod hub;
mod place;
mod sessions;
mod streams;

use std::process::exit;

use place::Tally;

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
            streams::run(&mut tally).await;
            sessions::run(&mut tally).await;
        });
    }
    drop(runtime);
    let good = tally.finish();
    if rustix::process::geteuid().is_root() {
        println!("as root");
    } else {
        eprintln!("SKIPPED as root: run the test as root for that");
    }
    exit(i32::from(!good));
}
