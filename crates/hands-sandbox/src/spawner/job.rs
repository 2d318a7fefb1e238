//! From an order to the job that init and command read. The spawner may allocate; they may not.

use std::ffi::{CStr, CString, c_char};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;
use std::sync::atomic::AtomicU32;

use hands_sandbox_child::{
    Job, LayerMount, MAX_RLIMITS, Report, ResourceLimit, SlotFacts, Stack, step,
};

use super::own_root::{OwnRoot, read_only_overlay};
use super::root::{CACHE, DISK, EMPTY};
use crate::kernel;
use crate::message::Order;

/// Processes and threads of an action that asks for no other number.
pub(crate) const DEFAULT_PIDS: u64 = 4096;
/// Spawner and init, which are counted with the action's own.
pub(crate) const OWN_PIDS: u64 = 2;
const MOST_FILES: u64 = 65_536;
/// One page, with the final NUL: what mount(2) takes.
pub(crate) const LONGEST_OVERLAY: usize = 4095;

/// A step that failed before the init was woken, with its error number.
pub(crate) type Refusal = (u32, i32);

/// Where an action's things are, as the action sees them.
#[derive(Debug)]
pub(crate) struct Places {
    pub(crate) root: CString,
    pub(crate) home: CString,
    pub(crate) tmp: CString,
}

/// What the job's pointers point into. Kept until the action has ended.
#[derive(Debug, Default)]
pub(crate) struct Storage {
    strings: Vec<CString>,
    pointers: Vec<Vec<*const c_char>>,
    layers: Vec<LayerMount>,
}

impl Storage {
    fn keep(&mut self, string: CString) -> *const c_char {
        let pointer = string.as_ptr();
        self.strings.push(string);
        pointer
    }

    /// The places' own strings, which the job points to.
    pub(crate) fn keep_places(&mut self, places: Places) {
        self.strings.extend([places.root, places.home, places.tmp]);
    }

    /// A list that ends with null.
    fn list(&mut self, mut list: Vec<*const c_char>) -> *mut *const c_char {
        list.push(ptr::null());
        let pointer = list.as_mut_ptr();
        self.pointers.push(list);
        pointer
    }
}

/// A job without an action.
pub(crate) fn empty(slot: SlotFacts, command_stack: Stack) -> Job {
    Job {
        go: AtomicU32::new(0),
        slot,
        command_stack,
        scratch: -1,
        resize: ptr::null(),
        disk_overlay: ptr::null(),
        disk: ptr::null(),
        overlay: ptr::null(),
        own_root: ptr::null(),
        root_at: ptr::null(),
        layers: ptr::null(),
        n_layers: 0,
        cwd: ptr::null(),
        candidates: ptr::null(),
        argv: ptr::null(),
        shell_argv: ptr::null_mut(),
        envp: ptr::null(),
        stdio: [-1; 3],
        tty: false,
        rlimits: [ResourceLimit { resource: u32::MAX, values: [0; 2] }; MAX_RLIMITS],
        writable: [ptr::null(); 4],
        tree: -1,
        mounts: -1,
        report: Report::default(),
    }
}

/// Fills in what every level needs: command, environment, streams, limits. `has_cgroup` says that memory is limited.
pub(crate) fn fill(
    job: &mut Job,
    order: &Order<'_>,
    places: &Places,
    streams: &[OwnedFd],
    null: &OwnedFd,
    has_cgroup: bool,
) -> Result<Storage, Refusal> {
    let mut storage = Storage::default();
    let mut env: Vec<*const c_char> = order.env.iter().map(|s| s.as_ptr()).collect();
    if order.set_home {
        for (name, value) in [(c"HOME", &places.home), (c"TMPDIR", &places.tmp)] {
            if variable(order, name.to_bytes()).is_none() {
                env.push(storage.keep(joined(&[name.to_bytes(), b"=", value.to_bytes()])));
            }
        }
    }
    job.envp = storage.list(env);
    let program = *order.argv.first().ok_or((step::EXECUTE, libc::EINVAL))?;
    let argv: Vec<*const c_char> = order.argv.iter().map(|s| s.as_ptr()).collect();
    let mut shell_argv = vec![c"/bin/sh".as_ptr(), program.as_ptr()];
    shell_argv.extend(&argv[1..]);
    job.argv = storage.list(argv);
    job.shell_argv = storage.list(shell_argv);
    let candidates = candidates(program, order, &mut storage);
    job.candidates = storage.list(candidates);
    job.cwd = storage.keep(translate(order.cwd, order.root_at, &places.root));
    job.tty = order.tty;
    job.stdio = stdio(order, streams, null)?;
    job.writable = [places.root.as_ptr(), places.tmp.as_ptr(), places.home.as_ptr(), ptr::null()];
    let pids = order.pids.unwrap_or(DEFAULT_PIDS).saturating_add(OWN_PIDS);
    // Counted per user namespace, or per user that nobody else is: else it would count the worker's own processes.
    let counts = !job.root_at.is_null() || job.slot.identity.is_some();
    let files = order.nofile.map(|n| n.min(MOST_FILES));
    let wanted = [
        (libc::RLIMIT_NPROC, counts.then_some(pids)),
        (libc::RLIMIT_NOFILE, files),
        (libc::RLIMIT_DATA, if has_cgroup { None } else { order.memory }),
    ];
    for (limit, (resource, value)) in job.rlimits.iter_mut().zip(wanted) {
        *limit = match value {
            Some(value) => at_most(resource, value),
            None => ResourceLimit { resource: u32::MAX, values: [0; 2] },
        };
    }
    Ok(storage)
}

