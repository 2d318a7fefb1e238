//! Isolation of one command: namespaces, landlock, seccomp, limits.
//!
//! worker → *launcher* (small, single-threaded, a process of its own) → one *spawner* per slot → per action an *init*
//! and the *command*. The worker holds one socket per slot and sends one packet per action; when the answer comes, no
//! process of the action is alive. The launcher ends when the worker does, by whatever death, and everything below it
//! ends with it: processes, mounts, cgroups.
//!
//! This crate decides nothing about what to run: it gets paths of staged trees and hands back a directory.
#![expect(
    unsafe_code,
    reason = "this crate and hands-sandbox-child are where the kernel is called directly"
)]

mod cgroup;
mod clean;
mod config;
mod error;
mod filter;
mod ids;
mod kernel;
mod launcher;
mod launcher_process;
mod memory;
mod message;
mod names;
mod oom_score;
mod outcome;
mod probe;
mod range;
mod remove;
mod request;
mod slot;
mod spawn;
mod spawner;
mod sweep;
mod wire;

pub use crate::clean::{open_files, processes, start_clean, start_server};
pub use crate::config::{
    ExposedPath, Isolation, LauncherConfig, Network, Privilege, SlotConfig, default_host_paths,
};
pub use crate::error::SandboxError;
pub use crate::launcher::{LAUNCHER_WORD, Launcher, launcher_main};
pub use crate::memory::{give_back_memory, keep_little_memory};
pub use crate::names::look_names_up_without_modules;
pub use crate::outcome::{Marks, Outcome, StartError, Status, Step};
pub use crate::probe::{LevelReport, Probe, probe};
pub use crate::request::{InputRoot, Layer, Limits, Request, Scratch, Stdio};
pub use crate::slot::Slot;

/// Where an action's private home directory is at the levels `full` and `no-netns`. Not the name of a user whose real
/// home might be exposed.
pub const HOME_INSIDE: &str = "/home/action";
/// Where the input root is, unless a request says otherwise.
pub const ROOT_INSIDE: &str = "/job";
/// The user and group id that an action sees as its own at the levels `full` and `no-netns`.
pub const UID_INSIDE: u32 = 1000;
