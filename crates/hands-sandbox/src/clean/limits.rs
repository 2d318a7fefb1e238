//! Resource limits: as high as they may be, and which of them are low all the same.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Open files that a process of ours asks for, and no more: some programs look at each that there could be.
const FILES: u64 = 1 << 20;
/// Open files below which actions fail that would not elsewhere.
const FEW_FILES: u64 = 4096;
/// Processes of one action and of what runs it.
pub(super) const PROCESSES: u64 = 4098;
/// The kernel's own limit of a stack.
const STACK: u64 = 8 << 20;

/// Most open files of this process, the hard limit.
pub fn open_files() -> u64 {
    getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX)
}

/// Most processes of this user, the hard limit; none where there is no bound.
pub fn processes() -> Option<u64> {
    getrlimit(Resource::Nproc).maximum
}

/// Raises soft limits to the hard ones, and the hard ones too where this process has the right to. What stays low is
/// told.
pub(super) fn raise_all() -> Vec<String> {
    for resource in [
        Resource::Cpu,
        Resource::Fsize,
        Resource::Data,
        Resource::As,
        Resource::Rss,
        Resource::Nproc,
        Resource::Memlock,
        Resource::Locks,
        Resource::Sigpending,
        Resource::Msgqueue,
        Resource::Rttime,
    ] {
        raise(resource, None);
    }
    raise(Resource::Nofile, Some(FILES));
    raise(Resource::Stack, Some(STACK));
    // Nobody looks for a core in `/`.
    let core = getrlimit(Resource::Core);
    let _none = setrlimit(Resource::Core, Rlimit { current: Some(0), ..core });
    low()
}

/// To `soft`, or to no limit; the hard one is never lowered.
fn raise(resource: Resource, soft: Option<u64>) {
    let had = getrlimit(resource);
    let hard = match (had.maximum, soft) {
        (None, _) => None,
        // A hard limit above what the kernel has room for, or none at all, is refused.
        (Some(hard), Some(files)) if matches!(resource, Resource::Nofile) => Some(hard.max(files)),
        (Some(_), _) => None,
    };
    // Only the privileged may raise the hard limit.
    if setrlimit(resource, Rlimit { current: soft, maximum: hard }).is_ok() {
        return;
    }
    let most = match (had.maximum, soft) {
        (Some(hard), Some(soft)) => Some(hard.min(soft)),
        (hard, soft) => hard.or(soft),
    };
    // Within the hard limit nobody may refuse it.
    let _raised = setrlimit(resource, Rlimit { current: most, maximum: had.maximum });
}

/// Hard limits that later callers will feel.
fn low() -> Vec<String> {
    let hard = |resource| getrlimit(resource).maximum;
    let mut low = Vec::new();
    let mut tell = |limit: Option<u64>, below: u64, text: &dyn Fn(u64) -> String| {
        if let Some(limit) = limit.filter(|limit| *limit < below) {
            low.push(text(limit));
        }
    };
    let all = u64::MAX;
    tell(hard(Resource::Nofile), FEW_FILES, &|n| {
        format!("at most {n} open files a process (`ulimit -Hn`)")
    });
    tell(hard(Resource::Nproc), PROCESSES, &|n| {
        format!("at most {n} processes of this user (`ulimit -Hu`)")
    });
    tell(hard(Resource::Cpu), all, &|n| {
        format!("at most {n} s of processor time a process, its own included (`ulimit -Ht`)")
    });
    tell(hard(Resource::Fsize), all, &|n| format!("files of at most {n} bytes (`ulimit -Hf`)"));
    tell(hard(Resource::As), all, &|n| {
        format!("at most {n} bytes of address space a process (`ulimit -Hv`)")
    });
    tell(hard(Resource::Data), all, &|n| {
        format!("at most {n} bytes of data a process (`ulimit -Hd`)")
    });
    tell(hard(Resource::Stack), STACK, &|n| format!("a stack of at most {n} bytes (`ulimit -Hs`)"));
    low
}
