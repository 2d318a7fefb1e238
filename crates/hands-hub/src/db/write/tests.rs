//! What is forgotten first, and how often platforms are looked at.

use std::sync::Arc;
use std::time::Duration;

use hands_proto::reapi;
use hands_types::{Attempt, DigestFunction, OperationId};

use super::{Bounds, Write, Writer, due_after, unix_millis};
use crate::db::row::{Done, Record};
use crate::db::schema;

/// One that ended some milliseconds ago, with so many bytes of an answer.
fn ended(id: OperationId, ago: i64, bytes: usize) -> Write {
    let digest = hands_tree::empty(DigestFunction::Sha256);
    let record = Record {
        id,
        instance: "".into(),
        digest,
        joinable: false,
        cacheable: false,
        salted: false,
        ours: true,
        cached: false,
        priority: 0,
        shape: 0,
        metadata: Arc::default(),
        options: Arc::default(),
        title: Box::default(),
        created: 0,
    };
    let message = "x".repeat(bytes);
    let done = Done {
        response: Arc::new(reapi::ExecuteResponse { message, ..Default::default() }),
        finished: unix_millis() - ago,
        started: None,
        attempt: Attempt(1),
        worker_name: "w".into(),
        retained: false,
    };
    Write::Answered { record: Arc::new(record), done }
}

#[test]
fn what_ended_first_is_forgotten_first_whatever_its_client_called_it() {
    let dir = std::env::temp_dir().join(format!("hands-db-prune-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let connection = schema::open(&dir.join("hub.db")).unwrap();
    let second = Duration::from_secs(1);
    let bounds = Bounds { age: 10 * second, bytes: 100_000, retained: second };
    let mut writer = Writer::new(connection, bounds).unwrap();
    // A client names its operations by a time that it chooses.
    let far = |n| OperationId::from_parts(8_000_000_000_000, n);
    let honest = OperationId::from_parts(1, 1);
    let old = (0..3).map(|n| ended(far(n), 20_000, 100));
    let large = (3..303).map(|n| ended(far(n), 5_000, 1_000));
    let writes: Vec<Write> = old.chain(large).chain([ended(honest, 1_000, 100)]).collect();
    writer.try_commit(&writes).unwrap();
    writer.prune();
    let left = |of: OperationId| {
        let count = "SELECT count(*) FROM operations WHERE id = ?1";
        let count =
            writer.connection.query_row(count, [super::key(of)], |row| row.get::<_, i64>(0));
        count.unwrap()
    };
    assert_eq!(left(far(0)), 0, "by its age");
    assert_eq!(left(far(3)), 0, "for want of room");
    assert_eq!(left(honest), 1, "it ended last");
    drop(writer);
    std::fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn a_look_at_many_rows_is_paid_for_by_as_many_platforms() {
    assert_eq!(due_after(0, 100), 256);
    assert_eq!(due_after(5000, 0), 5000);
    // 250,000 rows are looked at in a third of a second.
    assert_eq!(due_after(10, 256_000), 8000);
}
