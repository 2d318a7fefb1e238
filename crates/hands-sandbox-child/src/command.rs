//! Becomes the action's command.

use core::ffi::{CStr, c_char};

use crate::job::{Job, step, text};
use crate::landlock;
use crate::sys::{self, HERE, Res, arg, call, clone_on};

const CAPABILITY_VERSION_3: u32 = 0x2008_0522;
const CLOSE_RANGE_CLOEXEC: usize = 4;
/// The out-of-memory score of a command.
pub const VICTIM: &CStr = c"800";
const TIOCSCTTY: usize = 0x540E;

/// Starts the command in a process of its own; returns its id when it has execed or failed. `flags` beside
/// `CLONE_VM | CLONE_VFORK | SIGCHLD`; with `CLONE_PIDFD`, `pidfd` receives the descriptor.
///
/// # Safety
/// The job is complete, as [`Job`] says, and its command stack is free.
pub unsafe fn start_command(job: *mut Job, flags: i32, pidfd: *mut i32) -> Res {
    let flags = flags | libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    // SAFETY: as the caller says; `command` takes a job's address.
    unsafe { clone_on(flags, (*job).command_stack.0, command, job as usize, pidfd) }
}

/// Makes the caller a better victim of the out-of-memory killer than the spawner is. Between vfork and exec a process has
/// memory with others and a score of its own; a score that is set at any other time is set for all who share the memory.
unsafe fn become_victim() {
    let dumpable = arg(libc::PR_SET_DUMPABLE);
    let (file, flags) = (c"/proc/self/oom_score_adj", arg(libc::O_WRONLY | libc::O_CLOEXEC));
    // A refusal leaves the kernel's own choice of victim, which is no reason to fail.
    // SAFETY: literals and their length. No action lives that could look into this memory while it is dumpable, and of
    // processes that are not, /proc's files belong to the machine's root.
    unsafe {
        let _dumpable = call(libc::SYS_prctl, dumpable, 1, 0, 0, 0);
        if let Ok(file) = call(libc::SYS_openat, HERE, file.as_ptr() as usize, flags, 0, 0) {
            let (text, length) = (VICTIM.as_ptr() as usize, VICTIM.to_bytes().len());
            let _set = call(libc::SYS_write, file, text, length, 0, 0);
            let _closed = call(libc::SYS_close, file, 0, 0, 0, 0);
        }
        let _hidden = call(libc::SYS_prctl, dumpable, 0, 0, 0, 0);
    }
}

macro_rules! must {
    ($job:expr, $step:expr, $result:expr) => {
        match $result {
            Ok(value) => value,
            Err(errno) => $job.fail($step, errno),
        }
    };
}

/// Own descriptor table, memory still the spawner's until exec; the parent waits.
extern "C" fn command(address: usize) -> ! {
    // SAFETY: `start_command` was given a valid job, and its caller is suspended.
    let job = unsafe { &mut *(address as *mut Job) };
    // SAFETY: all pointers are the job's or locals.
    unsafe {
        for (target, &fd) in job.stdio.iter().enumerate() {
            must!(job, step::STDIO, call(libc::SYS_dup3, arg(fd), target, 0, 0, 0));
        }
        must!(job, step::STDIO, call(libc::SYS_setsid, 0, 0, 0, 0, 0));
        if job.tty {
            must!(job, step::STDIO, call(libc::SYS_ioctl, 0, TIOCSCTTY, 0, 0, 0));
        }
        // Undoes the spawner's own pinning; a processor that has gone away since is no reason to fail.
        let cpus = (&raw const job.slot.cpus) as usize;
        let _pinned =
            call(libc::SYS_sched_setaffinity, 0, size_of::<libc::cpu_set_t>(), cpus, 0, 0);
        must!(job, step::CWD, call(libc::SYS_chdir, job.cwd as usize, 0, 0, 0, 0));
        become_victim();
        restrict(job);
        job.report.marks[2] = sys::micros();
        let errno = execute(job);
        job.fail(step::EXECUTE, errno)
    }
}

