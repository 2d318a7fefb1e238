//! `hands shell`: lines that come faster than they run.

use crate::home::Home;
use crate::terminal::Terminal;

#[test]
fn lines_that_were_pasted_or_typed_ahead_all_run_in_order() {
    let home = Home::new().warm();
    let mut shell = Terminal::sized(&home, &["shell"], 30, 100, &[]);
    shell.sees("hands> ");
    shell.types("echo a$((1+1))\recho b$((1+1))\r\recho c$((1+1))\r");
    for answer in ["a2", "b2", "c2"] {
        shell.sees(answer);
    }
    shell.sees("hands> ");
    // While a command runs.
    shell.types("echo sl''eeps; sleep 1; echo d$((1+1))\r");
    shell.sees("sleeps");
    shell.types("echo e$((1+1))\recho f$((1+1))\r");
    for answer in ["d2", "e2", "f2"] {
        shell.sees(answer);
    }
    // A terminal that marks what is pasted: the person looks at it first, and it is one script.
    shell.sees("hands> ");
    shell.types("\x1b[200~# a note\recho g$((1+1)); x=7\recho h$((x+1))\x1b[201~");
    shell.types("\r");
    shell.sees("g2");
    shell.sees("h8");
    shell.sees("hands> ");
    shell.types("exit 4\r");
    assert_eq!(shell.ends(), Some(4));
}

#[test]
fn lines_from_a_pipe_all_run_in_order() {
    let home = Home::new().warm();
    let ended =
        home.run_with(&["shell"], "echo one\n\n# two\necho three >&2; echo three\nexit 5\nno\n");
    assert_eq!(
        (ended.code, ended.out.as_str(), ended.err.as_str()),
        (5, "one\nthree\n", "three\n")
    );
    let last = home.run_with(&["shell"], "echo without an end; exit 3");
    assert_eq!((last.code, last.out.as_str()), (3, "without an end\n"));
}
