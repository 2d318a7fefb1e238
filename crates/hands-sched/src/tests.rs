//! Scripts: one line in, the effects out. All tests share `check`.
//!
//! Each line is `SECONDS VERB …`; ids are small numbers with a letter: `o` operation, `s` session, `w` worker (a session's
//! worker has its tens digit: s11 and s12 are sessions of w1), `i` invocation.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use hands_types::{
    Attempt, Digest, DigestFunction, InvocationId, OperationId, Platform, Resources, SessionId,
    Time, WorkerId,
};

use super::*;

fn number(word: &str) -> u64 {
    word.trim_start_matches(|c: char| !c.is_ascii_digit()).parse().unwrap()
}

fn id(word: &str) -> u128 {
    u128::from(number(word))
}

/// The value of `KEY=…` among words.
fn option<'a>(words: &[&'a str], key: &str) -> Option<&'a str> {
    words.iter().find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
}

fn digest(n: u8) -> Digest {
    Digest { function: DigestFunction::Sha256, hash: [n; 32], size: 1 }
}

fn trees(text: Option<&str>) -> Vec<Digest> {
    text.into_iter().flat_map(|t| t.split(',')).map(|t| digest(t.parse().unwrap())).collect()
}

fn spec(words: &[&str]) -> ActionSpec {
    let properties = words.iter().filter_map(|word| word.strip_prefix("+")?.split_once('='));
    let platform = Platform::new(properties.map(|(k, v)| (k.to_owned(), v.to_owned())).collect());
    ActionSpec {
        invocation: InvocationId(option(words, "i").map_or(0, id)),
        priority: option(words, "prio").map_or(0, |p| p.parse().unwrap()),
        needs: Arc::new(Needs::from_platform(&platform).unwrap()),
        expected: option(words, "takes").map(|s| Duration::from_secs(number(s))),
        inputs: trees(option(words, "in"))
            .into_iter()
            .map(|digest| Tree { digest, bytes: 1 << 20 })
            .collect(),
        cacheable: words.contains(&"cacheable"),
        rerun: !words.contains(&"once"),
        queue_timeout: option(words, "patience").map(|s| Duration::from_secs(number(s))),
    }
}

/// `s11 cpus=2 ahead=1 +tag=x holds=o1#1 fresh`.
fn opening(words: &[&str]) -> Input {
    let mut properties: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (name, value) in words.iter().filter_map(|word| word.strip_prefix("+")?.split_once('=')) {
        properties.entry(name.to_owned()).or_default().insert(value.to_owned());
    }
    let worker = number(words[0]) / 10;
    let custom = option(words, "gpu").map(|n| ("gpu".to_owned(), number(n).try_into().unwrap()));
    let holds = option(words, "holds").into_iter().flat_map(|text| text.split(','));
    Input::SessionOpened(Box::new(Opening {
        session: SessionId(id(words[0])),
        worker: WorkerId(worker.into()),
        offer: Offer {
            name: format!("w{worker}"),
            properties,
            resources: Resources {
                cpu_millis: u32::try_from(option(words, "cpus").map_or(1, number)).unwrap() * 1000,
                memory: option(words, "gib").map_or(0, number) << 30,
                custom: custom.into_iter().collect(),
            },
            ahead: u32::try_from(option(words, "ahead").map_or(0, number)).unwrap(),
        },
        lease: Duration::from_secs(10),
        resumes: !words.contains(&"fresh"),
        holds: holds.map(lease).collect(),
    }))
}

/// `o1#2`.
fn lease(text: &str) -> (OperationId, Attempt) {
    let (operation, attempt) = text.split_once('#').unwrap();
    (OperationId(id(operation)), Attempt(attempt.parse().unwrap()))
}

fn input(words: &[&str]) -> Input {
    let session = || SessionId(id(words[1]));
    let about = || lease(words[2]);
    match words[0] {
        "open" => opening(&words[1..]),
        "close" => Input::SessionClosed { session: session() },
        "beat" => Input::Heartbeat { session: session() },
        "drain" => Input::Draining { session: session() },
        "holds" => Input::Holds { session: session(), trees: trees(Some(words[2])) },
        "submit" => Input::Submit { operation: OperationId(id(words[1])), spec: spec(&words[2..]) },
        "restore" => {
            let held = option(words, "held").map(|text| {
                let (worker, attempt) = text.split_once('#').unwrap();
                let attempt = Attempt(attempt.parse().unwrap());
                Held { worker: WorkerId(id(worker)), attempt, lease: Duration::from_secs(10) }
            });
            let attempt = held.map(|held| held.attempt);
            Input::Restore {
                operation: OperationId(id(words[1])),
                spec: spec(&words[2..]),
                attempt,
                held,
            }
        }
        "cancel" => Input::Cancel { operation: OperationId(id(words[1])) },
        "started" => {
            Input::Started { session: session(), operation: about().0, attempt: about().1 }
        }
        "done" => Input::Finished { session: session(), operation: about().0, attempt: about().1 },
        "back" => {
            let reason = match words[3] {
                "draining" => RejectReason::Draining,
                "recalled" => RejectReason::Recalled,
                other => RejectReason::Unable(other.to_owned()),
            };
            Input::Rejected { session: session(), operation: about().0, attempt: about().1, reason }
        }
        "tick" => Input::Tick,
        other => panic!("unknown verb {other}"),
    }
}

