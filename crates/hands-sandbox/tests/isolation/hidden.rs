//! What an action learns of the places where its worker keeps files.

use hands_sandbox::{InputRoot, Layer, Request, Scratch};

use crate::harness::Bench;

/// Every list of mounts that the kernel shows to a process, its own and its init's.
const LISTS: &str =
    "cd /proc && exec cat self/mountinfo self/mounts self/mountstats 1/mountinfo 1/mounts";

pub(crate) fn run(b: &mut Bench<'_>) {
    if !b.has_namespaces() {
        // There the machine's own mounts are what an action sees, and its working directory is one of the worker's.
        return;
    }
    let disk = |r: &mut Request| r.scratch = Scratch::Disk;
    let copy = |r: &mut Request| r.input = InputRoot::Copy;
    let layer = |r: &mut Request| {
        for at in ["/opt-tools", "/job/tools", "/tmp/tools"] {
            r.layers.push(Layer { dir: "layer".into(), at: at.into() });
        }
    };
    let changes: [(&str, &dyn Fn(&mut Request)); 8] = [
        ("no inputs", &|r| r.lowers.clear()),
        ("inputs", &|_| {}),
        ("two staged trees", &|r| r.lowers.insert(0, "above".into())),
        ("copied inputs", &copy),
        ("scratch on disk", &disk),
        ("copied inputs on disk", &|r| {
            disk(r);
            copy(r);
        }),
        ("layers", &layer),
        ("layers, scratch on disk", &|r| {
            layer(r);
            disk(r);
        }),
    ];
    for (what, change) in changes {
        let ran = b.run_with(&["sh", "-c", LISTS], change);
        hides(b, what, ran.exited(0), &ran.out);
    }
}

/// Checks lists of mounts for any part of the worker's own paths.
pub(crate) fn hides(b: &mut Bench<'_>, what: &str, good: bool, lists: &str) {
    let place = b.place.parent().expect("a level's directory has one").display().to_string();
    let on_disk = b.keeps_an_overlay();
    let told: Vec<&str> = lists
        .lines()
        .filter(|line| line.contains(&place) || line.contains("slot-"))
        .filter(|_| on_disk || !what.contains("disk"))
        .collect();
    let seen = lists.contains(" /tmp ") && lists.contains(" - proc proc ");
    b.check(
        &format!("mounts hide the worker's places, {what}"),
        good && seen && told.is_empty(),
        told.join("\n"),
    );
}
