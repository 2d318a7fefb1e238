//! What is written, and the pruning of what is old.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use hands_proto::reapi;
use hands_types::{Attempt, Digest, OperationId, WorkerId};
use prost::Message;
use rusqlite::{Connection, Transaction, params};

use super::Bounds;
use super::row::{Done, Record, State, function_number};
use crate::sqlite::PATIENCE;

/// One change of the table.
#[derive(Debug)]
pub(crate) enum Write {
    /// A new operation, with the lease that it got at once if it got one.
    Insert {
        record: Arc<Record>,
        input_root: Digest,
        /// The encoded effective platform. Kept once for all that ask for the same, until the last of them has ended.
        platform: Bytes,
        lease: Option<(Attempt, WorkerId)>,
    },
    /// An operation that was answered as it came.
    Answered { record: Arc<Record>, done: Done },
    /// A lease was granted.
    Lease { id: OperationId, attempt: Attempt, worker: WorkerId },
    /// A lease became void.
    Requeue { id: OperationId },
    /// It has a result or failed.
    Finish { id: OperationId, done: Done },
    /// What it wrote before it ended without a result has become blobs that its answer names, and is so much longer.
    Left { id: OperationId, response: Box<reapi::ExecuteResponse>, added: usize },
    /// Its options changed: somebody joined it who wants it kept.
    Options { record: Arc<Record> },
    /// A finished one is to be forgotten.
    Delete { id: OperationId },
    /// What actions of a shape take.
    Duration { shape: i64, micros: i64 },
}

pub(super) struct Writer {
    connection: Connection,
    bounds: Bounds,
    /// Bytes of all finished rows.
    bytes: u64,
    /// Finished rows since old ones were last looked for.
    fresh: usize,
    platforms: Platforms,
    /// Since the log was last emptied; one that was there at the start counts.
    has_written: bool,
    /// The log could not be emptied the last time.
    is_stuck: bool,
}

/// Numbers of platforms that are in the table.
struct Platforms {
    known: HashMap<Bytes, i64>,
    /// Written since those that nobody needs were looked for.
    fresh: usize,
    /// How many may be written until the next look.
    due: usize,
}

/// Platforms that are written between two looks for those that nobody needs, at least.
const FRESH_PLATFORMS: usize = 256;
/// A look goes over all that waits or runs, and nothing is committed meanwhile: so many such rows are one platform more
/// until the next. Writing that takes as long as looking at these.
const ROWS_PER_PLATFORM: usize = 32;
/// Platforms whose numbers are remembered.
const MAX_KNOWN_PLATFORMS: usize = 1024;

/// Finished rows between two looks for old ones.
const PRUNE_AFTER: usize = 2000;
/// Rows that one transaction deletes at most, so that nothing waits long behind it.
const PRUNE_ROWS: i64 = 500;
/// What a row costs beside its response, about.
const ROW_BYTES: usize = 600;

impl Writer {
    pub(super) fn new(connection: Connection, bounds: Bounds) -> rusqlite::Result<Self> {
        connection.set_prepared_statement_cache_capacity(32);
        let bytes: i64 = connection.query_row(
            "SELECT coalesce(sum(bytes), 0) FROM operations WHERE state = 2",
            [],
            |row| row.get(0),
        )?;
        // The first look is made at once.
        let platforms = Platforms { known: HashMap::new(), fresh: 0, due: 0 };
        let mut writer = Self {
            connection,
            bounds,
            bytes: u64::try_from(bytes).unwrap_or_default(),
            fresh: 0,
            platforms,
            has_written: true,
            is_stuck: false,
        };
        writer.try_prune()?;
        Ok(writer)
    }

    /// One transaction.
    pub(super) fn try_commit(&mut self, writes: &[Write]) -> rusqlite::Result<()> {
        let done = self.commit(writes);
        if done.is_err() {
            // What it wrote is not there.
            self.platforms.known.clear();
        }
        done
    }

    fn commit(&mut self, writes: &[Write]) -> rusqlite::Result<()> {
        let change = self.connection.transaction()?;
        let (mut bytes, mut fresh) = (0, 0);
        for write in writes {
            if let Some(added) = apply(&change, write, &mut self.platforms)? {
                bytes += added;
                fresh += 1;
            }
        }
        change.commit()?;
        self.has_written = true;
        self.bytes += bytes;
        self.fresh += fresh;
        Ok(())
    }

