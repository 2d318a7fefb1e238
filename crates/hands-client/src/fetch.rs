//! Putting outputs in place.

mod before;
mod place;
mod plan;
mod room;

use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;
use std::path::Path;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use hands_proto::decode_blob;
use hands_proto::reapi::{OutputDirectory, Tree};
use hands_reapi::BlobError;
use hands_types::limits;
use tokio::task::coop::consume_budget;

use crate::{ClientError, Cluster, JobResult, printable};
pub use before::check_place;
pub use place::is_temporary_name;
use place::{Content, Place};
#[cfg(any(test, fuzzing))]
pub(crate) use plan::paths_of_tree;
use plan::{File, Plan, safe};

/// Requests for files that are under way at once.
const CALLS: usize = 8;

/// What was put in place.
#[derive(Clone, Debug, Default)]
pub struct Fetched {
    /// Everything written, in the order of the paths.
    pub written: Vec<WrittenOutput>,
    /// Bytes of all files.
    pub bytes: u64,
}

/// One file, link or directory that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrittenOutput {
    /// Where, below the destination.
    pub path: String,
    /// Bytes of the file, or of all files of the directory.
    pub bytes: u64,
}

pub(crate) async fn fetch(
    cluster: &Cluster,
    result: &JobResult,
    below: BorrowedFd<'_>,
) -> Result<Fetched, ClientError> {
    let Some(action_result) = &result.result else { return Ok(Fetched::default()) };
    let mut plan = Plan::new(cluster.function(), result.skew());
    let mut tops: BTreeMap<String, u64> = BTreeMap::new();
    for file in &action_result.output_files {
        let path = safe(&file.path)?;
        tops.insert(path.clone(), 0);
        plan.file(path, file)?;
    }
    let links = action_result.output_symlinks.iter().chain(&action_result.output_file_symlinks);
    for link in links.chain(&action_result.output_directory_symlinks) {
        let path = safe(&link.path)?;
        tops.insert(path.clone(), 0);
        plan.link(path, &link.target, link.node_properties.as_ref())?;
    }
    for directory in &action_result.output_directories {
        let path = if directory.path.is_empty() { String::new() } else { safe(&directory.path)? };
        tops.insert(path.clone(), 0);
        let tree = read_tree(cluster, directory).await?;
        plan.tree(&path, &tree)?;
    }
    plan.check()?;
    room::check(below, plan.bytes())?;
    let place = Place::new(below);
    let mut before = Vec::with_capacity(plan.directories.len());
    for directory in &plan.directories {
        before.push(place.directory(&directory.path)?);
        // Of a hundred thousand directories, and whoever waits for this may be called away.
        consume_budget().await;
    }
    stream::iter(plan.groups())
        .map(|group| write_group(cluster, &place, group))
        .buffer_unordered(CALLS)
        .try_collect::<()>()
        .await?;
    let mut fetched = Fetched::default();
    for (path, file) in &plan.files {
        fetched.bytes += file.digest.size;
        count(&mut tops, path, file.digest.size);
        consume_budget().await;
    }
    for (path, link) in &plan.links {
        place.link(path, &link.target, link.mtime)?;
        consume_budget().await;
    }
    // At last: what was written has changed the times of all directories. One that was changed here after the action had
    // changed it keeps the later time.
    for (directory, before) in plan.directories.iter().zip(before) {
        if let Some(mtime) = directory.mtime {
            place.touch(&directory.path, before.map_or(mtime, |before| before.max(mtime)))?;
        }
        consume_budget().await;
    }
    fetched.written = tops.into_iter().map(|(path, bytes)| WrittenOutput { path, bytes }).collect();
    Ok(fetched)
}

/// Adds a file to the outputs that it is or stands in.
fn count(tops: &mut BTreeMap<String, u64>, path: &str, size: u64) {
    let ends = path.match_indices('/').map(|(at, _)| at);
    for end in [0].into_iter().chain(ends).chain([path.len()]) {
        if let Some(bytes) = tops.get_mut(&path[..end]) {
            *bytes += size;
        }
    }
}

/// Writes files: one by itself, or several small ones that come in one answer.
async fn write_group(
    cluster: &Cluster,
    place: &Place<'_>,
    group: Vec<(&str, &File)>,
) -> Result<(), ClientError> {
    let [(path, file)] = group.as_slice() else {
        let digests = group.iter().map(|(_, file)| file.digest);
        let contents = cluster.blobs().download_many(digests).await;
        let contents = contents.map_err(|error| group_failed(cluster, &group, error))?;
        return group.iter().try_for_each(|(path, file)| match contents.get(&file.digest) {
            Some(bytes) => write_contents(place, path, file, bytes),
            None => {
                let missing = BlobError::Missing(vec![file.digest]);
                Err(cluster.blob_failed(&described(path), file.digest, missing))
            }
        });
    };
    if file.has_contents() {
        if hands_tree::hash(file.digest.function, &file.contents) != file.digest {
            return Err(ClientError::Protocol {
                peer: cluster.peer().to_owned(),
                why: format!("the content of {} is not what its digest says", described(path)),
            });
        }
        return write_contents(place, path, file, &file.contents);
    }
    let draft = place.draft(path, file.executable, file.mtime)?;
    let got = cluster.blobs().download_to(&file.digest, draft.file(), Path::new(path)).await;
    got.map_err(|error| cluster.blob_failed(&described(path), file.digest, error))?;
    draft.commit()
}

/// Why several files could not be had; of one that came and is another, which.
fn group_failed(cluster: &Cluster, group: &[(&str, &File)], error: BlobError) -> ClientError {
    let digest = match &error {
        BlobError::Corrupt { expected, .. } => Some(*expected),
        _ => None,
    };
    match group.iter().find(|(_, file)| digest.is_none_or(|digest| digest == file.digest)) {
        Some((path, file)) => cluster.blob_failed(&described(path), file.digest, error),
        None => cluster.blob_failed("an output", hands_tree::empty(cluster.function()), error),
    }
}

fn write_contents(
    place: &Place<'_>,
    path: &str,
    file: &File,
    contents: &[u8],
) -> Result<(), ClientError> {
    let mut draft = place.draft(path, file.executable, file.mtime)?;
    draft.write(contents)?;
    draft.commit()
}

fn described(path: &str) -> String {
    format!("the output `{}`", printable(path))
}

async fn read_tree(cluster: &Cluster, directory: &OutputDirectory) -> Result<Tree, ClientError> {
    let broken = |why: String| ClientError::Protocol {
        peer: cluster.peer().to_owned(),
        why: format!("the tree of the output `{}` {why}", printable(&directory.path)),
    };
    let digest =
        directory.tree_digest.as_ref().ok_or_else(|| broken("has no digest".to_owned()))?;
    let digest = digest.to_digest(cluster.function()).map_err(|e| broken(format!("has a {e}")))?;
    if digest.size > limits::MAX_PROTO_BLOB {
        return Err(broken(format!("is larger than {} bytes", limits::MAX_PROTO_BLOB)));
    }
    let what = format!("the tree of the output `{}`", printable(&directory.path));
    let bytes = cluster.read_blob(digest, &what).await?;
    decode_blob::<Tree>(bytes).map_err(|e| broken(format!("can't be read: {e}")))
}

#[cfg(test)]
mod tests;
