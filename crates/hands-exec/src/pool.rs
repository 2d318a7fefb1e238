//! Slots of the sandbox, kept warm between actions.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hands_sandbox::{Launcher, LauncherConfig, Network, Privilege, SandboxError, Slot, SlotConfig};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;

use crate::error::ExecError;
use crate::watch::watch;

/// What is fixed when a slot is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    pub(crate) network: Network,
    pub(crate) privilege: Privilege,
}

/// The slots of one launcher. Slots are made when first needed, by kind, and never more than `most` at once; a slot of
/// another kind that idles is ended when its place is needed.
#[derive(Clone, Debug)]
pub(crate) struct Pool {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    config: LauncherConfig,
    launcher: Mutex<Launcher>,
    state: Mutex<State>,
    freed: Notify,
}

#[derive(Debug)]
struct State {
    /// Oldest first: it has had the most time to prepare its next action.
    idle: Vec<Warm>,
    /// Numbers that no slot has.
    free: Vec<u32>,
}

/// A slot that exists.
#[derive(Debug)]
pub(crate) struct Warm {
    kind: Kind,
    index: u32,
    // A copy of the slot's own descriptor, because tokio wants to own what it watches. First, so that it is
    // unregistered before the slot closes.
    watch: AsyncFd<OwnedFd>,
    pub(crate) slot: Slot,
}

impl Warm {
    /// Waits for the end of the running action.
    pub(crate) async fn finished(&mut self) -> Result<hands_sandbox::Outcome, SandboxError> {
        let system = |source| SandboxError::System { what: "wait for a slot", source };
        loop {
            let mut guard = self.watch.readable().await.map_err(system)?;
            if let Some(outcome) = self.slot.try_finish()? {
                return Ok(outcome);
            }
            guard.clear_ready();
        }
    }
}

/// The right to one slot; goes back to the pool when dropped.
#[derive(Debug)]
pub(crate) struct HeldSlot {
    warm: Option<Warm>,
    index: u32,
    shared: Arc<Shared>,
}

impl HeldSlot {
    /// The slot itself.
    pub(crate) fn warm(&self) -> Result<&Warm, ExecError> {
        self.warm.as_ref().ok_or(ExecError::Sandbox(SandboxError::Gone { who: "spawner" }))
    }

    /// Takes the slot out for the time of an action, so that a run that is dropped half-way ends slot and action.
    pub(crate) fn take(&mut self) -> Result<Warm, ExecError> {
        self.warm.take().ok_or(ExecError::Sandbox(SandboxError::Gone { who: "spawner" }))
    }

    /// Puts a slot back that is fit for another action.
    pub(crate) fn put(&mut self, warm: Warm) {
        self.warm = Some(warm);
    }
}

impl Drop for HeldSlot {
    fn drop(&mut self) {
        let mut state = lock(&self.shared.state);
        match self.warm.take() {
            Some(warm) => state.idle.push(warm),
            None => state.free.push(self.index),
        }
        drop(state);
        self.shared.freed.notify_one();
    }
}

impl Pool {
    pub(crate) fn new(config: LauncherConfig, launcher: Launcher, most: u32) -> Self {
        let state = State { idle: Vec::new(), free: (0..most.max(1)).rev().collect() };
        let (launcher, state) = (Mutex::new(launcher), Mutex::new(state));
        Self { shared: Arc::new(Shared { config, launcher, state, freed: Notify::new() }) }
    }

    /// A slot of this kind: a warm one, or a new one, or the next that comes free.
    pub(crate) async fn acquire(&self, kind: Kind) -> Result<HeldSlot, ExecError> {
        loop {
            let freed = self.shared.freed.notified();
            match self.try_take(kind) {
                Some(held) if held.warm.is_some() => return Ok(held),
                // Dropping this future must not lose the number: the thread holds it until the slot is made.
                Some(held) => {
                    return tokio::task::spawn_blocking(move || held.make(kind))
                        .await
                        .map_err(|_| ExecError::Panicked)?;
                }
                None => freed.await,
            }
        }
    }

    fn try_take(&self, kind: Kind) -> Option<HeldSlot> {
        let mut state = lock(&self.shared.state);
        let (warm, index) = match state.idle.iter().position(|warm| warm.kind == kind) {
            Some(at) => {
                let warm = state.idle.remove(at);
                let index = warm.index;
                (Some(warm), index)
            }
            None => match state.free.pop() {
                Some(index) => (None, index),
                // Ends an idle slot of another kind.
                None if !state.idle.is_empty() => (None, state.idle.remove(0).index),
                None => return None,
            },
        };
        Some(HeldSlot { warm, index, shared: Arc::clone(&self.shared) })
    }

    /// The sandbox's own words about what this machine denies.
    pub(crate) fn warnings(&self) -> Vec<String> {
        lock(&self.shared.launcher).warnings().to_vec()
    }
}

impl HeldSlot {
    /// Makes the slot. Blocks for some ten milliseconds.
    fn make(mut self, kind: Kind) -> Result<Self, ExecError> {
        let config =
            SlotConfig { index: self.index, network: kind.network, privilege: kind.privilege };
        let mut launcher = lock(&self.shared.launcher);
        let slot = match launcher.slot(config) {
            // It was killed, with all slots. What they ran has failed; what comes next need not.
            Err(SandboxError::Gone { .. }) => {
                tracing::warn!("the sandbox launcher is gone; starting another");
                *launcher = Launcher::start(self.shared.config.clone())?;
                launcher.slot(config)?
            }
            made => made?,
        };
        drop(launcher);
        let watch = slot
            .as_fd()
            .try_clone_to_owned()
            .and_then(|fd| watch(fd, Interest::READABLE))
            .map_err(ExecError::system("watch a sandbox slot"))?;
        self.warm = Some(Warm { kind, index: self.index, watch, slot });
        Ok(self)
    }
}

/// No code that holds these locks leaves them half-changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
