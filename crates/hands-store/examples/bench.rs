//! Figures of the store on this machine: `cargo run --release -p hands-store --example bench -- DIR`.
//!
//! DIR must be on the file system that is to be measured; everything is written below a new directory in it, which is
//! removed in the end.

use std::io::{Seek as _, Write as _};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hands_proto::reapi;
use hands_store::{Store, StoreConfig};
use hands_tree::{Entry, Leaf};
use hands_types::{Digest, DigestFunction, RelPath};
use prost::Message as _;

const SHA: DigestFunction = DigestFunction::Sha256;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome<()> {
    let parent = std::env::args_os().nth(1).unwrap_or_else(|| ".".into());
    let dir = tempfile::tempdir_in(parent)?;
    let mut config = StoreConfig::new(dir.path().join("store"));
    config.quota = Some(60 << 30);
    let mut out = std::io::stdout();
    let store = Store::open(config.clone())?;

    let blobs = make(0, 200_000, 1024);
    let begun = Instant::now();
    for (digest, bytes) in &blobs[..50_000] {
        store.put(*digest, bytes.clone())?;
    }
    rate(&mut out, "put of 1 KiB, one by one", 50_000, begun.elapsed())?;
    let begun = Instant::now();
    for batch in blobs[50_000..].chunks(100) {
        for result in store.put_many(batch.to_vec()) {
            result?;
        }
    }
    rate(&mut out, "put of 1 KiB, batches of 100", 150_000, begun.elapsed())?;
    let begun = Instant::now();
    store.flush()?;
    writeln!(out, "writing the rest down: {:?}", begun.elapsed())?;
    let begun = Instant::now();
    for (digest, _) in &blobs[..50_000] {
        store.read(digest)?.ok_or("gone")?;
    }
    rate(&mut out, "read of 1 KiB", 50_000, begun.elapsed())?;

    let there: Vec<Digest> = blobs[..1000].iter().map(|(digest, _)| *digest).collect();
    let absent: Vec<Digest> = make(1 << 40, 1000, 16).iter().map(|(digest, _)| *digest).collect();
    median(&mut out, "missing() of 1,000, all there, warm", || Ok(store.missing(&there)?.len()))?;
    median(&mut out, "missing() of 1,000, none there", || Ok(store.missing(&absent)?.len()))?;

    let action = there[0];
    store.action_put("", action, Bytes::from(vec![1; 500]))?;
    median(&mut out, "action() hit", || Ok(store.action("", &action)?.map_or(0, |b| b.len())))?;
    median(&mut out, "action_put()", || {
        Ok(store.action_put("", action, Bytes::from(vec![1; 500])).map(|()| 0)?)
    })?;

    large(&mut out, &store, dir.path())?;
    trees(&mut out, &store)?;
    drop(store);
    million(&mut out, config)
}

fn large(out: &mut impl std::io::Write, store: &Store, dir: &std::path::Path) -> Outcome<()> {
    let path = dir.join("large");
    let mut file = std::fs::File::options().read(true).write(true).create_new(true).open(&path)?;
    for n in 0..1024 {
        file.write_all(&make(1 << 41 | n, 1, 1 << 20)[0].1)?;
    }
    file.rewind()?;
    let begun = Instant::now();
    let digest = store.ingest(SHA, &mut file)?;
    speed(out, "ingest of 1 GiB", 1 << 30, begun.elapsed())?;
    let begun = Instant::now();
    let reader = store.reader(&digest)?.ok_or("gone")?;
    let mut at = 0;
    while at < reader.size() {
        at += reader.read_at(at, 256 << 10)?.len() as u64;
    }
    speed(out, "read of 1 GiB", 1 << 30, begun.elapsed())?;
    std::fs::remove_file(path)?;
    Ok(())
}

fn trees(out: &mut impl std::io::Write, store: &Store) -> Outcome<()> {
    let stager = store.stager();
    let begun = Instant::now();
    let blobs = make(1 << 42, 2000, 100 << 10);
    writeln!(out, "(making and hashing 2,000 x 100 KiB: {:?})", begun.elapsed())?;
    let begun = Instant::now();
    for (digest, bytes) in &blobs {
        store.put(*digest, bytes.clone())?;
    }
    speed(out, "put of 2,000 x 100 KiB", 2000 * (100 << 10), begun.elapsed())?;
    let root =
        tree(store, blobs.iter().enumerate().map(|(i, b)| (format!("{}/{i}", i % 20), b.0)))?;
    timed(out, "stage 2,000 x 100 KiB, cold", || stager.stage(&root))?;
    median(out, "stage it again", || Ok(stager.stage(&root)?.lowers().len()))?;

    for (what, spread) in [("in 50 directories", 50), ("in one directory", 1)] {
        let blobs = make((1 << 43) + spread, 5000, 4000);
        for result in store.put_many(blobs.clone()) {
            result?;
        }
        let name = |i: usize| format!("{}/file-{i}", i as u64 % spread);
        let root = tree(store, blobs.iter().enumerate().map(|(i, b)| (name(i), b.0)))?;
        timed(out, &format!("stage 5,000 x 4 KB {what}, cold"), || stager.stage(&root))?;
        let mut times = Vec::new();
        for n in 0..15 {
            let (digest, bytes) = make((1 << 44) + spread * 100 + n, 1, 4000).remove(0);
            store.put(digest, bytes)?;
            let changed = blobs
                .iter()
                .enumerate()
                .map(|(i, b)| (name(i), if i == 77 { digest } else { b.0 }));
            let root = tree(store, changed)?;
            let begun = Instant::now();
            let staged = stager.stage(&root)?;
            times.push(begun.elapsed());
            assert_eq!(staged.lowers().len(), 2);
        }
        times.sort();
        writeln!(
            out,
            "stage it with one file changed: p50 {:?}, worst of 15 {:?}",
            times[7], times[14]
        )?;
    }
    Ok(())
}

