//! Trees that stay by a name, whatever the quota. They survive restarts: every blob of them has a row in the index.
//!
//! Rows come and go in pieces, since a tree may have millions of them and others write to the index meanwhile. A tree whose
//! rows are not complete, or no longer, is noted in the table `unnamed`; what a kill left there is taken away after the next
//! start.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use hands_proto::{Room, Tight};
use hands_types::{Digest, ErrorClass, TreeName};
use rusqlite::{Connection, OptionalExtension as _, Row};

use crate::db::lock;
use crate::directory::LookError;
use crate::error::{StageError, StoreError, size};
use crate::files::on_disk;
use crate::pack::HEADER;
use crate::recover::{digest_of_key, key, meta, set_meta};
use crate::store::{Inner, SMALL, Store};

/// Names of one store.
const MOST_NAMES: u64 = 1000;
/// Rows of one change.
const PIECE: u16 = 8192;
/// The counter of all bytes that stay.
const BYTES: &str = "named-bytes";

/// A tree that has a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedTree {
    /// Its name.
    pub name: TreeName,
    /// Its root.
    pub root: Digest,
    /// Blobs that it is made of, each once.
    pub blobs: u64,
    /// Bytes that these take on the disk.
    pub bytes: u64,
    /// When the tree got its name.
    pub since: SystemTime,
}

/// Why a tree can't have a name.
#[derive(Debug, thiserror::Error)]
pub enum NameError {
    /// It can't be looked at.
    #[error(transparent)]
    Tree(#[from] StageError),
    /// It is not here, or not all of it.
    #[error("{} not in the store", match *missing { 0 => format!("the tree {root} is"), 1 => format!("a blob of the tree {root} is"), n => format!("{n} blobs of the tree {root} are") })]
    Missing {
        /// Its root.
        root: Digest,
        /// Blobs that are missing, as far as the directories that are here tell; 0 where its root is.
        missing: usize,
    },
    /// It needs more memory than there was.
    #[error(transparent)]
    Tight(#[from] Tight),
    /// There are too many names.
    #[error("the store has {MOST_NAMES} names, which are the most: take one away first")]
    TooMany,
    /// Too much would stay.
    #[error(
        "with it the trees that have names would take {}, and half of the store's quota of {} is the most: take a name away \
         first, or start with a larger --quota", size(*needed), size(*quota)
    )]
    TooLarge {
        /// Bytes of all trees with names.
        needed: u64,
        /// The quota.
        quota: u64,
    },
}

impl NameError {
    /// Whose error it is.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Tree(error) => error.class(),
            Self::Missing { .. } | Self::Tight(_) | Self::TooMany | Self::TooLarge { .. } => {
                ErrorClass::User
            }
        }
    }
}

impl From<StoreError> for NameError {
    fn from(error: StoreError) -> Self {
        Self::Tree(StageError::Store(error))
    }
}

impl From<LookError> for NameError {
    fn from(error: LookError) -> Self {
        match error {
            LookError::Tight(tight) => Self::Tight(tight),
            LookError::Stage(error) => Self::Tree(error),
        }
    }
}

/// What is known of names without asking the index.
#[derive(Debug, Default)]
pub(crate) struct Names {
    /// Held by whoever changes them: one at a time.
    changing: Mutex<()>,
    count: AtomicU64,
    bytes: AtomicU64,
}

impl Names {
    /// From the index, at the start.
    pub(crate) fn read(connection: &Connection) -> rusqlite::Result<Self> {
        let (count, bytes) = (count(connection)?, meta(connection, BYTES)?);
        Ok(Self { changing: Mutex::default(), count: count.into(), bytes: bytes.into() })
    }

    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Bytes on the disk of all trees that have names, what they share counted once.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

impl Store {
    /// Gives a tree a name: nothing of it is evicted until the name is taken away or given to another tree. All of it must be
    /// here. Answers with the tree that had the name before, if it was another.
    pub fn name_tree(
        &self,
        name: &TreeName,
        root: &Digest,
    ) -> Result<(NamedTree, Option<Digest>), NameError> {
        self.name_tree_within(name, root, &mut Room::new(usize::MAX))
    }

