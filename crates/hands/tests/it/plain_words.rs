//! What people are told: true, whole, and where they look for it.

use crate::home::{Home, ran};
use crate::killable::Cluster;
use crate::processes::Server;

/// A hub of ours may be asked as any engine is. That it is none of ours would not be true.
#[test]
fn a_hub_of_ours_that_is_asked_as_an_engine_is_not_called_a_stranger() {
    let home = Home::new();
    let arguments = ["hub", "--listen", "127.0.0.1:0", "--insecure-loopback"];
    let (hub, line) = Server::start(&home, &arguments, "the hub serves");
    let engine = format!("grpc://{}", crate::processes::address(&line).rsplit('/').next().unwrap());
    for words in [
        &["run", "--engine", &engine, "--tag", "x", "--", "true"][..],
        &["run", "--engine", &engine, "--detach", "--", "true"],
    ] {
        let refused = home.run(words);
        assert!(!refused.err.contains("not a hub of ours"), "{refused:?}");
        let why =
            format!("the engine at {engine} is asked in plain REAPI, which has no words for ");
        assert!(refused.err.contains(&why) && refused.err.contains("--cluster"), "{refused:?}");
    }
    assert_eq!(hub.stop(), Some(0));
}

#[test]
fn whoever_waits_hears_what_is_to_be_fetched() {
    let home = Home::new().warm();
    let started = |words: &[&str]| {
        let id = home.run(&[&["run", "-d"], words].concat()).out.trim().to_owned();
        (home.run(&["wait", &id]), id)
    };
    let (with, id) = started(&["-o", "out", "--", "touch", "out"]);
    let told = format!("hands: action {id} has outputs; `hands fetch {id}` brings them here\n");
    assert_eq!((with.code, with.err), (0, told));
    assert_eq!(home.run(&["fetch", &id]).code, 0);
    assert_eq!(home.read("out"), "");
    let (without, _) = started(&["--", "true"]);
    assert_eq!((without.code, without.err.as_str()), (0, ""));
}

#[test]
fn colour_is_as_asked_for_wrong_arguments_and_help() {
    let home = Home::new();
    let escape = |words: &[&str], no_color: bool| {
        let mut command = home.hands(words);
        if no_color {
            command.env("NO_COLOR", "1");
        }
        let ended = ran(command.output().unwrap());
        format!("{}{}", ended.out, ended.err).contains('\x1b')
    };
    for words in [
        &["--color", "always", "run", "--memory", "4", "--", "true"][..],
        &["run", "--color=always", "--inptu", "x", "--", "true"],
        &["--color", "always", "run", "--help"],
        &["--color", "never", "--color", "always", "nonsense"],
    ] {
        assert!(escape(words, false) && escape(words, true), "{words:?}");
    }
    for words in [
        &["run", "--inptu", "x", "--", "true"][..],
        &["--color", "never", "nonsense"],
        &["run", "--inptu", "x", "--", "ls", "--color=always"],
    ] {
        assert!(!escape(words, false), "{words:?}");
    }
}

#[test]
fn every_command_that_stays_tells_its_exit_codes() {
    let home = Home::new();
    for words in [&["hub", "--help"][..], &["worker", "--help"], &["agent", "--help"]] {
        let help = home.run(words);
        let (_, codes) =
            help.out.split_once("\nExit code:\n").unwrap_or_else(|| panic!("{help:?}"));
        assert!(codes.contains("  3 ") && codes.contains("  70 "), "{codes}");
        assert!(help.out.lines().all(|line| line.chars().count() <= 80), "{words:?}");
    }
}

/// The words about an attempt that its worker has no more.
#[test]
fn a_worker_that_came_back_without_an_action_is_told_of_plainly() {
    let cluster = Cluster::start();
    let worker = cluster.worker("w", &[]);
    let id = cluster.detached(&["sh", "-c", "echo begun; exec sleep 1000"]);
    cluster.until_output(&id, "begun");
    worker.kill();
    let _again = cluster.worker("w", &[]);
    let mut told;
    while {
        told = cluster.hands(&["status", &id]).out;
        !told.contains("attempt 1 on w: ")
    } {
        std::thread::yield_now();
    }
    let why =
        "attempt 1 on w: it was restarted or away for too long, and no longer has the action\n";
    assert!(told.contains(why), "{told}");
    assert_eq!(cluster.hands(&["cancel", &id]).code, 0);
}
