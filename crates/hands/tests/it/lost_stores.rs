//! What an agent keeps is deleted under it: the next command has an agent that can keep things, and nobody is asked to report.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;

use crate::home::{Home, ran};

fn state(home: &Home) -> PathBuf {
    home.hands_home().join("state/agent")
}

#[test]
fn an_agent_whose_store_was_deleted_makes_room_for_one_that_has_one() {
    let home = Home::new().warm();
    home.write("input", "kept\n");
    let store = state(&home).join("store");
    let all = home.hands_home();
    // A store, its last file, or all that we ever kept here.
    for (gone, words) in [
        (&store, &["run", "-q", "--", "true"][..]),
        (&store, &["run", "-q", "-I", "input", "-o", "out", "--", "cp", "input", "out"]),
        (&store.join("lock"), &["batch", "-q", "-I", "input", "--", "cat {}", ":::", "input"]),
        (&store, &["run", "-q", "--cache", "-I", "input", "--", "cat", "input"]),
        (&all, &["run", "-q", "-I", "input", "--", "cat", "input"]),
    ] {
        let before = home.agent();
        match gone.is_dir() {
            true => fs::remove_dir_all(gone).unwrap(),
            false => fs::remove_file(gone).unwrap(),
        }
        let ended = home.run(words);
        assert_eq!((ended.code, ended.err.as_str()), (0, ""), "{gone:?} {words:?}: {ended:?}");
        assert_ne!(home.agent(), before, "{words:?}");
    }
}

/// What runs meanwhile ends with one sentence, or is run again, but never as a bug of ours.
#[test]
fn what_ran_when_the_store_was_deleted_is_no_bug() {
    let home = Home::new().warm();
    let script = "echo began; read x; echo y >out";
    let mut running = home.start(&["run", "--stdin", "-o", "out", "--", "sh", "-c", script]);
    let mut line = String::new();
    BufReader::new(running.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "began\n");
    fs::remove_dir_all(state(&home).join("store")).unwrap();
    drop(running.stdin.take());
    let ended = ran(running.wait_with_output().unwrap());
    assert!(ended.code == 125 && !ended.err.contains("report"), "{ended:?}");
    assert!(ended.err.lines().any(|line| line.starts_with("error: ")), "{ended:?}");
    let next = home.run(&["run", "-q", "--", "echo", "next"]);
    assert_eq!((next.code, next.out.as_str()), (0, "next\n"), "{next:?}");
}
