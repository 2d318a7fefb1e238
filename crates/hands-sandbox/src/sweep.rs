//! Kills every process below this one, where no pid namespace does it.

use std::fs;

use hands_sandbox_child::sys::{self, arg, call};

use crate::kernel;

/// Kills and reaps all descendants but `spared` children and what is below those. The caller is a child subreaper, so
/// that orphans become its children: when it has no child left, nothing is left. `owner` is a user whose processes are
/// all descendants, which kills even those that fork faster than they can be listed.
pub(crate) fn sweep(owner: Option<u32>, spared: &[i32]) {
    let own = std::process::id().cast_signed();
    loop {
        let children: Vec<i32> =
            children_of(own).into_iter().filter(|pid| !spared.contains(pid)).collect();
        if children.is_empty() {
            return;
        }
        if let Some(owner) = owner {
            kill_user(owner);
        }
        for pid in descendants(spared) {
            kill(pid);
        }
        for pid in children {
            kill(pid);
            reap(pid);
        }
    }
}

/// Kills a process group at one blow. Its leader must not have been reaped yet.
pub(crate) fn kill_group(leader: i32) {
    kill(-leader);
}

fn kill(pid: i32) {
    // It fails only for one that is gone.
    // SAFETY: takes no pointer.
    let _sent = unsafe { call(libc::SYS_kill, arg(pid), arg(libc::SIGKILL), 0, 0, 0) };
}

fn reap(pid: i32) {
    // SAFETY: null pointers: nothing is reported.
    while unsafe { call(libc::SYS_wait4, arg(pid), 0, arg(libc::__WALL), 0, 0) } == Err(libc::EINTR)
    {
    }
}

/// A process of that user kills all that it may, which the kernel does under one lock.
fn kill_user(owner: u32) {
    match kernel::fork(0) {
        Ok(None) => {
            let id = owner as usize;
            // SAFETY: takes no pointer. As root this would kill the machine: only if the change of user worked.
            unsafe {
                if call(libc::SYS_setresuid, id, id, id, 0, 0).is_ok() {
                    let _sent = call(libc::SYS_kill, usize::MAX, arg(libc::SIGKILL), 0, 0, 0);
                }
            }
            sys::exit(0)
        }
        Ok(Some(pid)) => reap(pid.as_raw_nonzero().get()),
        // The listing does it alone.
        Err(_) => {}
    }
}

/// All processes below this one, from a listing of all that there are.
fn descendants(spared: &[i32]) -> Vec<i32> {
    let mut all: Vec<(i32, i32)> = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        if let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok())
            && let Some(parent) = parent_of(pid)
        {
            all.push((pid, parent));
        }
    }
    let mut found = vec![std::process::id().cast_signed()];
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        found.extend(
            all.iter()
                .filter(|(pid, p)| *p == parent && !spared.contains(pid))
                .map(|(pid, _)| *pid),
        );
        next += 1;
    }
    found.split_off(1)
}

fn parent_of(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

fn children_of(pid: i32) -> Vec<i32> {
    match fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")) {
        Ok(list) => list.split_whitespace().filter_map(|word| word.parse().ok()).collect(),
        // A kernel without that file.
        Err(_) => descendants(&[]).into_iter().filter(|&p| parent_of(p) == Some(pid)).collect(),
    }
}

/// Processes and threads of this user on the whole machine.
pub(crate) fn count_own_processes() -> u64 {
    use std::os::unix::fs::MetadataExt;
    let own = rustix::process::geteuid().as_raw();
    let tasks = |entry: &fs::DirEntry| {
        fs::read_dir(entry.path().join("task")).map_or(0, Iterator::count) as u64
    };
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter(|e| e.file_name().as_encoded_bytes()[0].is_ascii_digit())
        .filter(|e| e.metadata().is_ok_and(|m| m.uid() == own))
        .map(|e| tasks(&e))
        .sum()
}
