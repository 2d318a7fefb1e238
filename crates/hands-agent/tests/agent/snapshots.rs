//! Input trees, by handle.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use hands_client::{ClientError, Cluster, Input, Invocation, Paths, Snapshot, Target, TreeSpec};
use hands_types::{ErrorClass, RelPath};

use crate::home::{Home, run, shell, write};

fn tree(inputs: Vec<Input>) -> TreeSpec {
    TreeSpec::Paths(Paths { inputs, directory: RelPath::default(), times: false })
}

async fn snapshot(cluster: &Cluster, path: &Path) -> Result<Snapshot, ClientError> {
    let input = Input::open(path, RelPath::default(), true)?;
    cluster.tree(tree(vec![input]), |_| {}).await
}

/// Makes a tree look as if it had been left alone for an hour. The inode's own time can't be set, but waited for.
async fn settle(_: &Path) {
    tokio::time::sleep(Duration::from_millis(2100)).await;
}

pub(crate) fn a_snapshot_can_be_run_and_its_outputs_fetched() {
    let home = Home::new();
    let work = home.work();
    write(&work.join("src/tool"), b"#!/bin/sh\necho from $1\n");
    fs::set_permissions(work.join("src/tool"), fs::Permissions::from_mode(0o755)).unwrap();
    write(&work.join("src/data"), &vec![7; 300_000]);
    std::os::unix::fs::symlink("data", work.join("src/link")).unwrap();
    run(async {
        let cluster = home.cluster().await;
        let taken = snapshot(&cluster, &work).await.unwrap();
        assert_eq!((taken.files, taken.bytes), (2, 300_023));
        let mut spec = shell(
            "src/tool run > out.txt; mkdir -p dir/sub; cp src/link dir/sub/copy; ln -s ../up dir/l; chmod +x dir/sub/copy",
        );
        spec.input_root = Some(taken.root);
        spec.outputs = ["out.txt", "dir", "never"].map(str::to_owned).to_vec();
        let declared = spec.outputs.clone();
        let result = cluster.submit(spec).await.unwrap().wait().await.unwrap();
        assert!(result.is_success(), "{result:?}");
        assert_eq!(result.missing_outputs(&declared), ["never"]);

        let dest = work.join("dest");
        write(&dest.join("dir/mine"), b"untouched");
        write(&dest.join("out.txt"), b"old");
        let handle = fs::File::open(&dest).unwrap();
        let fetched = cluster.fetch_outputs(&result, handle.as_fd()).await.unwrap();
        assert_eq!(fetched.bytes, 300_009);
        let paths: Vec<&str> = fetched.written.iter().map(|w| w.path.as_str()).collect();
        assert_eq!(paths, ["dir", "out.txt"]);
        assert_eq!(fs::read(dest.join("out.txt")).unwrap(), b"from run\n");
        assert_eq!(fs::read(dest.join("dir/sub/copy")).unwrap(), vec![7; 300_000]);
        assert_eq!(
            fs::metadata(dest.join("dir/sub/copy")).unwrap().permissions().mode() & 0o100,
            0o100
        );
        assert_eq!(fs::read_link(dest.join("dir/l")).unwrap(), Path::new("../up"));
        assert_eq!(fs::read(dest.join("dir/mine")).unwrap(), b"untouched");
    });
}

pub(crate) fn an_unchanged_tree_is_not_read_again() {
    let home = Home::new();
    let tree = home.work().join("tree");
    for i in 0..500 {
        write(&tree.join(format!("d{}/f{i}", i % 10)), format!("content of file {i}").as_bytes());
    }
    run(async {
        let cluster = home.cluster().await;
        settle(&tree).await;
        let first = snapshot(&cluster, &tree).await.unwrap();
        assert!(first.bytes_hashed == first.bytes && first.bytes > 0);
        let second = snapshot(&cluster, &tree).await.unwrap();
        assert_eq!((second.root, second.bytes_hashed, second.bytes_sent), (first.root, 0, 0));
        let before = fs::metadata(tree.join("d3/f3")).unwrap().modified().unwrap();
        fs::write(tree.join("d3/f3"), "CONTENT of file 3").unwrap();
        fs::File::options()
            .write(true)
            .open(tree.join("d3/f3"))
            .unwrap()
            .set_modified(before)
            .unwrap();
        let third = snapshot(&cluster, &tree).await.unwrap();
        assert_ne!(third.root, first.root);
        assert_eq!(third.bytes_hashed, 17);

        // The cache survives the agent.
        let now = SystemTime::now();
        assert!(hands_client::stop_agent(&home.spec(), false).await.unwrap());
        let cluster = home.cluster().await;
        settle(&tree).await;
        let fourth = snapshot(&cluster, &tree).await.unwrap();
        assert_eq!(fourth.root, third.root);
        assert!(fourth.bytes_hashed <= 17, "{fourth:?} {:?}", now.elapsed());
    });
}

