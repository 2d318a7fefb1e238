//! A worker that is killed leaves nothing: no process, no mount, no cgroup.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use hands_sandbox::{Isolation, Launcher};

use crate::harness::{Bench, SLOT, config, request, running};

/// The worker: starts an action that leaves daemons, says so, waits for ever.
pub(crate) fn worker(args: &[String]) -> ! {
    let level = Isolation::ALL.into_iter().find(|l| l.name() == args[1]).expect("a level");
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
    let gone = || !running(&word) && cgroups().is_subset(&cgroups_before);
    let patience = Instant::now() + Duration::from_secs(10);
    while !gone() && Instant::now() < patience {
        std::thread::yield_now();
    }
    b.check("a killed worker leaves no process and no cgroup", gone(), format!("{:?}", cgroups()));
    let empty = || std::fs::read_dir(place.join("work")).is_ok_and(|d| d.count() == 0);
    while !empty() && Instant::now() < patience {
        std::thread::yield_now();
    }
    b.check("nor files", empty(), "");
    b.check("nor mounts", mounts() == mounts_before, "");
}

fn cgroups() -> BTreeSet<std::path::PathBuf> {
    ["memory", "pids", "unified", ""]
        .iter()
        .flat_map(|c| {
            std::fs::read_dir(Path::new("/sys/fs/cgroup").join(c)).into_iter().flatten().flatten()
        })
        .filter(|e| e.file_name().to_string_lossy().starts_with("hands-"))
        .map(|e| e.path())
        .collect()
}
