//! Results as JSON: one object a line, fields are only ever added.

use std::time::Duration;

use hands_client::JobResult;
use hands_front::Verdict;
use serde::Serialize;
use serde_json::{Map, Value, json};

/// A result, its streams beside it where they are given.
pub(crate) fn result(result: &JobResult, verdict: &Verdict, title: &str) -> Map<String, Value> {
    let mut map = Map::new();
    map.insert("id".into(), json!(result.id));
    map.insert("command".into(), json!(title));
    map.insert("end".into(), json!(verdict.end.name()));
    map.insert("exit_code".into(), json!(verdict.code));
    put(&mut map, "message", verdict.sentence.as_ref());
    put(&mut map, "remark", Some(&result.remark).filter(|remark| !remark.is_empty()));
    put(&mut map, "error_class", result.failure.as_ref().map(|f| f.class().name()));
    put(&mut map, "missing_outputs", (!verdict.missing.is_empty()).then_some(&verdict.missing));
    if result.left_out.total > 0 {
        let entries = result.left_out.entries.iter();
        let entries: Vec<Value> =
            entries.map(|e| json!({ "path": e.path, "why": e.why })).collect();
        map.insert("left_out".into(), Value::from(entries));
        map.insert("left_out_total".into(), json!(result.left_out.total));
    }
    put(&mut map, "cached", Some(result.cached));
    put(&mut map, "worker", Some(result.worker()).filter(|w| !w.is_empty()));
    put(&mut map, "signal", result.signal());
    put(&mut map, "queued_s", result.stages().map(|s| s.queued.as_secs_f64()));
    put(&mut map, "ran_s", result.execution_time().map(|t| t.as_secs_f64()));
    if let Some(stages) = result.stages() {
        map.insert("queued_us".into(), json!(micros(stages.queued)));
        map.insert("fetching_us".into(), json!(micros(stages.fetching)));
        put(&mut map, "staging_us", stages.staging.map(micros));
        map.insert("executing_us".into(), json!(micros(stages.executing)));
        map.insert("uploading_us".into(), json!(micros(stages.uploading)));
    }
    if let Some(usage) = result.usage() {
        map.insert("isolation".into(), json!(usage.isolation));
        map.insert("attempt".into(), json!(usage.attempt));
        let lost: Vec<Value> = result
            .lost()
            .into_iter()
            .map(|lost| json!({ "attempt": lost.attempt, "worker": lost.worker, "reason": lost.reason }))
            .collect();
        put(&mut map, "lost", Some(lost).filter(|lost| !lost.is_empty()));
        map.insert("user_s".into(), json!(seconds(usage.user_us)));
        map.insert("system_s".into(), json!(seconds(usage.system_us)));
        map.insert("peak_memory".into(), json!(usage.peak_memory));
        map.insert("oom_killed".into(), json!(usage.oom_killed));
    }
    map
}

/// Adds a stream: as text, and where it is not UTF-8 the exact bytes beside the nearest text.
pub(crate) fn stream(map: &mut Map<String, Value>, name: &str, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => {
            map.insert(name.into(), json!(text));
        }
        Err(_) => {
            map.insert(name.into(), json!(String::from_utf8_lossy(bytes)));
            map.insert(format!("{name}_base64"), json!(base64(bytes)));
        }
    }
}

fn put(map: &mut Map<String, Value>, key: &str, value: Option<impl Serialize>) {
    if let Some(value) = value {
        map.insert(key.into(), json!(value));
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[expect(clippy::cast_precision_loss, reason = "microseconds of 285 years are exact")]
fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}

/// RFC 4648, with padding.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group =
            chunk.iter().fold(0_u32, |g, b| g << 8 | u32::from(*b)) << (8 * (3 - chunk.len()));
        for i in 0..4 {
            if i <= chunk.len() {
                let index = (group >> (18 - 6 * i)) & 63;
                out.push(char::from(ALPHABET[usize::try_from(index).expect("six bits")]));
            } else {
                out.push('=');
            }
        }
    }
    out
}
