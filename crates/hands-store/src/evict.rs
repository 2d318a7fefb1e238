//! Taking blobs and trees out: eviction, least recently used first, compaction of packs, deletion, quarantine. All of it on the
//! maintenance thread.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Instant;

use hands_types::Digest;
use rusqlite::{Connection, OptionalExtension as _};

use crate::db::lock;
use crate::error::StoreError;
use crate::files::on_disk;
use crate::index::Place;
use crate::pack::{HEADER, Kind, Packs};
use crate::read::{place, row};
use crate::recover::{add_meta, digest_of_key, key};
use crate::store::Inner;

/// Blobs looked at, and deleted, at a time.
const PAGE: u32 = 512;
/// Files kept in quarantine.
const QUARANTINE: usize = 64;

#[derive(Clone, Copy, Debug)]
struct Row {
    digest: Digest,
    place: Place,
    used: u64,
    /// Whether it belongs to a tree that has a name.
    is_kept: bool,
}

impl Inner {
    /// Evicts and compacts until at most `target` bytes are used, or nothing is left that may go.
    pub(crate) fn make_room(&self, target: u64) -> Result<(), StoreError> {
        self.flush_pending()?;
        let begun = self.now();
        loop {
            let used = self.usage().total();
            if used <= target {
                return Ok(());
            }
            // Dead bytes first: they cost nobody anything.
            if let Some(pack) = self.sparse_pack(0.75)? {
                self.compact(pack)?;
                continue;
            }
            if self.evict_some(used - target, begun)? == 0 {
                match self.sparse_pack(0.98)? {
                    Some(pack) => self.compact(pack)?,
                    None => return Ok(()),
                }
            }
        }
    }

    /// Evicts about `wanted` bytes; answers with what it got, dead bytes in packs included.
    fn evict_some(&self, wanted: u64, begun: u64) -> Result<u64, StoreError> {
        let mut freed = 0;
        let mut after = (0, Vec::new());
        while freed < wanted {
            let rows = self.readers.read("look for the least recently used", |connection| {
                oldest(connection, &after)
            })?;
            let Some(last) = rows.last() else {
                return Ok(freed + self.evict_trees(u64::MAX, wanted - freed)?);
            };
            after = (last.used, key(&last.digest).to_vec());
            let mut go = Vec::new();
            let mut stay = Vec::new();
            let mut done = false;
            for row in rows {
                if row.used >= begun || freed >= wanted {
                    done = true;
                    break;
                }
                if self.is_from_before(row.used) {
                    // All of those at once: there may be millions.
                    after = (self.opened, vec![u8::MAX; 64]);
                    break;
                }
                let by_trees = self.evict_trees(row.used, wanted - freed)?;
                freed += by_trees;
                if freed >= wanted {
                    done = true;
                    break;
                }
                match self.may_go(&row) {
                    Ok(()) => {
                        freed += self.cost(&row);
                        go.push(row);
                    }
                    Err(Some(used)) => stay.push((row.digest, used)),
                    Err(None) => {}
                }
            }
            self.delete_rows(go, stay)?;
            if done {
                if freed < wanted {
                    freed += self.evict_trees(u64::MAX, wanted - freed)?;
                }
                return Ok(freed);
            }
        }
        Ok(freed)
    }

    /// Whether it was used last shortly before the start, by somebody who may come back to pin it again. Who came since
    /// has pinned what it needs.
    fn is_from_before(&self, used: u64) -> bool {
        (self.grace_from..=self.opened).contains(&used) && Instant::now() < self.grace_until
    }

    /// Dooms a blob that may be evicted. Otherwise answers with the use that the database should know, if any.
    fn may_go(&self, row: &Row) -> Result<(), Option<u64>> {
        let linked = row.place == Place::File
            && self.is_in_tree(&row.digest).unwrap_or_else(|error| {
                tracing::warn!(%error, "a blob stays because its files can't be looked at");
                true
            });
        let now = self.now();
        let mut index = self.index();
        if let Some(used) = index.last_use(&row.digest)
            && used > row.used
        {
            return Err(Some(used));
        }
        // To be pinned, to belong to a tree with a name, or to be in a staged tree that is kept, is to be in use.
        if linked || row.is_kept || self.pins.is_pinned(&row.digest, row.used) {
            return Err(Some(now));
        }
        if index.doom(&row.digest) { Ok(()) } else { Err(None) }
    }

