//! Opening a database of the hub's state.

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;

use crate::HubError;

/// What a database must be like.
pub(crate) struct Format<'a> {
    /// Statements at each opening: how durable a commit is.
    pub(crate) settings: &'a str,
    /// Makes all tables of a new one.
    pub(crate) create: &'a str,
    /// `PRAGMA user_version` of what this version writes.
    pub(crate) version: u32,
}

/// Opens a database for its one writer, and makes it where it is new. One that a later version wrote is refused.
pub(crate) fn open(path: &Path, format: &Format<'_>) -> Result<Connection, HubError> {
    let fail = |what| move |source| HubError::Database { what, path: path.to_owned(), source };
    // What stands beside it (-wal, -shm) gets its mode.
    let made = File::options().append(true).create(true).mode(0o600).open(path);
    made.map_err(|source| HubError::Io { what: "make", path: path.to_owned(), source })?;
    let mut connection = Connection::open(path).map_err(fail("open"))?;
    connection.busy_timeout(Duration::from_secs(5)).map_err(fail("open"))?;
    connection
        .execute_batch("PRAGMA journal_mode = WAL;")
        .and_then(|()| connection.execute_batch(format.settings))
        .map_err(fail("open"))?;
    let found: u32 =
        connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(fail("read"))?;
    if found == 0 {
        let change = connection.transaction().map_err(fail("make"))?;
        change.execute_batch(format.create).map_err(fail("make"))?;
        change.pragma_update(None, "user_version", format.version).map_err(fail("make"))?;
        change.commit().map_err(fail("make"))?;
    } else if found != format.version {
        return Err(HubError::Newer { path: path.to_owned(), found, known: format.version });
    }
    Ok(connection)
}
