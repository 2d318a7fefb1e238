//! What the kernel is set to, and which knob mends what.

use std::fs;

use hands_sandbox::Isolation;

use super::Check;

fn knob(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

/// Whether user namespaces are to be had, by the kernel's own settings.
pub(super) fn user_namespaces() -> Check {
    let name = "user namespaces";
    let is = |path: &str, value: &str| knob(path).is_some_and(|v| v == value);
    if knob("/proc/sys/user/max_user_namespaces").is_none() {
        return Check::weak(name, "the kernel has none", "a kernel with CONFIG_USER_NS");
    }
    if is("/proc/sys/user/max_user_namespaces", "0") {
        return Check::weak(name, "switched off", "sysctl -w user.max_user_namespaces=10000");
    }
    if is("/proc/sys/kernel/unprivileged_userns_clone", "0") {
        return Check::weak(name, "for root only", "sysctl -w kernel.unprivileged_userns_clone=1");
    }
    if is("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1") {
        return Check::weak(
            name,
            "AppArmor allows them to listed programs only",
            "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, or an AppArmor profile for hands with `userns,`",
        );
    }
    Check::good(name, "switched on")
}

/// Whether the kernel has overlay file systems.
pub(super) fn overlay() -> Check {
    let listed =
        knob("/proc/filesystems").is_some_and(|all| all.lines().any(|l| l.ends_with("\toverlay")));
    if listed {
        Check::good("overlay", "the kernel has it")
    } else {
        Check::weak("overlay", "not loaded; inputs are copied instead", "modprobe overlay")
    }
}

/// What would make a level possible.
pub(super) fn cure(level: Isolation) -> String {
    if let Some(limit) = narrow_limit() {
        return limit;
    }
    if in_container() {
        return "this is a container that forbids it: run it with `--security-opt seccomp=unconfined \
                --security-opt apparmor=unconfined --cap-add SYS_ADMIN`, or run hands outside of it"
            .to_owned();
    }
    match level {
        Isolation::Full => {
            "allow user, mount and network namespaces to this user (see `user namespaces`)"
                .to_owned()
        }
        Isolation::NoNetns => {
            "allow user and mount namespaces to this user (see `user namespaces`)".to_owned()
        }
        Isolation::Process => {
            "see the reason; a disk that is full or read-only is the usual one".to_owned()
        }
    }
}

/// A hard limit in which little can run: the cause of a failure before any container is.
fn narrow_limit() -> Option<String> {
    const FEW_PROCESSES: u64 = 256;
    const FEW_FILES: u64 = 128;
    if let Some(most) = hands_sandbox::processes().filter(|most| *most < FEW_PROCESSES) {
        return Some(format!(
            "this user may have {most} processes in all: raise the hard limit (`ulimit -Hu`, or nproc in limits.conf)"
        ));
    }
    let most = hands_sandbox::open_files();
    (most < FEW_FILES).then(|| {
        format!("a process may have {most} open files: raise the hard limit (`ulimit -Hn`, or nofile in limits.conf)")
    })
}

/// Whether this looks like the inside of a container, by the marks that engines leave.
fn in_container() -> bool {
    let marks =
        ["/.dockerenv", "/run/.containerenv"].iter().any(|p| fs::exists(p).unwrap_or(false));
    // Bit 2 of the field is a filter: whoever has one did not get it from an ordinary login.
    let filtered = knob("/proc/self/status").is_some_and(|status| {
        status.lines().any(|l| l.strip_prefix("Seccomp:").is_some_and(|v| v.trim() == "2"))
    });
    marks || filtered
}
