//! How actions end, what they see, and what they leave.

use std::time::{Duration, Instant};

use hands_exec::{Isolation, Network, OutputKind, Scratch};
use hands_types::RelPath;

use crate::bench::{Bench, command, file, outputs, shell};

pub(crate) async fn run(bench: &mut Bench<'_>) {
    endings(bench).await;
    environment(bench).await;
    trees(bench).await;
    deadline_and_cancel(bench).await;
    slots(&mut bench.with_slots(2)).await;
    if bench.level == Isolation::Full {
        dirty(bench).await;
    }
}

/// A socket that outlives its action, kept by a cycle of sockets in each other's queues, is not met by the next one.
async fn dirty(bench: &mut Bench<'_>) {
    const LEAVE: &str = "python3 -c 'import socket as s
l = s.create_server((\"127.0.0.1\", 8091)); a, b = s.socketpair()
s.send_fds(a, [b\"x\"], [b.fileno(), l.fileno()]); s.send_fds(b, [b\"x\"], [a.fileno()])'";
    const BIND: &str = "python3 -c 'import socket as s
x = s.socket(); x.bind((\"127.0.0.1\", 8091)); print(\"free\")'";
    for round in 0..5 {
        let left = bench.sh(LEAVE).await;
        let found = bench.sh(BIND).await;
        let good = left.exited(0) && found.exited(0) && found.out() == "free\n";
        let note = format!("{} / {}", left.note(), found.note());
        bench.check(&format!("nothing of a dirty slot is met, {round}"), good, note);
    }
}

async fn endings(bench: &mut Bench<'_>) {
    for (name, script, end) in [
        ("exit code", "exit 42", "Exited(42)"),
        ("signal", "kill -SEGV $$", "Signaled(11)"),
        ("what is left behind is killed", "sleep 1000 & exit 3", "Exited(3)"),
    ] {
        let done = bench.sh(script).await;
        bench.check(name, done.end() == end, done.note());
    }
    let never = std::future::pending;
    for (argv, end) in [
        (&["no-such-program"][..], "NotFound"),
        (&["/no/such/program"], "NotFound"),
        (&["./not-a-program"], "NotExecutable(13)"),
        (&["/"], "NotExecutable(13)"),
    ] {
        let done = bench.run(command(argv), None, never()).await;
        bench.check(&format!("{argv:?} is {end}"), done.end() == end, done.note());
    }
    let mut request = shell("true");
    request.command.working_directory = RelPath::new("nowhere").expect("a path");
    let done = bench.run(request, None, never()).await;
    bench.check("bad working directory", done.end() == "BadWorkingDirectory(2)", done.note());
    let mut request = shell("basename $(pwd)");
    request.command.working_directory = RelPath::new("src").expect("a path");
    let done = bench.run(request, None, never()).await;
    bench.check("working directory", done.exited(0) && done.out() == "src\n", done.note());
    let done = bench.run(command(&["/bin/echo", "a\0b"]), None, never()).await;
    bench.check(
        "a NUL in an argument is the user's error",
        done.end().contains("argument 1"),
        done.note(),
    );
    let done = bench.sh("i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done").await;
    let good = done.ran.as_ref().is_ok_and(|r| {
        let took = r.timings.ended.duration_since(r.timings.executed).unwrap_or_default();
        r.usage.user_us + r.usage.system_us > 1000
            && r.usage.peak_memory > 100_000
            && took > Duration::from_millis(1)
    });
    bench.check("usage and times", good, format!("{:?}", done.ran.map(|r| (r.usage, r.timings))));
}

async fn environment(bench: &mut Bench<'_>) {
    let mut request = command(&["/usr/bin/env"]);
    request.command.environment =
        vec![("B".to_owned(), "2".to_owned()), ("A".to_owned(), "x y=z".to_owned())];
    let done = bench.run(request, None, std::future::pending()).await;
    let out = done.out();
    let names: Vec<&str> = out.lines().filter_map(|l| l.split('=').next()).collect();
    let mut sorted = names.clone();
    sorted.sort_unstable();
    bench.check(
        "nothing but the command's own and the documented variables",
        sorted == ["A", "B", "HANDS_INSIDE", "HOME", "LANG", "PATH", "TMPDIR"]
            && out.contains("A=x y=z\n"),
        &out,
    );
    let done = bench.sh("touch $HOME/x $TMPDIR/y && echo $HANDS_INSIDE").await;
    bench.check("home and tmp are writable", done.exited(0) && done.out() == "1\n", done.note());
    if bench.level != Isolation::Process {
        let mut request = shell("pwd; cat input.txt");
        request.root_at = "/home/someone/project".into();
        let done = bench.run(request, None, std::future::pending()).await;
        bench.check("same path", done.out() == "/home/someone/project\ninput\n", done.note());
    }
}

async fn trees(bench: &mut Bench<'_>) {
    let script = "echo new >made/deep/file; chmod +x made/deep/file; echo more >>input.txt; ln -s /etc/passwd link; mkdir out; \
                  echo a >out/a.o; mkfifo pipe; ln -s made way";
    let done = bench.sh(script).await;
    let Some(tree) = done.ran.as_ref().ok().and_then(|r| r.tree.as_ref()) else {
        return bench.check("an action leaves a tree", false, done.note());
    };
    let seen = file(tree, "made/deep/file");
    bench.check(
        "a new file in a seeded directory",
        seen == Some(("new\n".to_owned(), true)),
        format!("{seen:?}"),
    );
    let seen = file(tree, "input.txt");
    bench.check(
        "a changed input",
        seen == Some(("input\nmore\n".to_owned(), false)),
        format!("{seen:?}"),
    );
    let items = outputs(tree, &["link", "out", "out/*.o", "missing"]).map(|(items, _)| items);
    let kinds: Vec<String> =
        items.iter().flatten().map(|i| format!("{}:{}", i.path, short(&i.kind))).collect();
    bench.check(
        "link, directory, pattern",
        kinds == ["link:/etc/passwd", "out:dir", "out/a.o:file"],
        format!("{items:?}"),
    );
    let error = outputs(tree, &["pipe"]).err().unwrap_or_default();
    bench.check("a fifo is left out by name", error.contains("pipe is a named pipe"), &error);
    let seen = file(tree, "way/deep/file");
    bench.check(
        "a link inside is followed",
        seen == Some(("new\n".to_owned(), true)),
        format!("{seen:?}"),
    );
    drop(done);
    let on_cache = std::fs::read_to_string(bench.cache.join("root/input.txt")).unwrap_or_default();
    bench.check("the cache is untouched", on_cache == "input\n", on_cache);
    let done = bench.sh("cat input.txt; ls").await;
    let fresh = done.out() == "input\ninput.txt\nmade\nnot-a-program\nsrc\n";
    bench.check("the next action sees nothing of it", fresh, done.note());
    let mut request =
        shell("head -c 5000000 /dev/zero >big; rm input.txt; rm -r src; touch $TMPDIR/x");
    request.scratch = Scratch::Disk;
    let done = bench.run(request, None, std::future::pending()).await;
    let tree = done.ran.as_ref().ok().and_then(|r| r.tree.as_ref());
    let size = tree.and_then(|t| file(t, "big")).map(|(content, _)| content.len());
    let gone = tree.is_some_and(|t| {
        outputs(t, &["input.txt", "src"]).is_ok_and(|(items, _)| items.is_empty())
    });
    bench.check("scratch on disk", done.exited(0) && size == Some(5_000_000) && gone, done.note());
    drop(done);
    let done = bench.sh("ls; ls $TMPDIR").await;
    bench.check(
        "is empty for the next one",
        done.exited(0) && !done.out().contains("big"),
        done.note(),
    );
}

fn short(kind: &OutputKind) -> &str {
    match kind {
        OutputKind::File { .. } => "file",
        OutputKind::Symlink { target, .. } => target,
        OutputKind::Directory { .. } => "dir",
    }
}

async fn deadline_and_cancel(bench: &mut Bench<'_>) {
    let mut request = shell("echo before; echo kept >kept; exec sleep 1000");
    request.deadline = Some(Duration::from_millis(300));
    let begun = Instant::now();
    let done = bench.run(request, None, std::future::pending()).await;
    bench.check(
        "the deadline keeps what was written",
        done.end() == "TimedOut"
            && done.out() == "before\n"
            && begun.elapsed() < Duration::from_secs(10),
        done.note(),
    );
    let kept = done.ran.as_ref().ok().and_then(|r| r.tree.as_ref()).and_then(|t| file(t, "kept"));
    bench.check("and files", kept.is_some_and(|(text, _)| text == "kept\n"), "");
    drop(done);
    let (say, heard) = tokio::sync::oneshot::channel();
    let begun = Instant::now();
    let cancel = async {
        // Either way it is time.
        let _either = heard.await;
    };
    let (done, ()) =
        tokio::join!(bench.run(shell("trap '' INT TERM; sleep 1000"), None, cancel), async {
            // Sent before or after the command was executed: both must end it.
            let _gone = say.send(());
        });
    bench.check(
        "cancel",
        done.end() == "Cancelled" && begun.elapsed() < Duration::from_secs(10),
        done.note(),
    );
    // Dropping the future is a cancel as well.
    let dropped = tokio::time::timeout(Duration::from_millis(200), bench.sh("sleep 1000")).await;
    bench.check("a dropped run ends", dropped.is_err(), "");
    let done = bench.sh("echo fine").await;
    bench.check("and the next one works", done.out() == "fine\n", done.note());
}

async fn slots(bench: &mut Bench<'_>) {
    let (a, b) = tokio::join!(bench.sh("echo one"), bench.sh("echo two"));
    bench.check(
        "two at once",
        a.out() == "one\n" && b.out() == "two\n",
        format!("{} {}", a.note(), b.note()),
    );
    drop((a, b));
    if bench.level == Isolation::Full {
        // Another kind needs a slot of its own, for which an idle one gives way.
        for network in [Network::None, Network::Host, Network::Loopback] {
            let mut request = shell("cat /proc/net/dev | grep -c :; true");
            request.network = network;
            let done = bench.run(request, None, std::future::pending()).await;
            bench.check(&format!("network {network:?}"), done.exited(0), done.note());
        }
    }
    let mut good = true;
    let mut notes = Vec::new();
    for _ in 0..6 {
        // More than there are slots: the third waits for one of the others.
        let end = async |word: &str| {
            let done = bench.sh(&format!("echo {word}")).await;
            (done.out() == format!("{word}\n"), done.note())
        };
        let ended = tokio::join!(end("a"), end("b"), end("c"));
        good &= ended.0.0 && ended.1.0 && ended.2.0;
        notes.push(ended);
    }
    bench.check("more actions than slots", good, format!("{notes:?}"));
}
