use std::fs;
use std::future::poll_fn;
use std::os::fd::AsFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::task::Poll;

use hands_proto::bytestream::{ReadRequest, ReadResponse};
use hands_proto::reapi::{
    self, BatchReadBlobsResponse, Directory, DirectoryNode, FileNode, OutputFile, SymlinkNode,
    Tree, batch_read_blobs_response,
};
use hands_types::DigestFunction;
use prost::Message as _;

use super::place::{Content as _, open_by_name};
use super::plan::*;
use super::*;
use crate::fake::{Engine, Script, these};
use crate::result::Skew;

#[test]
fn a_disk_keeps_its_reserve_when_outputs_come_back() {
    let dir = TestDir::new();
    let stat = rustix::fs::statvfs(&dir.0).unwrap();
    let free = stat.f_bavail * stat.f_frsize;
    let reserve = hands_types::limits::DISK_RESERVE.min(stat.f_blocks * stat.f_frsize / 20);
    // Other programs write to that disk too.
    let around = 256 << 20;
    let all = free - reserve;
    let (room, dest) = (Room::default(), dir.dest());
    let promise = |bytes| room.promise([(dest.as_fd(), bytes)]);
    let error = promise(all + around).unwrap_err();
    assert!(matches!(error, ClientError::NoRoom { promised: 0, .. }), "{error}");
    // What is few is tried whatever the disk says.
    promise(1 << 20).unwrap();
    let most = promise(all.saturating_sub(around)).unwrap();
    // Results of a batch come beside each other, and each sees the same disk.
    let error = promise(2 * around).unwrap_err();
    assert!(error.to_string().contains("under way"), "{error}");
    // Also those that are few for themselves.
    let few: Vec<_> = std::iter::repeat_with(|| promise(15 << 20)).take(64).collect();
    assert!(few.iter().any(Result::is_err));
    drop(few);
    // What is written shows on the disk.
    most.is_kept(4 * around);
    promise(2 * around).unwrap();
    drop(most);
    drop(promise(all.saturating_sub(around)).unwrap());
}

#[test]
fn room_is_asked_for_where_it_is_needed() {
    let (dir, other) = (TestDir::new(), fs::File::open("/proc").unwrap());
    let [one, two] = [dir.dest(), dir.dest()];
    let sizes = [(one.as_fd(), 3), (other.as_fd(), u64::MAX), (two.as_fd(), 4), (other.as_fd(), 1)];
    let mut sums: Vec<u64> = room::by_disk(sizes.into_iter()).iter().map(|it| it.1).collect();
    sums.sort_unstable();
    assert_eq!(sums, [7, u64::MAX]);
}

struct TestDir(PathBuf);

impl TestDir {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path =
            std::env::temp_dir().join(format!("hands-client-test-{}-{number}", std::process::id()));
        fs::create_dir(&path).unwrap();
        fs::create_dir(path.join("dest")).unwrap();
        Self(path)
    }

    fn dest(&self) -> fs::File {
        fs::File::open(self.0.join("dest")).unwrap()
    }
}