/// Takes away all that the command must not have. The order matters: limits while there is still the right to raise
/// them, ids before capabilities, the parent's death signal after the ids (whose change clears it), landlock last.
unsafe fn restrict(job: &mut Job) {
    // SAFETY: all pointers are the job's or locals.
    unsafe {
        if let Some(id) = job.slot.identity {
            let id = id as usize;
            must!(job, step::RESTRICT, call(libc::SYS_setresgid, id, id, id, 0, 0));
        }
        for limit in job.rlimits {
            if limit.resource != u32::MAX {
                let values = limit.values.as_ptr() as usize;
                must!(
                    job,
                    step::RESTRICT,
                    call(libc::SYS_prlimit64, 0, limit.resource as usize, values, 0, 0)
                );
            }
        }
        if let Some(id) = job.slot.identity {
            let id = id as usize;
            must!(job, step::RESTRICT, call(libc::SYS_setresuid, id, id, id, 0, 0));
        }
        let header = [CAPABILITY_VERSION_3, 0];
        let none = [0u32; 6];
        let capset =
            call(libc::SYS_capset, header.as_ptr() as usize, none.as_ptr() as usize, 0, 0, 0);
        must!(job, step::RESTRICT, capset);
        let death = call(libc::SYS_prctl, arg(libc::PR_SET_PDEATHSIG), arg(libc::SIGKILL), 0, 0, 0);
        must!(job, step::RESTRICT, death);
        must!(job, step::RESTRICT, landlock::restrict(job));
        let rest = call(libc::SYS_close_range, 3, u32::MAX as usize, CLOSE_RANGE_CLOEXEC, 0, 0);
        must!(
            job,
            step::RESTRICT,
            rest.or_else(|e| if e == libc::EINVAL { Ok(0) } else { Err(e) })
        );
    }
}

/// Tries the candidates in turn, as a shell does; returns only when none can be executed.
unsafe fn execute(job: &Job) -> sys::Errno {
    let mut found = libc::ENOENT;
    let mut next = job.candidates;
    // SAFETY: the list ends with null; argv and environment are complete.
    unsafe {
        while !(*next).is_null() {
            let program = *next;
            let (argv, envp) = (job.argv as usize, job.envp as usize);
            match call(libc::SYS_execve, program as usize, argv, envp, 0, 0) {
                Ok(_) => {}
                Err(libc::ENOEXEC) => return interpret(job, program),
                Err(errno @ (libc::ENOENT | libc::ENOTDIR)) => {
                    // A file whose interpreter is missing is ENOENT too, and there the search ends as in a shell.
                    if exists(program) {
                        return errno;
                    }
                }
                Err(libc::EACCES) => found = libc::EACCES,
                Err(errno) => return errno,
            }
            next = next.add(1);
        }
    }
    found
}

/// A script without `#!` goes to the shell, as POSIX has it for execvp. A first line with a NUL means that it is no
/// text but, say, a program for another machine.
unsafe fn interpret(job: &Job, program: *const c_char) -> sys::Errno {
    // SAFETY: `shell_argv` has a place for the program after the shell's own name; the rest are locals.
    unsafe {
        let mut start = [0u8; 80];
        let flags = arg(libc::O_RDONLY | libc::O_CLOEXEC);
        let Ok(fd) = call(libc::SYS_openat, HERE, program as usize, flags, 0, 0) else {
            return libc::ENOEXEC;
        };
        let length =
            call(libc::SYS_read, fd, start.as_mut_ptr() as usize, start.len(), 0, 0).unwrap_or(0);
        let first_line = start.iter().take(length).take_while(|&&byte| byte != b'\n');
        if first_line.clone().any(|&byte| byte == 0) {
            return libc::ENOEXEC;
        }
        *job.shell_argv.add(1) = program;
        let shell = *job.shell_argv;
        match call(
            libc::SYS_execve,
            shell as usize,
            job.shell_argv as usize,
            job.envp as usize,
            0,
            0,
        ) {
            Ok(_) => 0,
            Err(_) => libc::ENOEXEC,
        }
    }
}

unsafe fn exists(program: *const c_char) -> bool {
    // SAFETY: a string of the job.
    unsafe { call(libc::SYS_faccessat, HERE, text(program).as_ptr() as usize, 0, 0, 0) }.is_ok()
}
