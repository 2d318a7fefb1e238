//! What can only be shown from inside: versions of the database, the size of the index in memory.

use std::collections::BTreeSet;

use bytes::Bytes;
use hands_types::DigestFunction;

use crate::config::{Durability, StoreConfig};
use crate::db;
use crate::error::StoreError;
use crate::index::NEW;
use crate::store::Store;

const SHA: DigestFunction = DigestFunction::Sha256;

#[test]
fn a_newer_schema_is_refused_and_an_older_one_migrates_and_leaves_a_copy() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("index.db");
    let one = ["CREATE TABLE a (x); INSERT INTO a VALUES (1);"];
    let two = [one[0], "ALTER TABLE a ADD COLUMN y;"];
    drop(db::open(&path, Durability::Second, &one).unwrap());
    drop(db::open(&path, Durability::Second, &two).unwrap());
    let copy = rusqlite::Connection::open(dir.path().join("index.v1.db")).unwrap();
    assert_eq!(copy.query_row("SELECT x FROM a", [], |row| row.get::<_, i64>(0)).unwrap(), 1);
    let error = db::open(&path, Durability::Second, &one).unwrap_err();
    assert!(matches!(error, StoreError::Newer { found: 2, known: 1, .. }), "{error}");
    assert!(error.to_string().contains("newer version of hands"), "{error}");
}

#[test]
fn the_index_forgets_what_is_evicted_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = StoreConfig::new(dir.path());
    config.quota = Some(1 << 20);
    config.reserve = 0;
    config.restart_grace = std::time::Duration::ZERO;
    let store = Store::open(config).unwrap();
    let blob = |n: usize| [&n.to_le_bytes()[..], &[0; 700]].concat();
    let put = |n| store.put_bytes(DigestFunction::Sha256, &blob(n)).unwrap();
    let digests: Vec<_> = (0..12 * NEW).map(put).collect();
    store.flush().unwrap();
    let gone: BTreeSet<_> = store.missing(&digests).unwrap().into_iter().collect();
    assert!(gone.len() > 9 * NEW, "{} of {} are gone", gone.len(), digests.len());
    // By the database itself, not by what is known of it.
    let inner = &store.inner;
    let there = |digest| inner.readers.read("look", |c| crate::read::row(c, digest)).unwrap();
    for digest in &digests {
        assert_eq!(gone.contains(digest), there(digest).is_none());
    }
    // Each call to the store flushed; the thread has looked at its index after the last one when it answers this.
    store.flush().unwrap();
    let n_prefixes = db::lock(&inner.index).n_prefixes();
    assert!(n_prefixes <= 4 * NEW, "{n_prefixes}");
}

#[test]
fn a_store_beyond_its_quota_does_not_look_for_room_with_each_blob() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = StoreConfig {
        quota: Some(1 << 20),
        reserve: 0,
        restart_grace: std::time::Duration::ZERO,
        ..StoreConfig::new(dir.path().join("store"))
    };
    let store = Store::open(config).expect("a store");
    let blob = |n: u32| {
        let bytes = n.to_le_bytes().repeat(500);
        (hands_tree::hash(SHA, &bytes), Bytes::from(bytes))
    };
    let all: Vec<_> = (0..3000).map(blob).collect();
    // An open invocation's inputs, six times the quota.
    let pin = store.pin(all.iter().map(|(digest, _)| *digest));
    for (digest, bytes) in all {
        store.put(digest, bytes).expect("pinned blobs may exceed the quota");
        // What other work lets go meanwhile is no reason to look again at once.
        drop(store.pin([digest]));
    }
    let searches = store.inner.searches.load(std::sync::atomic::Ordering::Relaxed);
    assert!(searches <= 20, "{searches} searches for 3000 blobs");
    assert!(store.fits(1 << 20).is_ok());
    let error = store.fits((1 << 20) + 1).expect_err("more than the quota");
    assert!(error.is_full() && error.to_string().contains("quota is 1 MiB"), "{error}");
    drop(pin);
}

#[test]
fn an_index_without_names_gets_them_and_what_was_half_named_is_let_go() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = StoreConfig {
        quota: Some(1 << 20),
        reserve: 0,
        restart_grace: std::time::Duration::ZERO,
        ..StoreConfig::new(dir.path())
    };
    drop(db::open(&dir.path().join("index.db"), Durability::Second, &db::MIGRATIONS[..1]).unwrap());
    let store = Store::open(config.clone()).expect("an older index");
    let directory = store.put_bytes(SHA, b"").expect("an empty directory");
    let name = hands_types::TreeName::new("empty").expect("a name");
    store.name_tree(&name, &directory).expect("it is whole");
    // As a kill leaves it in the middle of naming another.
    let blob = store.put_bytes(SHA, &[7; 9000]).expect("a blob");
    let begun = move |connection: &rusqlite::Connection| {
        connection.execute("INSERT INTO unnamed VALUES (5)", [])?;
        let key = crate::recover::key(&blob);
        connection.execute("INSERT INTO kept VALUES (?1, 5, 9000)", [key])
    };
    store.inner.writer.run("begin", begun).expect("a row");
    drop(store);
    let store = Store::open(config).expect("a store");
    // The thread that takes it away answers this afterwards.
    store.flush().expect("it answers");
    let rows = store.inner.readers.read("count", |connection| {
        connection.query_row(
            "SELECT (SELECT count(*) FROM kept), (SELECT count(*) FROM unnamed)",
            [],
            |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)),
        )
    });
    assert_eq!(rows.expect("counts"), (1, 0));
    let usage = store.usage();
    assert!(usage.named == 1 && usage.named_bytes > 0, "{usage:?}");
}
