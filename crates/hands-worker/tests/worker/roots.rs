//! Layers that are the whole root of an action.

use std::process::Command;

use hands_proto::rpc::PreconditionFailure;
use hands_proto::{reapi, unpack};
use hands_store::Store;
use hands_types::Digest;
use hands_worker::Worker;
use prost::Message as _;

use crate::hub::{Hub, Job, SHA256, put_tree, text};
use crate::place::Tally;

pub(crate) async fn run(tally: &mut Tally) {
    for own_store in [false, true] {
        let name = |what: &str| {
            format!("{what}, {}", if own_store { "a store of its own" } else { "the hub's store" })
        };
        let place = tally.directory();
        let mut hub = Hub::new(&place);
        let mut config = hub.config(&place, own_store);
        // Where the machine's toolchains are says nothing of a root of layers.
        config.default_env = vec![("PATH".to_owned(), "/home/somebody/bin:/bin".to_owned())];
        let (worker, mut session) = tokio::join!(Worker::start(config), hub.session());
        session.welcome(Vec::new());
        let worker = worker.expect("a worker");
        let program = program(&hub.store, &place);
        let [one, two] = ["one\n", "two\n"].map(|note| put_tree(&hub.store, &[("note", note)]));
        // By their values one of these stacks is sorted and the other is not.
        for (first, second, note) in [(one, two, "one"), (two, one, "two")] {
            let stack = format!("/={first},{second},{program}");
            let job = Job::new(&["/program"]).property("layer", &stack).outputs(&["out"]);
            let ended = session.run(job.lease()).await;
            let what = name(&format!("a root of layers, {note} first"));
            if worker.isolation().isolation.name() == "process" {
                let refused = ended.status() == 3 && ended.message().contains("does without");
                tally.check(&what, refused && !ended.message().contains('\n'), ended.note());
                continue;
            }
            let expected = format!(
                "note {note}\nusr No such file or directory\n\
                 path /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n\
                 root Read-only file system\n"
            );
            let made = ended.exit() == Some(0)
                && ended.result().output_files.iter().any(|file| {
                    file.path == "out" && text(&hub.store, file.digest.as_ref()) == "made\n"
                });
            tally.check(&what, ended.out == expected && made, ended.note());
        }
        let gone = hands_tree::hash(SHA256, b"nobody has it");
        let job = Job::new(&["/program"]).property("layer", &format!("/={gone},{program}"));
        let ended = session.run(job.lease()).await;
        let details = ended.finished.status.iter().flat_map(|s| &s.details);
        let subjects: Vec<String> = details
            .filter_map(|any| unpack::<PreconditionFailure>(any).ok())
            .flat_map(|failure| failure.violations)
            .map(|violation| violation.subject)
            .collect();
        let named = ended.status() == 9 && subjects == [format!("blobs/{gone}")];
        tally.check(&name("a layer of a root that is not there"), named, ended.note());
        let ended = session.run(Job::sh("test -d /usr/bin && test ! -e /program").lease()).await;
        tally.check(
            &name("the machine's own root comes back"),
            ended.exit() == Some(0),
            ended.note(),
        );
        worker.stop().await;
    }
}

/// A layer with a static program.
fn program(store: &Store, place: &std::path::Path) -> Digest {
    let (source, built) = (place.join("root.c"), place.join("root"));
    std::fs::write(&source, include_str!("root.c")).expect("the program's text");
    let mut compiler = Command::new("gcc");
    compiler.args(["-static", "-o"]).arg(&built).arg(&source);
    assert!(compiler.status().expect("gcc").success(), "a static program");
    let program = store.put_bytes(SHA256, &std::fs::read(&built).expect("the program"));
    let node = reapi::FileNode {
        name: "program".to_owned(),
        digest: Some(program.expect("stored").into()),
        is_executable: true,
        ..Default::default()
    };
    let directory = reapi::Directory { files: vec![node], ..Default::default() };
    store.put_bytes(SHA256, &directory.encode_to_vec()).expect("stored")
}
