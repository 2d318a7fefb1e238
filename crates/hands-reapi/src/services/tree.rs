//! GetTree: the directories below a root, each once, in pages.

use std::collections::{HashSet, VecDeque};

use futures_util::{Stream, stream};
use hands_proto::reapi::{self, GetTreeResponse};
use hands_store::Store;
use hands_types::Digest;
use hands_types::limits::{MAX_BATCH, MAX_PROTO_BLOB};
use prost::Message as _;
use tonic::{Code, Status};

use super::blocking;
use crate::{missing_blobs, store_status};

/// Directories in a page where the client does not say.
const PAGE: usize = 1000;

/// The pages from a token on. A token is the number of directories before its page: the order is breadth first and
/// depends on the tree alone, so a token holds for ever and for nothing but what the client may read anyway.
pub(super) async fn pages(
    store: &Store,
    root: Digest,
    page_size: i32,
    token: &str,
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
    let walk = Walk::new(store.clone(), root, skip, page);
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
    blocking(move || walk.page().map(|page| (page, walk))).await?
}

struct Walk {
    store: Store,
    todo: VecDeque<Digest>,
    seen: HashSet<Digest>,
    // Directories that a page has shown or a token has skipped.
    shown: usize,
    skip: usize,
    page: usize,
}

impl Walk {
    fn new(store: Store, root: Digest, skip: usize, page: usize) -> Self {
        let seen = HashSet::from([root]);
        Self { store, todo: VecDeque::from([root]), seen, shown: 0, skip, page }
    }

    /// The next page; none at the end, but the first is there even when a token skips all of a tree.
    fn page(&mut self) -> Result<Option<GetTreeResponse>, Status> {
        let mut directories = Vec::new();
        let mut bytes = 0;
        let started = self.shown > 0;
        while let Some(digest) = self.todo.pop_front() {
            let Some(directory) = self.directory(&digest)? else { continue };
            for node in &directory.directories {
                if let Some(Ok(child)) = node.digest.as_ref().map(|d| d.to_digest(digest.function))
                    && self.seen.insert(child)
                {
                    self.todo.push_back(child);
                }
            }
            self.shown += 1;
            if self.shown <= self.skip {
                continue;
            }
            bytes += directory.encoded_len() as u64;
            directories.push(directory);
            if directories.len() == self.page || bytes > MAX_BATCH / 2 {
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

    /// A directory; none if it is missing or no directory, which REAPI has us leave out.
    fn directory(&self, digest: &Digest) -> Result<Option<reapi::Directory>, Status> {
        if digest.is_empty() {
            return Ok(Some(reapi::Directory::default()));
        }
        if digest.size > MAX_PROTO_BLOB {
            return Ok(None);
        }
        let bytes = self.store.read(digest).map_err(|e| store_status(&e))?;
        Ok(bytes.and_then(|bytes| reapi::Directory::decode(bytes).ok()))
    }
}
