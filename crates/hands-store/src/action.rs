//! Action results: in the database, with the recently used ones in memory.

use bytes::Bytes;
use hands_tree::Lru;
use hands_types::Digest;
use rusqlite::{Connection, OptionalExtension as _};

use crate::db::lock;
use crate::error::StoreError;
use crate::recover::{add_meta, key, meta};
use crate::store::Store;

/// Bytes of results kept in memory.
const MEMORY: u64 = 8 << 20;
/// Bytes that a result takes beyond its own.
const OVERHEAD: u64 = 200;
/// A use is written down once an hour, microseconds.
const USE_GRAIN: u64 = 3600 * 1_000_000;

type Key = (String, Digest);

#[derive(Debug, Default)]
pub(crate) struct ActionMemory {
    results: Lru<Key, (Bytes, u64)>,
}

impl ActionMemory {
    fn keep(&mut self, key: Key, value: Bytes, stored_use: u64) {
        let size = value.len() as u64 + OVERHEAD;
        if size <= MEMORY / 16 {
            self.results.insert(key, (value, stored_use), size);
            self.results.shrink(MEMORY);
        }
    }
}

impl Store {
    /// The result of an action, as it was put. Counts as a use.
    pub fn action(&self, instance: &str, action: &Digest) -> Result<Option<Bytes>, StoreError> {
        let inner = &self.inner;
        let name = (instance.to_owned(), *action);
        let now = inner.now();
        let mut touch = false;
        let mut hit = None;
        {
            let mut memory = lock(&inner.actions);
            if let Some((value, used)) = memory.results.get(&name) {
                hit = Some(value.clone());
                touch = now > *used + USE_GRAIN;
            }
            if touch && let Some(value) = &hit {
                memory.keep(name.clone(), value.clone(), now);
            }
        }
        if hit.is_none() {
            let found = inner.readers.read("look for an action result", |connection| {
                let mut statement = connection.prepare_cached(
                    "SELECT value, used FROM actions WHERE instance = ?1 AND key = ?2 AND size = ?3",
                )?;
                let row = |row: &rusqlite::Row<'_>| Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, i64>(1)?));
                statement.query_row((instance, key(action), action.size.cast_signed()), row).optional()
            })?;
            if let Some((value, used)) = found {
                let value = Bytes::from(value);
                touch = now > used.cast_unsigned() + USE_GRAIN;
                let used = if touch { now } else { used.cast_unsigned() };
                lock(&inner.actions).keep(name.clone(), value.clone(), used);
                hit = Some(value);
            }
        }
        if touch {
            let (instance, action) = name;
            inner.writer.submit_quietly("write down a use", move |connection| {
                connection
                    .prepare_cached("UPDATE actions SET used = ?4 WHERE instance = ?1 AND key = ?2 AND size = ?3")?
                    .execute((&instance, key(&action), action.size.cast_signed(), now.cast_signed()))?;
                Ok(())
            });
        }
        Ok(hit)
    }

    /// Records the result of an action, over an earlier one. It is durable when this returns.
    pub fn action_put(
        &self,
        instance: &str,
        action: Digest,
        result: Bytes,
    ) -> Result<(), StoreError> {
        let (done, wait) = std::sync::mpsc::channel();
        self.action_put_then(instance, action, result, move |outcome| {
            // The waiter is in `recv` below.
            let _sent = done.send(outcome);
        });
        wait.recv().unwrap_or(Err(StoreError::Closed))
    }

    /// The same without blocking: `done` is called, on a thread of the store, when the result is durable. It must not
    /// block or call the store.
    pub fn action_put_then(
        &self,
        instance: &str,
        action: Digest,
        result: Bytes,
        done: impl FnOnce(Result<(), StoreError>) + Send + 'static,
    ) {
        if let Err(error) = self.inner.ensure_here() {
            return done(Err(error));
        }
        let now = self.inner.now();
        let quota = self.inner.config.action_quota;
        let name = (instance.to_owned(), action);
        let value = result.clone();
        let change = move |connection: &Connection| insert(connection, &name, &value, now, quota);
        // A weak handle: the writing thread must not be what keeps the store open.
        let inner = std::sync::Arc::downgrade(&self.inner);
        let name = (instance.to_owned(), action);
        self.inner.writer.submit("record an action result", change, move |outcome| {
            if outcome.is_ok()
                && let Some(inner) = inner.upgrade()
            {
                lock(&inner.actions).keep(name, result, now);
            }
            done(outcome);
        });
    }

    /// Forgets the result of an action. False if there was none.
    pub fn action_delete(&self, instance: &str, action: &Digest) -> Result<bool, StoreError> {
        let name = (instance.to_owned(), *action);
        let (instance, action) = name.clone();
        let deleted = self.inner.writer.run("delete an action result", move |connection| {
            let bytes: Option<i64> = connection
                .prepare_cached(
                    "DELETE FROM actions WHERE instance = ?1 AND key = ?2 AND size = ?3 RETURNING length(value)",
                )?
                .query_row((&instance, key(&action), action.size.cast_signed()), |row| row.get(0))
                .optional()?;
            if let Some(bytes) = bytes {
                add_meta(connection, "action-bytes", -(bytes + OVERHEAD.cast_signed()))?;
            }
            Ok(bytes.is_some())
        })?;
        lock(&self.inner.actions).results.remove(&name);
        Ok(deleted)
    }
}

fn insert(
    connection: &Connection,
    name: &Key,
    value: &Bytes,
    now: u64,
    quota: u64,
) -> rusqlite::Result<()> {
    let (instance, action) = name;
    let size = action.size.cast_signed();
    let before: Option<i64> = connection
        .prepare_cached(
            "SELECT length(value) FROM actions WHERE instance = ?1 AND key = ?2 AND size = ?3",
        )?
        .query_row((instance, key(action), size), |row| row.get(0))
        .optional()?;
    connection
        .prepare_cached(
            "INSERT INTO actions (instance, key, size, value, used) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT DO UPDATE SET value = ?4, used = ?5",
        )?
        .execute((instance, key(action), size, &value[..], now.cast_signed()))?;
    let overhead = OVERHEAD.cast_signed();
    let grown = i64::try_from(value.len()).unwrap_or(i64::MAX) + overhead
        - before.map_or(0, |bytes| bytes + overhead);
    add_meta(connection, "action-bytes", grown)?;
    if meta(connection, "action-bytes")? <= quota {
        return Ok(());
    }
    // A tenth at a time, so that not every insert has to.
    let mut over =
        meta(connection, "action-bytes")?.saturating_sub(quota - quota / 10).cast_signed();
    let mut select = connection
        .prepare_cached("SELECT id, length(value) FROM actions ORDER BY used LIMIT 256")?;
    let mut delete = connection.prepare_cached("DELETE FROM actions WHERE id = ?1")?;
    while over > 0 {
        let page: Vec<(i64, i64)> = select
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<rusqlite::Result<_>>()?;
        if page.is_empty() {
            break;
        }
        for (id, bytes) in page {
            if over <= 0 {
                break;
            }
            delete.execute([id])?;
            add_meta(connection, "action-bytes", -(bytes + overhead))?;
            over -= bytes + overhead;
        }
    }
    Ok(())
}
