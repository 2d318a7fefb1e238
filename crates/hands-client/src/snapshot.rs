//! Asking the agent for a snapshot: it walks and hashes what stands behind the directory handles that we pass, and
//! puts what is missing into the cluster's store.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use hands_proto::v1::snapshot_reply::Kind;
use hands_proto::v1::{SnapshotDone, SnapshotReply, SnapshotRequest};
use hands_types::{Digest, DigestFunction, RelPath};
use prost::Message;
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::UnixStream;

use crate::error::class_by_name;
use crate::{ClientError, SnapshotProgress, printable};

/// Handles that go with one message; the kernel takes at most 253.
const HANDLES_PER_MESSAGE: usize = 200;
/// Longest answer that an agent gives.
const MAX_REPLY: usize = 1 << 20;

/// One path of this machine that becomes part of an input root.
#[derive(Debug)]
pub struct Input {
    pub(crate) directory: OwnedFd,
    pub(crate) entry: String,
    pub(crate) place: RelPath,
    pub(crate) respect_ignore: bool,
    pub(crate) display: PathBuf,
}

impl Input {
    /// Opens a path that a person named. A directory stands for all that is below it, a link for itself. `place` is
    /// where it appears in the input root. With `respect_ignore` what ignore files name is left out of a directory;
    /// the path itself is sent in any case.
    pub fn open(path: &Path, place: RelPath, respect_ignore: bool) -> Result<Self, ClientError> {
        let failed = |source: io::Error| ClientError::Input { path: path.to_owned(), source };
        let directory_flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let stat = rustix::fs::statat(rustix::fs::CWD, path, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|e| failed(e.into()))?;
        let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        // `.`, `..` and `a/..` are directories without a name of their own.
        let (open, entry) = match (is_directory, path.file_name()) {
            (true, _) | (false, None) => (path, String::new()),
            (false, Some(name)) => {
                let name = name.to_str().ok_or_else(|| {
                    failed(io::Error::new(io::ErrorKind::InvalidInput, "its name is not UTF-8"))
                })?;
                let parent =
                    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
                (parent, name.to_owned())
            }
        };
        if place.as_str().is_empty() && !entry.is_empty() {
            return Err(ClientError::Spec(format!(
                "the input {} has no place in the input root",
                path.display()
            )));
        }
        let directory =
            rustix::fs::open(open, directory_flags, Mode::empty()).map_err(|e| failed(e.into()))?;
        Ok(Self { directory, entry, place, respect_ignore, display: path.to_owned() })
    }

    /// Whether this is a directory with all that is below it.
    pub fn is_directory(&self) -> bool {
        self.entry.is_empty()
    }
}

/// A snapshot: an input root that is in the cluster's store, and how much work it was.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Digest of the root `Directory`.
    pub root: Digest,
    /// Files in the tree.
    pub files: u64,
    /// Bytes in the tree.
    pub bytes: u64,
    /// Bytes that had to be read and hashed.
    pub bytes_hashed: u64,
    /// Bytes that the store had not got.
    pub bytes_sent: u64,
    /// The first paths, printable, that were left out because they vanished while the tree was read.
    pub vanished: Vec<String>,
    /// How many paths these are in all.
    pub vanished_count: u64,
    /// The first paths, printable, that were left out because an input root can't hold what they are, with a word for it.
    pub unfit: Vec<String>,
    /// How many paths these are in all.
    pub unfit_count: u64,
    /// The first paths, printable, that ignore files name.
    pub ignored: Vec<String>,
    /// How many paths these are in all.
    pub ignored_count: u64,
    /// Places in the input root of directories of which ignore files leave nothing.
    pub ignored_directories: Vec<String>,
}

impl Snapshot {
    /// Nothing yet.
    pub(crate) fn empty(function: DigestFunction) -> Self {
        Self {
            root: hands_tree::empty(function),
            files: 0,
            bytes: 0,
            bytes_hashed: 0,
            bytes_sent: 0,
            vanished: Vec::new(),
            vanished_count: 0,
            unfit: Vec::new(),
            unfit_count: 0,
            ignored: Vec::new(),
            ignored_count: 0,
            ignored_directories: Vec::new(),
        }
    }

    /// Adds what is told of another part of the same tree; answers with the part's root.
    pub(crate) fn add(&mut self, part: Self) -> Digest {
        self.files += part.files;
        self.bytes += part.bytes;
        self.bytes_hashed += part.bytes_hashed;
        self.bytes_sent += part.bytes_sent;
        self.vanished.extend(part.vanished);
        self.vanished_count += part.vanished_count;
        self.unfit.extend(part.unfit);
        self.unfit_count += part.unfit_count;
        self.ignored.extend(part.ignored);
        self.ignored_count += part.ignored_count;
        self.ignored_directories.extend(part.ignored_directories);
        part.root
    }

