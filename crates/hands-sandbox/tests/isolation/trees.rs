//! Input roots and what is collected of them.

use std::path::Path;

use hands_sandbox::{ExposedPath, InputRoot, Launcher, Layer, Scratch, Step};

use crate::harness::{Bench, SLOT, read_tree, run_on};

const CHANGES: &str = "echo made > out.txt && rm input.txt && rm -r gone && echo replaced > src/a.c && mkdir -p d/e \
                       && echo deep > d/e/f && ln -s /etc/passwd link && ln -s .. up && chmod 600 out.txt";

pub(crate) fn run(b: &mut Bench<'_>) {
    collected(b, "the merged tree", |_| {});
    collected(b, "the merged tree of a copy", |r| r.input = InputRoot::Copy);
    collected(b, "the merged tree on disk", |r| r.scratch = Scratch::Disk);
    collected(b, "the merged tree on disk, again", |r| r.scratch = Scratch::Disk);
    let lower = b.place.join("cache/root0");
    let unchanged = std::fs::read_to_string(lower.join("src/a.c")).is_ok_and(|t| t == "int a;\n")
        && lower.join("gone/x").exists()
        && !lower.join("out.txt").exists();
    b.check("the cache is unchanged", unchanged, "");
    for input in [InputRoot::Overlay, InputRoot::Copy] {
        let marked = b.place.join("cache/above/gone").symlink_metadata().is_ok();
        let script = "cat input.txt src/a.c src/b.c; test ! -e gone";
        let ran = b.run_with(&["sh", "-c", script], |r| {
            r.lowers.insert(0, "above".into());
            r.input = input;
        });
        b.check(
            &format!("two staged trees, {input:?}"),
            ran.out == "from above\nint a;\nint b;\n" && ran.exited(i32::from(!marked)),
            ran.note(),
        );
    }
    renames(b);
    let ran = b.run_with(&["true"], |r| r.lowers = vec!["missing".into()]);
    let missing = ran
        .outcome
        .start_error
        .is_some_and(|e| e.step == Step::InputRoot && e.errno == libc::ENOENT);
    b.check("a staged tree that is not there", missing, ran.note());
    for bad in ["../x", "/etc", "a:b", ""] {
        let (out, err) = rustix::pipe::pipe().expect("a pipe");
        let mut wanted = crate::harness::request(&["true"], out, err);
        wanted.lowers = vec![bad.into()];
        let refused = b.slot.begin(wanted).is_err();
        b.check(&format!("no staged tree {bad:?}"), refused, "it was accepted");
    }
    exposed(b);
    if b.has_namespaces() {
        layers(b);
    }
}

/// What an overlay can't do, and what programs make of it.
fn renames(b: &mut Bench<'_>) {
    let python =
        |code: &str| format!("import os, shutil; {code}; print(sorted(os.listdir('here')))");
    let plain = python("os.rename('src', 'here')");
    let moved = python("shutil.move('src', 'here')");
    for (name, input, argv) in [
        ("rename of a copied input directory", InputRoot::Copy, ["python3", "-c", &plain]),
        ("shutil.move of an input directory", InputRoot::Overlay, ["python3", "-c", &moved]),
        ("mv of an input directory", InputRoot::Overlay, ["sh", "-c", "mv src here && ls here"]),
    ] {
        let ran = b.run_with(&argv, |r| r.input = input);
        b.check(name, ran.exited(0) && ran.out.contains("a.c"), ran.note());
    }
    let made = python("os.mkdir('new'); os.rename('new', 'here')");
    let ran = b.run(&["python3", "-c", &made]);
    b.check("rename of a new directory", ran.exited(0), ran.note());
}

/// Directories and files of the host, some of them in places that only the worker can reach.
fn exposed(b: &mut Bench<'_>) {
    let place = b.place.join("exposing");
    crate::harness::fill_cache(&place.join("cache"));
    let home = place.join("home");
    std::fs::create_dir_all(home.join("bin")).expect("a home");
    std::fs::create_dir_all(home.join("secret")).expect("a home");
    std::fs::write(home.join("bin/tool"), "#!/bin/sh\necho exposed\n").expect("a tool");
    for (path, mode) in [("bin/tool", 0o755), ("", 0o700)] {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
        std::fs::set_permissions(home.join(path), mode).expect("its mode");
    }
    let inside = |path: &str| {
        if b.has_namespaces() { Path::new("/home/me").join(path) } else { home.join(path) }
    };
    let mut config = crate::harness::config(&place, b.level);
    for path in ["bin", "bin/tool", "missing"] {
        config.expose.push(ExposedPath { host: home.join(path), inside: inside(path) });
    }
    let (tool, home) = (inside("bin/tool").display().to_string(), inside("").display().to_string());
    let mut launcher = Launcher::start(config).expect("a launcher that exposes");
    let mut slot = launcher.slot(SLOT).expect("a slot");
    let script = format!(
        "{tool}; touch {home}/bin/x 2> /dev/null || echo read-only; ls {home}/secret {home}/x"
    );
    let ran = run_on(&mut slot, &["sh", "-c", &script], |_| {});
    b.check("exposed paths", ran.out == "exposed\nread-only\n", ran.note());
}

fn collected(b: &mut Bench<'_>, name: &str, change: impl FnOnce(&mut hands_sandbox::Request)) {
    let ran = b.run_with(&["sh", "-c", CHANGES], change);
    let there = |path: &str, content: &str| read_tree(&ran, path).as_deref() == Some(content);
    let good = ran.exited(0)
        && there("out.txt", "made\n")
        && there("src/a.c", "replaced\n")
        && there("d/e/f", "deep\n")
        && there("script", "echo plain $1\n");
    let gone = ["input.txt", "gone", "link", "up/x", "link/x"]
        .iter()
        .all(|path| read_tree(&ran, path).is_none());
    b.check(name, good && gone, ran.note());
}

fn layers(b: &mut Bench<'_>) {
    let show = "/opt-tools/bin/tool && ./tools/bin/tool && ! touch tools/x 2> /dev/null && ! touch /opt-tools/x 2> /dev/null";
    let ran = b.run_with(&["sh", "-c", show], |r| {
        for at in ["/opt-tools", "/job/tools"] {
            r.layers.push(Layer { dir: "layer".into(), at: at.into() });
        }
    });
    b.check("layers", ran.exited(0) && ran.out == "a layer\na layer\n", ran.note());
    let ran =
        b.run_with(&["true"], |r| r.layers.push(Layer { dir: "none".into(), at: "/x".into() }));
    b.check(
        "a missing layer",
        ran.outcome.start_error.is_some_and(|e| e.step == Step::Layer),
        ran.note(),
    );
    let (out, err) = rustix::pipe::pipe().expect("a pipe");
    let mut wanted = crate::harness::request(&["true"], out, err);
    wanted.root_at = Path::new("/").to_owned();
    let refused = b.slot.begin(wanted).is_err();
    b.check("no input root at /", refused, "it was accepted");
}
