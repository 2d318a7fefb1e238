//! Finding a program in a tree, as a shell would find it there.

use std::collections::BTreeSet;

use hands_tree::{Directory, Node, There, follow};
use hands_types::{Digest, RelPath};

use super::stored::Stored;
use crate::{ClientError, Cluster};

/// Links from a program's name to its file that are followed.
const MOST_LINKS: usize = 40;

impl Cluster {
    /// Where below a tree's root the program stands that a word means to somebody whose whole file system the tree is: an
    /// absolute path, or a name that is looked for along `search`, which is written as `PATH` is. The name under which it
    /// is found is kept, unless an absolute link leads on from it.
    pub async fn program_in(
        &self,
        root: Digest,
        word: &str,
        search: &str,
    ) -> Result<Option<RelPath>, ClientError> {
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
}

/// The file to which an absolute path leads; none where there is no program.
async fn find(
    stored: &mut Stored<'_>,
    root: Digest,
    path: &str,
) -> Result<Option<RelPath>, ClientError> {
    let mut path = path.to_owned();
    let mut found: Option<RelPath> = None;
    for _ in 0..MOST_LINKS {
        let Some((above, name)) = path.rsplit_once('/') else { return Ok(None) };
        let Some(above) = directory(stored, root, above).await? else { return Ok(None) };
        let Ok(here) = RelPath::new(name).map(|name| above.join(&name)) else { return Ok(None) };
        match looked(stored, root, here.as_str()).await? {
            Seen::Program => return Ok(Some(found.unwrap_or(here))),
            Seen::Link(target) if target.starts_with('/') => {
                // What it names stands elsewhere for who runs it here.
                found = None;
                path = target;
            }
            Seen::Link(target) => {
                path = format!("/{above}/{target}");
                found.get_or_insert(here);
            }
            Seen::Nothing => return Ok(None),
        }
    }
    Ok(None)
}

/// Where a directory really is, links followed.
async fn directory(
    stored: &mut Stored<'_>,
    root: Digest,
    path: &str,
) -> Result<Option<RelPath>, ClientError> {
    loop {
        let mut unknown = None;
        let top = RelPath::default();
        let mut look = |path: &str| match node(stored, root, path) {
            Ok(Some(Found::Directory)) => Ok(There::Directory),
            Ok(Some(Found::Link(target))) => Ok(There::Symlink { target }),
            Ok(Some(Found::File { .. })) => Ok(There::Other),
            Ok(None) => Ok(There::Nothing),
            Err(digest) => Err(digest),
        };
        match follow(&top, path, Some("/"), &mut look) {
            Ok(Ok(real)) if real.is_there => return Ok(Some(real.path)),
            Ok(_) => return Ok(None),
            Err(digest) => unknown = unknown.or(Some(digest)),
        }
        stored.load(&unknown.into_iter().collect::<BTreeSet<_>>()).await?;
    }
}

enum Seen {
    Program,
    Link(String),
    Nothing,
}

async fn looked(stored: &mut Stored<'_>, root: Digest, path: &str) -> Result<Seen, ClientError> {
    loop {
        match node(stored, root, path) {
            Ok(Some(Found::File { executable: true })) => return Ok(Seen::Program),
            Ok(Some(Found::Link(target))) => return Ok(Seen::Link(target)),
            Ok(_) => return Ok(Seen::Nothing),
            Err(digest) => stored.load(&BTreeSet::from([digest])).await?,
        }
    }
}

enum Found {
    Directory,
    Link(String),
    File { executable: bool },
}

/// What stands at a path without links in it; an error is a directory that must be loaded first.
fn node(stored: &Stored<'_>, root: Digest, path: &str) -> Result<Option<Found>, Digest> {
    let mut here = root;
    let mut names = path.split('/').filter(|name| !name.is_empty()).peekable();
    while let Some(name) = names.next() {
        let directory: std::sync::Arc<Directory> = stored.known(&here).ok_or(here)?;
        let is_last = names.peek().is_none();
        match directory.get(name) {
            Some(Node::Directory(below)) => here = below.digest,
            Some(Node::Symlink(link)) if is_last => {
                return Ok(Some(Found::Link(link.target.clone())));
            }
            Some(Node::File(file)) if is_last => {
                return Ok(Some(Found::File { executable: file.executable }));
            }
            Some(Node::Symlink(_) | Node::File(_)) | None => return Ok(None),
        }
    }
    Ok(Some(Found::Directory))
}
