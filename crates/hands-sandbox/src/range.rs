//! Ranges of the machine's user ids, one for each slot of whatever worker. Two workers of one machine know nothing of
//! each other, so that the kernel keeps the list: a range is claimed by binding a name, which is free again when its
//! holder is dead, by whatever death.

use std::io;
use std::os::fd::OwnedFd;

use hands_sandbox_child::sys::{self, call};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use rustix::process::WaitOptions;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::UID_INSIDE;
use crate::kernel;

const FIRST: u32 = 1_000_000;
const LENGTH: u32 = 65_536;
/// How many there are below the ids that mean "nobody".
const COUNT: u32 = (u32::MAX - FIRST) / LENGTH;

/// One of the machine's ranges of user ids.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Range(u32);

/// The right to a range. It ends with the claim, and with the process.
#[derive(Debug)]
pub(crate) struct Claim {
    pub(crate) range: Range,
    _name: OwnedFd,
}

impl Range {
    /// How many ids a range has.
    pub(crate) const LENGTH: u32 = LENGTH;

    /// Its first id: user 0 of the slot.
    pub(crate) fn first(self) -> u32 {
        FIRST + LENGTH * self.0
    }

    /// The id of its slot's actions.
    pub(crate) fn owner(self) -> u32 {
        self.first() + UID_INSIDE
    }
}

impl Claim {
    /// Claims the range of this number or the next one that is free.
    pub(crate) fn next(number: u32) -> io::Result<Self> {
        for number in (number..COUNT).chain(0..number.min(COUNT)) {
            let range = Range(number);
            let Some(name) = bind(range)? else { continue };
            // Somebody who knows nothing of our names may use the ids, such as a container; and the last processes of a
            // slot whose spawner was just killed may not be gone.
            if !is_in_use(range.owner())? {
                return Ok(Self { range, _name: name });
            }
        }
        Err(io::Error::other("all are taken"))
    }
}

/// Binds a range's name; none if somebody has it.
fn bind(range: Range) -> io::Result<Option<OwnedFd>> {
    let address =
        SocketAddrUnix::new_abstract_name(format!("hands-uids-{}", range.first()).as_bytes())?;
    let socket = in_first_network(|| {
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)
    })?;
    match rustix::net::bind(&socket, &address) {
        Ok(()) => Ok(Some(socket)),
        Err(Errno::ADDRINUSE) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

/// Names belong to a network namespace, user ids to the machine: a worker in a network namespace of its own (a test, a
/// VPN) asks in the one of the first process that it can see. Its own must do where it may not.
fn in_first_network<T>(then: impl FnOnce() -> Result<T, Errno>) -> Result<T, Errno> {
    let open = |path| rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    let (Ok(own), Ok(first)) = (open("/proc/self/ns/net"), open("/proc/1/ns/net")) else {
        return then();
    };
    let network = Some(LinkNameSpaceType::Network);
    if move_into_link_name_space(std::os::fd::AsFd::as_fd(&first), network).is_err() {
        return then();
    }
    let done = then();
    move_into_link_name_space(std::os::fd::AsFd::as_fd(&own), network)?;
    done
}

/// Whether a process of this user is alive.
fn is_in_use(user: u32) -> io::Result<bool> {
    match rustix::process::getpriority_user(rustix::process::Uid::from_raw(user)) {
        Ok(_) => Ok(true),
        Err(Errno::SRCH) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

/// Whether this process can give that user's id to another.
pub(crate) fn is_ours_to_give(user: u32) -> bool {
    let tried = (|| {
        let Some(pid) = kernel::fork(0)? else {
            let id = user as usize;
            // SAFETY: takes no pointer.
            let changed = unsafe { call(libc::SYS_setresuid, id, id, id, 0, 0) };
            sys::exit(i32::from(changed.is_err()))
        };
        rustix::process::waitpid(Some(pid), WaitOptions::empty())
            .map_err(io::Error::from)
            .map(|ended| ended.is_some_and(|(_, status)| status.exit_status() == Some(0)))
    })();
    // Without a process to try it in there will be none for actions either, which says more.
    tried.unwrap_or(true)
}
