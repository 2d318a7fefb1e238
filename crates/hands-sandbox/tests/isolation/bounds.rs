//! Bombs.

use std::time::{Duration, Instant};

use hands_sandbox::{Scratch, Status};

use crate::harness::Bench;

pub(crate) fn run(b: &mut Bench<'_>) {
    // At `process` the machine counts all of an ordinary user's processes, and none of root's own.
    let ran =
        b.run_with(&[&b.in_root("probe"), "inside", "fork-bomb"], |r| r.limits.pids = Some(100));
    let n: u32 = ran.out.trim().parse().unwrap_or(9999);
    b.check(
        "a fork bomb is bounded",
        ran.exited(0) && (1..200).contains(&n),
        format!("{n} {}", ran.note()),
    );
    b.passes("the slot survives the fork bomb", &["nothing"]);
    let ran = b.run_with(&[&b.in_root("probe"), "inside", "eat-memory"], |r| {
        r.limits.memory = Some(100 << 20);
    });
    if b.probe.cgroup.is_some() {
        let killed =
            ran.outcome.oom_killed && ran.outcome.status == Status::Signaled(libc::SIGKILL);
        let peak = ran.outcome.peak_memory.is_some_and(|p| (90 << 20..101 << 20).contains(&p));
        b.check(
            "a memory bomb is killed and reported",
            killed && peak,
            format!("{:?}", ran.outcome),
        );
    } else {
        b.check("a memory bomb is bounded per process", !ran.exited(0), ran.note());
    }
    b.passes("the slot survives the memory bomb", &["nothing"]);
    let ran = b.run_with(&[&b.in_root("probe"), "inside", "eat-memory"], |r| {
        r.limits.memory = Some(2 << 30);
    });
    b.check("limits are each action's own", ran.exited(0), ran.note());
    let in_memory = !b.probe.warnings.iter().any(|w| w.contains("tmpfs can't hold"));
    // Often: the command execs while its parent takes the score back for itself.
    let scores: Vec<String> =
        (0..40).map(|_| b.run(&["cat", "/proc/self/oom_score_adj"]).out).collect();
    let good = scores.iter().all(|score| score == "800\n");
    b.check(
        "commands are killed before their slot for want of memory",
        good,
        format!("{scores:?}"),
    );
    // No lower than the slot's own at least, and where the launcher has the machine's own right to say so, never lower
    // than it was given.
    let lower = |score: i32| format!("echo {score} > /proc/self/oom_score_adj");
    let bound = if may_bound_scores() { 800 } else { 0 };
    let script = format!("{} && ! sh -c '{}' && {}", lower(900), lower(bound - 1), lower(bound));
    let ran = b.run(&["sh", "-c", &script]);
    b.check("commands can't lower their score", ran.exited(0), ran.note());
    pressure(b, in_memory);
    let ran = b.run_with(&["sh", "-c", "ulimit -n"], |r| r.limits.nofile = Some(77));
    b.check("the limit of open files", ran.out == "77\n", ran.note());
    if b.has_namespaces() && in_memory {
        for place in [".", "/tmp", "/home/action"] {
            let fill = format!("cd {place} && head -c 30000000 /dev/zero > big");
            let ran =
                b.run_with(&["sh", "-c", &fill], |r| r.scratch = Scratch::Tmpfs { size: 20 << 20 });
            b.check(
                &format!("scratch in {place} is bounded"),
                ran.err.contains("No space left"),
                ran.note(),
            );
            let ran =
                b.run_with(&["sh", "-c", &fill], |r| r.scratch = Scratch::Tmpfs { size: 40 << 20 });
            b.check(&format!("scratch in {place} can be larger"), ran.exited(0), ran.note());
        }
    }
    if b.has_namespaces() {
        let many = "i=0; while [ $i -lt 3 ]; do echo $i > /tmp/f$i; i=$((i+1)); done; ls /tmp";
        let ran = b.run(&["sh", "-c", many]);
        b.check("scratch is fresh", ran.out == "f0\nf1\nf2\n", ran.note());
    }
}

/// Whether this process has CAP_SYS_RESOURCE in the machine's own user namespace.
fn may_bound_scores() -> bool {
    const SYS_RESOURCE: u64 = 1 << 24;
    let read = |path| std::fs::read_to_string(path).expect(path);
    let status = read("/proc/self/status");
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:\t"));
    let effective = effective.and_then(|e| u64::from_str_radix(e, 16).ok()).expect("capabilities");
    let whole = read("/proc/self/uid_map").split_whitespace().eq(["0", "0", "4294967295"]);
    whole && effective & SYS_RESOURCE != 0
}

/// Memory that belongs to no single process, or to very many. Whatever the kernel kills, it is not the slot.
fn pressure(b: &mut Bench<'_>, in_memory: bool) {
    if b.probe.cgroup.is_none() {
        return;
    }
    const LIMIT: u64 = 100 << 20;
    let probe = b.in_root("probe");
    let mut eaters = vec![
        ("a memory file", vec![probe.as_str(), "inside", "eat-memfd"]),
        ("a System V segment", vec![&probe, "inside", "take-shm", "300"]),
        ("many small processes", vec![&probe, "inside", "eat-many"]),
    ];
    if b.has_namespaces() && in_memory {
        eaters.push(("files", vec!["sh", "-c", "head -c 300000000 /dev/zero > /tmp/big"]));
    }
    for (what, argv) in eaters {
        let ran = b.run_with(&argv, |r| r.limits.memory = Some(LIMIT));
        let peak = ran.outcome.peak_memory;
        let good = ran.outcome.oom_killed
            && !ran.outcome.dirty
            && peak.is_none_or(|peak| (LIMIT * 9 / 10..LIMIT + (2 << 20)).contains(&peak));
        b.check(&format!("{what} beyond the memory limit"), good, format!("{:?}", ran.outcome));
        // The tree of the action before is still open, as it is while its outputs are collected.
        let next =
            b.run_with(&[&probe, "inside", "nothing"], |r| r.limits.memory = Some(LIMIT / 2));
        let note = format!("{:?}", next.outcome);
        b.check(&format!("the slot survives {what}"), next.exited(0), note);
    }
    if !b.has_namespaces() {
        return;
    }
    // The kernel frees a namespace's segments some time after its last process, from a work queue. An action that comes
    // before that may be killed; after it none is, however often that happens. Memory that is never freed kills each.
    let patience = Instant::now() + Duration::from_secs(30);
    let mut passed = 0;
    while passed < 8 && Instant::now() < patience {
        let ran =
            b.run_with(&[&probe, "inside", "take-shm", "60"], |r| r.limits.memory = Some(LIMIT));
        passed += u32::from(ran.exited(0));
    }
    b.check("System V segments left behind hold no memory", passed == 8, passed);
}
