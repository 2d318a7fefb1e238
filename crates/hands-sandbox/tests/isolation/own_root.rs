//! Layers in place of the host's root.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use hands_sandbox::{InputRoot, Isolation, Layer, Request, Scratch, Step};

use crate::harness::{Bench, Ran, read_tree, request};
use crate::hidden::hides;

pub(crate) fn run(b: &mut Bench<'_>) {
    if !b.has_namespaces() {
        let (out, err) = rustix::pipe::pipe().expect("a pipe");
        let mut wanted = request(&["/bin/box"], out, err);
        wanted.root = vec!["system".into()];
        let refused = b.slot.begin(wanted).expect_err("no mounts, no root of layers").to_string();
        b.check("no root of layers", refused.contains("process does without"), refused);
        return;
    }
    let cache = b.place.join("cache");
    fill(&cache);
    let before = contents(&cache);
    seen(b);
    written(b);
    placed(b);
    hostile(b, &cache);
    let ran = in_box(b, &["ls", "/"], |r| r.root.push("missing".into()));
    let missing = ran.outcome.start_error;
    let missing = missing.is_some_and(|e| e.step == Step::Layer && e.errno == libc::ENOENT);
    b.check("a root with a layer that is not there", missing, ran.note());
    let ran = b.run(&["sh", "-c", "ls -d /usr/bin && ! ls /note && ! ls /bin/box"]);
    b.check("the host's root comes back", ran.exited(0), ran.note());
    let after = contents(&cache);
    let changed: Vec<_> =
        after.iter().filter(|(path, seen)| before.get(*path) != Some(seen)).collect();
    let same = changed.iter().all(|(path, _)| path.starts_with(cache.join("libraries")));
    b.check(
        "layers of a root are unchanged",
        same && after.len() >= before.len(),
        format!("{changed:?}"),
    );
}

/// Two layers, the lower one with more of a system.
fn fill(cache: &Path) {
    for directory in ["system/bin", "system/etc", "system/usr/lib", "system/var", "above/etc"] {
        fs::create_dir_all(cache.join(directory)).expect("a layer");
    }
    let source = cache.join("../box.c");
    fs::write(&source, include_str!("box.c")).expect("the program's text");
    let mut compiler = Command::new("gcc");
    compiler.args(["-static", "-O1", "-o"]).arg(cache.join("system/bin/box")).arg(&source);
    assert!(compiler.status().expect("gcc").success(), "a static program");
    for (path, text) in [
        ("system/note", "below\n"),
        ("system/etc/issue", "layered\n"),
        ("system/etc/hosts", "not the slot's\n"),
        ("system/usr/lib/part", "a library\n"),
        ("above/note", "above\n"),
        ("above/etc/passwd", "me:x:1000:1000::/:/bin/box\n"),
    ] {
        fs::write(cache.join(path), text).expect("a layer");
    }
    // As where everything is in /usr; and one that leads out of the root, were it followed from outside.
    symlink("usr/lib", cache.join("system/lib")).expect("a link");
    symlink("/../../../usr/lib", cache.join("system/far")).expect("a link");
}

fn in_box(b: &mut Bench<'_>, arguments: &[&str], change: impl FnOnce(&mut Request)) -> Ran {
    let argv: Vec<&str> = [&["/bin/box"], arguments].concat();
    b.run_with(&argv, |r| {
        r.root = vec!["system".into()];
        change(r);
    })
}

