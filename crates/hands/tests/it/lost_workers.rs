//! Workers that die, stand still or can't be reached: their actions are run again within the lease's time, and what comes
//! late from them counts no more.

use std::io::{BufRead, BufReader, Read};
use std::sync::mpsc::channel;
use std::time::Duration;

use rustix::process::Signal;

use crate::durability::setting;
use crate::home::{Ran, json, ran, signal};
use crate::killable::Cluster;
use crate::machines::Net;
use crate::marks::Marks;
use crate::operators::{large_blob, spoil};
use crate::processes::level;

/// What only the second worker shows to its actions, so that a command knows where it is.
const SECOND: &str = "/var/lib";

/// Says a word, then does one thing on the first worker and another on the second.
fn here_or_there(marks: &Marks, first: &str, second: &str) -> String {
    format!(
        "{}; if ls -d {SECOND}/* >/dev/null 2>&1; then {second}; else {first}; fi",
        marks.say("run")
    )
}

#[test]
fn a_late_result_of_a_worker_that_stood_still_counts_no_more() {
    let Some(mut marks) = Marks::new() else { return };
    let cluster = Cluster::start();
    let [expose, directory] = marks.flags();
    let still = cluster.worker("still", &[&expose, &directory]);
    let command = here_or_there(&marks, "sleep 1; echo first; exit 7", "echo second");
    let id = cluster.detached(&["sh", "-c", &command]);
    marks.wait_for(1);
    // The command goes on and ends; its worker does not hear of it before it is long too late.
    signal(&still.0, Signal::STOP);
    let other = cluster.worker("other", &[&expose, &directory, "--expose", SECOND]);
    let ended = cluster.hands(&["wait", &id]);
    assert_eq!(ended.code, 0, "{ended:?}");
    marks.listen(Duration::from_secs(setting("HANDS_SOAK_STILL").unwrap_or(0)));
    signal(&still.0, Signal::CONT);
    assert_eq!(other.stop(), Some(0));
    // The first one is itself again, and what it had is forgotten.
    let alone = cluster.run(&["--", "echo", "well"]);
    assert_eq!((alone.code, alone.out.as_str()), (0, "well\n"), "{alone:?}");
    let job = json(&cluster.hands(&["status", "--json", &id]).out).remove(0);
    assert_eq!(
        (&job["attempt"], &job["worker"], &job["exit_code"]),
        (&2.into(), &"other".into(), &0.into()),
        "{job}"
    );
    assert_eq!(cluster.hands(&["logs", &id]).out, "second\n");
    assert_eq!(marks.all()["run"], 2);
    assert_eq!(still.stop(), Some(0));
}

#[test]
fn an_action_that_takes_three_workers_along_is_poisonous() {
    let Some(mut marks) = Marks::new() else { return };
    let cluster = Cluster::start();
    let [expose, directory] = marks.flags();
    let first = cluster.worker("w1", &[&expose, &directory]);
    let command = format!("{}; exec sleep 1000", marks.say("run"));
    let run =
        cluster.home.start(&["--cluster", &cluster.socket, "run", "--", "sh", "-c", &command]);
    marks.wait_for(1);
    drop(first);
    for (n, name) in [(2, "w2"), (3, "w3")] {
        let next = cluster.worker(name, &[&expose, &directory]);
        marks.wait_for(n);
        drop(next);
    }
    let ended = ran(run.wait_with_output().unwrap());
    assert_eq!(ended.code, 125, "{ended:?}");
    assert!(ended.err.contains("poisonous: 3 attempts were lost"), "{ended:?}");
    let job = json(&cluster.hands(&["ps", "-a", "--json"]).out).remove(0);
    assert_eq!((&job["state"], &job["attempt"]), (&"done".into(), &3.into()), "{job}");
    assert_eq!(marks.all()["run"], 3);
}

