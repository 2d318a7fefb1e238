//! The agent as people meet it: it comes by itself, stays while there is something to do, makes room for a newer one,
//! and keeps its things where they belong.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{FlockOperation, flock};
use rustix::process::{Signal, kill_process};

use crate::home::{HANDS, Home, Ran, json, names, ran};

fn pid(home: &Home) -> u64 {
    let status = home.run(&["agent", "status", "--json"]);
    assert_eq!(status.code, 0, "{status:?}");
    json(&status.out)[0]["pid"].as_u64().unwrap()
}

/// Waits until no agent lives in this home: it holds its lock as long as it does.
fn until_gone(home: &Home) {
    let lock = File::open(home.hands_home().join("state/agent/agent.lock")).unwrap();
    flock(&lock, FlockOperation::LockShared).unwrap();
}

/// Another build of the program: a copy, made by a child so that no descriptor of ours keeps it busy.
fn other_build(home: &Home) -> PathBuf {
    let program = home.work().join("other-hands");
    assert!(Command::new("cp").arg(HANDS).arg(&program).status().unwrap().success());
    program
}

#[test]
fn it_leaves_when_it_has_been_idle_and_not_before() {
    let home = Home::new();
    let with_idle = |arguments: &[&str]| {
        ran(home.hands(arguments).env("HANDS_AGENT_IDLE", "2s").output().unwrap())
    };
    let first = with_idle(&["run", "--", "true"]);
    assert!(first.code == 0 && first.err.contains("idle seconds"), "{first:?}");
    let mut with_work = home.hands(&["run", "-d", "--", "sleep", "4"]);
    let id = ran(with_work.output().unwrap()).out.trim().to_owned();
    let before = pid(&home);
    // It outlasts its idle time twice while something detached runs.
    assert_eq!(home.run(&["wait", &id]).code, 0);
    assert_eq!(pid(&home), before);
    until_gone(&home);
    let status = home.run(&["agent", "status"]);
    assert_eq!(status.code, 4, "{status:?}");
    // What it knew is there for the next one.
    assert_eq!(home.run(&["wait", &id]).code, 0);
    assert_ne!(pid(&home), before);
}

/// Whoever brings outputs when it dies starts another one.
#[test]
fn an_agent_that_dies_while_outputs_come_is_started_anew() {
    let home = Home::new().warm();
    let make = "head -c 300000000 /dev/urandom >big";
    let id = home.run(&["run", "-d", "-o", "big", "--", "sh", "-c", make]).out.trim().to_owned();
    assert_eq!(home.run(&["wait", &id]).code, 0);
    let to = home.work().join("to");
    fs::create_dir(&to).unwrap();
    let agent = home.agent();
    let fetch = home.start(&["fetch", "-C", "to", &id]);
    // It is being written under another name.
    while names(&to).is_empty() {
        std::thread::yield_now();
    }
    kill_process(agent, Signal::KILL).unwrap();
    assert_ne!(names(&to), ["big"]);
    let began = std::time::Instant::now();
    let ended = ran(fetch.wait_with_output().unwrap());
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(fs::metadata(to.join("big")).unwrap().len(), 300_000_000);
    assert!(began.elapsed().as_secs() < 50, "{:?}", began.elapsed());
    assert_eq!(names(&to), ["big"]);
}

#[test]
fn another_build_uses_a_busy_agent_and_replaces_an_idle_one() {
    let home = Home::new().warm();
    let first = pid(&home);
    let program = other_build(&home);
    let other = |arguments: &[&str]| ran(home.program(&program).args(arguments).output().unwrap());
    let id = home.run(&["run", "-d", "--", "sleep", "1000"]).out.trim().to_owned();
    let served = other(&["run", "--", "echo", "served"]);
    assert_eq!((served.code, served.out.as_str(), served.err.as_str()), (0, "served\n", ""));
    assert_eq!(pid(&home), first, "a busy agent was replaced");
    assert_eq!(home.run(&["cancel", &id]).code, 0);
    assert_eq!(home.run(&["wait", &id]).code, 125);
    let replaced = other(&["run", "--", "echo", "fresh"]);
    assert_eq!((replaced.code, replaced.out.as_str()), (0, "fresh\n"), "{replaced:?}");
    let second = other(&["agent", "status", "--json"]);
    assert_ne!(json(&second.out)[0]["pid"], first, "{second:?}");
    // The action of before is still known to the new one.
    assert!(other(&["status", &id]).out.contains("cancelled"));
}

