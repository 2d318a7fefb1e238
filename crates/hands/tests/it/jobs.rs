//! The way back to what was detached, and the lists.

use crate::home::{Home, json};

#[test]
fn a_detached_action_is_found_waited_for_and_fetched() {
    let home = Home::new().warm();
    let command = "echo out; echo err >&2; echo data >file; exit 6";
    let started = home.run(&["run", "--detach", "--output", "file", "--", "sh", "-c", command]);
    assert_eq!((started.code, started.err.as_str()), (0, ""), "{started:?}");
    let id = started.out.trim();
    assert_eq!(id.len(), 26);
    let waited = home.run(&["wait", id]);
    assert_eq!(waited.code, 6, "{waited:?}");
    let attached = home.run(&["attach", &id[..25]]);
    assert_eq!(
        (attached.code, attached.out.as_str(), attached.err.as_str()),
        (6, "out\n", "err\n")
    );
    let logs = home.run(&["logs", id]);
    assert_eq!((logs.code, logs.out.as_str(), logs.err.as_str()), (0, "out\n", "err\n"));
    assert_eq!(home.run(&["logs", "--stderr", id]).out, "");
    let pieces = json(&home.run(&["logs", "--json", id]).out);
    let of = |name: &str| -> String {
        let texts =
            pieces.iter().filter(|p| p["stream"] == name).map(|p| p["data"].as_str().unwrap());
        texts.collect()
    };
    assert_eq!((of("stdout").as_str(), of("stderr").as_str()), ("out\n", "err\n"));
    assert!(!home.work().join("file").exists());
    let fetched = home.run(&["fetch", id]);
    assert_eq!((fetched.code, fetched.out.as_str()), (0, "file\n"), "{fetched:?}");
    assert_eq!(home.read("file"), "data\n");
    let status = json(&home.run(&["status", "--json", id]).out);
    assert_eq!(
        (&status[0]["exit_code"], &status[0]["detached"]),
        (&6.into(), &true.into()),
        "{status:?}"
    );
    let table = home.run(&["ps", "-a"]);
    assert!(table.out.starts_with("ID            STATE"), "{table:?}");
    assert!(
        table.out.lines().all(|l| !l.ends_with(' ')) && table.out.contains("exit 6"),
        "{table:?}"
    );
    let status = home.run(&["status", id]);
    assert!(status.out.contains("state      exit 6\n"), "{status:?}");
}

#[test]
fn a_running_action_is_listed_followed_and_cancelled() {
    let home = Home::new().warm();
    let id = home
        .run(&["run", "-d", "--", "sh", "-c", "echo begun; exec sleep 1000"])
        .out
        .trim()
        .to_owned();
    // Its log comes live: this returns when the line is there.
    let mut follower = home.start(&["logs", "-f", &id]);
    let mut line = String::new();
    std::io::BufRead::read_line(
        &mut std::io::BufReader::new(follower.stdout.as_mut().unwrap()),
        &mut line,
    )
    .unwrap();
    assert_eq!(line, "begun\n");
    let so_far = home.run(&["logs", &id]);
    assert_eq!((so_far.code, so_far.out.as_str()), (0, "begun\n"), "{so_far:?}");
    let list = json(&home.run(&["ps", "--json"]).out);
    assert_eq!((list.len(), &list[0]["state"]), (1, &"running".into()), "{list:?}");
    let workers = json(&home.run(&["workers", "--json"]).out);
    assert_eq!(workers[0]["busy"], 1, "{workers:?}");
    let early = home.run(&["fetch", &id]);
    assert_eq!(early.code, 2, "{early:?}");
    let busy = home.run(&["agent", "stop"]);
    assert_eq!(busy.code, 3, "{busy:?}");
    assert!(busy.err.contains("--force"), "{busy:?}");
    assert_eq!(home.run(&["cancel", &id[..20]]).code, 0);
    assert_eq!(follower.wait().unwrap().code(), Some(0));
    let waited = home.run(&["wait", &id]);
    assert_eq!(waited.code, 125, "{waited:?}");
    assert!(waited.err.contains("cancel"), "{waited:?}");
    // What it wrote until then is not lost with it.
    let after = home.run(&["logs", &id]);
    assert_eq!((after.code, after.out.as_str()), (0, "begun\n"), "{after:?}");
    let attached = home.run(&["attach", &id]);
    assert_eq!((attached.code, attached.out.as_str()), (125, "begun\n"), "{attached:?}");
    let objects = json(&home.run(&["logs", "--json", &id]).out);
    assert!(objects.len() == 1 && objects[0]["data"] == "begun\n", "{objects:?}");
    assert_eq!(home.run(&["ps"]).out, "");
    let unknown = home.run(&["status", "7zzzzzzz"]);
    assert_eq!(unknown.code, 2, "{unknown:?}");
    assert!(unknown.err.contains("7zzzzzzz"), "{unknown:?}");
}

#[test]
fn whoever_comes_back_is_told_of_a_missing_output() {
    let home = Home::new().warm();
    let detach = |script: &str| {
        let outputs = ["run", "-d", "-o", "made", "-o", "never", "-o", "*.none"];
        let begun = home.run(&[&outputs[..], &["--", "sh", "-c", script]].concat());
        assert_eq!(begun.code, 0, "{begun:?}");
        begun.out.trim().to_owned()
    };
    let id = detach("echo said; echo x >made");
    let missing = "error: the command succeeded, but its output never is missing, and nothing \
                   matches its output *.none\n";
    let waited = home.run(&["wait", &id]);
    let told =
        format!("{missing}hands: action {id} has outputs; `hands fetch {id}` brings them here\n");
    assert_eq!((waited.code, waited.err), (1, told));
    let object = json(&home.run(&["wait", "--json", &id]).out).remove(0);
    assert_eq!(object["missing_outputs"], serde_json::json!(["*.none", "never"]), "{object}");
    let attached = home.run(&["attach", &id]);
    let ended = (attached.code, attached.out.as_str(), attached.err.as_str());
    assert_eq!(ended, (1, "said\n", missing));
    let fetched = home.run(&["fetch", &id]);
    assert_eq!((fetched.code, fetched.out.as_str(), fetched.err.as_str()), (1, "made\n", missing));
    assert_eq!(home.read("made"), "x\n");
    // A failure is the command's own, whatever it made.
    let failed = detach("exit 5");
    for command in ["wait", "attach"] {
        let ended = home.run(&[command, &failed]);
        assert_eq!((ended.code, ended.err.as_str()), (5, ""), "{ended:?}");
    }
}

#[test]
fn the_agent_is_asked_and_stopped() {
    let home = Home::new();
    let none = home.run(&["agent", "status"]);
    assert_eq!((none.code, none.out.as_str()), (4, ""), "{none:?}");
    assert!(none.err.contains("no agent is running"), "{none:?}");
    let home = home.warm();
    let status = home.run(&["agent", "status"]);
    assert_eq!(status.code, 0);
    for word in ["pid", "isolation", "log", "leaves"] {
        assert!(status.out.contains(word), "{word}: {status:?}");
    }
    assert_eq!(home.run(&["agent", "stop"]).code, 0);
    assert_eq!(home.run(&["agent", "status"]).code, 4);
    assert_eq!(home.run(&["agent", "stop"]).code, 0);
}
