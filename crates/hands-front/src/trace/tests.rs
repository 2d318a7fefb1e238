use std::time::{Duration, SystemTime};

use hands_client::StageSpan;
use serde_json::Value;

use super::{Action, Recorded, Span, chrome};

const BEGAN: SystemTime = SystemTime::UNIX_EPOCH;

fn at(millis: i64) -> SystemTime {
    // A worker's clock may be behind ours: the origin of these tests is a day after 1970.
    let origin = BEGAN + Duration::from_hours(24);
    match u64::try_from(millis) {
        Ok(after) => origin + Duration::from_millis(after),
        Err(_) => origin - Duration::from_millis(millis.unsigned_abs()),
    }
}

fn action(title: &str, submitted: i64, result: i64, skew: i64) -> Action {
    let stage = |name, from: i64, to: i64| StageSpan {
        name,
        from: at(submitted + from + skew),
        to: at(submitted + to + skew),
    };
    Action {
        title: title.to_owned(),
        submitted: at(submitted),
        watched: false,
        result: Some(at(result)),
        ended: at(result + 5),
        id: format!("id-{title}"),
        worker: "w".to_owned(),
        cached: false,
        attempt: 1,
        peak_memory: 4096,
        stages: vec![
            stage("queued", 1, 4),
            stage("staging", 4, 6),
            stage("executing", 6, 30),
            stage("uploading", 30, 31),
        ],
        end: Some(("succeeded", 0)),
    }
}

fn events(recorded: &Recorded) -> Vec<Value> {
    let json = chrome::json(recorded, "hands batch", at(0), at(200));
    json["traceEvents"].as_array().unwrap().clone()
}

/// Of each row, spans do not overlap unless one lies within the other.
fn assert_nested(events: &[Value]) {
    let mut rows = std::collections::BTreeMap::<_, Vec<(u64, u64)>>::new();
    for event in events.iter().filter(|e| e["ph"] == "X") {
        let (from, took) = (event["ts"].as_u64().unwrap(), event["dur"].as_u64().unwrap());
        let row = (event["pid"].as_u64().unwrap(), event["tid"].as_u64().unwrap());
        rows.entry(row).or_default().push((from, from + took));
    }
    for (row, spans) in rows {
        for (i, a) in spans.iter().enumerate() {
            for b in &spans[i + 1..] {
                let apart = a.1 <= b.0 || b.1 <= a.0;
                let within = (a.0 <= b.0 && b.1 <= a.1) || (b.0 <= a.0 && a.1 <= b.1);
                assert!(apart || within, "{a:?} and {b:?} in row {row:?}");
            }
        }
    }
}

#[test]
fn rows_never_overlap_whatever_the_clocks_say() {
    let actions = vec![
        action("a", 10, 45, 0),
        action("b", 12, 50, 3_600_000),
        action("c", 14, 48, -3_600_000),
        action("d", 60, 95, 2),
        // Joined an action that runs since long before.
        action("joined", 100, 110, -20),
    ];
    let spans = vec![
        Span { name: "connecting", from: at(1), to: at(8) },
        Span { name: "sending inputs", from: at(8), to: at(20) },
        Span { name: "sending inputs", from: at(9), to: at(30) },
    ];
    let events = events(&Recorded { spans, actions });
    assert_nested(&events);
    let of = |name: &str, pid: u64| -> Vec<&Value> {
        events.iter().filter(|e| e["ph"] == "X" && e["name"] == name && e["pid"] == pid).collect()
    };
    // An hour of difference moves the action as a whole: its stages keep their lengths.
    for title in ["a", "b", "c"] {
        let [slot] = of(title, 2)[..] else { panic!("{title} has one slot") };
        assert_eq!(slot["dur"], 26_000, "{title}");
    }
    assert_eq!(of("executing", 1).len(), 5);
    // Three at once in flight, and three slots; the fourth has the first one's again.
    let rows = |prefix: &str| {
        events
            .iter()
            .filter(|e| e["name"] == "thread_name")
            .filter(|e| e["args"]["name"].as_str().unwrap().starts_with(prefix))
            .count()
    };
    assert_eq!(rows("in flight"), 3);
    assert_eq!(rows("slot"), 3);
    assert_eq!(rows("client"), 2);
}

#[test]
fn what_was_cut_short_or_cached_has_no_stages_of_now() {
    let mut left = action("left", 10, 40, 0);
    left.result = None;
    left.stages.clear();
    left.end = None;
    let mut cached = action("cached", 10, 11, -90_000);
    cached.cached = true;
    let events = events(&Recorded { spans: Vec::new(), actions: vec![left, cached] });
    assert_nested(&events);
    assert!(!events.iter().any(|e| e["name"] == "executing"), "{events:?}");
    let left = events.iter().find(|e| e["name"] == "left").unwrap();
    assert_eq!(left["args"]["end"], "left");
    assert_eq!((&left["ts"], &left["dur"]), (&Value::from(10_000), &Value::from(35_000)));
}
