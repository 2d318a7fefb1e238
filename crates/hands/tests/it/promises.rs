//! What `run` promises about inputs, outputs, limits and codes, sentence by sentence.

use std::fs;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;

use crate::home::{HANDS, Home, json, names, ran};

#[test]
fn inputs_may_be_written_keep_their_times_and_stay_as_they_were() {
    let home = Home::new().warm();
    home.write("d/log", "one\n");
    home.write("d/tool", "#!/bin/sh\necho tool\n");
    let script = "stat -c '%Y %a %U' d d/log d/tool; echo two >>d/log; cat d/log; sh d/tool >d/tool; cat d/tool; \
                  rm d/log && mkdir d/log && echo gone";
    let first = home.run(&["run", "--input", "d", "--", "sh", "-c", script]);
    assert_eq!((first.code, first.err.as_str()), (0, ""), "{first:?}");
    let lines: Vec<&str> = first.out.lines().collect();
    let here = |path: &str| {
        let changed = std::fs::metadata(home.work().join(path)).unwrap().modified().unwrap();
        changed.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
    };
    assert!(lines[0].starts_with(&format!("{} 755 ", here("d"))), "{lines:?}");
    assert!(lines[1].starts_with(&format!("{} 644 ", here("d/log"))), "{lines:?}");
    assert_eq!(lines[3..5], ["one", "two"]);
    assert_eq!(lines.last(), Some(&"gone"));
    // Neither here nor in the store has anything changed.
    assert_eq!(home.read("d/log"), "one\n");
    let again = home.run(&["run", "--input", "d", "--", "cat", "d/log", "d/tool"]);
    assert_eq!(again.out, "one\n#!/bin/sh\necho tool\n", "{again:?}");
}

#[test]
fn a_file_that_changes_at_once_and_keeps_its_size_is_sent_anew() {
    let home = Home::new().warm();
    for text in ["1\n", "2\n", "3\n", "4\n"] {
        home.write("f", text);
        assert_eq!(home.run(&["run", "-I", "f", "--", "cat", "f"]).out, text);
    }
}

#[test]
fn inputs_stand_where_they_stand_here() {
    let home = Home::new().warm();
    home.write("a/b", "deep\n");
    let work = home.work();
    let link = work.parent().unwrap().join("link");
    std::os::unix::fs::symlink(&work, &link).unwrap();
    let absolute = work.join("a/b");
    let through_link = link.join("a/b");
    let name = work.file_name().unwrap().to_str().unwrap();
    let around = format!("../{name}/a/b");
    for path in ["a/b", absolute.to_str().unwrap(), through_link.to_str().unwrap(), &around] {
        let ended = home.run(&["run", "--input", path, "--", "cat", "a/b"]);
        assert_eq!((ended.code, ended.out.as_str()), (0, "deep\n"), "{path}: {ended:?}");
    }
    let often =
        ["run", "-I", "a", "-I", "a/b", "-I", "a/b", "-I", ".", "-I", &around, "--", "cat", "a/b"];
    let ended = home.run(&often);
    assert_eq!(
        (ended.code, ended.out.as_str()),
        (0, "deep\n"),
        "named twice, sent once: {ended:?}"
    );
    // What lies outside has the same path from here, too; outputs stay relative to here.
    fs::create_dir_all(work.join("project/deep")).unwrap();
    home.write("project/shared", "shared\n");
    let beside = |arguments: &[&str]| {
        ran(home.hands(arguments).current_dir(work.join("project/deep")).output().unwrap())
    };
    let script = "cat ../shared ../../a/b; echo made >out; pwd";
    let outside = [
        "run",
        "--same-path",
        "-I",
        "../shared",
        "-I",
        "../../a",
        "-o",
        "out",
        "--",
        "sh",
        "-c",
        script,
    ];
    let ended = beside(&outside);
    let here = work.join("project/deep");
    assert_eq!((ended.code, ended.err.as_str()), (0, ""), "{ended:?}");
    assert_eq!(ended.out, format!("shared\ndeep\n{}\n", here.display()));
    assert_eq!(home.read("project/deep/out"), "made\n");
    let whole = beside(&["batch", "-I", "..", "--", "cat ../{}", ":::", "shared"]);
    assert_eq!(whole.out, "shared\n", "{whole:?}");
    let far = home.run(&["run", "--input", "/etc/passwd", "--", "true"]);
    let says = "error: --input /etc/passwd: it shares no directory with the current one";
    assert!(far.code == 125 && far.err.starts_with(says), "{far:?}");
    let absent = home.run(&["run", "--input", "../absent/x", "--", "true"]);
    assert!(absent.code == 125 && absent.err.contains("../absent/x"), "{absent:?}");
    let socket = UnixListener::bind(work.join("socket")).unwrap();
    let ended = home.run(&["run", "--input", "socket", "--", "true"]);
    assert!(ended.code == 125 && ended.err.contains("socket is a socket"), "{ended:?}");
    drop(socket);
    fs::remove_file(work.join("socket")).unwrap();
    if rustix::process::geteuid().is_root() {
        let mut mknod = std::process::Command::new("mknod");
        assert!(mknod.arg(work.join("null")).args(["c", "1", "3"]).status().unwrap().success());
        let ended = home.run(&["run", "--input", "null", "--", "true"]);
        assert!(ended.code == 125 && ended.err.contains("null is a device"), "{ended:?}");
    }
}

