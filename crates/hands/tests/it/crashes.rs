//! `kill -9` of every process in turn: what was accepted ends in exactly one result, or in a clear error, and nothing is
//! left behind.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

use rustix::process::{Signal, kill_process};

use crate::home::{Home, Ran, json, ran};
use crate::leftovers::assert_no_process_is_left;
use crate::processes::{Server, level};

/// A directory that actions see only on a worker that exposes it. Commands here wait for ever on a worker that does not,
/// so that a test knows what it kills.
const EXPOSED: &str = "/var/lib";
/// Says that it runs, and goes on only where it sees that directory.
const WAITS: &str = "echo began; ls -d /var/lib/* >/dev/null 2>&1 || exec sleep 1000; echo ended";

/// A front-end that exposes the directory to what runs on the agent that it starts.
fn exposing(home: &Home, arguments: &[&str]) -> Command {
    let mut command = home.hands(arguments);
    command.env("HANDS_WORKER_EXPOSE", EXPOSED).stdin(Stdio::null());
    command
}

/// Starts it and returns when it has printed a first line.
fn begun(mut command: Command) -> (Child, BufReader<std::process::ChildStdout>) {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    assert_eq!(line, "began\n");
    (child, out)
}

/// What came after the first line, and how it ended.
fn rest((child, mut out): (Child, BufReader<std::process::ChildStdout>)) -> Ran {
    let mut text = String::new();
    out.read_to_string(&mut text).unwrap();
    Ran { out: text, ..ran(child.wait_with_output().unwrap()) }
}

fn kill(process: rustix::process::Pid) {
    kill_process(process, Signal::KILL).unwrap();
}

/// The one action of a list, in full.
fn only(home: &Home, flags: &[&str]) -> serde_json::Value {
    let list = json(&home.run(&[&["ps", "-a", "--json"], flags].concat()).out);
    let [job] = list.as_slice() else { panic!("{list:?}") };
    job.clone()
}

#[test]
fn a_killed_worker_s_action_is_run_again_elsewhere() {
    let home = Home::new();
    let socket = format!("unix:{}", home.work().join("hub.sock").display());
    let level = level(&home);
    let (hub, _) = Server::start(&home, &["hub", "--listen", &socket], "the hub serves");
    let worker = |name: &str, flags: &[&str]| {
        let state = home.work().join(name);
        let all = [
            "worker",
            &socket,
            "--name",
            name,
            "--state",
            state.to_str().unwrap(),
            "--isolation",
            &level,
        ];
        Server::start(&home, &[&all, flags].concat(), "connected to the hub").0
    };
    let first = worker("w1", &[]);
    let mark = home.mark();
    let flags = ["--cluster", &socket];
    let run =
        begun(home.hands(&["run", "-v", "--cluster", &socket, "--", "sh", "-c", WAITS, &mark]));
    first.kill();
    // Its lease runs out, and only then is the action another's.
    let waiting = only(&home, &flags);
    assert_eq!(
        (&waiting["state"], &waiting["worker"]),
        (&"running".into(), &"w1".into()),
        "{waiting}"
    );
    let second = worker("w2", &["--expose", EXPOSED]);
    let ended = rest(run);
    assert_eq!(
        (ended.code, ended.out.as_str()),
        (0, "ended\n"),
        "what was shown is not shown twice: {ended:?}"
    );
    assert!(
        ended.err.contains("hands: running on w2\n") && ended.err.contains("attempt 2"),
        "{ended:?}"
    );
    let job = only(&home, &flags);
    assert_eq!(
        (&job["attempt"], &job["worker"], &job["exit_code"]),
        (&2.into(), &"w2".into(), &0.into()),
        "{job}"
    );
    let status = home.run(&["status", "--cluster", &socket, job["id"].as_str().unwrap()]);
    assert!(status.out.contains("attempt    2\n"), "{status:?}");
    assert_eq!(home.run(&["run", "--cluster", &socket, "--", "true"]).code, 0);
    assert_eq!(second.stop(), Some(0));
    assert_eq!(hub.stop(), Some(0));
    assert_no_process_is_left(&home);
}

