//! `hands run`.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::Stdio;

use rustix::process::Signal;

use crate::home::{Home, json, names, ran, signal};

#[test]
fn streams_stay_apart_and_the_exit_code_passes_through() {
    let home = Home::new();
    let first = home.run(&["run", "--", "sh", "-c", "echo out; echo err >&2; exit 7"]);
    assert_eq!((first.code, first.out.as_str()), (7, "out\n"));
    assert!(first.err.contains("err\n"), "{first:?}");
    // The first use says where it runs, how well it is kept apart, and what stays.
    assert_eq!(first.err.lines().filter(|l| l.starts_with("hands:")).count(), 1, "{first:?}");
    for word in ["this machine", "isolation", "15 idle minutes", "hands agent stop"] {
        assert!(first.err.contains(word), "{word}: {first:?}");
    }
    // From then on a command that goes well prints what it prints, and nothing else.
    let second = home.run(&["run", "echo", "a  b"]);
    assert_eq!((second.code, second.out.as_str(), second.err.as_str()), (0, "a  b\n", ""));
    let killed = home.run(&["run", "--", "sh", "-c", "kill -TERM $$"]);
    assert_eq!(killed.code, 128 + 15, "{killed:?}");
    let absent = home.run(&["run", "--", "no-such-program"]);
    assert_eq!(absent.code, 127, "{absent:?}");
    assert!(absent.err.contains("no-such-program"), "{absent:?}");
    let unexecutable = home.run(&["run", "--", "/etc/passwd"]);
    assert_eq!(unexecutable.code, 126, "{unexecutable:?}");
    let verbose = home.run(&["run", "-v", "--", "true"]);
    let closing = verbose.err.lines().last().unwrap();
    assert!(
        closing.starts_with("hands: exit code 0, worker ") && closing.contains("isolation"),
        "{verbose:?}"
    );
}

#[test]
fn output_comes_while_the_command_runs() {
    let home = Home::new().warm();
    let mut child =
        home.start(&["run", "-i", "--", "sh", "-c", "echo first; read line; echo got $line"]);
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    assert_eq!(line, "first\n");
    // The command waits for this: so its first line came while it ran.
    child.stdin.take().unwrap().write_all(b"second\n").unwrap();
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "got second\n");
    assert!(child.wait().unwrap().success());
}

#[test]
fn stdin_is_empty_unless_it_is_asked_for() {
    let home = Home::new().warm();
    assert_eq!(home.run_with(&["run", "wc", "-c"], "12345").out.trim(), "0");
    assert_eq!(home.run_with(&["run", "-i", "wc", "-c"], "12345").out.trim(), "5");
    // Half of what was to come is not all of it.
    let mut unreadable = home.hands(&["run", "-i", "--", "cat"]);
    let unreadable = unreadable.stdin(std::fs::File::open(home.work()).unwrap());
    let ended = ran(unreadable.output().unwrap());
    assert_eq!((ended.code, ended.out.as_str()), (125, ""), "{ended:?}");
    assert_eq!(ended.err, "error: can't read standard input: Is a directory (os error 21)\n");
    assert_eq!(home.run(&["ps"]).out, "", "it was cancelled");
    let large = "x".repeat(3 << 20);
    assert_eq!(home.run_with(&["run", "-i", "wc", "-c"], &large).out.trim(), (3 << 20).to_string());
}

#[test]
fn scripts_come_from_stdin() {
    let home = Home::new().warm();
    let plain = home.run_with(&["run", "-", "x y"], "echo \"script $1\"\nexit 3\n");
    assert_eq!((plain.code, plain.out.as_str()), (3, "script x y\n"));
    let awk = home.run_with(&["run", "-"], "#!/usr/bin/awk -f\nBEGIN { print 6 * 7 }\n");
    assert_eq!((awk.code, awk.out.as_str()), (0, "42\n"), "{awk:?}");
}