impl Drop for TestDir {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

const FUNCTION: DigestFunction = DigestFunction::Sha256;

fn digest(bytes: &[u8]) -> reapi::Digest {
    hands_tree::hash(FUNCTION, bytes).into()
}

fn file_node(name: &str) -> FileNode {
    FileNode { name: name.to_owned(), digest: Some(digest(b"x")), ..FileNode::default() }
}

fn output_file(path: &str) -> OutputFile {
    OutputFile { path: path.to_owned(), digest: Some(digest(b"x")), ..OutputFile::default() }
}

fn write(place: &Place<'_>, path: &str, text: &[u8]) -> Result<(), ClientError> {
    let mut draft = place.draft(path, false, None)?;
    draft.write(text)?;
    draft.commit()
}

#[test]
fn paths_that_leave_the_destination_are_refused() {
    for path in ["", "/", "/etc/passwd", "..", "../x", "a/../../x", "a//b", "./a", "a/.", "nul\0"] {
        let error = safe(path).unwrap_err();
        assert!(matches!(error, ClientError::HostileOutput { .. }), "{path:?}: {error}");
    }
    assert_eq!(safe("a/b.txt").unwrap(), "a/b.txt");
    let error = safe("../\u{1b}[2Jx").unwrap_err().to_string();
    assert!(error.contains(r"../\u{1b}[2Jx"), "control characters are escaped: {error}");
}

#[test]
fn trees_with_hostile_names_are_refused() {
    for name in ["..", ".", "", "a/b", "/", "x\0"] {
        let directory = Directory { files: vec![file_node(name)], ..Directory::default() };
        let tree = Tree { root: Some(directory), children: vec![] };
        Plan::new(FUNCTION, Skew::default()).tree("out", &tree).unwrap_err();
        let link =
            SymlinkNode { name: name.to_owned(), target: "t".to_owned(), ..SymlinkNode::default() };
        let tree = Tree {
            root: Some(Directory { symlinks: vec![link], ..Directory::default() }),
            children: vec![],
        };
        Plan::new(FUNCTION, Skew::default()).tree("out", &tree).unwrap_err();
    }
    let absent = DirectoryNode { name: "d".to_owned(), digest: Some(digest(b"not there")) };
    let tree = Tree {
        root: Some(Directory { directories: vec![absent], ..Directory::default() }),
        children: vec![],
    };
    Plan::new(FUNCTION, Skew::default()).tree("out", &tree).unwrap_err();
}

/// Whichever of the two came last would be there, and the other not.
#[test]
fn a_name_that_stands_twice_in_a_directory_is_refused() {
    let link = |name: &str| SymlinkNode {
        name: name.to_owned(),
        target: "t".to_owned(),
        ..SymlinkNode::default()
    };
    let twice = Directory { files: vec![file_node("a"), file_node("a")], ..Directory::default() };
    let mixed = Directory {
        files: vec![file_node("a")],
        symlinks: vec![link("a")],
        ..Directory::default()
    };
    let links = Directory { symlinks: vec![link("a"), link("a")], ..Directory::default() };
    let long = Directory { files: vec![file_node(&"x".repeat(256))], ..Directory::default() };
    for (directory, word) in
        [(twice, "twice"), (mixed, "twice"), (links, "twice"), (long, "not one")]
    {
        let tree = Tree { root: Some(directory), children: vec![] };
        let error = Plan::new(FUNCTION, Skew::default()).tree("out", &tree).unwrap_err();
        assert!(error.to_string().contains(word), "{error}");
    }
}

#[test]
fn a_small_tree_that_names_itself_a_million_times_is_refused() {
    // 2^24 entries in 24 small directories.
    let mut children: Vec<Directory> =
        vec![Directory { files: vec![file_node("f")], ..Directory::default() }];
    for _ in 0..24 {
        let below = digest(&children.last().unwrap().encode_to_vec());
        let node =
            |name: &str| DirectoryNode { name: name.to_owned(), digest: Some(below.clone()) };
        children
            .push(Directory { directories: vec![node("a"), node("b")], ..Directory::default() });
    }
    let tree = Tree { root: children.pop(), children };
    let error = Plan::new(FUNCTION, Skew::default()).tree("out", &tree).unwrap_err().to_string();
    assert!(error.contains("more than"), "{error}");
}

#[test]
fn nothing_stands_below_a_link_or_a_file_of_the_same_result() {
    let mut plan = Plan::new(FUNCTION, Skew::default());
    plan.link("x".to_owned(), "/etc", None).unwrap();
    plan.file("x/passwd".to_owned(), &output_file("x/passwd")).unwrap();
    assert!(plan.check().unwrap_err().to_string().contains("stands below `x`"));

    let mut plan = Plan::new(FUNCTION, Skew::default());
    plan.link("x".to_owned(), "/etc", None).unwrap();
    plan.file("x".to_owned(), &output_file("x")).unwrap();
    assert!(plan.check().unwrap_err().to_string().contains("twice"));
}

#[test]
fn links_that_were_there_are_followed_only_while_they_stay_inside() {
    let dir = TestDir::new();
    let outside = dir.0.join("outside");
    fs::create_dir(&outside).unwrap();
    let dest = dir.0.join("dest");
    fs::create_dir(dest.join("real")).unwrap();
    symlink("real", dest.join("inside")).unwrap();
    symlink(&outside, dest.join("absolute")).unwrap();
    symlink("../outside", dest.join("relative")).unwrap();
    let handle = dir.dest();
    let place = Place::new(handle.as_fd());
    for path in ["absolute/f", "relative/f", "absolute/new/f", "relative/../../f"] {
        let error = write(&place, path, b"x").unwrap_err();
        assert!(matches!(error, ClientError::HostileOutput { .. }), "{path}: {error}");
    }
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    #[cfg(target_os = "linux")]
    {
        write(&place, "inside/f", b"x").unwrap();
        assert_eq!(fs::read(dest.join("real/f")).unwrap(), b"x");
    }
    // The portable way follows none at all.
    for path in ["inside", "absolute", "relative"] {
        assert_eq!(
            open_by_name(handle.as_fd(), path).unwrap_err(),
            rustix::io::Errno::LOOP,
            "{path}"
        );
    }
    open_by_name(handle.as_fd(), "real").unwrap();
}

#[test]
fn a_file_replaces_a_link_and_never_what_it_points_to() {
    let dir = TestDir::new();
    let dest = dir.0.join("dest");
    fs::write(dir.0.join("victim"), "keep").unwrap();
    symlink("../victim", dest.join("f")).unwrap();
    let handle = dir.dest();
    let place = Place::new(handle.as_fd());
    write(&place, "f", b"new").unwrap();
    assert_eq!(fs::read(dir.0.join("victim")).unwrap(), b"keep");
    assert!(fs::symlink_metadata(dest.join("f")).unwrap().is_file());
    place.link("f", "../victim", None).unwrap();
    assert_eq!(fs::read_link(dest.join("f")).unwrap(), PathBuf::from("../victim"));
    assert_eq!(fs::read(dir.0.join("victim")).unwrap(), b"keep");
}

#[test]
fn an_unfinished_file_leaves_the_old_one_and_nothing_beside() {
    let dir = TestDir::new();
    let dest = dir.0.join("dest");
    fs::write(dest.join("f"), "old").unwrap();
    let handle = dir.dest();
    let place = Place::new(handle.as_fd());
    let mut draft = place.draft("f", true, None).unwrap();
    draft.write(b"half").unwrap();
    drop(draft);
    assert_eq!(fs::read(dest.join("f")).unwrap(), b"old");
    assert_eq!(fs::read_dir(&dest).unwrap().count(), 1);

    let mut draft = place.draft("f", true, None).unwrap();
    draft.write(b"whole").unwrap();
    draft.commit().unwrap();
    assert_eq!(fs::read(dest.join("f")).unwrap(), b"whole");
    assert_eq!(fs::metadata(dest.join("f")).unwrap().permissions().mode() & 0o100, 0o100);
    // A directory is in the way: an error, and still nothing beside it.
    fs::create_dir(dest.join("d")).unwrap();
    fs::write(dest.join("d/keep"), "").unwrap();
    let error = write(&place, "d", b"x").unwrap_err();
    assert!(matches!(error, ClientError::Write { .. }), "{error}");
    assert_eq!(fs::read_dir(&dest).unwrap().count(), 2);
    assert!(dest.join("d/keep").exists());
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_is_one_clear_error() {
    // Where writing always says so.
    let Ok(mut full) = fs::File::options().write(true).open("/dev/full") else { return };
    let source = std::io::Write::write_all(&mut full, b"x").unwrap_err();
    let error = ClientError::Write { path: "out".to_owned(), source };
    assert_eq!(error.class(), hands_types::ErrorClass::Environment);
    assert!(error.hint().unwrap().contains("free some space"));
}

#[test]
fn a_file_counts_for_all_outputs_that_it_stands_in() {
    let paths = ["", "a", "a/b", "a/bc", "b"];
    let mut tops: BTreeMap<String, u64> =
        paths.iter().map(|path| ((*path).to_owned(), 0)).collect();
    count(&mut tops, "a/b", 1);
    count(&mut tops, "a/b/c", 2);
    count(&mut tops, "a/bc", 4);
    assert_eq!(tops.into_values().collect::<Vec<_>>(), [7, 7, 3, 4, 0]);
    // As `-o '*'` makes it: a look at each output for each file takes minutes.
    let names: Vec<String> = (0..200_000).map(|n| format!("d/{n}")).collect();
    let mut tops = names.iter().map(|name| (name.clone(), 0)).collect();
    let began = std::time::Instant::now();
    names.iter().for_each(|name| count(&mut tops, name, 1));
    assert!(tops.values().all(|bytes| *bytes == 1));
    assert!(began.elapsed().as_secs() < 20, "{:?}", began.elapsed());
}

/// Each of 64 results of a batch has files of its own, and each file under way takes descriptors.
#[tokio::test]
async fn large_files_under_way_are_bounded_over_all_results() {
    let contents = |n: usize| bytes::Bytes::from(format!("{n:03}").repeat(30_000));
    let (now, most) = <(Arc<AtomicUsize>, Arc<AtomicUsize>)>::default();
    let counted = (Arc::clone(&now), Arc::clone(&most));
    let all: BTreeMap<String, usize> =
        (0..120).map(|n| (hands_tree::hash(FUNCTION, &contents(n)).hex(), n)).collect();
    let read = Box::new(move |_, request: ReadRequest| {
        let hash = request.resource_name.rsplit('/').nth(1).unwrap();
        let data = contents(all[hash]);
        let (now, most) = (Arc::clone(&counted.0), Arc::clone(&counted.1));
        most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        let piece = async move {
            // As long as a file takes on its way.
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            now.fetch_sub(1, Ordering::SeqCst);
            Ok(ReadResponse { data })
        };
        Ok(futures_util::stream::once(piece).boxed())
    });
    let engine = Engine::start(Script { read, ..Script::default() }).await;
    let dir = TestDir::new();
    let landings = (0..12).map(|landing| {
        let file = |n: usize| OutputFile {
            path: format!("{n}"),
            digest: Some(hands_tree::hash(FUNCTION, &contents(n)).into()),
            ..OutputFile::default()
        };
        let files = (landing * 10..landing * 10 + 10).map(file).collect();
        let result = ActionResult { output_files: files, ..ActionResult::default() };
        let response =
            reapi::ExecuteResponse { result: Some(result), ..reapi::ExecuteResponse::default() };
        (JobResult::new(String::new(), None, response, true, None), dir.dest())
    });
    let landings: Vec<_> = landings.collect();
    let fetches = landings.iter().map(|(result, dest)| async {
        engine.cluster.fetch_outputs(result, dest.as_fd()).await.unwrap();
    });
    futures_util::future::join_all(fetches).await;
    assert_eq!(fs::read_dir(dir.0.join("dest")).unwrap().count(), 120);
    assert_eq!(now.load(Ordering::SeqCst), 0);
    let most = most.load(Ordering::SeqCst);
    assert!((8..=32).contains(&most), "{most} files were under way at once");
}

/// Whoever waits for equal outputs may be called away between any of them.
#[tokio::test]
async fn equal_files_are_not_all_written_at_once() {
    let (small, large) =
        (bytes::Bytes::from_static(b"small"), bytes::Bytes::from(vec![7; 3 << 20]));
    let (few, many) = (12, 400);
    let digest = |content: &[u8]| hands_tree::hash(FUNCTION, content);
    let answer = BatchReadBlobsResponse {
        responses: vec![batch_read_blobs_response::Response {
            digest: Some(digest(&small).into()),
            data: small.clone(),
            ..Default::default()
        }],
    };
    let batch_read = Box::new(move |_, _| Ok(answer.clone()));
    let whole = large.clone();
    let read = Box::new(move |_, _| {
        let pieces = (0..3).map(|n| whole.slice(n << 20..(n + 1) << 20));
        Ok(these(pieces.map(|data| Ok(ReadResponse { data }))))
    });
    let engine = Engine::start(Script { batch_read, read, ..Script::default() }).await;
    for (content, count, most) in [(&small, many, 200), (&large, few, 2)] {
        let dir = TestDir::new();
        let file = |n| OutputFile {
            path: format!("{n}"),
            digest: Some(digest(content).into()),
            ..OutputFile::default()
        };
        let files = (0..count).map(file).collect();
        let result = ActionResult { output_files: files, ..ActionResult::default() };
        let response =
            reapi::ExecuteResponse { result: Some(result), ..reapi::ExecuteResponse::default() };
        let result = JobResult::new(String::new(), None, response, true, None);
        let dest = dir.dest();
        let fetched = engine.cluster.fetch_outputs(&result, dest.as_fd());
        let mut fetched = std::pin::pin!(fetched);
        let (mut seen, mut jump) = (0, 0);
        loop {
            let is_done = poll_fn(|cx| {
                let polled = fetched.as_mut().poll(cx);
                Poll::Ready(polled.map(Result::unwrap).is_ready())
            });
            let is_done = is_done.await;
            let now = fs::read_dir(dir.0.join("dest")).unwrap().count();
            jump = jump.max(now.saturating_sub(seen));
            seen = now;
            if is_done {
                break;
            }
            tokio::task::yield_now().await;
        }
        assert_eq!(seen, count);
        assert!(jump <= most, "{jump} of {count} in one go");
    }
}
