//! Where everything is kept: the XDG directories, or all of it below `HANDS_HOME`.

use std::ffi::OsString;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use hands_client::{AgentSockets, AgentSpec};

use crate::{ConfigError, Environment, Logins};

/// The directories of one user. They are made by whoever first writes in them, except the runtime directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// Holds `hands.toml`, the user's configuration.
    pub config: PathBuf,
    /// Holds `agent`, `hub` and `worker`: what must survive.
    pub state: PathBuf,
    /// What may be deleted at any time.
    pub cache: PathBuf,
    /// Sockets and locks; 0700, the user's own.
    pub runtime: PathBuf,
    /// The variables by which this user's agent finds the same places and its settings.
    pub variables: Vec<(OsString, OsString)>,
}

impl Places {
    /// Finds the places, and makes the runtime directory.
    pub fn find(environment: &Environment) -> Result<Self, ConfigError> {
        if let Some(home) = environment.get("HANDS_HOME") {
            let home = absolute("HANDS_HOME", home.into())?;
            owned("HANDS_HOME", &home, environment.uid, false)?;
            let runtime = home.join("run");
            make_private(&runtime, environment.uid)?;
            return Ok(Self {
                config: home.join("config"),
                state: home.join("state"),
                cache: home.join("cache"),
                runtime,
                variables: variables(environment),
            });
        }
        let base = |variable: &'static str,
                    below: &str,
                    what: &'static str|
         -> Result<PathBuf, ConfigError> {
            // XDG: a relative path is to be ignored.
            if let Some(path) =
                environment.get(variable).map(PathBuf::from).filter(|p| p.is_absolute())
            {
                return Ok(path.join("hands"));
            }
            let home = environment.get("HOME").ok_or(ConfigError::NoHome(what))?;
            let home = absolute("HOME", home.into())?;
            owned("HOME", &home, environment.uid, true)?;
            Ok(home.join(below).join("hands"))
        };
        Ok(Self {
            config: base("XDG_CONFIG_HOME", ".config", "the configuration")?,
            state: base("XDG_STATE_HOME", ".local/state", "what must survive")?,
            cache: base("XDG_CACHE_HOME", ".cache", "caches")?,
            runtime: runtime(environment)?,
            variables: variables(environment),
        })
    }

    /// The user's configuration file.
    pub fn user_file(&self) -> PathBuf {
        self.config.join("hands.toml")
    }

    /// The agent's state.
    pub fn agent_state(&self) -> PathBuf {
        self.state.join("agent")
    }

    /// The state of a hub of its own.
    pub fn hub_state(&self) -> PathBuf {
        self.state.join("hub")
    }

    /// The state of a worker of its own.
    pub fn worker_state(&self) -> PathBuf {
        self.state.join("worker")
    }

    /// The clusters that the user has logged in to.
    pub fn logins(&self) -> Logins {
        Logins::new(self.logins_dir())
    }

    /// Where these are kept.
    pub fn logins_dir(&self) -> PathBuf {
        self.state.join("clusters")
    }

    /// The sockets by which a hub's own user reaches it, beside whatever else it listens on: beside its state, where the
    /// user's runtime directory does not matter, and among the user's sockets, in case that file system has none.
    pub fn hub_sockets(&self) -> [PathBuf; 2] {
        [self.hub_state(), self.runtime.clone()].map(|directory| directory.join("hub.sock"))
    }

    /// The history of `hands shell`.
    pub fn shell_history(&self) -> PathBuf {
        self.state.join("shell-history")
    }

    /// How front-ends reach the agent and start it: `program` is their own.
    pub fn agent_spec(&self, program: PathBuf) -> AgentSpec {
        let state = self.agent_state();
        AgentSpec {
            sockets: [&state, &self.runtime].map(|directory| AgentSockets::at(directory)).into(),
            start_lock: state.join("agent.start"),
            life_lock: state.join("agent.lock"),
            environment: self.variables.clone(),
            log: state.join("agent.log"),
            program,
            arguments: vec![OsString::from("agent"), OsString::from("run")],
            start: true,
        }
    }
}

