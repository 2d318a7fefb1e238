//! Putting outputs in place.

mod before;
mod groups;
mod meet;
mod place;
mod plan;
mod room;
mod trees;

use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use hands_proto::reapi::ActionResult;
use hands_types::Mtime;
use tokio::task::coop::consume_budget;

use crate::{ClientError, Cluster, JobResult, printable};
pub use before::check_place;
use place::Place;
pub use place::is_temporary_name;
#[cfg(any(test, fuzzing))]
pub(crate) use plan::paths_of_tree;
use plan::{Plan, safe};
pub(crate) use room::Room;
use trees::Trees;

/// Requests for files that are under way at once.
const CALLS: usize = 8;
/// Large files that are under way at once over one connection, whatever they belong to: each takes three descriptors, of which
/// a process has 1,024 as a rule.
pub(crate) const LARGE_FILES: usize = 32;

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

/// Fetches the outputs of several results, each to a directory. What several of them have comes once. An output that can't be put
/// in place, because of what stands there, is an error after all others have come.
pub(crate) async fn fetch(
    cluster: &Cluster,
    results: &[(&JobResult, BorrowedFd<'_>)],
) -> Result<Vec<Fetched>, ClientError> {
    let trees = trees::read(cluster, results.iter().map(|(result, _)| *result)).await?;
    let mut all = Vec::with_capacity(results.len());
    for (result, below) in results {
        all.push(One::plan(cluster, result, *below, &trees)?);
    }
    if results.len() > 1 {
        let places: Result<Vec<_>, _> = results.iter().map(|(_, below)| place_of(*below)).collect();
        meet::check(&all, &places?)?;
    }
    let sizes = results.iter().zip(&all).map(|((_, below), one)| (*below, one.plan.bytes()));
    let promise = cluster.room().promise(sizes)?;
    for one in &mut all {
        one.make_directories().await?;
    }
    stream::iter(groups::of(&all))
        .map(|group| group.write(cluster, &promise))
        .buffer_unordered(CALLS)
        .try_collect::<()>()
        .await?;
    let (mut fetched, mut refused) = (Vec::with_capacity(all.len()), Vec::new());
    for one in all {
        fetched.push(one.finish(&mut refused).await?);
    }
    if refused.len() > 1 {
        return Err(ClientError::Unplaced { refused });
    }
    refused.pop().map_or(Ok(fetched), Err)
}

/// Which directory it is.
fn place_of(below: BorrowedFd<'_>) -> Result<(u64, u64), ClientError> {
    let stat = rustix::fs::fstat(below)
        .map_err(|error| ClientError::Write { path: ".".to_owned(), source: error.into() })?;
    Ok((stat.st_dev, stat.st_ino))
}

/// The outputs of one result.
struct One<'a> {
    plan: Plan,
    tops: BTreeMap<String, u64>,
    place: Place<'a>,
    /// When its directories had been changed before.
    before: Vec<Option<Mtime>>,
}

impl<'a> One<'a> {
    fn plan(
        cluster: &Cluster,
        result: &JobResult,
        below: BorrowedFd<'a>,
        trees: &Trees,
    ) -> Result<Self, ClientError> {
        let mut plan = Plan::new(cluster.function(), result.skew());
        let mut tops: BTreeMap<String, u64> = BTreeMap::new();
        let empty = ActionResult::default();
        let result = result.result.as_ref().unwrap_or(&empty);
        for file in &result.output_files {
            let path = safe(&file.path)?;
            tops.insert(path.clone(), 0);
            plan.file(path, file)?;
        }
        let links = result.output_symlinks.iter().chain(&result.output_file_symlinks);
        for link in links.chain(&result.output_directory_symlinks) {
            let path = safe(&link.path)?;
            tops.insert(path.clone(), 0);
            plan.link(path, &link.target, link.node_properties.as_ref())?;
        }
        for directory in &result.output_directories {
            let path = match directory.path.as_str() {
                "" => String::new(),
                path => safe(path)?,
            };
            tops.insert(path.clone(), 0);
            plan.tree(&path, &trees.of(cluster, directory)?)?;
        }
        plan.check()?;
        Ok(Self { plan, tops, place: Place::new(below), before: Vec::new() })
    }

    async fn make_directories(&mut self) -> Result<(), ClientError> {
        for directory in &self.plan.directories {
            let before = self.place.directory(&directory.path);
            self.before.push(self.place.or_refused(&directory.path, before)?.flatten());
            // Of a hundred thousand directories, and whoever waits for this may be called away.
            consume_budget().await;
        }
        Ok(())
    }

    /// All files are there, but for those that are refused.
    async fn finish(self, refused: &mut Vec<ClientError>) -> Result<Fetched, ClientError> {
        let Self { plan, mut tops, place, before } = self;
        let mut fetched = Fetched::default();
        for (path, file) in &plan.files {
            fetched.bytes += file.digest.size;
            count(&mut tops, path, file.digest.size);
            consume_budget().await;
        }
        for (path, link) in &plan.links {
            place.or_refused(path, place.link(path, &link.target, link.mtime))?;
            consume_budget().await;
        }
        // At last: what was written has changed the times of all directories. One that was changed here after the action had
        // changed it keeps the later time.
        for (directory, before) in plan.directories.iter().zip(before) {
            if let Some(mtime) = directory.mtime {
                let mtime = before.map_or(mtime, |before| before.max(mtime));
                place.or_refused(&directory.path, place.touch(&directory.path, mtime))?;
            }
            consume_budget().await;
        }
        refused.extend(place.refused());
        let written = tops.into_iter().map(|(path, bytes)| WrittenOutput { path, bytes });
        fetched.written = written.collect();
        Ok(fetched)
    }
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

fn described(path: &str) -> String {
    format!("the output `{}`", printable(path))
}

#[cfg(test)]
mod tests;
