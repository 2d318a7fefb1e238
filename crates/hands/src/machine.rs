//! What a worker offers of this machine where nothing else is configured.

use hands_config::WorkerSettings;
#[cfg(not(target_os = "linux"))]
use hands_types::ErrorClass;
#[cfg(target_os = "linux")]
use hands_worker::IsolationChoice;

use crate::least;

#[cfg(not(target_os = "linux"))]
use crate::problem::Problem;

/// One slot for each cpu that this process may use, where no other number is wanted; fewer where there are not open files
/// enough for so many, with a sentence that says so.
pub(crate) fn slots(wanted: Option<u32>) -> (u32, Option<String>) {
    let wanted = wanted.unwrap_or_else(|| {
        std::thread::available_parallelism()
            .map_or(1, |n| u32::try_from(n.get()).unwrap_or(u32::MAX))
    });
    let most = least::actions();
    let fewer = (wanted > most).then(|| {
        format!("at most {most} actions at once, not {wanted}: there are not open files enough for more (`ulimit -Hn`)")
    });
    (wanted.min(most), fewer)
}

/// All of the machine's memory, bytes.
pub(crate) fn memory(settings: &WorkerSettings) -> u64 {
    settings.memory.unwrap_or_else(total_memory)
}

#[cfg(target_os = "linux")]
fn total_memory() -> u64 {
    let info = rustix::system::sysinfo();
    info.totalram.saturating_mul(info.mem_unit.into())
}

/// Nothing runs there that would use it.
#[cfg(not(target_os = "linux"))]
fn total_memory() -> u64 {
    0
}

/// Why there is no `hands worker` here.
#[cfg(not(target_os = "linux"))]
pub(crate) fn no_worker() -> Problem {
    Problem::new(
        ErrorClass::Environment,
        "this machine cannot be a worker, because actions need Linux",
    )
    .hint("start `hands worker` on a machine that has it")
}

/// The machine's name.
pub(crate) fn name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// The configured isolation level; `otherwise` where none is.
#[cfg(target_os = "linux")]
pub(crate) fn isolation(settings: &WorkerSettings, otherwise: IsolationChoice) -> IsolationChoice {
    settings.isolation.map_or(otherwise, IsolationChoice::Exactly)
}
