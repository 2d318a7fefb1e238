//! Programs of versions that are next to each other work together, and others say so. There is one version of the
//! program here; a relay between two makes one of them speak as that of another version would: its range of protocol
//! versions, fields that nobody knows yet in every message of every service, and messages of unknown kinds on streams.

mod relay;

use hands_proto::v1;

use crate::home::{Home, json};
use crate::processes::{Server, level};
use relay::{Relay, Speaks};

/// The real hub and the real worker, and what the worker and the clients reach them by.
struct World {
    home: Home,
    hub: Server,
    hub_at: String,
}

impl World {
    fn new() -> Self {
        let home = Home::new();
        let hub_at = format!("unix:{}", home.work().join("hub.sock").display());
        let (hub, _) = Server::start(&home, &["hub", "--listen", &hub_at], "the hub serves");
        Self { home, hub, hub_at }
    }

    fn relay(&self, hub: Speaks, others: Speaks) -> Relay {
        Relay::start(&self.home.work().join("relay.sock"), &self.hub_at, hub, others)
    }

    fn worker(&self, relay: &Relay, until: &str) -> (Server, String) {
        let level = level(&self.home);
        let arguments = ["worker", &relay.address, "--name", "w", "--isolation", &level];
        Server::start(&self.home, &arguments, until)
    }
}

/// What the program itself says that it speaks.
const OURS: (u32, u32) = hands_client::PROTOCOL;

/// Its range, moved by so many versions.
fn moved(by: i32) -> Speaks {
    let moved = |version: u32| version.checked_add_signed(by).unwrap();
    Speaks::Version { low: moved(OURS.0), high: moved(OURS.1), name: "99.0.0" }
}

/// The next version, which still speaks this one's protocol.
const NEXT: Speaks = Speaks::Version { low: OURS.0, high: OURS.1 + 1, name: "99.0.0" };

#[test]
fn versions_next_to_each_other_work_together() {
    // The hub first, as it should be; and the others first, as it happens.
    for (hub, others) in [(NEXT, Speaks::AsIs), (Speaks::AsIs, NEXT)] {
        let world = World::new();
        let relay = world.relay(hub, others);
        let (worker, _) = world.worker(&relay, "connected to the hub");
        works(&world, &relay);
        assert_eq!(worker.stop(), Some(0), "it is drained");
        let said = relay.said();
        assert!(said.n_changed > 50 && said.n_unknown > 5, "{said:?}");
        // Hub, worker and client of one build speak the same.
        assert!(said.ranges.len() >= 3, "{said:?}");
        assert!(said.ranges.iter().all(|range| *range == OURS), "{said:?}");
        drop(relay);
        assert_eq!(world.hub.stop(), Some(0));
    }
}

/// All that a user does in a day.
fn works(world: &World, relay: &Relay) {
    let home = &world.home;
    let hands = |arguments: &[&str], input: &str| {
        let flags = [&arguments[..1], &["--cluster", &relay.address], &arguments[1..]].concat();
        home.run_with(&flags, input)
    };
    home.write("in/file", &"sent over there\n".repeat(100_000));
    let copy = "cp in/file out; echo said; echo err >&2; exit 3";
    let ran = hands(&["run", "--input", "in", "--output", "out", "--", "sh", "-c", copy], "");
    assert_eq!((ran.code, ran.out.as_str()), (3, "said\n"), "{ran:?}");
    assert!(ran.err.contains("err\n") && !ran.err.contains("warning"), "{ran:?}");
    assert!(home.read("out") == home.read("in/file"));
    let typed = hands(&["run", "-i", "--", "cat"], "typed\n");
    assert_eq!((typed.code, typed.out.as_str()), (0, "typed\n"), "{typed:?}");
    let stamp = || hands(&["run", "--cache", "--", "date", "+%N"], "").out;
    assert_eq!(stamp(), stamp(), "the second is of the cache");
    let many = hands(&["batch", "--", "echo", "{}", ":::", "a", "b", "c"], "");
    assert_eq!(many.code, 0, "{many:?}");
    let begun = hands(&["run", "--detach", "--", "sh", "-c", "echo here; exec sleep 600"], "");
    let id = begun.out.trim();
    let mut follows = home.start(&["logs", "--cluster", &relay.address, "-f", id]);
    let mut line = [0; 5];
    std::io::Read::read_exact(follows.stdout.as_mut().unwrap(), &mut line).unwrap();
    assert_eq!(&line, b"here\n");
    assert_eq!(hands(&["cancel", id], "").code, 0);
    assert_ne!(hands(&["wait", id], "").code, 0);
    assert!(follows.wait().unwrap().success());
    let listed = json(&hands(&["ps", "-a", "--json"], "").out);
    assert_eq!(listed.len(), 8, "{listed:?}");
    let workers = json(&hands(&["workers", "--json"], "").out);
    assert_eq!(workers[0]["name"], "w", "{workers:?}");
    assert_eq!(hands(&["top"], "").code, 0);
}

