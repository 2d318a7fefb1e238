//! Inputs and outputs, over a shared store and over the wire.

use hands_proto::reapi::{self, OutputSymlink};
use hands_proto::rpc::PreconditionFailure;
use hands_proto::unpack;
use prost::Message as _;

use crate::hub::{Hub, Job, SHA256, put_tree, text, without_command};
use crate::place::Tally;

pub(crate) async fn run(tally: &mut Tally) {
    for own_store in [false, true] {
        let place = tally.directory();
        let mut hub = Hub::new(&place);
        let (worker, mut session) = hub.worker(&place, own_store).await;
        let name = |what: &str| {
            format!("{what}, {}", if own_store { "over the wire" } else { "shared store" })
        };

        let large = "x".repeat(3 << 20);
        let root = put_tree(&hub.store, &[("in.txt", "in\n"), ("large", &large)]);
        let script = "cat in.txt >d/deep/copy; cp large d/big; chmod +x d/big; ln -s /abs d/link; ln -s gone lost; mkdir -p d/e/f/g d/a/b; echo x >d/e/f/g/x; echo o >a.o";
        let mut job =
            Job::sh(script).outputs(&["d/deep/copy", "d/big", "d", "lost", "*.o", "missing"]);
        job.action.input_root_digest = Some(root.into());
        let ended = session.run(job.lease()).await;
        let result = ended.result();
        let files: Vec<(&str, bool)> =
            result.output_files.iter().map(|f| (f.path.as_str(), f.is_executable)).collect();
        tally.check(
            &name("files"),
            files == [("d/deep/copy", false), ("d/big", true), ("a.o", false)],
            ended.note(),
        );
        let contents =
            text(&hub.store, result.output_files.first().and_then(|f| f.digest.as_ref()));
        tally.check(&name("contents are in the hub's store"), contents == "in\n", contents);
        let big = result.output_files.get(1).and_then(|f| f.digest.as_ref());
        tally.check(&name("a large one too"), text(&hub.store, big).len() == large.len(), big);
        let lost = OutputSymlink {
            path: "lost".to_owned(),
            target: "gone".to_owned(),
            node_properties: None,
        };
        tally.check(
            &name("a dangling link"),
            result.output_symlinks == [lost],
            &result.output_symlinks,
        );
        let directory = result.output_directories.first().cloned().unwrap_or_default();
        let tree = directory
            .tree_digest
            .as_ref()
            .and_then(|d| d.to_digest(SHA256).ok())
            .and_then(|d| hub.store.read(&d).ok().flatten());
        let tree = tree.and_then(|bytes| reapi::Tree::decode(bytes).ok()).unwrap_or_default();
        let children = tree.root.clone().unwrap_or_default();
        let good = directory.is_topologically_sorted
            && directory.root_directory_digest.is_none()
            && children.files.len() == 1
            && children.directories.len() == 3
            && children.symlinks.len() == 1
            && tree.children.len() == 6
            && is_topologically_sorted(&tree);
        tally.check(&name("a directory as a tree"), good, &tree);

        // A command that is too large for its lease: 1.2 MB of arguments.
        let many = ["sh", "-c", "echo $#", "sh"].into_iter().chain(vec!["argument"; 100_000]);
        let lease = Job::new(&many.collect::<Vec<_>>()).lease();
        let ended = session.run(without_command(lease, &hub.store)).await;
        tally.check(
            &name("a command that is fetched"),
            ended.exit() == Some(0) && ended.out == "100000\n",
            ended.note(),
        );
        let mut lease = Job::sh("true").lease();
        lease.command.clear();
        let ended = session.run(lease).await;
        let details = ended.finished.status.clone().unwrap_or_default().details;
        let nowhere: Option<PreconditionFailure> = details.first().and_then(|d| unpack(d).ok());
        tally.check(
            &name("a command that is nowhere"),
            ended.status() == 9 && nowhere.is_some_and(|it| it.violations.len() == 1),
            ended.note(),
        );

        // API 2.0, and directories by their root.
        let mut job = Job::sh("ln -s x f; ln -s y d; mkdir e; echo >e/f");
        job.command.output_files = vec!["f".to_owned()];
        job.command.output_directories = vec!["d".to_owned(), "e".to_owned()];
        job.command.output_directory_format =
            reapi::command::OutputDirectoryFormat::DirectoryOnly.into();
        let ended = session.run(job.lease()).await;
        let result = ended.result();
        let lengths = (
            result.output_file_symlinks.len(),
            result.output_directory_symlinks.len(),
            result.output_symlinks.len(),
        );
        tally.check(&name("links of API 2.0"), lengths == (1, 1, 2), ended.note());
        let root = result.output_directories.first().and_then(|d| d.root_directory_digest.as_ref());
        let root = root
            .and_then(|d| d.to_digest(SHA256).ok())
            .and_then(|d| hub.store.read(&d).ok().flatten());
        tally.check(&name("a directory by its root"), root.is_some(), ended.note());

        // Buck2's compatible mode names each path in both lists, whatever it becomes.
        let mut job = Job::sh("echo >f; mkdir d; echo >d/x; ln -s /no/such/place l");
        job.command.output_files = ["f", "d", "l", "absent"].map(str::to_owned).into();
        job.command.output_directories = job.command.output_files.clone();
        let ended = session.run(job.lease()).await;
        let result = ended.result();
        let paths = |links: &[OutputSymlink]| -> Vec<(String, String)> {
            links.iter().map(|l| (l.path.clone(), l.target.clone())).collect()
        };
        let link = vec![("l".to_owned(), "/no/such/place".to_owned())];
        let good = ended.exit() == Some(0)
            && result.output_files.iter().map(|f| f.path.as_str()).eq(["f"])
            && result.output_directories.iter().map(|d| d.path.as_str()).eq(["d"])
            && paths(&result.output_symlinks) == link
            && [&result.output_file_symlinks, &result.output_directory_symlinks]
                .iter()
                .any(|links| paths(links) == link);
        tally.check(&name("in both lists, and a link to an absolute path"), good, ended.note());

        // Hostile: the user's error when the command succeeded, a remark when it failed.
        let ended = session.run(Job::sh("mkfifo p").outputs(&["p"]).lease()).await;
        tally.check(
            &name("a fifo"),
            ended.status() == 3 && ended.message().contains("`p` is a named pipe"),
            ended.note(),
        );
        let ended = session.run(Job::sh("mkfifo p; exit 5").outputs(&["p"]).lease()).await;
        let good = ended.status() == 0
            && ended.exit() == Some(5)
            && ended.finished.message.contains("named pipe");
        tally.check(&name("a fifo of a command that failed"), good, ended.note());

        // Directories of outputs that the input root does not have, but a tree that it is staged over does.
        for files in [&[("a", "first")][..], &[("a", "second")], &[]] {
            for path in ["made/x", "made/below/x", "x"] {
                let mut job = Job::sh(&format!("echo x >{path}")).outputs(&[path]);
                job.action.input_root_digest = Some(put_tree(&hub.store, files).into());
                let ended = session.run(job.lease()).await;
                let good = ended.exit() == Some(0) && ended.result().output_files.len() == 1;
                tally.check(
                    &name(&format!("{path} beside {} inputs", files.len())),
                    good,
                    ended.note(),
                );
            }
        }

        // A layer beside the input root.
        let layer = put_tree(&hub.store, &[("tool", "from a layer\n")]);
        if worker.isolation().isolation.name() != "process" {
            let job = Job::sh("cat /layer/tool").property("layer", &format!("/layer={layer}"));
            let ended = session.run(job.lease()).await;
            tally.check(&name("a layer"), ended.out == "from a layer\n", ended.note());
            let job = Job::sh("pwd").property("InputRootAbsolutePath", "/home/me/project");
            let ended = session.run(job.lease()).await;
            tally.check(&name("same path"), ended.out == "/home/me/project\n", ended.note());
            for (scratch, in_memory) in [("memory", true), ("disk", false)] {
                let job = Job::sh("df --output=fstype /tmp . | tail -2; head -c 9 /dev/zero > o");
                let job = job.property("scratch", scratch).outputs(&["o"]);
                let ended = session.run(job.lease()).await;
                let on_tmpfs = ended.out.starts_with("tmpfs\n");
                let kept = ended.result().output_files.len() == 1;
                let what = name(&format!("scratch in {scratch}"));
                tally.check(&what, on_tmpfs == in_memory && kept, ended.note());
            }
        }
        // The parent of a declared output is part of the inputs.
        let rename = ["/usr/bin/python3", "-c", "import os; os.rename('d', 'e')"];
        let job = Job::new(&rename).outputs(&["d/x"]).property("input-root", "copy");
        let ended = session.run(job.lease()).await;
        tally.check(
            &name("a directory of a copy is renamed"),
            ended.exit() == Some(0),
            ended.note(),
        );
        missing(tally, &hub, &mut session, &name("all that is missing is named at once")).await;
        worker.stop().await;
    }
}

