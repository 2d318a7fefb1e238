//! Compiles: on workers, from the cache, and by the compiler itself where neither is right.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Signal, kill_process};

use crate::home::{HANDS, Ran, json, names, ran};
use crate::killable::Cluster;

/// A cluster, and a directory with sources.
struct Project {
    cluster: Cluster,
}

const HEADER: &str = "#pragma once\n#include <stdio.h>\n#define WORD \"first\"\nint twice(int);\n";
/// With a warning: `unused`.
const C: &str = "#include \"h.h\"\nint twice(int n) { int unused; puts(WORD); return n * 2; }\n";
const CXX: &str = "#include <vector>\n#include <string>\nextern \"C\" {\n#include \"h.h\"\n}\n\
                   std::vector<std::string> words(int n) { return {(unsigned long)twice(n), WORD}; }\n";

impl Project {
    fn new() -> Self {
        let this = Self { cluster: Cluster::start() };
        this.write("inc/h.h", HEADER);
        this.write("a.c", C);
        this.write("b.cc", CXX);
        this
    }

    fn write(&self, path: &str, text: &str) {
        self.cluster.home.write(&format!("p/{path}"), text);
    }

    fn directory(&self) -> PathBuf {
        self.cluster.home.work().join("p")
    }

    fn log(&self) -> PathBuf {
        self.cluster.home.work().join("log")
    }

    /// Any program, where the sources are.
    fn program(&self, words: &[&str]) -> Command {
        let mut command = self.cluster.home.program(words[0]);
        command.args(&words[1..]).current_dir(self.directory()).env("HANDS_CC_LOG", self.log());
        command.env("HANDS_CLUSTER", &self.cluster.socket);
        command
    }

    /// A compile by its own compiler.
    fn local(&self, words: &[&str]) -> Ran {
        ran(self.program(words).output().unwrap())
    }

    fn cc(&self, words: &[&str]) -> Command {
        self.program(&[&[HANDS, "cc"], words].concat())
    }

    /// A compile through `hands cc`, and where it ran.
    fn compiled(&self, words: &[&str]) -> (Ran, String) {
        let ran = ran(self.cc(words).output().unwrap());
        (ran, self.last())
    }

    /// Where the last compile ran.
    fn last(&self) -> String {
        let log = fs::read_to_string(self.log()).unwrap();
        log.lines().last().unwrap().split('\t').next().unwrap().to_owned()
    }

    /// Compiles both ways: everything is equal, and `how` is where ours ran.
    fn same(&self, words: &[&str], how: &str) {
        let before = names(&self.directory());
        let wanted = (self.local(words), self.new_files(&before));
        self.remove(&before);
        let (ran, ran_where) = self.compiled(words);
        let had = (ran, self.new_files(&before));
        self.remove(&before);
        let bytes =
            |files: &[(String, Vec<u8>)]| files.iter().map(|f| f.0.clone()).collect::<Vec<_>>();
        assert_eq!(bytes(&had.1), bytes(&wanted.1), "{words:?}");
        let told = |ran: &Ran| (ran.code, ran.out.clone(), ran.err.clone());
        assert_eq!(told(&had.0), told(&wanted.0), "{words:?}");
        assert!(had.1 == wanted.1, "the bytes of {:?} differ: {words:?}", bytes(&had.1));
        // Of a compiler's words the beginning is given.
        let is_so = ran_where == how || (how.ends_with(": ") && ran_where.starts_with(how));
        assert!(is_so, "{ran_where} is not {how}: {words:?}");
    }

    fn new_files(&self, before: &[String]) -> Vec<(String, Vec<u8>)> {
        let all = names(&self.directory()).into_iter().filter(|name| !before.contains(name));
        all.map(|name| (name.clone(), fs::read(self.directory().join(&name)).unwrap())).collect()
    }

    fn remove(&self, before: &[String]) {
        for (name, _) in self.new_files(before) {
            fs::remove_file(self.directory().join(name)).unwrap();
        }
    }
}

