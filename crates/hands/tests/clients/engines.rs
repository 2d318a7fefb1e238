//! Front-ends on engines that speak nothing but REAPI: one suite for whatever engine is at hand.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::Signal;

use crate::home::{HANDS, Home, Ran, json, ran, signal};
use crate::server::{Server, address, level};
use crate::tool::tool;

/// An engine, and what it can do beyond what all can.
struct Engine<'a> {
    home: &'a Home,
    url: String,
    instance: String,
    /// Whether it tells where the output of a running action can be read.
    streams: bool,
    /// Whether it announces that it keeps times, where that is known.
    times: Option<bool>,
}

impl Engine<'_> {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.home.hands(arguments);
        command.env("HANDS_ENGINE", &self.url).env("HANDS_INSTANCE", &self.instance);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn hands(&self, arguments: &[&str]) -> Ran {
        ran(self.command(arguments).stdin(Stdio::null()).output().unwrap())
    }

    fn on_a_terminal(&self, arguments: &[&str]) -> Ran {
        let typed = [&[HANDS], arguments].concat().join(" ");
        let mut script = self.home.program("script");
        script.env("HANDS_ENGINE", &self.url).env("HANDS_INSTANCE", &self.instance);
        ran(script.args(["-qec", &typed, "/dev/null"]).output().unwrap())
    }

    fn ok(&self, arguments: &[&str]) -> String {
        let ended = self.hands(arguments);
        assert_eq!((ended.code, ended.err.as_str()), (0, ""), "{arguments:?}: {ended:?}");
        ended.out
    }
}

#[test]
fn our_own_hub_as_an_engine() {
    let home = Home::new();
    let listen = ["hub", "--listen", "127.0.0.1:0", "--insecure-loopback"];
    let (hub, line) = Server::start(&home, &listen, "the hub serves");
    let address = address(&line);
    let level = level(&home);
    let worker = ["worker", &address, "--isolation", &level];
    let (worker, _) = Server::start(&home, &worker, "connected to the hub");
    let url = format!("grpc://{address}");
    suite(&Engine {
        home: &home,
        url,
        instance: "main".to_owned(),
        streams: true,
        times: Some(true),
    });
    assert_eq!(worker.stop(), Some(0));
    assert_eq!(hub.stop(), Some(0));
}

#[test]
fn buildbox_casd_as_an_engine() {
    let Some(programs) = tool("HANDS_TEST_CASD") else { return };
    let home = Home::new();
    // It prints the port that it got nowhere, so one is found for it.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut casd = home.program(programs.join("buildbox-casd"));
    casd.arg(format!("--bind=127.0.0.1:{port}"));
    casd.arg(format!("--buildbox-run={}", programs.join("buildbox-run").display()));
    for mount in ["/usr:/usr", "/usr/bin:/bin", "/usr/lib:/lib", "/usr/lib64:/lib64", "/etc:/etc"] {
        casd.arg(format!("--runner-arg=--bind-mount={mount}"));
    }
    // Killed, it leaves what it keeps there.
    casd.env("TMPDIR", home.work());
    casd.args(["--jobs=2", "--quota-high=1G"]).arg(home.work().join("casd"));
    let (casd, _) = Server::spawn(casd, "--cleanup-threshold");
    let url = format!("grpc://127.0.0.1:{port}");
    let (instance, times) = (String::new(), Some(false));
    let engine = Engine { home: &home, url, instance, streams: false, times };
    suite(&engine);
    lists_are_refused(&engine);
    let strange = Engine { instance: "strange".to_owned(), ..engine };
    let refused = strange.hands(&["run", "--", "true"]);
    let named = format!("error: the engine at {}: ", strange.url);
    assert!(refused.code == 125 && refused.err.starts_with(&named), "{refused:?}");
    assert!(refused.err.contains("\"strange\""), "{refused:?}");
    casd.kill();
}

