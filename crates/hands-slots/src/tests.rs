//! Scripts: one line in, the effects out. All tests share `check`.
//!
//! Each line is `SECONDS VERB o1#1 …`; the worker has two slots, 4 GiB and one gpu.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use hands_types::{Attempt, OperationId, Resources, Time};

use super::*;

fn lease(text: &str) -> LeaseId {
    let (operation, attempt) = text.split_once('#').unwrap();
    let operation = OperationId(operation.trim_start_matches('o').parse().unwrap());
    LeaseId { operation, attempt: Attempt(attempt.parse().unwrap()) }
}

fn resources(words: &[&str]) -> Resources {
    let option = |key: &str| {
        let value = words.iter().find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
        value.map(|v| v.parse::<u32>().unwrap())
    };
    let custom = ["gpu", "jdk"].iter().filter_map(|key| Some(((*key).to_owned(), option(key)?)));
    Resources {
        cpu_millis: option("cpus").unwrap_or(1) * 1000,
        memory: u64::from(option("gib").unwrap_or(0)) << 30,
        custom: custom.collect(),
    }
}

fn input(words: &[&str]) -> Input {
    let about = || lease(words[1]);
    match words[0] {
        "open" => Input::SessionOpened { lease: Duration::from_secs(10) },
        "welcome" => Input::Welcomed,
        "lost" => Input::SessionLost,
        "absent" => Input::HubAbsent,
        "lease" => {
            let terms = LeaseTerms {
                resources: resources(&words[2..]),
                outlives_lease: words.contains(&"cacheable"),
            };
            Input::Lease { lease: about(), terms }
        }
        "cancel" => Input::Cancel { lease: about() },
        "recall" => Input::Recall { lease: about() },
        "fetched" => Input::Fetched { lease: about() },
        "ran" => Input::Ran { lease: about() },
        "uploaded" => Input::Uploaded { lease: about() },
        "concluded" => Input::Concluded { lease: about() },
        "unable" => Input::Unable { lease: about(), reason: "disk".to_owned() },
        "ack" => Input::Acknowledged { lease: about() },
        "refused" => Input::Refused { lease: about() },
        "drain" => Input::Drain,
        "late" => Input::Late { by: Duration::from_secs(words[1].parse().unwrap()) },
        "tick" => Input::Tick,
        other => panic!("unknown verb {other}"),
    }
}

fn show(effect: &Effect) -> String {
    let name = |lease: &LeaseId| format!("o{}#{}", lease.operation.0, lease.attempt.0);
    match effect {
        Effect::Fetch { lease } => format!("fetch {}", name(lease)),
        Effect::Run { lease, slot } => format!("run {} in {slot}", name(lease)),
        Effect::Started { lease } => format!("started {}", name(lease)),
        Effect::Kill { lease } => format!("kill {}", name(lease)),
        Effect::Upload { lease } => format!("upload {}", name(lease)),
        Effect::Report { lease } => format!("report {}", name(lease)),
        Effect::HandBack { lease, reason } => format!("back {} {reason:?}", name(lease)),
        Effect::Forget { lease } => format!("forget {}", name(lease)),
        Effect::Drained => "drained".to_owned(),
    }
}

#[track_caller]
fn check(script: &str, expect: &str) {
    let custom = BTreeMap::from([("gpu".to_owned(), 1)]);
    let resources = Resources { cpu_millis: 2000, memory: 4 << 30, custom };
    let mut slots = Slots::new(SlotsConfig { slots: 2, resources, fetches: 2 });
    let mut got = String::new();
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let words: Vec<&str> = line.split(' ').collect();
        if words[1] == "held" {
            let held: Vec<String> =
                slots.held().iter().map(|(o, a)| format!("o{}#{}", o.0, a.0)).collect();
            let _ =
                writeln!(got, "{} held {} resumes {}", words[0], held.join(","), slots.resumes());
            continue;
        }
        let mut out = Vec::new();
        slots.step(
            Time(words[0].parse::<u64>().unwrap() * 1_000_000),
            input(&words[1..]),
            &mut out,
        );
        slots.check();
        for effect in &out {
            let _ = writeln!(got, "{} {}", words[0], show(effect));
        }
    }
    let lines = expect.lines().map(str::trim).filter(|line| !line.is_empty());
    let expect: String = lines.fold(String::new(), |all, line| all + line + "\n");
    assert!(got == expect, "\n-- got --\n{got}\n-- expected --\n{expect}");
}

#[test]
fn the_path_of_one_action() {
    check(
        "0 open
         0 lease o1#1 jdk=17
         0 lease o1#1
         1 fetched o1#1
         2 ran o1#1
         3 uploaded o1#1
         4 ack o1#1
         5 ack o1#1",
        "0 fetch o1#1
         1 run o1#1 in 0
         1 started o1#1
         2 upload o1#1
         3 report o1#1
         4 forget o1#1",
    );
}

