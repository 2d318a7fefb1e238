//! Input roots that are put together: of paths, bytes, pipes, tars, and what actions before have made.

use std::fs;
use std::io::Write;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hands_client::{
    Cluster, Event, FilePart, Input, Invocation, JobResult, JobSpec, JobStream, Layer, Logs, Made,
    Output, Paths, Root, Session, StreamPart, TarPart, Target, TreeSpec,
};
use hands_types::{Digest, RelPath};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

use crate::home::{Home, run, shell, write};

fn at(path: &str) -> RelPath {
    RelPath::new(path).unwrap()
}

fn file(path: &str, contents: &'static str) -> TreeSpec {
    let contents = Bytes::from_static(contents.as_bytes());
    TreeSpec::File(FilePart { path: at(path), contents, executable: path.ends_with(".sh") })
}

async fn seen(cluster: &Cluster, root: Digest, script: &str) -> String {
    let mut spec = shell(script);
    spec.input_root = Some(root);
    spec.logs = Logs::No;
    let result = cluster.submit(spec).await.unwrap().wait().await.unwrap();
    assert!(result.is_success(), "{result:?}");
    let out = cluster.stream_of(&result, JobStream::Stdout).await.unwrap();
    String::from_utf8(out.to_vec()).unwrap()
}

/// Hands everything on to another socket, and counts what comes back.
fn count(socket: PathBuf, to: PathBuf) -> Arc<AtomicU64> {
    let came = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&came);
    let listener = UnixListener::bind(socket).unwrap();
    drop(tokio::spawn(async move {
        while let Ok((here, _)) = listener.accept().await {
            let there = UnixStream::connect(&to).await.unwrap();
            let (mut from_here, mut to_here) = here.into_split();
            let (mut from_there, mut to_there) = there.into_split();
            drop(tokio::spawn(async move {
                drop(tokio::io::copy(&mut from_here, &mut to_there).await);
            }));
            let counted = Arc::clone(&counted);
            drop(tokio::spawn(async move {
                let mut buffer = vec![0; 64 << 10];
                while let Ok(n @ 1..) = from_there.read(&mut buffer).await {
                    counted.fetch_add(n as u64, Ordering::Relaxed);
                    if to_here.write_all(&buffer[..n]).await.is_err() {
                        return;
                    }
                }
            }));
        }
    }));
    came
}

async fn through(socket: &Path, ours: &Home) -> Cluster {
    let target = Target::Hub {
        address: hands_link::Address::Unix(socket.to_owned()),
        instance: String::new(),
        patience: Duration::from_secs(5),
        agent: ours.spec(),
    };
    Cluster::connect(target, Invocation::new("test").unwrap(), |_| {}).await.unwrap()
}

async fn done(session: &Session, spec: JobSpec) -> JobResult {
    let submitted = session.submit(spec).await.unwrap();
    loop {
        let (id, event) = session.next_event().await;
        if let Event::Done(result) = event.unwrap() {
            assert_eq!(id, submitted.id);
            assert!(result.is_success(), "{result:?}");
            return *result;
        }
    }
}

pub(crate) fn a_tree_is_put_together_of_all_kinds_of_parts() {
    // In the agent's own store, and in that of a hub elsewhere.
    let (ours, theirs) = (Home::new(), Home::new());
    let work = ours.work();
    write(&work.join("in/a"), b"path a\n");
    write(&work.join("in/deep/er/b"), b"path b\n");
    write(&work.join("tarred/.wh.a"), b"no mark\n");
    write(&work.join("tarred/deep/c"), b"tar c\n");
    let packed = std::process::Command::new("tar")
        .args(["-czf", "t.tgz", "-C", "tarred", "."])
        .current_dir(&work)
        .status();
    assert!(packed.unwrap().success());
    let large = vec![7; 5_000_000];
    run(async {
        let own = ours.cluster().await;
        drop(theirs.cluster().await);
        let other = through(&theirs.spec().sockets[0].agent, &ours).await;
        for cluster in [own, other] {
            let (from, mut to) = std::io::pipe().unwrap();
            let content = large.clone();
            let pouring = std::thread::spawn(move || to.write_all(&content).unwrap());
            let input = Input::open(&work.join("in"), at("src"), true).unwrap();
            let paths = Paths { inputs: vec![input], directory: at("src/new"), times: true };
            let stored = cluster.tree(file("x/y/z", "stored\n"), |_| {}).await.unwrap();
            let tree = TreeSpec::Merged(vec![
                TreeSpec::Paths(paths),
                file("src/a", "covered\n"),
                file("src/deep/run.sh", "#!/bin/sh\necho ran\n"),
                TreeSpec::Stream(StreamPart { path: at("src/deep/large"), from: from.into() }),
                TreeSpec::Tar(TarPart::open(&work.join("t.tgz")).unwrap()).at(at("src")),
                TreeSpec::Stored(stored.root).part(at("x/y")).at(at("part")),
                TreeSpec::Stored(stored.root).part(at("x/nothing")).at(at("none")),
                TreeSpec::Empty,
            ]);
            let made = cluster.tree(tree, |_| {}).await.unwrap();
            pouring.join().unwrap();
            let script = "find . | sort && cd src && cat a deep/c deep/er/b .wh.a ../part/z && wc -c <deep/large && deep/run.sh";
            let found = seen(&cluster, made.root, script).await;
            let expected = ".\n./none\n./part\n./part/z\n./src\n./src/.wh.a\n./src/a\n./src/deep\n./src/deep/c\n./src/deep/er\n./src/deep/er/b\n./src/deep/large\n./src/deep/run.sh\n./src/new\n";
            let contents = "covered\ntar c\npath b\nno mark\nstored\n5000000\nran\n";
            assert_eq!(found, format!("{expected}{contents}"));
        }
    });
}

