//! The checks themselves.

use std::path::Path;
use std::time::{Duration, SystemTime};

use hands_config::Places;
use hands_types::limits;
use rustix::process::{Resource, getrlimit};

use super::Check;
#[cfg(target_os = "linux")]
use super::sandbox::isolation;
use crate::problem::Problem;

/// Descriptors that a busy agent wants.
const DESCRIPTORS: u64 = 4096;

/// What this machine can do.
pub(super) fn of_machine(places: &Places) -> Result<Vec<Check>, Problem> {
    let mut checks = Vec::new();
    let scratch = places.cache.join("doctor");
    let made = std::fs::create_dir_all(&scratch);
    if let Err(error) = made {
        let found = format!("{} can't be made: {error}", scratch.display());
        checks.push(Check::bad("cache directory", found, "make it writable, or set HANDS_HOME"));
        return Ok(checks);
    }
    checks.extend(isolation(&scratch)?);
    checks.push(disk(&places.state));
    checks.push(clock(&scratch));
    checks.push(descriptors());
    checks.push(Check::note("state", places.state.display().to_string()));
    // Made by this command; a directory that holds something is not ours to remove.
    drop(std::fs::remove_dir(&scratch));
    Ok(checks)
}

#[cfg(not(target_os = "linux"))]
fn isolation(_scratch: &Path) -> Result<Vec<Check>, Problem> {
    Ok(vec![Check::weak(
        "isolation",
        "this machine cannot be a worker, because actions need Linux",
        "start `hands worker` on a machine that has it",
    )])
}

fn disk(state: &Path) -> Check {
    let name = "disk";
    let Some(stat) = state.ancestors().find_map(|d| rustix::fs::statvfs(d).ok()) else {
        return Check::bad(
            name,
            format!("{} can't be asked", state.display()),
            "set HANDS_HOME to another disk",
        );
    };
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    let total = stat.f_blocks.saturating_mul(stat.f_frsize);
    let gib = |bytes: u64| format!("{}.{} GiB", bytes >> 30, ((bytes >> 20) & 1023) * 10 / 1024);
    let found = format!("{} free of {}", gib(free), gib(total));
    if free <= limits::DISK_RESERVE {
        let cure = format!(
            "free some: {} always stay free, so nothing can be stored",
            gib(limits::DISK_RESERVE)
        );
        return Check::bad(name, found, cure);
    }
    if stat.f_favail < 10_000 && stat.f_files > 0 {
        return Check::weak(
            name,
            format!("{found}, but room for {} more files only", stat.f_favail),
            "remove some",
        );
    }
    Check::good(name, found)
}

fn clock(scratch: &Path) -> Check {
    // 2025-01-01: a machine whose battery is empty wakes up in 1970 or 2000.
    const PLAUSIBLE: Duration = Duration::from_secs(1_735_689_600);
    let name = "clock";
    let now = SystemTime::now();
    if now < SystemTime::UNIX_EPOCH + PLAUSIBLE {
        return Check::bad(name, "is years behind", "set it, or switch time synchronisation on");
    }
    // Files get their times from the file system, which on a network has a clock of its own.
    let file = scratch.join("clock");
    let written = std::fs::write(&file, b"").and_then(|()| std::fs::metadata(&file)?.modified());
    drop(std::fs::remove_file(&file));
    match written {
        Err(error) => Check::bad(
            name,
            format!("no file can be written to compare with: {error}"),
            "see `disk`",
        ),
        Ok(written) => {
            let apart = written
                .duration_since(now)
                .or_else(|_| now.duration_since(written))
                .unwrap_or_default();
            if apart > Duration::from_secs(2) {
                Check::weak(
                    name,
                    format!("{} s apart from the file system's", apart.as_secs()),
                    "synchronise both, else changed files may be taken for unchanged",
                )
            } else {
                Check::good(name, "agrees with the file system's")
            }
        }
    }
}

fn descriptors() -> Check {
    let name = "descriptors";
    let limit = getrlimit(Resource::Nofile);
    match limit.maximum {
        Some(most) if most < DESCRIPTORS => Check::weak(
            name,
            format!("{most} at most for a process"),
            format!("raise the hard limit (`ulimit -Hn`) to {DESCRIPTORS} or more"),
        ),
        Some(most) => Check::good(name, format!("{most} at most for a process")),
        None => Check::good(name, "no limit"),
    }
}
