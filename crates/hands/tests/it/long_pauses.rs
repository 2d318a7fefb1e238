//! Hub and worker over TLS that stand still, or are away, for longer than anything waits, while outputs and standard input
//! are under way. Short here; `cargo xtask soak` has the long times.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdout};
use std::time::Duration;

use rustix::process::Signal;

use crate::durability::setting;
use crate::home::{Home, Ran, json, ran, signal};
use crate::marks::Marks;
use crate::processes::{Server, address, level};

/// A hub with members, on the loopback.
struct World {
    home: Home,
    hub: Option<Server>,
    listen: String,
}

impl World {
    fn new() -> Self {
        let home = Home::new();
        let (hub, line) = Server::start(&home, &hub_at("127.0.0.1:0"), "listening");
        let listen = address(&line);
        let mut world = Self { home, hub: Some(hub), listen };
        // The socket for its operator is there when it serves.
        while world.home.run(&["token", "list"]).code != 0 {
            assert!(world.hub.as_mut().unwrap().0.try_wait().unwrap().is_none());
        }
        let join = world.token("submit");
        let login = world.home.run(&["login", &join]);
        assert_eq!(login.code, 0, "{login:?}");
        world
    }

    fn token(&self, role: &str) -> String {
        let token = self.home.run(&["token", "create", "--role", role]);
        assert_eq!(token.code, 0, "{token:?}");
        token.out.trim().to_owned()
    }

    fn worker(&self, name: &str, flags: &[&str]) -> Server {
        let (join, level) = (self.token("worker"), level(&self.home));
        let state = self.home.work().join(name).display().to_string();
        let mut arguments = vec!["worker", &join, "--name", name, "--state", &state];
        arguments.extend(["--isolation", &level, "--slots", "8"]);
        arguments.extend(flags);
        Server::start(&self.home, &arguments, "connected to the hub").0
    }

    fn start(&self, arguments: &[&str]) -> Shown {
        let mut child = self.home.start(arguments);
        let out = BufReader::new(child.stdout.take().unwrap());
        Shown { child, out, text: String::new() }
    }

    fn status(&self, id: &str) -> serde_json::Value {
        json(&self.home.run(&["status", "--json", id]).out).remove(0)
    }
}

fn hub_at(listen: &str) -> [&str; 5] {
    ["hub", "--listen", listen, "--name", "build"]
}

struct Shown {
    child: Child,
    out: BufReader<ChildStdout>,
    text: String,
}

impl Shown {
    /// Reads so many lines.
    fn lines(&mut self, n: usize) {
        for _ in 0..n {
            assert_ne!(self.out.read_line(&mut self.text).unwrap(), 0, "it ended: {}", self.text);
        }
    }

    fn rest(mut self) -> Ran {
        self.out.read_to_string(&mut self.text).unwrap();
        Ran { out: self.text, ..ran(self.child.wait_with_output().unwrap()) }
    }
}

/// Counts until the test has it end.
fn counts(marks: &Marks, word: &str, until: &std::path::Path) -> String {
    format!(
        "{}; i=0; until grep -q now {}; do i=$((i+1)); echo $i; sleep 0.1; done; echo end",
        marks.say(word),
        until.display()
    )
}

/// Each number once, in order, and the end.
fn is_whole(text: &str) -> bool {
    let mut lines = text.lines();
    let ends = lines.next_back() == Some("end");
    ends && lines.enumerate().all(|(i, line)| line.parse() == Ok(i + 1))
}

fn seconds(name: &str, usual: u64) -> Duration {
    Duration::from_secs(setting(name).unwrap_or(usual))
}

