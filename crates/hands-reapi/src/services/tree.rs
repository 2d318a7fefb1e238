//! GetTree: the directories below a root, each once, in pages.

use std::collections::{HashSet, VecDeque};

use std::sync::Arc;

use futures_util::{Stream, stream};
use hands_proto::reapi::{self, GetTreeResponse};
use hands_proto::{Charge, Reserved, weigh};
use hands_store::Store;
use hands_types::Digest;
use hands_types::limits::{MAX_BATCH, MAX_MESSAGE};
use prost::Message as _;
use tonic::{Code, Status};

use super::{Wanted, blocking_while_wanted};
use crate::{missing_blobs, store_status};

/// Directories in a page where the client does not say.
const PAGE: usize = 1000;
/// Directories of one tree.
const MOST: usize = 1 << 20;
/// What a page takes before something is in it.
const PAGE_MEMORY: usize = 64 << 10;
/// What the directories of a page may take in memory before the page ends.
const PAGE_FULL: usize = 16 << 20;
/// What one directory may take.
const DIRECTORY: usize = 64 << 20;
/// Directories that are paid for together, and what the walk keeps of each.
const SEEN: (usize, usize) = (4096, 192);

/// The pages from a token on. A token is the number of directories before its page: the order is breadth first and
/// depends on the tree alone, so a token holds for ever and for nothing but what the client may read anyway.
pub(super) async fn pages(
    store: &Store,
    root: Digest,
    page_size: i32,
    token: &str,
    charge: Option<Arc<Charge>>,
) -> Result<impl Stream<Item = Result<GetTreeResponse, Status>> + Send + use<>, Status> {
    let skip = match token {
        "" => 0,
        token => token
            .parse()
            .map_err(|_| Status::invalid_argument("the page token is not one of ours"))?,
    };
    let page = match usize::try_from(page_size) {
        Ok(0) => PAGE,
        Ok(size) => size.min(PAGE),
        Err(_) => return Err(Status::invalid_argument("page_size is negative")),
    };
    let walk = Walk::new(store.clone(), root, skip, page, charge);
    // The first page now: a missing root is the call's own error.
    let (first, walk) = next_page(walk).await?;
    let Some(first) = first else { return Err(missing_blobs(Code::NotFound, &[root])) };
    Ok(stream::unfold((Some(first), Some(walk)), |(ready, walk)| async {
        let walk = walk?;
        if let Some(page) = ready {
            return Some((Ok(page), (None, Some(walk))));
        }
        match next_page(walk).await {
            Ok((Some(page), walk)) => Some((Ok(page), (None, Some(walk)))),
            Ok((None, _)) => None,
            Err(status) => Some((Err(status), (None, None))),
        }
    }))
}

async fn next_page(mut walk: Walk) -> Result<(Option<GetTreeResponse>, Walk), Status> {
    blocking_while_wanted(move |wanted| walk.page(wanted).map(|page| (page, walk))).await?
}

struct Walk {
    store: Store,
    todo: VecDeque<Digest>,
    seen: HashSet<Digest>,
    // Directories that a page has shown or a token has skipped.
    shown: usize,
    skip: usize,
    page: usize,
    charge: Option<Arc<Charge>>,
    /// Of the page that was made last.
    held: Vec<Reserved>,
}

impl Walk {
    fn new(
        store: Store,
        root: Digest,
        skip: usize,
        page: usize,
        charge: Option<Arc<Charge>>,
    ) -> Self {
        let seen = HashSet::from([root]);
        let todo = VecDeque::from([root]);
        Self { store, todo, seen, shown: 0, skip, page, charge, held: Vec::new() }
    }

    /// The next page; none at the end, but the first is there even when a token skips all of a tree.
    fn page(&mut self, wanted: &Wanted) -> Result<Option<GetTreeResponse>, Status> {
        self.held.clear();
        self.hold(PAGE_MEMORY)?;
        let mut memory = 0;
        let mut directories = Vec::new();
        let mut bytes = 0;
        let started = self.shown > 0;
        while let Some(digest) = self.todo.pop_front() {
            wanted.check()?;
            let Some((directory, takes)) = self.directory(&digest)? else { continue };
            for node in &directory.directories {
                if let Some(Ok(child)) = node.digest.as_ref().map(|d| d.to_digest(digest.function))
                    && self.seen.insert(child)
                {
                    self.todo.push_back(child);
                    if self.seen.len().is_multiple_of(SEEN.0)
                        && let Some(charge) = &self.charge
                    {
                        charge.reserve(SEEN.0 * SEEN.1)?;
                    }
                }
            }
            if self.seen.len() > MOST {
                return Err(Status::resource_exhausted(format!(
                    "the tree has more than {MOST} directories: read them one by one"
                )));
            }
            self.shown += 1;
            if self.shown <= self.skip {
                continue;
            }
            bytes += directory.encoded_len() as u64;
            memory += takes;
            directories.push(directory);
            if directories.len() == self.page || bytes > MAX_BATCH / 2 || memory > PAGE_FULL {
                break;
            }
        }
        if directories.is_empty() && (started || self.shown == 0) {
            return Ok(None);
        }
        let next_page_token = if self.todo.is_empty() {
            String::new()
        } else {
            self.shown.max(self.skip).to_string()
        };
        Ok(Some(GetTreeResponse { directories, next_page_token }))
    }

    /// A directory, and what it takes in memory, which is held until the next page; none if it is missing or no directory,
    /// which REAPI has us leave out.
    fn directory(&mut self, digest: &Digest) -> Result<Option<(reapi::Directory, usize)>, Status> {
        if digest.is_empty() {
            return Ok(Some((reapi::Directory::default(), 0)));
        }
        // Its page would be larger than any message.
        if digest.size > MAX_MESSAGE as u64 {
            return Err(Status::resource_exhausted(format!(
                "the directory {digest} is larger than {MAX_MESSAGE} bytes: read it by ByteStream"
            )));
        }
        let Some(bytes) = self.store.read(digest).map_err(|e| store_status(&e))? else {
            return Ok(None);
        };
        let becomes = weigh::<reapi::Directory>(&bytes, DIRECTORY).map_err(|error| {
            Status::invalid_argument(format!("the directory {digest} can't be read: {error}"))
        })?;
        // Its bytes once more, in the answer.
        let takes = becomes + 2 * bytes.len();
        if self.shown >= self.skip {
            self.hold(takes)?;
        }
        Ok(reapi::Directory::decode(bytes).ok().map(|directory| (directory, takes)))
    }

    fn hold(&mut self, bytes: usize) -> Result<(), Status> {
        if let Some(charge) = &self.charge {
            self.held.push(charge.hold(bytes)?);
        }
        Ok(())
    }
}
