//! Putting outputs in place.

mod batch;
mod place;

use std::collections::BTreeMap;
use std::mem;
use std::os::fd::BorrowedFd;

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use hands_proto::bytestream::ReadRequest;
use hands_proto::bytestream::byte_stream_client::ByteStreamClient;
use hands_proto::reapi::{self, OutputDirectory, OutputFile, Tree};
use hands_types::{Digest, DigestFunction, RelPath, limits};
use prost::Message;
use tonic::{Code, Streaming};

use crate::job::JobStream;
use crate::{ClientError, Cluster, JobResult, printable};
use place::{Content, Place};

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

/// Everything of one result, by path. Links are made last, so that none of them can lead another output elsewhere.
struct Plan {
    function: DigestFunction,
    directories: Vec<String>,
    files: BTreeMap<String, File>,
    links: BTreeMap<String, String>,
}

struct File {
    digest: Digest,
    executable: bool,
    contents: Bytes,
}

pub(crate) async fn fetch(
    cluster: &Cluster,
    result: &JobResult,
    below: BorrowedFd<'_>,
) -> Result<Fetched, ClientError> {
    let Some(action_result) = &result.result else { return Ok(Fetched::default()) };
    let mut plan = Plan::new(cluster.function());
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
        plan.link(path, &link.target)?;
    }
    for directory in &action_result.output_directories {
        let path = if directory.path.is_empty() { String::new() } else { safe(&directory.path)? };
        tops.insert(path.clone(), 0);
        let tree = read_tree(cluster, directory).await?;
        plan.tree(&path, &tree)?;
    }
    plan.check()?;
    let place = Place::new(below);
    for path in &plan.directories {
        place.directory(path)?;
    }
    stream::iter(plan.groups())
        .map(|group| write_group(cluster, &place, group))
        .buffer_unordered(CALLS)
        .try_collect::<()>()
        .await?;
    let mut fetched = Fetched::default();
    for (path, file) in &plan.files {
        fetched.bytes += file.digest.size;
        for (top, bytes) in &mut tops {
            if top == path
                || top.is_empty()
                || path.strip_prefix(top.as_str()).is_some_and(|rest| rest.starts_with('/'))
            {
                *bytes += file.digest.size;
            }
        }
    }
    for (path, target) in &plan.links {
        place.link(path, target)?;
    }
    fetched.written = tops.into_iter().map(|(path, bytes)| WrittenOutput { path, bytes }).collect();
    Ok(fetched)
}

/// Writes files: one by itself, or several small ones that come in one answer.
async fn write_group(
    cluster: &Cluster,
    place: &Place<'_>,
    group: Vec<(&str, &File)>,
) -> Result<(), ClientError> {
    let [(path, file)] = group.as_slice() else {
        let contents = batch::read(cluster, &group).await?;
        return group.iter().try_for_each(|(path, file)| match contents.get(&file.digest) {
            Some(bytes) => write_contents(cluster, place, path, file, bytes),
            None => Err(ClientError::MissingBlob {
                peer: cluster.peer().to_owned(),
                what: described(path),
                digest: file.digest,
            }),
        });
    };
    if file.has_contents() {
        return write_contents(cluster, place, path, file, &file.contents);
    }
    let mut draft = place.draft(path, file.executable)?;
    let mut blob = BlobReader::open(cluster, file.digest, described(path)).await?;
    while let Some(piece) = blob.next().await? {
        draft.write(&piece)?;
    }
    draft.commit()
}

fn write_contents(
    cluster: &Cluster,
    place: &Place<'_>,
    path: &str,
    file: &File,
    contents: &[u8],
) -> Result<(), ClientError> {
    if hands_tree::hash(file.digest.function, contents) != file.digest {
        return Err(ClientError::Protocol {
            peer: cluster.peer().to_owned(),
            why: format!("the content of {} is not what its digest says", described(path)),
        });
    }
    let mut draft = place.draft(path, file.executable)?;
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
    let bytes = BlobReader::open(cluster, digest, what).await?.read_all().await?;
    Tree::decode(bytes).map_err(|e| broken(format!("can't be read: {e}")))
}

