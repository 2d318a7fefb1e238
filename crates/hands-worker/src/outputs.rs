//! Collected outputs: into the store, and as REAPI messages.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use bytes::{BufMut as _, Bytes, BytesMut};
use hands_exec::{
    ActionTree, CollectError, DeclaredKind, LeftOut, OutputItem, OutputKind, OutputStore, collect,
};
use hands_proto::reapi;
use hands_store::{Pin, Store};
use hands_tree::{BuiltDirectory, Directory};
use hands_types::{Digest, DigestFunction, Mtime};
use prost::Message as _;
use prost::encoding::{WireType, encode_key, encode_varint};

use crate::action::{DirectoryForms, Plan};

/// What was collected.
#[derive(Debug)]
pub(crate) struct Collected {
    /// The part of the result that names outputs; the rest is empty.
    pub(crate) result: reapi::ActionResult,
    /// What could not be collected.
    pub(crate) left_out: LeftOut,
    /// All blobs that it refers to.
    pub(crate) digests: Vec<Digest>,
    /// Keeps them in the store.
    pub(crate) pin: Pin,
}

impl Collected {
    /// Nothing, for one reason.
    pub(crate) fn none(store: &Store, plan: &Plan, why: &str) -> Self {
        let declared = plan.outputs.declared.iter().map(|declared| declared.path.as_str());
        Self {
            result: reapi::ActionResult::default(),
            left_out: LeftOut::all(declared, why),
            digests: Vec::new(),
            pin: store.pin([]),
        }
    }
}

/// How long outputs are wanted: until the attempt is given up, or its time has run out.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) given_up: Arc<AtomicBool>,
    pub(crate) until: Instant,
}

impl Wanted {
    pub(crate) fn is_late(&self) -> bool {
        Instant::now() >= self.until
    }

    fn holds(&self) -> bool {
        !self.given_up.load(Ordering::Relaxed) && !self.is_late()
    }
}

/// Bytes of all files among the outputs, by their lengths: a sparse file counts in full, because it is stored in full.
/// What can't be looked at counts nothing; [`gather`] tells why. Blocks.
pub(crate) fn measure(plan: &Plan, tree: &ActionTree, wanted: &Wanted) -> u64 {
    let mut count = Count { function: plan.function, bytes: 0, wanted };
    // Whatever is wrong is told when they are collected.
    let _found = collect(tree, &plan.outputs, &mut count);
    count.bytes
}

/// Counts what is collected and keeps nothing.
struct Count<'a> {
    function: DigestFunction,
    bytes: u64,
    wanted: &'a Wanted,
}

impl OutputStore for Count<'_> {
    fn function(&self) -> DigestFunction {
        self.function
    }

    fn file(
        &mut self,
        _path: &str,
        file: File,
    ) -> Result<Digest, Box<dyn std::error::Error + Send + Sync>> {
        self.bytes = self.bytes.saturating_add(file.metadata()?.len());
        Ok(hands_tree::empty(self.function))
    }

    fn encode(&mut self, _directory: &Directory) -> Vec<u8> {
        Vec::new()
    }

    fn is_cancelled(&self) -> bool {
        !self.wanted.holds()
    }
}

/// Reads the outputs out of the tree into the store. Blocks.
pub(crate) fn gather(
    store: &Store,
    plan: &Plan,
    tree: &ActionTree,
    wanted: &Wanted,
) -> Result<Collected, CollectError> {
    let mut sink = Sink {
        store,
        function: plan.function,
        times: plan.output_times,
        digests: Vec::new(),
        pin: store.pin([]),
        wanted: wanted.clone(),
    };
    let collected = collect(tree, &plan.outputs, &mut sink)?;
    let mut result = reapi::ActionResult::default();
    for item in collected.items {
        add(&mut result, item, plan, &mut sink)?;
    }
    let left_out = collected.left_out;
    Ok(Collected { result, left_out, digests: sink.digests, pin: sink.pin })
}

struct Sink<'a> {
    store: &'a Store,
    function: DigestFunction,
    /// Whether the nodes carry modification times.
    times: bool,
    digests: Vec<Digest>,
    pin: Pin,
    wanted: Wanted,
}

impl Sink<'_> {
    fn keep(&mut self, digest: Digest) {
        self.pin.add([digest]);
        self.digests.push(digest);
    }

    fn put(&mut self, path: &str, digest: Digest, bytes: Bytes) -> Result<(), CollectError> {
        self.keep(digest);
        self.store
            .put(digest, bytes)
            .map_err(|e| CollectError::Store { path: path.to_owned(), source: Box::new(e) })
    }
}

