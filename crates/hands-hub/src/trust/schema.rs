//! The format of `authority.db`.

use std::path::Path;

use rusqlite::Connection;

use crate::HubError;
use crate::sqlite::{self, Format, Journal};

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
    // A revocation that was said must survive a power cut; there are few writes.
    let settings = "PRAGMA synchronous = EXTRA;";
    let journal = Journal::Rollback;
    sqlite::open(
        path,
        &Format { journal, settings, create: CREATE, version: FORMAT, migrations: &[] },
    )
}
