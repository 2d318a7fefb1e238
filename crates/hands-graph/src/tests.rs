//! Scripts: one line in, the effects out. All tests share `check`; `model` compares with a naive graph.
//!
//! `add a:3 b:5<a,c c!x<a.o` adds jobs: name, seconds, `!output`, `<` what it waits for (`job` or `job.output`). Other lines
//! are `done`, `failed`, `cancelled`, `cancel` with a name, and `cancel-all`.

mod model;
mod refusals;

use std::fmt::Write as _;
use std::num::NonZeroUsize;
use std::time::Duration;

use super::*;

fn spec(text: &str) -> JobSpec {
    let (head, after) = text.split_once('<').unwrap_or((text, ""));
    let (head, output) = head.split_once('!').map_or((head, None), |(h, o)| (h, Some(o)));
    let (name, seconds) = head.split_once(':').unwrap_or((head, "1"));
    let mut spec = JobSpec {
        name: name.to_owned(),
        expected: Duration::from_secs(seconds.parse().unwrap()),
        outputs: output.into_iter().map(str::to_owned).collect(),
        ..JobSpec::default()
    };
    for word in after.split(',').filter(|word| !word.is_empty()) {
        match word.split_once('.') {
            None => spec.after.push(word.to_owned()),
            Some((job, output)) => {
                spec.inputs.push(OutputRef { job: job.to_owned(), output: output.to_owned() });
            }
        }
    }
    spec
}

fn graph(limit: usize, on_failure: OnFailure) -> Graph {
    Graph::new(GraphConfig { limit: NonZeroUsize::new(limit), on_failure })
}

fn show(graph: &Graph, effect: &Effect) -> String {
    match effect {
        Effect::Submit { job } => format!("submit {}", graph.name(*job)),
        Effect::Cancel { job } => format!("cancel {}", graph.name(*job)),
        Effect::Skip { job, reason } => {
            let why = match reason {
                SkipReason::Needs(of) => format!("needs {}", graph.name(*of)),
                SkipReason::Cancelled(of) => format!("cancelled {}", graph.name(*of)),
                SkipReason::Stopped(by) => format!("stopped by {}", graph.name(*by)),
                SkipReason::CancelledAll => "all cancelled".to_owned(),
            };
            format!("skip {}: {why}", graph.name(*job))
        }
    }
}

#[track_caller]
fn check(mut graph: Graph, script: &str, expect: &str) -> Graph {
    let mut got = String::new();
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        let mut out = Vec::new();
        let job = || graph.find(rest).unwrap();
        let input = match verb {
            "add" => {
                if let Err(error) = graph.add(rest.split(' ').map(spec).collect(), &mut out) {
                    let _ = writeln!(got, "refused: {error}");
                }
                None
            }
            "done" => Some(Input::Done { job: job() }),
            "failed" => Some(Input::Failed { job: job() }),
            "cancelled" => Some(Input::Cancelled { job: job() }),
            "cancel" => Some(Input::Cancel { job: job() }),
            "cancel-all" => Some(Input::CancelAll),
            other => panic!("unknown verb {other}"),
        };
        if let Some(input) = input {
            graph.step(input, &mut out);
        }
        graph.check();
        for effect in &out {
            let _ = writeln!(got, "{}", show(&graph, effect));
        }
    }
    let lines = expect.lines().map(str::trim).filter(|line| !line.is_empty());
    let expect: String = lines.fold(String::new(), |all, line| all + line + "\n");
    assert!(got == expect, "\n-- got --\n{got}\n-- expected --\n{expect}");
    graph
}

#[test]
fn jobs_follow_what_they_wait_for() {
    let graph = check(
        graph(0, OnFailure::KeepGoing),
        "add c<a,b b<a a d
         done a
         done d
         done b
         done c",
        "submit a
         submit d
         submit b
         submit c",
    );
    assert!(graph.is_finished());
    assert_eq!(graph.counts(), Counts { n_done: 4, ..Counts::default() });
}

#[test]
fn the_longest_remaining_path_goes_first_and_the_older_of_equals() {
    check(
        graph(1, OnFailure::KeepGoing),
        "add short:1 long:5 deep:1 deeper:1<deep deepest:4<deeper same:5
         done deep
         done long
         done deeper
         done same
         done deepest",
        // deep has 6 s to go; then long, deeper and same have 5.
        "submit deep
         submit long
         submit deeper
         submit same
         submit deepest
         submit short",
    );
}

