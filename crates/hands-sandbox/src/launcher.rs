//! The worker's handle on its launcher.

use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::wire::{self, MAX_PACKET, Reader, Writer};
use crate::{Isolation, LauncherConfig, Network, Privilege, SandboxError, Slot, SlotConfig};

pub use crate::launcher_process::launcher_main;

/// The first argument that makes a program a launcher.
pub const LAUNCHER_WORD: &str = "__sandbox-launcher";

/// A running launcher. Dropping it ends every slot and every action.
#[derive(Debug)]
pub struct Launcher {
    // Taken in `drop`: its end is what tells the launcher to go.
    sock: Option<OwnedFd>,
    child: Child,
    config: LauncherConfig,
    facts: LauncherFacts,
}

/// What a launcher found out about the machine.
#[derive(Clone, Debug, Default)]
pub(crate) struct LauncherFacts {
    pub(crate) warnings: Vec<String>,
    pub(crate) landlock_abi: u32,
    pub(crate) cgroup: Option<&'static str>,
}

impl Launcher {
    /// Starts the launcher's process. Cheap (milliseconds) and safe at any time, in a program with threads too.
    pub fn start(config: LauncherConfig) -> Result<Self, SandboxError> {
        for path in [&config.cache_dir, &config.work_dir] {
            if !path.is_absolute() {
                return Err(SandboxError::Invalid(format!(
                    "the path {} is not absolute",
                    path.display()
                )));
            }
        }
        let start = |source| SandboxError::Start { program: config.program.clone(), source };
        let (ours, theirs) = wire::pair().map_err(start)?;
        // The launcher finds its socket as standard input: no code of ours runs between fork and exec.
        let child = Command::new(&config.program)
            .arg(LAUNCHER_WORD)
            .arg0("hands")
            .env_clear()
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .spawn()
            .map_err(start)?;
        let mut launcher = Self {
            sock: Some(ours),
            child,
            facts: LauncherFacts::default(),
            config: config.clone(),
        };
        let mut hello = Writer::default();
        hello.u64(config.isolation as u64).path(&config.cache_dir).path(&config.work_dir);
        hello.u64(config.show_host.len() as u64);
        for path in &config.show_host {
            hello.path(path);
        }
        hello.u64(config.expose.len() as u64);
        for exposed in &config.expose {
            hello.path(&exposed.host).path(&exposed.inside);
        }
        let (answer, _) = launcher.ask(&hello.0)?;
        launcher.facts =
            read_facts(&mut Reader(&answer)).ok_or(SandboxError::Malformed { who: "launcher" })?;
        Ok(launcher)
    }

    /// Makes a slot: some ten milliseconds, blocking. A running slot of the same number is ended first.
    pub fn slot(&mut self, config: SlotConfig) -> Result<Slot, SandboxError> {
        if config.index >= 30_000 {
            return Err(SandboxError::Invalid(format!(
                "slot number {} is not below 30000",
                config.index
            )));
        }
        let mut ask = Writer::default();
        let network = match config.network {
            Network::None => 0,
            Network::Loopback => 1,
            Network::Host => 2,
        };
        ask.u64(config.index.into())
            .u64(network)
            .u64(u64::from(config.privilege == Privilege::Userns));
        let (answer, fds) = self.ask(&ask.0)?;
        let malformed = || SandboxError::Malformed { who: "launcher" };
        let mut fields = Reader(&answer);
        let owner = fields.u64().ok_or_else(malformed)?;
        let directory: PathBuf = fields.path().ok_or_else(malformed)?;
        let on_disk = fields.flag().ok_or_else(malformed)?;
        let mut fds = fds.into_iter();
        let sock = fds.next().ok_or_else(malformed)?;
        let owner = u32::try_from(owner).ok();
        let directory = (self.config.isolation == Isolation::Process).then_some(directory);
        Slot::new(sock, owner, directory, fds.next(), on_disk)
    }

    /// What this machine denies, as sentences for the user: limits that are not enforced, landlock that is missing.
    pub fn warnings(&self) -> &[String] {
        &self.facts.warnings
    }

    /// The level at which it runs.
    pub fn isolation(&self) -> Isolation {
        self.config.isolation
    }

    /// The launcher's process id.
    pub fn process_id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn facts(&self) -> &LauncherFacts {
        &self.facts
    }

    /// One question, one answer. The first field of an answer says whether it is an error's text.
    fn ask(&self, question: &[u8]) -> Result<(Vec<u8>, Vec<OwnedFd>), SandboxError> {
        let gone = || SandboxError::Gone { who: "launcher" };
        let sock = self.sock.as_ref().ok_or_else(gone)?;
        if question.len() > MAX_PACKET {
            return Err(SandboxError::Invalid("the list of exposed paths is too long".to_owned()));
        }
        wire::send(sock, question, &[]).map_err(|_| gone())?;
        let mut answer = vec![0; MAX_PACKET];
        let (length, fds) = wire::receive(sock, &mut answer).map_err(|_| gone())?;
        answer.truncate(length);
        let mut fields = Reader(&answer);
        match fields.u64() {
            Some(0) => Ok((fields.0.to_vec(), fds)),
            Some(_) => Err(SandboxError::Setup {
                level: self.config.isolation.name(),
                why: fields.string().unwrap_or_default(),
            }),
            None => Err(gone()),
        }
    }
}

fn read_facts(fields: &mut Reader<'_>) -> Option<LauncherFacts> {
    let landlock_abi = u32::try_from(fields.u64()?).ok()?;
    let cgroup = match fields.u64()? {
        1 => Some("v1"),
        2 => Some("v2"),
        _ => None,
    };
    let warnings = (0..fields.count()?).map(|_| fields.string()).collect::<Option<_>>()?;
    Some(LauncherFacts { warnings, landlock_abi, cgroup })
}

impl Drop for Launcher {
    fn drop(&mut self) {
        drop(self.sock.take());
        // It ends by itself, once it has ended all slots. There is nobody to tell about a failure to wait.
        let _ended = self.child.wait();
    }
}
