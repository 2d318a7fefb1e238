use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::{Bounds, Commit, Db, Write};

const BOUNDS: Bounds =
    Bounds { age: Duration::from_secs(60), bytes: 1 << 20, retained: Duration::from_secs(60) };

fn note(db: &Db, shape: i64) {
    let writes = vec![Write::Duration { shape, micros: 1 }];
    db.submit(Commit { writes, ..Commit::default() });
}

/// Rows that stand in the database itself, without its log.
fn rows_without_log(dir: &Path) -> i64 {
    let alone = dir.join("alone.db");
    fs::copy(dir.join("hub.db"), &alone).unwrap();
    let table = Connection::open(&alone).unwrap();
    table.query_row("SELECT count(*) FROM durations", [], |row| row.get(0)).unwrap_or(0)
}

/// A damaged byte in the log would take along what stands there alone, and nobody would hear of it.
#[test]
fn what_was_written_stands_in_the_database_soon_and_at_the_end() {
    let dir = std::env::temp_dir().join(format!("hands-db-log-{}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    let db = Db::open(&dir, BOUNDS).unwrap();
    note(&db, 1);
    let begun = Instant::now();
    while rows_without_log(&dir) < 1 {
        assert!(begun.elapsed() < Duration::from_secs(60), "it stays in the log");
    }
    note(&db, 2);
    db.close();
    assert_eq!(rows_without_log(&dir), 2);
    drop(db);
    fs::remove_dir_all(&dir).unwrap();
}
