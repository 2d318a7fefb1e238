//! A root of layers in place of the host's: the directory that lies on top of them, with the mount points and the few
//! files that an action needs. It is made for each action in its own scratch, so that no layer is ever written.

use std::collections::VecDeque;
use std::ffi::{CStr, CString, OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use hands_sandbox_child::{NEW_ROOT, step};
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::job::{LONGEST_OVERLAY, Refusal, in_cache, joined};
use super::root::{make_directories, make_file};
use crate::message::Order;

/// Name of the topmost directory in a scratch.
const TOP: &str = "r";
/// Mount points of what every action has, whatever the layers have there.
const OWN: [&str; 5] = ["dev", "home/action", "proc", "sys", "tmp"];
/// What no layer can know of the network around the action.
const OURS: [&str; 3] = ["hostname", "hosts", "resolv.conf"];
/// What makes a user with a name, where the layers name none.
const IF_MISSING: [&str; 3] = ["group", "nsswitch.conf", "passwd"];
/// Links that are followed on the way to a mount point, as the kernel does.
const MOST_LINKS: u32 = 40;

/// What the init mounts, and where.
#[derive(Debug)]
pub(crate) struct OwnRoot {
    /// Options of the overlay.
    pub(crate) overlay: CString,
    /// Where the input root is mounted.
    pub(crate) root_at: CString,
    /// The same of each layer at a place of its own.
    pub(crate) layers: Vec<CString>,
}

/// Makes the topmost directory beneath a scratch.
pub(crate) fn prepare(
    cache: BorrowedFd<'_>,
    scratch: BorrowedFd<'_>,
    scratch_name: &str,
    order: &Order<'_>,
) -> Result<OwnRoot, Refusal> {
    let failed = |e: Errno| (step::LAYER, e.raw_os_error());
    let io_failed = |e: std::io::Error| (step::LAYER, e.raw_os_error().unwrap_or(libc::EIO));
    let mut stack = Stack { cache, layers: &order.root, link: PathBuf::new() };
    stack.check().map_err(failed)?;
    rustix::fs::mkdirat(scratch, TOP, Mode::from_raw_mode(0o755)).map_err(failed)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let top = rustix::fs::openat(scratch, TOP, flags, Mode::empty()).map_err(failed)?;
    for directory in OWN.iter().chain(&["etc"]) {
        make_directories(&top, Path::new(directory)).map_err(io_failed)?;
    }
    // As with the host's root: programs write there without asking for a place.
    let var = stack.resolve(Path::new("/var")).map_err(failed)?;
    make_directories(&top, &var).map_err(io_failed)?;
    stack.link = var.join("tmp");
    rustix::fs::symlinkat("/tmp", &top, &stack.link).map_err(failed)?;
    for name in OURS {
        copy_own(&top, name).map_err(io_failed)?;
    }
    for name in IF_MISSING {
        if stack.find(&Path::new("etc").join(name)).map_err(failed)?.is_none() {
            copy_own(&top, name).map_err(io_failed)?;
        }
    }
    let place = |at: &CStr| {
        let inside = stack.resolve(Path::new(OsStr::from_bytes(at.to_bytes()))).map_err(failed)?;
        make_directories(&top, &inside).map_err(io_failed)?;
        Ok(joined(&[NEW_ROOT.to_bytes(), b"/", inside.as_os_str().as_bytes()]))
    };
    let root_at = place(order.root_at)?;
    let layers = order.layers.iter().map(|(_, at)| place(at)).collect::<Result<_, Refusal>>()?;
    let mut lowers = vec![format!("{scratch_name}/{TOP}").into_bytes()];
    lowers.extend(order.root.iter().map(|layer| in_cache(layer)));
    Ok(OwnRoot { overlay: read_only_overlay(&lowers)?, root_at, layers })
}

/// Options of an overlay that only shows these directories, topmost first.
pub(crate) fn read_only_overlay(lowers: &[Vec<u8>]) -> Result<CString, Refusal> {
    let options = joined(&[b"lowerdir=", &lowers.join(&b':'), b",userxattr,xino=off"]);
    let fits = options.as_bytes().len() <= LONGEST_OVERLAY;
    fits.then_some(options).ok_or((step::LAYER, libc::E2BIG))
}

/// One of the files that the slot's own root has.
fn copy_own(top: &OwnedFd, name: &str) -> std::io::Result<()> {
    let path = Path::new("etc").join(name);
    make_file(top.as_fd(), &path, &std::fs::read(Path::new("/").join(&path))?)
}

/// The layers as the overlay will show them. They are directories of a store: nothing in them marks what is gone.
struct Stack<'a> {
    cache: BorrowedFd<'a>,
    /// Topmost first.
    layers: &'a [&'a CStr],
    /// A link to `/tmp` that lies on top of them.
    link: PathBuf,
}

impl Stack<'_> {
    fn check(&self) -> Result<(), Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        for layer in self.layers {
            rustix::fs::openat(self.cache, *layer, flags, Mode::empty())?;
        }
        Ok(())
    }

    /// What the topmost layer that has a path has there; links on the way are not followed.
    fn find(&self, path: &Path) -> Result<Option<(OwnedFd, FileType)>, Errno> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        for layer in self.layers {
            let path = Path::new(OsStr::from_bytes(layer.to_bytes())).join(path);
            match rustix::fs::openat2(self.cache, path, flags, Mode::empty(), resolve) {
                Ok(found) => {
                    let kind = FileType::from_raw_mode(rustix::fs::fstat(&found)?.st_mode);
                    return Ok(Some((found, kind)));
                }
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(None)
    }

    /// Where a directory is to be made so that the action finds it at `at`: links of the layers lead elsewhere within the
    /// root, as `/lib` does where everything is in `/usr`. Relative to the root.
    fn resolve(&self, at: &Path) -> Result<PathBuf, Errno> {
        let mut left: VecDeque<OsString> = names(at);
        let mut inside = PathBuf::new();
        let mut links = 0;
        while let Some(name) = left.pop_front() {
            if name == ".." {
                inside.pop();
                continue;
            }
            inside.push(&name);
            if inside == self.link {
                inside = PathBuf::from("tmp");
                continue;
            }
            // What each action has of its own is no link, whatever the layers say.
            let is_own =
                |own: &&str| Path::new(own).starts_with(&inside) || inside.starts_with(own);
            if inside == Path::new("etc") || OWN.iter().any(is_own) {
                continue;
            }
            match self.find(&inside)? {
                None | Some((_, FileType::Directory)) => {}
                Some((link, FileType::Symlink)) => {
                    links += 1;
                    if links > MOST_LINKS {
                        return Err(Errno::LOOP);
                    }
                    let target = rustix::fs::readlinkat(&link, "", Vec::new())?;
                    let target = Path::new(OsStr::from_bytes(target.to_bytes()));
                    inside.pop();
                    if target.is_absolute() {
                        inside = PathBuf::new();
                    }
                    let mut on = names(target);
                    on.append(&mut left);
                    left = on;
                }
                Some((_, _)) => return Err(Errno::NOTDIR),
            }
        }
        if inside.as_os_str().is_empty() { Err(Errno::BUSY) } else { Ok(inside) }
    }
}

fn names(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some("..".into()),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => None,
        })
        .collect()
}
