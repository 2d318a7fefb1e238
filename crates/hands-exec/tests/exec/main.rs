//! Real actions in the real sandbox, at each level that this machine allows, as root and as an ordinary user. One binary
//! is the test and the launcher.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a test with a harness of its own")]
#![expect(clippy::disallowed_methods, reason = "a test with a harness of its own")]

mod actions;
mod bench;
mod streams;
mod terminals;

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, exit};

use bench::{Bench, Tally};

const ORDINARY_USER: u32 = 65_534;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    match args.get(1).map(String::as_str) {
        Some(hands_sandbox::LAUNCHER_WORD) => hands_sandbox::launcher_main(),
        Some("levels") => exit(i32::from(!all_levels(Path::new(&args[2]), &args[3]))),
        // What `cargo test` passes for its own harness.
        _ => {}
    }
    let place = std::env::temp_dir().join(format!("hands-exec-{}", std::process::id()));
    std::fs::create_dir(&place).expect("a directory for the test");
    let good = if rustix::process::geteuid().is_root() {
        all_levels(&place.join("own"), "root") & as_ordinary_user(&place.join("user"))
    } else {
        eprintln!("SKIPPED as root: run the test as root for that");
        all_levels(&place.join("own"), "user")
    };
    std::fs::remove_dir_all(&place).expect("the test's directory is removed");
    exit(i32::from(!good));
}

/// The test once more, in a process of an ordinary user with a program that it can reach.
fn as_ordinary_user(place: &Path) -> bool {
    std::fs::create_dir(place).expect("a directory for the user");
    let program = place.join("test");
    std::fs::copy(std::env::current_exe().expect("own path"), &program).expect("a copy");
    std::os::unix::fs::chown(place, Some(ORDINARY_USER), Some(ORDINARY_USER)).expect("chown");
    let mut user = Command::new(&program);
    user.arg("levels").arg(place.join("own")).arg("user");
    user.uid(ORDINARY_USER).gid(ORDINARY_USER).current_dir(place);
    user.status().expect("the test as an ordinary user").success()
}

fn all_levels(place: &Path, who: &str) -> bool {
    std::fs::create_dir(place).expect("a directory for the test");
    let found = hands_sandbox::probe(Path::new("/proc/self/exe"), place).expect("a probe");
    let mut tally = Tally::default();
    for report in &found.levels {
        if let Some(failure) = &report.failure {
            eprintln!("SKIPPED level {} as {who}: {failure}", report.level);
            continue;
        }
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let mut bench = Bench::new(place, report.level, who, &mut tally);
            actions::run(&mut bench).await;
            streams::run(&mut bench).await;
            terminals::run(&mut bench).await;
        });
    }
    tally.report(who)
}
