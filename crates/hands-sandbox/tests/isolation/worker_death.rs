//! A worker that is killed leaves nothing: no process, no mount, no cgroup.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use hands_sandbox::{Isolation, Launcher, SandboxError};
use hands_types::Word as _;

use crate::harness::{Bench, SLOT, config, request, running};

/// The worker: starts an action that leaves daemons, says so, waits for ever.
pub(crate) fn worker(args: &[String]) -> ! {
    let level = Isolation::read(&args[1]).expect("a level");
    let mut launcher = Launcher::start(config(Path::new(&args[0]), level)).expect("a launcher");
    let mut slot = launcher.slot(SLOT).expect("a slot");
    let probe = slot.input_root(Path::new("/job")).join("probe").display().to_string();
    let out = rustix::io::dup(std::io::stdout()).expect("stdout");
    let null = std::fs::File::options().write(true).open("/dev/null").expect("/dev/null");
    let mut wanted = request(&[&probe, "inside", "stay", &args[2]], out, null.into());
    wanted.deadline = None;
    let outcome = slot.run(wanted);
    panic!("the action ended: {outcome:?}");
}

pub(crate) fn run(b: &mut Bench<'_>) {
    let mounts = || std::fs::read_to_string("/proc/self/mounts").expect("mounts").lines().count();
    let (mounts_before, cgroups_before) = (mounts(), cgroups());
    let word = format!("hands-stay-{}", b.level);
    let place = b.place.join("dying");
    crate::harness::fill_cache(&place.join("cache"));
    let mut child = Command::new("/proc/self/exe")
        .args(["worker".as_ref(), place.as_os_str(), b.level.name().as_ref(), word.as_ref()])
        .stdout(Stdio::piped())
        .spawn()
        .expect("a worker");
    let mut line = String::new();
    let stdout = child.stdout.take().expect("a pipe");
    BufReader::new(stdout).read_line(&mut line).expect("the worker's word");
    b.check("the doomed action runs", line == "staying\n" && running(&word), &line);
    child.kill().expect("kill -9 of the worker");
    child.wait().expect("its end");
    let patience = Instant::now() + Duration::from_secs(10);
    let empty = || std::fs::read_dir(place.join("work")).is_ok_and(|d| d.count() == 0);
    // A slot's directory is the last that its launcher removes.
    while !empty() && Instant::now() < patience {
        std::thread::yield_now();
    }
    b.check("a killed worker leaves no process", !running(&word), "");
    b.check("nor files", empty(), "");
    let clean = || cgroups().is_subset(&cgroups_before);
    while !clean() && Instant::now() < patience {
        std::thread::yield_now();
    }
    b.check("nor cgroups", clean(), format!("{:?}", cgroups()));
    b.check("nor mounts", mounts() == mounts_before, "");
}

/// A launcher that is killed takes its actions along; the next one clears up.
pub(crate) fn launcher(b: &mut Bench<'_>) {
    let cgroups_before = cgroups();
    let word = format!("hands-orphan-{}", b.level);
    let place = b.place.join("dying");
    let mut launcher = Launcher::start(config(&place, b.level)).expect("a launcher");
    let mut slot = launcher.slot(SLOT).expect("a slot");
    let probe = slot.input_root(Path::new("/job")).join("probe").display().to_string();
    let (ready, out) = rustix::pipe::pipe().expect("a pipe");
    let null = std::fs::File::options().write(true).open("/dev/null").expect("/dev/null");
    slot.begin(request(&[&probe, "inside", "wait", &word], out, null.into())).expect("begin");
    let patience = Instant::now() + Duration::from_secs(10);
    while !running(&word) && Instant::now() < patience {
        std::thread::yield_now();
    }
    let pid =
        rustix::process::Pid::from_raw(launcher.process_id().cast_signed()).expect("a process id");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL)
        .expect("kill -9 of the launcher");
    let gone = matches!(slot.finish(), Err(SandboxError::Gone { .. }));
    std::io::copy(&mut std::fs::File::from(ready), &mut std::io::sink())
        .expect("the end of the action's output");
    while running(&word) && Instant::now() < patience {
        std::thread::yield_now();
    }
    b.check("a killed launcher takes its actions along", gone && !running(&word), "");
    drop(launcher);
    let mut next = Launcher::start(config(&place, b.level)).expect("a launcher in its place");
    let left: Vec<_> = cgroups().difference(&cgroups_before).cloned().collect();
    b.check("the next launcher removes its cgroups", left.is_empty(), format!("{left:?}"));
    let works = next.slot(SLOT).is_ok();
    b.check("the next launcher has slots", works, "");
}

/// Groups of dead launchers, anywhere in the upper levels of the machine's hierarchies.
fn cgroups() -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut left = vec![(PathBuf::from("/sys/fs/cgroup"), 0)];
    while let Some((directory, depth)) = left.pop() {
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if let Some(("hands", rest)) = name.split_once('-') {
                // Other workers of this machine may come and go meanwhile.
                let launcher = rest.split('-').next().unwrap_or_default();
                if !Path::new("/proc").join(launcher).exists() {
                    found.insert(entry.path());
                }
            } else if depth < 4 && entry.file_type().is_ok_and(|t| t.is_dir()) {
                left.push((entry.path(), depth + 1));
            }
        }
    }
    found
}
