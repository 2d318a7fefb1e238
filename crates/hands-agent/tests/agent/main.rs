//! Real agents: started by clients, raced for, killed, replaced by their successors; real snapshots and actions over
//! their sockets. One binary is the tests, the agent and the sandbox's launcher.
#![expect(clippy::print_stderr, reason = "a test with a harness of its own")]
#![expect(clippy::exit, clippy::disallowed_methods, reason = "a test with a harness of its own")]

mod home;
mod jobs;
mod life;
mod snapshots;
mod trees;

use std::panic::catch_unwind;
use std::process::exit;

type Test = (&'static str, fn());

const TESTS: &[Test] = &[
    ("ten front-ends start one agent", life::ten_front_ends_start_one_agent),
    (
        "an agent that was killed leaves nothing in the way",
        life::a_killed_agent_leaves_nothing_in_the_way,
    ),
    ("an idle agent leaves and a busy one stays", life::an_idle_agent_leaves_and_a_busy_one_stays),
    (
        "stop is refused while something runs unless forced",
        life::stop_is_refused_while_something_runs_unless_forced,
    ),
    ("a refusal reaches the front-end", life::a_refusal_reaches_the_front_end),
    ("the agent is a process of its own", life::the_agent_is_a_process_of_its_own),
    (
        "a snapshot can be run and its outputs fetched",
        snapshots::a_snapshot_can_be_run_and_its_outputs_fetched,
    ),
    ("an unchanged tree is not read again", snapshots::an_unchanged_tree_is_not_read_again),
    ("evicted blobs are read again", snapshots::evicted_blobs_are_read_again),
    ("a snapshot can go to another hub", snapshots::a_snapshot_can_go_to_another_hub),
    ("many inputs are passed by handle", snapshots::many_inputs_are_passed_by_handle),
    (
        "a tree is put together of all kinds of parts",
        trees::a_tree_is_put_together_of_all_kinds_of_parts,
    ),
    (
        "trees are mounted and taken from where links lead",
        trees::trees_are_mounted_and_taken_from_where_links_lead,
    ),
    ("a pipe is let go when nobody wants it", trees::a_pipe_is_let_go_when_nobody_wants_it),
    ("outputs are inputs without coming here", trees::outputs_are_inputs_without_coming_here),
    ("both streams come live and whole", jobs::both_streams_come_live_and_whole),
    (
        "large streams come whole without being followed",
        jobs::large_streams_come_whole_without_being_followed,
    ),
    ("a job survives its agent", jobs::a_job_survives_its_agent),
    ("cancelled and detached jobs", jobs::cancelled_and_detached_jobs),
    ("many jobs at once end each with its own", jobs::many_jobs_at_once_end_each_with_its_own),
];

fn main() {
    let args: Vec<String> = std::env::args().collect();
    match args.get(1).map(String::as_str) {
        Some(hands_sandbox::LAUNCHER_WORD) => hands_sandbox::launcher_main(),
        Some("agent-under-test") => home::be_agent(&args[2..]),
        _ => {}
    }
    let wanted = args.get(1).filter(|a| !a.starts_with('-'));
    let mut failed = 0;
    for (name, test) in
        TESTS.iter().filter(|(name, _)| wanted.is_none_or(|w| name.contains(w.as_str())))
    {
        let good = catch_unwind(test).is_ok();
        eprintln!("test {name} ... {}", if good { "ok" } else { "FAILED" });
        failed += u32::from(!good);
    }
    exit(i32::from(failed > 0));
}
