//! What an action made, by name: there to be an input of another one, wherever its content is.

use hands_proto::reapi;
use hands_types::Digest;

use crate::{ClientError, Cluster, JobResult, printable};

/// One output of an action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Where the action left it, relative to its working directory.
    pub path: String,
    /// What it is.
    pub what: Made,
}

/// What an output is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Made {
    /// A file.
    File {
        /// Its content.
        digest: Digest,
        /// Whether it may be executed.
        executable: bool,
    },
    /// A directory.
    Directory {
        /// All its directories in one blob, a `Tree`; none where the engine tells only the root.
        tree: Option<Digest>,
        /// Its root in the store, where the action was asked for it (`JobSpec::output_roots`) and the engine knows how.
        root: Option<Digest>,
    },
    /// A symbolic link.
    Symlink {
        /// Where it leads.
        target: String,
    },
}

impl Cluster {
    /// What a result brings, in the order of its paths.
    pub fn outputs(&self, result: &JobResult) -> Result<Vec<Output>, ClientError> {
        let Some(result) = &result.result else { return Ok(Vec::new()) };
        let read = |path: &str, digest: Option<&reapi::Digest>| {
            let digest = digest.map(|digest| digest.to_digest(self.function())).transpose();
            digest.map_err(|error| self.bad_output(path, &format!("has a {error}")))
        };
        let mut all = Vec::new();
        for file in &result.output_files {
            let digest = read(&file.path, file.digest.as_ref())?;
            let digest = digest.ok_or_else(|| self.bad_output(&file.path, "has no digest"))?;
            let what = Made::File { digest, executable: file.is_executable };
            all.push(Output { path: file.path.clone(), what });
        }
        for directory in &result.output_directories {
            let tree = read(&directory.path, directory.tree_digest.as_ref())?;
            let root = read(&directory.path, directory.root_directory_digest.as_ref())?;
            let what = Made::Directory { tree, root };
            all.push(Output { path: directory.path.clone(), what });
        }
        let links = result.output_symlinks.iter().chain(&result.output_file_symlinks);
        for link in links.chain(&result.output_directory_symlinks) {
            let what = Made::Symlink { target: link.target.clone() };
            all.push(Output { path: link.path.clone(), what });
        }
        all.sort_by(|a, b| a.path.cmp(&b.path));
        all.dedup();
        Ok(all)
    }

    /// The output at a path, as the result names it.
    pub fn output(&self, result: &JobResult, path: &str) -> Result<Output, ClientError> {
        let found = self.outputs(result)?.into_iter().find(|output| output.path == path);
        found.ok_or_else(|| {
            ClientError::Spec(format!("the action made no output `{}`", printable(path)))
        })
    }

    pub(crate) fn bad_output(&self, path: &str, why: &str) -> ClientError {
        let why = format!("the output `{}` {why}", printable(path));
        ClientError::Protocol { peer: self.peer().to_owned(), why }
    }
}
