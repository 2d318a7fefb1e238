//! The files of several results, by the requests that bring them: equal ones together.

use std::collections::BTreeMap;
use std::io;
use std::mem;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use hands_reapi::BlobError;
use hands_types::{Digest, limits};

use super::place::{Content as _, Place};
use super::plan::{BYTES, FILES, File, LARGEST};
use super::{One, described};
use crate::retry::Backoff;
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
    /// Waits for a while for a hub that is away.
    pub(super) async fn write(self, cluster: &Cluster) -> Result<(), ClientError> {
        let mut backoff = Backoff::new(Some(limits::ORPHAN));
        loop {
            match self.write_once(cluster).await {
                Ok(()) => return Ok(()),
                Err(error) => cluster.pause_to_read(&mut backoff, error).await?,
            }
        }
    }

    async fn write_once(&self, cluster: &Cluster) -> Result<(), ClientError> {
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
                wanted.write(&file.contents)
            }
            Self::Small(all) => {
                let contents =
                    cluster.blobs().download_many(all.iter().map(|wanted| wanted.file.digest));
                let contents = contents.await.map_err(|error| failed(cluster, all, error))?;
                all.iter().try_for_each(|wanted| match contents.get(&wanted.file.digest) {
                    Some(bytes) => wanted.write(bytes),
                    None => Err(wanted.failed(cluster, BlobError::Missing(Vec::new()))),
                })
            }
            Self::Large(all) => {
                let Some((first, rest)) = all.split_first() else { return Ok(()) };
                let _turn = cluster.large_files().acquire().await;
                let Wanted { place, path, file } = first;
                let draft = place.draft(path, file.executable, file.mtime)?;
                let got =
                    cluster.blobs().download_to(&file.digest, draft.file(), Path::new(path)).await;
                got.map_err(|error| first.failed(cluster, error))?;
                for wanted in rest {
                    wanted.copy(draft.file())?;
                }
                draft.commit()
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
    fn write(&self, contents: &[u8]) -> Result<(), ClientError> {
        let mut draft = self.place.draft(self.path, self.file.executable, self.file.mtime)?;
        draft.write(contents)?;
        draft.commit()
    }

    /// Writes what another one has, from its beginning.
    fn copy(&self, from: &std::fs::File) -> Result<(), ClientError> {
        let mut draft = self.place.draft(self.path, self.file.executable, self.file.mtime)?;
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
        }
    }

    fn failed(&self, cluster: &Cluster, error: BlobError) -> ClientError {
        cluster.blob_failed(&described(self.path), self.file.digest, error)
    }
}
