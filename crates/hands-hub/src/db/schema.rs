//! The database's format and its migrations.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use crate::HubError;
use crate::sqlite::{self, Format, Journal};

/// The format that this version writes: `PRAGMA user_version`.
pub(crate) const FORMAT: u32 = 2;

/// Rows and index entries are ordered by time, so that a commit touches the same few pages as the last one.
const CREATE: &str = "
CREATE TABLE operations(
    id BLOB PRIMARY KEY,
    instance TEXT NOT NULL,
    function INTEGER NOT NULL,
    hash BLOB NOT NULL,
    size INTEGER NOT NULL,
    state INTEGER NOT NULL,
    flags INTEGER NOT NULL,
    retained INTEGER NOT NULL DEFAULT 0,
    priority INTEGER NOT NULL,
    shape INTEGER NOT NULL,
    input_root TEXT NOT NULL,
    platform INTEGER NOT NULL,
    metadata BLOB NOT NULL,
    invocation TEXT NOT NULL,
    options BLOB NOT NULL,
    title TEXT NOT NULL,
    created INTEGER NOT NULL,
    attempt INTEGER NOT NULL DEFAULT 0,
    worker BLOB,
    worker_name TEXT NOT NULL DEFAULT '',
    started INTEGER,
    finished INTEGER,
    response BLOB,
    bytes INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX operations_active ON operations(id) WHERE state < 2;
CREATE INDEX operations_retained ON operations(finished, hash) WHERE retained = 1;
CREATE TABLE platforms(id INTEGER PRIMARY KEY, message BLOB NOT NULL UNIQUE);
CREATE TABLE durations(shape INTEGER PRIMARY KEY, micros INTEGER NOT NULL, seen INTEGER NOT NULL);
CREATE TABLE facts(name TEXT PRIMARY KEY, value TEXT NOT NULL);
";

/// From format 1, where each row had its platform: those that have ended need none, and of the others many are alike.
const PLATFORMS: &str = "
CREATE TABLE platforms(id INTEGER PRIMARY KEY, message BLOB NOT NULL UNIQUE);
INSERT INTO platforms(message)
    SELECT DISTINCT platform FROM operations WHERE state < 2 AND length(platform) > 0;
UPDATE operations SET platform = coalesce((SELECT id FROM platforms WHERE message = operations.platform), 0)
    WHERE state < 2;
";

const INDEXES: &str = "
CREATE INDEX IF NOT EXISTS operations_running ON operations(id) WHERE state = 1;
CREATE INDEX IF NOT EXISTS operations_of ON operations(invocation, id) WHERE state = 2;
CREATE INDEX IF NOT EXISTS operations_finished ON operations(finished) WHERE state = 2;
";

/// Opens the database for its one writer, makes or migrates it.
pub(crate) fn open(path: &Path) -> Result<Connection, HubError> {
    // Survives a kill of every process at each commit; a power cut may take the last second and never corrupts.
    let settings = "PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 4000;";
    let (journal, migrations) = (Journal::Log, &[PLATFORMS][..]);
    let format = Format { journal, settings, create: CREATE, version: FORMAT, migrations };
    let connection = sqlite::open(path, &format)?;
    // Came later. An index is no change of the format: every version keeps it up, and none needs it.
    connection
        .execute_batch(INDEXES)
        .map_err(|source| HubError::database("make the indexes of", path, source))?;
    Ok(connection)
}

/// A second connection that only reads.
pub(crate) fn open_reader(path: &Path) -> Result<Connection, HubError> {
    let fail = |source| HubError::database("open", path, source);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(fail)?;
    connection.busy_timeout(Duration::from_secs(5)).map_err(fail)?;
    Ok(connection)
}

#[cfg(test)]
mod tests;