impl File {
    /// Whether the content came with the result, or there is none.
    fn has_contents(&self) -> bool {
        u64::try_from(self.contents.len()) == Ok(self.digest.size)
    }
}

impl Plan {
    /// The files, by the requests that bring them.
    fn groups(&self) -> Vec<Vec<(&str, &File)>> {
        let mut groups = Vec::new();
        let (mut batch, mut bytes) = (Vec::new(), 0);
        for (path, file) in &self.files {
            let one = (path.as_str(), file);
            if file.has_contents() || file.digest.size > batch::LARGEST {
                groups.push(vec![one]);
                continue;
            }
            if bytes + file.digest.size > batch::BYTES || batch.len() == batch::FILES {
                groups.push(mem::take(&mut batch));
                bytes = 0;
            }
            bytes += file.digest.size;
            batch.push(one);
        }
        groups.push(batch);
        groups.retain(|group| !group.is_empty());
        groups
    }

    fn new(function: DigestFunction) -> Self {
        Self { function, directories: Vec::new(), files: BTreeMap::new(), links: BTreeMap::new() }
    }

    fn file(&mut self, path: String, file: &OutputFile) -> Result<(), ClientError> {
        let digest =
            file.digest.as_ref().ok_or_else(|| hostile(&path, "has no digest".to_owned()))?;
        self.add_file(path, digest, file.is_executable, file.contents.clone())
    }

    fn add_file(
        &mut self,
        path: String,
        digest: &reapi::Digest,
        executable: bool,
        contents: Bytes,
    ) -> Result<(), ClientError> {
        let digest =
            digest.to_digest(self.function).map_err(|e| hostile(&path, format!("has a {e}")))?;
        self.files.insert(path, File { digest, executable, contents });
        Ok(())
    }

    fn link(&mut self, path: String, target: &str) -> Result<(), ClientError> {
        if target.is_empty() || target.contains('\0') {
            return Err(hostile(
                &path,
                "is a link without a target that a file system takes".to_owned(),
            ));
        }
        self.links.insert(path, target.to_owned());
        Ok(())
    }

