//! Directories in the store of a cluster: read where parts of a tree meet, and written where something new comes of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use hands_proto::{decode_blob, reapi};
use hands_reapi::{Blob, BlobError, Source};
use hands_store::{encode_directory, parse_directory};
use hands_tree::{Astray, Directory, Node, Real, There, follow};
use hands_types::{Digest, RelPath, limits};
use prost::Message as _;

use crate::{ClientError, Cluster};

/// What is read, as messages name it.
const DIRECTORY: &str = "a directory of an input root";

/// What stands at a path.
pub(super) enum Found {
    Directory(Digest),
    Link(String),
    File { digest: Digest, executable: bool },
}

/// What is known of the store's directories while a tree is made.
pub(super) struct Stored<'a> {
    cluster: &'a Cluster,
    known: BTreeMap<Digest, Arc<Directory>>,
    /// What the store may lack.
    new: BTreeMap<Digest, Bytes>,
}

impl<'a> Stored<'a> {
    pub(super) fn new(cluster: &'a Cluster) -> Self {
        Self { cluster, known: BTreeMap::new(), new: BTreeMap::new() }
    }

    /// A directory; read where it is not known.
    pub(super) async fn directory(
        &mut self,
        digest: &Digest,
    ) -> Result<Arc<Directory>, ClientError> {
        self.load(&BTreeSet::from([*digest])).await?;
        Ok(self.known(digest).expect("it was loaded"))
    }

    /// A directory that was loaded.
    pub(super) fn known(&self, digest: &Digest) -> Option<Arc<Directory>> {
        self.known.get(digest).map(Arc::clone)
    }

    /// Reads directories, all in as few requests as it takes.
    pub(super) async fn load(&mut self, wanted: &BTreeSet<Digest>) -> Result<(), ClientError> {
        let mut absent = Vec::new();
        for digest in wanted {
            if self.known.contains_key(digest) {
                continue;
            }
            match self.new.get(digest) {
                Some(bytes) => {
                    let directory = self.parse(digest, bytes)?;
                    self.known.insert(*digest, directory);
                }
                None if digest.size > limits::MAX_PROTO_BLOB => {
                    return Err(self.bad(digest, "is too large"));
                }
                None => absent.push(*digest),
            }
        }
        let Some(first) = absent.first() else { return Ok(()) };
        let (cluster, wanted) = (self.cluster, &absent);
        let read = cluster.patiently(|blobs| async move {
            let read = blobs.download_many(wanted.iter().copied()).await;
            read.map_err(|error| cluster.blob_failed(DIRECTORY, *first, error))
        });
        let read = read.await?;
        for digest in absent {
            let bytes = read.get(&digest).ok_or_else(|| {
                let missing = BlobError::Missing(vec![digest]);
                self.cluster.blob_failed(DIRECTORY, digest, missing)
            })?;
            let directory = self.parse(&digest, bytes)?;
            self.known.insert(digest, directory);
        }
        Ok(())
    }

    /// What stands at a path without links in it; none where nothing does.
    pub(super) async fn node(
        &mut self,
        root: Digest,
        path: &RelPath,
    ) -> Result<Option<Found>, ClientError> {
        loop {
            match self.known_node(root, path.as_str()) {
                Ok(found) => return Ok(found),
                Err(unknown) => self.load(&BTreeSet::from([unknown])).await?,
            }
        }
    }

    /// The directory to which a path leads by way of links, absolute ones from the root.
    pub(super) async fn real(
        &mut self,
        root: Digest,
        path: &str,
    ) -> Result<Result<Real, Astray>, ClientError> {
        loop {
            let mut look = |path: &str| {
                Ok(match self.known_node(root, path)? {
                    Some(Found::Directory(_)) => There::Directory,
                    Some(Found::Link(target)) => There::Symlink { target },
                    Some(Found::File { .. }) => There::Other,
                    None => There::Nothing,
                })
            };
            match follow(&RelPath::default(), path, Some("/"), &mut look) {
                Ok(real) => return Ok(real),
                Err(unknown) => self.load(&BTreeSet::from([unknown])).await?,
            }
        }
    }