#[test]
fn without_estimates_the_longer_row_goes_first() {
    check(
        graph(1, OnFailure::KeepGoing),
        "add a:0 b:0 c:0<b d:0<c
         done b",
        "submit b
         submit c",
    );
}

#[test]
fn the_bound_holds_and_is_used() {
    check(
        graph(2, OnFailure::KeepGoing),
        "add a b c d<a e<a
         done b
         done a
         done c
         done d",
        "submit a
         submit b
         submit c
         submit d
         submit e",
    );
}

#[test]
fn a_failure_skips_what_depends_on_it_and_nothing_else() {
    check(
        graph(0, OnFailure::KeepGoing),
        "add a b c<a d<c,b e<b
         failed a
         done b
         done e",
        "submit a
         submit b
         skip c: needs a
         skip d: needs a
         submit e",
    );
}

#[test]
fn a_job_between_two_failures_names_the_first() {
    check(
        graph(0, OnFailure::KeepGoing),
        "add a b c<a,b
         failed b
         failed a",
        "submit a
         submit b
         skip c: needs b",
    );
}

#[test]
fn stops_at_the_first_failure() {
    let graph = check(
        graph(2, OnFailure::Stop),
        "add a b c<a d e
         failed a
         failed b
         add late",
        "submit a
         submit b
         skip c: needs a
         cancel b
         skip d: stopped by a
         skip e: stopped by a
         skip late: stopped by a",
    );
    assert!(graph.is_finished());
}

#[test]
fn what_ends_well_in_spite_of_its_cancellation_counts() {
    check(
        graph(0, OnFailure::KeepGoing),
        "add a b<a
         cancel a
         cancel a
         done a",
        "submit a
         cancel a
         submit b",
    );
}

#[test]
fn a_cancelled_job_takes_its_dependants_along() {
    check(
        graph(1, OnFailure::Stop),
        "add a b<a c:9<b d
         cancelled a
         cancel d
         add e f<e
         cancel e
         cancelled e
         add g<f",
        "submit a
         skip b: cancelled a
         skip c: cancelled a
         submit d
         cancel d
         skip e: cancelled e
         skip f: cancelled e
         skip g: cancelled e",
    );
}

#[test]
fn everything_is_cancelled_at_once() {
    let graph = check(
        graph(1, OnFailure::KeepGoing),
        "add a b c<a
         cancel-all
         cancel-all
         cancelled a
         add d",
        "submit a
         cancel a
         skip b: all cancelled
         skip c: all cancelled
         skip d: all cancelled",
    );
    assert!(graph.is_finished());
}

#[test]
fn late_and_repeated_ends_say_nothing() {
    check(
        graph(1, OnFailure::Stop),
        "add a b
         failed b
         done a
         failed a
         done a",
        "submit a
         submit b",
    );
}

#[test]
fn jobs_come_while_others_run() {
    check(
        graph(1, OnFailure::KeepGoing),
        "add a:1 b:2 c:1
         add d:9<c e<a
         done b
         done c
         add f<b
         failed a
         done d
         add g<a,f
         done f",
        // d makes c the longest; a is overtaken.
        "submit b
         submit c
         submit d
         submit a",
    );
}

#[test]
fn a_long_estimate_does_not_wrap() {
    let mut graph = graph(1, OnFailure::KeepGoing);
    let long = |name: &str, after: &[&str]| JobSpec {
        name: name.to_owned(),
        expected: Duration::MAX,
        after: after.iter().map(|&name| name.to_owned()).collect(),
        ..JobSpec::default()
    };
    graph.add(vec![long("a", &[]), long("b", &["a"]), long("c", &["b"])], &mut Vec::new()).unwrap();
    graph.check();
    assert_eq!(graph.path(graph.find("a").unwrap()), Duration::from_micros(u64::MAX));
}

#[test]
fn inputs_are_names_of_outputs() {
    let graph = check(
        graph(0, OnFailure::KeepGoing),
        "add use<make.lib,make make!lib
         add again<make.lib
         done make",
        "submit make
         submit use
         submit again",
    );
    let make = graph.find("make").unwrap();
    for user in ["use", "again"] {
        let inputs: Vec<_> = graph.inputs(graph.find(user).unwrap()).collect();
        assert_eq!(inputs, [(make, "lib")]);
    }
}
