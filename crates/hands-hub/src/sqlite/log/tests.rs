use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::lost_frames;

/// A database whose process was killed: its files, and the connection that keeps them as they are.
fn killed(name: &str) -> (PathBuf, Connection) {
    let dir = std::env::temp_dir().join(format!("hands-log-{name}-{}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    let table = Connection::open(dir.join("t.db")).unwrap();
    table.execute_batch("PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0;").unwrap();
    table.execute_batch("CREATE TABLE t(n INTEGER, x BLOB);").unwrap();
    for n in 0..8 {
        table.execute("INSERT INTO t VALUES(?1, zeroblob(3000))", [n]).unwrap();
    }
    (dir, table)
}

fn with(log: &Path, change: impl FnOnce(&mut Vec<u8>)) -> u64 {
    let mut bytes = fs::read(log).unwrap();
    change(&mut bytes);
    let changed = log.with_extension("changed");
    fs::write(&changed, bytes).unwrap();
    lost_frames(&changed).unwrap()
}

#[test]
fn each_damaged_byte_of_a_log_is_seen_and_a_torn_end_is_none() {
    let (dir, table) = killed("damage");
    let log = dir.join("t.db-wal");
    let length = fs::read(&log).unwrap().len();
    let n_frames = (length - 32) / 4120;
    assert!(n_frames > 16 && (length - 32).is_multiple_of(4120), "{length}");
    assert_eq!(lost_frames(&log).unwrap(), 0);
    assert_eq!(lost_frames(&dir.join("none")).unwrap(), 0);
    for at in [0, 9, 17, 25] {
        assert_eq!(with(&log, |bytes| bytes[at] ^= 0x55), n_frames as u64, "header, {at}");
    }
    // Its page number, its commit mark, its checksum, its page.
    for frame in [0, 5, n_frames - 1] {
        for at in [0, 7, 16, 24, 4119] {
            let lost = with(&log, |bytes| bytes[32 + frame * 4120 + at] ^= 0x55);
            assert_eq!(lost, (n_frames - frame) as u64, "frame {frame}, {at}");
        }
    }
    // A frame that does not look like one of this log, and others behind it.
    assert_eq!(with(&log, |bytes| bytes[32 + 8] ^= 0x55), n_frames as u64 - 1);
    for cut in [31, 33, 4120, 5000] {
        assert_eq!(with(&log, |bytes| bytes.truncate(length - cut)), 0, "without the last {cut}");
    }
    drop(table);
    fs::remove_dir_all(dir).unwrap();
}

/// A log that begins anew keeps the frames of its last round behind those of this one.
#[test]
fn frames_of_an_earlier_round_are_not_lost() {
    let (dir, table) = killed("round");
    let log = dir.join("t.db-wal");
    let length = fs::metadata(&log).unwrap().len();
    table.query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(())).unwrap();
    table.execute("INSERT INTO t VALUES(9, NULL)", []).unwrap();
    assert_eq!(fs::metadata(&log).unwrap().len(), length);
    assert_eq!(lost_frames(&log).unwrap(), 0);
    assert_eq!(with(&log, |bytes| bytes[100] ^= 1), 1);
    drop(table);
    fs::remove_dir_all(dir).unwrap();
}
