//! Random stacks against the kernel's overlayfs.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags};

use super::model::{Dir, Rng, Thing};
use super::*;

const STACKS: u64 = 40;

#[test]
fn the_kernel_shows_the_same() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: mounting an overlay needs root");
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let mut expected = String::new();
    let mut script = String::from("set -eu\n");
    for seed in 0..STACKS {
        let at = place.path().join(seed.to_string());
        fs::create_dir_all(at.join("mnt")).unwrap();
        fs::create_dir(at.join("none")).unwrap();
        let mut rng = Rng(seed);
        let mut trees = Trees::default();
        let mut layers: Vec<(Digest, Marks)> = Vec::new();
        let (mut seen, mut last) = (Dir::default(), Dir::default());
        for n in 0..=rng.below(4) {
            let mut layer = Dir::random(&mut rng, 3, Some(&seen), &last);
            // The kernel asks a layer's root for no mark of its own.
            if std::mem::take(&mut layer.opaque) {
                layer.gone.extend(seen.entries.keys().cloned());
            }
            plain_marks(&mut layer, &seen);
            seen = seen.under(&layer);
            layers.push(layer.tree(&mut trees));
            write(&layer, &at.join(n.to_string()));
            last = layer;
        }
        let stack: Vec<MergeLayer<'_>> =
            layers.iter().map(|(root, marks)| MergeLayer { root: *root, marks }).collect();
        let root = trees.merge(&stack, &[]);
        let _ = writeln!(expected, "stack {seed}");
        let mut lines = Vec::new();
        list(&trees, &root, ".", &mut lines);
        lines.sort();
        for line in lines {
            let _ = writeln!(expected, "{line}");
        }
        let lowers: Vec<String> = (0..layers.len()).rev().map(|n| format!("{n}:")).collect();
        let _ = writeln!(
            script,
            "echo stack {seed}; cd '{}'\n\
             mount -t overlay -o lowerdir={}none,xino=off overlay mnt; cd mnt\n\
             find . -type f -printf '%p %m %s %Ts\\n' -o -type l -printf '%p %l %Ts\\n' \
               -o -printf '%p %Ts\\n' | LC_ALL=C sort; cd ..; umount mnt",
            at.display(),
            lowers.concat()
        );
    }
    let path = place.path().join("script");
    fs::write(&path, script).unwrap();
    // In a mount namespace of its own, which takes along whatever is left mounted.
    let output = Command::new("unshare").args(["--mount", "sh"]).arg(&path).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let got = String::from_utf8(output.stdout).unwrap();
    assert_eq!(got.lines().filter(|l| l.starts_with("stack")).count() as u64, STACKS);
    for (got, expected) in got.split("stack ").zip(expected.split("stack ")) {
        assert!(got == expected, "the kernel:\n{got}\nmerged:\n{expected}");
    }
    assert_eq!(got, expected);
}

/// Makes of the marks what a file system can hold: a name is either there or marked, and only what is there below is
/// marked, since an overlay shows marks that cover nothing.
fn plain_marks(layer: &mut Dir, seen: &Dir) {
    if layer.opaque {
        layer.gone.clear();
    }
    let gone = std::mem::take(&mut layer.gone);
    layer.gone = gone.iter().filter(|n| seen.entries.contains_key(*n)).cloned().collect();
    for (name, thing) in &mut layer.entries {
        let marked = layer.gone.remove(name) || layer.opaque;
        let Thing::Dir(dir) = thing else { continue };
        dir.opaque |= marked;
        dir.mtime.get_or_insert(1);
        let below = match seen.entries.get(name) {
            Some(Thing::Dir(below)) if !marked => below.clone(),
            _ => Dir::default(),
        };
        plain_marks(dir, &below);
    }
}

fn write(dir: &Dir, at: &Path) {
    fs::create_dir(at).unwrap();
    for (name, thing) in &dir.entries {
        let path = at.join(name);
        match thing {
            Thing::File { content, executable, mtime } => {
                fs::write(&path, "x".repeat(usize::try_from(*content).unwrap())).unwrap();
                let mode = if *executable { 0o755 } else { 0o644 };
                fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
                touch(&path, *mtime);
            }
            Thing::Symlink { target, mtime } => {
                symlink(target, &path).unwrap();
                touch(&path, *mtime);
            }
            Thing::Dir(below) => write(below, &path),
        }
    }
    for name in &dir.gone {
        let mode = Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(CWD, at.join(name), FileType::CharacterDevice, mode, 0).unwrap();
    }
    if dir.opaque {
        rustix::fs::setxattr(at, "trusted.overlay.opaque", b"y", XattrFlags::empty()).unwrap();
    }
    touch(at, dir.mtime.unwrap());
}

fn touch(path: &Path, seconds: i64) {
    let time = Timespec { tv_sec: seconds, tv_nsec: 0 };
    let times = Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

/// What `find` says of the merged tree.
fn list(trees: &Trees, root: &Digest, path: &str, lines: &mut Vec<String>) {
    let seconds = |mtime: Option<Mtime>| mtime.unwrap().seconds();
    let directory = &trees.0[root];
    lines.push(format!("{path} {}", seconds(directory.mtime)));
    for node in directory.nodes() {
        let path = format!("{path}/{}", node.name());
        match node {
            Node::Directory(below) => list(trees, &below.digest, &path, lines),
            Node::Symlink(link) => {
                lines.push(format!("{path} {} {}", link.target, seconds(link.mtime)));
            }
            Node::File(file) => {
                let mode = if file.executable { 755 } else { 644 };
                // The content of the model's file of this length.
                let size = (0..3_u64).find(|n| hash(SHA, n.to_string().as_bytes()) == file.digest);
                lines.push(format!("{path} {mode} {} {}", size.unwrap(), seconds(file.mtime)));
            }
        }
    }
}
