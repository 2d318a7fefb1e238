//! `hands batch`.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};

use rustix::process::Signal;

use crate::home::{Home, json, ran, signal};
use crate::operators::{large_blob, spoil};

fn lines(text: &str) -> BTreeSet<&str> {
    text.lines().collect()
}

#[test]
fn an_output_without_a_place_is_told_before_its_command_runs() {
    let home = Home::new().warm();
    home.write("file", "in its way\n");
    home.write(
        "list",
        "{\"argv\": [\"touch\", \"ran\"], \"output\": [\"file/x\"]}\n{\"command\": \"echo two\"}\n",
    );
    let ended = home.run(&["batch", "list"]);
    assert_eq!((ended.code, ended.out.as_str()), (125, "two\n"), "{ended:?}");
    assert!(ended.err.contains("command 1 (touch ran) was not run"), "{ended:?}");
    assert!(ended.err.contains("file"), "{ended:?}");
    let listed = json(&home.run(&["ps", "-a", "--json"]).out);
    let of_batch = listed.iter().filter(|job| job["mnemonic"] == "batch");
    assert_eq!(of_batch.count(), 1, "{listed:?}");
}

#[test]
fn a_command_that_ran_is_no_command_that_was_not_run() {
    let cluster = crate::killable::Cluster::start();
    let _worker = cluster.worker("w", &[]);
    cluster.home.write("list", "head -c 300000 /dev/zero | tr '\\0' x\n");
    let first = cluster.hands(&["batch", "--cache", "list"]);
    assert_eq!((first.code, first.out.len()), (0, 300_000), "{}", first.err);
    spoil(&large_blob(&cluster.hub_state().join("store")));
    let ended = cluster.hands(&["batch", "--cache", "--joblog", "log", "--json", "list"]);
    assert_eq!(ended.code, 1, "{ended:?}");
    let object = json(&ended.out).remove(0);
    assert_eq!(object["end"], "failed", "{object}");
    assert!(object["message"].as_str().unwrap().contains("standard output"), "{object}");
    assert_eq!(cluster.home.read("log").lines().count(), 2);
    let resumed = cluster.hands(&["batch", "--cache", "--joblog", "log", "--resume", "list"]);
    assert!(resumed.err.contains("nothing is left to run"), "{resumed:?}");
}

#[test]
fn lists_come_as_lines_as_objects_and_as_templates() {
    let home = Home::new().warm();
    home.write("list", "echo a; echo b\n\n# no\nprintf c\nprintf d\n");
    let plain = home.run(&["batch", "list"]);
    assert_eq!((plain.code, plain.err.as_str()), (0, ""), "{plain:?}");
    assert_eq!(lines(&plain.out), BTreeSet::from(["a", "b", "c", "d"]), "no line is torn");
    let objects = "{\"id\": \"x\", \"argv\": [\"sh\", \"-c\", \"echo $V; cat in/f\"], \"env\": {\"V\": \"v\"}, \
                   \"input\": [\"in\"]}\n{\"command\": \"exit 3\"}\n";
    home.write("in/f", "file\n");
    let ended = home.run_with(&["batch", "--json", "-"], objects);
    assert_eq!(ended.code, 1, "{ended:?}");
    let mut results = json(&ended.out);
    results.sort_by_key(|r| r["number"].as_u64());
    assert_eq!(results[0]["task"], "x");
    assert_eq!(results[0]["stdout"], "v\nfile\n");
    assert_eq!((&results[1]["exit_code"], &results[1]["end"]), (&3.into(), &"failed".into()));
    let template =
        home.run(&["batch", "--", "echo", "{1/.}-{#}-{2}", ":::", "d/a.c", "b.c", ":::", "x"]);
    assert_eq!(lines(&template.out), BTreeSet::from(["a-1-x", "b-2-x"]), "{template:?}");
    let piped = home.run_with(&["batch", "--", "echo {} | tr a-z A-Z"], "it's\nq\n");
    assert_eq!(lines(&piped.out), BTreeSet::from(["IT'S", "Q"]), "{piped:?}");
    assert_eq!(home.run_with(&["batch", "-"], "").code, 0);
}

