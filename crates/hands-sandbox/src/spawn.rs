//! Starts a spawner: what the launcher prepares with its own rights, the clone, the maps, the first answer.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Gid, Mode, Uid};
use rustix::process::Pid;

use crate::cgroup::SlotCgroup;
use crate::config::{ExposedPath, Isolation, LauncherConfig, Network, Privilege, SlotConfig};
use crate::ids::{Ids, write_maps};
use crate::kernel;
use crate::oom_score;
use crate::range::Range;
use crate::remove::remove_tree;
use crate::spawner::{self, CACHE, DISK, Plan, Shown};
use crate::wire::{self, Reader};

const PROCESSORS: &str = "/sys/devices/system/cpu";

/// A spawner that is ready.
pub(crate) struct Started {
    pub(crate) pid: Pid,
    /// The worker's end of its socket.
    pub(crate) sock: OwnedFd,
    /// The slot's own terminals, where it has some.
    pub(crate) terminals: Option<OwnedFd>,
    /// Every action's files are on disk.
    pub(crate) on_disk: bool,
}

/// Starts a spawner and waits until it is ready. The error says which step failed.
pub(crate) fn start(
    config: &LauncherConfig,
    slot: SlotConfig,
    ids: Ids,
    range: Range,
    cgroup: Option<&SlotCgroup>,
    directory: &Path,
) -> Result<Started, String> {
    let step = |what: &'static str| move |e: io::Error| format!("{what}: {e}");
    remove_tree(directory).map_err(step("the slot's old directory"))?;
    make_directory(config, ids, range, directory).map_err(step("the slot's directory"))?;
    let (ours, theirs) = wire::pair().map_err(step("a socket"))?;
    let namespaced = config.isolation != Isolation::Process;
    let mut plan = Plan {
        isolation: config.isolation,
        network: if config.isolation == Isolation::Full { slot.network } else { Network::Host },
        userns: slot.privilege == Privilege::Userns,
        ids,
        index: slot.index,
        range,
        cache: Shown::new(&config.cache_dir, Path::new(CACHE)),
        disk: Shown::new(directory, Path::new(DISK)),
        shown: shown(config),
        devices: None,
        copy_always: false,
        directory: directory.to_owned(),
        sock: theirs,
    };
    if namespaced && ids == Ids::Ranges {
        prepare_as_root(&mut plan).map_err(|(what, e)| format!("{what}: {e}"))?;
    }
    let pid = clone_spawner(plan, cgroup, &ours).map_err(step("clone"))?;
    let ready = (|| {
        if namespaced {
            write_maps(pid, ids, range).map_err(step("the user namespace's map"))?;
        }
        oom_score::bound(pid).map_err(step("the slot's out-of-memory score"))?;
        wire::send(&ours, b"go", &[]).map_err(step("the spawner"))?;
        let mut answer = [0; 1024];
        let (length, mut fds) = wire::receive(&ours, &mut answer).map_err(step("the spawner"))?;
        let mut answer = Reader(&answer[..length]);
        match answer.u64() {
            Some(0) => Ok((fds.pop(), answer.flag().unwrap_or(false))),
            Some(_) => Err(answer.string().unwrap_or_default()),
            None => Err("the spawner died".to_owned()),
        }
    })();
    match ready {
        Ok((terminals, on_disk)) => Ok(Started { pid, sock: ours, terminals, on_disk }),
        Err(why) => {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            let _ = rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty());
            drop(remove_tree(directory));
            Err(why)
        }
    }
}

/// The slot's directory belongs to whom the spawner will be.
fn make_directory(
    config: &LauncherConfig,
    ids: Ids,
    range: Range,
    directory: &Path,
) -> io::Result<()> {
    fs::create_dir(directory)?;
    let process = config.isolation == Isolation::Process;
    // At `Process` the actions themselves must get through.
    let mode = if process { 0o711 } else { 0o700 };
    rustix::fs::chmod(directory, Mode::from_raw_mode(mode))?;
    if ids == Ids::Ranges && !process {
        let (_, base, _) = ids.map(range);
        rustix::fs::chown(directory, Some(Uid::from_raw(base)), Some(Gid::from_raw(base)))?;
    }
    Ok(())
}

/// Whether an exposed path lies where each action has something of its own.
pub(crate) fn is_hidden(config: &LauncherConfig, exposed: &ExposedPath) -> bool {
    let own = [
        "/tmp",
        "/var/tmp",
        "/proc",
        "/dev",
        "/sys",
        "/etc",
        crate::ROOT_INSIDE,
        crate::HOME_INSIDE,
    ];
    let taken =
        exposed.inside.parent().is_none() || own.iter().any(|own| exposed.inside.starts_with(own));
    taken && config.isolation != Isolation::Process
}

