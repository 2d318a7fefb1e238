//! Takes requests one after the other, at the levels that have namespaces.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::atomic::Ordering;
use std::time::Duration;

use hands_sandbox_child::sys::{self, arg, call};
use hands_sandbox_child::{GO, Job, LEAVE, Report, Stack, start_init, step};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{AtFlags, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;

use super::copy::{copy_trees, times};
use super::job::{self, DEFAULT_PIDS, OWN_PIDS, Places, Refusal, Storage};
use super::kill::{self, Deadline, End};
use super::mount_points::MountPoints;
use super::own_root;
use super::root::{DISK, SCRATCH};
use super::setup::SlotState;
use crate::cgroup::SlotCgroup;
use crate::kernel::{self, NODEV, NOSUID};
use crate::message::{self, Ending, KILL, Order, REQUEST, REQUEST_IN_FILE};
use crate::remove::empty;
use crate::wire::{self, MAX_PACKET, Reader};
use crate::{HOME_INSIDE, ROOT_INSIDE};

/// Size of a scratch that is prepared before any request is known.
const FIRST_SCRATCH: u64 = 2 << 30;
const STACK: usize = 64 << 10;
/// How long what is left of an action is kept for want of time. Far longer than a client takes for its next request, or
/// else that one arrives while the kernel unmounts.
const PAUSE: Duration = Duration::from_millis(50);

/// A fresh scratch and an init that waits.
struct Ahead {
    scratch: OwnedFd,
    pid: i32,
    pidfd: OwnedFd,
}

/// What holds the mounts of an action that has ended. The kernel takes them down when it is dropped, and that takes
/// time.
struct Left {
    tree: Option<OwnedFd>,
    #[expect(dead_code, reason = "held for what its drop does")]
    mounts: Option<OwnedFd>,
}

/// A request with its streams.
pub(crate) struct Received {
    pub(crate) body: Vec<u8>,
    pub(crate) streams: Vec<OwnedFd>,
}

pub(crate) fn serve(slot: &mut SlotState, cgroup: Option<&SlotCgroup>) -> ! {
    let stacks = match (stack(), stack()) {
        (Ok(init), Ok(command)) => [init, command],
        _ => sys::exit(71),
    };
    let job = Box::leak(Box::new(job::empty(slot.facts, stacks[1])));
    let mut packet = vec![0; MAX_PACKET];
    let mut size = FIRST_SCRATCH;
    let mut disk: Option<String> = None;
    let mut number = 0u64;
    let mut left = None;
    loop {
        let ahead = prepare(slot, job, stacks[0], size);
        if let Some(watch) = &mut slot.network {
            watch.forget();
        }
        if left.is_some() && !is_due(&slot.sock, PAUSE) {
            drop(left.take());
        }
        let request = next_request(&slot.sock, &mut packet);
        let Some(order) = Order::decode(&request.body) else { sys::exit(72) };
        if disk.take().is_some() {
            // What the action before wrote. Its tree is closed, as `Scratch::Disk` asks. What stays is found next time.
            drop(empty(slot.disk.as_fd()));
        }
        number += 1;
        let on_disk = slot.disk_always || order.scratch.is_none();
        disk = on_disk.then(|| format!("a{number}"));
        match ahead {
            Ok(ahead) => {
                left = run(
                    slot,
                    cgroup,
                    job,
                    &order,
                    ahead,
                    left.take(),
                    &request.streams,
                    size,
                    disk.as_deref(),
                );
                // Whoever waits for the answer goes first where processors are few.
                rustix::thread::sched_yield();
            }
            Err(errno) => refuse(slot, job, order.sequence, (step::MOUNT, errno)),
        }
        size = order.scratch.unwrap_or(size);
    }
}

/// Whether a packet comes within this time.
fn is_due(sock: &OwnedFd, within: Duration) -> bool {
    let mut poll = [PollFd::new(sock, PollFlags::IN)];
    let within = Timespec::try_from(within).ok();
    // An interruption is not a packet, but whoever asked can do with either answer.
    rustix::event::poll(&mut poll, within.as_ref()).is_ok_and(|n| n > 0)
}

/// The next request; ends the process, and so the slot, when the worker is gone.
pub(crate) fn next_request(sock: &OwnedFd, packet: &mut [u8]) -> Received {
    loop {
        let (length, mut fds) = match wire::receive(sock, packet) {
            Ok((0, _)) | Err(_) => sys::exit(0),
            Ok(received) => received,
        };
        let mut fields = Reader(&packet[..length]);
        match fields.u64() {
            Some(REQUEST) => return Received { body: fields.0.to_vec(), streams: fds },
            Some(REQUEST_IN_FILE) if !fds.is_empty() => {
                let mut file = std::fs::File::from(fds.remove(0));
                let mut body = Vec::new();
                let read = std::io::Seek::rewind(&mut file)
                    .and_then(|()| std::io::Read::read_to_end(&mut file, &mut body));
                match read {
                    Ok(_) => return Received { body, streams: fds },
                    Err(_) => sys::exit(74),
                }
            }
            // For an action that has ended meanwhile.
            Some(KILL) => {}
            _ => sys::exit(72),
        }
    }
}

/// Runs an order and answers. What it returns is dropped as `left` once the next one runs, which need not wait for it.
fn run(
    slot: &SlotState,
    cgroup: Option<&SlotCgroup>,
    job: &mut Job,
    order: &Order<'_>,
    ahead: Ahead,
    left: Option<Left>,
    streams: &[OwnedFd],
    size: u64,
    disk: Option<&str>,
) -> Option<Left> {
    job.report.marks[0] = sys::micros();
    let deadline = Deadline::new(order.deadline);
    let mut points = MountPoints::default();
    let filled = fill(slot, cgroup, job, order, &ahead, streams, size, disk, &mut points);
    let (storage, held) = match filled {
        Ok(filled) => filled,
        Err(refusal) => {
            say(job, LEAVE);
            kill::reap(ahead.pid, &mut Report::default());
            drop(take_left(job));
            refuse(slot, job, order.sequence, refusal);
            points.remove();
            return None;
        }
    };
    let memory = cgroup.map(|c| Memory::before(c, held));
    say(job, GO);
    drop(left);
    let end = kill::await_end(&slot.sock, &ahead.pidfd, order.sequence, deadline);
    kill::reap(ahead.pid, &mut job.report);
    drop(storage);
    job.report.marks[4] = sys::micros();
    let mut ending = Ending {
        timed_out: end == End::TimedOut,
        killed: end == End::Killed,
        // An init that was killed while it opened the tree may have left a descriptor that nobody knows.
        dirty: end != End::Itself && job.report.marks[1] == 0,
        ..Ending::default()
    };
    if let Some(watch) = &slot.network {
        ending.dirty |= watch.is_dirty();
        ending.network_attempted = failed(job, end) && watch.was_tried();
    }
    if let Some(memory) = memory {
        memory.after(order.memory, &mut ending);
    }
    let left = take_left(job);
    let wanted = left.tree.as_ref().filter(|_| order.tree);
    answer(slot, order.sequence, &job.report, &ending, wanted.map(AsFd::as_fd));
    points.remove();
    // With scratch on disk nothing may be mounted of it when the next request comes.
    Some(left).filter(|_| disk.is_none())
}

/// Whether it ended in a way that somebody will want to have explained.
fn failed(job: &Job, end: End) -> bool {
    end != End::Itself || !job.report.ended || job.report.status != 0
}

/// Gives a waiting init its word.
fn say(job: &Job, word: u32) {
    job.go.store(word, Ordering::Release);
    let wake = arg(libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG);
    // SAFETY: the address of a word that lives on.
    let _woken = unsafe { call(libc::SYS_futex, job.go.as_ptr() as usize, wake, 1, 0, 0) };
}

/// What an init that is gone had opened in the descriptor table that we share.
fn take_left(job: &mut Job) -> Left {
    let take = |fd: &mut i32| {
        let fd = std::mem::replace(fd, -1);
        // SAFETY: the init opened it for us, and nobody else knows it.
        (fd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(fd) })
    };
    Left { tree: take(&mut job.tree), mounts: take(&mut job.mounts) }
}

