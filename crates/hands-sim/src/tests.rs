//! Many seeds hold; every planted bug is seen.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::{Bug, Log, Outcome, run};

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// A panic of a core's own `check` is a violation like any other.
fn attempt(seed: u64, bug: Option<Bug>, log: Option<Log>) -> Result<Outcome, String> {
    catch_unwind(AssertUnwindSafe(|| run(seed, bug, log))).unwrap_or_else(|cause| {
        let text = cause.downcast_ref::<String>().cloned();
        Err(text
            .or_else(|| cause.downcast_ref::<&str>().map(|s| (*s).to_owned()))
            .unwrap_or_default())
    })
}

#[test]
fn many_seeds() {
    let (first, n) = (number("SIM_SEED", 0), number("SIM_SEEDS", 500));
    let mut sum = Outcome::default();
    for seed in first..first + n {
        match attempt(seed, None, None) {
            Ok(outcome) => {
                sum.n_events += outcome.n_events;
                sum.n_operations += outcome.n_operations;
                sum.n_requeued += outcome.n_requeued;
                sum.n_refused += outcome.n_refused;
                sum.n_adopted += outcome.n_adopted;
                sum.n_restarts += outcome.n_restarts;
                sum.n_pauses += outcome.n_pauses;
            }
            Err(message) => {
                let log = Log::default();
                let again = attempt(seed, None, Some(Log::clone(&log)));
                let lines = log.borrow();
                let tail =
                    lines.len().saturating_sub(usize::try_from(number("SIM_LOG", 200)).unwrap());
                eprintln!("{}", lines[tail..].join("\n"));
                assert_eq!(again.err().as_ref(), Some(&message), "the second run differs");
                panic!(
                    "{message}\nagain: SIM_SEED={seed} SIM_SEEDS=1 cargo test -p hands-sim many_seeds"
                );
            }
        }
    }
    println!("{n} seeds: {sum:?}");
    if n >= 500 {
        // A simulation in which nothing happens proves nothing.
        assert!(
            sum.n_requeued > n && sum.n_refused > 0 && sum.n_adopted > n && sum.n_restarts > n / 4
        );
        assert!(sum.n_pauses > n / 8);
    }
}

#[test]
fn every_planted_bug_is_seen() {
    let silent = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let missed: Vec<Bug> = Bug::ALL
        .into_iter()
        .filter(|bug| !(0..400).any(|seed| attempt(seed, Some(*bug), None).is_err()))
        .collect();
    std::panic::set_hook(silent);
    assert!(missed.is_empty(), "nobody saw {missed:?}");
}

#[test]
fn a_seed_is_one_history() {
    for seed in 0..20 {
        let (first, second) = (Log::default(), Log::default());
        for log in [&first, &second] {
            run(seed, None, Some(Log::clone(log))).unwrap();
        }
        assert_eq!(first, second, "seed {seed} had two histories");
    }
}
