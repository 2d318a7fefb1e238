//! A launcher with a slot, a cache with one input root, and counting of checks.

use std::ffi::CString;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use hands_sandbox::{
    Isolation, Launcher, LauncherConfig, Network, Outcome, Privilege, Probe, Request, Slot,
    SlotConfig, Status, Stdio,
};
use rustix::event::{PollFd, PollFlags};
use rustix::fs::{Mode, OFlags};

#[derive(Debug, Default)]
pub(crate) struct Tally {
    passed: u32,
    failed: Vec<String>,
}

impl Tally {
    pub(crate) fn check(&mut self, name: &str, good: bool, note: impl std::fmt::Display) {
        if good {
            self.passed += 1;
            println!("ok    {name}");
        } else {
            println!("FAIL  {name}: {note}");
            self.failed.push(name.to_owned());
        }
    }

    pub(crate) fn report(&self, who: &str) -> bool {
        println!("{who}: {} passed, {} failed", self.passed, self.failed.len());
        for name in &self.failed {
            println!("{who}: FAILED {name}");
        }
        self.failed.is_empty()
    }
}

/// One level with one slot.
pub(crate) struct Bench<'a> {
    pub(crate) level: Isolation,
    pub(crate) probe: &'a Probe,
    pub(crate) place: PathBuf,
    pub(crate) launcher: Launcher,
    pub(crate) slot: Slot,
    who: &'a str,
    tally: &'a mut Tally,
}

/// An outcome with what the streams carried.
pub(crate) struct Ran {
    pub(crate) outcome: Outcome,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    pub(crate) fn exited(&self, code: i32) -> bool {
        self.outcome.start_error.is_none() && self.outcome.status == Status::Exited(code)
    }

    pub(crate) fn note(&self) -> String {
        let Outcome { status, start_error, dirty, timed_out, .. } = &self.outcome;
        format!(
            "{status:?} {start_error:?} dirty {dirty} timed out {timed_out} {} {}",
            self.out.trim(),
            self.err.trim()
        )
    }
}

pub(crate) const SLOT: SlotConfig =
    SlotConfig { index: 0, network: Network::Loopback, privilege: Privilege::None };

impl<'a> Bench<'a> {
    pub(crate) fn new(
        place: &Path,
        level: Isolation,
        who: &'a str,
        probe: &'a Probe,
        tally: &'a mut Tally,
    ) -> Self {
        let place = place.join(level.name());
        fill_cache(&place.join("cache"));
        let mut launcher = Launcher::start(config(&place, level)).expect("a launcher");
        let slot = launcher.slot(SLOT).expect("a slot");
        Self { level, probe, place, launcher, slot, who, tally }
    }

    pub(crate) fn check(&mut self, name: &str, good: bool, note: impl std::fmt::Display) {
        self.tally.check(&format!("{} {} {name}", self.who, self.level), good, note);
    }

    pub(crate) fn has_namespaces(&self) -> bool {
        self.level != Isolation::Process
    }

    /// Whether the slot's directory can hold what an overlay writes: it does not where it lies on one.
    pub(crate) fn keeps_an_overlay(&self) -> bool {
        !self.who.contains("overlay")
    }

    /// Runs a command line with nothing but `PATH` in its environment.
    pub(crate) fn run(&mut self, argv: &[&str]) -> Ran {
        self.run_with(argv, |_| {})
    }

    /// Runs one of `inside`'s probes.
    pub(crate) fn inside(&mut self, args: &[&str]) -> Ran {
        let probe = self.in_root("probe");
        let mut argv = vec![probe.as_str(), "inside"];
        argv.extend(args);
        self.run(&argv)
    }

    /// Where the action sees a file of the input root.
    pub(crate) fn in_root(&self, name: &str) -> String {
        self.slot.input_root(Path::new("/job")).join(name).display().to_string()
    }

    pub(crate) fn run_with(&mut self, argv: &[&str], change: impl FnOnce(&mut Request)) -> Ran {
        run_on(&mut self.slot, argv, change)
    }

    pub(crate) fn passes(&mut self, name: &str, args: &[&str]) {
        let ran = self.inside(args);
        self.check(name, ran.exited(0) && !ran.outcome.dirty, ran.note());
    }
}

pub(crate) fn request(argv: &[&str], stdout: OwnedFd, stderr: OwnedFd) -> Request {
    let argv = argv.iter().map(|a| CString::new(*a).expect("no NUL")).collect();
    let mut request = Request::new("root0", argv, Stdio::Pipes { stdin: None, stdout, stderr });
    request.env = vec![CString::from(c"PATH=/usr/bin:/bin")];
    request.set_home = false;
    request.deadline = Some(Duration::from_secs(20));
    request
}

