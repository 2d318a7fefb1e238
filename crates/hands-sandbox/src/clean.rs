//! A start that owes nothing to whoever happened to start this process: limits, signals, processors, priorities.
//!
//! Everything here acts on the calling thread or the whole process and is inherited by later threads and children, so it
//! is called first thing in `main`, while there is one thread.

mod limits;
mod signals;

use std::fs;

use hands_sandbox_child::sys::{arg, call};
use rustix::fs::Mode;

use crate::cgroup::place;
use crate::kernel;

pub use limits::{open_files, processes};

/// What a process that serves many callers must not have of the one that started it: undoes what may be undone, and
/// returns what could not be, as sentences for a person.
///
/// Afterwards no descriptor but the standard streams is open, no signal is blocked, none is ignored but SIGPIPE and
/// SIGXFSZ (a write beyond a limit is an error, not death), the umask is 022, the current directory is `/`, and soft
/// limits are as high as the hard ones.
pub fn start_clean() -> Vec<String> {
    crate::spawn::close_all_but(&[]);
    signals::restore(signals::Keep::Nothing);
    rustix::process::umask(Mode::from_raw_mode(0o022));
    let mut left = limits::raise_all();
    // Whoever made the directory could not unmount it while this process stands in it.
    if let Err(error) = rustix::process::chdir("/") {
        left.push(format!("the working directory: / can't be entered ({error})"));
    }
    left.extend(processors());
    left.extend(priority());
    left.extend(scheduling());
    left.extend(disk_priority());
    left.extend(personality());
    left.extend(memory_policy());
    left.extend(oom_score());
    left.extend(privileges());
    left.extend(cgroup_limits());
    left
}

/// The part of [`start_clean`] without which a server fails, whoever starts it: a child's end is told, no signal is
/// blocked, and a write beyond a limit is an error. What its operator may have chosen for it stays: an ignored SIGHUP,
/// processors, priority, limits.
pub fn start_server() {
    signals::restore(signals::Keep::Ignored);
}

/// For a launcher, which waits for its spawners: it is started by any program that looks what this machine allows.
pub(crate) fn default_signals() {
    signals::restore(signals::Keep::Nothing);
}

/// A mask of processors as large as any kernel's.
const PROCESSOR_BYTES: usize = 1024;

/// All that there are; the kernel takes away what this process's cpuset does not have.
fn processors() -> Option<String> {
    let all = [0xffu8; PROCESSOR_BYTES];
    // SAFETY: points to a local, with its length.
    let set = unsafe {
        call(libc::SYS_sched_setaffinity, 0, PROCESSOR_BYTES, all.as_ptr() as usize, 0, 0)
    };
    let error = kernel::error(set.err()?);
    Some(format!("it stays on the processors that it was started on ({error})"))
}

fn priority() -> Option<String> {
    let nice = rustix::process::getpriority_process(None).ok()?;
    if nice == 0 {
        return None;
    }
    rustix::process::setpriority_process(None, 0).err()?;
    Some(format!("nice {nice}: only a privileged process may go back to 0"))
}

fn scheduling() -> Option<String> {
    // SAFETY: takes no pointer.
    let policy = unsafe { call(libc::SYS_sched_getscheduler, 0, 0, 0, 0, 0) }.ok()?;
    if policy == arg(libc::SCHED_OTHER) {
        return None;
    }
    let none = 0i32;
    // SAFETY: points to a local.
    let set = unsafe {
        let parameter = (&raw const none) as usize;
        call(libc::SYS_sched_setscheduler, 0, arg(libc::SCHED_OTHER), parameter, 0, 0)
    };
    let error = kernel::error(set.err()?);
    Some(format!("scheduling policy {policy} in place of the ordinary one ({error})"))
}

/// Of reads and writes: back to what follows from the priority.
fn disk_priority() -> Option<String> {
    const PROCESS: usize = 1;
    // SAFETY: takes no pointer.
    let had = unsafe { call(libc::SYS_ioprio_get, PROCESS, 0, 0, 0, 0) }.ok()?;
    if had == 0 {
        return None;
    }
    // SAFETY: takes no pointer.
    let set = unsafe { call(libc::SYS_ioprio_set, PROCESS, 0, 0, 0, 0) };
    let error = kernel::error(set.err()?);
    Some(format!("the disk priority of the one that started it ({error})"))
}

