//! What actions ask for and workers give: never more than there is, and whoever waits for it is told.

use crate::home::{Home, json};
use crate::killable::Cluster;

#[test]
fn counters_are_given_out_once_and_who_waits_is_told_for_what() {
    let cluster = Cluster::start();
    let _worker = cluster.worker("w", &["--slots", "4", "--counter", "gpu=2"]);
    let begin = |gpus: &str| {
        let command = ["-d", "--prop", gpus, "--", "sh", "-c", "echo begun; exec sleep 1000"];
        let begun = cluster.run(&command);
        assert_eq!(begun.code, 0, "{begun:?}");
        begun.out.trim().to_owned()
    };
    let running = [begin("gpu=1"), begin("gpu=1")];
    for id in &running {
        cluster.until_output(id, "begun");
    }
    // Two slots are free, and no gpu is.
    let waits = begin("gpu=1");
    let state = |id: &str| json(&cluster.hands(&["status", "--json", id]).out)[0]["state"].clone();
    assert_eq!(state(&waits), "queued");
    let why = cluster.hands(&["why", &waits]);
    let next = "waiting: worker w has it next, with 2 of 2 gpu in use and it needs 1\n";
    assert_eq!((why.code, why.out.as_str()), (0, next), "{why:?}");
    // Beyond what a worker takes ahead it is the hub that makes it wait.
    let (second, third) = (begin("gpu=2"), begin("gpu=1"));
    let why = cluster.hands(&["why", &second]).out;
    assert_eq!(
        why,
        "waiting: worker w has it after 1 other, with 2 of 2 gpu in use and it needs 2\n"
    );
    let why = cluster.hands(&["why", &third]).out;
    let queued = "waiting: the 1 worker that could take it has 2 of 2 gpu in use and it needs 1; \
                  0 other actions of its kind are queued\n";
    assert_eq!(why, queued);
    assert_eq!(cluster.hands(&["cancel", &second, &third]).code, 0);
    // Others do not wait behind it.
    assert_eq!(cluster.run(&["--", "true"]).code, 0);
    assert_eq!(cluster.hands(&["cancel", &running[0]]).code, 0);
    cluster.until_output(&waits, "begun");
    // More than any worker has is said at once, wherever one looks.
    let never = begin("gpu=3");
    let why = cluster.hands(&["why", &never]).out;
    assert!(why.starts_with("waiting: ") && why.contains("gpu"), "{why}");
    let told = cluster.run(&["--queue-timeout", "1s", "--prop", "gpu=3", "--", "true"]);
    let unmet = "no worker offers gpu=3; 1 worker offers gpu=2";
    assert_eq!(told.code, 125, "{told:?}");
    assert_eq!(told.err, format!("waiting: {unmet}\nerror: {unmet}\n"));
    let list = json(&cluster.hands(&["ps", "--json"]).out);
    let listed = list.iter().find(|job| job["id"] == never.as_str()).unwrap();
    assert_eq!(listed["waiting"].as_str(), Some(why.trim()), "{listed}");
    assert_eq!(cluster.hands(&["cancel", &running[1], &waits, &never]).code, 0);
}

#[test]
fn memory_is_enforced_and_a_kill_is_reported_with_its_peak() {
    let home = Home::new().warm();
    let checks = json(&home.run(&["doctor", "--json"]).out);
    let cgroups = checks.iter().find(|check| check["check"] == "cgroups").unwrap();
    if cgroups["state"] != "ok" {
        println!("skipped: no memory limits on this machine: {cgroups}");
        return;
    }
    let greedy = ["perl", "-e", "$x = 'a' x 300_000_000; print qq(no limit)"];
    let killed = home.run(&[&["run", "--memory", "64M", "--"], &greedy[..]].concat());
    assert_eq!((killed.code, killed.out.as_str()), (137, ""), "{killed:?}");
    let (_, said) = killed.err.split_once("used more memory than it asked for, ").unwrap();
    let peak: u32 = said.split_once(" MiB at its peak").unwrap().0.parse().unwrap();
    assert!((60..=70).contains(&peak), "{killed:?}");
    let enough = home.run(&[&["run", "--memory", "1G", "--"], &greedy[..]].concat());
    assert_eq!((enough.code, enough.out.as_str()), (0, "no limit"), "{enough:?}");
}
