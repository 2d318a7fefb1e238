//! What a test run may leave behind, observed before and after.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The things of this machine that our programs make: processes, mounts, named network namespaces, cgroups, files.
#[derive(Debug)]
pub(crate) struct Machine {
    processes: BTreeSet<String>,
    mounts: BTreeSet<String>,
    namespaces: BTreeSet<String>,
    cgroups: BTreeSet<String>,
    files: BTreeSet<String>,
}

impl Machine {
    pub(crate) fn observe() -> Self {
        Self {
            processes: processes(),
            mounts: lines("/proc/self/mounts"),
            namespaces: names(Path::new("/run/netns")),
            cgroups: cgroups(),
            files: names(Path::new("/tmp")),
        }
    }

    /// What is here now, was not before, and is ours; `scratch` itself must be there and empty.
    pub(crate) fn left_since(&self, before: &Self, scratch: &Path) -> Vec<String> {
        let own = scratch.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let new = |kind: &str, now: &BTreeSet<String>, then: &BTreeSet<String>| {
            now.difference(then).map(|x| format!("{kind} {x}")).collect::<Vec<_>>()
        };
        let mut left = new("process", &self.processes, &before.processes);
        left.extend(new("mount", &self.mounts, &before.mounts));
        left.extend(new("network namespace", &self.namespaces, &before.namespaces));
        left.extend(new("cgroup", &self.cgroups, &before.cgroups));
        left.extend(
            self.files
                .difference(&before.files)
                .filter(|name| name.starts_with("hands") && **name != own)
                .map(|name| format!("file /tmp/{name}")),
        );
        left.extend(
            names(scratch).into_iter().map(|name| format!("file {}", scratch.join(name).display())),
        );
        left
    }
}

/// Processes whose program or first argument is ours, with id and command line.
fn processes() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let me = std::process::id().to_string();
    for pid in names(Path::new("/proc")) {
        if pid == me || !pid.bytes().all(|c| c.is_ascii_digit()) {
            continue;
        }
        let Ok(line) = fs::read(format!("/proc/{pid}/cmdline")) else { continue };
        let words: Vec<String> =
            line.split(|&b| b == 0).map(|w| String::from_utf8_lossy(w).into_owned()).collect();
        let program = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
        let is_ours = |path: &Path| {
            path.file_name().is_some_and(|n| n.to_string_lossy().starts_with("hands"))
        };
        if is_ours(&program) || words.first().is_some_and(|w| is_ours(Path::new(w))) {
            found.insert(format!("{pid} {}", words.join(" ").trim_end()));
        }
    }
    found
}

/// Control groups of either version whose name says that we made them.
fn cgroups() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut ahead = vec![Path::new("/sys/fs/cgroup").to_path_buf()];
    while let Some(dir) = ahead.pop() {
        for name in names(&dir) {
            let path = dir.join(&name);
            if !path.is_dir() || path.is_symlink() {
                continue;
            }
            if name.starts_with("hands") {
                found.insert(path.display().to_string());
            }
            ahead.push(path);
        }
    }
    found
}

fn names(dir: &Path) -> BTreeSet<String> {
    let Ok(entries) = fs::read_dir(dir) else { return BTreeSet::new() };
    entries.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect()
}

fn lines(path: &str) -> BTreeSet<String> {
    fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
}
