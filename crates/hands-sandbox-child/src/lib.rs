//! What runs between clone and exec.
//!
//! The init of an action and its command share the spawner's memory until the command execs: a fork would copy page
//! tables, and the kernel's `CLONE_VM` costs nothing. The price is that nothing here may allocate, panic, touch
//! thread-local data (`errno`!) or call libc: only raw system calls on data that the spawner prepared in a [`Job`]. The
//! spawner in turn leaves the job alone between the wake-up and the init's end.
//!
//! The functions here hold capabilities over the slot's namespaces. They must never follow anything that the action
//! wrote: every path they use is one of the spawner's own or was checked by it.
#![no_std]
#![expect(unsafe_code, reason = "raw system calls are the purpose of this crate")]

mod command;
mod init;
mod job;
mod landlock;
mod own_root;
pub mod sys;

pub use crate::command::{VICTIM, start_command};
pub use crate::init::start_init;
pub use crate::job::{
    GO, Job, LEAVE, LayerMount, MAX_RLIMITS, Report, ResourceLimit, SlotFacts, Stack, step,
};
pub use crate::landlock::{abi as landlock_abi, ruleset as landlock_ruleset};
pub use crate::own_root::NEW_ROOT;