#[test]
fn a_killed_hub_loses_nothing_and_its_workers_run_on() {
    let home = Home::new();
    let socket = format!("unix:{}", home.work().join("hub.sock").display());
    let level = level(&home);
    let hub = || Server::start(&home, &["hub", "--listen", &socket], "the hub serves").0;
    let first = hub();
    let (worker, _) = Server::start(
        &home,
        &["worker", &socket, "--slots", "2", "--isolation", &level],
        "connected to the hub",
    );
    let list: String = (0..60).map(|i| format!("sleep 0.05; echo {i}\n")).collect();
    home.write("list", &list);
    let mut batch = home.start(&["batch", "--cluster", &socket, "--joblog", "log", "list"]);
    let mut out = BufReader::new(batch.stdout.take().unwrap());
    let mut text = String::new();
    // One has ended, so most have not.
    out.read_line(&mut text).unwrap();
    first.kill();
    let second = hub();
    out.read_to_string(&mut text).unwrap();
    let ended = ran(batch.wait_with_output().unwrap());
    assert_eq!((ended.code, ended.err.as_str()), (0, ""), "{ended:?}");
    let numbers: Vec<u32> = text.lines().map(|l| l.parse().unwrap()).collect();
    assert_eq!(numbers.len(), 60, "each once: {numbers:?}");
    assert_eq!(numbers.into_iter().collect::<BTreeSet<_>>(), (0..60).collect());
    assert_eq!(home.read("log").lines().count(), 61);
    let jobs = json(&home.run(&["ps", "-a", "--cluster", &socket, "--json"]).out);
    // What was leased and not yet told when the hub died is leased again. It was not run: `durability` counts that.
    let again: Vec<_> = jobs.iter().filter(|j| j["attempt"] != 1).collect();
    assert!(jobs.len() == 60 && again.len() <= 4, "more than two slots' leases: {again:?}");
    assert_eq!(worker.stop(), Some(0));
    assert_eq!(second.stop(), Some(0));
    assert_no_process_is_left(&home);
}

#[test]
fn a_front_end_goes_on_with_a_new_agent() {
    let home = Home::new().warm();
    if !home.run(&["workers", "--json"]).out.contains("\"full\"") {
        println!("skipped: below full isolation actions may see what is not exposed");
        return;
    }
    let mark = home.mark();
    let run = begun(exposing(&home, &["run", "-v", "--", "sh", "-c", WAITS, &mark]));
    let killed = home.agent();
    kill(killed);
    let ended = rest(run);
    assert_eq!((ended.code, ended.out.as_str()), (0, "ended\n"), "{ended:?}");
    assert!(ended.err.contains("attempt 2"), "{ended:?}");
    assert_ne!(home.agent(), killed);
    let jobs = json(&home.run(&["ps", "-a", "--json"]).out);
    assert_eq!((jobs.len(), &jobs[0]["attempt"]), (2, &2.into()), "{jobs:?}");
    assert_eq!(home.run(&["agent", "stop"]).code, 0);
    assert_no_process_is_left(&home);
}

#[test]
fn a_batch_goes_on_with_a_new_agent() {
    let home = Home::new().warm();
    if !home.run(&["workers", "--json"]).out.contains("\"full\"") {
        println!("skipped: below full isolation actions may see what is not exposed");
        return;
    }
    let mark = home.mark();
    let waits =
        format!("ls -d {EXPOSED}/* >/dev/null 2>&1 || exec sleep 1000; echo {{}}; : {mark}");
    home.write("list", "echo began\n");
    // The first command ends; the others wait for the second agent.
    let lines: String = ["echo began\n".to_owned()]
        .into_iter()
        .chain((0..12).map(|i| format!("{}\n", waits.replace("{}", &i.to_string()))))
        .collect();
    home.write("list", &lines);
    let batch = begun(exposing(&home, &["batch", "--joblog", "log", "list"]));
    kill(home.agent());
    let ended = rest(batch);
    assert_eq!(ended.code, 0, "{ended:?}");
    let told = ended.err.lines().filter(|line| line.contains("attempt 1 was lost with its worker"));
    assert_eq!(told.count(), ended.err.lines().count(), "what may have run twice: {ended:?}");
    assert!(!ended.err.is_empty());
    let mut numbers: Vec<u32> = ended.out.lines().map(|l| l.parse().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..12).collect::<Vec<_>>());
    assert_eq!(home.read("log").lines().count(), 14, "{}", home.read("log"));
    assert_eq!(home.run(&["agent", "stop"]).code, 0);
    assert_no_process_is_left(&home);
}

#[test]
fn what_may_have_had_effects_is_run_again_only_when_that_was_allowed() {
    let home = Home::new().warm();
    let mark = home.mark();
    let command = ["--network", "host", "--", "sh", "-c", WAITS, &mark];
    let run = begun(exposing(&home, &[&["run"], command.as_slice()].concat()));
    kill(home.agent());
    let ended = rest(run);
    assert_eq!((ended.code, ended.out.as_str()), (125, ""), "{ended:?}");
    assert_eq!(
        ended.err,
        "error: attempt 1 was lost with its worker and may have had effects outside, so it is not run again; \
         `--retry N` allows that\n"
    );
    // An agent without the directory once more.
    assert_eq!(home.run(&["agent", "stop"]).code, 0);
    let home = home.warm();
    let run =
        begun(exposing(&home, &[&["run", "-v", "--retry", "1"], command.as_slice()].concat()));
    kill(home.agent());
    let ended = rest(run);
    assert_eq!((ended.code, ended.out.as_str()), (0, "ended\n"), "{ended:?}");
    assert!(ended.err.contains("attempt 2"), "{ended:?}");
    assert_eq!(home.run(&["agent", "stop"]).code, 0);
    assert_no_process_is_left(&home);
}
