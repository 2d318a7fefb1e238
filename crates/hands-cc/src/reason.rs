//! Why a command is run by its own compiler, here.

use std::fmt;

/// A code that scripts can count by, and what in particular it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// A word of lower-case letters and hyphens; `docs/cc.md` lists them.
    pub code: &'static str,
    /// A flag, a file, or somebody's words; may be empty.
    pub detail: String,
}

impl Reason {
    /// All codes.
    pub const CODES: &[&str] = &[
        "agent",
        "assembler-include",
        "cluster",
        "compiler-in-tree",
        "dependencies",
        "directory",
        "embed",
        "engine",
        "environment",
        "failed",
        "flag",
        "has-include",
        "hidden-place",
        "incbin",
        "incomplete",
        "input-changed",
        "inside",
        "language",
        "link",
        "locale",
        "no-agent",
        "no-compile",
        "no-compiler",
        "no-source",
        "not-utf-8",
        "other-view",
        "output",
        "pch",
        "pragma-once",
        "response-file",
        "several-sources",
        "standard-input",
        "time",
        "toolchain",
        "unknown-compiler",
        "unknown-flag",
        "worker",
        "wrapper",
    ];

    /// A reason about something in particular.
    pub fn new(code: &'static str, detail: impl fmt::Display) -> Self {
        Self { code, detail: detail.to_string() }
    }

    /// A reason that needs no detail.
    pub const fn plain(code: &'static str) -> Self {
        Self { code, detail: String::new() }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.detail.as_str() {
            "" => f.write_str(self.code),
            detail => write!(f, "{}: {}", self.code, detail.escape_debug()),
        }
    }
}
