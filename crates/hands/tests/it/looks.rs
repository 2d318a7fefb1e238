//! How the lists look: on a narrow terminal, in a pipe, without colour, as JSON.

use crate::home::{Home, json, ran};
use crate::terminal::Terminal;

#[test]
fn lists_fit_the_screen_and_are_whole_in_a_pipe() {
    let home = Home::new().warm();
    let long = "a rather long argument that no screen of eighty columns has room for, and more";
    let id = home.run(&["run", "-d", "--", "echo", long]).out.trim().to_owned();
    assert_eq!(home.run(&["wait", &id]).code, 0);
    let piped = home.run(&["ps", "-a"]);
    assert!(piped.out.contains(long) && !piped.out.contains('\x1b'), "{piped:?}");
    for command in [&["ps", "-a"][..], &["workers"], &["doctor"], &["agent", "status"]] {
        let mut screen = Terminal::sized(&home, command, 24, 80, &[]);
        let seen = screen.rest();
        assert_eq!(screen.ends(), Some(0), "{seen}");
        // Paths and figures are never cut; what gives way is a command.
        let wide = seen.lines().map(plain).filter(|l| l.chars().count() > 80 && !l.contains('/'));
        assert_eq!(wide.count(), 0, "{seen}");
    }
    let mut coloured = Terminal::sized(&home, &["ps", "-a"], 24, 80, &[]);
    let seen = coloured.rest();
    assert!(seen.contains("\x1b[1m") && seen.contains('…'), "{seen:?}");
    assert_eq!(coloured.ends(), Some(0));
    let mut plain = Terminal::sized(&home, &["ps", "-a"], 24, 80, &[("NO_COLOR", "1")]);
    assert!(!plain.rest().contains("\x1b["));
    assert_eq!(plain.ends(), Some(0));
    let mut forced = home.hands(&["ps", "-a", "--color", "always"]);
    assert!(ran(forced.output().unwrap()).out.contains("\x1b[1m"));
}

/// A line of a terminal without its colours and its end.
fn plain(line: &str) -> String {
    line.trim_end_matches('\r').replace("\x1b[1m", "").replace("\x1b[0m", "")
}

#[test]
fn everything_that_lists_or_reports_speaks_json() {
    let home = Home::new().warm();
    let command = "echo out; echo err >&2; echo data >o";
    let id = home.run(&["run", "-d", "-o", "o", "--", "sh", "-c", command]).out.trim().to_owned();
    let of = |arguments: &[&str]| {
        let ended = home.run(arguments);
        assert_eq!(ended.code, 0, "{arguments:?}: {ended:?}");
        let objects = json(&ended.out);
        assert!(
            !objects.is_empty() && objects.iter().all(serde_json::Value::is_object),
            "{objects:?}"
        );
        objects
    };
    assert_eq!(of(&["wait", "--json", &id])[0]["exit_code"], 0);
    assert_eq!(of(&["status", "--json", &id])[0]["state"], "done");
    let logs = of(&["logs", "--json", &id]);
    let has =
        |stream: &str, data: &str| logs.iter().any(|l| l["stream"] == stream && l["data"] == data);
    assert!(has("stdout", "out\n") && has("stderr", "err\n"), "{logs:?}");
    assert_eq!(of(&["fetch", "--json", &id])[0]["path"], "o");
    assert_eq!(home.read("o"), "data\n");
    assert_eq!(of(&["ps", "-a", "--json"])[0]["id"], id.as_str());
    assert_eq!(of(&["workers", "--json"])[0]["busy"], 0);
    assert!(of(&["agent", "status", "--json"])[0]["pid"].is_number());
    assert!(of(&["doctor", "--json"]).iter().all(|c| c["check"].is_string()));
    assert!(of(&["run", "--detach", "--json", "--", "true"])[0]["id"].is_string());
    let elsewhere = home.work().join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    assert_eq!(of(&["fetch", "--json", "-C", "elsewhere", &id])[0]["bytes"], 5);
    assert_eq!(home.read("elsewhere/o"), "data\n");
}