#[test]
fn a_hub_over_tls_that_stands_still_and_is_away_loses_nothing() {
    let Some(mut marks) = Marks::new() else { return };
    let (ends, ends_early) = (marks.file("ends"), marks.file("ends-early"));
    let mut world = World::new();
    let [expose, directory] = marks.flags();
    let worker = world.worker("w", &[&expose, &directory]);
    let script = |word: &str| counts(&marks, word, &ends);
    let scripts = [script("detached"), script("run"), counts(&marks, "batch", &ends_early)];
    let id = world.home.run(&["run", "-d", "--network", "host", "--", "sh", "-c", &scripts[0]]);
    let id = id.out.trim().to_owned();
    world.home.write("list", &format!("{}\n", scripts[2]));
    let mut live = [
        world.start(&["logs", "-f", &id]),
        world.start(&["attach", &id]),
        world.start(&["run", "--retry", "0", "--", "sh", "-c", &scripts[1]]),
    ];
    let batch = world.start(&["batch", "list"]);
    let mut fed = world.start(&["run", "-i", "--", "cat"]);
    let mut stdin = fed.child.stdin.take().unwrap();
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let typing = std::thread::Builder::new().spawn(move || {
        let mut typed = String::new();
        for i in 1.. {
            let line = format!("{i}\n");
            stdin.write_all(line.as_bytes()).unwrap();
            typed.push_str(&line);
            if stopped.recv_timeout(Duration::from_millis(10)).is_ok() {
                break;
            }
        }
        typed
    });
    marks.wait_for(3);
    let mut moves = |live: &mut [Shown], n: usize| {
        live.iter_mut().for_each(|shown| shown.lines(n));
        fed.lines(n);
    };
    moves(&mut live, 3);

    let (still, away) = (seconds("HANDS_SOAK_STILL", 4), seconds("HANDS_SOAK_AWAY", 3));
    signal(&world.hub.as_ref().unwrap().0, Signal::STOP);
    marks.listen(still);
    signal(&world.hub.as_ref().unwrap().0, Signal::CONT);
    // More than was written meanwhile: they hear of what is written now.
    let meanwhile = usize::try_from(still.as_secs()).unwrap() * 10;
    moves(&mut live, meanwhile + 10);
    fs::write(&ends_early, "now\n").unwrap();
    let batch = batch.rest();
    assert!(batch.code == 0 && is_whole(&batch.out), "{batch:?}");
    assert!(!batch.err.contains("attempt"), "{}", batch.err);
    world.hub.take().unwrap().kill();
    marks.listen(away);
    let listen = world.listen.clone();
    world.hub = Some(Server::start(&world.home, &hub_at(&listen), "the hub serves").0);
    moves(&mut live, 10);

    fs::write(&ends, "now\n").unwrap();
    stop.send(()).unwrap();
    let typed = typing.unwrap().join().unwrap();
    let fed = fed.rest();
    assert_eq!(fed.code, 0, "{}", fed.err);
    assert!(fed.out == typed, "{} of {} bytes", fed.out.len(), typed.len());
    for shown in live {
        let ended = shown.rest();
        assert!(ended.code == 0 && is_whole(&ended.out), "{ended:?}");
        assert!(!ended.err.contains("attempt"), "{}", ended.err);
    }
    let job = world.status(&id);
    assert_eq!((&job["attempt"], &job["exit_code"]), (&1.into(), &0.into()), "{job}");
    assert!(is_whole(&world.home.run(&["logs", &id]).out));
    assert!(marks.all().values().all(|n| *n == 1), "{:?}", marks.all());
    assert_eq!(worker.stop(), Some(0));
}

/// Its leases run out, and what it ran is run by another: that is told, and what it has to say later changes nothing.
#[test]
fn a_worker_over_tls_that_stands_still_splices_nothing() {
    let Some(mut marks) = Marks::new() else { return };
    let ends = marks.file("ends");
    let world = World::new();
    let [expose, directory] = marks.flags();
    let still = world.worker("still", &[&expose, &directory]);
    let list = format!("{}\n{}\n", counts(&marks, "one", &ends), counts(&marks, "two", &ends));
    world.home.write("list", &list);
    let batch = world.start(&["batch", "list"]);
    let never = counts(&marks, "never", &ends);
    let mut never = world.start(&["run", "--retry", "0", "--", "sh", "-c", &never]);
    marks.wait_for(3);
    never.lines(3);
    signal(&still.0, Signal::STOP);
    let other = world.worker("other", &[&expose, &directory]);
    marks.wait_for(5);
    marks.listen(seconds("HANDS_SOAK_STILL", 0));
    signal(&still.0, Signal::CONT);
    fs::write(&ends, "now\n").unwrap();
    let ended = batch.rest();
    assert_eq!(ended.code, 0, "{ended:?}");
    let parts: Vec<&str> = ended.out.split_inclusive("end\n").collect();
    assert!(parts.len() == 2 && parts.iter().all(|part| is_whole(part)), "{ended:?}");
    assert_eq!(ended.err.matches("was lost with its worker still").count(), 2, "{ended:?}");
    let ended = never.rest();
    assert_eq!(ended.code, 125, "{ended:?}");
    assert!(ended.err.contains("--retry 0"), "{ended:?}");
    let numbers = ended.out.lines().enumerate();
    assert!(numbers.into_iter().all(|(i, line)| line.parse() == Ok(i + 1)), "{ended:?}");
    let (one, two, never) = ("one".to_owned(), "two".to_owned(), "never".to_owned());
    let all = marks.all();
    assert_eq!((all[&one], all[&two], all[&never]), (2, 2, 1), "{all:?}");
    assert_eq!((other.stop(), still.stop()), (Some(0), Some(0)));
}
