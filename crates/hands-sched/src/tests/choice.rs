//! Which action runs next, and where.

use super::*;

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
fn a_straggler_that_must_run_once_is_not_helped() {
    // Somebody joined who wants it so: before it straggles, when it does, and when it is lost.
    for joined in [1, 15] {
        check(
            &format!(
                "0 open s11
                 0 submit o1 cacheable takes=5
                 0 started s11 o1#1
                 1 beat s11
                 {}8 beat s11
                 15 beat s11
                 {}16 open s21
                 17 tick
                 18 back s11 o1#1 full",
                if joined == 1 { "1 once o1\n" } else { "" },
                if joined == 15 { "15 once o1\n" } else { "" },
            ),
            "0 lease s11 o1#1
             18 fail o1: attempt 1 was given up by its worker: full; it may have had effects outside, so it is not run again, and `--retry N` allows that",
        );
    }
}

#[test]
fn a_straggler_is_helped_though_its_worker_was_away_for_a_moment() {
    check(
        "0 open s11
         0 open s21
         0 submit o1 cacheable takes=2
         0 submit o2 takes=2
         0 started s11 o1#1
         0 started s21 o2#1
         3 close s11
         5 open s12 holds=o1#1
         5 started s12 o1#1
         9 beat s21
         11 beat s12
         12 done s21 o2#1",
        "0 lease s11 o1#1
         0 lease s21 o2#1
         5 adopted s12 o1#1
         12 accept s21 o2#1
         12 lease s21 o1#2",
    );
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
