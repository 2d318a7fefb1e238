use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use bytes::Bytes;
use hands_store::{Store, StoreError};
use hands_types::{Digest, DigestFunction};

use super::common::{Random, SHA, blob, config, open};

/// Names the directory in which the child of the test below writes.
const CHILD: &str = "HANDS_STORE_TEST_CHILD";

const SIZES: [usize; 4] = [100, 9000, 20_000, 50_000];

fn content(name: u64) -> (Digest, Bytes) {
    let function = if name.is_multiple_of(5) { DigestFunction::Blake3 } else { SHA };
    blob(function, name, SIZES[usize::try_from(name % 7 % 4).unwrap()])
}

/// Writes until it is killed, and says after each step what was acknowledged. Does nothing in an ordinary run.
#[test]
fn child() {
    let Some(dir) = std::env::var_os(CHILD) else { return };
    let dir = Path::new(&dir);
    let mut out = std::fs::File::options().append(true).open("/dev/stdout").unwrap();
    let first: u64 = std::fs::read_to_string(dir.join("first")).unwrap().parse().unwrap();
    let store = open(dir);
    for name in (first..).step_by(8) {
        let batch: Vec<_> = (name..name + 6).map(content).collect();
        let mut acknowledged = Vec::new();
        for (name, result) in (name..).zip(store.put_many(batch)) {
            result.unwrap();
            writeln!(acknowledged, "ack {name}").unwrap();
        }
        let (digest, bytes) = content(name + 6);
        let mut writer = store.writer(digest).unwrap();
        writer.write(&bytes).unwrap();
        writer.commit().unwrap();
        store.action_put("", content(name + 7).0, Bytes::from(name.to_string())).unwrap();
        writeln!(acknowledged, "ack {}\naction {name}", name + 6).unwrap();
        if name % 64 == 0 {
            store.flush().unwrap();
        }
        out.write_all(&acknowledged).unwrap();
    }
}

#[test]
fn what_was_acknowledged_survives_kill_9_at_any_point() {
    let dir = tempfile::tempdir().unwrap();
    let mut random = Random(11);
    let mut blobs: Vec<u64> = Vec::new();
    let mut actions: Vec<u64> = Vec::new();
    for round in 0..10_u64 {
        std::fs::write(dir.path().join("first"), (round * 1_000_000).to_string()).unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["it::durability::child", "--exact", "--nocapture", "--test-threads=1"])
            .env(CHILD, dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let wanted = 1 + random.below(200);
        let mut heard = 0;
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            match line.split_once(' ') {
                Some(("ack", name)) => blobs.push(name.parse().unwrap()),
                Some(("action", name)) => actions.push(name.parse().unwrap()),
                _ => continue,
            }
            heard += 1;
            if heard == wanted {
                // SIGKILL; what it had said before is still in the pipe.
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert!(heard >= wanted, "the child ended by itself");

        let store = open(dir.path());
        let digests: Vec<Digest> = blobs.iter().map(|name| content(*name).0).collect();
        assert_eq!(store.missing(&digests).unwrap(), []);
        let from = if round == 9 {
            0
        } else {
            blobs.len().saturating_sub(usize::try_from(heard).unwrap())
        };
        for name in &blobs[from..] {
            let (digest, bytes) = content(*name);
            assert_eq!(store.read(&digest).unwrap(), Some(bytes), "{name}");
        }
        for name in &actions {
            let result = store.action("", &content(name + 7).0).unwrap();
            assert_eq!(result, Some(Bytes::from(name.to_string())), "{name}");
        }
        assert_eq!(store.usage().corrupt, 0);
        assert_eq!(std::fs::read_dir(store.dir().join("tmp")).unwrap().count(), 0);
    }
}

/// What the counters say is what stands on the disk, also after kills and restarts.
#[test]
fn usage_is_what_the_disk_says() {
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let store = open(dir.path());
        for name in 0..60 {
            let (digest, bytes) = content(name);
            store.put(digest, bytes).unwrap();
        }
        store.delete(&content(3).0).unwrap();
        drop(store);
        let store = open(dir.path());
        let size = |dir: &str| -> u64 {
            walk(&store.dir().join(dir)).into_iter().map(|len| len.div_ceil(4096) * 4096).sum()
        };
        let usage = store.usage();
        assert_eq!(usage.file_bytes, size("blobs"));
        assert_eq!(usage.pack_bytes, walk(&store.dir().join("packs")).into_iter().sum::<u64>());
    }
}