    /// The same within a room.
    pub fn name_tree_within(
        &self,
        name: &TreeName,
        root: &Digest,
        room: &mut Room,
    ) -> Result<(NamedTree, Option<Digest>), NameError> {
        // Pinned before it is looked for, until its rows keep it.
        let mut pin = self.pin([]);
        let report = self.look_at_tree(root, room, &mut |digests| {
            pin.add(digests.iter().copied());
        })?;
        let blobs: BTreeSet<Digest> = report.blobs.into_iter().collect();
        let all: Vec<Digest> = blobs.iter().copied().collect();
        // Its directories, too, which may have been read from memory: what is to stay has to be here.
        let missing = self.inner.missing(&all).map_err(StageError::Store)?;
        if !missing.is_empty() {
            let missing = if missing.contains(root) { 0 } else { missing.len() };
            return Err(NameError::Missing { root: *root, missing });
        }
        let named = self.inner.name(name, root, &blobs)?;
        // Whatever was chosen for eviction before the rows were there has been tried, and was pinned.
        self.flush()?;
        drop(pin);
        Ok(named)
    }

    /// Takes a name away; answers with the tree that had it.
    pub fn unname_tree(&self, name: &TreeName) -> Result<Option<NamedTree>, StoreError> {
        self.inner.unname(name)
    }