    /// An error is a directory that must be loaded first.
    fn known_node(&self, root: Digest, path: &str) -> Result<Option<Found>, Digest> {
        let mut here = root;
        let mut names = path.split('/').filter(|name| !name.is_empty()).peekable();
        while let Some(name) = names.next() {
            let directory = self.known(&here).ok_or(here)?;
            let is_last = names.peek().is_none();
            match directory.get(name) {
                Some(Node::Directory(below)) => here = below.digest,
                Some(Node::Symlink(link)) if is_last => {
                    return Ok(Some(Found::Link(link.target.clone())));
                }
                Some(Node::File(file)) if is_last => {
                    let (digest, executable) = (file.digest, file.executable);
                    return Ok(Some(Found::File { digest, executable }));
                }
                Some(Node::Symlink(_) | Node::File(_)) | None => return Ok(None),
            }
        }
        Ok(Some(Found::Directory(here)))
    }

    fn parse(&self, digest: &Digest, bytes: &[u8]) -> Result<Arc<Directory>, ClientError> {
        let directory = parse_directory(bytes, digest.function);
        directory.map(Arc::new).map_err(|why| self.bad(digest, &why))
    }

    fn bad(&self, digest: &Digest, why: &str) -> ClientError {
        let why = format!("the directory {digest} of its store {why}");
        ClientError::Protocol { peer: self.cluster.peer().to_owned(), why }
    }

    /// Adds a directory, whose lists are sorted.
    pub(super) fn put(&mut self, directory: Directory) -> Digest {
        let bytes = Bytes::from(encode_directory(&directory));
        let digest = hands_tree::hash(self.cluster.function(), &bytes);
        self.put_encoded(digest, bytes);
        self.known.insert(digest, Arc::new(directory));
        digest
    }

    /// Adds a blob.
    pub(super) fn put_encoded(&mut self, digest: Digest, bytes: Bytes) {
        self.new.insert(digest, bytes);
    }

    /// Adds the directories of a REAPI `Tree`, which an engine brings in place of them; answers with its root.
    pub(super) async fn put_tree(&mut self, digest: &Digest) -> Result<Digest, ClientError> {
        const WHAT: &str = "the tree of an output";
        let cluster = self.cluster;
        if digest.size > limits::MAX_PROTO_BLOB {
            return Err(self.bad(digest, "is too large"));
        }
        let bytes = cluster.read_patiently(*digest, WHAT).await?;
        let tree = decode_blob::<reapi::Tree>(bytes)
            .map_err(|error| self.bad(digest, &error.to_string()))?;
        let mut put = |directory: &reapi::Directory| {
            let bytes = Bytes::from(directory.encode_to_vec());
            let digest = hands_tree::hash(cluster.function(), &bytes);
            self.put_encoded(digest, bytes);
            digest
        };
        for child in &tree.children {
            put(child);
        }
        Ok(put(&tree.root.unwrap_or_default()))
    }

    /// Sends what the store lacks.
    pub(super) async fn send(self) -> Result<u64, ClientError> {
        let new = self.new.into_iter().filter(|(digest, _)| !digest.is_empty());
        let blobs = new.map(|(digest, bytes)| Blob { digest, source: Source::Bytes(bytes) });
        let blobs: Vec<Blob> = blobs.collect();
        let Some(digest) = blobs.first().map(|blob| blob.digest) else { return Ok(0) };
        let (cluster, new) = (self.cluster, &blobs);
        let sent = cluster.patiently(|blobs| async move {
            let sent = blobs.upload_missing(new.clone()).await;
            sent.map_err(|error| cluster.blob_failed("an input root", digest, error))
        });
        Ok(sent.await?.bytes)
    }
}
