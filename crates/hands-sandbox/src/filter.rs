//! The seccomp filter, installed once per slot and inherited by every action. Building and installing one costs 0.1 to
//! 0.5 ms (the kernel runs it for every call number to fill its verdict cache), inheriting it nothing.

use hands_sandbox_child::sys::{self, Res, arg};
use libc::*;

const ALLOW: u32 = 0x7fff_0000;
const KILL: u32 = 0x8000_0000;
const fn deny(errno: i32) -> u32 {
    0x0005_0000 | errno.cast_unsigned()
}
const NR: u32 = 0;
const ARCH: u32 = 4;
const fn low(argument: u32) -> u32 {
    16 + 8 * argument
}
const fn high(argument: u32) -> u32 {
    20 + 8 * argument
}
const CLONE_NEWTIME: i32 = 0x80;
const NEW_NAMESPACES: u32 = (CLONE_NEWUSER
    | CLONE_NEWPID
    | CLONE_NEWNS
    | CLONE_NEWNET
    | CLONE_NEWIPC
    | CLONE_NEWUTS
    | CLONE_NEWCGROUP
    | CLONE_NEWTIME)
    .cast_unsigned();

#[cfg(target_arch = "x86_64")]
const AUDIT_ARCH: u32 = 0xC000_003E;
#[cfg(target_arch = "aarch64")]
const AUDIT_ARCH: u32 = 0xC000_00B7;

/// Never needed by the spawner either.
const DENIED: &[c_long] = &[
    SYS_keyctl,
    SYS_add_key,
    SYS_request_key,
    SYS_bpf,
    SYS_perf_event_open,
    SYS_userfaultfd,
    SYS_kexec_load,
    SYS_kexec_file_load,
    SYS_init_module,
    SYS_finit_module,
    SYS_delete_module,
    SYS_reboot,
    SYS_swapon,
    SYS_swapoff,
    SYS_acct,
    SYS_quotactl,
    SYS_quotactl_fd,
    SYS_open_by_handle_at,
    SYS_settimeofday,
    SYS_clock_settime,
    SYS_adjtimex,
    SYS_clock_adjtime,
    SYS_syslog,
    SYS_vhangup,
    SYS_fanotify_init,
    SYS_io_uring_setup,
    SYS_io_uring_enter,
    SYS_io_uring_register,
    #[cfg(target_arch = "x86_64")]
    SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    SYS_ioperm,
];
/// Denied unless actions may create namespaces; the spawner has done with them before the filter is there.
const DENIED_OUTSIDE_NAMESPACES: &[c_long] =
    &[SYS_setns, SYS_unshare, SYS_chroot, SYS_sethostname, SYS_setdomainname];
/// The spawner's own tools: they need the knock.
const KNOCKED: &[c_long] = &[
    SYS_mount,
    SYS_umount2,
    SYS_pivot_root,
    SYS_fsopen,
    SYS_fsconfig,
    SYS_fsmount,
    SYS_fspick,
    SYS_move_mount,
    SYS_open_tree,
    SYS_mount_setattr,
];

fn statement(code: u32, k: u32) -> sock_filter {
    jump(code, k, 0, 0)
}
#[expect(clippy::cast_possible_truncation, reason = "BPF's operation codes fit 16 bits")]
fn jump(code: u32, k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter { code: code as u16, jt, jf, k }
}
fn load(at: u32) -> sock_filter {
    statement(BPF_LD | BPF_W | BPF_ABS, at)
}
fn answer(verdict: u32) -> sock_filter {
    statement(BPF_RET | BPF_K, verdict)
}
fn is(k: u32, skip_unless: u8) -> sock_filter {
    jump(BPF_JMP | BPF_JEQ | BPF_K, k, 0, skip_unless)
}
fn is_call(nr: c_long, skip_unless: u8) -> sock_filter {
    is(u32::try_from(nr).unwrap_or(u32::MAX), skip_unless)
}

