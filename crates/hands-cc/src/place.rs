//! Making ready what a compile made: all of it or nothing, beside where it belongs.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use hands_client::{Cluster, JobResult, random_u128};
use hands_types::RelPath;

use crate::Reason;

/// A directory beside the object, in which everything is made ready. It is removed with what is left in it.
#[derive(Debug)]
pub(crate) struct Staging(PathBuf);

impl Staging {
    fn make(beside: &Path) -> Result<Self, Reason> {
        let number = random_u128().map_err(|error| Reason::new("output", error))? >> 64;
        // The name by which others know what is being written and is nobody's input.
        let path = beside.join(format!(".hands-{number:016x}.tmp"));
        fs::create_dir(&path).map_err(|error| Reason::new("output", error))?;
        let staging = Self(path);
        // Nobody else's before it has the mode that the compiler would give it.
        let mode = fs::Permissions::from_mode(0o700);
        fs::set_permissions(&staging.0, mode).map_err(|error| Reason::new("output", error))?;
        Ok(staging)
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::warn!(directory = %self.0.display(), %error, "a directory stays behind");
        }
    }
}

/// What a compile left.
#[derive(Debug, Default)]
pub(crate) struct Left {
    /// Files that are ready, and their places; the object last: make looks at it, and whoever sees it sees all the others.
    pub(crate) ready: Vec<(PathBuf, PathBuf)>,
    /// Where they stand until they are in place.
    pub(crate) staging: Option<Staging>,
}

/// Fetches the outputs of a compile. `outputs` are below `directory`, the object first.
pub(crate) async fn outputs(
    cluster: &Cluster,
    result: &JobResult,
    directory: &Path,
    outputs: &[RelPath],
    umask: u32,
) -> Result<Left, Reason> {
    let failed = |error: io::Error| Reason::new("output", error);
    let mut left = Left::default();
    let Some((object, _)) = outputs.split_first() else { return Ok(left) };
    let object = directory.join(object.as_str());
    let staging = Staging::make(object.parent().unwrap_or(directory))?;
    let below = fs::File::open(&staging.0).map_err(failed)?;
    let fetched = cluster.fetch_outputs(result, below.as_fd()).await;
    fetched.map_err(|error| Reason::new("output", error))?;
    if !staging.0.join(outputs[0].as_str()).is_file() {
        return Err(Reason::new("worker", "there is no object"));
    }
    for path in outputs.iter().rev() {
        let made = staging.0.join(path.as_str());
        match fs::symlink_metadata(&made) {
            Ok(metadata) if metadata.is_file() => {}
            Ok(_) => return Err(Reason::new("output", path.as_str())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(failed(error)),
        }
        let mode = fs::Permissions::from_mode(0o666 & !umask);
        fs::set_permissions(&made, mode).map_err(failed)?;
        left.ready.push((made, directory.join(path.as_str())));
    }
    left.staging = Some(staging);
    Ok(left)
}
