//! An action whose worker is lost runs again: what the second attempt writes is never put behind what the first one wrote.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout};

use crate::home::{Ran, json, ran};
use crate::killable::Cluster;
use crate::marks::Marks;
use crate::terminal::Terminal;

/// What only the second worker shows to its actions: on the first one they wait for ever.
const SECOND: &str = "/var/lib";

/// Prints a value twice, the second time on the second worker only.
fn twice(marks: &Marks, word: &str, value: &str, to: &str) -> String {
    format!(
        "r={value}; printf 'began\\n%s\\n' $r {to}; {}; ls -d {SECOND}/* >/dev/null 2>&1 || exec sleep 1000; echo $r {to}",
        marks.say(word)
    )
}

/// Another value in each attempt.
const RANDOM: &str = "$(od -An -N16 -tx1 /dev/urandom | tr -d ' \\n')";

/// A front-end that has shown the first two lines.
struct Shown {
    child: Child,
    out: BufReader<ChildStdout>,
    text: String,
}

impl Shown {
    fn start(cluster: &Cluster, arguments: &[&str]) -> Self {
        let all = [&["--cluster", &cluster.socket], arguments].concat();
        let mut child = cluster.home.start(&all);
        let out = BufReader::new(child.stdout.take().unwrap());
        Self { child, out, text: String::new() }
    }

    fn two_lines(mut self) -> Self {
        for _ in 0..2 {
            self.out.read_line(&mut self.text).unwrap();
        }
        self
    }

    fn rest(mut self) -> Ran {
        self.out.read_to_string(&mut self.text).unwrap();
        Ran { out: self.text, ..ran(self.child.wait_with_output().unwrap()) }
    }
}

/// Whether it is what one attempt writes, from the first byte to the last.
fn is_whole(text: &str) -> bool {
    let lines: Vec<&str> = text.lines().collect();
    matches!(lines[..], ["began", first, second] if first == second && text.ends_with('\n'))
}

fn is_told(ended: &Ran) {
    let told = "attempt 1 was lost with its worker lost";
    assert_eq!(ended.err.matches(told).count(), 1, "{ended:?}");
}

