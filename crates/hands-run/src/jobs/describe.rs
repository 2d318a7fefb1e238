//! Actions and workers as words and as JSON.

use std::time::{Duration, SystemTime};

use hands_client::{Code, JobInfo, JobState, LostAttempt, WorkerInfo, lacks_outputs};
use hands_front::{End, eye};
use hands_types::error::exit;
use serde_json::{Map, Value, json};

/// One word for what an action is doing.
pub(crate) fn state(job: &JobInfo) -> String {
    match job.state {
        JobState::Queued => "queued".to_owned(),
        JobState::Running => "running".to_owned(),
        JobState::Done => match end(job) {
            (End::Succeeded, _) => "done".to_owned(),
            (End::Failed, _) if code(job) == Code::DeadlineExceeded => "timeout".to_owned(),
            (End::Failed, _) if lacks_outputs(job) => "incomplete".to_owned(),
            (End::Failed, code) => format!("exit {}", code.unwrap_or_default()),
            (End::Cancelled, _) => "cancelled".to_owned(),
            (End::NotRun, _) => "error".to_owned(),
        },
        JobState::Unknown => "unknown".to_owned(),
    }
}

fn code(job: &JobInfo) -> Code {
    job.failure.as_ref().map_or(Code::Ok, |failure| failure.code)
}

/// How an action that is over ended: in the words of `hands run --json`, and with the exit code where a command ran.
fn end(job: &JobInfo) -> (End, Option<i32>) {
    match code(job) {
        Code::Ok if job.exit_code == 0 => (End::Succeeded, Some(0)),
        Code::Ok => (End::Failed, Some(job.exit_code)),
        Code::Cancelled => (End::Cancelled, None),
        // Its own time limit ended it: what it used is known of a command that ran.
        Code::DeadlineExceeded if job.usage.is_some() => {
            (End::Failed, Some(if job.exit_code == 0 { 128 + 9 } else { job.exit_code }))
        }
        // As `run` has it: the command succeeded, and what it made is not all there.
        _ if lacks_outputs(job) => (End::Failed, Some(i32::from(exit::FAILED))),
        _ => (End::NotRun, None),
    }
}

/// What an action is for, as its client's user knows it: a build's rule and target say more than the command behind.
pub(crate) fn what(job: &JobInfo) -> String {
    match (job.mnemonic.as_str(), job.target.as_str()) {
        (_, "") => job.title.clone(),
        (mnemonic, target) => format!("{mnemonic} {target}").trim().to_owned(),
    }
}

/// How long an action has been queued, runs, or ran.
pub(crate) fn time(job: &JobInfo) -> String {
    let now = || Some(SystemTime::now());
    let (from, to) = match job.state {
        JobState::Queued => (job.created, now()),
        JobState::Running => (job.started.or(job.created), now()),
        JobState::Done | JobState::Unknown => (job.started, job.finished),
    };
    match (from, to) {
        (Some(from), Some(to)) => eye::time(between(from, to)),
        _ => String::new(),
    }
}

