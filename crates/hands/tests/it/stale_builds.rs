//! Builds that compare times do again what they would do again at home, and nothing else.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::time::{Duration, SystemTime};

use crate::home::{Home, Ran, ran};
use crate::server::{Server, address, level};

/// A way to run `hands run` somewhere.
type Run<'a> = &'a dyn Fn(&[&str]) -> Ran;

const MAKEFILE: &str = "\
build/prog: build/one.o build/main.o build/data
\tcc -o $@ build/one.o build/main.o
build/%.o: src/%.c
\tmkdir -p build
\tcc -c -o $@ $<
build/data: data
\tmkdir -p build
\tcp $< $@
";
const MAIN: &str = "#include <stdio.h>\nconst char *one(void);\nint main(void) { puts(one()); }\n";

fn one(says: &str) -> String {
    format!("const char *one(void) {{ return \"{says}\"; }}\n")
}

/// What was made, in the words of make.
fn made(ran: &Ran) -> Vec<&str> {
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(!ran.err.contains("Clock skew"), "{ran:?}");
    let lines = ran.out.lines().filter(|line| line.starts_with("cc ") || line.starts_with("cp "));
    let mut made: Vec<&str> =
        lines.filter_map(|line| line.split("build/").nth(1)?.split_whitespace().next()).collect();
    made.sort_unstable();
    made
}

/// Builds, builds again, edits, touches; each time from what came back before.
fn make_follows_edits(home: &Home, run: Run<'_>) {
    home.write("Makefile", MAKEFILE);
    home.write("src/one.c", &one("one"));
    home.write("src/main.c", MAIN);
    // Large enough to be a file of its own in the store.
    home.write("data", &"large\n".repeat(200_000));
    let make = || run(&["--input", ".", "--output", "build", "--", "make"]);
    let says = || ran(home.program(home.work().join("build/prog")).output().unwrap()).out;
    let first = make();
    // `cp data build/data` names what it makes after the only `build/`, as the others do.
    assert_eq!(made(&first), ["data", "main.o", "one.o", "prog"], "{first:?}");
    assert_eq!(says(), "one\n");
    assert!(made(&make()).is_empty());
    home.write("src/one.c", &one("two"));
    let edited = make();
    assert_eq!(made(&edited), ["one.o", "prog"], "{edited:?}");
    assert_eq!(says(), "two\n");
    assert!(made(&make()).is_empty());
    // The same content at another time.
    let data = fs::File::options().append(true).open(home.work().join("data")).unwrap();
    data.set_modified(SystemTime::now()).unwrap();
    let touched = make();
    assert_eq!(made(&touched), ["data", "prog"], "{touched:?}");
    // What an old version says is older than what was made of the new one, as it is at home.
    home.write("src/one.c", &one("three"));
    let old = fs::File::options().append(true).open(home.work().join("src/one.c")).unwrap();
    old.set_modified(SystemTime::now() - Duration::from_secs(3600)).unwrap();
    assert!(made(&make()).is_empty());
}

#[test]
fn make_on_this_machine() {
    for level in LEVELS {
        let home = Home::new();
        if !is_there(&home, level) {
            continue;
        }
        make_follows_edits(&home, &|more| hands_at(&home, level, &[&["run"], more].concat()));
    }
}

#[test]
fn make_in_a_batch() {
    let home = Home::new().warm();
    make_follows_edits(&home, &|more| {
        let flags = more.strip_suffix(&["--", "make"]).unwrap();
        let list = home.write("list", "make\n").display().to_string();
        home.run(&[&["batch"], flags, &[&list]].concat())
    });
}

/// The best level that there is, and the one without namespaces, where the input root is a copy.
const LEVELS: [Option<&str>; 2] = [None, Some("process")];

/// `hands` with an agent of this level.
fn hands_at(home: &Home, level: Option<&str>, arguments: &[&str]) -> Ran {
    let mut command = home.hands(arguments);
    command.envs(level.map(|level| ("HANDS_ISOLATION", level)));
    ran(command.output().unwrap())
}

/// Whether this machine has the level; its agent is there then.
#[expect(clippy::print_stdout, reason = "a skip is told loudly")]
fn is_there(home: &Home, level: Option<&str>) -> bool {
    let ran = hands_at(home, level, &["run", "--", "true"]);
    if ran.code != 0 {
        println!("skipped: isolation level {level:?}: {}", ran.err);
    }
    ran.code == 0
}

#[test]
fn make_on_a_remote_worker_and_on_an_engine() {
    let home = Home::new();
    let listen = ["hub", "--listen", "127.0.0.1:0", "--insecure-loopback"];
    let (_hub, line) = Server::start(&home, &listen, "the hub serves");
    let address = address(&line);
    let worker = ["worker", &address, "--isolation", &level(&home)];
    let (_worker, _) = Server::start(&home, &worker, "connected to the hub");
    make_follows_edits(&home, &|more| home.run(&[&["run", "--cluster", &address], more].concat()));
    fs::remove_dir_all(home.work()).unwrap();
    fs::create_dir(home.work()).unwrap();
    let engine = format!("grpc://{address}");
    make_follows_edits(&home, &|more| {
        let ended = home.run(&[&["run", "--engine", &engine], more].concat());
        assert!(!ended.err.contains("the times of files"), "{ended:?}");
        ended
    });
}