    /// Takes what is in the log into the database, where damage is seen, and empties the log. Waits for nobody who reads.
    pub(super) fn checkpoint(&mut self) {
        if !std::mem::take(&mut self.has_written) {
            return;
        }
        let patience = |it| self.connection.busy_timeout(it);
        let done: rusqlite::Result<i64> = patience(Duration::ZERO).and_then(|()| {
            self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))
        });
        let done = patience(PATIENCE).and(done);
        match done {
            Ok(0) => {}
            // Somebody reads: the next time.
            Ok(_busy) => self.has_written = true,
            Err(error) => {
                // Once: a disk stays full for a while.
                if !std::mem::replace(&mut self.is_stuck, true) {
                    tracing::warn!(%error, "can't take the log of the hub's database into it");
                }
                self.has_written = true;
                return;
            }
        }
        self.is_stuck = false;
    }

    pub(super) const fn wants_pruning(&self) -> bool {
        self.fresh >= PRUNE_AFTER
            || self.bytes > self.bounds.bytes
            || self.platforms.fresh >= self.platforms.due
    }

    pub(super) fn prune(&mut self) {
        if let Err(error) = self.try_prune() {
            tracing::warn!(%error, "can't forget old operations");
            self.fresh = 0;
            self.platforms.fresh = 0;
        }
    }

    /// Forgets platforms of which nothing waits or runs any more.
    fn prune_platforms(&mut self) -> rusqlite::Result<()> {
        self.connection.execute(
            "DELETE FROM platforms WHERE id NOT IN (SELECT platform FROM operations WHERE state < 2)",
            [],
        )?;
        let count = |table| {
            let counted = self.connection.query_row(table, [], |row| row.get::<_, i64>(0));
            counted.map(|n| usize::try_from(n).unwrap_or_default())
        };
        let left = count("SELECT count(*) FROM platforms")?;
        let active = count("SELECT count(*) FROM operations WHERE state < 2")?;
        self.platforms =
            Platforms { known: HashMap::new(), fresh: 0, due: due_after(left, active) };
        Ok(())
    }

    fn try_prune(&mut self) -> rusqlite::Result<()> {
        self.fresh = 0;
        if self.platforms.fresh >= self.platforms.due {
            self.prune_platforms()?;
        }
        let age = i64::try_from(self.bounds.age.as_millis()).unwrap_or(i64::MAX);
        let oldest = unix_millis().saturating_sub(age);
        loop {
            let over = self.bytes > self.bounds.bytes;
            let change = self.connection.transaction()?;
            let (before, most) = match over {
                true => (i64::MAX, PRUNE_ROWS / 10),
                false => (oldest, PRUNE_ROWS),
            };
            // By their ends: an operation's id its client may have made.
            let doomed: Vec<([u8; 16], i64)> = change
                .prepare_cached(
                    "SELECT id, bytes FROM operations WHERE state = 2 AND finished < ?1 ORDER BY finished LIMIT ?2",
                )?
                .query_map(params![before, most], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect::<rusqlite::Result<_>>()?;
            if doomed.is_empty() {
                return Ok(());
            }
            for (id, _) in &doomed {
                change.prepare_cached("DELETE FROM operations WHERE id = ?1")?.execute([id])?;
            }
            change.commit()?;
            self.has_written = true;
            let freed: i64 = doomed.iter().map(|(_, bytes)| bytes).sum();
            self.bytes = self.bytes.saturating_sub(u64::try_from(freed).unwrap_or_default());
        }
    }
}

/// How many platforms are written until those that nobody needs are looked for again.
fn due_after(left: usize, active: usize) -> usize {
    FRESH_PLATFORMS.max(left).max(active / ROWS_PER_PLATFORM)
}

