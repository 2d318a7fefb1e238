//! The launcher's own process: single-threaded, small, so that cloning it for a spawner is cheap whatever the size of
//! the worker. It owns the spawners, their cgroups and scratch directories, and ends when its socket closes: the worker
//! is dead then, by whatever death.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use hands_sandbox_child::sys;
use hands_types::Word as _;
use rustix::event::{PollFd, PollFlags};
use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions};

use crate::cgroup::{Cgroups, SlotCgroup};
use crate::config::{ExposedPath, Isolation, LauncherConfig, Network, Privilege, SlotConfig};
use crate::ids::Ids;
use crate::range::{Claim, Range};
use crate::remove::{Identity, remove_tree};
use crate::spawn::{self, Started};
use crate::spawner;
use crate::sweep::sweep;
use crate::wire::{self, MAX_PACKET, Reader, Writer};

/// What `main` calls, before it starts any thread, when the program's first argument is
/// [`crate::LAUNCHER_WORD`]. Standard input is the socket to the worker.
pub fn launcher_main() -> ! {
    let code = match own_process().and_then(|sock| serve(&sock)) {
        Ok(()) => 0,
        // The worker sees the socket close and says that the launcher is gone.
        Err(_) => 70,
    };
    sys::exit(code)
}

/// Leaves the worker's session and descriptors behind.
fn own_process() -> io::Result<OwnedFd> {
    let sock = rustix::io::fcntl_dupfd_cloexec(io::stdin(), 3)?;
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    rustix::stdio::dup2_stdin(&null)?;
    drop(null);
    spawn::close_all_but(&[sock.as_fd()]);
    crate::clean::default_signals();
    let _ = rustix::process::setsid();
    rustix::process::umask(Mode::from_raw_mode(0o022));
    let _ = rustix::thread::set_name(c"hands-launcher");
    Ok(sock)
}

struct Running {
    pid: Pid,
    pidfd: OwnedFd,
    cgroup: Option<SlotCgroup>,
    directory: PathBuf,
    /// None where that can't be told.
    which: Option<Identity>,
    claim: Option<Claim>,
}

struct State {
    config: LauncherConfig,
    ids: Ids,
    cgroups: Option<Cgroups>,
    slots: BTreeMap<u32, Running>,
}