#[test]
fn each_output_replaces_its_file_in_one_step_and_nothing_else_is_touched() {
    let home = Home::new().warm();
    let old = home.write("out/file", "old old old\n");
    home.write("out/beside", "mine\n");
    fs::hard_link(&old, home.work().join("other-name")).unwrap();
    let mut open = fs::File::open(&old).unwrap();
    let inode = fs::metadata(&old).unwrap().ino();
    let script = "mkdir -p out/sub; echo new >out/file; echo s >out/sub/s; echo b >out/beside";
    let ended = home.run(&["run", "-o", "out/file", "-o", "out/sub", "--", "sh", "-c", script]);
    assert_eq!((ended.code, ended.err.as_str()), (0, ""), "{ended:?}");
    assert_eq!(home.read("out/file"), "new\n");
    assert_ne!(fs::metadata(&old).unwrap().ino(), inode, "written in place");
    // Whoever has the old file open, or knows it by another name, keeps it whole.
    let mut text = String::new();
    open.seek(SeekFrom::Start(0)).unwrap();
    open.read_to_string(&mut text).unwrap();
    assert_eq!(
        (text.as_str(), home.read("other-name").as_str()),
        ("old old old\n", "old old old\n")
    );
    assert_eq!(home.read("out/beside"), "mine\n");
    assert_eq!(names(&home.work().join("out")), ["beside", "file", "sub"]);
    // A directory keeps what the action did not make.
    home.write("out/sub/kept", "k\n");
    let again = home.run(&["run", "-o", "out/sub", "--", "sh", "-c", script]);
    assert_eq!(again.code, 0, "{again:?}");
    assert_eq!(names(&home.work().join("out/sub")), ["kept", "s"]);
    // A file does not take a directory's place.
    let clash = home.run(&["run", "-o", "out", "--", "sh", "-c", "echo f >out"]);
    assert_eq!(clash.code, 125, "{clash:?}");
    assert!(
        clash.err.contains("`out` can't be written") && clash.err.contains("-C DIR"),
        "{clash:?}"
    );
    assert_eq!(home.read("out/file"), "new\n");
}

#[test]
fn thousands_of_outputs_of_all_sizes_arrive_as_they_were_made() {
    let home = Home::new().warm();
    let script = "mkdir out; i=0; while [ $i -lt 1500 ]; do echo line $i >out/$i; i=$((i+1)); done; \
                  : >out/empty; head -c 70000 /dev/urandom >out/random; cp out/random out/copy; \
                  head -c 5000000 /dev/urandom >out/large; cd out; sha256sum * ";
    let ended = home.run(&["run", "-o", "out", "--", "sh", "-c", script]);
    assert_eq!(ended.code, 0, "{ended:?}");
    let mut here = home.program("sh");
    let here = here.args(["-c", "cd out && sha256sum *"]).output().unwrap();
    assert_eq!(String::from_utf8(here.stdout).unwrap(), ended.out);
}

#[test]
fn codes_are_those_of_a_shell() {
    let home = Home::new().warm();
    for (script, code) in [("kill -9 $$", 137), ("kill -TERM $$", 143), ("exit 255", 255)] {
        assert_eq!(home.run(&["run", "--", "sh", "-c", script]).code, code, "{script}");
    }
    let object = json(&home.run(&["run", "--json", "--", "sh", "-c", "kill -9 $$"]).out).remove(0);
    assert_eq!((&object["exit_code"], &object["signal"]), (&137.into(), &9.into()), "{object}");
}