fn fill(
    slot: &SlotState,
    cgroup: Option<&SlotCgroup>,
    job: &mut Job,
    order: &Order<'_>,
    ahead: &Ahead,
    streams: &[OwnedFd],
    size: u64,
    disk: Option<&str>,
    points: &mut MountPoints,
) -> Result<(Storage, u64), Refusal> {
    let scratch_failed = |e: Errno| (step::MOUNT, e.raw_os_error());
    let own = match disk {
        None => None,
        Some(name) => {
            let mode = Mode::from_raw_mode(0o755);
            rustix::fs::mkdirat(&slot.disk, name, mode).map_err(scratch_failed)?;
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let opened = rustix::fs::openat(&slot.disk, name, flags, Mode::empty())
                .map_err(scratch_failed)?;
            make_scratch(slot, opened.as_fd()).map_err(scratch_failed)?;
            if !slot.copy_on_disk {
                let (work, mode) = (job::work_name(name), Mode::from_raw_mode(0o700));
                rustix::fs::mkdirat(&slot.disk, work, mode).map_err(scratch_failed)?;
            }
            Some(opened)
        }
    };
    job.root_at = order.root_at.as_ptr();
    let places = Places {
        root: order.root_at.to_owned(),
        home: c_string(HOME_INSIDE),
        tmp: c"/tmp".to_owned(),
    };
    let mut storage = job::fill(job, order, &places, streams, &slot.null, cgroup.is_some())?;
    storage.keep_places(places);
    let copied = order.copy || slot.copy_always || (slot.copy_on_disk && disk.is_some());
    let scratch = own.as_ref().unwrap_or(&ahead.scratch);
    // Overlays take what they are made of from the disk itself: not every kernel lays one over another.
    let scratch_name = disk.map_or_else(|| SCRATCH.to_owned(), |name| format!("{DISK}/{name}"));
    let own_root = match order.root.is_empty() {
        true => None,
        false => {
            let (cache, scratch) = (slot.cache.as_fd(), scratch.as_fd());
            Some(own_root::prepare(cache, scratch, &scratch_name, order)?)
        }
    };
    let has_own_root = own_root.is_some();
    job::fill_mounts(job, order, copied, own_root, &scratch_name, &mut storage)?;
    let resize = order.scratch.filter(|&wanted| wanted != size && disk.is_none());
    job::fill_scratch(job, resize, disk, !slot.copy_on_disk, &mut storage);
    if copied {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::openat(scratch, "u", flags, Mode::empty())
            .and_then(|to| {
                copy_trees(slot.cache.as_fd(), &order.lowers, to.as_fd(), slot.facts.identity)
            })
            .map_err(|e| (step::INPUT_ROOT, e.raw_os_error()))?;
    } else if let Some(topmost) = order.lowers.first() {
        // Of the root itself an overlay shows what its writable directory says.
        rustix::fs::statat(&slot.cache, *topmost, AtFlags::SYMLINK_NOFOLLOW)
            .and_then(|stat| {
                rustix::fs::utimensat(scratch, "u", &times(&stat), AtFlags::SYMLINK_NOFOLLOW)
            })
            .map_err(|e| (step::INPUT_ROOT, e.raw_os_error()))?;
    }
    if let (Some(template), false) = (&slot.template, has_own_root) {
        for at in order.layers.iter().map(|(_, at)| *at).chain([order.root_at]) {
            if at.to_bytes() != ROOT_INSIDE.as_bytes() {
                points.make(template, at).map_err(|e| (step::MOUNT, e.raw_os_error()))?;
            }
        }
    }
    let held = limit(cgroup, order)?;
    Ok((storage, held))
}

