//! A table of an earlier format is brought up to date, and a copy of it stays.

use hands_proto::reapi;
use hands_types::OperationId;
use prost::Message as _;
use rusqlite::{Connection, params};

use crate::db::{Bounds, Db, State};

#[test]
fn a_table_of_format_1_keeps_what_it_has() {
    let dir = std::env::temp_dir().join(format!("hands-hub-v1-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let path = dir.join("hub.db");
    let platform = |value: &str| reapi::Platform {
        properties: vec![reapi::platform::Property { name: "tag".into(), value: value.into() }],
    };
    let root = hands_tree::empty(hands_types::DigestFunction::Sha256);
    {
        let table = Connection::open(&path).unwrap();
        table.execute_batch(include_str!("v1.sql")).unwrap();
        table.pragma_update(None, "user_version", 1).unwrap();
        let rows = [
            (1_u128, 0, platform("a")),
            (2, 1, platform("a")),
            (3, 0, reapi::Platform::default()),
            (4, 2, platform("b")),
        ];
        for (id, state, platform) in rows {
            let response = (state == 2).then(|| reapi::ExecuteResponse::default().encode_to_vec());
            table
                .execute(
                    "INSERT INTO operations(id, instance, function, hash, size, state, flags, priority, shape, input_root,
                         platform, metadata, invocation, options, title, created, finished, response)
                     VALUES(?1, '', 1, ?2, 1, ?3, 0, 0, 0, ?4, ?5, x'', '', x'', 'make', 1, ?6, ?7)",
                    params![
                        id.to_be_bytes(),
                        [7_u8; 32],
                        state,
                        root.to_string(),
                        platform.encode_to_vec(),
                        crate::core::unix_millis(),
                        response
                    ],
                )
                .unwrap();
        }
    }
    let day = std::time::Duration::from_secs(86_400);
    let db = Db::open(&dir, Bounds { age: day, bytes: 1 << 30, retained: day }).unwrap();
    let read = |id| db.operation(OperationId(id)).unwrap().unwrap();
    assert_eq!((read(1).state, read(1).platform), (State::Queued, platform("a")));
    assert_eq!((read(2).state, read(2).platform), (State::Running, platform("a")));
    assert_eq!(read(3).platform, reapi::Platform::default());
    assert_eq!((read(4).state, read(4).platform), (State::Done, reapi::Platform::default()));
    assert_eq!(&*read(4).record.title, "make");
    drop(db);
    let copy = Connection::open(dir.join("hub.db.v1")).unwrap();
    let kept: i64 =
        copy.query_row("SELECT count(*) FROM operations", [], |row| row.get(0)).unwrap();
    let version: i64 = copy.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    assert_eq!((kept, version), (4, 1));
    let table = Connection::open(&path).unwrap();
    let distinct: i64 =
        table.query_row("SELECT count(*) FROM platforms", [], |row| row.get(0)).unwrap();
    assert_eq!(distinct, 1);
    drop((copy, table));
    std::fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn a_damaged_table_of_format_1_has_a_way_out() {
    let dir = std::env::temp_dir().join(format!("hands-hub-v1-damaged-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let path = dir.join("hub.db");
    {
        let table = Connection::open(&path).unwrap();
        table.execute_batch(include_str!("v1.sql")).unwrap();
        table.pragma_update(None, "user_version", 1).unwrap();
    }
    // All but the first page, which has the version and the names.
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[4096..].fill(0xff);
    std::fs::write(&path, bytes).unwrap();
    let day = std::time::Duration::from_secs(86_400);
    let opened = Db::open(&dir, Bounds { age: day, bytes: 1 << 30, retained: day });
    let refused = opened.unwrap_err().to_string();
    std::fs::remove_dir_all(&dir).unwrap();
    assert!(refused.contains("move hub.db, hub.db-wal and hub.db-shm away"), "{refused}");
}

/// Many ended a long time ago, and each question about one invocation would look at all of them.
#[test]
fn what_one_invocation_did_is_found_by_an_index() {
    let dir = std::env::temp_dir().join(format!("hands-hub-plan-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let day = std::time::Duration::from_secs(86_400);
    drop(Db::open(&dir, Bounds { age: day, bytes: 1 << 30, retained: day }).unwrap());
    let table = Connection::open(dir.join("hub.db")).unwrap();
    let plan: String = table
        .query_row(
            "EXPLAIN QUERY PLAN SELECT * FROM operations
             WHERE state = 2 AND id < ?1 AND invocation = ?2 ORDER BY id DESC",
            params![[0_u8; 16], "x"],
            |row| row.get("detail"),
        )
        .unwrap();
    assert!(plan.contains("operations_of") && plan.contains("invocation=? AND id<?"), "{plan}");
    drop(table);
    std::fs::remove_dir_all(&dir).unwrap();
}
