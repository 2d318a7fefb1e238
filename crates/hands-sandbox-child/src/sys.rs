//! Raw system calls: no errno, no thread-local state, no allocation.

use core::arch::asm;
use core::ffi::CStr;
use core::sync::atomic::{AtomicUsize, Ordering};

/// A kernel error number.
pub type Errno = i32;
/// What a system call returns.
pub type Res = Result<usize, Errno>;

/// The sixth argument of every call made here. The slot's seccomp filter lets mount, clone with namespaces and their
/// like through only with this value in that register, which none of these calls uses; an action cannot know it.
static KNOCK: AtomicUsize = AtomicUsize::new(0);

/// Sets the knock; called once per spawner, before its filter is installed.
pub fn set_knock(value: usize) {
    KNOCK.store(value, Ordering::Relaxed);
}

/// Calls the kernel with five arguments and the knock.
///
/// # Safety
/// As for the system call itself.
#[cfg(target_arch = "x86_64")]
pub unsafe fn call(nr: i64, a: usize, b: usize, c: usize, d: usize, e: usize) -> Res {
    let ret: isize;
    // SAFETY: the caller answers for the call; the clobbered registers are declared.
    unsafe {
        asm!("syscall", inlateout("rax") nr => ret,
            in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e,
            in("r9") KNOCK.load(Ordering::Relaxed),
            lateout("rcx") _, lateout("r11") _);
    }
    result(ret)
}

/// Calls the kernel with five arguments and the knock.
///
/// # Safety
/// As for the system call itself.
#[cfg(target_arch = "aarch64")]
pub unsafe fn call(nr: i64, a: usize, b: usize, c: usize, d: usize, e: usize) -> Res {
    let ret: isize;
    // SAFETY: the caller answers for the call; the kernel preserves all other registers.
    unsafe {
        asm!("svc 0", in("x8") nr, inlateout("x0") a => ret, in("x1") b, in("x2") c, in("x3") d, in("x4") e,
            in("x5") KNOCK.load(Ordering::Relaxed));
    }
    result(ret)
}

/// `clone` on a fresh stack: the child runs `entry(arg)` and never returns. With `CLONE_PIDFD` in `flags`, `pidfd`
/// receives the descriptor.
///
/// # Safety
/// `stack_top` is 16-byte aligned and nobody else uses the stack below it while the child lives; `pidfd` is null or
/// valid; `arg` is what `entry` expects.
#[cfg(target_arch = "x86_64")]
pub unsafe fn clone_on(
    flags: i32,
    stack_top: *mut u8,
    entry: extern "C" fn(usize) -> !,
    arg: usize,
    pidfd: *mut i32,
) -> Res {
    let ret: isize;
    // SAFETY: the two words below the stack's top belong to the child, which pops them and calls `entry`.
    unsafe {
        let sp = stack_top.cast::<usize>().sub(2);
        sp.write(arg);
        sp.add(1).write(entry as usize);
        asm!("syscall", "test rax, rax", "jnz 2f", "xor ebp, ebp", "pop rdi", "pop rax", "call rax", "ud2", "2:",
            inlateout("rax") libc::SYS_clone => ret,
            in("rdi") flags.cast_unsigned() as usize, in("rsi") sp, in("rdx") pidfd, in("r10") 0, in("r8") 0,
            in("r9") KNOCK.load(Ordering::Relaxed),
            lateout("rcx") _, lateout("r11") _);
    }
    result(ret)
}

/// `clone` on a fresh stack: the child runs `entry(arg)` and never returns. With `CLONE_PIDFD` in `flags`, `pidfd`
/// receives the descriptor.
///
/// # Safety
/// `stack_top` is 16-byte aligned and nobody else uses the stack below it while the child lives; `pidfd` is null or
/// valid; `arg` is what `entry` expects.
#[cfg(target_arch = "aarch64")]
pub unsafe fn clone_on(
    flags: i32,
    stack_top: *mut u8,
    entry: extern "C" fn(usize) -> !,
    arg: usize,
    pidfd: *mut i32,
) -> Res {
    let ret: isize;
    // SAFETY: the two words below the stack's top belong to the child, which pops them and calls `entry`.
    unsafe {
        let sp = stack_top.cast::<usize>().sub(2);
        sp.write(arg);
        sp.add(1).write(entry as usize);
        asm!("svc 0", "cbnz x0, 2f", "mov x29, xzr", "mov x30, xzr", "ldp x0, x9, [sp], #16", "blr x9", "brk #1", "2:",
            in("x8") libc::SYS_clone,
            inlateout("x0") flags.cast_unsigned() as usize => ret, in("x1") sp, in("x2") pidfd, in("x3") 0,
            in("x4") 0, in("x5") KNOCK.load(Ordering::Relaxed), lateout("x9") _, lateout("x30") _);
    }
    result(ret)
}

#[expect(clippy::cast_possible_truncation, reason = "the kernel's error numbers are below 4096")]
fn result(ret: isize) -> Res {
    if ret < 0 { Err(-ret as Errno) } else { Ok(ret.cast_unsigned()) }
}

/// Ends this process.
pub fn exit(code: i32) -> ! {
    loop {
        // SAFETY: takes no pointers and does not return.
        let _never =
            unsafe { call(libc::SYS_exit_group, code.cast_unsigned() as usize, 0, 0, 0, 0) };
    }
}

/// `mount(2)`; an empty string is passed as NULL.
pub fn mount(source: &CStr, target: &CStr, kind: &CStr, flags: u64, data: &CStr) -> Res {
    let pointer = |s: &CStr| if s.is_empty() { 0 } else { s.as_ptr() as usize };
    // SAFETY: the strings outlive the call.
    unsafe {
        call(
            libc::SYS_mount,
            pointer(source),
            pointer(target),
            pointer(kind),
            usize::try_from(flags).unwrap_or(0),
            pointer(data),
        )
    }
}

/// Closes a descriptor.
pub fn close(fd: i32) {
    // SAFETY: the caller owns the descriptor.
    let _closed = unsafe { call(libc::SYS_close, arg(fd), 0, 0, 0, 0) };
}

/// A descriptor or another signed number as a system call's argument.
pub const fn arg(value: i32) -> usize {
    value.cast_unsigned() as usize
}

/// `AT_FDCWD` as a system call's argument.
pub const HERE: usize = arg(libc::AT_FDCWD);

/// The monotonic clock, microseconds.
pub fn micros() -> u64 {
    let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the vDSO writes to a local.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut t) };
    t.tv_sec.cast_unsigned() * 1_000_000 + t.tv_nsec.cast_unsigned() / 1000
}