fn show(effect: &Effect) -> String {
    let about = |session: &SessionId, operation: &OperationId, attempt: &Attempt| {
        format!("s{} o{}#{}", session.0, operation.0, attempt.0)
    };
    match effect {
        Effect::Lease { session, operation, attempt } => {
            format!("lease {}", about(session, operation, attempt))
        }
        Effect::Adopted { session, operation, attempt } => {
            format!("adopted {}", about(session, operation, attempt))
        }
        Effect::CancelLease { session, operation, attempt } => {
            format!("stop {}", about(session, operation, attempt))
        }
        Effect::Recall { session, operation, attempt } => {
            format!("recall {}", about(session, operation, attempt))
        }
        Effect::Accept { session, operation, attempt } => {
            format!("accept {}", about(session, operation, attempt))
        }
        Effect::Refuse { session, operation, attempt } => {
            format!("refuse {}", about(session, operation, attempt))
        }
        Effect::Requeued { operation, attempt, reason, started: _ } => {
            let reason = match reason {
                RequeueReason::LeaseExpired { .. } => "expired",
                RequeueReason::NotHeld { .. } => "not held",
                RequeueReason::HandedBack { .. } => "handed back",
            };
            format!("requeued o{}#{} {reason}", operation.0, attempt.0)
        }
        Effect::Fail { operation, reason } => format!("fail o{}: {reason}", operation.0),
        Effect::Cancelled { operation } => format!("cancelled o{}", operation.0),
        Effect::Waiting { operation, explanation } => format!("o{} {explanation}", operation.0),
        Effect::CloseSession { session } => format!("close s{}", session.0),
    }
}

/// Runs a script; `why oN` prints an explanation.
#[track_caller]
fn check(script: &str, expect: &str) {
    let mut sched = Scheduler::new(SchedulerConfig::standard());
    let mut got = String::new();
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let words: Vec<&str> = line.split(' ').collect();
        let now = Time(words[0].parse::<u64>().unwrap() * 1_000_000);
        if words[1] == "why" {
            let why = sched.explain(now, OperationId(id(words[2])));
            let _ =
                writeln!(got, "{} {}", words[0], why.map_or("-".to_owned(), |why| why.to_string()));
            continue;
        }
        let mut out = Vec::new();
        sched.step(now, input(&words[1..]), &mut out);
        sched.check();
        for effect in &out {
            let _ = writeln!(got, "{} {}", words[0], show(effect));
        }
    }
    let lines = expect.lines().map(str::trim).filter(|line| !line.is_empty());
    let expect: String = lines.fold(String::new(), |all, line| all + line + "\n");
    assert!(got == expect, "\n-- got --\n{got}\n-- expected --\n{expect}");
}

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
fn priority_then_fair_share_then_the_longest() {
    check(
        "0 open s11
         0 submit o1 i=1
         0 submit o2 i=1 takes=5
         0 submit o3 i=1 takes=9
         0 submit o4 i=1 takes=9
         0 submit o5 i=2 takes=1
         0 submit o6 i=3 prio=-1
         1 done s11 o1#1
         2 done s11 o6#1
         3 done s11 o5#1
         4 done s11 o3#1
         5 done s11 o4#1",
        "0 lease s11 o1#1
         1 accept s11 o1#1
         1 lease s11 o6#1
         2 accept s11 o6#1
         2 lease s11 o5#1
         3 accept s11 o5#1
         3 lease s11 o3#1
         4 accept s11 o3#1
         4 lease s11 o4#1
         5 accept s11 o4#1
         5 lease s11 o2#1",
    );
}

#[test]
fn resources_are_never_over_committed_and_a_large_action_gets_its_turn() {
    check(
        "0 open s11 cpus=2 gpu=1 ahead=1
         0 submit o1 +gpu=1
         0 submit o2 +gpu=1
         0 submit o3
         1 done s11 o1#1
         2 submit o4 +cpu=2
         2 submit o5
         3 done s11 o2#1
         4 done s11 o3#1
         5 done s11 o4#1",
        "0 lease s11 o1#1
         0 lease s11 o2#1
         1 accept s11 o1#1
         1 lease s11 o3#1
         2 lease s11 o4#1
         3 accept s11 o2#1
         4 accept s11 o3#1
         4 lease s11 o5#1
         5 accept s11 o4#1",
    );
}

