//! What a start finds: counters from the database, and what the log holds beyond it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use hands_types::{Digest, DigestFunction};
use rusqlite::{Connection, OptionalExtension as _};

use crate::error::StoreError;
use crate::files::{Layout, list, on_disk};
use crate::index::Place;
use crate::named::Names;
use crate::pack::{Kind, Packs, function_byte, function_from_byte, pack_path};
use crate::trees::StoredTree;

/// What is known before anything is served.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) newest_pack: Option<u32>,
    pub(crate) pack_bytes: u64,
    pub(crate) file_bytes: u64,
    pub(crate) newest_use: u64,
    pub(crate) live: BTreeMap<u32, u64>,
    /// Acknowledged, and not in the database yet.
    pub(crate) pending: Vec<(Digest, Place)>,
    pub(crate) trees: Vec<StoredTree>,
    pub(crate) names: Names,
}

/// Looks at the state in a directory. Its time depends on what was written in the last moment before the end, not on
/// how much is stored.
pub(crate) fn recover(connection: &Connection, layout: &Layout) -> Result<Recovered, StoreError> {
    let get = |name| meta(connection, name).map_err(StoreError::database("read the checkpoint"));
    let (checkpoint_pack, checkpoint_at) = (get("checkpoint-pack")?, get("checkpoint-at")?);
    let live = live(connection).map_err(StoreError::database("read the packs"))?;
    let newest_use = newest_use(connection).map_err(StoreError::database("read the last use"))?;

    let packs = Packs::list(&layout.packs)?;
    let mut pending = Vec::new();
    for (id, len) in &packs {
        let from = match u64::from(*id).cmp(&checkpoint_pack) {
            std::cmp::Ordering::Less => continue,
            std::cmp::Ordering::Equal => checkpoint_at.min(*len),
            std::cmp::Ordering::Greater => 0,
        };
        let end = Packs::scan(&layout.packs, *id, from, |kind, digest, offset, content| {
            match kind {
                Kind::Blob if hands_tree::hash(digest.function, content) == digest => {
                    pending.push((digest, Place::Pack { id: *id, offset }));
                }
                // A power cut can leave a header without its content.
                Kind::Blob => {}
                Kind::File => {
                    let path = layout.blob(&digest);
                    if std::fs::metadata(&path).is_ok_and(|metadata| metadata.len() == digest.size)
                    {
                        pending.push((digest, Place::File));
                    }
                }
            }
            Ok(())
        })?;
        if end < *len {
            // The unfinished record of a write that was never acknowledged.
            let path = pack_path(&layout.packs, *id);
            std::fs::File::options()
                .write(true)
                .open(&path)
                .and_then(|file| file.set_len(end))
                .map_err(StoreError::io("cut", &path))?;
        }
    }
    let packs = Packs::list(&layout.packs)?;
    // A new index beside old files: the log does not name those whose packs were compacted since.
    if checkpoint_pack == 0 && newest_use == 0 {
        let known: BTreeSet<Digest> = pending.iter().map(|(digest, _)| *digest).collect();
        let files = blob_files(layout)?.into_iter().filter(|digest| !known.contains(digest));
        pending.extend(files.map(|digest| (digest, Place::File)));
    }

    // Deleting takes time; what is moved away is deleted after the start.
    layout.discard(&layout.temp)?;
    layout.create()?;
    let trees = recover_trees(connection, layout)?;
    Ok(Recovered {
        newest_pack: packs.last().map(|(id, _)| *id),
        pack_bytes: packs.iter().map(|(_, len)| len).sum(),
        file_bytes: get("file-bytes")? + get("twin-bytes")? + files_beyond(&pending),
        newest_use,
        live,
        pending,
        trees,
        names: Names::read(connection).map_err(StoreError::database("count the names of trees"))?,
    })
}

/// Bytes of files that the index does not count yet.
fn files_beyond(pending: &[(Digest, Place)]) -> u64 {
    let files = pending.iter().filter(|(_, place)| *place == Place::File);
    let files: BTreeSet<&Digest> = files.map(|(digest, _)| digest).collect();
    files.iter().map(|digest| on_disk(digest.size)).sum()
}

/// Large blobs by their files. What they hold is checked when it is read.
fn blob_files(layout: &Layout) -> Result<Vec<Digest>, StoreError> {
    let mut found = Vec::new();
    for function in [DigestFunction::Sha256, DigestFunction::Blake3] {
        let dir = layout.blobs.join(function.name());
        for fan in list(&dir)? {
            for entry in list(&fan.path())? {
                let name = entry.file_name();
                let size = entry.metadata().map_or(0, |metadata| metadata.len());
                let name = name.to_str().unwrap_or_default();
                found.extend(Digest::from_hex(function, name, size).ok());
            }
        }
    }
    Ok(found)
}

