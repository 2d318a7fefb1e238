//! What can only be shown from inside: versions of the database.

use crate::config::Durability;
use crate::db;
use crate::error::StoreError;

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
