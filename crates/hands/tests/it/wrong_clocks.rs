//! Clocks that are wrong by an hour: a client's, as its worker and the files that come back see it, and a worker's, as its hub
//! sees it.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, SystemTime};

use crate::home::{Home, Ran, json, ran};
use crate::server::{Server, address, level};

/// A library by which a program sees another time of day. The times of files stay the kernel's.
const SHIFTED: &str = "#define _GNU_SOURCE
#include <time.h>
#include <unistd.h>
#include <sys/syscall.h>
int clock_gettime(clockid_t clock, struct timespec *time) {
    long failed = syscall(SYS_clock_gettime, clock, time);
    if (!failed && clock == CLOCK_REALTIME) time->tv_sec += SHIFT;
    return failed;
}
";

const HOUR: i64 = 3600;

/// Whose clock is wrong, and by how much.
struct Shift {
    library: PathBuf,
    seconds: i64,
}

impl Shift {
    fn new(home: &Home, seconds: i64) -> Self {
        home.write("shifted/clock.c", SHIFTED);
        let library = home.work().join(format!("shifted/clock{seconds}.so"));
        let shift = format!("-DSHIFT={seconds}");
        let mut compiler = home.program("cc");
        compiler.args(["-shared", "-fPIC", &shift, "shifted/clock.c", "-o"]).arg(&library);
        assert!(compiler.status().expect("these tests need a C compiler").success());
        Self { library, seconds }
    }

    fn on<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env("LD_PRELOAD", &self.library)
    }

    /// What it is by that clock.
    fn now(&self) -> SystemTime {
        let by = Duration::from_secs(self.seconds.unsigned_abs());
        if self.seconds < 0 { SystemTime::now() - by } else { SystemTime::now() + by }
    }
}

/// A hub of a home.
fn hub(home: &Home) -> (Server, String) {
    let listen = ["hub", "--listen", "127.0.0.1:0", "--insecure-loopback"];
    let (hub, line) = Server::start(home, &listen, "the hub serves");
    (hub, address(&line))
}

/// To its worker the files of a client whose clock is behind are an hour old, and what comes from there is an hour ahead.
#[test]
fn make_follows_edits_where_the_clocks_of_client_and_worker_differ() {
    let home = Home::new();
    let (_hub, address) = hub(&home);
    let worker = ["worker", &address, "--name", "w", "--isolation", &level(&home)];
    let (_worker, _) = Server::start(&home, &worker, "connected to the hub");
    for (seconds, side) in [(-HOUR, "ahead of"), (HOUR, "behind")] {
        let shift = Shift::new(&home, seconds);
        home.write("p/Makefile", "out/copy: in\n\tmkdir -p out\n\tcp in out/copy\n");
        let edit = |text: &str| {
            let file = home.write("p/in", text);
            File::options().append(true).open(file).unwrap().set_modified(shift.now()).unwrap();
        };
        let make = || {
            let fixed = ["run", "--cluster", &address, "--input", ".", "--output", "out"];
            let mut command = home.hands(&[&fixed[..], &["--", "make"]].concat());
            let made = shift.on(command.current_dir(home.work().join("p"))).output().unwrap();
            let made = ran(made);
            let is_told = made.err.contains("the clock of w is ")
                && made.err.contains(&format!("{side} this machine's"));
            assert!(made.code == 0 && is_told, "{made:?}");
            made
        };
        let is_made = |made: &Ran| made.out.contains("cp in out/copy");
        edit("one\n");
        let before = shift.now();
        let first = make();
        assert!(is_made(&first), "{first:?}");
        let made = fs::metadata(home.work().join("p/out/copy")).unwrap().modified().unwrap();
        // By the clock of this machine, as if it had been made here.
        assert!(before < made && made < shift.now(), "{before:?} {made:?}");
        assert!(!is_made(&make()), "nothing has changed");
        edit("two\n");
        let edited = make();
        assert!(is_made(&edited), "{edited:?}");
        assert_eq!(home.read("p/out/copy"), "two\n");
        fs::remove_dir_all(home.work().join("p")).unwrap();
    }
}

/// Leases go by the hub's own clock, and a result is one whatever times it has.
#[test]
fn a_worker_whose_clock_is_wrong_works() {
    let home = Home::new();
    let (_hub, address) = hub(&home);
    let level = level(&home);
    let hands = |arguments: &[&str]| home.run(&[&["--cluster", &address], arguments].concat());
    for (seconds, name) in [(-HOUR, "behind"), (HOUR, "ahead")] {
        let shift = Shift::new(&home, seconds);
        let worker = ["worker", &address, "--name", name, "--isolation", &level];
        let mut command = home.hands(&worker);
        shift.on(&mut command);
        let (worker, _) = Server::spawn(command, "connected to the hub");
        // Some heartbeats long.
        let id =
            hands(&["run", "--detach", "--", "sh", "-c", "echo begun; sleep 3; echo done"]).out;
        let id = id.trim();
        let logs = hands(&["logs", "--follow", id]);
        assert_eq!((logs.code, logs.out.as_str()), (0, "begun\ndone\n"), "{logs:?}");
        let status = json(&hands(&["status", "--json", id]).out).remove(0);
        assert_eq!((&status["end"], &status["attempt"]), (&"succeeded".into(), &1.into()));
        let cached = ["run", "--json", "--cache", "--", "echo", name];
        for is_cached in [false, true] {
            let told = json(&hands(&cached).out).remove(0);
            let got = (&told["end"], &told["cached"], &told["stdout"]);
            let out = format!("{name}\n");
            assert_eq!(got, (&"succeeded".into(), &is_cached.into(), &out.into()), "{told}");
        }
        assert_eq!(worker.stop(), Some(0));
    }
}
