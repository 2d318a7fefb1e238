//! Questions to the table.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use hands_types::{Digest, OperationId};
use rusqlite::{Connection, OptionalExtension, Params, Row, params};

use super::row::{COLUMNS, INSTANCE, Stored};
use super::write::key;
use super::{Db, Retained};
use crate::HubError;
use crate::operations::Filter;

/// Shapes whose history is remembered.
const MAX_SHAPES: u32 = 100_000;
/// Rows that are passed over for one page of a list.
pub(crate) const PASSED: usize = 10_000;

/// Some operations that have not ended.
#[derive(Debug, Default)]
pub(crate) struct Page {
    pub(crate) stored: Vec<Stored>,
    /// The last one that was looked at, readable or not. None if there was none.
    pub(crate) last: Option<OperationId>,
    /// How many were looked at.
    pub(crate) n_rows: usize,
}

impl Db {
    /// One operation.
    pub(crate) fn operation(&self, id: OperationId) -> Result<Option<Stored>, HubError> {
        Self::operation_by(&self.reader(), id).map_err(self.failed("read"))
    }

    /// The same where its answer is large: whoever asks for a small one does not wait for it. Blocks.
    pub(crate) fn large_operation(&self, id: OperationId) -> Result<Option<Stored>, HubError> {
        Self::operation_by(&self.lister(), id).map_err(self.failed("read"))
    }

    fn operation_by(reader: &Connection, id: OperationId) -> rusqlite::Result<Option<Stored>> {
        reader
            .prepare_cached(&format!("SELECT {COLUMNS} FROM operations WHERE id = ?1"))
            .and_then(|mut q| q.query_row([key(id)], Stored::read).optional())
    }

    /// Bytes of an operation's answer, as far as there is one. SQLite knows them without reading it.
    pub(crate) fn answer_size(&self, id: OperationId) -> Result<usize, HubError> {
        self.reader()
            .prepare_cached("SELECT length(response) FROM operations WHERE id = ?1")
            .and_then(|mut q| q.query_row([key(id)], size).optional())
            .map(Option::unwrap_or_default)
            .map_err(self.failed("read"))
    }

    /// The same of all answers that [`Db::retained`] would look at.
    pub(crate) fn retained_size(&self, digest: &Digest, since: i64) -> Result<usize, HubError> {
        let mut bytes = 0_usize;
        for finished in self.retained.candidates(&digest.hash, since) {
            let of_one = self
                .reader()
                .prepare_cached(
                    "SELECT sum(length(response)) FROM operations WHERE retained = 1 AND finished = ?1 AND hash = ?2",
                )
                .and_then(|mut q| q.query_row(params![finished, digest.hash], size))
                .map_err(self.failed("read"))?;
            bytes = bytes.saturating_add(of_one);
        }
        Ok(bytes)
    }