    fn cost(&self, row: &Row) -> u64 {
        match row.place {
            Place::Pack { .. } => HEADER + row.digest.size,
            Place::File => on_disk(row.digest.size),
        }
    }

    /// Deletes doomed blobs, first from the database, then from the disk, and writes down the uses of others.
    fn delete_rows(&self, go: Vec<Row>, stay: Vec<(Digest, u64)>) -> Result<(), StoreError> {
        if go.is_empty() && stay.is_empty() {
            return Ok(());
        }
        let rows = go.clone();
        let deleted = self.writer.run("delete blobs", move |connection| {
            let mut statement =
                connection.prepare_cached("UPDATE blobs SET used = ?2 WHERE key = ?1")?;
            for (digest, used) in &stay {
                statement.execute((key(digest), used.cast_signed()))?;
            }
            let mut dead: BTreeMap<u32, u64> = BTreeMap::new();
            let mut file_bytes = 0;
            let mut statement = connection.prepare_cached("DELETE FROM blobs WHERE key = ?1")?;
            for row in &rows {
                if statement.execute([key(&row.digest)])? == 0 {
                    continue;
                }
                match row.place {
                    Place::Pack { id, .. } => {
                        *dead.entry(id).or_insert(0) += HEADER + row.digest.size;
                    }
                    Place::File => file_bytes += on_disk(row.digest.size),
                }
            }
            let mut statement =
                connection.prepare_cached("UPDATE packs SET live = live - ?2 WHERE id = ?1")?;
            for (id, bytes) in &dead {
                statement.execute((id, bytes.cast_signed()))?;
            }
            if file_bytes > 0 {
                add_meta(connection, "file-bytes", -file_bytes.cast_signed())?;
            }
            Ok((dead, file_bytes))
        });
        let mut result = Ok(());
        match deleted {
            Ok((dead, file_bytes)) => {
                {
                    let mut live = lock(&self.live);
                    for (id, bytes) in dead {
                        if let Some(live) = live.get_mut(&id) {
                            *live = live.saturating_sub(bytes);
                        }
                    }
                }
                for row in go.iter().filter(|row| row.place == Place::File) {
                    result = result.and(self.unlink(&row.digest));
                }
                self.file_bytes.fetch_sub(file_bytes, Ordering::Relaxed);
            }
            Err(error) => result = Err(error),
        }
        {
            let mut index = self.index();
            for row in &go {
                index.undoom(&row.digest);
            }
        }
        self.index_changed.notify_all();
        result
    }