/// Any other, such as Buildbarn: `HANDS_TEST_ENGINE` is its URL, or URL and instance with a comma between.
#[test]
fn the_engine_that_was_named() {
    let Some(named) = tool("HANDS_TEST_ENGINE") else { return };
    let named = named.to_str().unwrap();
    let (url, instance) = named.split_once(',').unwrap_or((named, ""));
    let home = Home::new();
    let (url, instance) = (url.to_owned(), instance.to_owned());
    let engine = Engine { home: &home, url, instance, streams: false, times: None };
    suite(&engine);
    lists_are_refused(&engine);
}

/// What every engine gives.
fn suite(engine: &Engine<'_>) {
    let home = engine.home;
    examples(engine);
    let split = engine.hands(&["run", "--", "sh", "-c", "echo out; echo err >&2; exit 3"]);
    assert_eq!((split.code, split.out.as_str(), split.err.as_str()), (3, "out\n", "err\n"));
    let unknown = engine.hands(&["run", "--", "no-such-program"]);
    assert!(unknown.code != 0 && unknown.err.contains("no-such-program"), "{unknown:?}");
    let seen = engine.ok(&["run", "--env", "MINE=yes", "--", "sh", "-c", "echo $MINE $LANG $PATH"]);
    assert!(seen.starts_with("yes C.UTF-8 /usr/local/sbin:"), "{seen}");

    // Times of inputs are kept, or else it is said that they may not be.
    home.write("timed/file", "");
    let timed = engine.hands(&["run", "--input", "timed", "--", "true"]);
    assert_eq!(timed.code, 0, "{timed:?}");
    let told = timed.err.contains("does not say that it keeps the times of files");
    assert!(engine.times.is_none_or(|keeps| told != keeps), "{timed:?}");

    // A shell's lines.
    let lines = home.write("lines", "echo one; echo two >&2\ncat lines | wc -l\nexit 4\n");
    let mut shell = engine.command(&["shell", "--input", "lines"]);
    let shell = ran(shell.stdin(fs::File::open(lines).unwrap()).output().unwrap());
    assert_eq!((shell.code, shell.out.as_str()), (4, "one\n3\n"), "{shell:?}");
    assert_eq!(shell.err, "two\n");

    // Standard input is a file there.
    home.write("deep/er/file", "from a file\n");
    let mut asking =
        engine.command(&["run", "-i", "--input", "../file", "--", "cat", "../file", "-"]);
    asking.current_dir(home.work().join("deep/er")).stdin(fs::File::open("/dev/null").unwrap());
    home.write("deep/file", "from a file\n");
    let asked = home.write("typed", "typed\n");
    asking.stdin(fs::File::open(asked).unwrap());
    let asked = ran(asking.output().unwrap());
    assert_eq!((asked.code, asked.out.as_str()), (0, "from a file\ntyped\n"), "{asked:?}");

    // Files there and back: large, empty, executable, a directory with a link.
    let large: String = (0..600_000).map(|n| format!("{n:07}\n")).collect();
    home.write("large", &large);
    let script = "cp large back; : > empty; printf '#!/bin/sh\\necho ran' > tool; chmod +x tool; \
                  mkdir -p tree/sub; echo deep > tree/sub/file; ln -s sub/file tree/link";
    let outputs = ["--output", "back", "--output", "empty", "--output", "tool", "--output", "tree"];
    let command =
        [&["run", "--input", "large"], &outputs[..], &["--", "sh", "-c", script]].concat();
    engine.ok(&command);
    assert!(home.read("back") == large && home.read("empty").is_empty());
    assert_eq!(home.read("tree/link"), "deep\n");
    let mode = fs::metadata(home.work().join("tool")).unwrap().permissions().mode();
    assert_eq!(mode & 0o111, 0o111);
    let missing = engine.hands(&["run", "--output", "nothing", "--", "true"]);
    assert!(missing.code == 1 && missing.err.contains("nothing"), "{missing:?}");

    // Run every time unless a cached result is asked for.
    let stamp = |more: &[&str]| engine.ok(&[&["run"], more, &["--", "date", "+%s.%N"]].concat());
    assert_ne!(stamp(&[]), stamp(&[]));
    assert_eq!(stamp(&["--cache"]), stamp(&["--cache"]));

    let late = engine.hands(&["run", "--timeout", "1s", "--", "sleep", "1000"]);
    // One of them tells it as a failure of its own, in its own words.
    let told = ["at its time limit", "timeout"].iter().any(|word| late.err.contains(word));
    assert!(late.code != 0 && told, "{late:?}");
    interrupted(engine);

    refused(engine);
}