    /// The answer that a repeated Execute of a salted digest gets, if it finished after `since` (milliseconds since 1970).
    pub(crate) fn retained(
        &self,
        instance: &str,
        digest: &Digest,
        since: i64,
    ) -> Result<Option<Stored>, HubError> {
        for finished in self.retained.candidates(&digest.hash, since) {
            let found = self.finished_at(finished, digest)?.into_iter().find(|stored| {
                stored.record.digest == *digest && *stored.record.instance == *instance
            });
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// The answers that a salted hash was given at a time.
    fn finished_at(&self, finished: i64, digest: &Digest) -> Result<Vec<Stored>, HubError> {
        self.lister()
            .prepare_cached(&format!(
                "SELECT {COLUMNS} FROM operations WHERE retained = 1 AND finished = ?1 AND hash = ?2"
            ))
            .and_then(|mut q| q.query_map(params![finished, digest.hash], Stored::read)?.collect())
            .map_err(self.failed("read"))
    }

    /// Ids within a range, at most `limit`, ascending.
    pub(crate) fn ids(
        &self,
        low: u128,
        high: u128,
        limit: usize,
    ) -> Result<Vec<OperationId>, HubError> {
        self.reader()
            .prepare_cached(
                "SELECT id FROM operations WHERE id BETWEEN ?1 AND ?2 ORDER BY id LIMIT ?3",
            )
            .and_then(|mut q| {
                q.query_map(params![low.to_be_bytes(), high.to_be_bytes(), rows(limit)], |row| {
                    Ok(OperationId(u128::from_be_bytes(row.get(0)?)))
                })?
                .collect()
            })
            .map_err(self.failed("read"))
    }

    /// Hands over finished operations of ids below `before` that a filter wants, newest first and one at a time: an answer
    /// can be large. Ends early where `take` says false, or once it is given up. Gives the operation behind which it did not
    /// look, having passed over so many that are not wanted.
    pub(crate) fn finished_before(
        &self,
        before: u128,
        filter: &Filter,
        given_up: &AtomicBool,
        mut take: impl FnMut(Stored) -> bool,
    ) -> Result<Option<OperationId>, HubError> {
        if filter.done == Some(false) {
            return Ok(None);
        }
        let Filter { instance, invocation, done: _ } = filter;
        // There is an index for one invocation, and none for one instance, which would cost each result a write: rows are looked
        // at one by one, so many for a question.
        let of = if invocation.is_some() { "invocation = ?2" } else { "?2 IS NULL" };
        self.lister()
            .prepare_cached(&format!(
                "SELECT {COLUMNS} FROM operations WHERE state = 2 AND id < ?1 AND {of} ORDER BY id DESC"
            ))
            .and_then(|mut q| {
                let mut rows = q.query(params![before.to_be_bytes(), invocation])?;
                let mut passed = 0;
                while let Some(row) = rows.next()? {
                    if given_up.load(Ordering::Relaxed) {
                        break;
                    }
                    if let Some(instance) = instance
                        && row.get_ref(INSTANCE)?.as_str()? != instance
                    {
                        passed += 1;
                        if passed == PASSED {
                            return Ok(Some(OperationId(u128::from_be_bytes(row.get(0)?))));
                        }
                        continue;
                    }
                    if !take(Stored::read(row)?) {
                        break;
                    }
                }
                Ok(None)
            })
            .map_err(self.failed("read"))
    }

    /// What a worker may hold. A row that can't be read is reported and left where it is.
    pub(crate) fn running(&self) -> Result<Page, HubError> {
        let condition = "state = 1 ORDER BY id";
        self.active(condition, [])
    }

    /// Up to `limit` of what is queued, the oldest first, from what is younger than `after`.
    pub(crate) fn queued_after(&self, after: OperationId, limit: usize) -> Result<Page, HubError> {
        // Twice about the state: so the index fits.
        let condition = "state < 2 AND state = 0 AND id > ?1 ORDER BY id LIMIT ?2";
        self.active(condition, params![after.0.to_be_bytes(), rows(limit)])
    }

    fn active(&self, condition: &str, values: impl Params) -> Result<Page, HubError> {
        let read = || -> rusqlite::Result<Page> {
            let reader = self.reader();
            let mut query = reader
                .prepare_cached(&format!("SELECT {COLUMNS} FROM operations WHERE {condition}"))?;
            let mut rows = query.query(values)?;
            let mut found = Page::default();
            while let Some(row) = rows.next()? {
                found.n_rows += 1;
                found.last = Some(OperationId(u128::from_be_bytes(row.get(0)?)));
                match Stored::read(row) {
                    Ok(stored) => found.stored.push(stored),
                    Err(error) => {
                        tracing::error!(%error, "an operation in the hub's database can't be read");
                    }
                }
            }
            Ok(found)
        };
        read().map_err(self.failed("read"))
    }

    /// What actions of each shape took, in microseconds.
    pub(crate) fn durations(&self) -> Result<BTreeMap<i64, i64>, HubError> {
        self.reader()
            .prepare("SELECT shape, micros FROM durations ORDER BY seen DESC LIMIT ?1")
            .and_then(|mut q| {
                q.query_map([MAX_SHAPES], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
            })
            .map_err(self.failed("read"))
    }

    /// A fact that is made once and stays, such as the hub's id.
    pub(crate) fn fact(
        &self,
        name: &str,
        make: impl FnOnce() -> String,
    ) -> Result<String, HubError> {
        // Asked for at start only, so that a connection of its own does not matter.
        let connection = super::schema::open(&self.path)?;
        connection
            .execute(
                "INSERT OR IGNORE INTO facts(name, value) VALUES(?1, ?2)",
                params![name, make()],
            )
            .and_then(|_| {
                connection
                    .query_row("SELECT value FROM facts WHERE name = ?1", [name], |row| row.get(0))
            })
            .map_err(self.failed("read"))
    }
}

/// A length that SQLite tells, none for nothing.
fn size(row: &Row<'_>) -> rusqlite::Result<usize> {
    let bytes: Option<i64> = row.get(0)?;
    Ok(usize::try_from(bytes.unwrap_or_default()).unwrap_or_default())
}

fn rows(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// The salted digests that have an answer since a time, in milliseconds since 1970.
pub(super) fn retained(reader: &Connection, since: i64) -> rusqlite::Result<Retained> {
    let found = Retained::default();
    let mut query = reader.prepare(
        "SELECT hash, finished FROM operations WHERE retained = 1 AND finished >= ?1 ORDER BY finished",
    )?;
    let mut rows = query.query([since])?;
    while let Some(row) = rows.next()? {
        found.note(&row.get(0)?, row.get(1)?);
    }
    Ok(found)
}
