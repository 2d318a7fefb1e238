//! Memory and process limits by cgroup, v1 or v2, whichever is there and writable. One group per slot, joined once by
//! its spawner and inherited: joining per action costs 40 µs and, in the tail, an RCU grace period of 10 ms.

#[cfg(test)]
mod tests;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Which kind of cgroup a machine has for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    V1,
    V2,
}

/// Where slots' groups are made.
#[derive(Clone, Debug)]
pub(crate) struct Cgroups {
    pub(crate) version: Version,
    /// Parent directories: memory's and pids' with v1, one for both with v2.
    parents: Vec<PathBuf>,
    /// `hands-PID-START`, so that those of a dead launcher can be told.
    prefix: String,
}

/// The files of one slot's group. Opened by the launcher, whose credentials are what the kernel checks.
#[derive(Debug)]
pub(crate) struct SlotCgroup {
    directories: Vec<PathBuf>,
    version: Version,
    join: Vec<File>,
    memory_limit: File,
    memory_now: File,
    memory_peak: Option<File>,
    memory_events: File,
    memory_stat: File,
    pids_limit: File,
}

impl Cgroups {
    /// Finds a place and proves that groups can be made there. The error says why not, and the cure.
    pub(crate) fn find() -> Result<Self, String> {
        let mounts = read("/proc/self/mountinfo")?;
        let own = read("/proc/self/cgroup")?;
        let start = start_time(std::process::id()).unwrap_or(0);
        let prefix = format!("hands-{}-{start}", std::process::id());
        let v1 = |controller: &str| place(&mounts, &own, Some(controller));
        let (version, parents) = match (v1("memory"), v1("pids")) {
            (Some(memory), Some(pids)) => (Version::V1, vec![memory, pids]),
            _ => {
                let group = place(&mounts, &own, None).ok_or("no cgroup file system is mounted")?;
                (Version::V2, vec![delegated(&group)?])
            }
        };
        let found = Self { version, parents, prefix };
        found.remove_stale();
        found
            .make("probe")
            .map_err(|e| format!("no cgroup can be made in {}: {e}", found.parents[0].display()))?
            .remove();
        Ok(found)
    }

    /// Makes the group of a slot.
    pub(crate) fn make(&self, slot: &str) -> io::Result<SlotCgroup> {
        let directories: Vec<_> =
            self.parents.iter().map(|p| p.join(format!("{}-{slot}", self.prefix))).collect();
        for directory in &directories {
            match fs::create_dir(directory) {
                Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
                _ => {}
            }
        }
        let memory = &directories[0];
        let pids = directories.last().unwrap_or(memory);
        let write = |path: PathBuf| OpenOptions::new().write(true).open(path);
        let both = |path: PathBuf| OpenOptions::new().read(true).write(true).open(path);
        let join =
            directories.iter().map(|d| write(d.join("cgroup.procs"))).collect::<io::Result<_>>()?;
        let (limit, now, peak, events) = match self.version {
            Version::V1 => (
                "memory.limit_in_bytes",
                "memory.usage_in_bytes",
                "memory.max_usage_in_bytes",
                "memory.oom_control",
            ),
            Version::V2 => {
                // Swapping would let an action take more than its limit. Absent where the kernel counts no swap.
                drop(fs::write(memory.join("memory.swap.max"), "0"));
                ("memory.max", "memory.current", "memory.peak", "memory.events")
            }
        };
        Ok(SlotCgroup {
            version: self.version,
            join,
            memory_limit: write(memory.join(limit))?,
            memory_now: File::open(memory.join(now))?,
            // Can be reset in v1, and in v2 since Linux 6.12; there since 5.19.
            memory_peak: both(memory.join(peak)).or_else(|_| File::open(memory.join(peak))).ok(),
            memory_events: File::open(memory.join(events))?,
            memory_stat: File::open(memory.join("memory.stat"))?,
            pids_limit: write(pids.join("pids.max"))?,
            directories,
        })
    }

