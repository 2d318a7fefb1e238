//! What is not added.

use super::*;

#[test]
fn what_is_refused_is_said_and_changes_nothing() {
    let graph = check(
        graph(0, OnFailure::KeepGoing),
        "add a!o
         add b c a
         add b b
         add b c<nobody
         add b<c c<b
         add b<b
         add b<a.x
         add b<c.o c
         add b<a",
        "submit a
         refused: two jobs are called `a`
         refused: two jobs are called `b`
         refused: the job `c` waits for `nobody`, which is no job
         refused: jobs wait for each other: b → c → b
         refused: jobs wait for each other: b → b
         refused: the job `b` takes the output `x` of the job `a`, which has none of that name
         refused: the job `b` takes the output `o` of the job `c`, which has none of that name",
    );
    assert_eq!(graph.counts(), Counts { n_out: 1, n_waiting: 1, ..Counts::default() });
    assert_eq!(graph.find("c"), None);
}

#[test]
fn a_cycle_begins_with_its_oldest_job_and_leaves_out_what_only_leads_to_it() {
    check(
        graph(0, OnFailure::KeepGoing),
        "add top<z base x<z,base z<y y<x behind<x",
        "refused: jobs wait for each other: x → z → y → x",
    );
}

#[test]
fn a_long_cycle_is_shortened_in_words() {
    let n = 1000;
    let jobs: Vec<JobSpec> = (0..n).map(|at| spec(&format!("j{at}<j{}", (at + 1) % n))).collect();
    let error = graph(0, OnFailure::KeepGoing).add(jobs, &mut Vec::new()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "jobs wait for each other: j0 → j1 → j2 → j3 → j4 → j5 → j6 → j7 → j8 → j9 → j10 → j11 → j12 → j13 → j14 \
         → … 985 more … → j0"
    );
    let AddError::Cycle(names) = error else { panic!("{error}") };
    assert_eq!(names.len(), n + 1);
}

#[test]
fn names_of_others_do_not_reach_a_terminal_raw() {
    let jobs = vec![spec("a\u{1b}[2J<b")];
    let error = graph(0, OnFailure::KeepGoing).add(jobs, &mut Vec::new()).unwrap_err();
    assert_eq!(error.to_string(), r"the job `a\u{1b}[2J` waits for `b`, which is no job");
}