/// Sets the action's limits. Returns what its group holds beside.
pub(crate) fn limit(cgroup: Option<&SlotCgroup>, order: &Order<'_>) -> Result<u64, Refusal> {
    let Some(cgroup) = cgroup else { return Ok(0) };
    let pids = order.pids.unwrap_or(DEFAULT_PIDS).saturating_add(OWN_PIDS);
    cgroup
        .set(order.memory, pids)
        .map_err(|e| (step::RESTRICT, e.raw_os_error().unwrap_or(libc::EIO)))
}

/// The memory of a group around an action.
pub(crate) struct Memory<'a> {
    cgroup: &'a SlotCgroup,
    held: u64,
    before: u64,
    kills: u64,
    /// The highest peak of earlier actions, where it can't be forgotten: only what is above it says something.
    earlier: u64,
}

impl<'a> Memory<'a> {
    pub(crate) fn before(cgroup: &'a SlotCgroup, held: u64) -> Self {
        let earlier = if cgroup.reset_peak() { 0 } else { cgroup.peak().unwrap_or(0) };
        Self { cgroup, held, before: cgroup.used(), kills: cgroup.oom_kills(), earlier }
    }

    pub(crate) fn after(&self, limit: Option<u64>, ending: &mut Ending) {
        ending.oom_killed = self.cgroup.oom_kills() > self.kills;
        // At its limit the group has given back all that it could, such as pages of files that were read before.
        let from = if ending.oom_killed { self.held } else { self.before };
        let peak = self.cgroup.peak().filter(|peak| *peak > self.earlier);
        ending.peak_memory = match peak {
            Some(peak) => Some(peak.saturating_sub(from)),
            None if ending.oom_killed => limit,
            None => None,
        };
        self.cgroup.relax(limit, ending.peak_memory);
    }
}