    /// Removes the groups of launchers that died without a chance to do so.
    fn remove_stale(&self) {
        for parent in &self.parents {
            for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
                let name = entry.file_name();
                let mut words = name.to_str().unwrap_or("").split('-');
                let (Some("hands"), Some(pid), Some(start)) =
                    (words.next(), words.next(), words.next())
                else {
                    continue;
                };
                let (Ok(pid), Ok(start)) = (pid.parse::<u32>(), start.parse::<u64>()) else {
                    continue;
                };
                if start_time(pid) != Some(start) && fs::remove_dir(entry.path()).is_err() {
                    end_processes(&entry.path());
                    // What stays is found again by the next start.
                    drop(fs::remove_dir(entry.path()));
                }
            }
        }
    }
}

impl SlotCgroup {
    /// Moves the calling process in, with all its children to come.
    pub(crate) fn enter(&self) -> io::Result<()> {
        self.join.iter().try_for_each(|mut procs| procs.write_all(b"0"))
    }

    /// What a spawner keeps open.
    pub(crate) fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let memory = [&self.memory_limit, &self.memory_now, &self.memory_events, &self.memory_stat];
        let files = memory.into_iter().chain([&self.pids_limit]);
        files.chain(&self.memory_peak).chain(&self.join).map(AsFd::as_fd).collect()
    }

    /// Sets an action's limits; none for no limit. Memory counts above what the group holds already and can't be taken
    /// from it: the files of the action before, until whoever collects its outputs has closed them. Returns how much
    /// that is, bytes.
    pub(crate) fn set(&self, memory: Option<u64>, pids: u64) -> io::Result<u64> {
        let held = memory.map_or(0, |limit| self.held(limit));
        self.limit_memory(memory.map(|limit| limit.saturating_add(held)))?;
        self.pids_limit.write_all_at(pids.to_string().as_bytes(), 0)?;
        Ok(held)
    }

    /// Lets go of the memory limit when an action has come near it, so that preparing the next one is not what exceeds
    /// it: the files of the action that has just ended are still there.
    pub(crate) fn relax(&self, memory: Option<u64>, peak: Option<u64>) {
        if memory.is_some_and(|limit| peak.is_none_or(|peak| peak > limit / 2)) {
            // The next action sets its own, or says that it can't.
            drop(self.limit_memory(None));
        }
    }

    fn limit_memory(&self, memory: Option<u64>) -> io::Result<()> {
        let unlimited = if self.version == Version::V1 { "-1" } else { "max" };
        let memory = memory.map_or(unlimited.to_owned(), |m| m.to_string());
        self.memory_limit.write_all_at(memory.as_bytes(), 0)
    }

    /// What the group holds that can't be taken from it, bytes. Little is not worth a look at the statistics.
    fn held(&self, limit: u64) -> u64 {
        let now = self.used();
        if now <= limit / 8 {
            return now;
        }
        let mut text = [0; 4096];
        let length = self.memory_stat.read_at(&mut text, 0).unwrap_or(0);
        let text = std::str::from_utf8(&text[..length]).unwrap_or("");
        text.lines().find_map(|l| l.strip_prefix("shmem ")?.parse().ok()).unwrap_or(0)
    }

    /// Forgets the peak; false where the kernel can't (v2 before Linux 6.12).
    pub(crate) fn reset_peak(&self) -> bool {
        self.memory_peak.as_ref().is_some_and(|peak| peak.write_all_at(b"0", 0).is_ok())
    }

    /// What is used now, bytes.
    pub(crate) fn used(&self) -> u64 {
        number(&self.memory_now).unwrap_or(0)
    }

    /// Most that was used since the reset, or ever where there is none, bytes.
    pub(crate) fn peak(&self) -> Option<u64> {
        number(self.memory_peak.as_ref()?)
    }

    /// How often the kernel killed a process of the group for want of memory.
    pub(crate) fn oom_kills(&self) -> u64 {
        let mut text = [0; 512];
        let length = self.memory_events.read_at(&mut text, 0).unwrap_or(0);
        let text = std::str::from_utf8(&text[..length]).unwrap_or("");
        text.lines().find_map(|l| l.strip_prefix("oom_kill ")?.parse().ok()).unwrap_or(0)
    }

    /// Removes the group. Its processes are gone.
    pub(crate) fn remove(&self) {
        for directory in &self.directories {
            // What can't be removed now is removed as stale by the next launcher.
            drop(fs::remove_dir(directory));
        }
    }
}

