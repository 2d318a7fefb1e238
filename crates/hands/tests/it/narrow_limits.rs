//! Limits of whoever starts a program that stays: what it can't work within is said at its start, with numbers.

use std::fs;
use std::os::unix::fs::chown;
use std::path::PathBuf;
use std::process::Command;

use crate::home::{HANDS, Home, Ran, ran};

/// A user that exists nowhere, has no other process and owns nothing but what a test gives it. Unlike root it can raise
/// no limit.
const USER: u32 = 54_325;

/// The program as such a user has it.
fn program(home: &Home) -> PathBuf {
    let program = home.work().join("hands");
    assert!(Command::new("cp").arg(HANDS).arg(&program).status().unwrap().success());
    for path in [home.hands_home(), home.work()] {
        fs::create_dir_all(&path).unwrap();
        chown(&path, Some(USER), Some(USER)).unwrap();
    }
    program
}

fn as_user(home: &Home, program: &PathBuf, script: &str) -> Ran {
    let mut command = home.program("setpriv");
    command.args([&format!("--reuid={USER}"), &format!("--regid={USER}"), "--clear-groups"]);
    command.args(["bash", "-c", script]).env("HANDS", program).env("HOME", home.work());
    command.env_remove("SSL_CERT_FILE").env_remove("SSL_CERT_DIR");
    ran(command.output().unwrap())
}

/// What is started under it serves nobody, and would stay for those who have no such limit.
#[test]
fn an_agent_that_could_run_nothing_is_refused_and_the_next_caller_has_its_own() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root can become a user without other processes");
        return;
    }
    let home = Home::new();
    home.write("input", "kept\n");
    let hands = program(&home);
    let run = "\"$HANDS\" run -q -I input -- cat input";
    for (limit, said) in [
        ("ulimit -n 33", "33 open files (`ulimit -Hn`), and it needs 64"),
        ("ulimit -u 16", "16 processes (`ulimit -Hu`), and it needs 32"),
        (
            "ulimit -v 80000",
            "81920000 bytes of address space (`ulimit -Hv`), and it needs 134217728",
        ),
        ("ulimit -d 20000", "20480000 bytes of data (`ulimit -Hd`), and it needs 67108864"),
        ("ulimit -f 64", "files of 65536 bytes (`ulimit -Hf`), and it needs 67108864"),
    ] {
        let refused = as_user(&home, &hands, &format!("{limit}; exec timeout 20 {run}"));
        assert_eq!(refused.code, 125, "{limit}: {refused:?}");
        let begin =
            "error: the agent can't work within the limits of the process that starts it: at most ";
        let says =
            format!("{begin}{said}; raise the hard limit, or start it from where it is higher\n");
        assert_eq!(refused.err, says, "{limit}");
        let next = as_user(&home, &hands, &format!("{run}; \"$HANDS\" agent stop"));
        assert_eq!((next.code, next.out.as_str()), (0, "kept\n"), "{limit}: {next:?}");
    }
}

/// What there are no files for is not promised.
#[test]
fn few_open_files_are_fewer_actions_at_once() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root can become a user without other processes");
        return;
    }
    let home = Home::new();
    let hands = program(&home);
    let script = "ulimit -n 80; HANDS_WORKER_SLOTS=50 \"$HANDS\" run -q -- true; \"$HANDS\" workers --json; \
                  \"$HANDS\" agent status; \"$HANDS\" agent stop";
    let ended = as_user(&home, &hands, script);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.out.contains("4 actions at once, not 50"), "{ended:?}");
    assert!(ended.out.contains("\"slots\":4"), "{ended:?}");
}

#[test]
fn a_hub_and_a_worker_say_which_limit_is_too_low() {
    let home = Home::new();
    let socket = format!("unix:{}", home.work().join("hub.sock").display());
    for (name, rest) in
        [("hub", vec!["hub", "--listen", &socket]), ("worker", vec!["worker", &socket])]
    {
        let mut command = home.program("sh");
        command.args(["-c", "ulimit -n 32; exec timeout 20 \"$0\" \"$@\"", HANDS]).args(rest);
        let refused = ran(command.output().unwrap());
        assert_eq!(refused.code, 3, "{refused:?}");
        let says = format!(
            "error: the {name} can't work within the limits of the process that starts it: at most 32 open files \
             (`ulimit -Hn`), and it needs 64\n"
        );
        assert!(refused.err.starts_with(&says), "{refused:?}");
    }
}