/// What REAPI has no words for is refused by its name and the engine's, before anything is sent.
fn refused(engine: &Engine<'_>) {
    for words in [
        &["--same-path"][..],
        &["--network", "host"],
        &["--privilege", "userns"],
        &["--tag", "x"],
        &["--cpu", "2"],
        &["--memory", "1G"],
        &["--retry", "1"],
        &["--queue-timeout", "10s"],
        &["--output", "*.o"],
        &["--detach"],
        &["--tty"],
    ] {
        let command = [&["run"], words, &["--", "true"]].concat();
        let refused = match words {
            ["--tty"] => engine.on_a_terminal(&command),
            _ => engine.hands(&command),
        };
        let said = format!("{}{}", refused.out, refused.err);
        assert!(refused.code == 125 && said.contains(words[0]), "{refused:?}");
        assert!(said.contains(&format!("the engine at {}", engine.url)), "{refused:?}");
    }
}

/// Lists are a hub's own. What another engine says is told with its name.
fn lists_are_refused(engine: &Engine<'_>) {
    for words in
        [&["ps"][..], &["workers"], &["status", "abcd"], &["logs", "abcd"], &["why", "abcd"]]
    {
        let refused = engine.hands(words);
        let told = format!("error: the engine at {} is not a hub of ours", engine.url);
        assert!(refused.code == 2 && refused.err.starts_with(&told), "{words:?}: {refused:?}");
    }
    let unknown = engine.hands(&["cancel", "abcd"]);
    let named = format!("error: the engine at {}", engine.url);
    assert!(unknown.code == 2 && unknown.err.starts_with(&named), "{unknown:?}");
}

fn examples(engine: &Engine<'_>) {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let within = |directory: &str, arguments: &[&str]| {
        let mut command = engine.command(arguments);
        let ended = command.current_dir(examples.join(directory)).stdin(Stdio::null()).output();
        let ended = ran(ended.unwrap());
        assert_eq!(ended.code, 0, "{ended:?}");
        ended.out
    };
    let hello = within("hello-c", &["run", "--input", ".", "--", "sh", "build-and-run"]);
    assert!(hello.starts_with("hello from "), "{hello}");
    for (list, n_primes) in [("batch.txt", 9592), ("batch.jsonl", 9592)] {
        let results = within("primes", &["batch", "--input", "count-primes", "--json", list]);
        let results = json(&results);
        let primes = results.iter().map(|result| {
            let (_, count) = result["stdout"].as_str().unwrap().split_once(": ").unwrap();
            count.split_once(" primes").unwrap().0.parse::<u32>().unwrap()
        });
        assert_eq!(primes.sum::<u32>(), n_primes, "{list}: {results:?}");
    }
}

/// Output comes at once where the engine streams it; Ctrl-C ends us in any case, whether the engine cancels or not.
fn interrupted(engine: &Engine<'_>) {
    let script = "echo first; exec sleep 1000";
    // While it is sent, and when the engine has it.
    for said in ["sent inputs", "hands: action "] {
        let command = ["run", "-v", "--input", "typed", "--", "sh", "-c", script];
        let mut running = engine.command(&command).spawn().unwrap();
        let mut errors = BufReader::new(running.stderr.take().unwrap());
        let mut seen = String::new();
        while !seen.contains(said) {
            assert_ne!(errors.read_line(&mut seen).unwrap(), 0, "it ended: {seen}");
        }
        if engine.streams && said.contains("action") {
            let mut line = String::new();
            BufReader::new(running.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
            assert_eq!(line, "first\n");
        }
        signal(&running, Signal::INT);
        let ended = ran(running.wait_with_output().unwrap());
        assert_eq!(ended.code, 130, "{seen}: {ended:?}");
    }
}