/// Makes one change. Tells the bytes of a row that is finished by it.
fn apply(
    change: &Transaction<'_>,
    write: &Write,
    platforms: &mut Platforms,
) -> rusqlite::Result<Option<u64>> {
    match write {
        Write::Insert { record, input_root, platform, lease } => {
            insert(
                change,
                record,
                *input_root,
                platforms.number(change, platform)?,
                if lease.is_some() { State::Running } else { State::Queued },
                *lease,
            )?;
        }
        Write::Answered { record, done } => {
            let none = hands_tree::empty(record.digest.function);
            insert(change, record, none, 0, State::Queued, None)?;
            return finish(change, record.id, done).map(Some);
        }
        Write::Lease { id, attempt, worker } => {
            change
                .prepare_cached("UPDATE operations SET state = 1, attempt = ?2, worker = ?3 WHERE id = ?1 AND state < 2")?
                .execute(params![key(*id), attempt.0, worker.0.to_be_bytes()])?;
        }
        Write::Requeue { id } => {
            change
                .prepare_cached("UPDATE operations SET state = 0 WHERE id = ?1 AND state < 2")?
                .execute([key(*id)])?;
        }
        Write::Finish { id, done } => return finish(change, *id, done).map(Some),
        Write::Left { id, response, added } => {
            let changed = change
                .prepare_cached(
                    "UPDATE operations SET response = ?2, bytes = bytes + ?3 WHERE id = ?1 AND state = 2",
                )?
                .execute(params![
                    key(*id),
                    response.encode_to_vec(),
                    i64::try_from(*added).unwrap_or(i64::MAX),
                ])?;
            return Ok((changed > 0).then_some(*added as u64));
        }
        Write::Options { record } => {
            change
                .prepare_cached("UPDATE operations SET options = ?2 WHERE id = ?1")?
                .execute(params![key(record.id), record.options.encode_to_vec()])?;
        }
        Write::Delete { id } => {
            change
                .prepare_cached("DELETE FROM operations WHERE id = ?1 AND state = 2")?
                .execute([key(*id)])?;
        }
        Write::Duration { shape, micros } => {
            change
                .prepare_cached(
                    "INSERT INTO durations(shape, micros, seen) VALUES(?1, ?2, ?3)
                     ON CONFLICT(shape) DO UPDATE SET micros = ?2, seen = ?3",
                )?
                .execute(params![shape, micros, unix_millis()])?;
        }
    }
    Ok(None)
}

impl Platforms {
    /// The number of a platform; 0 of the empty one.
    fn number(&mut self, change: &Transaction<'_>, message: &Bytes) -> rusqlite::Result<i64> {
        if message.is_empty() {
            return Ok(0);
        }
        if let Some(number) = self.known.get(message) {
            return Ok(*number);
        }
        let new = change
            .prepare_cached("INSERT OR IGNORE INTO platforms(message) VALUES(?1)")?
            .execute([&**message])?;
        self.fresh += new;
        let number = change
            .prepare_cached("SELECT id FROM platforms WHERE message = ?1")?
            .query_row([&**message], |row| row.get(0))?;
        if self.known.len() >= MAX_KNOWN_PLATFORMS {
            self.known.clear();
        }
        self.known.insert(message.clone(), number);
        Ok(number)
    }
}

fn insert(
    change: &Transaction<'_>,
    record: &Record,
    input_root: Digest,
    platform: i64,
    state: State,
    lease: Option<(Attempt, WorkerId)>,
) -> rusqlite::Result<()> {
    change
        .prepare_cached(
            "INSERT OR REPLACE INTO operations(id, instance, function, hash, size, state, flags, priority, shape, input_root,
                 platform, metadata, invocation, options, title, created, attempt, worker)
             VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)",
        )?
        .execute(params![
            key(record.id),
            &*record.instance,
            function_number(record.digest.function),
            record.digest.hash,
            i64::try_from(record.digest.size).unwrap_or(i64::MAX),
            state.number(),
            record.flags(),
            record.priority,
            record.shape,
            input_root.to_string(),
            platform,
            record.metadata.encode_to_vec(),
            record.metadata.tool_invocation_id,
            record.options.encode_to_vec(),
            &*record.title,
            record.created,
            lease.map_or(0, |(attempt, _)| attempt.0),
            lease.map(|(_, worker)| worker.0.to_be_bytes()),
        ])?;
    Ok(())
}

fn finish(change: &Transaction<'_>, id: OperationId, done: &Done) -> rusqlite::Result<u64> {
    let response = done.response.encode_to_vec();
    let bytes = response.len() + ROW_BYTES;
    change
        .prepare_cached(
            "UPDATE operations SET state = 2, retained = ?2, attempt = ?3, worker_name = ?4, started = ?5, finished = ?6,
                 response = ?7, bytes = ?8
             WHERE id = ?1",
        )?
        .execute(params![
            key(id),
            done.retained,
            done.attempt.0,
            &*done.worker_name,
            done.started,
            done.finished,
            response,
            i64::try_from(bytes).unwrap_or(i64::MAX),
        ])?;
    Ok(bytes as u64)
}

pub(super) const fn key(id: OperationId) -> [u8; 16] {
    id.0.to_be_bytes()
}

fn unix_millis() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
