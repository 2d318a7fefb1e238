//! `hands batch` as GNU parallel's users know it.

use std::collections::BTreeSet;
use std::process::Stdio;

use crate::home::{Home, json, ran};

/// The same command lines, as GNU parallel 20221122 answers them.
#[test]
fn replacement_strings_give_what_gnu_parallel_gives() {
    let home = Home::new().warm();
    let values = [".x", "d/.x", "a.b/c", "/r", "d/e.tar.gz", "sp ace"];
    let template = ["batch", "--jobs", "1", "--", "echo '{} {.} {/} {//} {/.} {#}'", ":::"];
    let ended = home.run(&[&template[..], &values].concat());
    assert_eq!((ended.code, ended.err.as_str()), (0, ""), "{ended:?}");
    let expected = ".x  .x .  1\nd/.x d/ .x d  2\na.b/c a.b/c c a.b c 3\n/r /r r / r 4\n\
                    d/e.tar.gz d/e.tar e.tar.gz d e.tar 5\nsp ace sp ace sp ace . sp ace 6\n";
    assert_eq!(ended.out, expected);
    let pairs =
        ["batch", "-j1", "--", "echo", "{1}", "{2}", "{1.}", ":::", "a.c", "b.c", ":::", "x", "y"];
    assert_eq!(home.run(&pairs).out, "a.c x a\na.c y a\nb.c x b\nb.c y b\n");
    let appended = home.run(&["batch", "-j1", "--", "echo", "n", ":::", "a b", "c"]);
    assert_eq!(appended.out, "n a b\nn c\n");
    let shell =
        home.run(&["batch", "--", "printf", "%s.", "{}", "|", "tr", "a-z", "A-Z", ":::", "it's"]);
    assert_eq!(shell.out, "IT'S.", "{shell:?}");
    let forgotten = home.run(&["batch", "echo", "{}", ":::", "a"]);
    assert_eq!(forgotten.code, 125);
    assert!(forgotten.err.contains("hands batch -- echo '{}' ::: a"), "{forgotten:?}");
}

#[test]
fn a_job_log_tells_signals_as_gnu_parallel_does() {
    let home = Home::new().warm();
    home.write("list", "kill -9 $$\nexit 3\nkill -TERM $$\ntrue\n");
    let ended = home.run(&["batch", "-j1", "--joblog", "log", "list"]);
    assert_eq!(ended.code, 1, "{ended:?}");
    let log = home.read("log");
    let ends: Vec<String> = log
        .lines()
        .skip(1)
        .map(|line| line.split('\t').collect::<Vec<_>>()[6..].join(" "))
        .collect();
    assert_eq!(ends, ["0 9 kill -9 $$", "3 0 exit 3", "0 15 kill -TERM $$", "0 0 true"]);
    // A death by signal is a failure to whoever resumes, too, and no reason to run it again.
    let resumed = home.run(&["batch", "--joblog", "log", "--resume", "list"]);
    assert_eq!((resumed.code, resumed.out.as_str()), (1, ""), "{resumed:?}");
    assert_eq!(home.read("log"), log);
}

#[test]
fn codes_say_whether_any_failed_or_was_not_run() {
    let home = Home::new().warm();
    let good = "{\"argv\": [\"true\"]}\n";
    let failed = "{\"argv\": [\"false\"]}\n";
    let not_run = "{\"id\": \"n\", \"argv\": [\"true\"], \"input\": \"absent\"}\n";
    assert_eq!(home.run_with(&["batch", "-"], good).code, 0);
    assert_eq!(home.run_with(&["batch", "-"], &[good, failed].concat()).code, 1);
    let ended = home.run_with(&["batch", "--json", "-"], &[good, failed, not_run].concat());
    assert_eq!(ended.code, 125, "{ended:?}");
    let results = json(&ended.out);
    let end = |number: u64| &results.iter().find(|r| r["number"] == number).unwrap()["end"];
    assert_eq!(
        (end(1), end(2), end(3)),
        (&"succeeded".into(), &"failed".into(), &"not-run".into())
    );
    assert!(results.iter().all(|r| r["command"].is_string() && r["exit_code"].is_number()));
}

