//! From a fresh clone of the launcher to a spawner that takes requests.

use std::ffi::CString;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use hands_sandbox_child::{SlotFacts, landlock_abi, landlock_ruleset, sys};
use rustix::fs::{Mode, OFlags};

use super::network::NetworkWatch;
use super::{Plan, etc, network, root};
use crate::UID_INSIDE;
use crate::cgroup::SlotCgroup;
use crate::config::{Isolation, Network};
use crate::filter;
use crate::ids::{Ids, c_path};
use crate::kernel;
use crate::sweep::count_own_processes;

/// A spawner's own things, ready to serve.
pub(crate) struct SlotState {
    pub(crate) sock: OwnedFd,
    pub(crate) facts: SlotFacts,
    pub(crate) null: OwnedFd,
    /// The slot's small root, writable for mount points. None at `Process`.
    pub(crate) template: Option<OwnedFd>,
    /// The directory of all staged trees.
    pub(crate) cache: OwnedFd,
    /// The slot's directory on disk.
    pub(crate) disk: OwnedFd,
    /// The same, by path.
    pub(crate) directory: PathBuf,
    /// The slot's own terminals: a directory with `ptmx`. None at `Process`, and where the kernel denies it.
    pub(crate) terminals: Option<OwnedFd>,
    pub(crate) network: Option<NetworkWatch>,
    pub(crate) copy_always: bool,
    /// The slot's directory can't hold what an overlay writes.
    pub(crate) copy_on_disk: bool,
    /// What an overlay writes must go to the slot's directory: this kernel's tmpfs can't hold it (before Linux 6.6).
    pub(crate) disk_always: bool,
    /// At `Process`: how many processes the worker's user has beside the slot's.
    pub(crate) own_processes: u64,
}

type Failure = (OwnedFd, String);

pub(crate) fn set_up(plan: Plan, cgroup: Option<&SlotCgroup>) -> Result<SlotState, Failure> {
    let sock = match rustix::io::fcntl_dupfd_cloexec(&plan.sock, 3) {
        Ok(sock) => sock,
        Err(e) => return Err((plan.sock, format!("a copy of the socket: {e}"))),
    };
    steps(plan, cgroup).map_err(|(what, e)| (sock, format!("{what}: {e}")))
}

pub(crate) type Step<T> = Result<T, (String, io::Error)>;

/// Names a step for its error.
pub(crate) fn named<T, E: Into<io::Error>>(what: &str, result: Result<T, E>) -> Step<T> {
    result.map_err(|e| (what.to_owned(), e.into()))
}

