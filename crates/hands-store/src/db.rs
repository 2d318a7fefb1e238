//! The index database: its schema, its versions, and connections to it.

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, OpenFlags};

use crate::config::Durability;
use crate::error::StoreError;

/// `MIGRATIONS[n]` leads from version n to n + 1. Only ever append.
pub(crate) const MIGRATIONS: &[&str] = &["
CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
-- key: one byte for the digest function, then the hash. pack 0: a file of its own.
CREATE TABLE blobs (
    key BLOB PRIMARY KEY, size INTEGER NOT NULL, pack INTEGER NOT NULL, offset INTEGER NOT NULL, used INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX blobs_by_use ON blobs (used);
-- live: bytes of records that blobs point to.
CREATE TABLE packs (id INTEGER PRIMARY KEY, live INTEGER NOT NULL);
CREATE TABLE actions (
    id INTEGER PRIMARY KEY, instance TEXT NOT NULL, key BLOB NOT NULL, size INTEGER NOT NULL, value BLOB NOT NULL,
    used INTEGER NOT NULL, UNIQUE (instance, key, size)
);
CREATE INDEX actions_by_use ON actions (used);
-- base: the tree under a delta, or null.
CREATE TABLE trees (
    id INTEGER PRIMARY KEY, key BLOB NOT NULL, size INTEGER NOT NULL, base INTEGER, bytes INTEGER NOT NULL,
    entries INTEGER NOT NULL, used INTEGER NOT NULL
);
","
-- Trees that stay by their names. since: when the name was given, which no two have in common. key, size: the root.
CREATE TABLE names (
    name TEXT PRIMARY KEY, since INTEGER NOT NULL UNIQUE, key BLOB NOT NULL, size INTEGER NOT NULL, blobs INTEGER NOT NULL,
    bytes INTEGER NOT NULL
) WITHOUT ROWID;
-- Every blob of these, with its bytes on the disk.
CREATE TABLE kept (
    key BLOB NOT NULL, since INTEGER NOT NULL, bytes INTEGER NOT NULL, PRIMARY KEY (key, since)
) WITHOUT ROWID;
CREATE INDEX kept_by_tree ON kept (since);
-- Trees of which `kept` has not all, since their names are being given or taken away.
CREATE TABLE unnamed (since INTEGER PRIMARY KEY);
"];

/// Opens the database as [`open`] does. One that is damaged is put aside: everything in it is found again, except results
/// of actions, which are computed again, and names of trees.
pub(crate) fn open_or_replace(
    path: &Path,
    durability: Durability,
) -> Result<Connection, StoreError> {
    match open(path, durability, MIGRATIONS) {
        Err(StoreError::Database { source, .. }) if is_damaged(&source) => {
            let aside = path.with_extension("damaged.db");
            tracing::error!(
                path = %path.display(), aside = %aside.display(), error = %source,
                "the store's index is damaged and is put aside: blobs are found again without it, results of actions and names of trees are lost"
            );
            std::fs::rename(path, &aside).map_err(StoreError::io("put aside", path))?;
            for suffix in ["db-wal", "db-shm"] {
                crate::recover::remove_all(&path.with_extension(suffix))?;
            }
            open(path, durability, MIGRATIONS)
        }
        opened => opened,
    }
}

/// Whether a database is no database any more.
pub(crate) fn is_damaged(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    matches!(error.sqlite_error_code(), Some(DatabaseCorrupt | NotADatabase))
}

/// Opens the database for writing and brings it to the newest version.
pub(crate) fn open(
    path: &Path,
    durability: Durability,
    migrations: &[&str],
) -> Result<Connection, StoreError> {
    // What stands beside it (-wal, -shm) gets its mode.
    let made = File::options().append(true).create(true).mode(0o600).open(path);
    made.map_err(StoreError::io("make", path))?;
    let mut connection = Connection::open(path).map_err(StoreError::database("open a file"))?;
    let setup = |connection: &Connection| {
        connection.pragma_update(None, "journal_mode", "WAL")?;
        let synchronous = match durability {
            Durability::Second => "NORMAL",
            Durability::Power => "FULL",
        };
        connection.pragma_update(None, "synchronous", synchronous)?;
        connection.pragma_update(None, "cache_size", -8192)?;
        connection.pragma_update(None, "wal_autocheckpoint", 4000)?;
        connection.set_prepared_statement_cache_capacity(64);
        Ok(())
    };
    setup(&connection).map_err(StoreError::database("set up a connection"))?;
    migrate(&mut connection, path, migrations)?;
    Ok(connection)
}

fn migrate(
    connection: &mut Connection,
    path: &Path,
    migrations: &[&str],
) -> Result<(), StoreError> {
    let found: u32 = connection
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(StoreError::database("read the version"))?;
    let known = u32::try_from(migrations.len()).unwrap_or(u32::MAX);
    let dir = path.parent().unwrap_or(path).to_owned();
    if found > known {
        return Err(StoreError::Newer { dir, found, known });
    }
    if found > 0 && found < known {
        // The copy is what the user goes back to with the version before this one.
        let copy = path.with_extension(format!("v{found}.db"));
        if !copy.exists() {
            let text = copy.to_str().ok_or_else(|| {
                StoreError::io("name a copy of", path)(std::io::ErrorKind::InvalidFilename.into())
            })?;
            // Whole or not there: whoever is killed meanwhile leaves a part under another name.
            let part = format!("{text}.part");
            match std::fs::remove_file(&part) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(StoreError::io("remove a part of a copy", path)(error));
                }
                _ => {}
            }
            connection
                .execute("VACUUM INTO ?1", [&part])
                .map_err(StoreError::database("keep a copy"))?;
            std::fs::rename(&part, &copy).map_err(StoreError::io("keep a copy of", path))?;
        }
    }
    for (version, sql) in (1..=known).zip(migrations).skip(found as usize) {
        let step = |connection: &mut Connection| {
            let transaction = connection.transaction()?;
            transaction.execute_batch(sql)?;
            transaction.pragma_update(None, "user_version", version)?;
            transaction.commit()
        };
        step(connection).map_err(StoreError::database("migrate state"))?;
    }
    Ok(())
}

/// Read-only connections, lent one caller at a time.
#[derive(Debug)]
pub(crate) struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
}

/// Idle connections kept; each holds up to 2 MiB of pages.
const IDLE: usize = 4;

impl Readers {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, idle: Mutex::new(Vec::new()) }
    }

    /// Runs `work` in one read transaction, so that it pays for locks and snapshots once.
    pub(crate) fn read<T>(
        &self,
        what: &'static str,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let idle = lock(&self.idle).pop();
        let connection = match idle {
            Some(connection) => connection,
            None => self.open().map_err(StoreError::database("open a connection"))?,
        };
        let run = || {
            let transaction = connection.unchecked_transaction()?;
            let result = work(&transaction)?;
            transaction.commit()?;
            Ok(result)
        };
        let result = run().map_err(StoreError::database(what))?;
        let mut idle = lock(&self.idle);
        if idle.len() < IDLE {
            idle.push(connection);
        }
        Ok(result)
    }

    fn open(&self) -> rusqlite::Result<Connection> {
        let connection = Connection::open_with_flags(
            &self.path,
            OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        )?;
        connection.pragma_update(None, "cache_size", -2048)?;
        connection.busy_timeout(std::time::Duration::from_secs(10))?;
        Ok(connection)
    }
}

/// Locks a mutex whose data stay consistent when a holder panics: holders change them in steps that are whole by
/// themselves.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