#[test]
fn failures_are_named_and_stop_the_rest_only_when_asked() {
    let home = Home::new().warm();
    home.write("list", "false\necho after\n");
    let going = home.run(&["batch", "--jobs", "1", "list"]);
    assert_eq!((going.code, going.out.as_str()), (1, "after\n"), "{going:?}");
    assert!(going.err.contains("error: command 1 (false): exit code 1\n"), "{going:?}");
    assert!(going.err.contains("1 succeeded, 1 failed of 2 commands"), "{going:?}");
    let fast = home.run(&["batch", "--jobs", "1", "--fail-fast", "list"]);
    assert_eq!((fast.code, fast.out.as_str()), (1, ""), "{fast:?}");
}

#[test]
fn a_job_log_lets_a_batch_go_on() {
    let home = Home::new().warm();
    home.write("list", "echo one\nexit 4\necho three\n");
    let first = home.run(&["batch", "--joblog", "log", "list"]);
    assert_eq!(first.code, 1, "{first:?}");
    let log = home.read("log");
    let mut rows: Vec<Vec<&str>> = log.lines().map(|l| l.split('\t').collect()).collect();
    assert_eq!(
        rows.remove(0).join(" "),
        "Seq Host Starttime JobRuntime Send Receive Exitval Signal Command"
    );
    rows.sort();
    let brief: Vec<String> = rows.iter().map(|r| [r[0], r[5], r[6], r[8]].join(" ")).collect();
    assert_eq!(brief, ["1 4 0 echo one", "2 0 4 exit 4", "3 6 0 echo three"]);
    // As if it had been killed before the third.
    let two: String =
        log.lines().filter(|l| !l.starts_with("3\t")).map(|l| format!("{l}\n")).collect();
    home.write("log", &format!("{two}3\tw"));
    let resumed = home.run(&["batch", "--joblog", "log", "--resume", "list"]);
    assert_eq!((resumed.code, resumed.out.as_str()), (1, "three\n"), "{resumed:?}");
    let again = home.run(&["batch", "--joblog", "log", "--resume", "list"]);
    assert_eq!((again.code, again.out.as_str()), (1, ""), "{again:?}");
    let nothing = "hands: nothing is left to run: the log has 3 commands, 1 of which failed\n";
    assert_eq!(again.err, nothing);
    home.write("list", "echo other\n");
    let changed = home.run(&["batch", "--joblog", "log", "--resume", "list"]);
    assert_eq!(changed.code, 125, "{changed:?}");
    assert!(changed.err.contains("error: log, line "), "{changed:?}");
}

#[test]
fn many_commands_each_end_once() {
    let home = Home::new().warm();
    let list: String = (0..300).map(|i| format!("echo {i} line; echo {i} more\n")).collect();
    let ended = home.run_with(&["batch", "-"], &list);
    assert_eq!((ended.code, ended.err.as_str()), (0, ""));
    let all: Vec<&str> = ended.out.lines().collect();
    assert_eq!(all.len(), 600);
    // What one command wrote stands together.
    for pair in all.chunks(2) {
        assert_eq!(pair[0].split(' ').next(), pair[1].split(' ').next());
    }
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 600);
}

#[test]
fn ctrl_c_and_a_closed_terminal_cancel_what_runs() {
    let home = Home::new().warm();
    home.write("list", "echo ready\nsleep 1000\nsleep 1000\n");
    for (sent, code) in [(Signal::INT, 130), (Signal::HUP, 129), (Signal::TERM, 143)] {
        let mut child = home.start(&["batch", "--jobs", "3", "list"]);
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        signal(&child, sent);
        let ended = ran(child.wait_with_output().unwrap());
        assert_eq!(ended.code, code, "{ended:?}");
        let mut left = home.run(&["ps", "--json"]).out;
        let began = std::time::Instant::now();
        while !left.is_empty() && began.elapsed().as_secs() < 10 {
            left = home.run(&["ps", "--json"]).out;
        }
        assert_eq!(left, "", "after {sent:?}");
    }
}