fn steps(plan: Plan, cgroup: Option<&SlotCgroup>) -> Step<SlotState> {
    named(
        "the launcher's death signal",
        kernel::prctl(libc::PR_SET_PDEATHSIG, arg(libc::SIGKILL)),
    )?;
    // The launcher writes our maps meanwhile.
    named("the launcher's word", crate::wire::receive(&plan.sock, &mut [0; 8]))?;
    default_signals();
    // For people who look at a list of processes.
    drop(
        CString::new(format!("hands-slot-{}", plan.index))
            .map(|name| rustix::thread::set_name(&name)),
    );
    let cpus = named("processors", processors())?;
    if let Some(cgroup) = cgroup {
        named("the slot's cgroup", cgroup.enter())?;
    }
    let namespaced = plan.isolation != Isolation::Process;
    if namespaced {
        if plan.ids == Ids::Ranges {
            // SAFETY: an empty list, of which nothing is read.
            let groups = unsafe { sys::call(libc::SYS_setgroups, 0, 0, 0, 0, 0) };
            named("groups", groups.map_err(kernel::error))?;
            named("group 0", set_id(libc::SYS_setresgid, 0))?;
            named("user 0", set_id(libc::SYS_setresuid, 0))?;
            // The change of ids has cleared it.
            named("death signal", kernel::prctl(libc::PR_SET_PDEATHSIG, arg(libc::SIGKILL)))?;
        }
        // After joining, so that the slot's cgroup is its root. A kernel without them has no names to hide.
        // SAFETY: takes no pointer.
        let _unshared =
            unsafe { sys::call(libc::SYS_unshare, arg(libc::CLONE_NEWCGROUP), 0, 0, 0, 0) };
        pin(&cpus, plan.index);
    } else {
        named("subreaper", kernel::prctl(libc::PR_SET_CHILD_SUBREAPER, 1))?;
    }
    let network = plan.network;
    let (template, cache, disk) = if namespaced {
        let template = root::build(&plan)?;
        (Some(template), open(root::CACHE)?, open(root::DISK)?)
    } else {
        let open = |path: &std::path::Path| {
            named(
                &path.display().to_string(),
                rustix::fs::open(path, OPEN_DIRECTORY, Mode::empty()),
            )
        };
        (None, open(&plan.cache.host)?, open(&plan.disk.host)?)
    };
    let watch = if network == Network::Host { None } else { Some(network::prepare(network)?) };
    if namespaced {
        // SAFETY: a literal and its length.
        let _named =
            unsafe { sys::call(libc::SYS_sethostname, c"hands".as_ptr() as usize, 5, 0, 0, 0) };
        if !plan.userns {
            named(
                "user.max_user_namespaces",
                std::fs::write("/proc/sys/user/max_user_namespaces", "0"),
            )?;
        }
    }
    let null = named(
        "/dev/null",
        rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()),
    )?;
    harden(&plan)?;
    let (_, files, scope) = landlock_abi();
    let identity = match (plan.ids, namespaced) {
        (Ids::Ranges, true) => Some(UID_INSIDE),
        (Ids::Ranges, false) => plan.ids.owner(plan.range),
        (Ids::Own, _) => None,
    };
    let copy_on_disk = !can_be_upper(&disk);
    let in_memory = !namespaced || tmpfs_can_be_upper();
    let copy_always = plan.copy_always || !in_memory && copy_on_disk;
    let mut facts = SlotFacts {
        cpus,
        identity,
        landlock_files: if plan.userns { 0 } else { files },
        landlock_scope: scope,
        ruleset: -1,
    };
    if !namespaced && files != 0 {
        facts.ruleset = named("landlock", shared_rules(&facts, &plan))?;
    }
    Ok(SlotState {
        facts,
        null,
        template,
        cache,
        disk,
        terminals: if namespaced { terminals() } else { None },
        network: watch,
        copy_always,
        copy_on_disk,
        disk_always: !in_memory && !copy_always,
        own_processes: if namespaced { 0 } else { count_own_processes() },
        directory: plan.directory,
        sock: plan.sock,
    })
}

const OPEN_DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// The rules at `Process`, where paths are the same for every action: what is shown, of `/etc` what any program may need,
/// and the slot's own directory for writing.
fn shared_rules(facts: &SlotFacts, plan: &Plan) -> io::Result<i32> {
    let shown = plan.shown.iter().map(|s| s.host.clone()).chain(etc::visible());
    let readable = shown.chain(["/proc", "/dev"].map(PathBuf::from));
    let readable = readable.map(|path| c_path(&path)).collect::<io::Result<Vec<CString>>>()?;
    let mut pointers: Vec<_> = readable.iter().map(|path| path.as_ptr()).collect();
    pointers.push(std::ptr::null());
    let directory = c_path(&plan.directory)?;
    // SAFETY: strings that outlive the call; the list ends with null.
    unsafe { landlock_ruleset(facts, pointers.as_ptr(), &[directory.as_ptr()]) }
        .map_err(kernel::error)
}

/// Whether an overlay can keep its changes in this directory: it needs extended attributes, and no overlay below.
fn can_be_upper(directory: &OwnedFd) -> bool {
    const OVERLAYFS_SUPER_MAGIC: i64 = 0x794c_7630;
    let overlay = rustix::fs::fstatfs(directory).is_ok_and(|fs| fs.f_type == OVERLAYFS_SUPER_MAGIC);
    let flags = rustix::fs::XattrFlags::empty();
    !overlay && rustix::fs::fsetxattr(directory, "user.hands", b"1", flags).is_ok()
}

/// The same of a tmpfs, asked of a memory file, which lies on one.
pub(crate) fn tmpfs_can_be_upper() -> bool {
    rustix::fs::memfd_create("hands-probe", rustix::fs::MemfdFlags::CLOEXEC)
        .is_ok_and(|file| can_be_upper(&file))
}

fn terminals() -> Option<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::open("/dev/pts", flags, Mode::empty()).ok()?;
    rustix::fs::statat(&directory, "ptmx", rustix::fs::AtFlags::empty()).ok()?;
    Some(directory)
}