/// A counter of the `meta` table; 0 if it is not there.
pub(crate) fn meta(connection: &Connection, name: &str) -> rusqlite::Result<u64> {
    let mut statement = connection.prepare_cached("SELECT value FROM meta WHERE name = ?1")?;
    let value: Option<i64> = statement.query_row([name], |row| row.get(0)).optional()?;
    Ok(value.unwrap_or(0).max(0).cast_unsigned())
}

/// Adds to a counter of the `meta` table.
pub(crate) fn add_meta(connection: &Connection, name: &str, delta: i64) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO meta VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value = value + ?2",
        )?
        .execute((name, delta))?;
    Ok(())
}

/// Sets a counter of the `meta` table.
pub(crate) fn set_meta(connection: &Connection, name: &str, value: u64) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT INTO meta VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value = ?2")?
        .execute((name, value.cast_signed()))?;
    Ok(())
}

/// The key of a digest in the database.
pub(crate) fn key(digest: &Digest) -> [u8; 33] {
    let mut key = [0; 33];
    key[0] = function_byte(digest.function);
    key[1..].copy_from_slice(&digest.hash);
    key
}

/// The digest of a key; `None` if the bytes are none.
pub(crate) fn digest_of_key(key: &[u8], size: i64) -> Option<Digest> {
    let (function, hash) = key.split_first()?;
    Some(Digest {
        function: function_from_byte(*function)?,
        hash: hash.try_into().ok()?,
        size: u64::try_from(size).ok()?,
    })
}

fn live(connection: &Connection) -> rusqlite::Result<BTreeMap<u32, u64>> {
    let mut statement = connection.prepare("SELECT id, live FROM packs")?;
    let rows =
        statement.query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?.cast_unsigned())))?;
    rows.collect()
}

fn newest_use(connection: &Connection) -> rusqlite::Result<u64> {
    let newest: Option<i64> =
        connection.query_row("SELECT max(used) FROM blobs", [], |row| row.get(0))?;
    Ok(newest.unwrap_or(0).cast_unsigned())
}

/// Trees that are whole. What was staged before the machine started is thrown away: a power cut may have taken parts of
/// it, and staging again costs less than checking.
fn recover_trees(connection: &Connection, layout: &Layout) -> Result<Vec<StoredTree>, StoreError> {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let load = || {
        let last: Option<String> = connection
            .query_row("SELECT value FROM meta WHERE name = 'boot'", [], |row| row.get(0))
            .optional()?;
        let same_boot = !boot.is_empty() && last.as_deref() == Some(boot.as_str());
        if !same_boot {
            connection
                .execute_batch("DELETE FROM trees; DELETE FROM meta WHERE name = 'twin-bytes'")?;
            connection.execute(
                "INSERT INTO meta VALUES ('boot', ?1) ON CONFLICT DO UPDATE SET value = ?1",
                [&boot],
            )?;
        }
        let mut statement = connection
            .prepare("SELECT id, key, size, base, bytes, entries, used FROM trees ORDER BY id")?;
        let rows = statement.query_map([], |row| {
            Ok(StoredTree {
                id: row.get::<_, i64>(0)?.cast_unsigned(),
                root: digest_of_key(&row.get::<_, Vec<u8>>(1)?, row.get(2)?),
                base: row.get::<_, Option<i64>>(3)?.map(i64::cast_unsigned),
                bytes: row.get::<_, i64>(4)?.cast_unsigned(),
                entries: row.get::<_, i64>(5)?.cast_unsigned(),
                used: row.get::<_, i64>(6)?.cast_unsigned(),
            })
        })?;
        rusqlite::Result::Ok((same_boot, rows.collect::<rusqlite::Result<Vec<_>>>()?))
    };
    let (same_boot, trees) = load().map_err(StoreError::database("read the staged trees"))?;
    if !same_boot {
        layout.discard(&layout.twins)?;
        layout.create()?;
    }
    // A directory without a row was not finished.
    for entry in std::fs::read_dir(&layout.trees).map_err(StoreError::io("list", &layout.trees))? {
        let entry = entry.map_err(StoreError::io("list", &layout.trees))?;
        let id = entry.file_name().to_str().and_then(|name| name.parse::<u64>().ok());
        if !trees.iter().any(|tree| Some(tree.id) == id) {
            layout.discard(&entry.path())?;
        }
    }
    Ok(trees)
}

/// Deletes a file or a whole directory; links are not followed.
pub(crate) fn remove_all(path: &Path) -> Result<(), StoreError> {
    let result = match std::fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => std::fs::remove_dir_all(path),
        Ok(_) => std::fs::remove_file(path),
        Err(error) => Err(error),
    };
    match result {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(StoreError::io("delete", path)(error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}