#[test]
fn inputs_are_sent_and_outputs_land_where_they_were_declared() {
    let home = Home::new().warm();
    home.write("src/a.txt", "one\n");
    home.write("src/deep/b.txt", "two\n");
    home.write(".gitignore", "ignored\n");
    home.write("ignored", "secret\n");
    home.write("out/keep", "kept\n");
    fs::create_dir_all(home.work().join(".git")).unwrap();
    let listed = home.run(&["run", "--input", ".", "--", "find", ".", "-type", "f"]);
    let mut listed: Vec<&str> = listed.out.lines().filter(|l| !l.contains("/.git/")).collect();
    listed.sort_unstable();
    assert_eq!(listed, ["./.gitignore", "./out/keep", "./src/a.txt", "./src/deep/b.txt"]);
    let named = home.run(&["run", "--input", "ignored", "--", "cat", "ignored"]);
    assert_eq!(named.out, "secret\n", "{named:?}");
    let command = "cat src/a.txt src/deep/b.txt >out/both; mkdir -p tree/x; echo t >tree/x/t; \
                   printf '#!/bin/sh\\necho ran\\n' >out/tool; chmod +x out/tool; echo no >undeclared";
    let ended = home.run(&[
        "run",
        "--input",
        "src",
        "--output",
        "out/both",
        "--output",
        "tree",
        "--output",
        "out/to*",
        "--",
        "sh",
        "-c",
        &format!("mkdir -p out; {command}"),
    ]);
    assert_eq!((ended.code, ended.err.as_str()), (0, ""), "{ended:?}");
    assert_eq!(home.read("out/both"), "one\ntwo\n");
    assert_eq!(home.read("tree/x/t"), "t\n");
    assert_eq!(names(&home.work().join("out")), ["both", "keep", "tool"]);
    assert_eq!(names(&home.work()), [".git", ".gitignore", "ignored", "out", "src", "tree"]);
    let tool = std::process::Command::new(home.work().join("out/tool")).output().unwrap();
    assert_eq!(tool.stdout, b"ran\n");
}

#[test]
fn a_missing_output_is_named_after_success_only() {
    let home = Home::new().warm();
    let missing = home.run(&["run", "--output", "never", "--", "true"]);
    assert_eq!((missing.code, missing.out.as_str()), (1, ""));
    assert!(missing.err.contains("output never is missing"), "{missing:?}");
    // A bracket is no pattern, here as little as on the worker.
    let bracket = home.run(&["run", "--output", "b[1]", "--", "true"]);
    assert!(bracket.code == 1 && bracket.err.contains("output b[1] is missing"), "{bracket:?}");
    let made = home.run(&["run", "--output", "b[1]", "--", "touch", "b[1]"]);
    assert_eq!((made.code, made.err.as_str()), (0, ""), "{made:?}");
    std::fs::remove_file(home.work().join("b[1]")).unwrap();
    let pattern = home.run(&["run", "-o", "never/*.whl", "--", "true"]);
    assert_eq!(pattern.code, 1, "{pattern:?}");
    assert!(pattern.err.contains("nothing matches its output never/*.whl"), "{pattern:?}");
    let failed = home.run(&["run", "--output", "never", "--", "false"]);
    assert_eq!((failed.code, failed.err.as_str()), (1, ""), "{failed:?}");
    assert!(names(&home.work()).is_empty());
}