/// Bounds the processes of the worker's own user, where the action has no other.
pub(crate) fn limit_processes(job: &mut Job, most: u64) {
    if let Some(limit) = job.rlimits.last_mut() {
        *limit = at_most(libc::RLIMIT_NPROC, most);
    }
}

/// A limit of an action, or what this machine's hard one leaves of it: to ask for more is refused.
fn at_most(resource: u32, value: u64) -> ResourceLimit {
    ResourceLimit { resource, values: [value.min(kernel::hard_limit(resource)); 2] }
}

/// Fills in the mounts of levels that have some.
pub(crate) fn fill_mounts(
    job: &mut Job,
    order: &Order<'_>,
    copied: bool,
    own_root: Option<OwnRoot>,
    scratch_name: &str,
    storage: &mut Storage,
) -> Result<(), Refusal> {
    job.overlay = ptr::null();
    // Without inputs there is nothing to lay over: an overlay costs as much as the rest of an action's mounts.
    if !copied && !order.lowers.is_empty() {
        let lowers: Vec<Vec<u8>> = order.lowers.iter().map(|l| in_cache(l)).collect();
        let written =
            format!(",upperdir={scratch_name}/u,workdir={scratch_name}/w,userxattr,xino=off");
        let options = joined(&[b"lowerdir=", &lowers.join(&b':'), written.as_bytes()]);
        if options.as_bytes().len() > LONGEST_OVERLAY {
            return Err((step::INPUT_ROOT, libc::E2BIG));
        }
        job.overlay = storage.keep(options);
    }
    job.own_root = ptr::null();
    let mut targets: Vec<*const c_char> = order.layers.iter().map(|(_, at)| at.as_ptr()).collect();
    if let Some(own) = own_root {
        job.own_root = storage.keep(own.overlay);
        job.root_at = storage.keep(own.root_at);
        targets = own.layers.into_iter().map(|target| storage.keep(target)).collect();
    }
    for ((dir, _), target) in order.layers.iter().zip(targets) {
        let overlay = read_only_overlay(&[in_cache(dir), EMPTY.into()])?;
        let overlay = storage.keep(overlay);
        storage.layers.push(LayerMount { overlay, target });
    }
    job.layers = storage.layers.as_ptr();
    job.n_layers = storage.layers.len();
    Ok(())
}

/// Fills in another size or place of the scratch. On disk it is seen through an overlay where that can be: a bind mount
/// would name the slot's directory in `/proc/self/mountinfo`.
pub(crate) fn fill_scratch(
    job: &mut Job,
    resize: Option<u64>,
    disk: Option<&str>,
    overlays: bool,
    storage: &mut Storage,
) {
    job.resize = resize
        .map_or(ptr::null(), |size| storage.keep(joined(&[format!("size={size}").as_bytes()])));
    (job.disk, job.disk_overlay) = (ptr::null(), ptr::null());
    match disk {
        Some(name) if overlays => {
            let options = format!(
                "lowerdir={EMPTY},upperdir={DISK}/{name},workdir={DISK}/{},userxattr,xino=off",
                work_name(name)
            );
            job.disk_overlay = storage.keep(joined(&[options.as_bytes()]));
        }
        Some(name) => job.disk = storage.keep(joined(&[format!("{DISK}/{name}").as_bytes()])),
        None => {}
    }
}

/// What an overlay over a scratch on disk needs beside it.
pub(crate) fn work_name(scratch: &str) -> String {
    format!("{scratch}w")
}

/// A staged tree, seen from beneath the root.
pub(crate) fn in_cache(tree: &CStr) -> Vec<u8> {
    [CACHE.as_bytes(), b"/", tree.to_bytes()].concat()
}

/// Bytes that came from C strings, as one.
pub(crate) fn joined(parts: &[&[u8]]) -> CString {
    let bytes = parts.concat().into_iter().filter(|&b| b != 0).collect::<Vec<u8>>();
    CString::new(bytes).expect("NULs were filtered out")
}

fn variable<'a>(order: &Order<'a>, name: &[u8]) -> Option<&'a [u8]> {
    order.env.iter().find_map(|s| s.to_bytes().strip_prefix(name)?.strip_prefix(b"="))
}

/// The programs that a name may mean: itself with a slash, else one per directory of the action's `PATH`.
fn candidates(program: &CStr, order: &Order<'_>, storage: &mut Storage) -> Vec<*const c_char> {
    let name = program.to_bytes();
    if name.contains(&b'/') || name.is_empty() {
        return vec![program.as_ptr()];
    }
    let path = variable(order, b"PATH").unwrap_or(b"/bin:/usr/bin");
    let directories = path.split(|&b| b == b':');
    directories
        .map(|d| if d.is_empty() { joined(&[b"./", name]) } else { joined(&[d, b"/", name]) })
        .map(|candidate| storage.keep(candidate))
        .collect()
}

/// A path in the input root, where the input root is somewhere else than asked.
fn translate(path: &CStr, asked: &CStr, is: &CStr) -> CString {
    let as_path = |s: &CStr| Path::new(std::ffi::OsStr::from_bytes(s.to_bytes())).to_owned();
    match as_path(path).strip_prefix(as_path(asked)) {
        Ok(below) if asked != is => joined(&[is.to_bytes(), b"/", below.as_os_str().as_bytes()]),
        _ => path.to_owned(),
    }
}

fn stdio(order: &Order<'_>, streams: &[OwnedFd], null: &OwnedFd) -> Result<[i32; 3], Refusal> {
    let stream =
        |i: usize| streams.get(i).map(AsRawFd::as_raw_fd).ok_or((step::STDIO, libc::EBADF));
    if order.tty {
        return Ok([stream(0)?; 3]);
    }
    let stdin = if order.stdin { stream(2)? } else { null.as_raw_fd() };
    Ok([stdin, stream(0)?, stream(1)?])
}
