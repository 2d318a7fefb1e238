//! When a worker is lost, its action is somebody else's once the lease has run out: no sooner, and little later.

use std::fs;
use std::io::Write;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::home::{json, signal};
use crate::machines::{Machine, Net, Program};
use crate::marks::Marks;
use crate::processes::level;

/// What a worker has at the longest without a sign of life.
const LEASE: Duration = Duration::from_secs(10);
/// How much earlier the last sign of life may be than the fault: the interval of heartbeats, and one that was late.
const BEFORE: Duration = Duration::from_millis(2500);
/// How long it may take to begin on the next worker.
const MARGIN: Duration = Duration::from_secs(4);

/// Everything to and from a machine vanishes, without a word to either end.
fn cut(machine: &Machine) {
    let rules = "add table inet cut; add chain inet cut in { type filter hook input priority 0; policy drop; }; \
                 add chain inet cut out { type filter hook output priority 0; policy drop; }";
    let done = machine.run("nft", &[rules]);
    assert_eq!(done.code, 0, "{done:?}");
}

/// The ways to lose a worker. A half-open connection is what a machine leaves behind that lost its power: the process
/// has gone, and nobody tells the hub.
const FAULTS: [&str; 4] = ["stopped", "killed", "cut", "half-open"];

fn strike(fault: &str, machine: &Machine, worker: Program) -> Option<Program> {
    match fault {
        "stopped" => signal(worker.child(), Signal::STOP),
        "cut" => cut(machine),
        "half-open" => {
            cut(machine);
            worker.kill();
            return None;
        }
        _ => {
            worker.kill();
            return None;
        }
    }
    Some(worker)
}

#[test]
fn a_lost_worker_s_action_begins_anew_when_its_lease_has_run_out() {
    let Some(mut marks) = Marks::new() else { return };
    let Some(net) = Net::new(5) else { return };
    let mut hub = net.hub.start(&["hub", "--listen", "0.0.0.0:8980"], "");
    hub.says("the hub serves");
    let token = |role: &str| net.hub.ok(&["token", "create", "--role", role]);
    let [expose, directory] = marks.flags();
    let goes_on = marks.file("goes-on");
    let level = level(&net.hub.home);
    let start = |machine: &Machine, name: &str, slots: &str| {
        let flags = ["--name", name, "--slots", slots, "--isolation", &level, &expose, &directory];
        let mut worker = machine.start(&[&["worker", &token("worker")], &flags[..]].concat(), "");
        worker.says("connected to the hub");
        worker
    };
    let (spare, lost) = net.others.split_last().unwrap();
    spare.ok(&["login", &token("submit")]);
    let mut ids = Vec::new();
    let mut workers = Vec::new();
    for (fault, machine) in FAULTS.iter().zip(lost) {
        workers.push(start(machine, fault, "1"));
        let wait =
            format!("{}; grep -q now {} || exec sleep 1000", marks.say(fault), goes_on.display());
        ids.push(spare.ok(&["run", "-d", "--", "sh", "-c", &wait]));
        assert_eq!(marks.next(), *fault);
    }
    let rest = start(spare, "spare", "4");
    fs::write(&goes_on, "now\n").unwrap();
    let mut struck = Vec::new();
    let mut left = Vec::new();
    for ((fault, machine), worker) in FAULTS.iter().zip(lost).zip(workers) {
        struck.push((*fault, Instant::now()));
        left.extend(strike(fault, machine, worker));
    }
    for _ in FAULTS {
        let word = marks.next();
        let (_, at) = struck.iter().find(|(fault, _)| *fault == word).unwrap();
        let took = at.elapsed();
        // Past what the test harness keeps to itself.
        let told = format!("{word}: begun anew after {:.2} s\n", took.as_secs_f64());
        std::io::stdout().write_all(told.as_bytes()).unwrap();
        assert!(took > LEASE - BEFORE, "{word}: too early, after {took:?}");
        assert!(took < LEASE + MARGIN, "{word}: too late, after {took:?}");
    }
    for (fault, id) in FAULTS.iter().zip(&ids) {
        assert_eq!(spare.hands(&["wait", id]).code, 0, "{fault}");
        let job = json(&spare.ok(&["status", "--json", id])).remove(0);
        assert_eq!((&job["attempt"], &job["worker"]), (&2.into(), &"spare".into()), "{job}");
    }
    assert!(marks.all().values().all(|n| *n == 2), "{:?}", marks.all());
    for worker in left {
        worker.kill();
    }
    rest.stop();
    hub.stop();
}
