//! A seccomp filter as an ordinary container has it: no new namespaces, no mounts. What runs under it sees the kernel
//! as a CI job in such a container does, whoever it is.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

/// `CLONE_NEW*` of every kind but time.
const NEW_NAMESPACES: u64 = 0x7e02_0000;
const EPERM: u32 = 1;
const ENOSYS: u32 = 38;

#[cfg(target_arch = "x86_64")]
mod number {
    pub(super) const CLONE: i64 = 56;
    pub(super) const DENIED: &[i64] = &[
        155, 165, 166, 272, 308, // pivot_root, mount, umount2, unshare, setns
        428, 429, 430, 431, 432, 433,
        442, // open_tree, move_mount, fsopen, fsconfig, fsmount, fspick, mount_setattr
    ];
    pub(super) const CLONE3: i64 = 435;
    pub(super) const ARCH: super::TargetArch = super::TargetArch::x86_64;
}

#[cfg(target_arch = "aarch64")]
mod number {
    pub(super) const CLONE: i64 = 220;
    pub(super) const DENIED: &[i64] = &[39, 40, 41, 97, 268, 428, 429, 430, 431, 432, 433, 442];
    pub(super) const CLONE3: i64 = 435;
    pub(super) const ARCH: super::TargetArch = super::TargetArch::aarch64;
}

/// Runs `body` on a thread that is confined for good, together with every process that it starts.
pub fn confined<T: Send>(body: impl FnOnce() -> T + Send) -> Result<T, String> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| confine().map(|()| body()));
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Confines the calling thread and all that it starts, for good.
fn confine() -> Result<(), String> {
    let mut denied: BTreeMap<i64, Vec<SeccompRule>> =
        number::DENIED.iter().map(|&nr| (nr, Vec::new())).collect();
    let clone_rules = (0..32)
        .map(|bit| 1u64 << bit)
        .filter(|flag| NEW_NAMESPACES & flag != 0)
        .map(|flag| {
            let any = SeccompCondition::new(
                0,
                SeccompCmpArgLen::Qword,
                SeccompCmpOp::MaskedEq(flag),
                flag,
            )
            .map_err(text)?;
            SeccompRule::new(vec![any]).map_err(text)
        })
        .collect::<Result<_, String>>()?;
    denied.insert(number::CLONE, clone_rules);
    apply(denied, EPERM)?;
    // Without a readable argument a filter can't judge clone3: containers answer that it does not exist.
    apply(BTreeMap::from([(number::CLONE3, Vec::new())]), ENOSYS)
}

fn apply(rules: BTreeMap<i64, Vec<SeccompRule>>, errno: u32) -> Result<(), String> {
    let filter =
        SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Errno(errno), number::ARCH);
    let program: BpfProgram = filter.map_err(text)?.try_into().map_err(text)?;
    seccompiler::apply_filter(&program).map_err(text)
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
