//! What keeps actions apart from this machine, and what they can see of it.

use std::path::{Path, PathBuf};

use hands_config::Environment;
use hands_sandbox::Isolation;
use hands_types::ErrorClass;

use super::{Check, kernel};
use crate::problem::Problem;

/// Which levels work, found by trying.
pub(super) fn isolation(scratch: &Path) -> Result<Vec<Check>, Problem> {
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

/// What actions can see of this machine.
pub(super) fn exposed(environment: &Environment, expose: &[PathBuf]) -> Vec<Check> {
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
    for path in hands_exec::toolchains(&home) {
        checks.push(Check::note("  toolchain", path.host.display().to_string()));
    }
    for path in expose {
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
