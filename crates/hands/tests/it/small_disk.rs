//! Disks that fill up where people and agents write: outputs, job logs, and the agent's own home with its log.

use crate::home::{HANDS, Home, Ran, ran};

/// Runs a script in a mount namespace of its own; none where this machine allows no mounts.
fn script(home: &Home, text: &str) -> Option<Ran> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let mut command = home.program("unshare");
    command.args(["--mount", "sh", "-c", text]).env("HANDS", HANDS);
    Some(ran(command.output().unwrap()))
}

#[test]
fn outputs_that_find_no_room_are_named_and_can_be_fetched_later() {
    let home = Home::new().warm();
    std::fs::create_dir(home.work().join("small")).unwrap();
    let text = r#"
        mount -t tmpfs -o size=64k small small || exit 98
        cd small
        "$HANDS" run --output a --output big -- sh -c 'echo a >a; head -c 500000 /dev/zero >big'; echo code $?
        ls -A big .hands* 2>/dev/null
        mount -o remount,size=1m .
        "$HANDS" fetch "$("$HANDS" ps -a | sed -n 2s/\ .*//p)"; echo code $?
        wc -c <big; ls -A
    "#;
    let Some(ended) = script(&home, text) else {
        eprintln!("SKIPPED: only root can mount a small disk here");
        return;
    };
    assert_eq!(ended.out, "code 125\na\nbig\ncode 0\n500000\na\nbig\n", "{ended:?}");
    let lines: Vec<&str> = ended.err.lines().collect();
    assert_eq!(
        lines[0],
        "error: its outputs can't be had: the output `big` can't be written: No space left on device (os error 28)"
    );
    assert!(lines[1..].iter().all(|l| l.starts_with("hint: ")), "{ended:?}");
    assert!(lines.last().unwrap().contains("hands fetch"), "{ended:?}");
    assert_eq!(home.run(&["run", "--", "true"]).code, 0);
}

#[test]
fn a_job_log_that_finds_no_room_stops_the_batch_which_goes_on_later() {
    let home = Home::new().warm();
    std::fs::create_dir(home.work().join("small")).unwrap();
    let list: String = (0..200).map(|i| format!("echo {i}; : {}\n", "x".repeat(1000))).collect();
    home.write("list", &list);
    let text = r#"
        mount -t tmpfs -o size=64k small small || exit 98
        "$HANDS" batch --joblog small/log list >first; echo code $?
        "$HANDS" ps
        mount -o remount,size=1m small
        "$HANDS" batch --joblog small/log --resume list >second; echo code $?
        cut -f1 small/log | sort -n | uniq | wc -l; wc -l <small/log
    "#;
    let Some(ended) = script(&home, text) else {
        eprintln!("SKIPPED: only root can mount a small disk here");
        return;
    };
    assert_eq!(ended.out, "code 125\ncode 0\n201\n201\n", "{ended:?}");
    assert_eq!(ended.err, "error: can't write small/log: No space left on device (os error 28)\n");
    // What the log did not take was run again, and nothing else.
    let (first, second) = (home.read("first").lines().count(), home.read("second").lines().count());
    assert!((200..=201).contains(&(first + second)), "{first} and {second}");
}

#[test]
fn an_agent_whose_disk_fills_up_stays_and_serves_again() {
    let home = Home::new();
    std::fs::create_dir(home.hands_home()).unwrap();
    let text = r#"
        mount -t tmpfs -o size=3g home "$HANDS_HOME" || exit 98
        "$HANDS" run -q -- true || exit 97
        mkfifo in out; pid=$("$HANDS" agent status | sed -n 1p)
        "$HANDS" run -i -- sh -c 'echo begun; read line; exit 3' <in >out 2>running & running=$!
        exec 3>in 4<out; read begun <&4; echo $begun
        used=$(df -k "$HANDS_HOME" | tail -1 | awk '{ print $3 }')
        mount -o remount,size=$((used + 64))k "$HANDS_HOME"
        dd if=/dev/zero of="$HANDS_HOME/filler" bs=4k 2>/dev/null
        for i in 1 2 3; do "$HANDS" run -- true; echo code $?; done
        rm "$HANDS_HOME/filler"; mount -o remount,size=3g "$HANDS_HOME"
        # Not before: an end that finds no room for its output is an error, once the store has looked at its disk anew.
        echo go >&3
        wait $running; echo code $?
        "$HANDS" run -- echo again; echo code $?
        test "$pid" = "$("$HANDS" agent status | sed -n 1p)" && echo same
        "$HANDS" agent stop --force
    "#;
    let Some(ended) = script(&home, text) else {
        eprintln!("SKIPPED: only root can mount a small disk here");
        return;
    };
    let expected = "begun\ncode 125\ncode 125\ncode 125\ncode 3\nagain\ncode 0\nsame\n";
    assert_eq!(ended.out, expected, "{ended:?} {}", home.read("running"));
    let lines: Vec<&str> = ended.err.lines().collect();
    assert_eq!(lines.len(), 3, "{ended:?}");
    assert!(lines.iter().all(|l| l.starts_with("error: ") && l.contains(" full")), "{ended:?}");
}