#[test]
fn versions_two_apart_say_which_is_to_be_updated() {
    let world = World::new();
    let run = |relay: &Relay| world.home.run(&["run", "--cluster", &relay.address, "--", "true"]);
    // A hub that is too new for worker and client.
    let relay = world.relay(moved(2), Speaks::AsIs);
    let (worker, said) = world.worker(&relay, "protocol versions 3 to 3");
    assert!(said.contains("it is 99.0.0") && said.contains("next to each other"), "{said}");
    drop(worker);
    let refused = run(&relay);
    assert_eq!(refused.code, 125, "{refused:?}");
    assert!(refused.err.contains("the hub speaks protocol versions 3 to 3 (it is 99.0.0)"));
    assert!(refused.err.contains("hint: update this program"), "{refused:?}");
    drop(relay);
    // A hub that is too old.
    let relay = world.relay(moved(-1), Speaks::AsIs);
    let refused = run(&relay);
    assert!(refused.code == 125 && refused.err.contains("update the hub first"), "{refused:?}");
    drop(relay);
    // A worker that is too new for the hub, which says so.
    let relay = world.relay(Speaks::AsIs, moved(2));
    let (worker, said) = world.worker(&relay, "speaks protocol 3 to 3");
    assert!(said.contains("hands 99.0.0") && said.contains("update the hub"), "{said}");
    drop((worker, relay));
    // Nothing was queued by any of them.
    let listed = world.home.run(&["ps", "-a", "--cluster", &world.hub_at, "--json"]);
    assert_eq!((listed.code, listed.out.as_str()), (0, ""), "{listed:?}");
    assert_eq!(world.hub.stop(), Some(0));
}

/// Hubs before this one did not count standard input.
#[test]
fn a_hub_that_counts_no_input_takes_it_as_before() {
    let world = World::new();
    let relay = world.relay(Speaks::Without("/Feed"), Speaks::AsIs);
    let (_worker, _) = world.worker(&relay, "connected to the hub");
    let typed = "typed\n".repeat(100_000);
    let ran = world.home.run_with(&["run", "--cluster", &relay.address, "-i", "--", "cat"], &typed);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.out == typed, "{} bytes", ran.out.len());
}

/// Hubs before this one knew no sessions.
#[test]
fn a_hub_without_sessions_runs_as_before() {
    let world = World::new();
    let relay = world.relay(Speaks::Without("Actions/Session"), Speaks::AsIs);
    let (_worker, _) = world.worker(&relay, "connected to the hub");
    let hands = |arguments: &[&str], input: &str| {
        let flags = [&arguments[..1], &["--cluster", &relay.address], &arguments[1..]].concat();
        world.home.run_with(&flags, input)
    };
    let ran = hands(&["run", "-i", "--", "sh", "-c", "cat; echo err >&2; exit 3"], "typed\n");
    assert_eq!((ran.code, ran.out.as_str()), (3, "typed\n"), "{ran:?}");
    assert!(ran.err.contains("err\n"), "{ran:?}");
    let stamp = || hands(&["run", "--cache", "--", "date", "+%N"], "").out;
    assert_eq!(stamp(), stamp(), "the second is of the cache");
    let many = hands(&["batch", "--", "echo", "{}", ":::", "a", "b", "c"], "");
    assert_eq!((many.code, many.out.lines().count()), (0, 3), "{many:?}");
    let begun = hands(&["run", "--detach", "--", "sh", "-c", "exit 4"], "");
    assert_eq!(hands(&["wait", begun.out.trim()], "").code, 4, "{begun:?}");
}

/// A later hub has states that this program has no word for.
#[test]
fn a_state_of_a_later_version_is_shown_as_unknown() {
    let world = World::new();
    let relay = world.relay(Speaks::UnknownStates, Speaks::AsIs);
    let hands = |arguments: &[&str]| {
        let command = [&arguments[..1], &["--cluster", &relay.address], &arguments[1..]].concat();
        world.home.run(&command)
    };
    let begun = hands(&["run", "--detach", "--", "true"]);
    assert_eq!(begun.code, 0, "{begun:?}");
    let id = begun.out.trim();
    let listed = json(&hands(&["ps", "--json"]).out);
    assert_eq!(listed[0]["state"], "unknown", "{listed:?}");
    let why = hands(&["why", id]);
    assert!(why.code == 0 && why.out.contains("update"), "{why:?}");
    let unknown = v1::JobState::try_from(relay::UNKNOWN_STATE);
    assert!(unknown.is_err(), "{unknown:?}");
}
