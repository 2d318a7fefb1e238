//! The files of several results, by the requests that bring them: equal ones together.

use std::collections::BTreeMap;
use std::io;
use std::mem;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use hands_reapi::{BlobClient, BlobError};
use hands_types::Digest;

use tokio::task::coop::consume_budget;
use tokio::task::yield_now;

use super::place::{Content as _, Draft, Place};
use super::plan::{BYTES, FILES, File, LARGEST};
use super::room::Promise;
use super::{One, described};
use crate::{ClientError, Cluster, printable};

/// One file in its place.
pub(super) struct Wanted<'a> {
    place: &'a Place<'a>,
    path: &'a str,
    file: &'a File,
}

/// What one request brings.
pub(super) enum Group<'a> {
    /// Nothing: it came with the result, or has no content.
    Here(Wanted<'a>),
    /// Small ones, equal ones beside each other.
    Small(Vec<Wanted<'a>>),
    /// A large one, for each who wants it.
    Large(Vec<Wanted<'a>>),
}

pub(super) fn of<'a>(all: &'a [One<'a>]) -> Vec<Group<'a>> {
    let mut groups = Vec::new();
    let mut by_digest: BTreeMap<Digest, Vec<Wanted<'a>>> = BTreeMap::new();
    for one in all {
        for (path, file) in &one.plan.files {
            let wanted = Wanted { place: &one.place, path, file };
            match file.has_contents() {
                true => groups.push(Group::Here(wanted)),
                false => by_digest.entry(file.digest).or_default().push(wanted),
            }
        }
    }
    let (mut batch, mut files, mut bytes) = (Vec::new(), 0, 0);
    for (digest, equal) in by_digest {
        if digest.size > LARGEST {
            groups.push(Group::Large(equal));
            continue;
        }
        if bytes + digest.size > BYTES || files == FILES {
            groups.push(Group::Small(mem::take(&mut batch)));
            (files, bytes) = (0, 0);
        }
        files += 1;
        bytes += digest.size;
        batch.extend(equal);
    }
    if !batch.is_empty() {
        groups.push(Group::Small(batch));
    }
    groups
}

impl Group<'_> {
    /// Of all its files.
    pub(super) fn bytes(&self) -> u64 {
        let all = match self {
            Self::Here(wanted) => std::slice::from_ref(wanted),
            Self::Small(all) | Self::Large(all) => all,
        };
        all.iter().map(|wanted| wanted.file.digest.size).fold(0, u64::saturating_add)
    }

    /// Waits for a while for a hub that is away. What the disk shows is promised no more.
    pub(super) async fn write(
        self,
        cluster: &Cluster,
        promise: &Promise<'_>,
    ) -> Result<(), ClientError> {
        let shown = AtomicU64::new(0);
        cluster.patiently(|blobs| self.write_once(cluster, blobs, promise, &shown)).await?;
        promise.is_kept(self.bytes().saturating_sub(shown.into_inner()));
        Ok(())
    }

    /// `shown`: how much of it the disk shows already.
    async fn write_once(
        &self,
        cluster: &Cluster,
        blobs: BlobClient,
        promise: &Promise<'_>,
        shown: &AtomicU64,
    ) -> Result<(), ClientError> {
        match self {
            Self::Here(wanted) => {
                let Wanted { path, file, .. } = wanted;
                if hands_tree::hash(file.digest.function, &file.contents) != file.digest {
                    return Err(ClientError::Protocol {
                        peer: cluster.peer().to_owned(),
                        why: format!(
                            "the content of {} is not what its digest says",
                            described(path)
                        ),
                    });
                }
                wanted.write_or_refuse(&file.contents)
            }
            Self::Small(all) => {
                let contents = blobs.download_many(all.iter().map(|wanted| wanted.file.digest));
                let contents = contents.await.map_err(|error| failed(cluster, all, error))?;
                for wanted in all {
                    match contents.get(&wanted.file.digest) {
                        Some(bytes) => wanted.write_or_refuse(bytes)?,
                        None => return Err(wanted.failed(cluster, BlobError::Missing(Vec::new()))),
                    }
                    // Of a hundred thousand equal ones, and whoever waits for this may be called away.
                    consume_budget().await;
                }
                Ok(())
            }
            Self::Large(all) => {
                let _turn = cluster.large_files().acquire().await;
                let mut all = all.iter();
                // Where one can't be put, another may.
                let (first, draft) = loop {
                    let Some(wanted) = all.next() else { return Ok(()) };
                    if let Some(draft) = wanted.place.or_refused(wanted.path, wanted.draft())? {
                        break (wanted, draft);
                    }
                };
                let size = first.file.digest.size;
                if draft.reserve(size)? && shown.swap(size, Ordering::Relaxed) == 0 {
                    promise.is_kept(size);
                }
                let to = Path::new(first.path);
                let got = blobs.download_to(&first.file.digest, draft.file(), to).await;
                got.map_err(|error| first.failed(cluster, error))?;
                for wanted in all {
                    let copied = wanted.copy(draft.file()).await;
                    wanted.place.or_refused(wanted.path, copied)?;
                }
                first.place.or_refused(first.path, draft.commit())?;
                Ok(())
            }
        }
    }
}

/// Why several files could not be had; of one that came and is another, which.
fn failed(cluster: &Cluster, all: &[Wanted<'_>], error: BlobError) -> ClientError {
    let digest = match &error {
        BlobError::Corrupt { expected, .. } => Some(*expected),
        _ => None,
    };
    match all.iter().find(|wanted| digest.is_none_or(|digest| digest == wanted.file.digest)) {
        Some(wanted) => wanted.failed(cluster, error),
        None => cluster.blob_failed("an output", hands_tree::empty(cluster.function()), error),
    }
}

impl Wanted<'_> {
    fn draft(&self) -> Result<Draft, ClientError> {
        self.place.draft(self.path, self.file.executable, self.file.mtime)
    }

    fn write_or_refuse(&self, contents: &[u8]) -> Result<(), ClientError> {
        self.place.or_refused(self.path, self.write(contents))?;
        Ok(())
    }

    fn write(&self, contents: &[u8]) -> Result<(), ClientError> {
        let mut draft = self.draft()?;
        draft.write(contents)?;
        draft.commit()
    }

    /// Writes what another one has, from its beginning.
    async fn copy(&self, from: &std::fs::File) -> Result<(), ClientError> {
        let mut draft = self.draft()?;
        let mut buffer = vec![0; 1 << 20];
        let mut at = 0;
        loop {
            let n = match from.read_at(&mut buffer, at) {
                Ok(n) => n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(source) => {
                    let path = printable(self.path).into_owned();
                    return Err(ClientError::Write { path, source });
                }
            };
            if n == 0 {
                return draft.commit();
            }
            draft.write(&buffer[..n])?;
            at += n as u64;
            yield_now().await;
        }
    }

    fn failed(&self, cluster: &Cluster, error: BlobError) -> ClientError {
        cluster.blob_failed(&described(self.path), self.file.digest, error)
    }
}