fn link(path: &str, target: &str) -> TreeSpec {
    let what = Made::Symlink { target: target.to_owned() };
    let path = at(path);
    let link = Output { path: path.as_str().to_owned(), what };
    TreeSpec::Output(link).at(path.parent().unwrap_or_default())
}

fn mounted(on: TreeSpec, path: &str, tree: TreeSpec) -> TreeSpec {
    TreeSpec::Mounted { on: Box::new(on), path: at(path), tree: Box::new(tree) }
}

pub(crate) fn trees_are_mounted_and_taken_from_where_links_lead() {
    let ours = Home::new();
    run(async {
        let cluster = ours.cluster().await;
        let base = TreeSpec::Merged(vec![
            file("usr/lib/kept", "kept\n"),
            file("usr/lib/tools/hidden", "hidden\n"),
            link("lib", "/usr/lib"),
            link("usr/up", "../lib/tools"),
            link("out", "../../x"),
        ]);
        let base = cluster.tree(base, |_| {}).await.unwrap().root;
        let stored = || TreeSpec::Stored(base);
        let tools = mounted(stored(), "lib/tools", file("new", "new\n"));
        let made = cluster.tree(mounted(tools, "lib/a/b", file("c", "c\n")), |_| {}).await.unwrap();
        let found = seen(&cluster, made.root, "find . | sort").await;
        let expected = ".\n./lib\n./out\n./usr\n./usr/lib\n./usr/lib/a\n./usr/lib/a/b\n./usr/lib/a/b/c\n./usr/lib/kept\n./usr/lib/tools\n./usr/lib/tools/new\n./usr/up\n";
        assert_eq!(found, expected);
        // As layers of an action are, for engines that know none.
        let mut spec = shell("true");
        spec.root = Root::Layers(vec![base]);
        let layer = cluster.tree(file("new", "new\n"), |_| {}).await.unwrap().root;
        let one = |path: &str| Layer { path: path.to_owned(), tree: layer };
        spec.layers = vec![one("/lib/tools/deep"), one("/lib/tools")];
        let flat = cluster.tree(spec.flatten().unwrap(), |_| {}).await.unwrap();
        let found = seen(&cluster, flat.root, "find usr/lib/tools | sort; readlink lib").await;
        let expected =
            "usr/lib/tools\nusr/lib/tools/deep\nusr/lib/tools/deep/new\nusr/lib/tools/new\n";
        assert_eq!(found, format!("{expected}/usr/lib\n"));
        // What is below a link is found, and nothing where there is nothing.
        for (path, expected) in [("usr/up", "hidden\n"), ("no", ""), ("out", ""), ("lib/kept", "")]
        {
            let part = cluster.tree(stored().part(at(path)), |_| {}).await.unwrap();
            assert_eq!(seen(&cluster, part.root, "ls").await, expected, "{path}");
        }
        let astray = cluster.tree(mounted(stored(), "lib/kept/x", TreeSpec::Empty), |_| {}).await;
        let error = astray.unwrap_err().to_string();
        assert_eq!(
            error,
            "a tree can't be at lib/kept/x of another: `usr/lib/kept` is not a directory"
        );
    });
}

pub(crate) fn a_pipe_is_let_go_when_nobody_wants_it() {
    let ours = Home::new();
    run(async {
        let cluster = ours.cluster().await;
        let (from, mut to) = std::io::pipe().unwrap();
        let part = StreamPart { path: at("x"), from: from.into() };
        // More than a pipe holds: the agent reads it.
        let writing = tokio::task::spawn_blocking(move || to.write_all(&[7; 400_000]).map(|()| to));
        let to = tokio::select! {
            made = cluster.tree(TreeSpec::Stream(part), |_| {}) => panic!("{made:?}"),
            to = writing => to.unwrap().unwrap(),
        };
        // Its writer lives on, writes nothing, and is told when nobody reads any more.
        let told = tokio::task::spawn_blocking(move || {
            use rustix::event::{PollFd, PollFlags, Timespec, poll};
            let mut all = [PollFd::new(&to, PollFlags::empty())];
            poll(&mut all, Some(&Timespec { tv_sec: 20, tv_nsec: 0 })).unwrap()
        });
        assert_eq!(told.await.unwrap(), 1, "the agent reads on");
    });
}

