//! The entrance: an executor and its configuration.

use hands_sandbox::{Isolation, Launcher, LauncherConfig, Network, Privilege};

use crate::error::ExecError;
use crate::outcome::Ran;
use crate::pool::{Kind, Pool};
use crate::request::{ExecIo, ExecRequest};
use crate::run;

/// What an executor is told once.
#[derive(Clone, Debug)]
pub struct ExecConfig {
    /// Level, places, exposed paths.
    pub launcher: LauncherConfig,
    /// Most actions at once.
    pub slots: u32,
    /// Variables for commands that don't set them, such as `PATH` with exposed toolchains in it.
    pub default_env: Vec<(String, String)>,
}

/// Runs actions, each in a sandbox slot of its kind. Cloning it shares the slots.
#[derive(Clone, Debug)]
pub struct Executor {
    pool: Pool,
    isolation: Isolation,
    default_env: Vec<(String, String)>,
}

impl Executor {
    /// Starts the launcher; blocks for some milliseconds. It stays one process for the executor's life, and is started
    /// again if it dies.
    pub fn start(config: ExecConfig) -> Result<Self, ExecError> {
        let isolation = config.launcher.isolation;
        let launcher = Launcher::start(config.launcher.clone())?;
        let pool = Pool::new(config.launcher, launcher, config.slots);
        Ok(Self { pool, isolation, default_env: config.default_env })
    }

    /// The level at which actions run.
    pub fn isolation(&self) -> Isolation {
        self.isolation
    }

    /// What this machine denies, as sentences for the user.
    pub fn warnings(&self) -> Vec<String> {
        self.pool.warnings()
    }

    /// Makes a slot ahead of its first action.
    pub async fn warm(&self, network: Network, privilege: Privilege) -> Result<(), ExecError> {
        self.pool.acquire(Kind { network, privilege }).await.map(drop)
    }

    /// Runs an action to its end. When `cancel` completes, or this future is dropped, the action is killed at once;
    /// what it wrote until then is still handed over. An error says that nothing was executed, or that the sandbox
    /// itself was lost on the way.
    pub async fn run(
        &self,
        request: ExecRequest,
        io: ExecIo,
        cancel: impl Future<Output = ()>,
    ) -> Result<Ran, ExecError> {
        run::run(&self.pool, &self.default_env, request, io, cancel).await
    }
}
