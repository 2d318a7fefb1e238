//! Scripts: one line in, the effects out. All tests share `check`.
//!
//! Each line is `SECONDS VERB …`; ids are small numbers with a letter: `o` operation, `s` session, `w` worker (a session's
//! worker has its tens digit: s11 and s12 are sessions of w1), `i` invocation.

mod choice;
mod late;
mod offers;
mod table;
mod workers;

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
        asked_to_wait: words.contains(&"asked"),
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
        "once" => Input::RunOnce { operation: OperationId(id(words[1])) },
        "cancel" => Input::Cancel { operation: OperationId(id(words[1])) },
        "started" => {
            Input::Started { session: session(), operation: about().0, attempt: about().1 }
        }
        "done" => Input::Finished { session: session(), operation: about().0, attempt: about().1 },
        "back" => {
            let reason = match words[3] {
                "draining" => RejectReason::Draining,
                "recalled" => RejectReason::Recalled,
                "room" => RejectReason::NoRoom("room".to_owned()),
                other => RejectReason::Unable(other.to_owned()),
            };
            Input::Rejected { session: session(), operation: about().0, attempt: about().1, reason }
        }
        "late" => Input::Late { by: Duration::from_secs(number(words[1])) },
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
        Effect::Lost { operation, attempt, reason: _, started: _ } => {
            format!("lost o{}#{}", operation.0, attempt.0)
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
    check_with(SchedulerConfig::standard(), script, expect);
}

#[track_caller]
fn check_with(config: SchedulerConfig, script: &str, expect: &str) {
    let mut sched = Scheduler::new(config);
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
