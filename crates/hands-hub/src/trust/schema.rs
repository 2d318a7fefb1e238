//! The format of `authority.db`.

use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;

use crate::HubError;

/// The format that this version writes: `PRAGMA user_version`.
const FORMAT: u32 = 1;

const CREATE: &str = "
CREATE TABLE tokens(
    id BLOB PRIMARY KEY,
    roles TEXT NOT NULL,
    bearer INTEGER NOT NULL,
    public_key BLOB NOT NULL,
    hash BLOB NOT NULL,
    uses INTEGER NOT NULL,
    used INTEGER NOT NULL,
    created INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    revoked INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE members(
    id BLOB PRIMARY KEY,
    name TEXT NOT NULL,
    roles TEXT NOT NULL,
    public_key BLOB NOT NULL,
    token BLOB NOT NULL,
    joined INTEGER NOT NULL,
    renewed INTEGER NOT NULL,
    removed INTEGER NOT NULL
) WITHOUT ROWID;
";

pub(super) fn open(path: &Path) -> Result<Connection, HubError> {
    let fail = |what| move |source| HubError::Database { what, path: path.to_owned(), source };
    let mut connection = Connection::open(path).map_err(fail("open"))?;
    connection.busy_timeout(Duration::from_secs(5)).map_err(fail("open"))?;
    // A revocation that was said must survive a power cut; there are few writes.
    connection
        .execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;")
        .map_err(fail("open"))?;
    let found: u32 =
        connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(fail("read"))?;
    match found {
        0 => {
            let change = connection.transaction().map_err(fail("make"))?;
            change.execute_batch(CREATE).map_err(fail("make"))?;
            change.pragma_update(None, "user_version", FORMAT).map_err(fail("make"))?;
            change.commit().map_err(fail("make"))?;
        }
        FORMAT => {}
        found => return Err(HubError::Newer { path: path.to_owned(), found, known: FORMAT }),
    }
    Ok(connection)
}