#[test]
fn a_worker_behind_a_cut_network_loses_its_actions_and_comes_back() {
    let Some(mut marks) = Marks::new() else { return };
    let Some(net) = Net::new(3) else { return };
    let [cut, other, client] = &net.others[..] else { unreachable!("three were made") };
    let mut hub = net.hub.start(&["hub", "--listen", "0.0.0.0:8980"], "");
    hub.says("the hub serves");
    let token = |role: &str| net.hub.ok(&["token", "create", "--role", role]);
    let [expose, directory] = marks.flags();
    let level = level(&net.hub.home);
    let flags = ["--slots", "1", "--isolation", &level, &expose, &directory];
    let mut first =
        cut.start(&[&["worker", &token("worker"), "--name", "cut"], &flags[..]].concat(), "");
    first.says("connected to the hub");
    client.ok(&["login", &token("submit")]);
    let command = here_or_there(&marks, "exec sleep 1000", "echo second");
    let id = client.ok(&["run", "-d", "--", "sh", "-c", &command]);
    marks.wait_for(1);
    // Everything to and from it vanishes, without a word to either end.
    let rules = "add table inet cut; add chain inet cut in { type filter hook input priority 0; policy drop; }; \
                 add chain inet cut out { type filter hook output priority 0; policy drop; }";
    let done = cut.run("nft", &[rules]);
    assert_eq!(done.code, 0, "{done:?}");
    let more = ["--expose", SECOND];
    let mut second = other.start(
        &[&["worker", &token("worker"), "--name", "other"], &flags[..], &more[..]].concat(),
        "",
    );
    second.says("connected to the hub");
    assert_eq!(client.hands(&["wait", &id]).code, 0);
    let job = json(&client.ok(&["status", "--json", &id])).remove(0);
    assert_eq!((&job["attempt"], &job["worker"]), (&2.into(), &"other".into()), "{job}");
    second.stop();
    // Half open: what the hub still has of the first one's connection belongs to nobody.
    let done = cut.run("nft", &["delete table inet cut"]);
    assert_eq!(done.code, 0, "{done:?}");
    first.says("connected to the hub again");
    let again = client.hands(&["run", "--", "echo", "well"]);
    assert_eq!((again.code, again.out.as_str()), (0, "well\n"), "{again:?}");
    assert_eq!(marks.all()["run"], 2);
    first.stop();
    hub.stop();
}

#[test]
fn a_spoiled_blob_of_the_hub_is_never_given_out_and_is_asked_for_anew() {
    let cluster = Cluster::start();
    let home = &cluster.home;
    home.write("large", &"x".repeat(300_000));
    let first = cluster.worker("w1", &[]);
    let sum = ["-q", "--input", "large", "--", "sha256sum", "large"];
    let good = cluster.run(&sum);
    assert_eq!(good.code, 0, "{good:?}");
    assert_eq!(first.stop(), Some(0));
    spoil(&large_blob(&cluster.hub_state().join("store")));
    // A worker that has nothing yet: it gets what its digest says, or nothing.
    let _second = cluster.worker("w2", &[]);
    let again = cluster.run(&sum);
    assert_eq!((again.code, &again.out), (0, &good.out), "{again:?}");
    let status = json(&cluster.hands(&["store", "status", "--json"]).out).remove(0);
    assert_eq!(status["corrupt"], 1, "{status}");
}

#[test]
fn a_spoiled_blob_of_a_worker_is_fetched_anew() {
    let cluster = Cluster::start();
    let home = &cluster.home;
    home.write("large", &"x".repeat(300_000));
    let worker = cluster.worker("w", &[]);
    let good = cluster.run(&["-q", "--input", "large", "--", "sha256sum", "large"]);
    assert_eq!(good.code, 0, "{good:?}");
    assert_eq!(worker.stop(), Some(0));
    let store = cluster.worker_state("w").join("store");
    spoil(&large_blob(&store));
    let worker = cluster.worker("w", &[]);
    home.write("other", "another tree");
    // With another time, so that the worker makes another file of the same blob.
    home.write("large", &"x".repeat(300_000));
    let again =
        cluster.run(&["-q", "--input", "large", "--input", "other", "--", "sha256sum", "large"]);
    assert_eq!((again.code, &again.out), (0, &good.out), "{again:?}");
    let same = cluster.run(&["-q", "--input", "large", "--", "sha256sum", "large"]);
    assert_eq!((same.code, &same.out), (0, &good.out), "the same tree: {same:?}");
    assert_eq!(worker.stop(), Some(0));
    assert_eq!(crate::home::names(&store.join("quarantine")).len(), 1);
}