/// Six instructions: allow with the knock, else `otherwise`.
fn knock(knock: u64, otherwise: u32) -> [sock_filter; 6] {
    let [k0, k1, k2, k3, k4, k5, k6, k7] = knock.to_le_bytes();
    let (lower, upper) =
        (u32::from_le_bytes([k0, k1, k2, k3]), u32::from_le_bytes([k4, k5, k6, k7]));
    [load(low(5)), is(lower, 3), load(high(5)), is(upper, 1), answer(ALLOW), answer(otherwise)]
}

/// The program. `namespaces` allows actions to create user namespaces and what goes with them.
fn program(secret: u64, namespaces: bool) -> Vec<sock_filter> {
    // Other architectures' calls have other numbers, which this filter does not know.
    let mut f = vec![
        load(ARCH),
        is(AUDIT_ARCH, 1),
        jump(BPF_JMP | BPF_JA, 1, 0, 0),
        answer(KILL),
        load(NR),
    ];
    #[cfg(target_arch = "x86_64")] // and so do x32's
    f.extend([jump(BPF_JMP | BPF_JGE | BPF_K, 0x4000_0000, 0, 1), answer(KILL)]);
    for &nr in DENIED {
        f.extend([is_call(nr, 1), answer(deny(EPERM))]);
    }
    if !namespaces {
        for &nr in DENIED_OUTSIDE_NAMESPACES {
            f.extend([is_call(nr, 1), answer(deny(EPERM))]);
        }
        for &nr in KNOCKED {
            f.push(is_call(nr, 6));
            f.extend(knock(secret, deny(EPERM)));
        }
        // Its flags are in memory, where a filter can't look; libc falls back to clone.
        f.push(is_call(SYS_clone3, 6));
        f.extend(knock(secret, deny(ENOSYS)));
        f.push(is_call(SYS_clone, 9));
        f.extend([
            load(low(0)),
            jump(BPF_JMP | BPF_JSET | BPF_K, NEW_NAMESPACES, 1, 0),
            answer(ALLOW),
        ]);
        f.extend(knock(secret, deny(EPERM)));
    }
    // AF_VSOCK reaches the hypervisor and knows no network namespace; the rest is attack surface.
    f.push(is_call(SYS_socket, 7));
    f.push(load(low(0)));
    for (left, family) in (1..=4).rev().zip([AF_UNIX, AF_INET, AF_INET6, AF_NETLINK]) {
        f.push(jump(BPF_JMP | BPF_JEQ | BPF_K, family.cast_unsigned(), left, 0));
    }
    f.extend([answer(deny(EAFNOSUPPORT)), answer(ALLOW)]);
    // Typing into somebody's terminal.
    for request in [0x5412 /* TIOCSTI */, 0x541C /* TIOCLINUX */] {
        f.extend([
            is_call(SYS_ioctl, 3),
            load(low(1)),
            is(request, 1),
            answer(deny(EPERM)),
            load(NR),
        ]);
    }
    f.push(answer(ALLOW));
    f
}

/// Sets a random knock and installs the filter on this process for good. Needs no-new-privs.
pub(crate) fn install(namespaces: bool) -> Res {
    let mut random = [0u8; 8];
    rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())
        .map_err(|e| e.raw_os_error())?;
    // Never zero, and never a number that a program passes by chance.
    let secret = u64::from_ne_bytes(random) | 1 << 63;
    sys::set_knock(usize::try_from(secret).unwrap_or(usize::MAX));
    let program = program(secret, namespaces);
    let length = u16::try_from(program.len()).map_err(|_| E2BIG)?;
    let filter = sock_fprog { len: length, filter: program.as_ptr().cast_mut() };
    // SAFETY: the program lives through the call; the kernel copies it.
    unsafe {
        let mode = SECCOMP_SET_MODE_FILTER as usize;
        sys::call(SYS_seccomp, mode, 0, (&raw const filter) as usize, arg(0), 0)
    }
}
