//! Proof by attempt: probes run inside the sandbox as actions and exit 0 when they were contained; where only the host
//! can see the damage, the host looks as well. Runs at each level, as root and as an ordinary user. One binary is the
//! test, the launcher, and the hostile program.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a test with a harness of its own")]
#![expect(clippy::exit, clippy::disallowed_methods, reason = "a test with a harness of its own")]
#![expect(unsafe_code, reason = "hostile programs call the kernel directly")]

mod bounds;
mod commands;
mod escape;
mod harness;
mod hidden;
mod inside;
mod machines;
mod neighbours;
mod own_root;
mod trees;
mod worker_death;

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, exit};

use hands_sandbox::{Isolation, LAUNCHER_WORD, launcher_main, probe};
use harness::{Bench, Tally};

const ORDINARY_USER: u32 = 65_534;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    match args.get(1).map(String::as_str) {
        Some(LAUNCHER_WORD) => launcher_main(),
        Some("inside") => inside::run(&args[2..]),
        Some("worker") => worker_death::worker(&args[2..]),
        Some("levels") => exit(i32::from(!all_levels(Path::new(&args[2]), &args[3]))),
        Some("on-overlay") => exit(i32::from(!machines::on_overlay(Path::new(&args[2])))),
        // What `cargo test` passes for its own harness.
        _ => {}
    }
    let place = std::env::temp_dir().join(format!("hands-isolation-{}", std::process::id()));
    std::fs::create_dir(&place).expect("a directory for the test");
    let good = if rustix::process::geteuid().is_root() {
        let mut good = all_levels(&place.join("own"), "root");
        good &= as_ordinary_user(&place.join("user"), "user");
        good &= machines::private(&place.join("private"));
        good &= machines::overlay(&place.join("overlay"));
        good & machines::containers(&place)
    } else {
        eprintln!("SKIPPED as root, and on an overlay: run the test as root for these");
        all_levels(&place.join("own"), "user")
            & machines::container(&place.join("container"), "user")
    };
    std::fs::remove_dir_all(&place).expect("the test's directory is removed");
    exit(i32::from(!good));
}

/// The test once more, in a process of its own: all levels in a new directory.
pub(crate) fn again(program: &Path, place: &Path, who: &str) -> Command {
    let mut command = Command::new(program);
    command.arg("levels").arg(place).arg(who);
    command
}

/// A place of an ordinary user with a program that the user can reach.
pub(crate) fn give_to_user(place: &Path) -> PathBuf {
    std::fs::create_dir(place).expect("a directory for the user");
    let program = place.join("test");
    std::fs::copy(std::env::current_exe().expect("own path"), &program)
        .expect("a copy that the user can reach");
    std::os::unix::fs::chown(place, Some(ORDINARY_USER), Some(ORDINARY_USER)).expect("chown");
    program
}

pub(crate) fn as_ordinary_user(place: &Path, who: &str) -> bool {
    let program = give_to_user(place);
    let mut user = again(&program, &place.join("own"), who);
    user.uid(ORDINARY_USER).gid(ORDINARY_USER).current_dir(place);
    user.status().expect("the test as an ordinary user").success()
}

pub(crate) fn all_levels(place: &Path, who: &str) -> bool {
    std::fs::create_dir(place).expect("a directory for the test");
    let found = probe(Path::new("/proc/self/exe"), place).expect("a probe");
    println!(
        "{who}: landlock {}, cgroup {:?}, warnings {:?}",
        found.landlock_abi, found.cgroup, found.warnings
    );
    let mut tally = Tally::default();
    machines::expect(&found, who, &mut tally);
    for report in &found.levels {
        if let Some(failure) = &report.failure {
            eprintln!("SKIPPED level {} as {who}: {failure}", report.level);
            continue;
        }
        let mut bench = Bench::new(place, report.level, who, &found, &mut tally);
        commands::run(&mut bench);
        trees::run(&mut bench);
        hidden::run(&mut bench);
        own_root::run(&mut bench);
        if who.contains("overlay") {
            // Where files are is all that differs there.
            continue;
        }
        bounds::run(&mut bench);
        if report.level == Isolation::Full {
            escape::run(&mut bench);
        }
        neighbours::run(&mut bench);
        worker_death::run(&mut bench);
        worker_death::launcher(&mut bench);
    }
    tally.report(who)
}