/// What an agent is told of the environment of the one that starts it. Everything else is that caller's own: a `PATH`, a
/// proxy, a library to be loaded first.
fn variables(environment: &Environment) -> Vec<(OsString, OsString)> {
    const PLACES: [&str; 8] = [
        "HANDS_HOME",
        "HOME",
        "XDG_CONFIG_HOME",
        "XDG_STATE_HOME",
        "XDG_CACHE_HOME",
        "XDG_RUNTIME_DIR",
        // Where the authorities are that this user trusts.
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
    ];
    // Not where this caller's work goes, nor with which credentials.
    const SETTINGS: [&str; 6] = [
        "HANDS_AGENT_",
        "HANDS_WORKER_",
        "HANDS_STORE_",
        "HANDS_ISOLATION",
        "HANDS_DURABILITY",
        "HANDS_LOG",
    ];
    let is_kept = |name: &OsString| {
        let is_setting = |start: &&str| name.as_encoded_bytes().starts_with(start.as_bytes());
        PLACES.iter().any(|place| name == place) || SETTINGS.iter().any(is_setting)
    };
    let kept = environment.variables.iter().filter(|(name, _)| is_kept(name));
    kept.map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn runtime(environment: &Environment) -> Result<PathBuf, ConfigError> {
    if let Some(base) =
        environment.get("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|p| p.is_absolute())
    {
        // `sudo -E` leaves another user's here: fall back as if it were not set.
        if fs::metadata(&base).is_ok_and(|m| m.is_dir() && m.uid() == environment.uid) {
            let path = base.join("hands");
            make_private(&path, environment.uid)?;
            return Ok(path);
        }
    }
    let path = PathBuf::from(format!("/tmp/hands-{}", environment.uid));
    make_private(&path, environment.uid)?;
    Ok(path)
}

/// Makes a directory with mode 0700, or checks that one that is there can hold sockets safely: `/tmp` is everybody's.
fn make_private(path: &Path, uid: u32) -> Result<(), ConfigError> {
    let bad = |why: String| Err(ConfigError::Runtime { path: path.to_owned(), why });
    if let Some(parent) = path.parent()
        && let Err(error) = DirBuilder::new().recursive(true).mode(0o700).create(parent)
    {
        return bad(format!("can't be made: {error}"));
    }
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return bad(format!("can't be made: {error}")),
    }
    // Not through a link: whoever made it could turn it elsewhere later.
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) => return bad(format!("can't be looked at: {error}")),
    };
    if !metadata.is_dir() {
        return bad("is not a directory".to_owned());
    }
    if metadata.uid() != uid {
        return bad(format!("belongs to user {} and not to this one ({uid})", metadata.uid()));
    }
    if metadata.mode() & 0o077 != 0 {
        return bad(format!("can be entered by others (mode {:o})", metadata.mode() & 0o777));
    }
    Ok(())
}

fn absolute(variable: &'static str, path: PathBuf) -> Result<PathBuf, ConfigError> {
    if path.is_absolute() {
        return Ok(path);
    }
    Err(ConfigError::BadDirectory { variable, path, why: "is not an absolute path".to_owned() })
}

fn owned(
    variable: &'static str,
    path: &Path,
    uid: u32,
    must_exist: bool,
) -> Result<(), ConfigError> {
    let bad = |why: String| Err(ConfigError::BadDirectory { variable, path: path.to_owned(), why });
    match fs::metadata(path) {
        Ok(metadata) if !metadata.is_dir() => bad("is not a directory".to_owned()),
        Ok(metadata) if metadata.uid() != uid => {
            bad(format!("belongs to user {} and not to this one ({uid})", metadata.uid()))
        }
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound && !must_exist => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => bad("does not exist".to_owned()),
        Err(error) => bad(format!("can't be looked at: {error}")),
    }
}