#[test]
fn a_batch_says_a_loss_before_there_is_a_result() {
    let Some(mut marks) = Marks::new() else { return };
    let cluster = Cluster::start();
    let [expose, directory] = marks.flags();
    let flags = [&expose, &directory, "--slots", "4"];
    let first = cluster.worker("w1", &flags);
    let start = |flags: &[&str], word: &str| {
        cluster.home.write(word, &format!("{}; exec sleep 1000\n", marks.say(word)));
        let arguments = [&["--cluster", &cluster.socket, "batch"], flags, &[word]].concat();
        cluster.home.start(&arguments)
    };
    let (mut again, never) = (start(&[], "again"), start(&["--retry", "0"], "never"));
    let (to, lines) = channel();
    let stderr = BufReader::new(again.stderr.take().unwrap());
    let reading = move || stderr.lines().map_while(Result::ok).try_for_each(|line| to.send(line));
    std::thread::Builder::new().spawn(reading).unwrap();
    marks.wait_for(2);
    drop(first);
    let ended = ran(never.wait_with_output().unwrap());
    assert_eq!(ended.code, 125, "{ended:?}");
    let told = "attempt 1 was lost with its worker w1 and is not run again, as `--retry 0` says";
    assert!(ended.err.contains(told), "{ended:?}");
    let _second = cluster.worker("w2", &flags);
    // The command ends by no result.
    let line = lines.recv_timeout(Duration::from_secs(60)).expect("nothing is said of the loss");
    assert!(line.contains("command 1: attempt 1 was lost with its worker w1"), "{line}");
    assert!(line.contains("it is run again, attempt 2 on w2"), "{line}");
    marks.wait_for(3);
    signal(&again, Signal::INT);
    assert_eq!(again.wait().unwrap().code(), Some(130));
    assert_eq!((marks.all()["again"], marks.all()["never"]), (2, 1));
}

/// What becomes of a command that has begun, when its worker dies and its input is spoiled in the hub's store; and how often
/// it was begun.
fn loses_worker_and_input(mut marks: Marks, flags: &[&str], is_batch: bool) -> (Ran, usize) {
    let cluster = Cluster::start();
    let [expose, directory] = marks.flags();
    let first = cluster.worker("w1", &[&expose, &directory]);
    cluster.home.write("large", &"x".repeat(300_000));
    let script = here_or_there(&marks, "exec sleep 1000", "echo $r");
    let script = format!("r=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \\n'); echo $r; {script}");
    cluster.home.write("list", &format!("{script}\n"));
    let command = if is_batch { vec!["list"] } else { vec!["--", "sh", "-c", script.as_str()] };
    let arguments = [&["--cluster", &cluster.socket], flags, &["--input", "large"], &command];
    let mut child = cluster.home.start(&arguments.concat());
    let mut text = String::new();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    marks.wait_for(1);
    if !is_batch && !flags.contains(&"--json") {
        out.read_line(&mut text).unwrap();
    }
    spoil(&large_blob(&cluster.hub_state().join("store")));
    drop(first);
    let _second = cluster.worker("w2", &["--expose", SECOND, &expose, &directory]);
    out.read_to_string(&mut text).unwrap();
    let ended = Ran { out: text, ..ran(child.wait_with_output().unwrap()) };
    let n = marks.all()["run"];
    (ended, n)
}

#[test]
fn a_command_whose_output_was_shown_is_not_submitted_a_second_time() {
    let Some(marks) = Marks::new() else { return };
    let (ended, n) = loses_worker_and_input(marks, &["run"], false);
    assert_eq!((ended.code, ended.out.lines().count(), n), (125, 1, 1), "{ended:?}");
    assert!(ended.err.contains("attempt 1 was lost with its worker w1"), "{ended:?}");
}

#[test]
fn a_command_that_is_submitted_a_second_time_says_so() {
    for (flags, is_batch, code) in [
        (&["batch"][..], true, 0),
        (&["run", "--json"], false, 0),
        (&["batch", "--retry", "1"], true, 0),
        (&["batch", "--retry", "0"], true, 125),
    ] {
        let Some(marks) = Marks::new() else { return };
        let (ended, n) = loses_worker_and_input(marks, flags, is_batch);
        let runs = if code == 0 { 2 } else { 1 };
        assert_eq!((ended.code, n), (code, runs), "{flags:?}: {ended:?}");
        let told = "attempt 1 was lost with its worker w1";
        assert_eq!(ended.err.matches(told).count(), 1, "{flags:?}: {ended:?}");
    }
}
