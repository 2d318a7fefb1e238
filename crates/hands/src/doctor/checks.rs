//! The checks themselves.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use hands_config::{Environment, Places, Settings};
use hands_sandbox::Isolation;
use hands_types::{ErrorClass, limits};
use rustix::process::{Resource, getrlimit};

use super::{Check, kernel};
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

fn isolation(scratch: &Path) -> Result<Vec<Check>, Problem> {
    let program = crate::front::this_program()?;
    let found = hands_sandbox::probe(&program, scratch)
        .map_err(|error| Problem::of(&error, ErrorClass::Environment))?;
    let mut checks = Vec::new();
    match found.best() {
        Some(Isolation::Full) => {
            checks.push(Check::good("isolation", "full: a command ran in all namespaces"));
        }
        Some(level) => checks.push(Check::weak(
            "isolation",
            format!("{level}: actions run, with less between them and this machine"),
            "see below what is missing; a worker for others needs `full`",
        )),
        None => checks.push(Check::bad(
            "isolation",
            "none: no command can be run here",
            "see below what is missing",
        )),
    }
    for report in &found.levels {
        if let Some(why) = &report.failure {
            let name = match report.level {
                Isolation::Full => "  full",
                Isolation::NoNetns => "  no-netns",
                Isolation::Process => "  process",
            };
            let cure = kernel::cure(report.level);
            checks.push(Check::weak(name, why.clone(), cure));
        }
    }
    checks.push(kernel::user_namespaces());
    checks.push(kernel::overlay());
    checks.push(match found.landlock_abi {
        0 => Check::weak(
            "landlock",
            "the kernel has none, or it is switched off",
            "Linux 5.13 or later with `landlock` in the kernel's `lsm=` list",
        ),
        abi => Check::good("landlock", format!("version {abi} of its interface")),
    });
    checks.push(match found.cgroup {
        Some(version) => Check::good("cgroups", format!("{version}: memory and processes of an action are limited")),
        None => Check::weak(
            "cgroups",
            "none that this user may write: only single processes are limited, not a whole action",
            "run under systemd with `Delegate=yes` (`systemd-run --user --scope -p Delegate=yes …`), or as root",
        ),
    });
    for warning in found.warnings {
        checks.push(Check::note("  also", warning));
    }
    Ok(checks)
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

/// What actions can see of this machine.
pub(super) fn exposed(environment: &Environment, settings: &Settings) -> Vec<Check> {
    let mut checks = Vec::new();
    let there = |paths: Vec<PathBuf>| {
        paths
            .into_iter()
            .filter(|p| p.exists())
            .map(|p| p.display().to_string())
            .collect::<Vec<_>>()
    };
    let usual = there(hands_sandbox::default_host_paths());
    checks.push(Check::note(
        "actions see",
        format!("{} and a filtered /etc, read-only", usual.join(" ")),
    ));
    let home = environment.get("HOME").map(PathBuf::from).unwrap_or_default();
    let path = environment.get("PATH").and_then(|p| p.to_str()).unwrap_or_default();
    let toolchains = hands_exec::toolchains(path, &home);
    for path in &toolchains.paths {
        checks.push(Check::note("  toolchain", path.host.display().to_string()));
    }
    for path in &settings.worker.expose {
        checks.push(if path.exists() {
            Check::note("  exposed", path.display().to_string())
        } else {
            Check::weak(
                "  exposed",
                format!("{} does not exist", path.display()),
                "correct `worker.expose` in hands.toml",
            )
        });
    }
    checks
}