    /// Adds all of a tree. Each directory of it is found by its digest; a tree that names one which it does not bring,
    /// or that contains itself, is refused (the latter can't be made without breaking the hash, but costs nothing).
    fn tree(&mut self, at: &str, tree: &Tree) -> Result<(), ClientError> {
        let function = self.function;
        let by_digest: BTreeMap<Digest, &reapi::Directory> = tree
            .children
            .iter()
            .map(|c| (hands_tree::hash(function, &c.encode_to_vec()), c))
            .collect();
        let root =
            tree.root.as_ref().ok_or_else(|| hostile(at, "is a tree without a root".to_owned()))?;
        let mut todo = vec![(at.to_owned(), root)];
        let mut entries = 0_usize;
        while let Some((path, directory)) = todo.pop() {
            entries += 1 + directory.files.len() + directory.symlinks.len();
            if entries > MAX_ENTRIES {
                return Err(hostile(at, format!("holds more than {MAX_ENTRIES} entries")));
            }
            let join = |name: &str| -> Result<String, ClientError> {
                if name.is_empty() || matches!(name, "." | "..") || name.contains(['/', '\0']) {
                    return Err(hostile(
                        at,
                        format!("holds the name `{}`, which is not one", printable(name)),
                    ));
                }
                // A chain of directories is small, and the sum of its paths is not.
                if path.len() + name.len() >= MAX_PATH {
                    return Err(hostile(at, format!("holds a path of more than {MAX_PATH} bytes")));
                }
                Ok(if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") })
            };
            for file in &directory.files {
                let path = join(&file.name)?;
                let digest = file
                    .digest
                    .as_ref()
                    .ok_or_else(|| hostile(&path, "has no digest".to_owned()))?;
                self.add_file(path, digest, file.is_executable, Bytes::new())?;
            }
            for link in &directory.symlinks {
                self.link(join(&link.name)?, &link.target)?;
            }
            for child in &directory.directories {
                let path = join(&child.name)?;
                let digest = child.digest.as_ref().and_then(|d| d.to_digest(function).ok());
                let found = match digest {
                    Some(digest) if digest.is_empty() => Some(empty_directory()),
                    Some(digest) => by_digest.get(&digest).copied(),
                    None => None,
                };
                let found = found.ok_or_else(|| {
                    hostile(&path, "is a directory that its tree does not bring".to_owned())
                })?;
                todo.push((path, found));
            }
            self.directories.push(path);
        }
        Ok(())
    }

    /// No output may stand below a file or a link of the same result.
    fn check(&self) -> Result<(), ClientError> {
        let leaf = |path: &str| self.files.contains_key(path) || self.links.contains_key(path);
        let all = self.files.keys().chain(self.links.keys()).chain(&self.directories);
        for path in all {
            let mut above = path.as_str();
            while let Some((parent, _)) = above.rsplit_once('/') {
                if leaf(parent) {
                    return Err(hostile(
                        path,
                        format!("stands below `{}`, which is no directory", printable(parent)),
                    ));
                }
                above = parent;
            }
        }
        if let Some(path) = self
            .links
            .keys()
            .find(|p| self.files.contains_key(*p))
            .or_else(|| self.directories.iter().find(|p| leaf(p.as_str())))
        {
            return Err(hostile(path, "stands there twice".to_owned()));
        }
        Ok(())
    }
}

/// Entries of one output directory, counted as often as they would be written: a small tree can name one directory
/// again and again.
const MAX_ENTRIES: usize = 1 << 20;

/// Longest path of an output, bytes: what the kernel takes (`PATH_MAX`).
const MAX_PATH: usize = 4096;

/// The paths that a tree stands for as the output `out`.
#[cfg(any(test, fuzzing))]
pub(crate) fn paths_of_tree(tree: &Tree) -> Result<Vec<String>, ClientError> {
    let mut plan = Plan::new(DigestFunction::Sha256);
    plan.tree("out", tree)?;
    plan.check()?;
    let Plan { directories, files, links, .. } = plan;
    Ok(directories.into_iter().chain(files.into_keys()).chain(links.into_keys()).collect())
}

fn empty_directory() -> &'static reapi::Directory {
    static EMPTY: reapi::Directory = reapi::Directory {
        files: Vec::new(),
        directories: Vec::new(),
        symlinks: Vec::new(),
        node_properties: None,
    };
    &EMPTY
}

/// The path, if it stays below the destination.
fn safe(path: &str) -> Result<String, ClientError> {
    match RelPath::new(path) {
        Ok(path) if !path.as_str().is_empty() => Ok(path.as_str().to_owned()),
        Ok(_) => Err(hostile(path, "has no name".to_owned())),
        Err(error) => Err(hostile(path, error.why.to_owned())),
    }
}

fn hostile(path: &str, why: String) -> ClientError {
    ClientError::HostileOutput { path: printable(path).into_owned(), why }
}

/// Reads one blob, checking it against its digest.
pub(crate) struct BlobReader {
    stream: Option<Streaming<hands_proto::bytestream::ReadResponse>>,
    hasher: Option<hands_tree::Hasher>,
    digest: Digest,
    peer: String,
    what: String,
}

impl BlobReader {
    pub(crate) async fn open(
        cluster: &Cluster,
        digest: Digest,
        what: String,
    ) -> Result<Self, ClientError> {
        let stream = if digest.is_empty() {
            None
        } else {
            let name = blob_name(cluster.instance(), &digest);
            Some(read_stream(cluster, name, 0).await.map_err(|status| match status.code() {
                Code::NotFound => ClientError::MissingBlob {
                    peer: cluster.peer().to_owned(),
                    what: what.clone(),
                    digest,
                },
                _ => ClientError::rpc("a read", cluster.peer(), &status),
            })?)
        };
        let hasher = Some(hands_tree::Hasher::new(digest.function));
        Ok(Self { stream, hasher, digest, peer: cluster.peer().to_owned(), what })
    }