/// Waits for the processes of a group whose launcher is dead; they are dying, and if not, they are made to.
fn end_processes(group: &Path) {
    use rustix::event::{PollFd, PollFlags, Timespec};
    use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
    const PATIENCE: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };
    let listed = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    for pid in listed.lines().filter_map(|line| Pid::from_raw(line.parse().ok()?)) {
        let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else { continue };
        let _ = pidfd_send_signal(&process, Signal::KILL);
        let _ = rustix::event::poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&PATIENCE));
    }
}

fn number(file: &File) -> Option<u64> {
    let mut text = [0; 32];
    let length = file.read_at(&mut text, 0).ok()?;
    std::str::from_utf8(&text[..length]).ok()?.trim().parse().ok()
}

fn read(path: &str) -> Result<String, String> {
    fs::read_to_string(path).map_err(|e| format!("{path}: {e}"))
}

/// This process's directory in the hierarchy of a v1 controller, or in v2's.
pub(crate) fn place(mountinfo: &str, own: &str, controller: Option<&str>) -> Option<PathBuf> {
    let group = own.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':');
        let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        match controller {
            Some(c) => controllers.split(',').any(|x| x == c).then_some(path),
            None => controllers.is_empty().then_some(path),
        }
    })?;
    mountinfo.lines().find_map(|line| {
        let (mount, filesystem) = line.split_once(" - ")?;
        let mut mount = mount.split(' ').skip(3);
        let (root, point) = (mount.next()?, mount.next()?);
        let mut filesystem = filesystem.split(' ');
        let kind = filesystem.next()?;
        let options = filesystem.nth(1)?;
        let fits = match controller {
            Some(c) => kind == "cgroup" && options.split(',').any(|o| o == c),
            None => kind == "cgroup2",
        };
        let below = Path::new(group).strip_prefix(root).ok()?;
        fits.then(|| Path::new(point).join(below))
    })
}

/// A v2 group whose children have the controllers. Processes and controllers can't be in the same group, so a group
/// that holds only the worker and us is emptied into a child.
fn delegated(group: &Path) -> Result<PathBuf, String> {
    const CURE: &str =
        "start the worker by `systemd-run --user --scope -p Delegate=yes`, or as root";
    let why = |text: &str| format!("{}: {text}; {CURE}", group.display());
    let has = |file: &str| {
        let text = fs::read_to_string(group.join(file)).unwrap_or_default();
        ["memory", "pids"].iter().all(|c| text.split_whitespace().any(|w| w == *c))
    };
    if has("cgroup.subtree_control") {
        return Ok(group.to_owned());
    }
    if !has("cgroup.controllers") {
        return Err(why("the memory and pids controllers are not there"));
    }
    let control = group.join("cgroup.subtree_control");
    if fs::write(&control, "+memory +pids").is_ok() {
        return Ok(group.to_owned());
    }
    let own = [std::process::id(), std::os::unix::process::parent_id()];
    let inside = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    if inside.lines().any(|pid| !own.iter().any(|o| o.to_string() == pid)) {
        return Err(why("the group holds other processes too"));
    }
    let child = group.join("hands-worker");
    let moved = fs::create_dir(&child).or_else(|e| match e.kind() {
        io::ErrorKind::AlreadyExists => Ok(()),
        _ => Err(e),
    });
    moved
        .and_then(|()| {
            inside.lines().try_for_each(|pid| fs::write(child.join("cgroup.procs"), pid))
        })
        .and_then(|()| fs::write(&control, "+memory +pids"))
        .map_err(|e| why(&e.to_string()))?;
    Ok(group.to_owned())
}

/// When a process started, clock ticks since boot: with its id, a name that is never used twice.
pub(crate) fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything.
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}