#[test]
fn what_workers_and_the_cache_give_is_what_the_compiler_gives() {
    let project = Project::new();
    let _workers = ["w1", "w2"].map(|name| project.cluster.worker(name, &[]));
    let shapes: &[&[&str]] = &[
        &["gcc", "-O2", "-g", "-Wall", "-Iinc", "-c", "a.c", "-o", "a.o"],
        &["gcc", "-O2", "-g", "-Wall", "-Iinc", "-MD", "-MP", "-c", "a.c"],
        &["gcc", "-g", "-gsplit-dwarf", "-Iinc", "-c", "a.c", "-o", "x.o"],
        &["gcc", "-fstack-usage", "-Iinc", "-c", "a.c", "-o", "x.o"],
        &["gcc", "-O1", "-Iinc", "-S", "a.c"],
        &["g++", "-std=c++17", "-O1", "-g", "-Wall", "-Iinc", "-MMD", "-MF", "b.dep", "-c", "b.cc"],
    ];
    for words in shapes {
        project.same(words, "remote");
        project.same(words, "cached");
    }
    let counts = json(&project.cluster.home.run(&["cc", "--stats", "--json"]).out).remove(0);
    let n = shapes.len();
    assert_eq!((&counts["cached"], &counts["remote"]), (&n.into(), &n.into()), "{counts}");
    assert_eq!(names(&project.directory()), ["a.c", "b.cc", "inc"]);
}

/// A compile whose agent says nothing for a while is run here, and what the agent does later changes nothing.
#[test]
fn an_agent_that_stands_still_costs_time_only() {
    let project = Project::new();
    let _worker = project.cluster.worker("w1", &[]);
    let words = ["gcc", "-g", "-Iinc", "-c", "a.c"];
    project.same(&words, "remote");
    let agent = project.cluster.home.agent();
    kill_process(agent, Signal::STOP).unwrap();
    let ended = project.compiled(&["gcc", "-g", "-Iinc", "-DOTHER", "-c", "a.c"]);
    kill_process(agent, Signal::CONT).unwrap();
    let local = "local agent: it says nothing";
    assert_eq!((ended.0.code, ended.1.as_str()), (0, local), "{ended:?}");
    let before = fs::read(project.directory().join("a.o")).unwrap();
    project.remove(&["a.c", "b.cc", "inc"].map(str::to_owned));
    project.same(&words, "cached");
    assert!(!before.is_empty());
    assert_eq!(names(&project.directory()), ["a.c", "b.cc", "inc"]);
}

#[test]
fn a_header_that_is_changed_or_hides_another_is_noticed() {
    let project = Project::new();
    let _worker = project.cluster.worker("w1", &[]);
    let words = ["gcc", "-g", "-Wall", "-Ifirst", "-Iinc", "-c", "a.c"];
    project.same(&words, "remote");
    project.write("inc/h.h", &HEADER.replace("first", "second"));
    project.same(&words, "remote");
    project.write("first/h.h", &HEADER.replace("first", "third"));
    project.same(&words, "remote");
    fs::remove_dir_all(project.directory().join("first")).unwrap();
    project.same(&words, "cached");
    // One that is asked for and not read.
    project.write("c.c", "#if __has_include(\"later.h\")\nint later;\n#endif\nint now;\n");
    let words = ["gcc", "-Iinc", "-c", "c.c"];
    project.same(&words, "remote");
    project.write("inc/later.h", "#error it is not read\n");
    project.same(&words, "remote");
    project.same(&words, "cached");
}

#[test]
fn errors_are_the_compilers_own() {
    let project = Project::new();
    let _worker = project.cluster.worker("w1", &[]);
    project.write("bad.c", "#include \"h.h\"\nint f(void) { return nothing; }\n");
    let words = ["gcc", "-Wall", "-Iinc", "-c", "bad.c"];
    project.same(&words, "local failed: exit code 1: bad.c: ");
    // What stood there is what the compiler leaves of it.
    let left = |compile: &dyn Fn() -> Ran| {
        fs::write(project.directory().join("bad.o"), "old").unwrap();
        assert_eq!(compile().code, 1);
        fs::read(project.directory().join("bad.o")).ok()
    };
    assert_eq!(left(&|| project.local(&words)), left(&|| project.compiled(&words).0));
    project.remove(&["a.c", "b.cc", "inc", "bad.c"].map(str::to_owned));
    project.write("none.c", "#include \"nowhere.h\"\n");
    project
        .same(&["gcc", "-c", "none.c"], "local dependencies: the preprocessor ends with an error");
    project
        .same(&["gcc", "-c", "gone.c"], "local dependencies: the preprocessor ends with an error");
    let none = project.compiled(&["no-such-compiler", "-c", "a.c"]).0;
    assert_eq!(none.code, 127, "{none:?}");
}

