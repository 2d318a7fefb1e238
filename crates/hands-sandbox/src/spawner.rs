//! One slot's spawner: pid 1 of the slot's outer pid namespace, single-threaded, at home in namespaces that were
//! prepared once. It is a copy of the launcher, not an exec: what it needs is in its memory. It owns the slot's root
//! and keeps one init waiting ahead of each request. It must never act on what an action wrote, beyond removing it. It
//! stops when its socket closes or the launcher dies, and everything below it dies with it.

mod copy;
mod etc;
mod job;
mod kill;
mod mount_points;
mod network;
mod own_root;
mod process;
mod root;
mod serve;
mod setup;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use crate::cgroup::SlotCgroup;
use crate::config::{Isolation, Network};
use crate::ids::Ids;
use crate::range::Range;

pub(crate) use root::{CACHE, DISK, device_tree};
pub(crate) use setup::tmpfs_can_be_upper;

/// Name of the input root in a slot's directory at `Process`.
pub(crate) const ROOT_NAME: &str = "root";

/// What a spawner is made of.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) isolation: Isolation,
    pub(crate) network: Network,
    /// Whether actions may create user namespaces.
    pub(crate) userns: bool,
    pub(crate) ids: Ids,
    pub(crate) index: u32,
    pub(crate) range: Range,
    pub(crate) cache: Shown,
    pub(crate) disk: Shown,
    pub(crate) shown: Vec<Shown>,
    /// Device nodes, where the launcher may make them.
    pub(crate) devices: Option<OwnedFd>,
    /// The cache's owners can't be mapped, so that an overlay over it could not be written.
    pub(crate) copy_always: bool,
    /// The slot's directory on disk, as the launcher sees it.
    pub(crate) directory: PathBuf,
    pub(crate) sock: OwnedFd,
}

/// A path of the machine that actions see.
#[derive(Debug)]
pub(crate) struct Shown {
    pub(crate) host: PathBuf,
    pub(crate) inside: PathBuf,
    /// Its mount, where the launcher prepared it.
    pub(crate) tree: Option<OwnedFd>,
}

impl Shown {
    pub(crate) fn new(host: &Path, inside: &Path) -> Self {
        Self { host: host.to_owned(), inside: inside.to_owned(), tree: None }
    }
}

impl Plan {
    /// What the spawner keeps open.
    pub(crate) fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let trees =
            self.shown.iter().chain([&self.cache, &self.disk]).filter_map(|s| s.tree.as_ref());
        trees.chain(&self.devices).chain([&self.sock]).map(AsFd::as_fd).collect()
    }
}

/// The life of a spawner.
pub(crate) fn run(plan: Plan, cgroup: Option<&SlotCgroup>) -> ! {
    use crate::wire::{self, Writer};
    let namespaced = plan.isolation != Isolation::Process;
    let mut answer = Writer::default();
    match setup::set_up(plan, cgroup) {
        Ok(mut slot) => {
            answer.u64(0).u64(slot.disk_always.into());
            let terminals = slot.terminals.take();
            let terminals = terminals.as_ref().map(AsFd::as_fd);
            if wire::send(&slot.sock, &answer.0, terminals.as_slice()).is_ok() {
                if namespaced {
                    serve::serve(&mut slot, cgroup)
                } else {
                    process::serve(&slot, cgroup)
                }
            }
        }
        Err((sock, why)) => {
            answer.u64(1).text(why.replace('\0', "").as_bytes());
            drop(wire::send(&sock, &answer.0, &[]));
        }
    }
    hands_sandbox_child::sys::exit(70)
}
