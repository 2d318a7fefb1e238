//! The per-user background process: an embedded hub and worker over one store, snapshots of what front-ends name, and
//! the stat cache that makes unchanged trees cheap.
//!
//! One agent per user and `HANDS_HOME`: it holds a lock as long as it lives. It serves its own user only, over two
//! sockets in a directory that nobody else can enter. It leaves by itself when it has been idle; by [`run`]'s stop
//! request, SIGTERM or SIGINT otherwise. Killed, it leaves nothing behind that its successor can't use.
//!
//! What it must never do: open a path that a front-end named by its name (it gets directory handles), follow a link in
//! an input tree, or believe the stat cache of a file that changed within two seconds of its reading.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod agent;
mod config;
mod error;
mod log;
mod readiness;
mod service;
mod snapshot;
mod stat_cache;
mod walk;

pub use agent::{run, serve};
pub use config::{AgentConfig, AgentWorker, FindLogin, Login};
pub use error::AgentError;
pub use readiness::{Readiness, detach};

#[cfg(test)]
fn test_dir(name: &str) -> tests::TestDir {
    tests::TestDir::new(name)
}

#[cfg(test)]
mod tests;
