//! Opening a database of the hub's state.

mod log;

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::Connection;

use crate::HubError;

/// How long a writer waits for others.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// What a database must be like.
pub(crate) struct Format<'a> {
    pub(crate) journal: Journal,
    /// Statements at each opening: how durable a commit is.
    pub(crate) settings: &'a str,
    /// Makes all tables of a new one.
    pub(crate) create: &'a str,
    /// `PRAGMA user_version` of what this version writes.
    pub(crate) version: u32,
    /// Statements that bring one of format 1 to 2, and so on.
    pub(crate) migrations: &'a [&'a str],
}

/// Where a commit goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Journal {
    /// A write-ahead log: many commits are cheap, and a damaged byte takes all commits behind it along.
    Log,
    /// The database itself, so that damage is seen and nothing comes undone.
    Rollback,
}

/// Opens a database for its one writer, and makes it where it is new. One that a later version wrote is refused.
pub(crate) fn open(path: &Path, format: &Format<'_>) -> Result<Connection, HubError> {
    let fail = |what| move |source| HubError::database(what, path, source);
    look_at_log(path, format.journal)?;
    // What stands beside it (-wal, -shm) gets its mode.
    let made = File::options().append(true).create(true).mode(0o600).open(path);
    made.map_err(|source| HubError::Io { what: "make", path: path.to_owned(), source })?;
    let mut connection = Connection::open(path).map_err(fail("open"))?;
    connection.busy_timeout(PATIENCE).map_err(fail("open"))?;
    let journal = match format.journal {
        Journal::Log => "PRAGMA journal_mode = WAL;",
        Journal::Rollback => "PRAGMA journal_mode = DELETE;",
    };
    connection
        .execute_batch(journal)
        .and_then(|()| connection.execute_batch(format.settings))
        .map_err(fail("open"))?;
    let found: u32 =
        connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(fail("read"))?;
    if found == 0 {
        let change = connection.transaction().map_err(fail("make"))?;
        change.execute_batch(format.create).map_err(fail("make"))?;
        change.pragma_update(None, "user_version", format.version).map_err(fail("make"))?;
        change.commit().map_err(fail("make"))?;
    } else if found > format.version {
        return Err(HubError::Newer { path: path.to_owned(), found, known: format.version });
    } else if found < format.version {
        migrate(&mut connection, path, found, format)?;
    }
    Ok(connection)
}

/// SQLite says nothing of damage in a log. Where commits must not come undone there is none, but for what an earlier version
/// of this program left: that is refused.
fn look_at_log(database: &Path, journal: Journal) -> Result<(), HubError> {
    let mut name = database.as_os_str().to_owned();
    name.push("-wal");
    let path = PathBuf::from(name);
    let lost = log::lost_frames(&path);
    let lost = lost.map_err(|source| HubError::Io { what: "read", path: path.clone(), source })?;
    match journal {
        _ if lost == 0 => Ok(()),
        Journal::Rollback => Err(HubError::LogDamaged { path }),
        Journal::Log => {
            tracing::error!(
                path = %path.display(),
                pages = lost,
                "the log of the hub's database is damaged, or the machine lost its power: its last changes are lost, and with \
                 them actions that were accepted or had ended"
            );
            Ok(())
        }
    }
}

/// Brings one that an earlier version wrote up to date. A copy of it stays beside it.
fn migrate(
    connection: &mut Connection,
    path: &Path,
    found: u32,
    format: &Format<'_>,
) -> Result<(), HubError> {
    let fail = |what| move |source| HubError::database(what, path, source);
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".v{found}"));
    let copy = PathBuf::from(name);
    // One that was begun before is no whole copy; an empty file is taken, with its mode.
    let made = File::options().write(true).create(true).truncate(true).mode(0o600).open(&copy);
    made.map_err(|source| HubError::Io { what: "make", path: copy.clone(), source })?;
    connection
        .execute("VACUUM INTO ?1", [copy.to_string_lossy().as_ref()])
        .map_err(fail("make a copy of"))?;
    let change = connection.transaction().map_err(fail("migrate"))?;
    for statements in format.migrations.iter().skip(found.saturating_sub(1) as usize) {
        change.execute_batch(statements).map_err(fail("migrate"))?;
    }
    change.pragma_update(None, "user_version", format.version).map_err(fail("migrate"))?;
    change.commit().map_err(fail("migrate"))?;
    tracing::info!(path = %path.display(), copy = %copy.display(), "brought up to date");
    Ok(())
}
