//! What an honest command meets: streams, status, search, terminal, deadline, kill.

use std::ffi::CString;
use std::io::{Read, Write};
use std::time::{Duration, Instant};

use hands_sandbox::{Status, Stdio, Step};

use crate::harness::{Bench, request, running};

pub(crate) fn run(b: &mut Bench<'_>) {
    streams_and_status(b);
    search(b);
    long_arguments(b);
    places(b);
    ends(b);
    terminal(b);
}

fn streams_and_status(b: &mut Bench<'_>) {
    let ran = b.run(&["/bin/sh", "-c", "echo out; echo err >&2; exit 7"]);
    b.check(
        "status and streams",
        ran.exited(7) && ran.out == "out\n" && ran.err == "err\n",
        ran.note(),
    );
    let ran = b.run(&["sh", "-c", "echo by name > /dev/stdout; echo too > /dev/stderr"]);
    b.check(
        "streams by name",
        ran.exited(0) && ran.out == "by name\n" && ran.err == "too\n",
        ran.note(),
    );
    let ran = b.run(&["sh", "-c", "kill -ABRT $$"]);
    b.check(
        "a signal to oneself kills",
        ran.outcome.status == Status::Signaled(libc::SIGABRT),
        ran.note(),
    );
    let ran = b.run(&["grep", "SigIgn", "/proc/self/status"]);
    b.check("no signal is ignored", ran.out == "SigIgn:\t0000000000000000\n", ran.note());
    let ran = b.run(&["grep", "-hE", "Cap(Eff|Prm|Inh|Amb)|NoNew|Seccomp:", "/proc/self/status"]);
    let words: Vec<&str> = ran.out.split_whitespace().collect();
    let none = "0000000000000000";
    let good = words.chunks(2).filter(|w| w[0].starts_with("Cap")).all(|w| w[1] == none);
    b.check(
        "no capabilities",
        good && ran.out.contains("NoNewPrivs:\t1\nSeccomp:\t2\n"),
        ran.note(),
    );
    let ran = b.run(&["env"]);
    b.check(
        "only the environment that was asked for",
        ran.out == "PATH=/usr/bin:/bin\n",
        ran.note(),
    );
    let ran = b.run(&["cat"]);
    b.check("stdin is empty", ran.exited(0) && ran.out.is_empty(), ran.note());
    let (reader, writer) = rustix::pipe::pipe().expect("a pipe");
    std::fs::File::from(writer).write_all(b"typed\n").expect("a write");
    let ran = b.run_with(&["cat"], |r| {
        if let Stdio::Pipes { stdin, .. } = &mut r.stdio {
            *stdin = Some(reader);
        }
    });
    b.check("stdin is passed", ran.out == "typed\n", ran.note());
    let ran = b.run(&["sh", "-c", "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done"]);
    b.check(
        "usage is counted",
        ran.outcome.user_us > 1000 && ran.outcome.max_rss > 100_000,
        ran.outcome.user_us,
    );
}

fn search(b: &mut Bench<'_>) {
    let ran = b.run(&["no-such-command"]);
    b.check("not found", ran.outcome.start_error.is_some_and(|e| e.is_not_found()), ran.note());
    let ran = b.run(&["./input.txt"]);
    b.check(
        "not executable",
        ran.outcome.start_error.is_some_and(|e| e.is_not_executable()),
        ran.note(),
    );
    let ran = b.run(&["./foreign"]);
    b.check(
        "of another machine",
        ran.outcome.start_error.is_some_and(|e| e.errno == libc::ENOEXEC),
        ran.note(),
    );
    let ran = b.run(&["./script", "text"]);
    b.check("a script without #!", ran.exited(0) && ran.out == "plain text\n", ran.note());
    let ran = b.run_with(&["true"], |r| r.cwd = "/job/nowhere".into());
    let bad = ran
        .outcome
        .start_error
        .is_some_and(|e| e.step == Step::WorkingDirectory && e.errno == libc::ENOENT);
    b.check("a missing working directory", bad, ran.note());
    let ran = b.run_with(&["cat", "a.c"], |r| r.cwd = "/job/src".into());
    b.check("a working directory", ran.out == "int a;\n", ran.note());
}

fn long_arguments(b: &mut Bench<'_>) {
    let word = "x".repeat(1023);
    let mut argv = vec!["sh", "-c", "echo $#"];
    argv.extend(std::iter::repeat_n(word.as_str(), 1024));
    let ran = b.run(&argv);
    b.check("1 MiB of arguments", ran.exited(0) && ran.out == "1023\n", ran.note());
    argv.extend(std::iter::repeat_n(word.as_str(), 8192));
    let ran = b.run(&argv);
    b.check(
        "9 MiB of arguments are refused",
        ran.outcome.start_error.is_some_and(|e| e.errno == libc::E2BIG),
        ran.note(),
    );
}