    /// The next piece; none after the last, when the whole was what the digest says.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        let Some(stream) = &mut self.stream else { return Ok(None) };
        let piece = stream.message().await.map_err(|status| match status.code() {
            Code::NotFound => ClientError::MissingBlob {
                peer: self.peer.clone(),
                what: self.what.clone(),
                digest: self.digest,
            },
            _ => ClientError::rpc("a read", &self.peer, &status),
        })?;
        match (piece, &mut self.hasher) {
            (Some(piece), Some(hasher)) => {
                hasher.update(&piece.data);
                // Before a disk is full of it.
                if hasher.size() > self.digest.size {
                    return Err(ClientError::Protocol {
                        peer: self.peer.clone(),
                        why: format!(
                            "{} is longer than its digest {} says",
                            self.what, self.digest
                        ),
                    });
                }
                Ok(Some(piece.data))
            }
            (Some(_), None) | (None, None) => Ok(None),
            (None, Some(_)) => {
                let hasher = self.hasher.take().expect("matched above");
                if hasher.finish() == self.digest {
                    return Ok(None);
                }
                Err(ClientError::Protocol {
                    peer: self.peer.clone(),
                    why: format!("{} is not what its digest {} says", self.what, self.digest),
                })
            }
        }
    }

    pub(crate) async fn read_all(mut self) -> Result<Bytes, ClientError> {
        let mut all = Vec::new();
        while let Some(piece) = self.next().await? {
            if all.is_empty() && u64::try_from(piece.len()) == Ok(self.digest.size) {
                // The usual case is one piece: kept as it is, when nothing follows.
                return self.next().await.map(|_| piece);
            }
            all.extend_from_slice(&piece);
        }
        Ok(all.into())
    }
}

/// Opens a read of a blob or a log stream.
pub(crate) async fn read_stream(
    cluster: &Cluster,
    resource_name: String,
    offset: u64,
) -> Result<Streaming<hands_proto::bytestream::ReadResponse>, tonic::Status> {
    let mut client =
        ByteStreamClient::new(cluster.channel()).max_decoding_message_size(limits::MAX_MESSAGE);
    let read_offset = i64::try_from(offset).map_err(|_| tonic::Status::out_of_range("offset"))?;
    let request = ReadRequest { resource_name, read_offset, read_limit: 0 };
    Ok(client.read(cluster.request(request)).await?.into_inner())
}

/// REAPI's resource name of a blob. `Digest` prints itself as these names want it.
pub(crate) fn blob_name(instance: &str, digest: &Digest) -> String {
    if instance.is_empty() {
        format!("blobs/{digest}")
    } else {
        format!("{instance}/blobs/{digest}")
    }
}

impl Cluster {
    /// One stream of a result as a whole: what came with it, or read from the store.
    pub async fn stream_of(
        &self,
        result: &JobResult,
        stream: JobStream,
    ) -> Result<Bytes, ClientError> {
        let Some(result) = &result.result else { return Ok(Bytes::new()) };
        let (raw, digest, what) = match stream {
            JobStream::Stdout => (&result.stdout_raw, &result.stdout_digest, "stdout"),
            JobStream::Stderr => (&result.stderr_raw, &result.stderr_digest, "stderr"),
        };
        let Some(digest) = digest.as_ref() else { return Ok(raw.clone()) };
        let digest = digest.to_digest(self.function()).map_err(|e| ClientError::Protocol {
            peer: self.peer().to_owned(),
            why: format!("{what} has a {e}"),
        })?;
        if u64::try_from(raw.len()) == Ok(digest.size) {
            return Ok(raw.clone());
        }
        BlobReader::open(self, digest, what.to_owned()).await?.read_all().await
    }
}

#[cfg(test)]
mod tests;
