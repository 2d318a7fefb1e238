//! What a graph is told once.

use std::num::NonZeroUsize;

/// How a graph behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GraphConfig {
    /// Most jobs that are out at once. None where whoever takes them has a queue of its own.
    pub limit: Option<NonZeroUsize>,
    /// What a failure means for jobs that do not depend on it.
    pub on_failure: OnFailure,
}

/// What a failure means for jobs that do not depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFailure {
    /// They go on.
    KeepGoing,
    /// Those that are out are cancelled, all others are skipped.
    Stop,
}