#[test]
fn the_environment_is_fixed_but_for_what_was_asked() {
    let home = Home::new().warm();
    let mut command = home.hands(&["run", "-e", "COPIED", "-e", "SET=to this", "--", "sh", "-c"]);
    let script = "echo $COPIED; echo $SET; echo ${LEAK-none}; echo $LANG; echo $HANDS_INSIDE; echo $PATH; \
                  touch $HOME/a $TMPDIR/b && echo writable; id -u; id -un";
    command.arg(script).env("COPIED", "from here").env("LEAK", "1");
    let ended = ran(command.output().unwrap());
    let lines: Vec<&str> = ended.out.lines().collect();
    assert_eq!(lines[..5], ["from here", "to this", "none", "C.UTF-8", "1"], "{ended:?}");
    assert!(
        lines[5].ends_with("/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        "{ended:?}"
    );
    assert_eq!(lines[6], "writable", "{ended:?}");
    if home.run(&["workers", "--json"]).out.contains("\"full\"") {
        assert_eq!(lines[7], "1000", "{ended:?}");
        assert!(!lines[8].chars().all(|c| c.is_ascii_digit()), "{ended:?}");
    }
}

#[test]
fn ctrl_c_ends_the_action_at_once() {
    let home = Home::new().warm();
    let mut child = home.start(&["run", "--", "sh", "-c", "echo ready; exec sleep 1000"]);
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    let began = std::time::Instant::now();
    signal(&child, Signal::INT);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(began.elapsed().as_secs() < 5, "{:?}", began.elapsed());
    let list = home.run(&["ps", "--json"]);
    assert_eq!(list.out, "", "{list:?}");
    let all = json(&home.run(&["ps", "-a", "--json"]).out);
    assert_eq!(all[0]["state"], "done", "{all:?}");
}

#[test]
fn a_closed_stdout_is_silent() {
    let home = Home::new().warm();
    let mut child = home.start(&["run", "--", "yes"]);
    let mut some = [0; 10];
    child.stdout.take().unwrap().read_exact(&mut some).unwrap();
    let ended = ran(child.wait_with_output().unwrap());
    assert_eq!((ended.code, ended.err.as_str()), (141, ""), "{ended:?}");
    // Nothing reads the table either.
    let mut command = home.hands(&["ps", "-a"]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let ended = ran(command.stdout(Stdio::from(writer)).output().unwrap());
    assert_eq!((ended.code, ended.err.as_str()), (141, ""), "{ended:?}");
}

#[test]
fn time_limits_networks_and_places_are_kept() {
    let home = Home::new().warm();
    let late = home.run(&["run", "--timeout", "300ms", "--", "sleep", "1000"]);
    assert_eq!(late.code, 137, "{late:?}");
    assert!(late.err.contains("error:"), "{late:?}");
    let here = home.run(&["run", "--same-path", "--", "pwd"]);
    assert_eq!(here.out.trim(), home.work().to_str().unwrap(), "{here:?}");
    if home.run(&["workers", "--json"]).out.contains("\"full\"") {
        let private = home.run(&["run", "--", "cat", "/proc/net/dev"]);
        assert_eq!(private.out.lines().skip(2).count(), 1, "{private:?}");
    }
}

#[test]
fn failures_hint_at_what_is_missing() {
    let home = Home::new().warm();
    home.write("data.txt", "x");
    let ended = home.run(&["run", "--", "cat", "data.txt"]);
    assert_eq!(ended.code, 1);
    assert!(
        ended.err.ends_with("hint: data.txt exists here but was not sent: add --input data.txt\n"),
        "{ended:?}"
    );
    let quiet = home.run(&["run", "-q", "--", "cat", "data.txt"]);
    assert!(!quiet.err.contains("hint"), "{quiet:?}");
}

#[test]
fn results_are_cached_only_when_asked() {
    let home = Home::new().warm();
    let stamp = |flags: &[&str]| {
        let ended = home.run(&[&["run"], flags, &["--", "date", "+%N"]].concat());
        assert_eq!(ended.code, 0, "{ended:?}");
        ended.out
    };
    assert_ne!(stamp(&[]), stamp(&[]));
    assert_eq!(stamp(&["--cache"]), stamp(&["--cache"]));
    let batch = |flags: &[&str]| {
        home.run(&[&["batch"], flags, &["--", "date +%N; : {}", ":::", "x"]].concat()).out
    };
    assert_ne!(batch(&[]), batch(&[]));
    assert_eq!(batch(&["--cache"]), batch(&["--cache"]));
    let shell =
        |flags: &[&str]| home.run_with(&[&["shell"], flags].concat(), "date +%N; : shell\n").out;
    assert_ne!(shell(&[]), shell(&[]));
    assert_eq!(shell(&["--cache"]), shell(&["--cache"]));
}

#[test]
fn json_holds_result_and_streams() {
    let home = Home::new().warm();
    let ended =
        home.run(&["run", "--json", "--", "sh", "-c", "printf 'a\\377'; echo e >&2; exit 4"]);
    assert_eq!((ended.code, ended.err.as_str()), (4, ""), "{ended:?}");
    let object = &json(&ended.out)[0];
    assert_eq!(object["exit_code"], 4);
    assert_eq!(object["end"], "failed");
    assert_eq!(object["stdout"], "a\u{fffd}");
    assert_eq!(object["stdout_base64"], "Yf8=");
    assert_eq!(object["stderr"], "e\n");
    assert!(object["id"].as_str().unwrap().len() == 26 && object["ran_s"].is_number(), "{object}");
}

#[test]
fn two_commands_share_one_agent() {
    let home = Home::new();
    let children: Vec<_> =
        (0..4).map(|i| home.start(&["run", "--", "echo", &i.to_string()])).collect();
    for (i, child) in children.into_iter().enumerate() {
        let ended = ran(child.wait_with_output().unwrap());
        assert_eq!((ended.code, ended.out), (0, format!("{i}\n")));
    }
    let status = json(&home.run(&["agent", "status", "--json"]).out);
    assert!(status[0]["pid"].as_u64().unwrap() > 1, "{status:?}");
    let workers = json(&home.run(&["workers", "--json"]).out);
    assert_eq!(workers.len(), 1, "{workers:?}");
}

#[test]
fn the_prompt_runs_each_line_by_itself() {
    let home = Home::new().warm();
    let lines = "echo one; echo two >&2\n\n# nothing\nfalse\ncd /\nexit 5\necho never\n";
    let ended = home.run_with(&["shell"], lines);
    assert_eq!((ended.code, ended.out.as_str()), (5, "one\n"), "{ended:?}");
    assert!(ended.err.contains("two\n") && ended.err.contains("exit code 1"), "{ended:?}");
    assert!(ended.err.contains("cd DIR && COMMAND") && !ended.out.contains("never"), "{ended:?}");
    // The last line's code is the prompt's.
    assert_eq!(home.run_with(&["shell"], "exit 0; exit 0\nsh -c 'exit 9'").code, 9);
}