    /// The trees that have these names, and without any all that have names, in the order of the names.
    pub fn named_trees(&self, names: &[TreeName]) -> Result<Vec<NamedTree>, StoreError> {
        self.inner.readers.read("read the names of trees", |connection| {
            if names.is_empty() {
                let mut statement =
                    connection.prepare_cached("SELECT * FROM names ORDER BY name")?;
                let rows = statement.query_map([], named)?;
                return rows.filter_map(Result::transpose).collect();
            }
            let names: BTreeSet<&TreeName> = names.iter().collect();
            names.into_iter().filter_map(|name| find(connection, name).transpose()).collect()
        })
    }
}

impl Inner {
    fn name(
        &self,
        name: &TreeName,
        root: &Digest,
        blobs: &BTreeSet<Digest>,
    ) -> Result<(NamedTree, Option<Digest>), NameError> {
        let _alone = lock(&self.names.changing);
        let before = self.named(name)?;
        if let Some(before) = before.as_ref().filter(|tree| tree.root == *root) {
            return Ok((before.clone(), None));
        }
        if before.is_none() && self.names.count() >= MOST_NAMES {
            return Err(NameError::TooMany);
        }
        let bytes = blobs.iter().map(|digest| cost(digest.size)).sum();
        let too_large = |needed| NameError::TooLarge { needed, quota: self.quota };
        if bytes > self.quota / 2 {
            return Err(too_large(bytes));
        }
        let since = self.now();
        self.writer.run("begin to name a tree", move |connection| note(connection, since))?;
        let kept = self.keep_rows(blobs, since).and_then(|()| self.bytes_with(name, Some(since)));
        let all = match kept.map_err(NameError::from) {
            Ok(all) if all <= self.quota / 2 => all,
            refused => {
                self.drop_rows(since)?;
                return Err(refused.map_or_else(|error| error, too_large));
            }
        };
        let number = blobs.len() as u64;
        let tree =
            NamedTree { name: name.clone(), root: *root, blobs: number, bytes, since: time(since) };
        let (row, old) = (tree.clone(), before.as_ref().map(|tree| micros(tree.since)));
        self.writer.run("name a tree", move |connection| {
            if let Some(old) = old {
                note(connection, old)?;
            }
            let values = (
                row.name.as_str(),
                since.cast_signed(),
                key(&row.root),
                row.root.size.cast_signed(),
                row.blobs.cast_signed(),
                row.bytes.cast_signed(),
            );
            connection
                .prepare_cached("INSERT OR REPLACE INTO names VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?
                .execute(values)?;
            connection
                .prepare_cached("DELETE FROM unnamed WHERE since = ?1")?
                .execute([since.cast_signed()])?;
            set_meta(connection, BYTES, all)
        })?;
        self.names.bytes.store(all, Ordering::Relaxed);
        if let Some(old) = old {
            self.drop_rows(old)?;
        } else {
            self.names.count.fetch_add(1, Ordering::Relaxed);
        }
        Ok((tree, before.map(|tree| tree.root)))
    }

    fn unname(&self, name: &TreeName) -> Result<Option<NamedTree>, StoreError> {
        let _alone = lock(&self.names.changing);
        let Some(tree) = self.named(name)? else { return Ok(None) };
        let all = self.bytes_with(name, None)?;
        let (gone, since) = (name.clone(), micros(tree.since));
        self.writer.run("take a tree's name away", move |connection| {
            connection
                .prepare_cached("DELETE FROM names WHERE name = ?1")?
                .execute([gone.as_str()])?;
            note(connection, since)?;
            set_meta(connection, BYTES, all)
        })?;
        self.names.count.fetch_sub(1, Ordering::Relaxed);
        self.names.bytes.store(all, Ordering::Relaxed);
        self.drop_rows(since)?;
        Ok(Some(tree))
    }

    /// Takes away what an end in the middle left.
    pub(crate) fn drop_unnamed(&self) -> Result<(), StoreError> {
        let _alone = lock(&self.names.changing);
        let left = self.readers.read("look for names that are not done", |connection| {
            let mut statement = connection.prepare_cached("SELECT since FROM unnamed")?;
            let rows = statement.query_map([], |row| row.get::<_, i64>(0))?;
            rows.map(|since| since.map(i64::cast_unsigned)).collect::<rusqlite::Result<Vec<u64>>>()
        })?;
        left.into_iter().try_for_each(|since| self.drop_rows(since))
    }

    fn named(&self, name: &TreeName) -> Result<Option<NamedTree>, StoreError> {
        self.readers.read("look a name up", |connection| find(connection, name))
    }

    fn keep_rows(&self, blobs: &BTreeSet<Digest>, since: u64) -> Result<(), StoreError> {
        let blobs: Vec<Digest> = blobs.iter().copied().collect();
        for piece in blobs.chunks(PIECE.into()) {
            let piece = piece.to_vec();
            self.writer.run("keep the blobs of a tree", move |connection| {
                let mut add =
                    connection.prepare_cached("INSERT OR IGNORE INTO kept VALUES (?1, ?2, ?3)")?;
                for digest in &piece {
                    let bytes = cost(digest.size).cast_signed();
                    add.execute((key(digest), since.cast_signed(), bytes))?;
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    fn drop_rows(&self, since: u64) -> Result<(), StoreError> {
        loop {
            let dropped = self.writer.run("let the blobs of a tree go", move |connection| {
                let dropped = connection
                    .prepare_cached(
                        "DELETE FROM kept WHERE (key, since) IN (SELECT key, since FROM kept WHERE since = ?1 LIMIT ?2)",
                    )?
                    .execute((since.cast_signed(), PIECE))?;
                if dropped < usize::from(PIECE) {
                    connection
                        .prepare_cached("DELETE FROM unnamed WHERE since = ?1")?
                        .execute([since.cast_signed()])?;
                }
                Ok(dropped)
            })?;
            if dropped < usize::from(PIECE) {
                return Ok(());
            }
        }
    }

    /// Bytes of all that has a name other than this one, and of one more tree.
    fn bytes_with(&self, name: &TreeName, since: Option<u64>) -> Result<u64, StoreError> {
        self.readers.read("count what has names", |connection| {
            let since = since.map_or(-1, u64::cast_signed);
            let bytes: i64 = connection
                .prepare_cached(
                    "SELECT ifnull(sum(most), 0) FROM (SELECT max(bytes) AS most FROM kept \
                     WHERE since = ?2 OR since IN (SELECT since FROM names WHERE name <> ?1) GROUP BY key)",
                )?
                .query_row((name.as_str(), since), |row| row.get(0))?;
            Ok(bytes.cast_unsigned())
        })
    }
}

/// Bytes that a blob takes on the disk.
fn cost(size: u64) -> u64 {
    if size > SMALL { on_disk(size) } else { HEADER + size }
}

/// Notes a tree whose rows are not complete.
fn note(connection: &Connection, since: u64) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT OR IGNORE INTO unnamed VALUES (?1)")?
        .execute([since.cast_signed()])?;
    Ok(())
}

fn count(connection: &Connection) -> rusqlite::Result<u64> {
    let count: i64 = connection.query_row("SELECT count(*) FROM names", [], |row| row.get(0))?;
    Ok(count.cast_unsigned())
}

fn find(connection: &Connection, name: &TreeName) -> rusqlite::Result<Option<NamedTree>> {
    let mut statement = connection.prepare_cached("SELECT * FROM names WHERE name = ?1")?;
    Ok(statement.query_row([name.as_str()], named).optional()?.flatten())
}

/// A row of the table; none where a later version has written what this one can't read.
fn named(row: &Row<'_>) -> rusqlite::Result<Option<NamedTree>> {
    let name = TreeName::new(row.get_ref(0)?.as_str()?);
    let root = digest_of_key(row.get_ref(2)?.as_blob()?, row.get(3)?);
    let (Ok(name), Some(root)) = (name, root) else { return Ok(None) };
    let number = |at| row.get::<_, i64>(at).map(i64::cast_unsigned);
    let since = time(number(1)?);
    Ok(Some(NamedTree { name, root, blobs: number(4)?, bytes: number(5)?, since }))
}

fn time(micros: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_micros(micros)
}

fn micros(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}