/// Files, links, directories and the root itself, to the nanosecond, however they are staged; and one time where results
/// are cached.
#[test]
fn inputs_have_the_times_that_they_have_here() {
    for level in LEVELS {
        let home = Home::new();
        if is_there(&home, level) {
            inputs_have_their_times(&home, level);
        }
    }
}

fn inputs_have_their_times(home: &Home, level: Option<&str>) {
    let work = home.work();
    home.write("small", "small");
    home.write("deep/er/large", &"large\n".repeat(200_000));
    home.write("deep/er/early", "from before 1970");
    symlink("small", work.join("link")).unwrap();
    let set = |path: &str, time: SystemTime| {
        fs::File::open(work.join(path)).unwrap().set_modified(time).unwrap();
    };
    let at = |nanos: u64| SystemTime::UNIX_EPOCH + Duration::from_nanos(nanos);
    set("small", at(1_234_567_890_123_456_789));
    set("deep/er/large", at(1_700_000_000_000_000_001));
    set("deep/er/early", SystemTime::UNIX_EPOCH - Duration::from_nanos(1));
    set("deep/er", at(1_500_000_000_999_999_999));
    let paths = [".", "small", "link", "deep", "deep/er", "deep/er/large", "deep/er/early"];
    let here = |paths: &[&str]| -> Vec<String> {
        let line = |path: &&str| {
            let stat = fs::symlink_metadata(work.join(path)).unwrap();
            let nanos = i128::from(stat.mtime()) * 1_000_000_000 + i128::from(stat.mtime_nsec());
            format!("{path} {nanos}")
        };
        paths.iter().map(line).collect()
    };
    let script = "import os, sys\nfor p in sys.argv[1:]: print(p, os.lstat(p).st_mtime_ns)";
    let there = |more: &[&str]| -> Vec<String> {
        let fixed = ["run", "--input", "."];
        let arguments = [&fixed, more, &["--", "python3", "-c", script], &paths[..]].concat();
        let ended = hands_at(home, level, &arguments);
        let is_missing = more.contains(&"deep/no/such");
        assert_eq!(ended.code, i32::from(is_missing), "{ended:?}");
        assert_eq!(ended.err.contains("deep/no/such"), is_missing, "{ended:?}");
        ended.out.lines().map(str::to_owned).collect()
    };
    // As an output the file comes back and changes its directory's time here, hence what is here is looked at before.
    home.write("deep/er/out", "stands in the inputs, and so do its parents");
    set("deep/er", at(1_500_000_000_999_999_999));
    let output = ["--output", "deep/er/out", "--output", "deep/no/such"];
    for more in [&[][..], &["--prop", "input-root=copy"], &output[..2], &output] {
        let expected = here(&paths);
        assert_eq!(there(more), expected, "{level:?} {more:?}");
        // A difference to the tree before: of the directories above it, the times alone.
        home.write("deep/more", "x");
        let expected = here(&paths);
        assert_eq!(there(more), expected, "{level:?} {more:?}");
        fs::remove_file(work.join("deep/more")).unwrap();
    }
    let fixed = there(&["--cache"]);
    assert!(fixed.iter().all(|line| line.ends_with(" 1000000000000000000")), "{fixed:?}");
}

/// Outputs have the times that the action gave them, so that what comes back is as it was left.
#[test]
fn outputs_come_back_with_their_times() {
    let home = Home::new().warm();
    let script = "mkdir -p out/sub && echo b > out/b && echo a > out/sub/a && ln -s b out/link && \
                  touch -d @1234567890.123456789 out/sub/a out/sub && touch -hd @1200000000.5 out/link && \
                  cp -p out/sub/a single";
    let outputs = ["run", "--output", "out", "--output", "single", "--", "sh", "-c", script];
    let before = SystemTime::now();
    assert_eq!(home.run(&outputs).code, 0);
    let times = |path: &str| {
        let stat = fs::symlink_metadata(home.work().join(path)).unwrap();
        (stat.mtime(), stat.mtime_nsec())
    };
    for path in ["out/sub/a", "out/sub", "single"] {
        assert_eq!(times(path), (1_234_567_890, 123_456_789), "{path}");
    }
    assert_eq!(times("out/link"), (1_200_000_000, 500_000_000));
    let made = fs::metadata(home.work().join("out/b")).unwrap().modified().unwrap();
    // A file system's clock ticks more slowly than the other one.
    assert!(made > before - Duration::from_millis(20) && made <= SystemTime::now());
    // A cached result has no times of its own: all that comes has one, which is now.
    let cached: Vec<&str> = outputs
        .iter()
        .copied()
        .take(1)
        .chain(["--cache"])
        .chain(outputs[1..].iter().copied())
        .collect();
    assert_eq!(home.run(&cached).code, 0);
    assert_eq!(times("out/sub/a"), times("out/b"));
    assert_eq!(times("out/sub/a"), times("single"));
    assert!(fs::metadata(home.work().join("single")).unwrap().modified().unwrap() > made);
}