fn walk(dir: &Path) -> Vec<u64> {
    let mut sizes = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        match entry.metadata().unwrap() {
            metadata if metadata.is_dir() => sizes.extend(walk(&entry.path())),
            metadata => sizes.push(metadata.len()),
        }
    }
    sizes
}

#[test]
fn a_full_disk_is_an_error_that_passes() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: mounting a small file system needs root");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let run = |program: &str, args: &[&str]| {
        assert!(Command::new(program).args(args).status().unwrap().success(), "{program} {args:?}");
    };
    let at = dir.path().to_str().unwrap().to_owned();
    run("mount", &["-t", "tmpfs", "-o", "size=6m", "tmpfs", &at]);
    let result = std::panic::catch_unwind(|| {
        let mut config = config(dir.path());
        config.quota = Some(1 << 30);
        let store = Store::open(config).unwrap();
        let mut kept: Vec<(Digest, Bytes)> = Vec::new();
        let mut pins = Vec::new();
        let mut full = 0;
        for name in 0..200 {
            let (digest, bytes) = blob(SHA, name, if name % 2 == 0 { 10_000 } else { 100_000 });
            // Pinned, so that the store can't make room.
            let pin = store.pin([digest]);
            match store.put(digest, bytes.clone()) {
                Ok(()) => {
                    kept.push((digest, bytes));
                    pins.push(pin);
                }
                Err(error) => {
                    assert!(error.is_full(), "{error:?}");
                    full += 1;
                }
            }
        }
        assert!(full > 50 && kept.len() > 30, "{full} {}", kept.len());
        assert_eq!(std::fs::read_dir(store.dir().join("tmp")).unwrap().count(), 0);
        for (digest, bytes) in &kept {
            assert_eq!(store.read(digest).unwrap().as_ref(), Some(bytes));
        }
        let error = store.put(blob(SHA, 999, 3 << 20).0, blob(SHA, 999, 3 << 20).1).unwrap_err();
        assert!(matches!(error, StoreError::Full { .. } | StoreError::Io { .. }));
    });
    // Lazily: the thread that syncs the disk ends a moment after the store.
    run("umount", &["-l", &at]);
    result.unwrap();
}

/// Somebody's `rm -rf` of a directory in use.
#[test]
fn nothing_is_acknowledged_where_the_directory_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let (known, new) = (blob(SHA, 1, 100), blob(SHA, 2, 100));
    store.put(known.0, known.1.clone()).unwrap();
    std::fs::remove_dir_all(store.dir()).unwrap();
    for (digest, bytes) in [known, new] {
        let refused = store.put(digest, bytes);
        assert!(matches!(refused, Err(StoreError::Vanished { .. })), "{refused:?}");
    }
}

/// Too few descriptors, or too little memory, for a moment is nobody's `rm -rf`.
#[test]
fn what_can_not_be_seen_is_not_taken_for_deleted() {
    use std::os::unix::fs::MetadataExt as _;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    std::fs::write(&path, "").unwrap();
    let metadata = path.metadata().unwrap();
    let file = (metadata.dev(), metadata.ino());
    assert!(hands_store::still_leads_to(&path, file));
    for gone in [dir.path().to_owned(), dir.path().join("none"), path.join("below")] {
        assert!(!hands_store::still_leads_to(&gone, file), "{gone:?}");
    }
    // No file system has such a name, so nothing is known of it.
    assert!(hands_store::still_leads_to(&dir.path().join("x".repeat(300)), file));
}