    /// Deletes the files of a large blob.
    fn unlink(&self, digest: &Digest) -> Result<(), StoreError> {
        let path = self.layout.blob(digest);
        match self.linked.unlink(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(StoreError::io("delete", &path)(error));
            }
            Ok(()) | Err(_) => {}
        }
        self.remove_faces(digest)
    }

    /// Deletes one blob, or puts it into quarantine. False if it is not here.
    pub(crate) fn remove_now(&self, digest: &Digest, quarantine: bool) -> Result<bool, StoreError> {
        self.flush_pending()?;
        let found = self.readers.read("look for a blob", |connection| row(connection, digest))?;
        let Some((place, used)) = found else { return Ok(false) };
        if !self.index().doom(digest) {
            // Somebody is writing it anew this very moment.
            return Ok(false);
        }
        if quarantine && let Err(error) = self.keep_evidence(digest, place) {
            tracing::warn!(%error, %digest, "a corrupt blob could not be put into quarantine and is deleted");
        }
        self.delete_rows(vec![Row { digest: *digest, place, used, is_kept: false }], Vec::new())?;
        Ok(true)
    }

    fn keep_evidence(&self, digest: &Digest, place: Place) -> Result<(), StoreError> {
        let dir = &self.layout.quarantine;
        let mut kept: Vec<_> = std::fs::read_dir(dir)
            .and_then(|entries| {
                entries
                    .map(|entry| {
                        Ok((
                            entry
                                .as_ref()
                                .map_or_else(|_| None, |e| e.metadata().ok()?.modified().ok()),
                            entry?.path(),
                        ))
                    })
                    .collect::<std::io::Result<Vec<_>>>()
            })
            .map_err(StoreError::io("list", dir))?;
        kept.sort_unstable();
        for (_, path) in kept.iter().take((kept.len() + 1).saturating_sub(QUARANTINE)) {
            std::fs::remove_file(path).map_err(StoreError::io("delete", path))?;
        }
        let to = dir.join(format!("{}-{}", digest.function.name(), digest.hex()));
        match place {
            Place::Pack { id, offset } => {
                let len = usize::try_from(digest.size).unwrap_or(0);
                let content = self.packs.read(id, offset, len)?.unwrap_or_default();
                std::fs::write(&to, content).map_err(StoreError::io("write", &to))
            }
            Place::File => {
                let from = self.layout.blob(digest);
                match std::fs::rename(&from, &to) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                        Err(StoreError::io("put into quarantine", &from)(error))
                    }
                    Ok(()) | Err(_) => Ok(()),
                }
            }
        }
    }

    /// The pack with the smallest share of live bytes, if that is below `share`.
    fn sparse_pack(&self, share: f64) -> Result<Option<u32>, StoreError> {
        let packs = Packs::list(&self.layout.packs)?;
        let live = lock(&self.live);
        #[expect(clippy::cast_precision_loss, reason = "a share need not be exact")]
        let shares = packs
            .iter()
            .filter(|(_, len)| *len > 0)
            .map(|(id, len)| (live.get(id).copied().unwrap_or(0) as f64 / *len as f64, *id));
        Ok(shares.filter(|(s, _)| *s < share).min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, id)| id))
    }

    /// Copies what is alive in a pack to the active one and deletes it.
    fn compact(&self, id: u32) -> Result<(), StoreError> {
        {
            let mut active = self.packs.active();
            if active.id == id {
                self.packs.seal(&mut active)?;
            }
        }
        // What the log holds of it must be in the database before the log goes.
        self.flush_pending()?;
        let dir = self.layout.packs.clone();
        let mut left = lock(&self.live).get(&id).copied().unwrap_or(0);
        if left > 0 {
            let mut batch: Vec<(Digest, u64, Vec<u8>)> = Vec::new();
            let mut size = 0;
            // One append is not split: large ones would make packs far beyond their limit.
            let most = (1 << 20).min(self.packs.limit() / 8);
            Packs::scan(&dir, id, 0, |kind, digest, offset, content| {
                if kind == Kind::Blob {
                    size += content.len() as u64;
                    batch.push((digest, offset, content.to_vec()));
                }
                if size > most {
                    size = 0;
                    left = left.saturating_sub(self.move_live(id, std::mem::take(&mut batch))?);
                }
                Ok(())
            })?;
            left = left.saturating_sub(self.move_live(id, batch)?);
        }
        let len = std::fs::metadata(crate::pack::pack_path(&dir, id))
            .map_or(0, |metadata| metadata.len());
        self.writer.run("forget a pack", move |connection| {
            connection.prepare_cached("DELETE FROM packs WHERE id = ?1")?.execute([id])?;
            if left > 0 {
                // Records that the scan did not reach, or whose content went bad: they are lost.
                connection.execute("DELETE FROM blobs WHERE pack = ?1", [id])?;
            }
            Ok(())
        })?;
        lock(&self.live).remove(&id);
        self.packs.remove(id)?;
        self.pack_bytes.fetch_sub(len, Ordering::Relaxed);
        Ok(())
    }

    fn move_live(
        &self,
        from: u32,
        records: Vec<(Digest, u64, Vec<u8>)>,
    ) -> Result<u64, StoreError> {
        let alive = self.readers.read("look for live blobs", |connection| {
            let mut statement =
                connection.prepare_cached("SELECT pack, offset FROM blobs WHERE key = ?1")?;
            records
                .iter()
                .map(|(digest, offset, _)| {
                    let found: Option<(u32, i64)> = statement
                        .query_row([key(digest)], |row| Ok((row.get(0)?, row.get(1)?)))
                        .optional()?;
                    Ok(found == Some((from, offset.cast_signed())))
                })
                .collect::<rusqlite::Result<Vec<bool>>>()
        })?;
        let keep: Vec<_> = records
            .into_iter()
            .zip(alive)
            // Content that went bad is not carried on; its row stays behind and is deleted with the pack.
            .filter(|((digest, _, content), alive)| {
                *alive && hands_tree::hash(digest.function, content) == *digest
            })
            .map(|(record, _)| record)
            .collect();
        if keep.is_empty() {
            return Ok(0);
        }
        let appended: Vec<(Kind, Digest, &[u8])> =
            keep.iter().map(|(digest, _, content)| (Kind::Blob, *digest, &content[..])).collect();
        let places = {
            let mut active = self.packs.active();
            let before = (active.id, active.len);
            let places = self.packs.append(&mut active, &appended, self.power())?;
            let grown = if active.id == before.0 { active.len - before.1 } else { active.len };
            self.pack_bytes.fetch_add(grown, Ordering::Relaxed);
            places
        };
        let moves: Vec<(Digest, u64, u32, u64)> = keep
            .iter()
            .zip(places)
            .map(|((digest, offset, _), (id, at))| (*digest, *offset, id, at))
            .collect();
        let rows = moves.clone();
        let grown = self.writer.run("move blobs", move |connection| {
            let mut grown: BTreeMap<u32, u64> = BTreeMap::new();
            let mut update = connection
                .prepare_cached("UPDATE blobs SET pack = ?3, offset = ?4 WHERE key = ?1 AND pack = ?5 AND offset = ?2")?;
            for (digest, offset, id, at) in &rows {
                if update.execute((key(digest), offset.cast_signed(), id, at.cast_signed(), from))? > 0 {
                    *grown.entry(*id).or_insert(0) += HEADER + digest.size;
                }
            }
            let mut add = connection
                .prepare_cached("INSERT INTO packs VALUES (?1, ?2) ON CONFLICT DO UPDATE SET live = live + ?2")?;
            for (id, bytes) in &grown {
                add.execute((id, bytes.cast_signed()))?;
            }
            Ok(grown)
        })?;
        {
            let mut live = lock(&self.live);
            for (id, bytes) in &grown {
                *live.entry(*id).or_insert(0) += bytes;
            }
        }
        let mut index = self.index();
        for (digest, offset, id, at) in moves {
            index.moved(&digest, Place::Pack { id: from, offset }, Place::Pack { id, offset: at });
        }
        Ok(grown.values().sum())
    }
}

/// The next page of blobs in the order of their use, behind `after`.
fn oldest(connection: &Connection, after: &(u64, Vec<u8>)) -> rusqlite::Result<Vec<Row>> {
    let mut statement = connection.prepare_cached(
        "SELECT key, size, pack, offset, used, EXISTS (SELECT 1 FROM kept WHERE kept.key = blobs.key) \
         FROM blobs WHERE (used, key) > (?1, ?2) ORDER BY used, key LIMIT ?3",
    )?;
    let mut rows = statement.query((after.0.cast_signed(), &after.1, PAGE))?;
    let mut page = Vec::with_capacity(PAGE as usize);
    while let Some(row) = rows.next()? {
        let digest = digest_of_key(row.get_ref(0)?.as_blob()?, row.get(1)?);
        if let Some(digest) = digest {
            page.push(Row {
                digest,
                place: place(row.get(2)?, row.get(3)?),
                used: row.get::<_, i64>(4)?.cast_unsigned(),
                is_kept: row.get(5)?,
            });
        }
    }
    Ok(page)
}