#[test]
fn an_agent_that_stands_still_is_named_and_ended_by_force() {
    let home = Home::new().warm();
    let id = home.run(&["run", "-d", "--", "sh", "-c", "echo begun; exec sleep 1000"]).out;
    let stopped = home.agent();
    kill_process(stopped, Signal::STOP).unwrap();
    let mut run = home.start(&["run", "--", "echo", "goes on"]);
    let mut line = String::new();
    BufReader::new(run.stderr.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert!(
        line.starts_with("waiting: the agent at ") && line.contains("does not answer"),
        "{line}"
    );
    let ended = home.run(&["agent", "stop", "--force"]);
    assert_eq!((ended.code, ended.err.as_str()), (0, ""), "{ended:?}");
    // Who waited for it gets another, which knows what the first one had accepted.
    let ran = ran(run.wait_with_output().unwrap());
    assert_eq!((ran.code, ran.out.as_str()), (0, "goes on\n"), "{ran:?}");
    assert_ne!(home.agent(), stopped);
    assert_eq!(home.run(&["cancel", id.trim()]).code, 0);
}

#[test]
fn caches_may_go_or_rot_at_any_time() {
    let home = Home::new().warm();
    home.write("f", "kept\n");
    let cat = || {
        let ended = home.run(&["run", "-v", "-I", "f", "--", "cat", "f"]);
        assert_eq!((ended.code, ended.out.as_str()), (0, "kept\n"), "{ended:?}");
        ended.err.contains(", 0 B read")
    };
    // A file that was changed less than two seconds ago is read again each time; then its digest is known.
    let until_known = || while !cat() {};
    until_known();
    fs::remove_dir_all(home.hands_home().join("cache")).unwrap();
    assert!(cat(), "an agent that runs knows it without its file");
    assert_eq!(home.run(&["agent", "stop"]).code, 0);
    let cache = home.hands_home().join("cache/stat-cache");
    for rot in [None, Some(&b"not a cache"[..]), Some(&[0xff; 4096])] {
        match rot {
            None => fs::remove_file(&cache).unwrap(),
            Some(rot) => fs::write(&cache, rot).unwrap(),
        }
        assert!(!cat(), "{rot:?} was believed");
        until_known();
        assert_eq!(home.run(&["agent", "stop"]).code, 0);
    }
    assert!(cat(), "what was known is not kept");
}

/// `HANDS_HOME` unset, as it is for people: the XDG directories, and without a runtime directory one in `/tmp`.
#[test]
fn everything_has_its_place_and_nothing_else_is_left_in_tmp() {
    const USER: u32 = 54_323;
    if !rustix::process::geteuid().is_root() {
        println!("skipped: as an ordinary user this would meet the user's own agent");
        return;
    }
    let home = Home::new();
    let program = other_build(&home);
    let user_home = home.work();
    chown(&user_home, Some(USER), Some(USER)).unwrap();
    let run = |arguments: &[&str]| -> Ran {
        let mut command = home.program("setpriv");
        command.args([&format!("--reuid={USER}"), &format!("--regid={USER}"), "--clear-groups"]);
        command.arg(&program).args(arguments).env("HOME", &user_home).env_remove("HANDS_HOME");
        for name in
            ["XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR", "TMPDIR"]
        {
            command.env_remove(name);
        }
        ran(command.output().unwrap())
    };
    let first = run(&["run", "--", "echo", "ran"]);
    assert_eq!((first.code, first.out.as_str()), (0, "ran\n"), "{first:?}");
    let runtime = PathBuf::from(format!("/tmp/hands-{USER}"));
    let metadata = fs::symlink_metadata(&runtime).unwrap();
    assert_eq!((metadata.uid(), metadata.permissions().mode() & 0o7777), (USER, 0o700));
    assert!(names(&runtime).contains(&"agent.sock".to_owned()));
    let status = json(&run(&["agent", "status", "--json"]).out).remove(0);
    let state = user_home.join(".local/state/hands/agent");
    assert_eq!(Path::new(status["state"].as_str().unwrap()), state);
    assert_eq!(Path::new(status["log"].as_str().unwrap()), state.join("agent.log"));
    assert_eq!(run(&["agent", "stop"]).code, 0);
    assert!(user_home.join(".cache/hands").is_dir());
    assert!(!user_home.join(".config").exists(), "nothing is configured by itself");
    let of_user = |entry: fs::DirEntry| {
        entry.metadata().is_ok_and(|m| m.uid() == USER) && entry.path() != runtime
    };
    let left: Vec<_> = fs::read_dir("/tmp")
        .unwrap()
        .flatten()
        .filter_map(|e| {
            let path = e.path();
            of_user(e).then_some(path)
        })
        .collect();
    assert!(left.is_empty(), "{left:?}");
    // One that others made in its place is not trusted.
    fs::remove_dir_all(&runtime).unwrap();
    fs::create_dir(&runtime).unwrap();
    let refused = run(&["run", "--", "true"]);
    fs::remove_dir(&runtime).unwrap();
    assert_eq!(refused.code, 125);
    assert!(refused.err.contains("belongs to user 0"), "{refused:?}");
    fs::remove_file(&program).unwrap();
}

/// The kernel tells a process of another pid namespace by no number, or by one that means somebody else here.
#[test]
#[cfg(target_os = "linux")]
fn an_agent_of_another_pid_namespace_is_stopped_and_nobody_else_for_it() {
    let home = Home::new();
    let inside = |script: &str| {
        let mut command = home.program("unshare");
        let own = ["--user", "--map-root-user", "--pid", "--fork", "--mount-proc"];
        command.args(own).args(["sh", "-c", script]).env("HANDS", HANDS);
        command
    };
    if !inside("true").status().is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED: this machine allows no namespaces");
        return;
    }
    let inside_ran = |script: &str| ran(inside(script).output().unwrap());
    let is_gone = || {
        let lock = File::open(home.hands_home().join("state/agent/agent.lock")).unwrap();
        flock(&lock, FlockOperation::NonBlockingLockShared).is_ok()
    };
    // The agent out here, who stops it in there.
    let is_so = |ended: &Ran, says: &str| {
        assert_eq!((ended.code, ended.err.as_str()), (0, says), "{ended:?}");
    };
    assert_eq!(home.run(&["run", "-q", "--", "true"]).code, 0);
    is_so(&inside_ran("\"$HANDS\" agent stop -v"), "hands: the agent has stopped\n");
    assert!(is_gone());
    is_so(&inside_ran("\"$HANDS\" agent stop"), "hands: no agent is running\n");
    // One that does not answer can't be ended from there, and nothing else is claimed.
    assert_eq!(home.run(&["run", "-q", "--", "true"]).code, 0);
    kill_process(home.agent(), Signal::STOP).unwrap();
    let forced = inside_ran("\"$HANDS\" agent stop --force");
    assert_eq!(forced.code, 3, "{forced:?}");
    assert!(forced.err.contains("the agent does not answer and can't be killed"), "{forced:?}");
    assert!(!is_gone());
    is_so(&home.run(&["agent", "stop", "--force"]), "");
    assert!(is_gone());

    // The agent in there, with a number that is another's here.
    for force in [&["agent", "stop"][..], &["agent", "stop", "--force"]] {
        let script = "\"$HANDS\" run -q -- echo up; read line";
        let mut kept = inside(script);
        kept.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
        let mut kept = kept.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(kept.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "up\n");
        is_so(&home.run(force), "");
        assert!(is_gone(), "{force:?}");
        drop(kept.stdin.take());
        kept.wait().unwrap();
    }
}