    pub(crate) fn of(done: &SnapshotDone, function: DigestFunction) -> Result<Self, ClientError> {
        let root = done.root.as_ref().ok_or_else(|| bad("a snapshot without a root"))?;
        Ok(Self {
            root: root.to_digest(function).map_err(|e| bad(&e.to_string()))?,
            files: done.files,
            bytes: done.bytes,
            bytes_hashed: done.bytes_hashed,
            bytes_sent: done.bytes_sent,
            vanished: all_printable(&done.vanished),
            vanished_count: done.vanished_count,
            unfit: all_printable(&done.unfit),
            unfit_count: done.unfit_count,
            ignored: all_printable(&done.ignored),
            ignored_count: done.ignored_count,
            ignored_directories: done.ignored_directories.clone(),
        })
    }
}

/// A connection to the agent's snapshot socket. While it is open, the blobs of the snapshots that were taken over it
/// stay in the store; afterwards for some minutes more, in which Execute has to name them.
#[derive(Debug)]
pub(crate) struct SnapshotSocket {
    stream: UnixStream,
}

impl SnapshotSocket {
    /// Connects to the socket of a running agent.
    pub(crate) async fn connect(path: &Path) -> Result<Self, ClientError> {
        let stream =
            hands_link::connect_unix(path).await.map_err(|source| ClientError::Connect {
                peer: format!("the agent at {}", path.display()),
                why: source.to_string(),
                retry: true,
            })?;
        Ok(Self { stream })
    }

    /// Sends a request and waits for its end.
    pub(crate) async fn ask(
        &mut self,
        request: &SnapshotRequest,
        handles: &[BorrowedFd<'_>],
        progress: &mut impl FnMut(&SnapshotProgress),
    ) -> Result<SnapshotDone, ClientError> {
        let sent = self.send(request, handles).await;
        loop {
            // An agent that refuses before it has read everything closes its end; its reason is still to be read.
            let reply = self.receive().await.map_err(|error| ClientError::Connect {
                peer: "the agent's snapshot socket".to_owned(),
                why: sent.as_ref().err().unwrap_or(&error).to_string(),
                retry: true,
            })?;
            match reply.kind {
                Some(Kind::Progress(now)) => progress(&now.into()),
                Some(Kind::Error(error)) => {
                    return Err(ClientError::Snapshot {
                        class: class_by_name(&error.class),
                        message: printable(&error.message).into_owned(),
                    });
                }
                Some(Kind::Done(done)) => return Ok(done),
                // Of a later version; the end is still to come.
                None => {}
            }
        }
    }

    async fn send(
        &mut self,
        request: &SnapshotRequest,
        handles: &[BorrowedFd<'_>],
    ) -> io::Result<()> {
        let body = request.encode_to_vec();
        let length = u32::try_from(body.len()).map_err(io::Error::other)?;
        let mut bytes = Vec::with_capacity(body.len() + 4);
        bytes.extend(length.to_be_bytes());
        bytes.extend(body);
        // Handles ride on at least one byte each time; the request is always longer than their groups are many,
        // because each handle has an input in it.
        let mut rest = &bytes[..];
        for group in handles.chunks(HANDLES_PER_MESSAGE) {
            let (first, after) = rest.split_at(1);
            self.send_handles(first, group).await?;
            rest = after;
        }
        self.stream.write_all(rest).await
    }

    async fn send_handles(&self, byte: &[u8], handles: &[BorrowedFd<'_>]) -> io::Result<()> {
        self.stream
            .async_io(Interest::WRITABLE, || {
                let mut space =
                    [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(HANDLES_PER_MESSAGE))];
                let mut control = SendAncillaryBuffer::new(&mut space);
                if !control.push(SendAncillaryMessage::ScmRights(handles)) {
                    return Err(io::Error::other("too many directory handles for one message"));
                }
                sendmsg(&self.stream, &[IoSlice::new(byte)], &mut control, SendFlags::empty())?;
                Ok(())
            })
            .await
    }

    async fn receive(&mut self) -> io::Result<SnapshotReply> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).await?;
        let length = usize::try_from(u32::from_be_bytes(length)).map_err(io::Error::other)?;
        if length > MAX_REPLY {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "an answer that is too long"));
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).await?;
        SnapshotReply::decode(&body[..]).map_err(io::Error::other)
    }
}

fn all_printable(paths: &[String]) -> Vec<String> {
    paths.iter().map(|path| printable(path).into_owned()).collect()
}

pub(crate) fn bad(why: &str) -> ClientError {
    ClientError::Protocol { peer: "the agent".to_owned(), why: why.to_owned() }
}

#[cfg(test)]
mod tests;