fn places(b: &mut Bench<'_>) {
    let script = "cd && touch \"$HOME/h\" \"$TMPDIR/t\" && [ \"$(pwd)\" = \"$HOME\" ]";
    let ran = b.run_with(&["sh", "-c", script], |r| r.set_home = true);
    b.check("private home and temporary directory", ran.exited(0), ran.note());
    if !b.has_namespaces() {
        return;
    }
    let ran = b.run(&["sh", "-c", "id -un; id -u; getent passwd user | cut -d: -f6; hostname"]);
    b.check("a user with a name", ran.out == "user\n1000\n/home/action\nhands\n", ran.note());
    let ran = b.run(&[
        "sh",
        "-c",
        "ls -A /root /var/ /run /srv /mnt /home/action; cat /etc/shadow /etc/sudoers",
    ]);
    b.check(
        "empty where the host has secrets",
        !ran.out.contains("shadow") && ran.err.contains("No such file"),
        ran.note(),
    );
    let script = "cd /sys && find . -maxdepth 3 -mindepth 1 | sort | tr '\\n' ' '; cat devices/system/cpu/online; touch x";
    let ran = b.run(&["sh", "-c", script]);
    let seen = "./devices ./devices/system ./devices/system/cpu 0";
    let good = ran.out.starts_with(seen) && ran.err.contains("Read-only");
    b.check("processors and nothing else in /sys", good, ran.note());
    let wanted =
        ["/home/me/project", "/work/deep/place", "/tmp/a/b", "/home/action/p", "/opt", "/var/x"];
    for at in wanted {
        let ran = b.run_with(&["sh", "-c", "pwd; cat input.txt; echo new > src/new"], |r| {
            r.root_at = at.into();
            r.cwd = at.into();
        });
        b.check(
            &format!("the input root at {at}"),
            ran.exited(0) && ran.out == format!("{at}\ninput\n"),
            ran.note(),
        );
    }
    let ran = b.run(&["ls", "/", "/home", "/var"]);
    b.check(
        "mount points go with their actions",
        !["work", "me", "x", "deep"].iter().any(|name| ran.out.lines().any(|l| l == *name)),
        ran.note(),
    );
}

fn ends(b: &mut Bench<'_>) {
    let started = Instant::now();
    let ran = b.run_with(&["sleep", "60"], |r| r.deadline = Some(Duration::from_millis(150)));
    let in_time = started.elapsed() < Duration::from_secs(5);
    let killed = ran.outcome.status == Status::Signaled(libc::SIGKILL);
    b.check("deadline", ran.outcome.timed_out && killed && in_time, ran.note());
    let null = || std::fs::File::options().write(true).open("/dev/null").expect("/dev/null").into();
    let (ready, says_ready) = rustix::pipe::pipe().expect("a pipe");
    b.slot
        .begin(request(&["sh", "-c", "echo; sleep 60 & sleep 61"], says_ready, null()))
        .expect("begin");
    std::fs::File::from(ready).read_exact(&mut [0]).expect("the action runs");
    let nothing = b.slot.try_finish().expect("a slot").is_none();
    b.slot.kill().expect("kill");
    let outcome = b.slot.finish().expect("an outcome");
    b.check("kill", nothing && outcome.killed && !outcome.timed_out, format!("{outcome:?}"));
    b.slot.kill().expect("killing nothing is fine");
    let started = Instant::now();
    let word = format!("hands-daemon-{}", b.level);
    let ran = b.inside(&["daemon", &word]);
    let gone = !running(&word) && started.elapsed() < Duration::from_secs(10);
    b.check("daemons are dead when the answer comes", ran.exited(0) && gone, ran.note());
}

fn terminal(b: &mut Bench<'_>) {
    let (master, slave) = b.slot.terminal().expect("a terminal");
    let script = "test -t 0 && test -t 2 && tty && echo two > $(tty) && echo one > /dev/tty && read line && echo got $line && kill -INT 0";
    let null = || std::fs::File::options().write(true).open("/dev/null").expect("/dev/null").into();
    let mut wanted = request(&["sh", "-c", script], null(), null());
    wanted.stdio = Stdio::Tty { slave };
    wanted.env.push(CString::from(c"TERM=dumb"));
    b.slot.begin(wanted).expect("begin");
    let mut master = std::fs::File::from(master);
    master.write_all(b"typed\n").expect("typing");
    let outcome = b.slot.finish().expect("an outcome");
    let mut seen = Vec::new();
    // With the last slave closed, the master ends with EIO.
    let end = master.read_to_end(&mut seen).expect_err("no end without the slave's").raw_os_error();
    let seen = format!("{} {end:?}", String::from_utf8_lossy(&seen));
    let named = !b.has_namespaces() || seen.contains("/dev/pts/0\r\n");
    let good = seen.contains("one")
        && seen.contains("two")
        && named
        && seen.contains("got typed")
        && outcome.status == Status::Signaled(libc::SIGINT);
    b.check("a controlling terminal", good, format!("{seen:?} {outcome:?}"));
    drop(master);
    let own = "import os, pty; m, s = pty.openpty(); print(os.ttyname(s)); os.listdir('/dev/pts')";
    let ran = b.run(&["python3", "-c", own]);
    let first = !b.has_namespaces() || ran.out == "/dev/pts/0\n";
    b.check("terminals of its own, and none is left", ran.exited(0) && first, ran.note());
}
