//! Outputs that can't all be brought, and outputs whose places are links: what a user gets, at every level of isolation.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::symlink;

use crate::home::{Home, json, ran};
use crate::killable::Cluster;

/// Levels that this machine can have, by `HANDS_ISOLATION`, and the copied input root beside them.
fn ways() -> [(&'static str, &'static [&'static str]); 4] {
    [("full", &[]), ("no-netns", &[]), ("process", &[]), ("full", &["--prop", "input-root=copy"])]
}

/// Whether this machine has the level at all.
#[expect(clippy::print_stdout, reason = "a skip is told loudly")]
fn has(home: &Home, level: &str) -> bool {
    let mut command = home.hands(&["run", "--", "true"]);
    let ran = crate::home::ran(command.env("HANDS_ISOLATION", level).output().unwrap());
    if ran.code != 0 {
        println!("skipped: isolation level {level}: {}", ran.err);
    }
    ran.code == 0
}

/// Makes one of each kind beside what can be brought, and nests `$0` directories: from 2,047 on deeper than any path.
const ODD: &str = "mkdir -p d/sub; echo good > d/good; echo more > d/sub/more; mkfifo d/sub/pipe; \
    echo odd > \"d/bad$(printf '\\377')\"; python3 -c 'import socket, os, sys
socket.socket(socket.AF_UNIX).bind(\"d/socket\")
os.chdir(\"d\")
for n in range(int(sys.argv[1])):
    os.mkdir(\"n\"); os.chdir(\"n\")
    if n == 300: open(\"deep\", \"w\").write(\"deep\")' $0";

#[test]
fn one_odd_file_leaves_all_the_others() {
    for (level, more) in ways() {
        let home = Home::new();
        if !has(&home, level) {
            continue;
        }
        let ran_here = |arguments: &[&str]| {
            let mut command = home.hands(arguments);
            crate::home::ran(command.env("HANDS_ISOLATION", level).output().unwrap())
        };
        let fixed = ["run", "-o", "d", "-o", "fine", "-o", "fifo"];
        let script = format!("echo fine > fine; mkfifo fifo; {ODD}");
        // It takes its time, and is the same wherever there is an overlay.
        let deep =
            if level == "process" || more.is_empty() && level == "full" { 2100 } else { 302 };
        let too_deep = deep > 2047;
        let deep = deep.to_string();
        let ran = ran_here(&[&fixed[..], more, &["--", "sh", "-c", &script, &deep]].concat());
        assert_eq!(ran.code, 1, "{level} {more:?}: {ran:?}");
        for line in [
            "left out: the output `fifo` is a named pipe",
            "left out: the output `d/sub/pipe` is a named pipe",
            "left out: the output `d/socket` is a socket",
            "left out: the output `d/bad\\xff` has a name that is not UTF-8",
            if too_deep { "has a path of more bytes than 4095" } else { "" },
            &format!("but {} entries of its outputs could not be brought", 4 + u32::from(too_deep)),
        ] {
            assert!(ran.err.contains(line), "{level} {more:?}: {line}: {ran:?}");
        }
        let deep = format!("d/{}deep", "n/".repeat(301));
        for (path, content) in
            [("fine", "fine\n"), ("d/good", "good\n"), ("d/sub/more", "more\n"), (&deep, "deep")]
        {
            assert_eq!(home.read(path), content);
        }
        assert!(!home.work().join("fifo").exists() && !home.work().join("d/socket").exists());
        // What such an action wrote is no burden for the next one of its slot.
        let ran = ran_here(&["run", "-o", "n", "--", "sh", "-c", "ls -A; echo new > n"]);
        assert_eq!((ran.code, ran.out.as_str()), (0, ""), "{level} {more:?}: {ran:?}");
        remove_deep(&home);
    }
}

/// Deeper than the standard library removes with the descriptors of a process.
fn remove_deep(home: &Home) {
    let removed = std::process::Command::new("rm").arg("-rf").arg(home.work().join("d")).status();
    assert!(removed.unwrap().success());
}

/// What an action closed to itself is not closed to its worker, and a file that is mostly holes is as long as it says.
#[test]
fn files_without_a_mode_and_files_of_holes_come_back() {
    for (level, more) in ways() {
        let home = Home::new();
        if !has(&home, level) {
            continue;
        }
        let script = "mkdir -p d/shut; echo x >d/closed; echo y >d/shut/below; \
                      chmod 000 d/closed d/shut; truncate -s 8M d/holes; echo end >>d/holes";
        let arguments = [&["run", "-o", "d"], more, &["--", "sh", "-c", script]].concat();
        let mut command = home.hands(&arguments);
        let ran = crate::home::ran(command.env("HANDS_ISOLATION", level).output().unwrap());
        assert_eq!((ran.code, ran.err.contains("left out")), (0, false), "{level}: {ran:?}");
        assert_eq!(
            (home.read("d/closed"), home.read("d/shut/below")),
            ("x\n".into(), "y\n".into())
        );
        let holes = fs::read(home.work().join("d/holes")).unwrap();
        assert!(holes.len() == (8 << 20) + 4 && holes.ends_with(b"\0end\n"), "{level}");
    }
}

#[test]
fn what_was_left_out_is_told_later_too() {
    let home = Home::new().warm();
    left_out_is_told_later(&home, &[]);
    let lines = format!("{{\"argv\": [\"sh\", \"-c\", \"{PIPE}\"], \"output\": \"d\"}}\n");
    let ran = home.run_with(&["batch", "-"], &lines);
    assert!(ran.code == 1 && ran.err.contains("`d/pipe` is a named pipe"), "{ran:?}");
}

#[test]
fn what_a_remote_worker_left_out_is_told_later_too() {
    let cluster = Cluster::start();
    let worker = cluster.worker("w", &[]);
    left_out_is_told_later(&cluster.home, &["--cluster", &cluster.socket]);
    // The hub alone has it all: what was delivered, and what was not.
    let ps = cluster.hands(&["ps", "--all", "--json"]);
    let jobs = json(&ps.out);
    drop(worker);
    let id = jobs.last().unwrap()["id"].as_str().unwrap();
    let ran = cluster.hands(&["fetch", id]);
    assert!(ran.code == 1 && ran.err.contains("`d/pipe` is a named pipe"), "{ran:?}");
    assert_eq!(cluster.home.read("d/good"), "good\n");
}

const PIPE: &str = "mkdir d; echo good > d/good; mkfifo d/pipe";

/// `at` is where: on this machine or on a cluster.
fn left_out_is_told_later(home: &Home, at: &[&str]) {
    let hands = |arguments: &[&str]| home.run(&[at, arguments].concat());
    let run = ["run", "--cache", "-o", "d"];
    let detached = hands(&["run", "--detach", "-o", "d", "--", "sh", "-c", PIPE]);
    let id = detached.out.trim();
    for (front, code) in [("wait", 1), ("fetch", 1), ("attach", 1)] {
        let ran = hands(&[front, id]);
        assert!(
            ran.code == code && ran.err.contains("left out: the output `d/pipe` is a named pipe"),
            "{front}: {ran:?}"
        );
    }
    assert_eq!(home.read("d/good"), "good\n");
    fs::remove_dir_all(home.work().join("d")).unwrap();
    // In lists it is neither done nor an error of ours.
    let status = hands(&["status", id]);
    assert!(status.out.contains("state      incomplete\n"), "{status:?}");
    let ps = hands(&["ps", "--all"]);
    assert!(ps.out.contains(" incomplete "), "{ps:?}");
    for list in [&["status", "--json", id][..], &["ps", "--all", "--json"]] {
        let told = &json(&hands(list).out)[0];
        assert_eq!((&told["end"], &told["exit_code"]), (&"failed".into(), &1.into()), "{told}");
    }
    // Not kept for others: the second run executes, too.
    for _ in 0..2 {
        let ran = hands(&[&run[..], &["--json", "--", "sh", "-c", PIPE]].concat());
        let told = &json(&ran.out)[0];
        assert_eq!((ran.code, &told["exit_code"], &told["end"]), (1, &1.into(), &"failed".into()));
        assert_eq!((&told["cached"], &told["left_out_total"]), (&false.into(), &1.into()));
        assert_eq!(told["left_out"][0]["path"], "d/pipe", "{told}");
    }
    // A command that failed keeps its own code.
    let failed = format!("{PIPE}; exit 7");
    let ran = hands(&[&run[..], &["--", "sh", "-c", &failed]].concat());
    assert!(ran.code == 7 && ran.err.contains("`d/pipe` is a named pipe"), "{ran:?}");
}

#[test]
fn the_place_of_an_output_may_be_a_link_inside() {
    for (level, more) in ways() {
        let home = Home::new();
        if !has(&home, level) {
            continue;
        }
        home.write("real/data", "data\n");
        home.write("file", "f\n");
        for (target, link) in [
            ("real", "out"),
            ("/etc", "abs"),
            ("../..", "away"),
            ("nowhere", "dangling"),
            ("b", "a"),
            ("a", "b"),
        ] {
            symlink(target, home.work().join(link)).unwrap();
        }
        let ran_here = |arguments: &[&str], script: &str| {
            let fixed = ["run", "--input", "."];
            let mut command =
                home.hands(&[&fixed[..], more, arguments, &["--", "sh", "-c", script]].concat());
            crate::home::ran(command.env("HANDS_ISOLATION", level).output().unwrap())
        };
        let outputs =
            ["-o", "out/x", "-o", "out/new/y", "-o", "out/*.z", "-o", "o*/*.q", "-o", "out/t"];
        let script = "cat out/data; echo x > out/x; echo y > out/new/y; echo z > out/1.z; echo q > out/1.q; \
                      mkdir out/t; echo t > real/t/t; test -L out";
        let ran = ran_here(&outputs, script);
        assert_eq!((ran.code, ran.out.as_str()), (0, "data\n"), "{level} {more:?}: {ran:?}");
        assert!(home.work().join("out").is_symlink(), "the link stays a link here, too");
        for (path, content) in [
            ("real/x", "x\n"),
            ("real/new/y", "y\n"),
            ("real/1.z", "z\n"),
            ("real/1.q", "q\n"),
            ("real/t/t", "t\n"),
        ] {
            assert_eq!(home.read(path), content, "{level} {more:?}");
        }
        for (output, words) in [
            ("abs/x", "`abs` is a symbolic link to `/etc`, which is outside the input root"),
            ("away/x", "`away` is a symbolic link to `../..`, which is outside the input root"),
            ("dangling/x", "`dangling` is a symbolic link to `nowhere`, where there is nothing"),
            ("a/*.x", "is a symbolic link that leads back to itself"),
            ("file/x", "`file` is not a directory"),
        ] {
            let ran = ran_here(&["-o", output], "echo ran");
            assert_eq!((ran.code, ran.out.as_str()), (125, ""), "{level} {more:?}: {ran:?}");
            assert!(
                ran.err.contains(&format!("the output `{output}` has no place in the input root"))
                    && ran.err.contains(words),
                "{level} {more:?}: {ran:?}"
            );
        }
        // What is not sent is in the way here all the same.
        for (output, words) in [
            ("abs/x", "`abs` is a link that leads out of the current directory"),
            ("dangling/x/*.o", "`dangling` is a link to nothing"),
            ("file/x", "`file` is not a directory"),
        ] {
            let ran = home.run(&["run", "-o", output, "--", "echo", "ran"]);
            assert_eq!((ran.code, ran.out.as_str()), (125, ""), "{ran:?}");
            assert!(ran.err.contains(words), "{ran:?}");
        }
        fs::remove_file(home.work().join("abs")).unwrap();
    }
}

/// Something came into the way of its output while it ran: it has been run all the same.
#[test]
fn a_command_whose_output_can_not_be_put_in_place_has_its_own_exit_code() {
    let home = Home::new();
    let script = "echo began; read code; mkdir -p d; echo x >d/out; exit $code";
    for (own, code) in [("7", 7), ("0", 125)] {
        let mut child = home.start(&["run", "-i", "-o", "d/out", "--", "sh", "-c", script]);
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut began = String::new();
        out.read_line(&mut began).unwrap();
        assert_eq!(began, "began\n");
        home.write("d", "in the way\n");
        writeln!(child.stdin.take().unwrap(), "{own}").unwrap();
        let ended = ran(child.wait_with_output().unwrap());
        assert_eq!(ended.code, code, "{ended:?}");
        assert!(ended.err.contains("its outputs can't be had: "), "{ended:?}");
        assert!(ended.err.contains("`hands fetch "), "{ended:?}");
        fs::remove_file(home.work().join("d")).unwrap();
    }
}

/// What stands here in the way of one output is in the way of that one alone.
#[test]
fn an_output_that_can_not_be_put_in_place_leaves_all_the_others() {
    let home = Home::new();
    for here in ["dd", "od/dir", "od/deep/file"] {
        fs::create_dir_all(home.work().join(here)).unwrap();
    }
    home.write("od/file", "a file\n");
    let script = "echo f >dd; echo a >aa; echo z >zz; mkdir -p od/file od/zd od/deep; echo 1 >od/zd/1; \
                  echo y >od/file/below; ln -s a od/dir; echo x >od/deep/file; echo a >od/a; ln -s zd od/zl";
    let mut arguments = vec!["run"];
    for output in ["aa", "dd", "od", "zz"] {
        arguments.extend(["-o", output]);
    }
    arguments.extend(["--", "sh", "-c", script]);
    let ended = home.run(&arguments);
    assert_eq!(ended.code, 125, "{ended:?}");
    assert!(
        ended.err.contains("4 outputs can't be written, all others are in place:"),
        "{ended:?}"
    );
    for named in
        ["`dd` can't be written: Is a directory", "`od/file`", "`od/dir`", "`od/deep/file`"]
    {
        assert!(ended.err.contains(named), "{named}: {ended:?}");
    }
    assert!(!ended.err.contains("od/file/below"), "{ended:?}");
    for (path, content) in [("aa", "a\n"), ("zz", "z\n"), ("od/a", "a\n"), ("od/zl/1", "1\n")] {
        assert_eq!(home.read(path), content, "{path}");
    }
    assert_eq!(home.read("od/file"), "a file\n");
    assert!(ended.err.contains("hands fetch "), "{ended:?}");
}

/// What a command writes to a link of its inputs is behind the link, as here.
#[test]
fn an_output_that_is_a_link_of_the_inputs_brings_what_is_behind_it() {
    let home = Home::new();
    home.write("real/data", "old\n");
    home.write("lone/kept", "kept\n");
    for (target, link) in [
        ("real", "build"),
        ("real/data", "dl"),
        ("new", "dangles"),
        ("lone", "still"),
        ("/", "away"),
    ] {
        symlink(target, home.work().join(link)).unwrap();
    }
    let script = "echo q >build/q; echo new >dl; echo x >dangles; ln -sfn real still";
    let outputs = ["build", "dl", "dangles", "still", "away"].map(|path| ["-o", path]);
    let command = ["--", "sh", "-c", script];
    for front in [&["run", "-I", "."][..], &["batch", "-I", "."]] {
        let mut arguments = [front, outputs.as_flattened()].concat();
        let list = format!("sh -c '{script}'\n");
        let ended = if front[0] == "run" {
            arguments.extend(command);
            home.run(&arguments)
        } else {
            arguments.push("-");
            home.run_with(&arguments, &list)
        };
        assert_eq!(ended.code, 0, "{ended:?}");
        for (path, content) in [("real/q", "q\n"), ("real/data", "new\n"), ("new", "x\n")] {
            assert_eq!(home.read(path), content, "{path}");
            fs::remove_file(home.work().join(path)).unwrap();
        }
        home.write("real/data", "old\n");
        for (link, target) in
            [("build", "real"), ("dl", "real/data"), ("dangles", "new"), ("still", "real")]
        {
            assert_eq!(fs::read_link(home.work().join(link)).unwrap().to_str(), Some(target));
        }
        assert_eq!(home.read("lone/kept"), "kept\n");
        fs::remove_file(home.work().join("still")).unwrap();
        symlink("lone", home.work().join("still")).unwrap();
    }
}
