//! Directories as they are encoded, entry by entry: decoded as a whole, a message may become twenty times its size.

use hands_proto::{Malformed, all_fields, reapi};
use hands_tree::{Canonical, DirectoryNode, FileNode, Node, SymlinkNode};
use hands_types::limits::MAX_ENTRY;
use hands_types::{DigestFunction, Mtime};
use prost::Message;

/// One entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A regular file.
    File(FileNode),
    /// A directory.
    Directory(DirectoryNode),
    /// A symbolic link.
    Symlink(SymlinkNode),
}

impl Entry {
    /// The same as a node of a tree.
    pub const fn node(&self) -> Node<'_> {
        match self {
            Self::File(node) => Node::File(node),
            Self::Directory(node) => Node::Directory(node),
            Self::Symlink(node) => Node::Symlink(node),
        }
    }
}

/// Numbers of a Directory's fields.
const FILES: u32 = 1;
const DIRECTORIES: u32 = 2;
const SYMLINKS: u32 = 3;
const PROPERTIES: u32 = 5;

/// Goes through an encoded Directory in the order of its names and checks that it is canonical, as [`hands_tree::Directory::check`]
/// does; else why it is not. Has three entries in memory at most. Answers with the directory's own time.
pub fn read_entries(
    bytes: &[u8],
    function: DigestFunction,
    mut each: impl FnMut(Entry),
) -> Result<Option<Mtime>, String> {
    let mut properties = None;
    for field in all_fields(bytes) {
        match field.map_err(|error| error.to_string())? {
            (FILES | DIRECTORIES | SYMLINKS, Some(_)) => {}
            (PROPERTIES, Some(content)) if properties.is_none() => properties = Some(content),
            (FILES | DIRECTORIES | SYMLINKS | PROPERTIES, _) => return Err(Malformed.to_string()),
            // A field of a later version.
            _ => {}
        }
    }
    let properties = properties.map(decode::<reapi::NodeProperties>).transpose()?;
    let mtime = mtime(properties.as_ref(), ".")?;
    let mut files = nodes(bytes, FILES, function);
    let mut directories = nodes(bytes, DIRECTORIES, function);
    let mut symlinks = nodes(bytes, SYMLINKS, function);
    let mut heads = [files.next(), directories.next(), symlinks.next()];
    let mut canonical = Canonical::new(function);
    loop {
        let mut first: Option<(usize, &str)> = None;
        for (at, head) in heads.iter().enumerate() {
            let Some(head) = head else { continue };
            let name = head.as_ref().map_err(Clone::clone)?.node().name();
            if first.is_none_or(|(_, least)| name.as_bytes() < least.as_bytes()) {
                first = Some((at, name));
            }
        }
        let Some((at, _)) = first else { return Ok(mtime) };
        let next = match at {
            0 => files.next(),
            1 => directories.next(),
            _ => symlinks.next(),
        };
        if let Some(entry) = std::mem::replace(&mut heads[at], next) {
            let entry = entry?;
            canonical.next(entry.node()).map_err(|error| error.to_string())?;
            each(entry);
        }
    }
}

/// The entries of one kind, in the order in which they stand there.
fn nodes(
    bytes: &[u8],
    kind: u32,
    function: DigestFunction,
) -> impl Iterator<Item = Result<Entry, String>> {
    all_fields(bytes).filter_map(move |field| match field {
        Ok((number, Some(content))) if number == kind => Some(entry(kind, content, function)),
        Ok(_) => None,
        Err(error) => Some(Err(error.to_string())),
    })
}

fn entry(kind: u32, content: &[u8], function: DigestFunction) -> Result<Entry, String> {
    if content.len() > MAX_ENTRY {
        return Err(format!("an entry of it has {} bytes, more than {MAX_ENTRY}", content.len()));
    }
    let digest = |digest: Option<reapi::Digest>, name: &str| match digest {
        Some(digest) => digest
            .to_digest(function)
            .map_err(|error| format!("`{}`: {error}", name.escape_debug())),
        None => Err(format!("`{}` has no digest", name.escape_debug())),
    };
    Ok(match kind {
        FILES => {
            let node: reapi::FileNode = decode(content)?;
            Entry::File(FileNode {
                digest: digest(node.digest, &node.name)?,
                executable: node.is_executable,
                mtime: mtime(node.node_properties.as_ref(), &node.name)?,
                name: node.name,
            })
        }
        DIRECTORIES => {
            let node: reapi::DirectoryNode = decode(content)?;
            let digest = digest(node.digest, &node.name)?;
            Entry::Directory(DirectoryNode { name: node.name, digest })
        }
        _ => {
            let node: reapi::SymlinkNode = decode(content)?;
            let mtime = mtime(node.node_properties.as_ref(), &node.name)?;
            Entry::Symlink(SymlinkNode { name: node.name, target: node.target, mtime })
        }
    })
}

fn mtime(properties: Option<&reapi::NodeProperties>, name: &str) -> Result<Option<Mtime>, String> {
    reapi::NodeProperties::to_mtime(properties)
        .map_err(|error| format!("`{}`: {error}", name.escape_debug()))
}

fn decode<M: Message + Default>(bytes: &[u8]) -> Result<M, String> {
    if bytes.len() > MAX_ENTRY {
        return Err(format!("{} bytes of properties are more than {MAX_ENTRY}", bytes.len()));
    }
    M::decode(bytes).map_err(|_| Malformed.to_string())
}