#[test]
fn what_is_not_known_to_be_right_runs_here() {
    let project = Project::new();
    let _worker = project.cluster.worker("w1", &[]);
    project.write("time.c", "const char *when = __DATE__;\n");
    for twin in ["one", "two"] {
        project.write(&format!("{twin}/all.h"), "#pragma once\n#include \"part.h\"\n");
        project.write(&format!("{twin}/part.h"), &format!("int {twin};\n"));
    }
    let older = fs::File::options().write(true).open(project.directory().join("one/all.h"));
    let then = std::time::SystemTime::now() - Duration::from_secs(1_000);
    older.unwrap().set_modified(then).unwrap();
    project.write("twins.c", "#include \"one/all.h\"\n#include \"two/all.h\"\n");
    project.write("asm.c", "asm(\".incbin \\\"a.c\\\"\");\n");
    for (words, how) in [
        (&["gcc", "-march=native", "-Iinc", "-c", "a.c"][..], "local flag: -march=native"),
        (&["gcc", "-save-temps", "-Iinc", "-c", "a.c"], "local unknown-flag: -save-temps"),
        (&["gcc", "-c", "time.c"], "local time: "),
        (&["gcc", "-c", "asm.c"], "local incbin: "),
        (&["gcc", "-Iinc", "-DWHEN=__TIME__", "-c", "a.c"], "local time: -DWHEN=__TIME__"),
        (&["gcc", "-DHAS=__has_include", "-Iinc", "-c", "a.c"], "local has-include: "),
        (&["gcc", "-I.", "-c", "twins.c"], "local pragma-once: "),
        (&["gcc", "-Iinc", "-E", "a.c"], "local no-compile: -E"),
        (&["gcc", "-Iinc", "-c", "a.c", "-o", "../outside.o"], "local output: ../outside.o"),
    ] {
        let (ended, ran_where) = project.compiled(words);
        assert_eq!(ended.code, 0, "{ended:?}");
        assert!(ran_where.starts_with(how), "{ran_where} is not {how}");
    }
    assert!(project.directory().join("../outside.o").is_file());
}

#[test]
fn a_build_does_not_need_us() {
    let project = Project::new();
    let words = ["gcc", "-Iinc", "-c", "a.c"];
    // No worker, then no hub, then no place for an agent.
    let (ended, ran_where) = project.compiled(&words);
    assert!(ended.code == 0 && ran_where.starts_with("local cluster: "), "{ended:?} {ran_where}");
    let Project { mut cluster } = project;
    cluster.kill_hub();
    let project = Project { cluster };
    let (ended, ran_where) = project.compiled(&words);
    assert!(ended.code == 0 && ran_where.starts_with("local cluster: "), "{ended:?} {ran_where}");
    let mut nowhere = project.cc(&words);
    nowhere.env("HANDS_HOME", "/proc/nowhere");
    let ended = ran(nowhere.output().unwrap());
    assert!(ended.code == 0 && ended.err.is_empty(), "{ended:?}");
    assert!(project.last().starts_with("local no-agent: "), "{}", project.last());
    let mut inside = project.cc(&words);
    inside.env("HANDS_INSIDE", "1");
    assert_eq!(ran(inside.output().unwrap()).code, 0);
    assert_eq!(project.last(), "local inside");
}

#[test]
fn a_worker_that_dies_in_the_midst_of_a_compile_is_not_noticed() {
    let project = Project::new();
    let first = project.cluster.worker("w1", &[]);
    let text: String = (0..500)
        .map(|n| {
            format!(
                "double f{n}(double *a, int n) {{ double s = {n}; for (int i = 0; i < n; i++) s += a[i] * s; return s; }}\n"
            )
        })
        .collect();
    project.write("long.c", &text);
    let words = ["gcc", "-O3", "-g", "-c", "long.c"];
    let wanted = project.local(&words);
    assert_eq!(wanted.code, 0, "{wanted:?}");
    let object = project.directory().join("long.o");
    let bytes = fs::read(&object).unwrap();
    fs::remove_file(&object).unwrap();
    let compiling = start(project.cc(&words));
    until_running(&project.cluster);
    let _second = project.cluster.worker("w2", &[]);
    drop(first);
    let ended = ran(compiling.wait_with_output().unwrap());
    assert_eq!((ended.code, ended.err.as_str()), (0, ""), "{ended:?}");
    assert_eq!(project.last(), "remote");
    assert!(fs::read(&object).unwrap() == bytes);
    let job = json(&project.cluster.hands(&["ps", "-a", "--json"]).out).remove(0);
    assert_eq!((&job["attempt"], &job["worker"]), (&2.into(), &"w2".into()), "{job}");
}