#[test]
fn what_was_handed_out_ahead_is_recalled_for_an_idle_worker() {
    check(
        "0 open s11 ahead=2
         0 submit o1
         0 submit o2
         0 submit o3 once
         1 open s21
         2 back s11 o2#1 recalled
         3 done s21 o3#1",
        "0 lease s11 o1#1
         0 lease s11 o2#1
         1 lease s21 o3#1
         2 requeued o2#1 handed back
         2 lease s11 o2#2
         3 accept s21 o3#1
         3 recall s11 o2#2",
    );
}

#[test]
fn the_worker_that_holds_the_layer_gets_the_action() {
    check(
        "0 open s11
         0 open s21
         0 holds s21 7
         1 submit o1 in=7,8
         2 submit o2 in=9
         3 submit o3 in=7
         3 submit o4 in=9
         4 done s11 o2#1
         4 done s21 o1#1",
        "1 lease s21 o1#1
         2 lease s11 o2#1
         4 accept s11 o2#1
         4 lease s11 o4#1
         4 accept s21 o1#1
         4 lease s21 o3#1",
    );
}

#[test]
fn a_straggler_is_helped() {
    check(
        "0 open s11
         0 open s21
         0 submit o1 cacheable takes=5
         0 started s11 o1#1
         8 beat s11
         8 beat s21
         14 beat s11
         14 beat s21
         16 tick
         17 done s21 o1#2",
        "0 lease s11 o1#1
         16 lease s21 o1#2
         17 accept s21 o1#2
         17 stop s11 o1#1",
    );
}

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
         1 waiting: worker 00000000000000000000000001 has it and is not connected; it is queued again in 9 s
         2 adopted s11 o1#2
         3 lease s31 o3#1
         10 requeued o2#1 expired
         11 accept s11 o1#2
         11 lease s11 o2#2
         12 accept s31 o3#1",
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
    for (name, value) in
        [("cpu", "many"), ("cpu", "0"), ("cpu", "1."), ("memory", "2X"), ("memory", "99999999T")]
    {
        assert_eq!(read(&[(name, value)]).unwrap_err().value, value);
    }
}

/// The small version of `examples/bench.rs`: a crowd, in which each action is accepted once and two invocations that
/// came one after the other share the slots evenly, while an action of a third does not wait behind them.
#[test]
fn a_crowd_is_served_evenly() {
    let mut sched = Scheduler::new(SchedulerConfig::standard());
    let mut out = Vec::new();
    for n in 1..=50 {
        sched.step(Time(0), opening(&[&format!("s{n}0"), "cpus=2", "ahead=1"]), &mut out);
    }
    for n in 0..2001_u64 {
        let invocation = format!("i=i{}", n / 1000);
        sched.step(
            Time(n),
            Input::Submit { operation: OperationId(n.into()), spec: spec(&[&invocation]) },
            &mut out,
        );
    }
    let (mut leases, mut served, mut accepted) =
        (std::collections::VecDeque::new(), [0_i64; 3], BTreeSet::new());
    for now in 3000.. {
        for effect in out.drain(..) {
            if let Effect::Lease { session, operation, attempt } = effect {
                served[usize::try_from(operation.0 / 1000).unwrap()] += 1;
                leases.push_back(Input::Finished { session, operation, attempt });
            } else if let Effect::Accept { operation, .. } = effect {
                assert!(accepted.insert(operation));
            } else {
                assert!(matches!(effect, Effect::Recall { .. }), "{effect:?}");
            }
        }
        // The first invocation had all slots before the second came; from 500 finished on they are even.
        if (500..900).contains(&accepted.len()) {
            let running = |invocation| {
                let views = sched.operations().filter(|v| v.invocation == InvocationId(invocation));
                views.filter(|v| v.place != Place::Queued).count()
            };
            assert!(running(0).abs_diff(running(1)) <= 1, "{} and {}", running(0), running(1));
            assert_eq!(served[2], 1, "one action does not wait behind a thousand");
        }
        let Some(finished) = leases.pop_front() else { break };
        sched.step(Time(now), finished, &mut out);
        if now % 100 == 0 {
            sched.check();
        }
    }
    assert_eq!(accepted.len(), 2001);
    assert_eq!(sched.counts(), Counts { n_queued: 0, n_leased: 0, n_workers: 50 });
}

#[test]
fn the_table_of_ids_agrees_with_a_map() {
    let mut table = crate::id_table::IdTable::new();
    let mut map = BTreeMap::new();
    let mut state = 7_u64;
    let mut random = move || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    };
    for at in 0..40_000 {
        // Few ids, so that most are there; many are neighbours, and long runs are made and cut.
        let id = OperationId(u128::from(random() % 700) << (64 * (random() % 2)));
        if random() % 5 < 2 {
            table.remove(id);
            map.remove(&id);
        } else {
            table.insert(id, at);
            map.insert(id, at);
        }
        assert_eq!(table.len(), map.len());
        assert_eq!(table.get(id), map.get(&id).copied());
    }
    assert!(table.sorted().eq(map.values().copied()));
    assert!(map.iter().all(|(id, at)| table.get(*id) == Some(*at)));
}
