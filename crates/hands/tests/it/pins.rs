//! Trees that stay in a store by their names, and actions that see them.

use serde_json::Value;

use crate::home::{Home, json};
use crate::killable::Cluster;
use crate::processes::level;

/// Fills a store of 8 MiB with what nobody needs.
fn flood(home: &Home, cluster: &[&str], seed: &str) {
    for n in 0..6 {
        home.write("flood", &format!("{seed}{n}").repeat(1 << 20));
        let run = ["run", "-q", "--input", "flood", "--", "true"];
        let ran = home.run(&[cluster, &run[..]].concat());
        assert_eq!(ran.code, 0, "{ran:?}");
    }
    assert_eq!(home.run(&[cluster, &["store", "gc"]].concat()).code, 0);
}

fn tool(home: &Home, says: &str) {
    home.write("tool/bin/tool", &format!("#!/bin/sh\necho {says}\n"));
    home.write("tool/data", &"d".repeat(300_000));
    let path = home.work().join("tool/bin/tool");
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
}

#[test]
fn a_layer_that_has_a_name_stays_and_is_found_by_it() {
    let home = Home::new();
    let nothing = home.run(&["store", "pins"]);
    assert!(nothing.code == 2 && nothing.err.contains("there is no store"), "{nothing:?}");
    let home = home.warm();
    tool(&home, "one");
    let pinned = home.run(&["store", "pin", "tools/gcc-13", "--input", "tool"]);
    assert_eq!(pinned.code, 0, "{pinned:?}");
    let tree = pinned.out.trim().to_owned();
    let again = json(&home.run(&["store", "pin", "again:1", &tree, "--json"]).out).remove(0);
    assert_eq!((again["tree"].as_str(), again["blobs"].as_u64()), (Some(&*tree), Some(4)));

    // The agent is asked while it runs; without it the store is opened here.
    for running in [true, false] {
        let all: Vec<Value> = json(&home.run(&["store", "pins", "--json"]).out);
        let names: Vec<_> = all.iter().map(|tree| tree["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["again:1", "tools/gcc-13"]);
        assert!(all[0]["bytes"].as_u64() > Some(300_000) && all[0]["since"].is_u64(), "{all:?}");
        let words = home.run(&["store", "pins"]);
        assert!(words.out.contains("again:1") && words.out.contains(&tree), "{words:?}");
        let status = json(&home.run(&["store", "status", "--json"]).out).remove(0);
        assert_eq!(status["named"], 2, "{status}");
        assert_eq!(status["named_bytes"], all[0]["bytes"], "{status}");
        if running {
            assert_eq!(home.run(&["agent", "stop"]).code, 0);
        }
    }
    let gone = home.run(&["store", "unpin", "again:1"]);
    assert_eq!((gone.code, gone.out.trim()), (0, &*tree), "{gone:?}");
    let home = home.warm();

    // By its name where a digest stands, in either form; in a batch and in a shell too.
    if level(&home) == "process" {
        return;
    }
    let layer = "/tool=tools/gcc-13";
    let command = ["--", "/tool/bin/tool"];
    for flags in [["--layer", layer], ["--prop", &format!("layer={layer}")]] {
        let ran = home.run(&[&["run"], &flags[..], &command].concat());
        assert_eq!((ran.code, &*ran.out), (0, "one\n"), "{ran:?}");
    }
    let batch = ["batch", "--layer", layer, "--", "/tool/bin/tool", "{}", ":::", "a", "b"];
    let batch = home.run(&batch);
    assert_eq!((batch.code, &*batch.out), (0, "one\none\n"), "{batch:?}");
    // The name goes to another tree.
    tool(&home, "two");
    let moved = home.run(&["store", "pin", "tools/gcc-13", "--input", "tool"]);
    assert!(moved.code == 0 && moved.err.contains(&format!("was the name of {tree}")), "{moved:?}");
    let ran = home.run(&[&["run", "--layer", layer], &command[..]].concat());
    assert_eq!((ran.code, &*ran.out), (0, "two\n"), "{ran:?}");
}

#[test]
fn names_of_trees_are_refused_in_one_sentence() {
    let home = Home::new().warm();
    tool(&home, "one");
    assert_eq!(home.run(&["store", "pin", "debian:12", "--input", "tool"]).code, 0);
    let absent = format!("{}/1", "a".repeat(64));
    let long = "n".repeat(257);
    let cases: &[(&[&str], i32, &str)] = &[
        (&["run", "--layer", "debain:12", "--", "true"], 125, "there is `debian:12`"),
        (&["run", "--layer", "/x=nothing", "--", "true"], 125, "`hands store pins` lists"),
        (&["run", "--layer", "a b", "--", "true"], 125, "--layer a b: expected"),
        (&["run", "--layer", &format!("/x=blake3/{absent}"), "--", "true"], 125, "by blake3"),
        (&["store", "unpin", "debian"], 2, "there is `debian:12`"),
        (&["store", "pin", "a\u{1b}b", &absent], 2, "control characters"),
        (&["store", "pin", &long, &absent], 2, "256 bytes are the most"),
        (&["store", "pin", "x", &absent], 2, "is not in the store"),
        (&["store", "pin", "x", "no-digest"], 2, "it is no image either"),
        (&["store", "pin", "x", "--input", "nowhere"], 2, "--input nowhere"),
        (&["store", "pin", "x", "--input", "tool", "--state", "."], 2, "leave --state out"),
    ];
    for (args, code, expect) in cases {
        let ran = home.run(args);
        assert!(ran.code == *code && ran.err.contains(expect), "{args:?} {expect}: {ran:?}");
        assert!(!ran.err.contains('\u{1b}') && ran.err.lines().count() <= 2, "{ran:?}");
    }
}

#[test]
fn a_hub_keeps_what_has_a_name_over_its_quota_and_its_restart() {
    let mut cluster = Cluster::start_with(&["--quota", "8M"]);
    let worker = cluster.worker("w", &[]);
    let socket = cluster.socket.clone();
    let at = ["--cluster", &*socket];
    tool(&cluster.home, "kept");
    let pinned = cluster.hands(&["store", "pin", "tool", "--input", "tool"]);
    assert_eq!(pinned.code, 0, "{pinned:?}");
    flood(&cluster.home, &at, "a");
    let is_whole = |cluster: &Cluster| {
        let tree = pinned.out.trim();
        // Naming looks at all of it.
        let again = cluster.hands(&["store", "pin", "tool", tree]);
        assert_eq!((again.code, again.out.trim()), (0, tree), "{again:?}");
    };
    is_whole(&cluster);
    cluster.kill_hub();
    cluster.start_hub();
    flood(&cluster.home, &at, "b");
    is_whole(&cluster);
    let ran = cluster.run(&["--layer", "/tool=tool", "--", "/tool/bin/tool"]);
    if level(&cluster.home) != "process" {
        assert_eq!((ran.code, &*ran.out), (0, "kept\n"), "{ran:?}");
    }
    drop(worker);
}
