//! Dispositions and the mask, which survive an exec.

use hands_sandbox_child::sys::{arg, call};

const LAST: usize = 64;
const SIZE_OF_MASK: usize = 8;
const IGNORE: usize = 1;

/// A kernel's sigaction. The handler comes first everywhere; with room to spare.
type Action = [usize; 8];

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    /// Every ignored signal has its default again.
    Nothing,
    /// Ignored signals stay so, as `nohup` wants it, but for SIGCHLD: where that is ignored nobody can wait for a child.
    Ignored,
}

/// Gives back to ignored signals their default, blocks none, and ignores those that would end a server for a failed
/// write. Handlers are left alone: they are this program's own.
pub(super) fn restore(keep: Keep) {
    for signal in 1..=LAST {
        let number = i32::try_from(signal).unwrap_or(0);
        let is_ours = [libc::SIGPIPE, libc::SIGXFSZ].contains(&number);
        let is_kept = keep == Keep::Ignored && number != libc::SIGCHLD;
        if is_ours {
            set(signal, IGNORE);
        } else if !is_kept && handler(signal) == IGNORE {
            set(signal, 0);
        }
    }
    let none = 0u64;
    // SAFETY: points to a local.
    let _set = unsafe {
        let how = arg(libc::SIG_SETMASK);
        call(libc::SYS_rt_sigprocmask, how, (&raw const none) as usize, 0, SIZE_OF_MASK, 0)
    };
}

fn handler(signal: usize) -> usize {
    let mut action: Action = [0; 8];
    // By a raw call, because libc keeps its hands on two signals of its own, which others may have left ignored too.
    // SAFETY: points to a local.
    let _asked = unsafe {
        let to = action.as_mut_ptr() as usize;
        call(libc::SYS_rt_sigaction, signal, 0, to, SIZE_OF_MASK, 0)
    };
    action[0]
}

fn set(signal: usize, handler: usize) {
    let mut action: Action = [0; 8];
    action[0] = handler;
    // SAFETY: points to a local; default and ignore are no functions.
    let _set = unsafe {
        call(libc::SYS_rt_sigaction, signal, action.as_ptr() as usize, 0, SIZE_OF_MASK, 0)
    };
}