fn serve(sock: &OwnedFd) -> io::Result<()> {
    let mut packet = vec![0; MAX_PACKET];
    let (length, _) = wire::receive(sock, &mut packet)?;
    let config = read_config(&mut Reader(&packet[..length])).ok_or(io::ErrorKind::InvalidData)?;
    let mut state = match State::new(config) {
        Ok((state, facts)) => {
            wire::send(sock, &facts, &[])?;
            state
        }
        Err(why) => return refuse(sock, &why),
    };
    loop {
        let mut polled = vec![PollFd::new(sock, PollFlags::IN)];
        polled.extend(state.slots.values().map(|s| PollFd::new(&s.pidfd, PollFlags::IN)));
        match rustix::event::poll(&mut polled, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
        let asked = !polled[0].revents().is_empty();
        drop(polled);
        state.reap();
        if asked {
            let (length, _) = wire::receive(sock, &mut packet)?;
            if length == 0 {
                return Ok(());
            }
            let wanted =
                read_slot(&mut Reader(&packet[..length])).ok_or(io::ErrorKind::InvalidData)?;
            match state.start(wanted) {
                Ok((started, owner, directory)) => {
                    let mut answer = Writer::default();
                    answer.u64(0).u64(owner.map_or(u64::MAX, u64::from)).path(&directory);
                    answer.u64(started.on_disk.into());
                    let mut theirs = vec![started.sock.as_fd()];
                    theirs.extend(started.terminals.as_ref().map(AsFd::as_fd));
                    wire::send(sock, &answer.0, &theirs)?;
                }
                Err(why) => refuse(sock, &why)?,
            }
        }
    }
}

fn refuse(sock: &OwnedFd, why: &str) -> io::Result<()> {
    let mut answer = Writer::default();
    let why: Vec<u8> = why.bytes().filter(|&b| b != 0).take(4096).collect();
    answer.u64(1).text(&why);
    wire::send(sock, &answer.0, &[])
}

impl State {
    fn new(config: LauncherConfig) -> Result<(Self, Vec<u8>), String> {
        let make = |e: io::Error| format!("the directory {}: {e}", config.work_dir.display());
        fs::create_dir_all(&config.work_dir).map_err(make)?;
        let mut warnings = Vec::new();
        if config.isolation == Isolation::Process {
            crate::kernel::prctl(libc::PR_SET_CHILD_SUBREAPER, 1)
                .map_err(|e| format!("subreaper: {e}"))?;
        }
        let ids = Ids::find(&config, &mut warnings)?;
        let cgroups = Cgroups::find()
            .inspect_err(|why| {
                warnings.push(format!(
                    "limits of memory and processes hold per process only, for want of a cgroup: {why}"
                ));
            })
            .ok();
        let (landlock, _, scope) = hands_sandbox_child::landlock_abi();
        if landlock == 0 {
            warnings
                .push("the kernel has no landlock: files rely on the other locks alone".to_owned());
        } else if scope == 0 && config.isolation != Isolation::Full {
            warnings.push(
                "the kernel's landlock guards neither abstract sockets nor signals: actions can reach those of \
                 other programs of their user (Linux 6.12 mends it)"
                    .to_owned(),
            );
        }
        if config.isolation == Isolation::Full
            && ids.idmap_failure(&config.cache_dir).is_some_and(|e| e != 0)
        {
            warnings.push(format!(
                "the file system of {} has no idmapped mounts: input roots are copied for each action; another place \
                 for the cache avoids it",
                config.cache_dir.display()
            ));
        }
        if config.isolation != Isolation::Process && !spawner::tmpfs_can_be_upper() {
            warnings.push(
                "this kernel's tmpfs can't hold what an overlay writes: actions' files go to disk, which costs each a \
                 millisecond (Linux 6.6 mends it)"
                    .to_owned(),
            );
        }
        for hidden in config.expose.iter().filter(|e| spawn::is_hidden(&config, e)) {
            warnings.push(format!(
                "actions do not see {}: something of their own is there",
                hidden.inside.display()
            ));
        }
        let mut answer = Writer::default();
        answer.u64(0).u64(landlock.into());
        answer.u64(cgroups.as_ref().map_or(0, |c| c.version as u64 + 1));
        answer.texts(warnings.iter().map(|w| w.as_bytes()));
        Ok((Self { config, ids, cgroups, slots: BTreeMap::new() }, answer.0))
    }

    /// Starts a slot. Returns its spawner, the owner of its streams, and its directory.
    fn start(&mut self, wanted: SlotConfig) -> Result<(Started, Option<u32>, PathBuf), String> {
        self.end(wanted.index);
        let name = format!("slot-{}", wanted.index);
        let cgroup = match &self.cgroups {
            Some(cgroups) => Some(
                cgroups
                    .make(&wanted.index.to_string())
                    .map_err(|e| format!("a cgroup for the slot: {e}"))?,
            ),
            None => None,
        };
        let directory = self.config.work_dir.join(name);
        let started = self.claim(wanted.index).and_then(|claim| {
            let range = claim.as_ref().map_or_else(Range::default, |c| c.range);
            spawn::start(&self.config, wanted, self.ids, range, cgroup.as_ref(), &directory)
                .map(|started| (started, claim, range))
        });
        match started {
            Ok((started, claim, range)) => {
                let pidfd = rustix::process::pidfd_open(started.pid, PidfdFlags::empty())
                    .map_err(|e| format!("pidfd_open: {e}"))?;
                let running = Running {
                    pid: started.pid,
                    pidfd,
                    cgroup,
                    which: Identity::of(&directory).ok(),
                    directory: directory.clone(),
                    claim,
                };
                self.slots.insert(wanted.index, running);
                let inside = if self.config.isolation == Isolation::Process {
                    directory.join(crate::spawner::ROOT_NAME)
                } else {
                    directory
                };
                Ok((started, self.ids.owner(range), inside))
            }
            Err(why) => {
                if let Some(cgroup) = cgroup {
                    cgroup.remove();
                }
                Err(why)
            }
        }
    }

    /// A range of user ids that no other slot of this machine has; none where actions have the worker's own.
    fn claim(&self, slot: u32) -> Result<Option<Claim>, String> {
        if self.ids == Ids::Own {
            return Ok(None);
        }
        Claim::next(slot).map(Some).map_err(|e| format!("a range of user ids: {e}"))
    }

    /// Forgets the slots whose spawner is dead.
    fn reap(&mut self) {
        let dead = |slot: &Running| {
            matches!(
                rustix::process::waitpid(Some(slot.pid), WaitOptions::NOHANG),
                Ok(Some(_)) | Err(_)
            )
        };
        let gone: Vec<_> = self.slots.iter().filter(|(_, s)| dead(s)).map(|(&i, _)| i).collect();
        for index in gone {
            if let Some(slot) = self.slots.remove(&index) {
                self.clean(&slot);
            }
        }
    }

    /// Ends a slot, if it is there, and waits until all of it is gone.
    fn end(&mut self, index: u32) {
        let Some(slot) = self.slots.remove(&index) else { return };
        // Both fail only for a process that is gone, which is what they are for.
        let _ = rustix::process::pidfd_send_signal(&slot.pidfd, Signal::KILL);
        let _ = rustix::process::waitpid(Some(slot.pid), WaitOptions::empty());
        self.clean(&slot);
    }

    /// Removes what a dead spawner leaves.
    fn clean(&self, slot: &Running) {
        if self.config.isolation == Isolation::Process {
            // No pid namespace has ended its actions; the orphans are ours now.
            let others: Vec<i32> =
                self.slots.values().map(|s| s.pid.as_raw_nonzero().get()).collect();
            sweep(slot.claim.as_ref().map(|c| c.range.owner()), &others);
        }
        if let Some(cgroup) = &slot.cgroup {
            cgroup.remove();
        }
        // Where all that we keep was deleted, whoever came after us may have its own slot there by now.
        let is_ours = slot.which.is_none() || slot.which == Identity::of(&slot.directory).ok();
        if is_ours {
            // Tried again when a slot of this number starts.
            drop(remove_tree(&slot.directory));
        }
    }
}

impl Drop for State {
    fn drop(&mut self) {
        while let Some(&index) = self.slots.keys().next() {
            self.end(index);
        }
    }
}

fn read_config(r: &mut Reader<'_>) -> Option<LauncherConfig> {
    let level = usize::try_from(r.u64()?).ok()?;
    Some(LauncherConfig {
        program: PathBuf::new(),
        isolation: *Isolation::ALL.get(level)?,
        cache_dir: r.path()?,
        work_dir: r.path()?,
        show_host: (0..r.count()?).map(|_| r.path()).collect::<Option<_>>()?,
        expose: (0..r.count()?)
            .map(|_| Some(ExposedPath { host: r.path()?, inside: r.path()? }))
            .collect::<Option<_>>()?,
    })
}

fn read_slot(r: &mut Reader<'_>) -> Option<SlotConfig> {
    Some(SlotConfig {
        index: u32::try_from(r.u64()?).ok()?,
        network: match r.u64()? {
            0 => Network::None,
            1 => Network::Loopback,
            _ => Network::Host,
        },
        privilege: if r.flag()? { Privilege::Userns } else { Privilege::None },
    })
}