fn seen(b: &mut Bench<'_>) {
    let ran = in_box(
        b,
        &["ls", "/", "ls", "/usr", "ls", "/usr/bin", "ls", "/etc", "ls", "/home"],
        |_| {},
    );
    let expected = "bin dev etc far home job lib note proc sys tmp usr var\nlib\n\
                    /usr/bin: No such file or directory\n\
                    group hostname hosts issue nsswitch.conf passwd resolv.conf\naction\n";
    b.check("nothing of the host in a root of layers", ran.out == expected, ran.note());
    let ran = in_box(b, &["cat", "/proc/self/mountinfo"], |_| {});
    let points: Vec<&str> =
        ran.out.lines().filter_map(|line| line.split(' ').nth(4)).filter(|p| *p != "/").collect();
    let own = ["/proc", "/dev", "/sys", "/tmp", "/home/action", "/job"];
    let known = points.iter().all(|p| own.iter().any(|own| Path::new(p).starts_with(own)));
    b.check("mounts of a root of layers", known && points.len() >= own.len(), ran.note());
    let changes: [(&str, fn(&mut Request)); 2] = [
        ("a root of layers", |r| r.layers.push(Layer { dir: "layer".into(), at: "/opt".into() })),
        ("a root of layers, scratch on disk", |r| r.scratch = Scratch::Disk),
    ];
    for (what, change) in changes {
        let ran = in_box(b, &["cat", "/proc/self/mountinfo"], change);
        hides(b, what, ran.exited(0), &ran.out);
    }
    let ran = in_box(b, &["ls", "/proc/1/root", "ls", "/proc/1/cwd"], |_| {});
    let denied = ran.out.matches("Permission denied").count() == 2;
    b.check("the init's root is closed", denied, ran.note());
    let ran = in_box(b, &["cat", "/etc/passwd", "cat", "/etc/hosts", "cat", "/note"], |_| {});
    let good = ran.out.contains("user:x:1000:") && ran.out.contains("localhost");
    b.check("names in a root of layers", good && ran.out.ends_with("below\n"), ran.note());
    let ran = in_box(b, &["cat", "/etc/passwd", "cat", "/note", "cat", "/etc/issue"], |r| {
        r.root.insert(0, "above".into());
    });
    let expected = "me:x:1000:1000::/:/bin/box\nabove\nlayered\n";
    b.check("a stack of layers, topmost first", ran.out == expected, ran.note());
    let ran = in_box(b, &["owner", "/job"], |_| {});
    b.check("the same user in a root of layers", ran.out == "1000 1000\n", ran.note());
    let ran = b.run_with(&["box", "ls", "/usr"], |r| {
        r.root = vec!["system".into()];
        r.env = vec![CString::from(c"PATH=/usr/bin:/bin")];
    });
    b.check("a program on the root's own path", ran.out == "lib\n", ran.note());
    let ran = b.run_with(&["sh"], |r| r.root = vec!["system".into()]);
    b.check(
        "the host's programs are not found",
        ran.outcome.start_error.is_some_and(hands_sandbox::StartError::is_not_found),
        ran.note(),
    );
}

fn written(b: &mut Bench<'_>) {
    let closed =
        ["/x", "/usr/x", "/bin/box2", "/usr/lib/part", "/note", "/etc/passwd", "/var/x", "/home/x"];
    let argv: Vec<&str> = closed.iter().flat_map(|path| ["write", path]).collect();
    let ran = in_box(b, &argv, |_| {});
    let n = ran.out.matches("Read-only file system").count();
    b.check("a root of layers is read-only", n == closed.len(), ran.note());
    let ran = in_box(
        b,
        &["unlink", "/note", "mkdir", "/opt", "write", "/dev/x", "write", "/sys/x"],
        |_| {},
    );
    let n = ran.out.matches("Read-only file system").count();
    b.check("nor can anything be taken from it", n == 4, ran.note());
    let open = ["/tmp/x", "/var/tmp/y", "/home/action/x", "/job/out", "src/new", "/dev/null"];
    let argv: Vec<&str> = open.iter().flat_map(|path| ["write", path]).collect();
    let argv = [&argv[..], &["ls", "/tmp"]].concat();
    let all = |ran: &Ran| {
        ran.out.matches(": written").count() == open.len() && ran.out.ends_with("x y\n")
    };
    let changes: [(&str, fn(&mut Request)); 3] = [
        ("an overlay", |_| {}),
        ("a copy", |r| r.input = InputRoot::Copy),
        ("scratch on disk", |r| r.scratch = Scratch::Disk),
    ];
    for (what, change) in changes {
        let ran = in_box(b, &argv, change);
        let kept = read_tree(&ran, "out").as_deref() == Some("x")
            && read_tree(&ran, "input.txt").as_deref() == Some("input\n");
        b.check(&format!("outputs in a root of layers, {what}"), all(&ran) && kept, ran.note());
    }
}

