//! `--trace FILE`: the file that viewers load, after work, after failure and after Ctrl-C.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};

use rustix::process::Signal;
use serde_json::Value;

use crate::home::{Home, names, ran, signal};

/// The complete events of a trace, its shape checked.
fn spans(home: &Home, file: &str) -> Vec<Value> {
    let trace: Value = serde_json::from_str(&home.read(file)).unwrap();
    let events = trace["traceEvents"].as_array().unwrap();
    for event in events {
        assert!(event["pid"].is_u64() && event["tid"].is_u64(), "{event}");
        match event["ph"].as_str().unwrap() {
            "M" => assert!(event["args"].is_object(), "{event}"),
            "X" => assert!(event["ts"].is_u64() && event["dur"].is_u64(), "{event}"),
            other => panic!("{other}: {event}"),
        }
    }
    events.iter().filter(|e| e["ph"] == "X").cloned().collect()
}

fn named<'a>(spans: &'a [Value], name: &str) -> Vec<&'a Value> {
    spans.iter().filter(|e| e["name"] == name).collect()
}

#[test]
fn a_run_shows_where_its_time_went() {
    let home = Home::new().warm();
    home.write("in/file", "x");
    let command = "sleep 0.3; cat in/file >out";
    let ran =
        home.run(&["run", "--trace", "t.json", "-I", "in", "-o", "out", "--", "sh", "-c", command]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let spans = spans(&home, "t.json");
    for name in ["hands run", "connecting", "sending inputs", "submitting", "fetching results"] {
        assert_eq!(named(&spans, name).len(), 1, "{name}: {spans:#?}");
    }
    // Once below the action in flight, once below the slot.
    let executing = named(&spans, "executing");
    let pids: BTreeSet<u64> = executing.iter().map(|e| e["pid"].as_u64().unwrap()).collect();
    assert_eq!(pids.len(), 2, "{executing:#?}");
    for span in executing {
        assert!(span["dur"].as_u64().unwrap() >= 300_000, "{span}");
    }
    let whole = named(&spans, "hands run")[0];
    let action = spans.iter().find(|e| e["args"]["exit_code"] == 0).unwrap();
    assert!(action["args"]["command"].as_str().unwrap().contains(command), "{action}");
    assert!(whole["dur"].as_u64().unwrap() >= action["dur"].as_u64().unwrap());
    assert_eq!(names(&home.work()), ["in", "out", "t.json"], "no draft is left");
}

#[test]
fn a_batch_has_every_command_and_no_more_rows_than_slots() {
    let home = Home::new().warm();
    let ran = home.run(&["batch", "--trace", "t.json", "--", "exit {}", ":::", "0", "0", "3", "0"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    let spans = spans(&home, "t.json");
    let actions: Vec<&Value> = spans.iter().filter(|e| e["args"]["command"].is_string()).collect();
    // As actions in flight and as users of slots.
    assert_eq!(actions.len(), 8, "{actions:#?}");
    assert_eq!(actions.iter().filter(|e| e["args"]["exit_code"] == 3).count(), 2, "{actions:#?}");
    let workers = crate::home::json(&home.run(&["workers", "--json"]).out);
    let slots = workers[0]["slots"].as_u64().unwrap();
    let rows: BTreeSet<u64> = actions
        .iter()
        .filter(|e| e["cat"] == "worker")
        .map(|e| e["tid"].as_u64().unwrap())
        .collect();
    assert!(u64::try_from(rows.len()).unwrap() <= slots, "{rows:?} of {slots}");
}

#[test]
fn attach_and_wait_show_what_they_saw_of_actions_that_others_began() {
    let home = Home::new().warm();
    let begin = |script: &str| {
        let begun = home.run(&["run", "-d", "--", "sh", "-c", script]);
        assert_eq!(begun.code, 0, "{begun:?}");
        begun.out.trim().to_owned()
    };
    let (first, second) = (begin("sleep 0.5; exit 3"), begin("sleep 0.6"));
    let watched = home.run(&["attach", "--trace", "a.json", &first]);
    assert_eq!(watched.code, 3, "{watched:?}");
    let watched = home.run(&["wait", "--trace", "w.json", &first, &second]);
    assert_eq!(watched.code, 3, "{watched:?}");
    let attached = spans(&home, "a.json");
    assert_eq!(named(&attached, "hands attach").len(), 1, "{attached:#?}");
    assert_eq!(named(&attached, "executing").len(), 2, "{attached:#?}");
    let action = attached.iter().find(|e| e["args"]["id"] == first.as_str()).unwrap();
    assert_eq!(action["args"]["exit_code"], 3, "{action}");
    let waited = spans(&home, "w.json");
    assert_eq!(named(&waited, "hands wait").len(), 1, "{waited:#?}");
    let all = waited.iter().filter(|e| e["cat"] == "client" && e["args"]["id"].is_string());
    assert_eq!(all.count(), 2, "{waited:#?}");
    // Nothing happened outside of what was watched: the first had ended before.
    let again = home.run(&["wait", "--trace", "again.json", &first]);
    assert_eq!(again.code, 3, "{again:?}");
    let again = spans(&home, "again.json");
    assert!(named(&again, "executing").is_empty(), "{again:#?}");
    // Whoever ends it sees that, too.
    let long = begin("echo begun; exec sleep 1000");
    let mut attached = home.start(&["attach", "--trace", "ended.json", &long]);
    let mut line = String::new();
    BufReader::new(attached.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(home.run(&["cancel", &long]).code, 0);
    let left = ran(attached.wait_with_output().unwrap());
    assert_eq!(line, "begun\n");
    assert_ne!(left.code, 0, "{left:?}");
    let ended = spans(&home, "ended.json");
    let action = ended.iter().find(|e| e["args"]["id"] == long.as_str()).unwrap();
    assert_eq!(action["args"]["end"], "cancelled", "{action}");
}

#[test]
fn what_is_cancelled_leaves_its_trace() {
    let home = Home::new().warm();
    let mut batch =
        home.start(&["batch", "--trace", "t.json", "--", "touch {}; sleep 1000", ":::", "a", "b"]);
    // Once an action runs there is something to cancel.
    while !home.run(&["ps", "--json"]).out.contains("\"running\"") {
        assert!(batch.try_wait().unwrap().is_none(), "the batch has ended");
    }
    signal(&batch, Signal::INT);
    let ran = ran(batch.wait_with_output().unwrap());
    assert_eq!(ran.code, 130, "{ran:?}");
    let spans = spans(&home, "t.json");
    let left: Vec<&Value> = spans.iter().filter(|e| e["args"]["end"] == "left").collect();
    assert_eq!(left.len(), 2, "{spans:#?}");
    assert_eq!(names(&home.work()), ["t.json"], "no draft is left");
}

#[test]
fn a_trace_that_cannot_be_written_is_said_before_the_work() {
    let home = Home::new().warm();
    let ran = home.run(&["run", "--trace", "no/such/t.json", "--", "echo", "ran"]);
    assert_eq!((ran.code, ran.out.as_str()), (125, ""), "{ran:?}");
    assert!(ran.err.contains("can't write no/such/t.json"), "{}", ran.err);
    let ran = home.run(&["run", "--trace", "/dev/stderr", "--", "echo", "ran"]);
    assert_eq!((ran.code, ran.out.as_str()), (0, "ran\n"), "{ran:?}");
    let trace: Value = serde_json::from_str(&ran.err).unwrap();
    assert!(trace["traceEvents"].is_array());
}