fn open(path: &str) -> Step<OwnedFd> {
    named(path, rustix::fs::open(path, OPEN_DIRECTORY, Mode::empty()))
}

/// Ignored signals and the mask survive exec: Rust ignores SIGPIPE, and actions would inherit that. By raw calls, because
/// libc keeps its hands on two signals of its own, which others may have left ignored too.
fn default_signals() {
    const LAST: usize = 64;
    const SIZE_OF_MASK: usize = 8;
    // A kernel's sigaction, all zero: default action, no flags, no mask. With room to spare.
    let default = [0usize; 8];
    for signal in 1..=LAST {
        // SIGKILL and SIGSTOP refuse, and can't be ignored either.
        // SAFETY: points to a local.
        let _set = unsafe {
            sys::call(libc::SYS_rt_sigaction, signal, default.as_ptr() as usize, 0, SIZE_OF_MASK, 0)
        };
    }
    let none = 0u64;
    // SAFETY: points to a local.
    let _set = unsafe {
        let how = arg(libc::SIG_SETMASK);
        sys::call(libc::SYS_rt_sigprocmask, how, (&raw const none) as usize, 0, SIZE_OF_MASK, 0)
    };
}

fn set_id(call: libc::c_long, id: usize) -> io::Result<()> {
    // SAFETY: takes no pointer.
    unsafe { sys::call(call, id, id, id, 0, 0) }.map(drop).map_err(kernel::error)
}

fn processors() -> io::Result<libc::cpu_set_t> {
    // SAFETY: a structure of integers, filled by the kernel.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        let size = size_of::<libc::cpu_set_t>();
        sys::call(libc::SYS_sched_getaffinity, 0, size, (&raw mut set) as usize, 0, 0)
            .map_err(kernel::error)?;
        Ok(set)
    }
}

/// Spawner and init stay on one processor: between two, the init's wake-up alone costs 0.1 ms.
fn pin(cpus: &libc::cpu_set_t, slot: u32) {
    // SAFETY: works on locals.
    unsafe {
        let count = usize::try_from(libc::CPU_COUNT(cpus)).unwrap_or(0).max(1);
        let bits = 8 * size_of::<libc::cpu_set_t>();
        let mine = (0..bits).filter(|&c| libc::CPU_ISSET(c, cpus)).nth(slot as usize % count);
        if let Some(mine) = mine {
            let mut one: libc::cpu_set_t = std::mem::zeroed();
            libc::CPU_SET(mine, &mut one);
            let (size, set) = (size_of::<libc::cpu_set_t>(), (&raw const one) as usize);
            // Only speed depends on it.
            let _pinned = sys::call(libc::SYS_sched_setaffinity, 0, size, set, 0, 0);
        }
    }
}

/// Gives up what neither the spawner nor any action needs, and hides our memory from actions.
fn harden(plan: &Plan) -> Step<()> {
    for capability in 0..64 {
        // SAFETY: takes no pointer.
        let dropped =
            unsafe { sys::call(libc::SYS_prctl, arg(libc::PR_CAPBSET_DROP), capability, 0, 0, 0) };
        // At `Process` an ordinary user has no right to, and nothing to drop.
        if dropped.is_err() {
            break;
        }
    }
    if plan.isolation != Isolation::Process {
        // NOROOT, NO_SETUID_FIXUP and both locked, no ambient capabilities: user 0 gains nothing at exec.
        named("securebits", kernel::prctl(libc::PR_SET_SECUREBITS, 0x2f))?;
    }
    named("no-new-privs", kernel::prctl(libc::PR_SET_NO_NEW_PRIVS, 1))?;
    named("dumpable", kernel::prctl(libc::PR_SET_DUMPABLE, 0))?;
    named("core limit", kernel::limit(libc::RLIMIT_CORE, 0, 0))?;
    let files =
        rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum.unwrap_or(65_536);
    named("file limit", kernel::limit(libc::RLIMIT_NOFILE, files.min(1024), files.min(65_536)))?;
    named("filter", filter::install(plan.userns).map_err(kernel::error))?;
    let _ = rustix::process::setsid();
    Ok(())
}

fn arg(value: i32) -> usize {
    sys::arg(value)
}