/// A store with a million blobs, opened after a kill's worth of log was left behind.
fn million(out: &mut impl std::io::Write, config: StoreConfig) -> Outcome<()> {
    let store = Store::open(config.clone())?;
    let mut some = Vec::new();
    let begun = Instant::now();
    for n in 0..80 {
        let blobs = make((1 << 45) + n * 10_000, 10_000, 64);
        some.extend(blobs.iter().take(10).map(|(digest, _)| *digest));
        for result in store.put_many(blobs) {
            result?;
        }
    }
    rate(out, "put of 64 bytes, batches of 10,000, made meanwhile", 800_000, begun.elapsed())?;
    drop(store);
    let begun = Instant::now();
    let store = Store::open(config)?;
    let opened = begun.elapsed();
    some.extend(make(1 << 46, 200, 16).iter().map(|(digest, _)| *digest));
    let missing = store.missing(&some)?.len();
    writeln!(
        out,
        "open with 1,000,000 blobs: {opened:?}; first missing() of 1,000 answered after {:?}",
        begun.elapsed()
    )?;
    assert_eq!(missing, 200);
    Ok(())
}

fn make(seed: u64, n: u64, size: usize) -> Vec<(Digest, Bytes)> {
    (0..n)
        .map(|i| {
            let mut state = (seed + i).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
            let mut bytes = Vec::with_capacity(size + 8);
            while bytes.len() < size {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                bytes.extend_from_slice(&state.to_le_bytes());
            }
            bytes.truncate(size);
            (hands_tree::hash(SHA, &bytes), bytes.into())
        })
        .collect()
}

fn tree(store: &Store, files: impl Iterator<Item = (String, Digest)>) -> Outcome<Digest> {
    let entries = files
        .map(|(path, digest)| {
            Ok(Entry { path: RelPath::new(&path)?, leaf: Leaf::File { digest, executable: false } })
        })
        .collect::<Outcome<Vec<_>>>()?;
    let built = hands_tree::build(SHA, entries, |directory| {
        let digest = |digest: &Digest| Some(reapi::Digest::from(digest));
        let files = directory.files.iter().map(|node| reapi::FileNode {
            name: node.name.clone(),
            digest: digest(&node.digest),
            ..Default::default()
        });
        let directories = directory.directories.iter().map(|node| reapi::DirectoryNode {
            name: node.name.clone(),
            digest: digest(&node.digest),
        });
        let (files, directories) = (files.collect(), directories.collect());
        reapi::Directory { files, directories, ..Default::default() }.encode_to_vec()
    })?;
    let root = built.last().ok_or("no root")?.digest;
    for directory in built {
        store.put(directory.digest, directory.bytes.into())?;
    }
    Ok(root)
}

fn rate(out: &mut impl std::io::Write, what: &str, n: u32, time: Duration) -> std::io::Result<()> {
    writeln!(out, "{what}: {:.0}/s", f64::from(n) / time.as_secs_f64())
}

fn speed(
    out: &mut impl std::io::Write,
    what: &str,
    bytes: u32,
    time: Duration,
) -> std::io::Result<()> {
    writeln!(out, "{what}: {time:?}, {:.0} MB/s", f64::from(bytes) / 1e6 / time.as_secs_f64())
}

fn timed<T, E: std::error::Error + 'static>(
    out: &mut impl std::io::Write,
    what: &str,
    work: impl FnOnce() -> Result<T, E>,
) -> Outcome<()> {
    let begun = Instant::now();
    work()?;
    writeln!(out, "{what}: {:?}", begun.elapsed())?;
    Ok(())
}

fn median(
    out: &mut impl std::io::Write,
    what: &str,
    mut work: impl FnMut() -> Outcome<usize>,
) -> Outcome<()> {
    let mut times = Vec::new();
    for _ in 0..101 {
        let begun = Instant::now();
        work()?;
        times.push(begun.elapsed());
    }
    times.sort();
    writeln!(out, "{what}: p50 {:?}, p99 {:?}", times[50], times[99])?;
    Ok(())
}