fn c_string(text: &str) -> std::ffi::CString {
    std::ffi::CString::new(text).unwrap_or_default()
}

pub(crate) fn refuse(slot: &SlotState, job: &mut Job, sequence: u64, (step, errno): Refusal) {
    job.report.step = step;
    job.report.errno = errno;
    job.report.marks[4] = sys::micros();
    answer(slot, sequence, &job.report, &Ending::default(), None);
}

pub(crate) fn answer(
    slot: &SlotState,
    sequence: u64,
    report: &Report,
    ending: &Ending,
    tree: Option<BorrowedFd<'_>>,
) {
    let packet = message::encode_outcome(sequence, report, ending);
    if wire::send(&slot.sock, &packet, tree.as_slice()).is_err() {
        sys::exit(0);
    }
}

/// A fresh tmpfs for the action's own directories, and an init waiting in fresh namespaces.
fn prepare(slot: &SlotState, job: &mut Job, init_stack: Stack, size: u64) -> Result<Ahead, i32> {
    *job = job::empty(slot.facts, job.command_stack);
    let size = c_string(&size.to_string());
    let options = [(c"size", size.as_c_str()), (c"mode", c"755")];
    let code = |e: std::io::Error| e.raw_os_error().unwrap_or(libc::EIO);
    let scratch = kernel::new_filesystem(c"tmpfs", &options, NOSUID | NODEV).map_err(code)?;
    make_scratch(slot, scratch.as_fd()).map_err(Errno::raw_os_error)?;
    job.scratch = scratch.as_raw_fd();
    let mut pidfd = -1;
    // SAFETY: job and stack live for ever; the scratch until the init's end; we have one thread.
    let pid = unsafe { start_init(job, init_stack, &mut pidfd) }?;
    // SAFETY: the kernel made it for us.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok(Ahead { scratch, pid: i32::try_from(pid).unwrap_or(-1), pidfd })
}

/// The directories of a scratch: the overlay's two, `/tmp`, home.
fn make_scratch(slot: &SlotState, scratch: BorrowedFd<'_>) -> Result<(), Errno> {
    for (name, mode, given) in
        [("u", 0o755, true), ("w", 0o700, false), ("tmp", 0o1777, false), ("home", 0o700, true)]
    {
        let mode = Mode::from_raw_mode(mode);
        rustix::fs::mkdirat(scratch, name, mode)?;
        if name == "tmp" {
            // The umask took some away.
            rustix::fs::chmodat(scratch, name, mode, AtFlags::empty())?;
        }
        if let (true, Some(id)) = (given, slot.facts.identity) {
            let (user, group) = (Uid::from_raw(id), Gid::from_raw(id));
            rustix::fs::chownat(scratch, name, Some(user), Some(group), AtFlags::empty())?;
        }
    }
    Ok(())
}

/// A stack that is never freed.
pub(crate) fn stack() -> Result<Stack, i32> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_POPULATE;
    // The sixth argument of mmap is an offset, where raw calls have the knock: so libc's.
    // SAFETY: a fresh anonymous mapping.
    let start = unsafe {
        libc::mmap(std::ptr::null_mut(), STACK, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0)
    };
    if start == libc::MAP_FAILED {
        return Err(libc::ENOMEM);
    }
    Ok(Stack(start.cast::<u8>().wrapping_add(STACK)))
}