/// Mount points in a root of layers.
fn placed(b: &mut Bench<'_>) {
    for at in
        ["/home/me/project", "/lib/deep/place", "/far/place", "/tmp/a/b", "/var/tmp/c", "/etc/new"]
    {
        let ran = in_box(b, &["cat", "input.txt", "cat", "/usr/lib/part", "write", "out"], |r| {
            r.root_at = at.into();
            r.cwd = at.into();
        });
        let good = ran.out == "input\na library\nout: written\n";
        b.check(&format!("the input root at {at} of layers"), good, ran.note());
    }
    for at in ["/lib/tools", "/job/tools", "/opt/tools"] {
        let inside = format!("{at}/bin/tool");
        let ran = in_box(b, &["cat", &inside, "write", &inside, "cat", "/lib/part"], |r| {
            r.layers.push(Layer { dir: "layer".into(), at: at.into() });
        });
        let good = ran.out.starts_with("#!/bin/sh")
            && !ran.out.contains(": written")
            && ran.out.ends_with("a library\n");
        b.check(&format!("a layer at {at} of layers"), good, ran.note());
    }
    let ran = in_box(b, &["ls", "/"], |r| r.root_at = "/note/below".into());
    let refused =
        ran.outcome.start_error.is_some_and(|e| e.step == Step::Layer && e.errno == libc::ENOTDIR);
    b.check("no mount point below a file", refused, ran.note());
}

/// The hostile program needs its libraries: one more layer.
fn hostile(b: &mut Bench<'_>, cache: &Path) {
    let found =
        Command::new("ldd").arg(std::env::current_exe().expect("own path")).output().expect("ldd");
    for line in String::from_utf8_lossy(&found.stdout).lines() {
        let Some(path) = line.split_whitespace().find(|word| word.starts_with('/')) else {
            continue;
        };
        let to = cache.join("libraries").join(path.trim_start_matches('/'));
        fs::create_dir_all(to.parent().expect("below the layer")).expect("a layer");
        fs::copy(path, to).expect("a library");
    }
    let probe = b.in_root("probe");
    let mut attempts =
        vec!["write-root", "write-lower", "pids", "mount", "ptrace-init", "sysctl", "write-work"];
    if b.level == Isolation::Full {
        attempts.extend(["sockets", "ioctl"]);
    }
    for attempt in attempts {
        let ran = b.run_with(&[&probe, "inside", attempt], |r| {
            r.root = vec!["libraries".into(), "system".into()];
        });
        let name = format!("{attempt} in a root of layers");
        b.check(&name, ran.exited(0) && !ran.outcome.dirty, ran.note());
    }
}

type Seen = (u32, u32, i64, i64, Vec<u8>);

/// Everything below a directory: mode, owner, times, content.
fn contents(place: &Path) -> BTreeMap<PathBuf, Seen> {
    let mut all = BTreeMap::new();
    let mut left = vec![place.to_owned()];
    while let Some(path) = left.pop() {
        let meta = fs::symlink_metadata(&path).expect("what was there");
        let content = match () {
            () if meta.is_file() => fs::read(&path).expect("a file"),
            () if meta.is_symlink() => {
                fs::read_link(&path).expect("a link").into_os_string().into_encoded_bytes()
            }
            () => Vec::new(),
        };
        if meta.is_dir() {
            left.extend(fs::read_dir(&path).expect("listed").map(|e| e.expect("an entry").path()));
        }
        // A directory that gets one more layer beside the others is not one of them.
        if path != place {
            all.insert(path, (meta.mode(), meta.uid(), meta.mtime(), meta.ctime(), content));
        }
    }
    all
}
