//! What actions ask of workers, and what nobody offers.

use super::*;

#[test]
fn what_nobody_offers_is_said_at_once_and_given_up_in_time() {
    check(
        "0 open s11 +ISA=amd64 +OSFamily=Linux
         0 open s21 +ISA=x86-64 gib=4
         0 open s31 +arch=X86_64
         1 submit o1 +arch=arm64 patience=5
         1 submit o2 +memory=8G +cpu=2 +ISA=x86_64
         1 submit o3 +OSFamily=linux +ISA=x86_64 +EstimatedComputeUnits=3 +tag=big
         2 why o1
         3 open s41 +ISA=aarch64
         4 drain s41
         5 back s41 o1#1 draining
         9 tick",
        "1 o1 waiting: no worker offers arch=aarch64; 3 workers offer x86_64
         1 o2 waiting: no worker offers cpu=2; 3 workers offer cpu=1
         1 o3 waiting: no worker offers all that it needs; 2 workers offer no os=linux, 1 worker offers no tag=big
         2 waiting: no worker offers arch=aarch64; 3 workers offer x86_64
         3 lease s41 o1#1
         5 requeued o1#1 handed back
         5 o1 waiting: no worker offers arch=aarch64; 3 workers offer x86_64
         9 fail o1: no worker offers arch=aarch64; 3 workers offer x86_64",

    );
}

/// A machine alone: what it can't do nobody else will come and do. Its worker may not be there yet.
#[test]
fn where_nobody_else_comes_what_is_not_offered_fails_at_once_unless_a_wait_was_asked_for() {
    check_with(
        SchedulerConfig { alone: true, ..SchedulerConfig::standard() },
        "0 submit o1 +memory=8G patience=600
         0 submit o2 +tag=x patience=5 asked
         1 open s11 gib=4
         2 submit o3 +cpu=2 patience=600
         3 submit o4 +cpu=2 patience=5 asked
         9 tick",
        "0 o1 waiting: no worker is connected
         0 o2 waiting: no worker is connected
         1 fail o1: no worker offers memory=8192M; 1 worker offers memory=4096M
         2 fail o3: no worker offers cpu=2; 1 worker offers cpu=1
         3 o4 waiting: no worker offers cpu=2; 1 worker offers cpu=1
         9 fail o2: no worker offers tag=x
         9 fail o4: no worker offers cpu=2; 1 worker offers cpu=1",
    );
}

#[test]
fn each_state_has_its_sentence() {
    check(
        "0 open s11 cpus=2 gpu=1 ahead=2
         0 submit o1 +gpu=1
         0 why o1
         1 started s11 o1#1
         1 why o1
         1 submit o2 +gpu=1
         1 submit o3 +gpu=1
         1 submit o4 +gpu=1
         1 submit o5 +gpu=1
         1 why o2
         1 why o3
         1 why o4
         2 close s11
         3 why o1
         3 why o3",
        "0 lease s11 o1#1
         0 waiting: worker w1 has it and has not started it yet
         1 -
         1 lease s11 o2#1
         1 lease s11 o3#1
         1 waiting: worker w1 has it next, with 1 of 1 gpu in use and it needs 1
         1 waiting: worker w1 has it after 1 other, with 1 of 1 gpu in use and it needs 1
         1 waiting: the 1 worker that could take it has 1 of 1 gpu in use and it needs 1; 1 other action of its kind is queued
         3 waiting: worker w1 has it and is not connected; if it does not come back, the action is queued again in 8 s
         3 waiting: worker w1 has it and is not connected; if it does not come back, the action is queued again in 8 s",
    );
    check(
        "0 open s11 cpus=2 gib=2
         0 open s21 cpus=2 gib=2
         0 submit o1 once +memory=2G
         0 submit o2 once +memory=1536M
         0 started s11 o1#1
         1 submit o3 +memory=1G
         1 why o3
         2 close s11
         2 why o1
         2 submit o4
         2 submit o5
         2 why o5",
        "0 lease s11 o1#1
         0 lease s21 o2#1
         1 waiting: the 2 workers that could take it are short, the first with 2048M of 2048M memory in use and it needs 1024M; 0 other actions of its kind are queued
         2 waiting: worker w1 has it and is not connected; if it does not come back, the action fails in 8 s
         2 lease s21 o4#1
         2 waiting: the 2 workers that could take it are busy; 0 other actions of its kind are queued",
    );
}

#[test]
fn platforms_are_read_and_bad_ones_refused() {
    let read = |pairs: &[(&str, &str)]| {
        let pairs = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Needs::from_platform(&Platform::new(pairs))
    };
    let needs = read(&[
        ("cpu", "1.5"),
        ("memory", "2G"),
        ("resources:gpu", "2"),
        ("Pool", "a"),
        ("Arch", "amd64"),
    ]);
    let needs = needs.unwrap();
    assert_eq!((needs.resources.cpu_millis, needs.resources.memory), (1500, 2 << 30));
    assert_eq!(needs.resources.custom, BTreeMap::from([("gpu".to_owned(), 2)]));
    let names: Vec<&str> = needs.properties().keys().map(String::as_str).collect();
    assert_eq!(names, ["ISA", "Pool"]);
    // What other engines call resources.
    let theirs = [
        ([("cpu_count", "3"), ("memory_kb", "8192")], (3000, 8 << 20)),
        // An estimate that no command can keep is raised to the least that works.
        ([("cpu_count", "3"), ("memory_kb", "1024")], (3000, 4 << 20)),
        ([("EstimatedCPU", "500m"), ("EstimatedMemory", "1G")], (500, 1 << 30)),
    ];
    for (pairs, (cpu, memory)) in theirs {
        let resources = read(&pairs).unwrap().resources;
        assert_eq!((resources.cpu_millis, resources.memory), (cpu, memory), "{pairs:?}");
    }
    for (name, value) in [
        ("cpu", "many"),
        ("cpu", "0"),
        ("cpu", "1."),
        ("memory", "2X"),
        ("memory", "99999999T"),
        ("memory", "4"),
        ("memory", "4095K"),
    ] {
        assert_eq!(read(&[(name, value)]).unwrap_err().value, value);
    }
}
