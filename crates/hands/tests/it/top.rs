//! `hands top`, on a real terminal and without one.

use rustix::process::Signal;

use crate::home::Home;
use crate::terminal::Terminal;

/// Something that runs until it is told to end, something that waits and something that failed.
fn busy(home: &Home) {
    assert_eq!(home.run(&["batch", "--", "exit {}", ":::", "0", "9"]).code, 1);
    let sleep = ["run", "--detach", "--", "sh", "-c", "echo sleeper; exec sleep 1000"];
    assert_eq!(home.run(&sleep).code, 0);
    let never =
        ["run", "--detach", "--tag", "no-such-tag", "--queue-timeout", "1h", "--", "echo", "never"];
    assert_eq!(home.run(&never).code, 0);
    while !home.run(&["ps", "--json"]).out.contains("\"running\"") {}
}

#[test]
fn a_pipe_gets_one_snapshot() {
    let home = Home::new().warm();
    busy(&home);
    let top = home.run(&["top"]);
    assert_eq!((top.code, top.err.as_str()), (0, ""), "{top:?}");
    assert!(!top.out.contains('\x1b'), "{}", top.out);
    let line = |wanted: &str| {
        let found = top.out.lines().find(|line| line.contains(wanted));
        found.unwrap_or_else(|| panic!("{wanted:?} is not in\n{}", top.out)).to_owned()
    };
    assert!(line("sleeper").contains("running"), "{}", top.out);
    let never = line("echo never");
    assert!(never.contains("queued") && never.contains("needs tag=no-such-tag"), "{}", top.out);
    assert!(line("exit 9").contains("exit 9  "), "{}", top.out);
    assert!(line("hands batch").contains("[##########] 2/2"), "{}", top.out);
    assert!(line("slots [").contains("queued 1  running 1"), "{}", top.out);
}

#[test]
fn a_terminal_of_80_by_24_is_live_and_given_back() {
    let home = Home::new().warm();
    busy(&home);
    let mut terminal = Terminal::sized(&home, &["top"], 24, 80, &[]);
    terminal.sees("\x1b[?1049h");
    terminal.sees("the agent");
    terminal.sees("sleeper");
    terminal.sees("q quits");
    assert!(terminal.is_raw());
    // What happens meanwhile comes by itself.
    assert_eq!(home.run(&["run", "--", "sh", "-c", "exit 77"]).code, 77);
    terminal.sees("77");
    // A new size is a new picture, an arrow is nothing.
    terminal.types("\x1b[A");
    terminal.resize(40, 100);
    terminal.sees("\x1b[2J");
    terminal.sees("\x1b[40;1H");
    terminal.types("q");
    terminal.sees("\x1b[?25h\x1b[?1049l");
    assert_eq!(terminal.ends(), Some(0));
}

#[test]
fn signals_and_panics_give_the_terminal_back() {
    let home = Home::new().warm();
    for (signal, code, last) in [
        (Signal::TERM, 143, "\x1b[?1049l"),
        // Asks for a panic of ours.
        (Signal::USR1, 70, "\x1b[?1049lerror: this is a bug in hands"),
    ] {
        let mut terminal = Terminal::sized(&home, &["top"], 24, 80, &[("NO_COLOR", "1")]);
        terminal.sees("q quits");
        assert!(terminal.is_raw());
        terminal.signal(signal);
        terminal.sees(last);
        assert_eq!(terminal.ends(), Some(code));
    }
}