/// `linux32` and `setarch -R` would change what actions are told of the machine.
fn personality() -> Option<String> {
    const ASK: usize = 0xffff_ffff;
    // SAFETY: takes no pointer.
    let had = unsafe { call(libc::SYS_personality, ASK, 0, 0, 0, 0) }.ok()?;
    if had == 0 {
        return None;
    }
    // SAFETY: takes no pointer.
    let set = unsafe { call(libc::SYS_personality, 0, 0, 0, 0, 0) };
    let error = kernel::error(set.err()?);
    Some(format!("the personality {had:#x} of the one that started it ({error})"))
}

/// `numactl` would bind the memory of all actions.
fn memory_policy() -> Option<String> {
    let mut had = 0i32;
    // SAFETY: points to a local. A kernel or a container's filter without the call has no policy to undo.
    unsafe { call(libc::SYS_get_mempolicy, (&raw mut had) as usize, 0, 0, 0, 0) }.ok()?;
    if had == 0 {
        return None;
    }
    // SAFETY: takes no nodes.
    let set = unsafe { call(libc::SYS_set_mempolicy, 0, 0, 0, 0, 0) };
    let error = kernel::error(set.err()?);
    Some(format!("the memory policy of the one that started it ({error})"))
}

fn oom_score() -> Option<String> {
    const FILE: &str = "/proc/self/oom_score_adj";
    let had = fs::read_to_string(FILE).ok()?;
    let had = had.trim();
    if had == "0" {
        return None;
    }
    let error = fs::write(FILE, "0").err()?;
    Some(format!("oom_score_adj {had}: the kernel ends it sooner when memory is short ({error})"))
}

/// What a process gives up for ever, and the machine's first process has not.
fn privileges() -> Vec<String> {
    let field = |process: &str, name: &str| {
        let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
        status.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u8>().ok())
    };
    let more = |name: &str| match (field("self", name), field("1", name)) {
        (Some(own), Some(first)) => own > first,
        _ => false,
    };
    let mut left = Vec::new();
    if more("NoNewPrivs:") {
        left.push("no_new_privs: set-user-id programs give it nothing".to_owned());
    }
    if more("Seccomp:") {
        left.push("a seccomp filter of the one that started it".to_owned());
    }
    left
}

/// Limits of the control group in which it was started, such as a CI job's. A group at the top of what can be seen is the
/// machine's or the container's, and everybody's.
fn cgroup_limits() -> Vec<String> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let (mounts, own) = (read("/proc/self/mountinfo"), read("/proc/self/cgroup"));
    if own.lines().all(|line| line.ends_with(":/")) {
        return Vec::new();
    }
    let limit = |controller: Option<&str>, file: &str, unlimited: fn(&str) -> bool| {
        let text = fs::read_to_string(place(&mounts, &own, controller)?.join(file)).ok()?;
        let text = text.trim().to_owned();
        (!unlimited(&text)).then_some(text)
    };
    let is_max = |text: &str| text.split(' ').next() == Some("max");
    // v1 has no word for it: half of all bytes that can be addressed, rounded to pages.
    let is_huge = |text: &str| text.parse::<u64>().is_ok_and(|bytes| bytes >= 1 << 60);
    let memory = limit(None, "memory.max", is_max)
        .or_else(|| limit(Some("memory"), "memory.limit_in_bytes", is_huge));
    let cpu = limit(None, "cpu.max", is_max)
        .or_else(|| limit(Some("cpu"), "cpu.cfs_quota_us", |text| text == "-1"));
    let few = |text: &str| text.parse::<u64>().is_ok_and(|n| n < limits::PROCESSES);
    let pids = limit(None, "pids.max", is_max)
        .or_else(|| limit(Some("pids"), "pids.max", is_max))
        .filter(|text| few(text));
    let path = own.lines().filter_map(|line| line.splitn(3, ':').nth(2)).max_by_key(|p| p.len());
    let path = path.unwrap_or("/");
    let parts = [("memory", memory), ("cpu time", cpu), ("processes", pids)];
    let parts = parts.into_iter().filter_map(|(what, limit)| Some((what, limit?)));
    parts
        .map(|(what, limit)| format!("the control group {path} limits its {what}: {limit}"))
        .collect()
}