fn start(mut command: Command) -> Child {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Asks until an action runs.
fn until_running(cluster: &Cluster) {
    let patience = Instant::now() + Duration::from_secs(60);
    while Instant::now() < patience {
        let jobs = json(&cluster.hands(&["ps", "--json"]).out);
        if jobs.iter().any(|job| job["state"] == "running") {
            return;
        }
    }
    panic!("nothing runs");
}

#[test]
fn a_whole_build_finds_compilers_that_lead_here() {
    let project = Project::new();
    let _worker = project.cluster.worker("w1", &[]);
    project.write(
        "Makefile",
        "CFLAGS = -Iinc -g -O1\nCXXFLAGS = $(CFLAGS)\nall: a.o b.o\n\t$(CXX) -shared -o all.so a.o b.o\n",
    );
    project.write("a.c", &C.replace("int unused; ", ""));
    let build = |flag: &str| {
        let mut build = project.cc(&["--", "make", flag, "CC=gcc", "CXX=g++"]);
        build.env_remove("MAKEFLAGS");
        ran(build.output().unwrap())
    };
    let made = build("-j2");
    let wanted = "hands: compiles: 0 from the cache, 2 on workers, 1 here (link 1)\n";
    assert!(made.code == 0 && made.err.ends_with(wanted), "{made:?}");
    let again = build("-Bj2");
    let wanted = "hands: compiles: 2 from the cache, 0 on workers, 1 here (link 1)\n";
    assert!(again.code == 0 && again.err.ends_with(wanted), "{again:?}");
    assert!(project.directory().join("all.so").is_file());
    let failed = ran(project.cc(&["--", "sh", "-c", "exit 7"]).output().unwrap());
    assert_eq!(failed.code, 7, "{failed:?}");
}

/// Debian's source package lua5.4, which the test command unpacks in `target/sources`; nothing is fetched from here.
fn lua() -> Option<PathBuf> {
    let target = Path::new(HANDS).ancestors().nth(2)?;
    let found = fs::read_dir(target.join("sources/lua5.4"))
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()));
    let mut found = found.filter(|path| path.join("src/lapi.c").is_file());
    found.next().map(|path| path.join("src"))
}

#[test]
fn lua_is_built_on_two_workers_and_then_from_the_cache() {
    let Some(sources) = lua() else {
        let why = b"\nskipped: lua5.4's sources are not in target/sources\n";
        std::io::stdout().write_all(why).unwrap();
        return;
    };
    let project = Project { cluster: Cluster::start() };
    let _workers = ["w1", "w2"].map(|name| project.cluster.worker(name, &["--slots", "2"]));
    project.write("lua5.4-deb-multiarch.h", "#define DEB_HOST_MULTIARCH \"any\"\n");
    let mut units = Vec::new();
    for name in names(&sources) {
        let path = sources.join(&name);
        if !path.is_file() {
            continue;
        }
        fs::copy(&path, project.directory().join(&name)).unwrap();
        units.extend(name.strip_suffix(".c").map(str::to_owned));
    }
    assert!(units.len() > 30, "{units:?}");
    let words = |unit: &str| {
        let flags = "-std=gnu99 -O2 -g -Wall -DLUA_COMPAT_5_3 -DLUA_USE_LINUX -MD -c";
        let mut words: Vec<String> = flags.split(' ').map(str::to_owned).collect();
        words.extend([format!("{unit}.c"), "-o".to_owned(), format!("{unit}.o")]);
        words
    };
    let all = |prefix: &[&str]| {
        let children: Vec<Child> = units
            .iter()
            .map(|unit| {
                let mut command = project.program(&[prefix, &["gcc"]].concat());
                command.args(words(unit));
                start(command)
            })
            .collect();
        for child in children {
            let ended = ran(child.wait_with_output().unwrap());
            assert_eq!(ended.code, 0, "{ended:?}");
        }
        let made = |unit: &String| {
            [".o", ".d"].map(|ending| {
                let path = project.directory().join(format!("{unit}{ending}"));
                let bytes = fs::read(&path).unwrap();
                fs::remove_file(path).unwrap();
                bytes
            })
        };
        units.iter().map(made).collect::<Vec<_>>()
    };
    let wanted = all(&[]);
    for how in ["remote", "cached"] {
        fs::write(project.log(), "").unwrap();
        let had = all(&[HANDS, "cc"]);
        for ((unit, had), wanted) in units.iter().zip(had).zip(&wanted) {
            assert!(had == *wanted, "{unit} differs");
        }
        let log = fs::read_to_string(project.log()).unwrap();
        assert!(log.lines().all(|line| line.starts_with(how)), "{log}");
        assert_eq!(log.lines().count(), units.len());
    }
    let jobs = json(&project.cluster.hands(&["ps", "-a", "--json"]).out);
    let ran_on = |name: &str| jobs.iter().any(|job| job["worker"] == name);
    assert!(ran_on("w1") && ran_on("w2"), "{jobs:?}");
}