pub(crate) fn evicted_blobs_are_read_again() {
    let home = Home::new();
    let tree = home.work().join("tree");
    write(&tree.join("a"), &vec![1; 200_000]);
    write(&tree.join("b"), b"small");
    run(async {
        let cluster = home.cluster().await;
        settle(&tree).await;
        let first = snapshot(&cluster, &tree).await.unwrap();
        assert!(hands_client::stop_agent(&home.spec(), false).await.unwrap());
        // All blobs are gone; the stat cache still knows the files.
        fs::remove_dir_all(home.state().join("store")).unwrap();
        let cluster = home.cluster().await;
        let again = snapshot(&cluster, &tree).await.unwrap();
        assert_eq!((again.root, again.bytes_hashed), (first.root, 200_005));
        let mut spec = shell("cat b; exec test $(wc -c < a) = 200000");
        spec.input_root = Some(again.root);
        let result = cluster.submit(spec).await.unwrap().wait().await.unwrap();
        assert!(result.is_success(), "{result:?}");
    });
}

pub(crate) fn a_snapshot_can_go_to_another_hub() {
    // Another agent's hub, reached as any hub is: by its address.
    let (ours, theirs) = (Home::new(), Home::new());
    let tree = ours.work().join("tree");
    write(&tree.join("a"), &vec![1; 3_000_000]);
    for i in 0..50 {
        write(&tree.join(format!("many/{i}")), format!("{i}").as_bytes());
    }
    run(async {
        drop(theirs.cluster().await);
        let target = Target::Hub {
            address: hands_link::Address::Unix(theirs.spec().sockets[0].agent.clone()),
            instance: String::new(),
            patience: Duration::from_secs(5),
            agent: ours.spec(),
        };
        let cluster =
            Cluster::connect(target, Invocation::new("test").unwrap(), |_| {}).await.unwrap();
        let first = snapshot(&cluster, &tree).await.unwrap();
        assert!(first.bytes_sent > 3_000_000, "{first:?}");
        let again = snapshot(&cluster, &tree).await.unwrap();
        assert_eq!((again.root, again.bytes_sent), (first.root, 0));
        let mut spec = shell("test $(ls many | wc -l) = 50 && wc -c < a");
        spec.input_root = Some(first.root);
        let result = cluster.submit(spec).await.unwrap().wait().await.unwrap();
        assert!(result.is_success(), "{result:?}");
    });
}

pub(crate) fn many_inputs_are_passed_by_handle() {
    let home = Home::new();
    let work = home.work();
    run(async {
        let cluster = home.cluster().await;
        let mut inputs = Vec::new();
        // More than one message's handles.
        for i in 0..500 {
            let name = format!("f{i}");
            write(&work.join(&name), name.as_bytes());
            inputs.push(
                Input::open(&work.join(&name), RelPath::new(&format!("in/{name}")).unwrap(), true)
                    .unwrap(),
            );
        }
        let taken = cluster.tree(tree(inputs), |_| {}).await.unwrap();
        assert_eq!(taken.files, 500);
        // What is said of a path names it as the person did.
        let pipe = work.join("pipe");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &pipe,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        let taken = snapshot(&cluster, &work).await.unwrap();
        assert_eq!(taken.unfit, [format!("{} (named pipe)", pipe.display())]);
        let error = snapshot(&cluster, &work.join("absent")).await.unwrap_err();
        assert_eq!(error.class(), ErrorClass::User);
    });
}
