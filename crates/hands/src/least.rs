//! What a program that stays needs of the limits that it is started under. With less it would start and then fail at
//! everything, for all that call it later.

use hands_types::ErrorClass;
use rustix::process::{Resource, getrlimit};

use crate::problem::Problem;

/// Open files of a process: what it has open whatever it does, and what two actions need.
const FILES: u64 = 64;
/// What an agent or a worker has open beside its actions, with room for those who call and for looking at trees.
const FILES_BESIDES_ACTIONS: u64 = 48;
/// For each action that runs: its streams, its inputs, the slot.
const FILES_OF_ACTION: u64 = 8;
/// Processes of one user, threads included.
#[cfg(target_os = "linux")]
const PROCESSES: u64 = 32;
/// For the program and the stacks of its threads.
#[cfg(target_os = "linux")]
const ADDRESSES: u64 = 128 << 20;
#[cfg(target_os = "linux")]
const DATA: u64 = 64 << 20;
/// Its databases grow.
#[cfg(target_os = "linux")]
const FILE_SIZE: u64 = 64 << 20;

/// Refuses to start where a hard limit leaves too little. `who` is the program, for the sentence.
pub(crate) fn check(who: &str) -> Result<(), Problem> {
    let lacks: Vec<String> = lacking().collect();
    if lacks.is_empty() {
        return Ok(());
    }
    let text = format!(
        "the {who} can't work within the limits of the process that starts it: at most {}",
        lacks.join("; at most ")
    );
    Err(Problem::new(ErrorClass::Environment, text)
        .hint("raise the hard limit, or start it from where it is higher"))
}

fn lacking() -> impl Iterator<Item = String> {
    let mut needs = vec![(Resource::Nofile, FILES, "open files (`ulimit -Hn`)", "")];
    #[cfg(target_os = "linux")]
    needs.extend([
        (Resource::As, ADDRESSES, "bytes of address space (`ulimit -Hv`)", ""),
        (Resource::Data, DATA, "bytes of data (`ulimit -Hd`)", ""),
        (Resource::Fsize, FILE_SIZE, "bytes (`ulimit -Hf`)", "files of "),
    ]);
    // The kernel does not count those of root.
    #[cfg(target_os = "linux")]
    if !rustix::process::geteuid().is_root() {
        needs.push((Resource::Nproc, PROCESSES, "processes (`ulimit -Hu`)", ""));
    }
    needs.into_iter().filter_map(|(resource, least, what, before)| {
        let most = getrlimit(resource).maximum.filter(|most| *most < least)?;
        Some(format!("{before}{most} {what}, and it needs {least}"))
    })
}

/// So many actions at once as there are open files for.
pub(crate) fn actions() -> u32 {
    let files = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    let actions = files.saturating_sub(FILES_BESIDES_ACTIONS) / FILES_OF_ACTION;
    u32::try_from(actions).unwrap_or(u32::MAX).max(1)
}