/// Whether each directory stands behind all that name it.
fn is_topologically_sorted(tree: &reapi::Tree) -> bool {
    let all: Vec<&reapi::Directory> = tree.root.iter().chain(&tree.children).collect();
    let digests: Vec<reapi::Digest> =
        all.iter().map(|d| hands_tree::hash(SHA256, &d.encode_to_vec()).into()).collect();
    all.iter().enumerate().all(|(at, directory)| {
        directory.directories.iter().all(|child| {
            let found = digests.iter().position(|d| Some(d) == child.digest.as_ref());
            found.is_some_and(|place| place > at)
        })
    })
}

async fn missing(tally: &mut Tally, hub: &Hub, session: &mut crate::hub::Session, name: &str) {
    let root = put_tree(&hub.store, &[("one", "1"), ("three", "3"), ("two", "2")]);
    let gone = ["1", "3"].map(|content| hands_tree::hash(SHA256, content.as_bytes()));
    for digest in &gone {
        hub.store.delete(digest).expect("deleted");
    }
    let mut job = Job::sh("true");
    job.action.input_root_digest = Some(root.into());
    let ended = session.run(job.lease()).await;
    let details = ended.finished.status.as_ref().map(|s| s.details.clone()).unwrap_or_default();
    let failure: Option<PreconditionFailure> = details.first().and_then(|any| unpack(any).ok());
    let mut named: Vec<String> = failure
        .iter()
        .flat_map(|f| &f.violations)
        .map(|v| format!("{} {}", v.r#type, v.subject))
        .collect();
    named.sort();
    let mut expected = gone.map(|d| format!("MISSING blobs/{d}"));
    expected.sort();
    let good = ended.status() == 9
        && details.len() == 1
        && named == expected
        && !ended.finished.try_elsewhere;
    tally.check(name, good, ended.note());
}