#[test]
fn json_tells_the_stages() {
    let home = Home::new().warm();
    home.write("in", "x");
    let command = ["run", "--json", "-I", "in", "-o", "o", "--", "sh", "-c", "sleep 0.2; cp in o"];
    let object = json(&home.run(&command).out).remove(0);
    let stage = |name: &str| object[name].as_u64().unwrap_or_else(|| panic!("{name}: {object}"));
    assert!(stage("executing_us") >= 200_000, "{object}");
    assert!(stage("staging_us") > 0, "{object}");
    for name in ["queued_us", "fetching_us", "uploading_us", "attempt"] {
        stage(name);
    }
    assert!(object["worker"].is_string() && object["isolation"].is_string(), "{object}");
    // Waiting for a slot is waiting, although the worker has had the lease all the while.
    let slots = json(&home.run(&["workers", "--json"]).out)[0]["slots"].to_string();
    let mut first = home.start(&["run", "--cpu", &slots, "--", "sh", "-c", "echo; exec sleep 0.5"]);
    let mut byte = [0];
    first.stdout.as_mut().unwrap().read_exact(&mut byte).unwrap();
    let second = json(&home.run(&["run", "--json", "--", "true"]).out).remove(0);
    assert!(first.wait().unwrap().success());
    assert!(second["queued_us"].as_u64().unwrap() > 100_000, "{second}");
}

#[test]
fn a_network_that_was_missed_is_hinted_at() {
    let home = Home::new().warm();
    if !home.run(&["workers", "--json"]).out.contains("\"full\"") {
        println!("skipped: without a network namespace there is no network to miss");
        return;
    }
    let dial = "exec 3<>/dev/tcp/192.0.2.1/80";
    let missed = home.run(&["run", "--", "bash", "-c", dial]);
    assert_ne!(missed.code, 0);
    assert!(missed.err.ends_with("add --network host\n"), "{missed:?}");
    let interfaces = |network: &str| {
        let ended = home.run(&["run", "--network", network, "--", "cat", "/proc/net/dev"]);
        assert_eq!(ended.code, 0, "{ended:?}");
        ended.out.lines().skip(2).count()
    };
    let here = fs::read_to_string("/proc/net/dev").unwrap().lines().skip(2).count();
    assert_eq!((interfaces("loopback"), interfaces("host")), (1, here));
    // Its own loopback is up; with `none` not even that.
    let own = "(exec 3<>/dev/tcp/127.0.0.1/9) 2>&1 | grep -om1 'refused\\|unreachable'";
    let tried =
        |network: &str| home.run(&["run", "--network", network, "--", "bash", "-c", own]).out;
    assert_eq!(tried("loopback"), "refused\n");
    assert_eq!(tried("none"), "unreachable\n");
}

#[test]
fn platforms_have_aliases_and_limits_hold() {
    let home = Home::new().warm();
    let arch = std::env::consts::ARCH;
    let alias = if arch == "x86_64" { "AMD64" } else { "ARM64" };
    for name in [arch, alias] {
        let ended = home.run(&["run", "--os", "Linux", "--arch", name, "--", "true"]);
        assert_eq!((ended.code, ended.err.as_str()), (0, ""), "{name}: {ended:?}");
    }
    // Hints of other engines are no requirements; what nobody knows is one.
    let hints =
        ["--prop", "EstimatedCPU=1", "--prop", "recycle-runner=true", "--prop", "Pool=default"];
    let hinted =
        home.run(&[&["run", "--queue-timeout", "2s"], &hints[..4], &["--", "true"]].concat());
    assert_eq!(hinted.code, 0, "{hinted:?}");
    let pool =
        home.run(&[&["run", "--queue-timeout", "1s"], &hints[4..], &["--", "true"]].concat());
    assert!(pool.code == 125 && pool.err.contains("Pool=default"), "{pool:?}");
    let greedy = ["run", "--memory", "48M", "--", "sh", "-c", "head -c 200M /dev/zero | tail"];
    let limited = home
        .run(&["doctor", "--json"])
        .out
        .contains("memory and processes of an action are limited");
    let killed = home.run(&greedy);
    assert!(killed.code != 0 || !limited, "{killed:?}");
    assert!(!limited || killed.err.contains("--memory"), "{killed:?}");
}