/// An action, all of it.
pub(crate) fn job_json(job: &JobInfo) -> Value {
    let mut map = Map::new();
    map.insert("id".into(), json!(job.id));
    map.insert(
        "state".into(),
        json!(match job.state {
            JobState::Queued => "queued",
            JobState::Running => "running",
            JobState::Done => "done",
            JobState::Unknown => "unknown",
        }),
    );
    map.insert("command".into(), json!(job.title));
    map.insert("detached".into(), json!(job.detached));
    map.insert("priority".into(), json!(job.priority));
    map.insert("attempt".into(), json!(job.attempt));
    if !job.lost.is_empty() {
        let lost = |it: &LostAttempt| json!({ "attempt": it.attempt, "worker": it.worker, "reason": it.reason });
        map.insert("lost".into(), job.lost.iter().map(lost).collect());
    }
    let texts = [
        ("waiting", &job.waiting),
        ("worker", &job.worker),
        ("action_digest", &job.action_digest),
        ("invocation", &job.invocation),
        ("tool", &job.tool),
        ("mnemonic", &job.mnemonic),
        ("target", &job.target),
        ("message", &job.message),
        ("instance", &job.instance),
    ];
    for (name, text) in texts {
        if !text.is_empty() {
            map.insert(name.into(), json!(text));
        }
    }
    let times = [("created", job.created), ("started", job.started), ("finished", job.finished)];
    for (name, time) in times {
        if let Some(time) = time {
            map.insert(name.into(), json!(rfc3339(time)));
        }
    }
    if job.state == JobState::Done {
        let (end, exit_code) = end(job);
        map.insert("end".into(), json!(end.name()));
        if let Some(code) = exit_code {
            map.insert("exit_code".into(), json!(code));
        }
        map.insert("cached".into(), json!(job.cached));
        if let Some(failure) = &job.failure {
            let (code, message) = (failure.code.number(), &failure.message);
            map.insert("error".into(), json!({ "code": code, "message": message }));
        }
    }
    if let Some(usage) = &job.usage {
        map.insert("isolation".into(), json!(usage.isolation));
        map.insert("user_us".into(), json!(usage.user_us));
        map.insert("system_us".into(), json!(usage.system_us));
        map.insert("peak_memory".into(), json!(usage.peak_memory));
        map.insert("oom_killed".into(), json!(usage.oom_killed));
        if usage.signal != 0 {
            map.insert("signal".into(), json!(usage.signal));
        }
        map.insert("network_attempted".into(), json!(usage.network_attempted));
    }
    map.into()
}

/// A worker, all of it.
pub(crate) fn worker_json(worker: &WorkerInfo) -> Value {
    let properties = worker.properties.iter();
    let properties: Vec<Value> =
        properties.map(|(name, value)| json!({ "name": name, "value": value })).collect();
    let custom: Map<String, Value> =
        worker.custom.iter().map(|(name, count)| (name.clone(), json!(count))).collect();
    json!({
        "id": worker.id,
        "name": worker.name,
        "slots": worker.slots,
        "busy": worker.busy,
        "cpu_millis": worker.cpu_millis,
        "memory": worker.memory,
        "custom": custom,
        "draining": worker.draining,
        "connected": worker.connected.map(rfc3339),
        "last_seen": worker.last_seen.map(rfc3339),
        "version": worker.version,
        "properties": properties,
    })
}

/// The values of one of a worker's properties.
pub(crate) fn property(worker: &WorkerInfo, name: &str) -> String {
    worker
        .properties
        .iter()
        .filter(|(known, _)| known == name)
        .map(|(_, value)| value.as_str())
        .collect::<Vec<_>>()
        .join(",")
}

/// The shortest prefixes by which each of these ids is told from the others; long enough to stay so for a while.
pub(crate) fn prefix_length<'a>(ids: impl Iterator<Item = &'a str>) -> usize {
    const SHORTEST: usize = 12;
    let mut ids: Vec<&str> = ids.collect();
    ids.sort_unstable();
    let common =
        |(a, b): (&str, &str)| a.bytes().zip(b.bytes()).take_while(|(x, y)| x == y).count();
    let longest = ids.windows(2).map(|pair| common((pair[0], pair[1])) + 1).max().unwrap_or(0);
    longest.max(SHORTEST)
}

/// `2026-11-21T10:58:45.123Z`.
pub(crate) fn rfc3339(time: SystemTime) -> String {
    let (seconds, nanos) = since_1970(time);
    let days = seconds.div_euclid(86_400);
    let second = seconds.rem_euclid(86_400);
    let (year, month, day) = civil(days);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
        second / 3_600,
        second % 3_600 / 60,
        second % 60,
        nanos / 1_000_000
    )
}

/// The Gregorian date of a day counted from 1970-01-01 (years begin in March while it is computed).
const fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + if month <= 2 { 1 } else { 0 }, month, day)
}

/// Seconds and nanoseconds. Nothing here is older.
fn since_1970(time: SystemTime) -> (i64, u32) {
    let time = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    (i64::try_from(time.as_secs()).unwrap_or(i64::MAX), time.subsec_nanos())
}

/// How long ago something was, for the eye.
pub(crate) fn ago(time: Option<SystemTime>) -> String {
    time.map_or_else(String::new, |time| eye::time(between(time, SystemTime::now())))
}

fn between(from: SystemTime, to: SystemTime) -> Duration {
    to.duration_since(from).unwrap_or_default()
}