/// Runs of a tool that keeps records of its own; `edit` changes what it makes.
fn follows(home: &Home, arguments: &[&str], edit: &dyn Fn(), built: &str) {
    let run = || home.run(&[&["run", "-v"], arguments].concat());
    let compiled = |ended: &Ran| {
        assert_eq!(ended.code, 0, "{arguments:?}: {ended:?}");
        format!("{}{}", ended.out, ended.err).contains(built)
    };
    let first = run();
    assert!(compiled(&first), "{first:?}");
    let again = run();
    assert!(!compiled(&again), "nothing has changed: {again:?}");
    edit();
    let edited = run();
    assert!(compiled(&edited), "{edited:?}");
    let again = run();
    assert!(!compiled(&again), "nothing has changed: {again:?}");
}

#[test]
fn cargo_ninja_and_cmake_rebuild_what_they_rebuild_at_home() {
    let home = Home::new().warm();
    home.write("Cargo.toml", "[package]\nname = \"p\"\nedition = \"2021\"\n[workspace]\n");
    home.write("src/main.rs", "fn main() { println!(\"one\"); }\n");
    home.write(".gitignore", "target\n");
    fs::create_dir(home.work().join("target")).unwrap();
    let cargo =
        ["--input", ".", "--input", "target", "--output", "target", "--output", "Cargo.lock"];
    let cargo = [&cargo[..], &["--", "cargo", "build", "--offline"]].concat();
    let edit = || {
        home.write("src/main.rs", "fn main() { println!(\"two\"); }\n");
    };
    follows(&home, &cargo, &edit, "Compiling p");
    let says = ran(home.program(home.work().join("target/debug/p")).output().unwrap());
    assert_eq!(says.out, "two\n");

    let home = Home::new().warm();
    home.write("one.c", &one("one"));
    home.write("main.c", MAIN);
    home.write(
        "CMakeLists.txt",
        "cmake_minimum_required(VERSION 3.13)\nproject(p C)\nadd_executable(p one.c main.c)\n",
    );
    for generator in ["Ninja", "Unix Makefiles"] {
        let script = format!(
            "test -e b/CMakeCache.txt || cmake -S . -B b -G '{generator}'; cmake --build b"
        );
        let arguments = ["--input", ".", "--output", "b", "--", "sh", "-c", &script];
        let edit = || {
            home.write("one.c", &one(generator));
        };
        follows(&home, &arguments, &edit, "Building C object CMakeFiles/p.dir/one.c.o");
        let says = ran(home.program(home.work().join("b/p")).output().unwrap());
        assert_eq!(says.out, format!("{generator}\n"));
        fs::remove_dir_all(home.work().join("b")).unwrap();
    }
}

/// A build directory that git knows nothing of would begin anew each time, without a word.
#[test]
fn an_output_that_an_ignore_file_keeps_here_is_named() {
    let home = Home::new().warm();
    home.write("src/a", "a\n");
    home.write(".handsignore", "build\n*.log\n");
    home.write("x.log", "");
    let script = "ls -A build 2>/dev/null; mkdir -p build meson; echo made > build/made; \
                  echo '*' > meson/.gitignore; echo made > meson/made";
    let run = |flags: &[&str]| {
        let outputs = ["--output", "build", "--output", "meson"];
        let command = ["--", "sh", "-c", script];
        home.run(&[&["run", "--input", "."], &outputs[..], flags, &command].concat())
    };
    let first = run(&[]);
    assert_eq!((first.code, first.out.as_str(), first.err.as_str()), (0, "", ""));
    let second = run(&["-v"]);
    let hint = "hint: what is in build stays here, for an ignore file names it: add \
                --input build --input meson to go on from it\n";
    let told = second.err;
    assert!((second.code, second.out.as_str()) == (0, "") && told.contains(hint), "{told}");
    // What is left out is counted there, too.
    let count = "hands: left out by ignore files: 4 (";
    assert!(told.contains(count) && told.contains("./build"), "{told}");
    // Not each run says it, nor one that is to begin anew.
    let third = run(&[]);
    assert_eq!((third.code, third.out.as_str(), third.err.as_str()), (0, "", ""));
    let cached = run(&["-v", "--cache"]);
    assert!(cached.code == 0 && !cached.err.contains("hint:"), "{cached:?}");
    // There is nothing to go on from in an empty directory.
    for name in ["build", "meson"] {
        fs::remove_dir_all(home.work().join(name)).unwrap();
        fs::create_dir(home.work().join(name)).unwrap();
    }
    let empty = run(&["-v"]);
    assert!(empty.code == 0 && !empty.err.contains("hint:"), "{empty:?}");
    let named = run(&["--input", "build", "--input", "meson"]);
    assert_eq!((named.code, named.out.as_str(), named.err.as_str()), (0, "made\n", ""));
    // Of many commands the first says it.
    let list = "true\ntrue\n";
    let batch = home.run_with(&["batch", "--input", ".", "--output", "build", "-"], list);
    assert_eq!(batch.err.matches("hint: what is in build stays here").count(), 1, "{batch:?}");
}
