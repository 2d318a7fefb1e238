//! A hub that comes back without its state, or with an old copy of it, while somebody follows an action: that is told in one
//! sentence, or the action runs again and that is told. Nothing is shown that is put together of two executions.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStdout, Command};

use crate::home::{Ran, ran};
use crate::killable::Cluster;
use crate::marks::Marks;

/// A front-end that has shown two lines.
struct Shown {
    child: Child,
    out: BufReader<ChildStdout>,
    text: String,
}

impl Shown {
    fn start(cluster: &Cluster, arguments: &[&str], n_lines: usize) -> Self {
        let all = [&["--cluster", &cluster.socket], arguments].concat();
        let mut child = cluster.home.start(&all);
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut text = String::new();
        for _ in 0..n_lines {
            out.read_line(&mut text).unwrap();
        }
        Self { child, out, text }
    }

    fn rest(mut self) -> Ran {
        self.out.read_to_string(&mut self.text).unwrap();
        Ran { out: self.text, ..ran(self.child.wait_with_output().unwrap()) }
    }
}

/// It has shown what it had, and says one thing more.
fn ends_with(ended: &Ran, code: i32, told: &str) {
    assert_eq!((ended.code, ended.out.lines().count()), (code, 2), "{ended:?}");
    assert_eq!(ended.err.matches("error: ").count(), 1, "{ended:?}");
    assert!(ended.err.contains(told), "{told}: {ended:?}");
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").args([from, to]).status().unwrap();
    assert!(copied.success());
}

/// What becomes of those who follow, when the hub is killed and its state is made another.
fn forgets(mut cluster: Cluster, change: impl FnOnce(&Cluster)) {
    let Some(mut marks) = Marks::new() else { return };
    let goes_on = marks.file("goes-on");
    let [expose, directory] = marks.flags();
    let _worker = cluster.worker("worker", &["--slots", "8", &expose, &directory]);
    // Another value in each execution; the last line when the test says so.
    let script = |word: &str| {
        format!(
            "r=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \\n'); echo began; echo $r; {}; \
             until grep -q now {}; do sleep 0.05; done; echo $r",
            marks.say(word),
            goes_on.display()
        )
    };
    let [detached, run, fed, batch] = ["detached", "run", "fed", "batch"].map(script);
    let id = cluster.detached(&["sh", "-c", &detached]);
    let logs = Shown::start(&cluster, &["logs", "-f", &id], 2);
    let attached = Shown::start(&cluster, &["attach", &id], 2);
    let waits = Shown::start(&cluster, &["wait", &id], 0);
    let run = Shown::start(&cluster, &["run", "--", "sh", "-c", &run], 2);
    let fed = Shown::start(&cluster, &["run", "-i", "--", "sh", "-c", &fed], 2);
    cluster.home.write("list", &format!("{batch}\n"));
    let batch = Shown::start(&cluster, &["batch", "list"], 0);
    marks.wait_for(4);
    cluster.kill_hub();
    change(&cluster);
    cluster.start_hub();

    let never = "does not know the action any more";
    ends_with(&logs.rest(), 3, never);
    ends_with(&attached.rest(), 125, never);
    let waited = waits.rest();
    assert!(waited.code != 0 && waited.err.contains(never), "{waited:?}");
    ends_with(&fed.rest(), 125, never);
    let ended = run.rest();
    ends_with(&ended, 125, "the second one writes something else");
    assert!(ended.err.contains(never), "{ended:?}");
    // What was not shown yet is of one execution, the second.
    fs::write(&goes_on, "now\n").unwrap();
    let ended = batch.rest();
    assert_eq!(ended.code, 0, "{ended:?}");
    let lines: Vec<&str> = ended.out.lines().collect();
    assert!(matches!(lines[..], ["began", first, last] if first == last), "{ended:?}");
    assert!(ended.err.contains(never), "{ended:?}");
    let all = marks.all();
    assert_eq!((all["batch"], all["fed"], all["detached"]), (2, 1, 1), "{all:?}");
}

#[test]
fn a_hub_without_its_state_is_told_of() {
    forgets(Cluster::start(), |cluster| fs::remove_dir_all(cluster.hub_state()).unwrap());
}

#[test]
fn a_hub_with_an_old_copy_of_its_state_is_told_of() {
    let mut cluster = Cluster::start();
    cluster.kill_hub();
    let old = cluster.home.work().join("old");
    copy(&cluster.hub_state(), &old);
    cluster.start_hub();
    forgets(cluster, |cluster| {
        fs::remove_dir_all(cluster.hub_state()).unwrap();
        copy(&old, &cluster.hub_state());
    });
}