#[test]
fn no_more_than_asked_for_run_at_once_and_the_rest_go_on_or_not() {
    let home = Home::new().warm();
    // One after the other is in order; more at once end as they end.
    let ordered =
        home.run(&["batch", "--jobs", "1", "--", "echo", "{}", ":::", "1", "2", "3", "4", "5"]);
    assert_eq!(ordered.out, "1\n2\n3\n4\n5\n");
    home.write("list", "echo a\nfalse\necho b\n");
    let going = home.run(&["batch", "-j1", "--keep-going", "list"]);
    assert_eq!((going.code, going.out.as_str()), (1, "a\nb\n"), "{going:?}");
    let fast = home.run(&["batch", "-j1", "--fail-fast", "list"]);
    assert_eq!((fast.code, fast.out.as_str()), (1, "a\n"), "{fast:?}");
    assert!(fast.err.contains("1 command not run to the end, because of --fail-fast"), "{fast:?}");
    let told = home.run(&["batch", "--json", "-j1", "--fail-fast", "list"]);
    assert_eq!(json(&told.out).len(), 2, "the one that failed has a line: {told:?}");
    // Of many that never end, two are with the cluster at any time.
    let mut endless = home.start(&["batch", "-j2", "--", "sleep", "1{}", ":::", "01", "02", "03"]);
    let under_way = || json(&home.run(&["ps", "--json"]).out).len();
    while under_way() < 2 {}
    // Were there more, they would be there when this is.
    let after = home.run(&["run", "-d", "--", "sleep", "100"]).out;
    assert_eq!(under_way(), 3);
    crate::home::signal(&endless, rustix::process::Signal::INT);
    assert_eq!(endless.wait().unwrap().code(), Some(130));
    assert_eq!(home.run(&["cancel", after.trim()]).code, 0);
    let both = home.run(&["batch", "--keep-going", "--fail-fast", "list"]);
    assert_eq!(both.code, 125, "{both:?}");
}

#[test]
fn lines_stay_whole_on_both_streams_and_there_is_no_bar_in_a_pipe() {
    let home = Home::new().warm();
    let list: String = (0..60)
        .map(|i| format!("printf 'o{i} '; printf 'e{i} ' >&2; echo {i}; echo {i} >&2; printf tail{i}; printf etail{i} >&2\n"))
        .collect();
    let ended = home.run_with(&["batch", "-"], &list);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(!ended.err.contains('\r') && !ended.err.contains("running"), "{ended:?}");
    let whole = |text: &str, first: &str, last: &str| {
        let lines: BTreeSet<&str> = text.lines().collect();
        (0..60).all(|i| {
            lines.contains(format!("{first}{i} {i}").as_str())
                && lines.contains(format!("{last}{i}").as_str())
        }) && lines.len() == 120
    };
    assert!(whole(&ended.out, "o", "tail"), "{}", ended.out);
    assert!(whole(&ended.err, "e", "etail"), "{}", ended.err);
}

#[test]
fn a_batch_ends_in_silence_when_nobody_reads_it() {
    let home = Home::new().warm();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = home.hands(&["batch", "--", "echo", "{}", ":::", "a", "b"]);
    let ended = ran(command.stdout(Stdio::from(writer)).output().unwrap());
    // As a program that met SIGPIPE: some of what it had to say was not taken.
    assert_eq!((ended.code, ended.err.as_str()), (141, ""), "{ended:?}");
}

#[test]
fn each_command_brings_its_own_outputs_and_settings() {
    let home = Home::new().warm();
    home.write("src/a", "A\n");
    home.write("src/b", "B\n");
    let copied = home.run(&[
        "batch",
        "--input",
        "src",
        "--output",
        "out/*",
        "--",
        "cp {} out/{/}.copy",
        ":::",
        "src/a",
        "src/b",
    ]);
    assert_eq!((copied.code, copied.err.as_str()), (0, ""), "{copied:?}");
    assert_eq!((home.read("out/a.copy"), home.read("out/b.copy")), ("A\n".into(), "B\n".into()));
    // What stands for an argument does so in the paths of its own command alone.
    let own = ["--input", "{}", "--output", "{.}.out", "--", "cp {} {.}.out; ls -A src", ":::"];
    let ended = home.run(&[&["batch", "--jobs", "1"], &own[..], &["src/a", "src/b"]].concat());
    assert_eq!((ended.code, ended.out.as_str()), (0, "a\na.out\nb\nb.out\n"), "{ended:?}");
    assert_eq!((home.read("src/a.out"), home.read("src/b.out")), ("A\n".into(), "B\n".into()));
    let list = home.run_with(&["batch", "--output", "{}.o", "-"], "true\n");
    assert_eq!(list.code, 125);
    assert!(list.err.contains("--output {}.o: a list of commands has no arguments"), "{list:?}");
    let objects = "{\"command\": \"sleep 100\", \"timeout\": 0.2}\n{\"command\": \"echo $K\", \"env\": {\"K\": \"v\"}}\n\
                   {\"argv\": [\"echo\", \"tagged\"], \"tag\": \"absent\"}\n";
    let ended = home.run_with(&["batch", "--json", "--queue-timeout", "1s", "-"], objects);
    let results = json(&ended.out);
    let of = |number: u64| results.iter().find(|r| r["number"] == number).unwrap();
    assert_eq!((ended.code, &of(1)["exit_code"]), (125, &137.into()), "{results:?}");
    assert_eq!(of(2)["stdout"], "v\n");
    assert!(of(3)["message"].as_str().unwrap().contains("absent"), "{results:?}");
}
