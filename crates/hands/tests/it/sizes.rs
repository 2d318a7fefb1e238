//! Limits that can't work are refused at once, with the reason.

use std::time::{Duration, Instant};

use crate::home::Home;

#[test]
fn a_size_that_can_hold_nothing_is_refused_at_once() {
    let home = Home::new().warm();
    let list = |line: &str| home.write("list", line).display().to_string();
    let json = list("{\"command\": \"true\", \"memory\": 4}\n");
    let cases: &[(&[&str], &str)] = &[
        (&["run", "--memory", "4", "--", "true"], "4 bytes: did you mean 4G? the least is 4M"),
        (&["run", "--memory", "512", "--", "true"], "512 bytes: did you mean 512M?"),
        (&["batch", "--memory", "1M", "--", "true"], "1048576 bytes: the least is 4M"),
        (&["batch", &json], "4 bytes: did you mean 4G?"),
        // What other clients send goes by the same bound, at the hub.
        (&["run", "--prop", "memory=4", "--", "true"], "platform property memory=4: expected"),
        (&["run", "--prop", "memory=3M", "--", "true"], "at least 4M"),
        (&["run", "--timeout", "0", "--", "true"], "longer than no time"),
        (&["run", "--cpu", "0", "--", "true"], "must be more than 0"),
        (&["worker", "--memory", "8", "unix:none"], "did you mean 8G?"),
        (&["hub", "--quota", "50"], "did you mean 50G?"),
    ];
    for (arguments, said) in cases {
        let began = Instant::now();
        let ended = home.run(arguments);
        assert!(matches!(ended.code, 125 | 2), "{arguments:?}: {ended:?}");
        assert!(ended.err.contains(said), "{arguments:?}: {ended:?}");
        assert!(began.elapsed() < Duration::from_secs(5), "{arguments:?} was tried again");
    }
    for (setting, said) in [
        ("memory = 4", "run.memory must be a size"),
        ("timeout = 0", "run.timeout must be a"),
        ("timeout = \"8d\"", "at most \"7d\""),
        ("cpu = 0", "run.cpu must be"),
    ] {
        home.write("hands.toml", &format!("[run]\n{setting}\n"));
        let ended = home.run(&["run", "--", "true"]);
        assert!(ended.code == 125 && ended.err.contains(said), "{setting}: {ended:?}");
    }
    let zero = list("{\"command\": \"true\", \"timeout\": 0}\n");
    std::fs::remove_file(home.work().join("hands.toml")).unwrap();
    let ended = home.run(&["batch", &zero]);
    assert!(ended.err.contains("from 0.001 to 604800"), "{ended:?}");
    // An estimate of another client's is not a bound that it chose; the least itself works.
    for property in ["EstimatedMemory=1", "memory_kb=1", "memory=4M"] {
        let ended = home.run(&["run", "--prop", property, "--", "true"]);
        assert_eq!((ended.code, ended.err.as_str()), (0, ""), "{property}");
    }
}
