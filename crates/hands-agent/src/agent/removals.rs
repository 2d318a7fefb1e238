//! Tells when something is removed from a directory, or the directory itself. Where the kernel can't, nothing is told, and
//! the agent looks once a minute.

use std::collections::BTreeMap;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use rustix::fs::inotify::{self, CreateFlags, Reader, WatchFlags};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

pub(super) struct Removals {
    queue: Option<AsyncFd<OwnedFd>>,
    /// By directory.
    watches: BTreeMap<PathBuf, i32>,
}

impl Removals {
    pub(super) fn new() -> Self {
        #[expect(
            deprecated,
            reason = "its successor is unsafe for handles that lie about their descriptor, as an OwnedFd can't"
        )]
        let open = || -> io::Result<AsyncFd<OwnedFd>> {
            AsyncFd::with_interest(
                inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?,
                Interest::READABLE,
            )
        };
        let queue = open()
            .inspect_err(|error| tracing::debug!(%error, "removals are not told at once"))
            .ok();
        Self { queue, watches: BTreeMap::new() }
    }

    /// Watches these directories and no others. One that was removed and made again is another.
    pub(super) fn look_at(&mut self, directories: &[PathBuf]) {
        let Some(queue) = &self.queue else { return };
        let events = WatchFlags::DELETE
            | WatchFlags::MOVED_FROM
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF
            | WatchFlags::ONLYDIR;
        self.watches.retain(|directory, watch| {
            let is_wanted = directories.contains(directory);
            if !is_wanted {
                // The kernel takes away by itself what watched a directory that is gone.
                let _gone = inotify::remove_watch(queue, *watch);
            }
            is_wanted
        });
        for directory in directories {
            // Where it is watched already this changes nothing.
            match inotify::add_watch(queue, directory, events) {
                Ok(watch) => {
                    let before = self.watches.insert(directory.clone(), watch);
                    if let Some(before) = before.filter(|before| *before != watch) {
                        let _gone = inotify::remove_watch(queue, before);
                    }
                }
                Err(error) => {
                    tracing::debug!(directory = %directory.display(), %error, "is not watched");
                }
            }
        }
    }

    /// Waits until something was removed.
    pub(super) async fn seen(&self) {
        let Some(queue) = &self.queue else { return std::future::pending().await };
        let Ok(mut ready) = queue.readable().await else { return std::future::pending().await };
        let mut space = [MaybeUninit::uninit(); 4096];
        let mut reader = Reader::new(queue.get_ref(), &mut space);
        // Which one it was does not matter: all are looked at.
        while reader.next().is_ok() {}
        ready.clear_ready();
    }
}