#[test]
fn lower_priorities_run_first_and_a_command_takes_one_cpu() {
    let home = Home::new().warm();
    let slots = json(&home.run(&["workers", "--json"]).out)[0]["slots"].as_u64().unwrap();
    let all = slots.to_string();
    let mut running =
        home.start(&["run", "--cpu", &all, "--", "sh", "-c", "echo; exec sleep 1000"]);
    running.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    let detach = |priority: &str| {
        let command = ["run", "-d", "--cpu", &all, "--priority", priority, "--", "date", "+%s.%N"];
        home.run(&command).out.trim().to_owned()
    };
    // The worker holds some actions ahead of its free slots; what the hub still has it orders.
    let mut ahead: Vec<String> = (0..slots + 3).map(|_| detach("0")).collect();
    let (late, normal, early) = (detach("5"), detach("0"), detach("-5"));
    let queued = json(&home.run(&["ps", "--json"]).out);
    let queued = queued.iter().filter(|j| j["state"] == "queued").count();
    assert_eq!(queued, ahead.len() + 3);
    drop(running.stdin.take());
    crate::home::signal(&running, rustix::process::Signal::INT);
    assert_eq!(running.wait().unwrap().code(), Some(130));
    ahead.extend([late.clone(), normal.clone(), early.clone()]);
    let ids: Vec<&str> = ahead.iter().map(String::as_str).collect();
    assert_eq!(home.run(&[&["wait"], &ids[..]].concat()).code, 0);
    let when = |id: &str| home.run(&["logs", id]).out.trim().parse::<f64>().unwrap();
    assert!(when(&early) < when(&normal) && when(&normal) < when(&late), "{early} {normal} {late}");
    // With one cpu each, as many as there are slots run at once: each waits for the others through its input.
    let mut together: Vec<_> = (0..slots)
        .map(|_| home.start(&["run", "-i", "--", "sh", "-c", "echo up; read line"]))
        .collect();
    for child in &mut together {
        let mut up = [0; 3];
        child.stdout.as_mut().unwrap().read_exact(&mut up).unwrap();
    }
    for mut child in together {
        child.stdin.take().unwrap().write_all(b"go\n").unwrap();
        assert!(child.wait().unwrap().success());
    }
}

#[test]
fn ids_are_ordered_by_time_and_known_by_their_beginning() {
    let home = Home::new().warm();
    let ids: Vec<String> =
        (0..3).map(|_| home.run(&["run", "-d", "--", "true"]).out.trim().to_owned()).collect();
    assert!(ids.is_sorted(), "{ids:?}");
    assert_eq!(home.run(&["wait", &ids[0], &ids[1], &ids[2]]).code, 0);
    // The one that started the agent, too.
    let all = json(&home.run(&["ps", "-a", "--json"]).out);
    let others: Vec<&str> = all.iter().filter_map(|it| it["id"].as_str()).collect();
    let others = others.iter().filter(|id| **id != ids[0]);
    let differs = (4..=26).find(|n| others.clone().all(|id| id[..*n] != ids[0][..*n])).unwrap();
    assert_eq!(others.count(), 3);
    let found = home.run(&["status", "--json", &ids[0][..differs]]);
    assert_eq!(json(&found.out)[0]["id"], ids[0].as_str(), "{found:?}");
    let several = home.run(&["status", &ids[0][..5]]);
    assert!(several.code == 2 && several.err.contains("fits several actions"), "{several:?}");
    let short = home.run(&["status", "zzz"]);
    assert_eq!(short.err, "error: \"zzz\" is too short: give at least 4 characters\n");
    // What has ended can't be cancelled, and is not said to be.
    let late = json(&home.run(&["cancel", "--json", &ids[0]]).out);
    assert_eq!(late[0]["cancelled"], false);
}

#[test]
fn inside_an_action_a_front_end_says_so() {
    let home = Home::new().warm();
    let program = home.work().join("hands");
    if fs::hard_link(HANDS, &program).is_err() {
        assert!(
            std::process::Command::new("cp").arg(HANDS).arg(&program).status().unwrap().success()
        );
    }
    for command in [&["run", "--", "true"][..], &["batch", "-"], &["shell"]] {
        let nested = [&["run", "-I", "hands", "--", "./hands"], command].concat();
        let ended = home.run(&nested);
        assert_eq!((ended.code, ended.out.as_str()), (125, ""), "{ended:?}");
        assert!(ended.err.starts_with("error: this runs inside an action already"), "{ended:?}");
    }
}

#[test]
fn names_that_others_chose_move_no_cursor() {
    let home = Home::new().warm();
    let script = "printf x >\"$(printf 'o\\033[2Jut')\"; exit 0";
    let id = home.run(&["run", "-d", "-o", "o*", "--", "sh", "-c", script]).out.trim().to_owned();
    assert_eq!(home.run(&["wait", &id]).code, 0);
    for command in [&["fetch", &id][..], &["status", &id], &["ps", "-a"]] {
        let ended = home.run(command);
        assert_eq!(ended.code, 0, "{ended:?}");
        assert!(!ended.out.contains('\x1b') && !ended.err.contains('\x1b'), "{ended:?}");
    }
    assert!(names(&home.work()).contains(&"o\x1b[2Jut".to_owned()));
}
