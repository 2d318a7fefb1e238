//! Machines that are not like this one: an ordinary container, where namespaces and mounts are forbidden; a home
//! directory on an overlay.

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use hands_sandbox::{Isolation, Probe};

use crate::harness::Tally;
use crate::{ORDINARY_USER, again, all_levels, as_ordinary_user, give_to_user};

/// What a probe must find on these machines.
pub(crate) fn expect(found: &Probe, who: &str, tally: &mut Tally) {
    if who.contains("container") {
        let best = found.best() == Some(Isolation::Process);
        tally.check(&format!("{who} finds process alone"), best, format!("{found:?}"));
        let reasons = found
            .levels
            .iter()
            .filter_map(|l| l.failure.as_ref())
            .all(|why| why.contains("not permitted"));
        tally.check(&format!("{who} says why"), reasons, format!("{found:?}"));
    }
    if who == "root on an overlay" {
        let warned = found.warnings.iter().any(|w| w.contains("idmapped"));
        tally.check(
            "root on an overlay is told that inputs are copied",
            warned,
            format!("{found:?}"),
        );
    }
}

/// As root whose home nobody else can enter.
pub(crate) fn private(place: &Path) -> bool {
    std::fs::create_dir(place).expect("a directory for the test");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    std::fs::set_permissions(place, mode).expect("its mode");
    all_levels(&place.join("own"), "root in a private place")
}

pub(crate) fn containers(place: &Path) -> bool {
    let root = container(&place.join("container"), "root");
    let user = place.join("container-user");
    let program = give_to_user(&user);
    let mut command = again(&program, &user.join("own"), "user in a container");
    command.uid(ORDINARY_USER).gid(ORDINARY_USER).current_dir(&user);
    root & forbid(&mut command).status().expect("a container").success()
}

pub(crate) fn container(place: &Path, who: &str) -> bool {
    let mut command = again(Path::new("/proc/self/exe"), place, &format!("{who} in a container"));
    forbid(&mut command).status().expect("a container").success()
}

/// What an ordinary container's filter does: no namespaces, no mounts, no clone3.
fn forbid(command: &mut Command) -> &mut Command {
    use libc::{BPF_ABS, BPF_JEQ, BPF_JMP, BPF_JSET, BPF_K, BPF_LD, BPF_RET, BPF_W};
    let word = |code: u32, k: u32, jt: u8, jf: u8| libc::sock_filter {
        code: u16::try_from(code).expect("a BPF code"),
        jt,
        jf,
        k,
    };
    let errno = |e: i32| word(BPF_RET | BPF_K, 0x0005_0000 | e.cast_unsigned(), 0, 0);
    let is = |nr: libc::c_long, skip| {
        word(BPF_JMP | BPF_JEQ | BPF_K, u32::try_from(nr).expect("a call"), 0, skip)
    };
    let mut filter = vec![word(BPF_LD | BPF_W | BPF_ABS, 0, 0, 0)];
    let denied = [
        libc::SYS_unshare,
        libc::SYS_setns,
        libc::SYS_mount,
        libc::SYS_umount2,
        libc::SYS_pivot_root,
        libc::SYS_open_tree,
        libc::SYS_move_mount,
        libc::SYS_fsopen,
        libc::SYS_mount_setattr,
    ];
    for nr in denied {
        filter.extend([is(nr, 1), errno(libc::EPERM)]);
    }
    filter.extend([is(libc::SYS_clone3, 1), errno(libc::ENOSYS)]);
    filter.extend([is(libc::SYS_clone, 3), word(BPF_LD | BPF_W | BPF_ABS, 16, 0, 0)]);
    // Every namespace's flag; the kernel's own list is in clone(2).
    filter.extend([word(BPF_JMP | BPF_JSET | BPF_K, 0x7E02_0000, 0, 1), errno(libc::EPERM)]);
    filter.push(word(BPF_RET | BPF_K, 0x7fff_0000, 0, 0));
    let install = move || {
        let program = libc::sock_fprog {
            len: u16::try_from(filter.len()).expect("a short program"),
            filter: filter.as_ptr().cast_mut(),
        };
        // SAFETY: after fork, plain calls; the program lives through them.
        let done = unsafe {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
            libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program)
        };
        if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    };
    // SAFETY: `install` allocates nothing.
    unsafe { command.pre_exec(install) }
}

/// Runs all levels with everything of ours on an overlay. Only for root.
pub(crate) fn overlay(place: &Path) -> bool {
    std::fs::create_dir(place).expect("a directory for the overlay");
    let mut command = Command::new("/proc/self/exe");
    command.arg("on-overlay").arg(place).status().expect("the test on an overlay").success()
}

/// In a process of its own, whose mounts go with it.
pub(crate) fn on_overlay(place: &Path) -> bool {
    for name in ["lower", "upper", "work", "merged"] {
        std::fs::create_dir(place.join(name)).expect("the overlay's directories");
    }
    let text = |s: &[u8]| CString::new(s).expect("no NUL");
    let at = place.as_os_str().as_bytes();
    let options =
        [b"lowerdir=", at, b"/lower,upperdir=", at, b"/upper,workdir=", at, b"/work"].concat();
    let (options, merged) = (text(&options), text(place.join("merged").as_os_str().as_bytes()));
    // SAFETY: strings outlive the calls; this process has one thread.
    let mounted = unsafe {
        let none = std::ptr::null();
        libc::unshare(libc::CLONE_NEWNS) == 0
            && libc::mount(none, c"/".as_ptr(), none, libc::MS_REC | libc::MS_PRIVATE, none.cast())
                == 0
            && libc::mount(
                c"o".as_ptr(),
                merged.as_ptr(),
                c"overlay".as_ptr(),
                0,
                options.as_ptr().cast(),
            ) == 0
    };
    assert!(mounted, "an overlay: {}", io::Error::last_os_error());
    let merged = place.join("merged");
    all_levels(&merged.join("own"), "root on an overlay")
        & as_ordinary_user(&merged.join("user"), "user on an overlay")
}