#[test]
fn a_stream_is_of_one_attempt_from_its_first_byte_to_its_last() {
    let Some(mut marks) = Marks::new() else { return };
    let cluster = Cluster::start();
    let [expose, directory] = marks.flags();
    let first = cluster.worker("lost", &[&expose, &directory, "--slots", "16"]);
    let random = twice(&marks, "ran", RANDOM, "");
    let same = twice(&marks, "ran", "same", "");
    let errors = twice(&marks, "ran", RANDOM, ">&2");
    let shell = |command: &str| vec!["sh".to_owned(), "-c".to_owned(), command.to_owned()];
    let run = |flags: &[&str], command: &str| {
        let mut arguments: Vec<String> = flags.iter().map(|&f| f.to_owned()).collect();
        arguments.push("--".to_owned());
        arguments.extend(shell(command));
        Shown::start(&cluster, &arguments.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let piped = run(&["run"], &random).two_lines();
    let equal = run(&["-q", "run"], &same).two_lines();
    let never = run(&["run", "--retry", "0"], &random).two_lines();
    let mut fed = run(&["run", "-i", "--retry", "1"], &format!("read line; {random}"));
    std::io::Write::write_all(fed.child.stdin.as_mut().unwrap(), b"typed\n").unwrap();
    let fed = fed.two_lines();
    let on_stderr = run(&["run"], &errors);
    let in_json = run(&["run", "--json"], &random);
    let list = format!("{random}\n{random}\n");
    cluster.home.write("list", &list);
    let batch = Shown::start(&cluster, &["batch", "list"]);
    let mut typed = Shown::start(&cluster, &["shell"]);
    let mut keys = typed.child.stdin.take().unwrap();
    std::io::Write::write_all(&mut keys, format!("{random}\n").as_bytes()).unwrap();
    drop(keys);
    let typed = typed.two_lines();
    let id = cluster.detached(&["sh", "-c", &random]);
    let logs = Shown::start(&cluster, &["logs", "-f", &id]).two_lines();
    let attached = Shown::start(&cluster, &["attach", &id]).two_lines();
    let mut lines = Shown::start(&cluster, &["logs", "-f", "--json", &id]);
    lines.out.read_line(&mut lines.text).unwrap();
    let wait = Shown::start(&cluster, &["wait", &id]);
    let arguments = ["--cluster", &cluster.socket, "run", "--", "sh", "-c", &random];
    let mut terminal = Terminal::sized(&cluster.home, &arguments, 30, 200, &[]);
    terminal.sees("began");
    marks.wait_for(11);
    drop(first);
    let _second =
        cluster.worker("other", &["--expose", SECOND, &expose, &directory, "--slots", "16"]);

    for (ended, code) in [(piped.rest(), 125), (logs.rest(), 3), (attached.rest(), 125)] {
        assert_eq!((ended.code, ended.out.lines().count()), (code, 2), "{ended:?}");
        is_told(&ended);
        assert!(ended.err.contains("attempt 2"), "{ended:?}");
    }
    let ended = typed.rest();
    assert!(ended.code != 0 && ended.out.lines().count() == 2, "{ended:?}");
    is_told(&ended);
    let ended = equal.rest();
    assert_eq!((ended.code, ended.out.as_str()), (0, "began\nsame\nsame\n"), "{ended:?}");
    is_told(&ended);
    let ended = never.rest();
    assert_eq!((ended.code, ended.out.lines().count()), (125, 2), "{ended:?}");
    assert!(
        ended.err.contains("attempt 1 was lost with its worker lost")
            && ended.err.contains("--retry 0"),
        "{ended:?}"
    );
    let ended = fed.rest();
    assert_eq!((ended.code, ended.out.lines().count()), (125, 2), "{ended:?}");
    assert!(ended.err.contains("standard input"), "{ended:?}");
    let ended = on_stderr.rest();
    assert_eq!((ended.code, ended.err.matches("began").count()), (125, 1), "{ended:?}");
    let ended = in_json.rest();
    assert_eq!(ended.code, 0, "{ended:?}");
    let object = json(&ended.out).remove(0);
    assert!(is_whole(object["stdout"].as_str().unwrap()), "{object}");
    assert_eq!(object["lost"][0]["worker"], "lost", "{object}");
    is_told(&ended);
    let ended = batch.rest();
    assert_eq!(ended.code, 0, "{ended:?}");
    let parts: Vec<&str> = ended.out.split_inclusive("began\n").collect();
    assert_eq!((parts.len(), ended.out.lines().count()), (3, 6), "{ended:?}");
    for lines in ended.out.lines().collect::<Vec<_>>().chunks(3) {
        assert!(is_whole(&format!("{}\n", lines.join("\n"))), "{ended:?}");
    }
    assert_eq!(ended.err.matches("was lost with its worker lost").count(), 2, "{ended:?}");
    let ended = wait.rest();
    assert_eq!(ended.code, 0, "{ended:?}");
    is_told(&ended);
    let after = cluster.hands(&["logs", &id]);
    assert!(after.code == 0 && is_whole(&after.out), "{after:?}");
    is_told(&after);
    let ended = lines.rest();
    assert_eq!(ended.code, 0, "{ended:?}");
    let of_second: String = json(&ended.out)
        .iter()
        .filter(|line| line["attempt"] == 2)
        .filter_map(|line| line["data"].as_str())
        .collect();
    assert!(is_whole(&of_second), "{ended:?}");
    let seen = terminal.rest().replace('\r', "");
    let told = seen.find("attempt 1 was lost with its worker lost").expect(&seen);
    let anew = seen[told..].split_once('\n').unwrap().1;
    let shown: String = anew.split_inclusive('\n').take(3).collect();
    assert!(is_whole(&shown), "{seen}");
}

#[test]
fn an_execution_that_its_hub_has_forgotten_is_not_spliced_with_the_next() {
    let mut cluster = Cluster::start();
    let _worker = cluster.worker("worker", &[]);
    let script = format!("echo began; echo {RANDOM}; exec sleep 1000");
    let shown = Shown::start(&cluster, &["run", "--", "sh", "-c", &script]).two_lines();
    cluster.kill_hub();
    std::fs::remove_dir_all(cluster.hub_state()).unwrap();
    cluster.start_hub();
    // The new execution's first attempt has the number of the one that was shown.
    let ended = shown.rest();
    assert_eq!((ended.code, ended.out.lines().count()), (125, 2), "{ended:?}");
    assert!(ended.err.contains("does not know the action any more"), "{ended:?}");
    assert!(ended.err.contains("the second one writes something else"), "{ended:?}");
}