pub(crate) fn outputs_are_inputs_without_coming_here() {
    const LARGE: u64 = 8 << 20;
    let (ours, theirs) = (Home::new(), Home::new());
    run(async {
        drop(theirs.cluster().await);
        let socket = ours.work().join("proxy");
        let came = count(socket.clone(), theirs.spec().sockets[0].agent.clone());
        let cluster = through(&socket, &ours).await;
        let session = cluster.session().await.unwrap();
        let script = format!(
            "mkdir -p out/deep && head -c {LARGE} /dev/urandom >out/deep/large && echo small >out/small && ln -s small out/link && cp out/deep/large one && chmod 755 one"
        );
        // With roots in the store, and with what engines bring that know no more than a Tree.
        for output_roots in [true, false] {
            let mut spec = shell(&script);
            spec.outputs = vec!["out".to_owned(), "one".to_owned()];
            spec.output_roots = output_roots;
            let first = done(&session, spec).await;
            let out = cluster.output(&first, "out").unwrap();
            let has_root = matches!(out.what, Made::Directory { root: Some(_), .. });
            assert_eq!(has_root, output_roots, "{out:?}");
            let one = cluster.output(&first, "one").unwrap();
            let tree = TreeSpec::Merged(vec![
                TreeSpec::Output(out).at(at("lib")),
                TreeSpec::Output(one).at(at("bin")),
                file("lib/mine", "mine\n"),
            ]);
            let made = cluster.tree(tree, |_| {}).await.unwrap();
            let mut spec =
                shell("cmp lib/deep/large bin/one && test -x bin/one && cat lib/link lib/mine");
            spec.input_root = Some(made.root);
            let second = done(&session, spec).await;
            let out = cluster.stream_of(&second, JobStream::Stdout).await.unwrap();
            assert_eq!(&out[..], b"small\nmine\n");
            let came = came.load(Ordering::Relaxed);
            assert!(came < LARGE / 16, "{came} bytes came here");
        }
        // Of many results each blob comes once.
        let mut results = Vec::new();
        for name in ["a", "b", "c"] {
            let script = format!(
                "mkdir -p d && seq 1200000 >d/large && seq 100 >d/small && cp d/large one && echo {name} >own"
            );
            let mut spec = shell(&script);
            spec.outputs = ["d", "one", "own"].map(str::to_owned).to_vec();
            results.push((name, done(&session, spec).await));
        }
        let before = came.load(Ordering::Relaxed);
        let places = results.iter().map(|(name, _)| {
            let place = ours.work().join(name);
            fs::create_dir(&place).unwrap();
            fs::File::open(place).unwrap()
        });
        let places: Vec<fs::File> = places.collect();
        let wanted = results.iter().map(|(_, result)| result).zip(places.iter().map(AsFd::as_fd));
        let fetched = cluster.fetch_many(&wanted.collect::<Vec<_>>()).await.unwrap();
        let large: String = (1..=1_200_000).map(|n| format!("{n}\n")).collect();
        let came = came.load(Ordering::Relaxed) - before;
        assert!(came < large.len() as u64 * 5 / 4, "{came} bytes came for six of {}", large.len());
        assert_eq!((fetched.len(), fetched[0].written.len()), (3, 3));
        for (name, _) in &results {
            let read = |path: &str| fs::read_to_string(ours.work().join(name).join(path)).unwrap();
            assert!(read("d/large") == large && read("one") == large);
            assert_eq!((read("own"), read("d/small").len()), (format!("{name}\n"), 292));
        }
        // Into one directory go those that have nothing in common but directories.
        let place = ours.work().join("one-place");
        fs::create_dir(&place).unwrap();
        let below = fs::File::open(&place).unwrap();
        let make = async |script: &str, output: &str| {
            let mut spec = shell(script);
            spec.outputs = vec![output.to_owned()];
            done(&session, spec).await
        };
        let one = make("mkdir d && echo one >d/one", "d").await;
        let same = make("mkdir d && echo same >d/one", "d").await;
        let two = make("mkdir -p d/deep && echo two >d/deep/two", "d").await;
        let file = make("echo file >d", "d").await;
        for other in [&same, &file] {
            let both = [(&one, below.as_fd()), (other, below.as_fd())];
            let error = cluster.fetch_many(&both).await.unwrap_err().to_string();
            assert!(error.contains("two results that go into one directory"), "{error}");
            assert_eq!(fs::read_dir(&place).unwrap().count(), 0, "nothing was written");
        }
        let both = [(&one, below.as_fd()), (&two, below.as_fd())];
        assert_eq!(cluster.fetch_many(&both).await.unwrap().len(), 2);
        let read = |path: &str| fs::read_to_string(place.join(path)).unwrap();
        assert_eq!((read("d/one"), read("d/deep/two")), ("one\n".to_owned(), "two\n".to_owned()));
        let error = cluster.output(&done(&session, shell("true")).await, "no").unwrap_err();
        assert_eq!(error.to_string(), "the action made no output `no`");
        drop(fs::remove_file(socket));
    });
}