/// What actions see of the host, in the order in which it is mounted: parents first.
fn shown(config: &LauncherConfig) -> Vec<Shown> {
    let host = config.show_host.iter().map(|path| Shown::new(path, path));
    // Some allocators and run-time systems fail where they can't count the processors that there could be.
    let host = host.chain([Shown::new(Path::new(PROCESSORS), Path::new(PROCESSORS))]);
    let exposed = config
        .expose
        .iter()
        .filter(|e| !is_hidden(config, e))
        .map(|e| Shown::new(&e.host, &e.inside));
    let mut all: Vec<Shown> =
        host.chain(exposed).filter(|s| fs::symlink_metadata(&s.host).is_ok()).collect();
    all.sort_by(|a, b| a.inside.cmp(&b.inside));
    all.dedup_by(|a, b| a.inside == b.inside);
    // What a shown directory holds at the same place is there already.
    let all_paths: Vec<(PathBuf, PathBuf)> =
        all.iter().map(|s| (s.host.clone(), s.inside.clone())).collect();
    all.retain(|s| {
        !all_paths.iter().any(|(host, inside)| {
            let below = s.inside.strip_prefix(inside).ok().filter(|p| !p.as_os_str().is_empty());
            below.is_some_and(|below| host.join(below) == s.host && !host.is_symlink())
        })
    });
    all
}

/// Only root of the machine may copy mounts, make device nodes and map owners; and what the worker may reach, the
/// slot's own root may not.
fn prepare_as_root(plan: &mut Plan) -> Result<(), (String, io::Error)> {
    let open = |s: &mut Shown, recursive| {
        let failed = |e| (s.host.display().to_string(), e);
        s.tree = Some(kernel::clone_tree(&s.host, recursive).map_err(failed)?);
        Ok(())
    };
    open(&mut plan.cache, false)?;
    open(&mut plan.disk, false)?;
    for shown in plan.shown.iter_mut().filter(|s| !s.host.is_symlink()) {
        open(shown, true)?;
    }
    if let Some(tree) = &plan.cache.tree
        && plan.ids.idmap(tree, plan.range).is_err()
    {
        plan.copy_always = true;
    }
    plan.devices = Some(spawner::device_tree().map_err(|e| ("device nodes".to_owned(), e))?);
    Ok(())
}

fn clone_spawner(plan: Plan, cgroup: Option<&SlotCgroup>, ours: &OwnedFd) -> io::Result<Pid> {
    let mut flags = 0;
    if plan.isolation != Isolation::Process {
        flags = libc::CLONE_NEWUSER
            | libc::CLONE_NEWPID
            | libc::CLONE_NEWNS
            | libc::CLONE_NEWUTS
            | libc::CLONE_NEWIPC;
        if plan.network != Network::Host {
            flags |= libc::CLONE_NEWNET;
        }
    }
    if let Some(pid) = kernel::fork(flags)? {
        return Ok(pid);
    }
    // The spawner. Without exec nothing closes the other slots' sockets, and a copy of one would keep that slot from
    // seeing its end.
    let mut keep = plan.descriptors();
    keep.extend(cgroup.iter().flat_map(|c| c.descriptors()));
    debug_assert!(
        !keep.iter().any(|fd| fd.as_raw_fd() == ours.as_raw_fd()),
        "the worker's end stays behind"
    );
    close_all_but(&keep);
    spawner::run(plan, cgroup)
}

/// Closes every descriptor but the standard streams and these.
pub(crate) fn close_all_but(keep: &[BorrowedFd<'_>]) {
    let mut keep: Vec<u32> = keep.iter().map(|fd| fd.as_fd().as_raw_fd().cast_unsigned()).collect();
    keep.sort_unstable();
    keep.dedup();
    let mut from = 3;
    for fd in keep {
        if fd > from {
            close_range(from, fd - 1);
        }
        from = from.max(fd + 1);
    }
    close_range(from, u32::MAX);
}

fn close_range(first: u32, last: u32) {
    use hands_sandbox_child::sys;
    // SAFETY: the process is about to go on with nothing but the descriptors that it keeps.
    let done = unsafe { sys::call(libc::SYS_close_range, first as usize, last as usize, 0, 0, 0) };
    if done == Err(libc::ENOSYS) {
        // Before Linux 5.9.
        for fd in first..=last.min(65_536) {
            sys::close(fd.cast_signed());
        }
    }
}
