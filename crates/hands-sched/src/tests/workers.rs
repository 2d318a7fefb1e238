//! Workers that come, go, fall silent and are restarted upon.

use super::check;

#[test]
fn one_action_runs_once() {
    check(
        "0 submit o1
         0 open s11
         1 started s11 o1#1
         2 done s11 o1#1
         3 done s11 o1#1
         4 done s99 o1#1",
        "0 o1 waiting: no worker is connected
         0 lease s11 o1#1
         2 accept s11 o1#1
         3 refuse s11 o1#1
         4 close s99",
    );
}

#[test]
fn a_silent_worker_loses_its_action_and_a_heard_one_keeps_it() {
    check(
        "0 open s11
         0 open s21
         0 submit o1
         0 submit o2
         1 started s11 o1#1
         8 beat s21
         10 tick
         11 tick
         17 beat s21
         18 done s21 o2#1",
        "0 lease s11 o1#1
         0 lease s21 o2#1
         11 close s11
         11 requeued o1#1 expired
         18 accept s21 o2#1
         18 lease s21 o1#2",
    );
}

#[test]
fn a_worker_that_comes_back_in_time_keeps_its_attempts() {
    check(
        "0 open s11 cpus=2
         0 submit o1
         0 submit o2
         1 started s11 o1#1
         2 close s11
         9 open s12 cpus=2 holds=o1#1,o9#1
         10 done s12 o1#1",
        "0 lease s11 o1#1
         0 lease s11 o2#1
         9 adopted s12 o1#1
         9 stop s12 o9#1
         9 requeued o2#1 not held
         9 lease s12 o2#2
         10 accept s12 o1#1",
    );
}

#[test]
fn a_late_result_counts_for_a_cacheable_action_only() {
    let script = |kind: &str| {
        format!(
            "0 open s11
             0 submit o1 {kind}
             1 started s11 o1#1
             11 tick
             12 open s21
             13 open s12 holds=o1#1
             14 done s12 o1#1
             15 done s21 o1#2"
        )
    };
    check(
        &script("cacheable"),
        "0 lease s11 o1#1
         11 close s11
         11 requeued o1#1 expired
         11 o1 waiting: no worker is connected
         12 lease s21 o1#2
         13 adopted s12 o1#1
         14 accept s12 o1#1
         14 stop s21 o1#2
         15 refuse s21 o1#2",
    );
    check(
        &script("uncached"),
        "0 lease s11 o1#1
         11 close s11
         11 requeued o1#1 expired
         11 o1 waiting: no worker is connected
         12 lease s21 o1#2
         13 stop s12 o1#1
         14 refuse s12 o1#1
         15 accept s21 o1#2",
    );
}

#[test]
fn three_lost_workers_make_poison_and_an_action_with_effects_is_not_run_again() {
    check(
        "0 submit o1
         0 open s11
         1 open s12 fresh
         2 open s13 fresh
         3 open s14 fresh
         4 submit o2 once
         5 started s14 o2#1
         6 open s15 fresh",
        "0 o1 waiting: no worker is connected
         0 lease s11 o1#1
         1 close s11
         1 requeued o1#1 not held
         1 lease s12 o1#2
         2 close s12
         2 requeued o1#2 not held
         2 lease s13 o1#3
         3 close s13
         3 fail o1: the action is poisonous: 3 attempts were lost together with their workers
         4 lease s14 o2#1
         6 close s14
         6 fail o2: attempt 1 was lost with its worker and may have had effects outside, so it is not run again; `--retry N` allows that",
    );
}

#[test]
fn a_worker_that_is_unable_is_left_alone_for_a_moment() {
    check(
        "0 open s11
         0 submit o1
         1 back s11 o1#1 disk
         1 why o1
         2 tick
         2 cancel o1
         2 cancel o1",
        "0 lease s11 o1#1
         1 requeued o1#1 handed back
         1 waiting: the 1 worker that could take it is busy; 0 other actions of its kind are queued
         2 lease s11 o1#2
         2 stop s11 o1#2
         2 cancelled o1",
    );
}

#[test]
fn what_a_worker_gave_up_midway_says_why() {
    check(
        "0 open s11
         0 submit o1 once
         0 submit o2
         0 started s11 o1#1
         1 back s11 o1#1 disk
         2 tick
         2 started s11 o2#1
         3 back s11 o2#1 disk
         4 tick",
        "0 lease s11 o1#1
         1 fail o1: attempt 1 was given up by its worker: disk; it may have had effects outside, so it is not run again, and `--retry N` allows that
         2 lease s11 o2#1
         3 requeued o2#1 handed back
         4 lease s11 o2#2",
    );
}

#[test]
fn an_attempt_given_up_midway_is_a_lost_start_and_the_third_ends_the_action() {
    check(
        "0 open s11
         0 submit o1
         0 back s11 o1#1 before
         1 tick
         1 started s11 o1#2
         1 back s11 o1#2 disk
         2 tick
         2 started s11 o1#3
         2 open s12 fresh
         3 started s12 o1#4
         3 back s12 o1#4 disk",
        "0 lease s11 o1#1
         0 requeued o1#1 handed back
         1 lease s11 o1#2
         1 requeued o1#2 handed back
         2 lease s11 o1#3
         2 close s11
         2 requeued o1#3 not held
         2 lease s12 o1#4
         3 fail o1: the action was started 3 times and brought no result, the last time because: disk",
    );
}

/// The tenth ends it: an action is not started without end.
#[test]
fn an_attempt_for_which_the_hub_had_no_room_is_no_lost_start() {
    let mut said = vec!["0 open s11".to_owned(), "0 submit o1".to_owned()];
    let mut expected = vec!["0 lease s11 o1#1".to_owned()];
    for n in 1..10 {
        let next = n + 1;
        said.push(format!("{n} started s11 o1#{n}"));
        said.push(format!("{n} back s11 o1#{n} room"));
        said.push(format!("{next} tick"));
        expected.push(format!("{n} requeued o1#{n} handed back"));
        expected.push(format!("{next} lease s11 o1#{next}"));
    }
    said.push("10 started s11 o1#10".to_owned());
    said.push("10 back s11 o1#10 room".to_owned());
    let end = "10 fail o1: 10 times a worker handed the action back, the last one because: room";
    expected.extend(["10 stop s11 o1#10".to_owned(), end.to_owned()]);
    let (said, expected) = (said.join("\n"), expected.join("\n"));
    check(&said, &expected);
}

#[test]
fn a_restarted_hub_waits_for_the_workers_that_hold_leases() {
    check(
        "0 restore o1 held=w1#2
         0 restore o2 held=w2#1
         0 restore o3
         1 why o1
         2 open s11 holds=o1#2
         3 open s31
         9 beat s11
         9 beat s31
         10 tick
         11 done s11 o1#2
         12 done s31 o3#1",
        "0 o3 waiting: no worker is connected
         1 waiting: worker 00000000000000000000000001 has it and is not connected; if it does not come back, the action is queued again in 9 s
         2 adopted s11 o1#2
         3 lease s31 o3#1
         10 requeued o2#1 expired
         11 accept s11 o1#2
         11 lease s11 o2#2
         12 accept s31 o3#1",
    );
}
