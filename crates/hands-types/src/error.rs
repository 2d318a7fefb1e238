//! Whose error it is, and what follows from that. One table for the whole program.

/// Whose error it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// The user's input: a command, a path, a digest, an option.
    User,
    /// The configuration: a file or variable asks for what it may not or can't be read.
    Config,
    /// The machine: a full disk, a missing program, a kernel that forbids.
    Environment,
    /// The cluster or the way to it.
    Infra {
        /// Whether the same request may succeed when it is sent again.
        retry: bool,
    },
    /// Ours. A report is welcome.
    Bug,
}

impl ErrorClass {
    /// Process exit code for commands other than `run`, `batch` and `cc`, which have their field's own.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::User | Self::Config => exit::USAGE,
            Self::Environment | Self::Infra { .. } => exit::CLUSTER,
            Self::Bug => exit::BUG,
        }
    }

    /// The numeric gRPC status code (google.rpc.Code).
    pub const fn grpc_code(self) -> i32 {
        match self {
            Self::User | Self::Config => 3,    // INVALID_ARGUMENT
            Self::Environment => 8,            // RESOURCE_EXHAUSTED
            Self::Infra { retry: true } => 14, // UNAVAILABLE
            Self::Infra { retry: false } => 9, // FAILED_PRECONDITION
            Self::Bug => 13,                   // INTERNAL
        }
    }

    /// Whether sending the same request again may help.
    pub const fn retry(self) -> bool {
        matches!(self, Self::Infra { retry: true })
    }

    /// Whose error it is, in one word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Config => "config",
            Self::Environment => "environment",
            Self::Infra { .. } => "infrastructure",
            Self::Bug => "bug",
        }
    }
}

/// Exit codes of `hands`. `run` passes its command's own through (128 + signal for a death by signal).
pub mod exit {
    /// All went well.
    pub const OK: u8 = 0;
    /// The user's work failed.
    pub const FAILED: u8 = 1;
    /// Wrong usage or configuration.
    pub const USAGE: u8 = 2;
    /// The cluster or this machine could not do it.
    pub const CLUSTER: u8 = 3;
    /// Nothing matched.
    pub const NOTHING: u8 = 4;
    /// A bug of ours.
    pub const BUG: u8 = 70;
    /// `run` and `batch`: the command was not run, for a reason of ours.
    pub const NOT_RUN: u8 = 125;
    /// The command exists but can't be executed, as a shell says it.
    pub const CANNOT_EXECUTE: u8 = 126;
    /// The command does not exist, as a shell says it.
    pub const NOT_FOUND: u8 = 127;
    /// Whoever read our standard output or error has gone, as a shell says it of a program that SIGPIPE ended.
    pub const SIGPIPE: u8 = 141;
}