pub(crate) fn run_on(slot: &mut Slot, argv: &[&str], change: impl FnOnce(&mut Request)) -> Ran {
    let pipe = || rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).expect("a pipe");
    let ((out, stdout), (err, stderr)) = (pipe(), pipe());
    let mut wanted = request(argv, stdout, stderr);
    change(&mut wanted);
    slot.begin(wanted).expect("the slot takes the request");
    let mut text = [String::new(), String::new()];
    let mut open = [Some(std::fs::File::from(out)), Some(std::fs::File::from(err))];
    while open.iter().any(Option::is_some) {
        let mut polled: Vec<PollFd<'_>> = open
            .iter()
            .flatten()
            .map(|f| PollFd::from_borrowed_fd(f.as_fd(), PollFlags::IN))
            .collect();
        rustix::event::poll(&mut polled, None).expect("poll");
        let mut ready =
            polled.iter().map(|p| !p.revents().is_empty()).collect::<Vec<_>>().into_iter();
        for (stream, text) in open.iter_mut().zip(&mut text) {
            let Some(file) = stream else { continue };
            if ready.next() == Some(true) {
                let mut bytes = [0; 65536];
                match file.read(&mut bytes).expect("a read") {
                    0 => *stream = None,
                    n => text.push_str(&String::from_utf8_lossy(&bytes[..n])),
                }
            }
        }
    }
    let outcome = slot.finish().expect("an outcome");
    let [out, err] = text;
    Ran { outcome, out, err }
}

pub(crate) fn config(place: &Path, level: Isolation) -> LauncherConfig {
    LauncherConfig::new("/proc/self/exe", level, place.join("cache"), place.join("work"))
}

pub(crate) fn fill_cache(cache: &Path) {
    for dir in ["root0/src", "root0/gone", "above/src", "layer/bin"] {
        std::fs::create_dir_all(cache.join(dir)).expect("the cache");
    }
    let files = [
        ("root0/input.txt", "input\n"),
        ("root0/src/a.c", "int a;\n"),
        ("root0/gone/x", "x\n"),
        ("root0/script", "echo plain $1\n"),
        ("root0/foreign", "\x7fELF\0\0\0\n"),
        ("above/input.txt", "from above\n"),
        ("above/src/b.c", "int b;\n"),
        ("layer/bin/tool", "#!/bin/sh\necho a layer\n"),
    ];
    for (path, content) in files {
        std::fs::write(cache.join(path), content).expect("the cache");
    }
    // As in a tree that is kept as the difference to another.
    let kind = rustix::fs::FileType::CharacterDevice;
    match rustix::fs::mknodat(rustix::fs::CWD, cache.join("above/gone"), kind, Mode::empty(), 0) {
        // Nor does an overlay take one; no tree there is kept so.
        Ok(()) | Err(rustix::io::Errno::EXIST | rustix::io::Errno::PERM) => {}
        Err(e) => panic!("a mark for what is gone: {e}"),
    }
    for path in ["root0/script", "root0/foreign", "layer/bin/tool"] {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(cache.join(path), PermissionsExt::from_mode(0o755))
            .expect("the cache");
    }
    std::fs::copy("/proc/self/exe", cache.join("root0/probe")).expect("the hostile program");
}

/// Reads a file of an outcome's tree as the worker does.
pub(crate) fn read_tree(ran: &Ran, path: &str) -> Option<String> {
    use rustix::fs::ResolveFlags;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_SYMLINKS;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let file = rustix::fs::openat2(ran.outcome.tree.as_ref()?, path, flags, Mode::empty(), resolve)
        .ok()?;
    let mut text = String::new();
    std::fs::File::from(file).read_to_string(&mut text).ok()?;
    Some(text)
}

/// Whether a process with this word in its arguments lives, anywhere on the machine.
pub(crate) fn running(word: &str) -> bool {
    let own = std::process::id().to_string();
    std::fs::read_dir("/proc").expect("proc").flatten().any(|entry| {
        let name = entry.file_name();
        name.to_str().is_some_and(|n| n != own && n.parse::<u32>().is_ok())
            && std::fs::read(entry.path().join("cmdline"))
                .is_ok_and(|c| c.split(|&b| b == 0).any(|arg| arg == word.as_bytes()))
    })
}
