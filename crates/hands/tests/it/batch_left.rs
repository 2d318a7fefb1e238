//! A batch that is ended before its end says what became of each command, and which outputs are not all here.

use std::io::{BufRead, BufReader};

use rustix::process::{Signal, kill_process};

use crate::home::{Home, json, names, ran, signal};

#[test]
fn what_a_signal_cancels_is_counted() {
    let home = Home::new().warm();
    for json in [&[][..], &["--json"]] {
        let words = ["batch", "--jobs", "3", "--", "echo {}; exec sleep {}", ":::"];
        let list = [&words[..1], json, &words[1..], &["0", "1000", "1001", "1002"]].concat();
        let mut batch = home.start(&list);
        let mut line = String::new();
        BufReader::new(batch.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        signal(&batch, Signal::INT);
        let ended = ran(batch.wait_with_output().unwrap());
        assert_eq!(ended.code, 130, "{ended:?}");
        let lines: Vec<&str> = ended.err.lines().collect();
        assert_eq!(lines.len(), 1, "{ended:?}");
        // The one that ended made room for the fourth, which may have been too late.
        let counted = ["3 cancelled of 4 commands, ", "2 cancelled, 1 not begun of 4 commands, "];
        let told = lines[0].strip_prefix("hands: 1 succeeded, ").unwrap_or_default();
        assert!(counted.iter().any(|counted| told.starts_with(counted)), "{ended:?}");
    }
    assert_eq!(home.run(&["ps"]).out, "", "what is said to be cancelled is");
}

#[test]
fn outputs_that_are_half_here_are_named() {
    let home = Home::new().warm();
    let write = "head -c 400M /dev/zero >{}";
    let mut batch = home.start(&["batch", "-o", "large", "--", write, ":::", "large"]);
    while !names(&home.work()).iter().any(|name| name.starts_with(".hands-")) {
        assert_eq!(batch.try_wait().unwrap(), None);
        std::thread::yield_now();
    }
    // Nothing more comes: it can't be done before it hears the signal.
    let agent = home.agent();
    kill_process(agent, Signal::STOP).unwrap();
    signal(&batch, Signal::INT);
    let ended = ran(batch.wait_with_output().unwrap());
    kill_process(agent, Signal::CONT).unwrap();
    assert_eq!((ended.code, names(&home.work()).len()), (130, 0), "{ended:?}");
    let id = json(&home.run(&["ps", "-a", "--json"]).out)
        .into_iter()
        .find(|job| job["mnemonic"] == "batch")
        .unwrap()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let told = format!(
        "hands: command 1 (head -c 400M /dev/zero >large): not all of its outputs are here; `hands fetch {id}` brings them once more\n"
    );
    assert!(ended.err.contains(&told), "{ended:?}");
    assert!(ended.err.contains("0 succeeded, 1 ended and not fetched of 1 command, "), "{ended:?}");
    assert_eq!(home.run(&["fetch", &id]).code, 0);
    assert_eq!(std::fs::metadata(home.work().join("large")).unwrap().len(), 400 << 20);
}

#[test]
fn a_list_of_nothing_says_so_in_a_line() {
    let home = Home::new().warm();
    home.write("empty", "\n# not yet\n");
    for (words, why) in [
        (&["batch", "-"][..], "standard input holds no command"),
        (&["batch", "empty"], "empty holds no command"),
        (&["batch", "--", "echo {}"], "standard input holds no argument"),
        (&["batch", "--", "echo {}", ":::"], "no argument stands after `:::`"),
    ] {
        let ended = home.run_with(words, "");
        let told = format!("hands: nothing to run: {why}\n");
        assert_eq!((ended.code, ended.err, ended.out.as_str()), (0, told, ""), "{words:?}");
    }
    assert_eq!(home.run(&["batch", "-q", "empty"]).err, "");
}