impl OutputStore for Sink<'_> {
    fn function(&self) -> DigestFunction {
        self.function
    }

    fn file(
        &mut self,
        _path: &str,
        mut file: File,
    ) -> Result<Digest, Box<dyn std::error::Error + Send + Sync>> {
        let wanted = || self.wanted.holds();
        let digest = self.store.ingest_while(self.function, &mut file, &wanted)?;
        self.keep(digest);
        Ok(digest)
    }

    fn encode(&mut self, directory: &Directory) -> Vec<u8> {
        encode_directory(directory, self.times)
    }

    fn is_cancelled(&self) -> bool {
        !self.wanted.holds()
    }
}

fn add(
    result: &mut reapi::ActionResult,
    item: OutputItem,
    plan: &Plan,
    sink: &mut Sink<'_>,
) -> Result<(), CollectError> {
    let OutputItem { path, declared, kind } = item;
    match kind {
        OutputKind::File { digest, executable, mtime } => {
            result.output_files.push(reapi::OutputFile {
                path,
                digest: Some(digest.into()),
                is_executable: executable,
                node_properties: properties(mtime, sink.times),
                ..Default::default()
            });
        }
        OutputKind::Symlink { target, mtime } => {
            let node_properties = properties(mtime, sink.times);
            let link = reapi::OutputSymlink { path, target, node_properties };
            add_link(result, link, declared, plan.legacy);
        }
        OutputKind::Directory { directories } => {
            let output = directory(path, directories, plan.forms, sink)?;
            result.output_directories.push(output);
        }
    }
    Ok(())
}

/// Clients of API 2.0 look into lists by kind, later ones and Buck2 into one list for all.
fn add_link(
    result: &mut reapi::ActionResult,
    link: reapi::OutputSymlink,
    declared: DeclaredKind,
    legacy: bool,
) {
    if legacy {
        match declared {
            DeclaredKind::Directory => result.output_directory_symlinks.push(link.clone()),
            DeclaredKind::File | DeclaredKind::Any | DeclaredKind::Glob => {
                result.output_file_symlinks.push(link.clone());
            }
        }
    }
    result.output_symlinks.push(link);
}

fn directory(
    path: String,
    directories: Vec<BuiltDirectory>,
    forms: DirectoryForms,
    sink: &mut Sink<'_>,
) -> Result<reapi::OutputDirectory, CollectError> {
    let mut output = reapi::OutputDirectory::default();
    if forms.tree {
        let bytes = encode_tree(&directories);
        let digest = hands_tree::hash(sink.function, &bytes);
        sink.put(&path, digest, bytes)?;
        output.tree_digest = Some(digest.into());
        output.is_topologically_sorted = true;
    }
    if forms.root {
        output.root_directory_digest = directories.first().map(|root| root.digest.into());
        // Children before parents, so that nobody ever sees a directory whose children are not there.
        for BuiltDirectory { digest, bytes } in directories.into_iter().rev() {
            sink.put(&path, digest, bytes.into())?;
        }
    }
    output.path = path;
    Ok(output)
}

/// A `Tree` message (root 1, children 2) around directories that are encoded already, parents first.
fn encode_tree(directories: &[BuiltDirectory]) -> Bytes {
    let length: usize = directories.iter().map(|d| d.bytes.len() + 11).sum();
    let mut bytes = BytesMut::with_capacity(length);
    for (i, directory) in directories.iter().enumerate() {
        encode_key(if i == 0 { 1 } else { 2 }, WireType::LengthDelimited, &mut bytes);
        encode_varint(directory.bytes.len() as u64, &mut bytes);
        bytes.put_slice(&directory.bytes);
    }
    bytes.freeze()
}

fn properties(mtime: Option<Mtime>, times: bool) -> Option<reapi::NodeProperties> {
    reapi::NodeProperties::of_mtime(mtime.filter(|_| times))
}

/// The canonical bytes of a directory; with `times`, its modification times among them.
pub(crate) fn encode_directory(directory: &Directory, times: bool) -> Vec<u8> {
    let message = reapi::Directory {
        files: directory
            .files
            .iter()
            .map(|file| reapi::FileNode {
                name: file.name.clone(),
                digest: Some(file.digest.into()),
                is_executable: file.executable,
                node_properties: properties(file.mtime, times),
            })
            .collect(),
        directories: directory
            .directories
            .iter()
            .map(|node| reapi::DirectoryNode {
                name: node.name.clone(),
                digest: Some(node.digest.into()),
            })
            .collect(),
        symlinks: directory
            .symlinks
            .iter()
            .map(|link| reapi::SymlinkNode {
                name: link.name.clone(),
                target: link.target.clone(),
                node_properties: properties(link.mtime, times),
            })
            .collect(),
        node_properties: properties(directory.mtime, times),
    };
    message.encode_to_vec()
}
