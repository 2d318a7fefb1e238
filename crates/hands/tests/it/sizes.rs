//! Limits that can't work are refused at once, with the reason.

use std::fs;
use std::time::{Duration, Instant};

use crate::home::{Home, json, names};

#[test]
fn a_size_that_can_hold_nothing_is_refused_at_once() {
    let home = Home::new().warm();
    let list = |line: &str| home.write("list", line).display().to_string();
    let json = list("{\"command\": \"true\", \"memory\": 4}\n");
    let cases: &[(&[&str], &str)] = &[
        (&["run", "--memory", "4", "--", "true"], "4 bytes: did you mean 4G? the least is 4M"),
        (&["run", "--memory", "512", "--", "true"], "512 bytes: did you mean 512M?"),
        (&["batch", "--memory", "1M", "--", "true"], "1048576 bytes: the least is 4M"),
        (&["batch", &json], "column 21: `memory`: 4 bytes: did you mean 4G?"),
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

#[test]
fn outputs_are_counted_before_any_of_them_is_taken_in() {
    let home = Home::new();
    let settings = home.hands_home().join("config/hands.toml");
    fs::create_dir_all(settings.parent().unwrap()).unwrap();
    fs::write(settings, "[store]\nquota = \"64M\"\n").unwrap();
    let home = home.warm();
    let held = || json(&home.run(&["store", "status", "--json"]).out)[0]["bytes"].as_u64().unwrap();
    let before = held();
    // One file without a byte on the disk, and many of which each would have a place.
    let one = "echo ran; echo small > small; truncate -s 25G out";
    let many = "echo ran; echo small > small; mkdir out; cd out; \
                for i in $(seq 100); do truncate -s 1M $i; echo $i >> $i; done";
    for (script, needed) in [(one, "25 GiB are needed"), (many, "100 MiB are needed")] {
        let flags = ["run", "--output", "out", "--output", "small", "--", "sh", "-c", script];
        let refused = home.run(&flags);
        assert_eq!((refused.code, refused.out.as_str()), (125, "ran\n"), "{refused:?}");
        for part in ["nothing of them was taken in", needed, "its quota is 64 MiB in all"] {
            assert!(refused.err.contains(part), "{part}: {refused:?}");
        }
        assert!(names(&home.work()).is_empty(), "nothing has come");
        // What tells of the action itself is small.
        assert!(held() < before + (1 << 20), "{before}: {}", held());
    }
}
