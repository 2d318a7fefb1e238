//! Takes requests one after the other at the level without namespaces: a fresh directory with copied inputs, and a
//! spawner that is the reaper of all orphans below it, so that no process outlives its action.

use std::os::fd::{AsFd, FromRawFd, OwnedFd};

use hands_sandbox_child::sys;
use hands_sandbox_child::{Job, start_command, step};
use rustix::fs::{AtFlags, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;

use super::ROOT_NAME;
use super::job::{self, DEFAULT_PIDS, Places, Refusal, Storage};
use super::kill::{self, Deadline, End};
use super::serve::{Memory, answer, limit, next_request, refuse, stack};
use super::setup::SlotState;
use crate::cgroup::SlotCgroup;
use crate::ids::c_path;
use crate::message::{Ending, Order};
use crate::remove::empty;
use crate::sweep::{kill_group, sweep};
use crate::wire::MAX_PACKET;

pub(crate) fn serve(slot: &SlotState, cgroup: Option<&SlotCgroup>) -> ! {
    let Ok(stack) = stack() else { sys::exit(71) };
    let mut job = job::empty(slot.facts, stack);
    let mut packet = vec![0; MAX_PACKET];
    loop {
        let request = next_request(&slot.sock, &mut packet);
        let Some(order) = Order::decode(&request.body) else { sys::exit(72) };
        job = job::empty(slot.facts, job.command_stack);
        job.report.marks[0] = sys::micros();
        let deadline = Deadline::new(order.deadline);
        match prepare(slot, cgroup, &mut job, &order, &request.streams) {
            Ok((tree, storage, held)) => {
                let memory = cgroup.map(|c| Memory::before(c, held));
                run(slot, memory.as_ref(), &mut job, &order, &tree, deadline);
                drop(storage);
            }
            Err(refusal) => refuse(slot, &mut job, order.sequence, refusal),
        }
    }
}

/// Empties the slot's directory, copies the inputs into it and fills the job.
fn prepare(
    slot: &SlotState,
    cgroup: Option<&SlotCgroup>,
    job: &mut Job,
    order: &Order<'_>,
    streams: &[OwnedFd],
) -> Result<(OwnedFd, Storage, u64), Refusal> {
    let failed = |e: Errno| (step::INPUT_ROOT, e.raw_os_error());
    empty(slot.disk.as_fd())
        .map_err(|e| (step::INPUT_ROOT, e.raw_os_error().unwrap_or(libc::EIO)))?;
    for (name, mode) in [(ROOT_NAME, 0o755), ("tmp", 0o700), ("home", 0o700)] {
        rustix::fs::mkdirat(&slot.disk, name, Mode::from_raw_mode(mode)).map_err(failed)?;
        if let Some(id) = slot.facts.identity {
            let (user, group) = (Uid::from_raw(id), Gid::from_raw(id));
            rustix::fs::chownat(&slot.disk, name, Some(user), Some(group), AtFlags::empty())
                .map_err(failed)?;
        }
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::openat(&slot.disk, ROOT_NAME, flags, Mode::empty()).map_err(failed)?;
    super::copy::copy_trees(slot.cache.as_fd(), &order.lowers, root.as_fd(), slot.facts.identity)
        .map_err(failed)?;
    let place = |name: &str| {
        c_path(&slot.directory.join(name)).map_err(|_| (step::INPUT_ROOT, libc::EINVAL))
    };
    let places = Places { root: place(ROOT_NAME)?, home: place("home")?, tmp: place("tmp")? };
    let mut storage = job::fill(job, order, &places, streams, &slot.null, cgroup.is_some())?;
    storage.keep_places(places);
    if slot.facts.identity.is_none() {
        let pids = order.pids.unwrap_or(DEFAULT_PIDS);
        job::limit_processes(job, slot.own_processes.saturating_add(pids));
    }
    let held = limit(cgroup, order)?;
    Ok((root, storage, held))
}

fn run(
    slot: &SlotState,
    memory: Option<&Memory<'_>>,
    job: &mut Job,
    order: &Order<'_>,
    tree: &OwnedFd,
    deadline: Deadline,
) {
    job.report.marks[1] = sys::micros();
    let mut pidfd = -1;
    // SAFETY: the job is complete, its storage lives, its stack is free; `pidfd` is a local.
    let started = unsafe { start_command(job, libc::CLONE_PIDFD, &raw mut pidfd) };
    let pid = match started {
        Ok(pid) => i32::try_from(pid).unwrap_or(-1),
        Err(errno) => return refuse(slot, job, order.sequence, (step::PROCESS, errno)),
    };
    // SAFETY: the kernel made it for us.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    let end = kill::await_end(&slot.sock, &pidfd, order.sequence, deadline);
    kill_group(pid);
    kill::reap_command(pid, &mut job.report);
    // All that it left behind, ours by now or when its parents are dead.
    sweep(slot.facts.identity, &[]);
    job.report.marks[4] = sys::micros();
    let mut ending =
        Ending { timed_out: end == End::TimedOut, killed: end == End::Killed, ..Ending::default() };
    if let Some(memory) = memory {
        memory.after(order.memory, &mut ending);
    }
    answer(slot, order.sequence, &job.report, &ending, order.tree.then_some(tree.as_fd()));
}
