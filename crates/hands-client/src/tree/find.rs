//! Finding a program in a tree, as a shell would find it there, and a directory, as a kernel would.

use hands_types::{Digest, RelPath};

use super::stored::{Found, Stored};
use super::{Output, TreeSpec};
use crate::{ClientError, Cluster, Made};

/// Links from a program's name to its file that are followed.
const MOST_LINKS: usize = 40;

/// Where a program stands in a tree.
#[derive(Debug)]
pub struct Program {
    /// Below the root, under the name by which it was looked for: some programs tell by it what they are.
    pub path: RelPath,
    /// What has to be laid over the tree for that: the program's file, where an absolute link to it stands, which leads
    /// elsewhere for whoever runs it here.
    pub over: Option<TreeSpec>,
}

impl Cluster {
    /// The program that a word means to somebody whose whole file system a tree is: an absolute path, or a name that is looked
    /// for along `search`, which is written as `PATH` is.
    pub async fn program_in(
        &self,
        root: Digest,
        word: &str,
        search: &str,
    ) -> Result<Option<Program>, ClientError> {
        let mut stored = Stored::new(self);
        let places: Vec<String> = match word.contains('/') {
            true => vec![word.to_owned()],
            false => search.split(':').map(|place| format!("{place}/{word}")).collect(),
        };
        for place in places.iter().filter(|place| place.starts_with('/')) {
            if let Some(found) = find(&mut stored, root, place).await? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Where in a tree a directory really is, links followed; itself where it leads astray.
    pub async fn directory_in(&self, root: Digest, path: &RelPath) -> Result<RelPath, ClientError> {
        let real = Stored::new(self).real(root, path.as_str()).await?;
        Ok(real.map_or_else(|_astray| path.clone(), |real| real.path))
    }
}

/// The file to which an absolute path leads; none where there is no program.
async fn find(
    stored: &mut Stored<'_>,
    root: Digest,
    path: &str,
) -> Result<Option<Program>, ClientError> {
    let mut path = path.to_owned();
    let mut found: Option<RelPath> = None;
    let mut leads_away = false;
    for _ in 0..MOST_LINKS {
        let Some((above, name)) = path.rsplit_once('/') else { return Ok(None) };
        let above = match stored.real(root, above).await? {
            Ok(real) if real.is_there => real.path,
            Ok(_) | Err(_) => return Ok(None),
        };
        let Ok(here) = RelPath::new(name).map(|name| above.join(&name)) else { return Ok(None) };
        let target = match stored.node(root, &here).await? {
            Some(Found::File { digest, executable: true }) => {
                let path = found.unwrap_or(here);
                let over = leads_away.then(|| file_at(&path, digest));
                return Ok(Some(Program { path, over }));
            }
            Some(Found::Link(target)) => target,
            Some(Found::File { .. } | Found::Directory(_)) | None => return Ok(None),
        };
        leads_away |= target.starts_with('/');
        path = match target.starts_with('/') {
            true => target,
            false => format!("/{above}/{target}"),
        };
        found.get_or_insert(here);
    }
    Ok(None)
}

/// A tree of a program that is in the store.
fn file_at(path: &RelPath, digest: Digest) -> TreeSpec {
    let what = Made::File { digest, executable: true };
    let file = TreeSpec::Output(Output { path: path.as_str().to_owned(), what });
    file.at(path.parent().unwrap_or_default())
}