#[test]
fn inputs_are_fetched_while_others_run_and_a_large_one_gets_its_turn() {
    check(
        "0 open
         0 lease o1#1
         0 lease o2#1 cpus=2
         0 lease o3#1
         1 fetched o1#1
         2 fetched o2#1
         3 fetched o3#1
         4 ran o1#1
         5 ran o2#1",
        "0 fetch o1#1
         0 fetch o2#1
         1 run o1#1 in 0
         1 started o1#1
         1 fetch o3#1
         4 upload o1#1
         4 run o2#1 in 0
         4 started o2#1
         5 upload o2#1
         5 run o3#1 in 0
         5 started o3#1",
    );
}

#[test]
fn a_cancel_ends_it_in_every_stage() {
    check(
        "0 open
         0 lease o1#1
         0 cancel o1#1
         1 lease o1#2
         1 fetched o1#2
         2 cancel o1#2
         2 cancel o1#2
         3 ran o1#2
         4 lease o1#3
         4 fetched o1#3
         4 ran o1#3
         5 refused o1#3
         6 uploaded o1#3",
        "0 fetch o1#1
         0 forget o1#1
         1 fetch o1#2
         1 run o1#2 in 0
         1 started o1#2
         2 kill o1#2
         3 forget o1#2
         4 fetch o1#3
         4 run o1#3 in 0
         4 started o1#3
         4 upload o1#3
         5 forget o1#3",
    );
}

#[test]
fn a_lost_session_keeps_results_until_the_hub_is_back() {
    check(
        "0 open
         0 welcome
         0 lease o1#1
         0 lease o2#1
         1 fetched o1#1
         1 fetched o2#1
         2 lost
         3 ran o1#1
         4 uploaded o1#1
         5 held
         5 open
         6 ack o1#1",
        "0 fetch o1#1
         0 fetch o2#1
         1 run o1#1 in 0
         1 started o1#1
         1 run o2#1 in 1
         1 started o2#1
         3 upload o1#1
         5 held o1#1,o2#1 resumes true
         5 report o1#1
         5 started o2#1
         6 forget o1#1",
    );
}

#[test]
fn when_leases_run_out_only_cacheable_work_goes_on() {
    check(
        "0 open
         0 welcome
         0 lease o1#1
         0 lease o2#1 cacheable
         0 lease o3#1 cacheable
         1 fetched o1#1
         1 fetched o2#1
         2 lost
         11 tick
         12 tick
         13 ran o1#1
         14 held",
        "0 fetch o1#1
         0 fetch o2#1
         1 run o1#1 in 0
         1 started o1#1
         1 fetch o3#1
         1 run o2#1 in 1
         1 started o2#1
         12 kill o1#1
         12 forget o3#1
         13 forget o1#1
         14 held o2#1 resumes false",
    );
}

#[test]
fn leases_do_not_run_out_while_no_hub_is_there() {
    check(
        "0 open
         0 welcome
         0 lease o1#1
         1 fetched o1#1
         2 lost
         9 absent
         12 tick
         17 absent
         26 tick
         26 held
         27 tick
         28 absent
         29 held",
        "0 fetch o1#1
         1 run o1#1 in 0
         1 started o1#1
         26 held o1#1 resumes true
         27 kill o1#1
         29 held  resumes false",
    );
}

#[test]
fn a_worker_that_was_away_itself_ends_nothing_for_that() {
    check(
        "0 open
         0 welcome
         0 lease o1#1
         1 fetched o1#1
         2 lost
         60 late 55
         60 held
         66 tick
         67 tick",
        "0 fetch o1#1
         1 run o1#1 in 0
         1 started o1#1
         60 held o1#1 resumes true
         67 kill o1#1",
    );
}

#[test]
fn what_was_not_started_is_handed_back() {
    check(
        "0 open
         0 lease o1#1 gpu=1
         0 lease o2#1 gpu=1
         0 lease o3#1 gpu=2
         0 lease o4#1
         1 fetched o1#1
         2 recall o1#1
         2 recall o2#1
         3 unable o4#1
         4 lease o5#1
         5 drain
         6 lease o6#1
         7 ran o1#1
         8 concluded o1#1
         9 ack o1#1",
        "0 fetch o1#1
         0 fetch o2#1
         0 back o3#1 Unable(\"it needs more than the whole worker has\")
         0 forget o3#1
         1 run o1#1 in 0
         1 started o1#1
         1 fetch o4#1
         2 back o2#1 Recalled
         2 forget o2#1
         3 back o4#1 Unable(\"disk\")
         3 forget o4#1
         4 fetch o5#1
         5 back o5#1 Draining
         5 forget o5#1
         6 back o6#1 Draining
         6 forget o6#1
         7 upload o1#1
         8 report o1#1
         9 forget o1#1
         9 drained",
    );
}
