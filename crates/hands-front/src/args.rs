//! The flags that every front-end has, as clap reads them. What a flag means to the cluster is decided in `spec.rs`; here
//! stand only words, forms and help.

pub mod value;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum, ValueHint};

use hands_types::{Network, Privilege};
use value::{Cpus, EnvItem, KeyValue, MemorySize};

/// Flags that every subcommand has.
#[derive(Args, Clone, Debug, Default)]
pub struct GlobalArgs {
    /// Use this cluster: a name from hands.toml, unix:PATH or HOST:PORT
    #[arg(long, global = true, value_name = "CLUSTER", help_heading = "Global options")]
    pub cluster: Option<String>,
    /// Use another Remote Execution engine: grpc://HOST:PORT or grpcs://HOST:PORT
    #[arg(
        long,
        global = true,
        conflicts_with = "cluster",
        value_name = "URL",
        help_heading = "Global options"
    )]
    pub engine: Option<String>,
    /// Use this machine's own agent, whatever is configured
    #[arg(long, global = true, conflicts_with_all = ["cluster", "engine"], help_heading = "Global options")]
    pub local: bool,
    /// Say less: errors only
    #[arg(short, long, global = true, conflicts_with = "verbose", help_heading = "Global options")]
    pub quiet: bool,
    /// Say more; twice for still more
    #[arg(short, long, global = true, action = clap::ArgAction::Count, help_heading = "Global options")]
    pub verbose: u8,
    /// Colour: auto (on a terminal, unless NO_COLOR is set), always or never
    #[arg(
        long,
        global = true,
        hide_possible_values = true,
        value_name = "WHEN",
        default_value = "auto",
        hide_default_value = true,
        help_heading = "Global options"
    )]
    pub color: ColorWhen,
}

/// When output is coloured.
#[derive(ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ColorWhen {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Also into a pipe.
    Always,
    /// Nowhere.
    Never,
}

/// What an action needs: the flags that `run`, `batch` and `shell` share.
#[derive(Args, Clone, Debug, Default)]
pub struct ActionArgs {
    /// Send this file or directory, to the same relative path [repeatable]
    #[arg(short = 'I', long, value_name = "PATH", value_hint = ValueHint::AnyPath, help_heading = "Files")]
    pub input: Vec<PathBuf>,
    /// Bring this file or directory back; of a glob, what matches, one at least [repeatable]
    #[arg(short, long, value_name = "PATH", help_heading = "Files")]
    pub output: Vec<String>,
    /// Run in the same absolute directory as here
    #[arg(long, help_heading = "Files")]
    pub same_path: bool,

    /// Use a container image as its root, in place of the worker's files: oci:DIR[:NAME] or docker-archive:FILE[:NAME]. Its
    /// variables and working directory count; its entrypoint counts where `run` is given no command, and its user never
    #[arg(long, value_name = "IMAGE", help_heading = "What it sees")]
    pub image: Option<String>,
    /// Show it a tree of the cluster's store at this absolute path, or as its whole root in place of the worker's files; of
    /// several for the root the topmost first. A tree is its digest, or the name that `hands store pin` gave it [repeatable]
    #[arg(long, value_name = "[PATH=]TREE[,TREE]", help_heading = "What it sees")]
    pub layer: Vec<String>,
    /// Set a variable, or with no value copy it from here [repeatable]
    #[arg(short, long, value_name = "K[=V]", help_heading = "What it sees")]
    pub env: Vec<EnvItem>,
    /// Network: none, loopback (its own; the default) or host (the worker's)
    #[arg(
        long,
        value_name = "NET",
        value_parser = value::word::<Network>(),
        hide_possible_values = true,
        help_heading = "What it sees"
    )]
    pub network: Option<Network>,
    /// userns: let it make sandboxes of its own, as browsers and container tools do
    #[arg(
        long,
        value_name = "WHAT",
        value_parser = value::word::<Privilege>(),
        hide_possible_values = true,
        help_heading = "What it sees"
    )]
    pub privilege: Option<Privilege>,

    /// Only workers with this tag [repeatable]
    #[arg(short, long, value_name = "TAG", help_heading = "Where it runs")]
    pub tag: Vec<String>,
    /// Only workers of this operating system
    #[arg(long, value_name = "OS", help_heading = "Where it runs")]
    pub os: Option<String>,
    /// Only workers of this instruction set
    #[arg(long, value_name = "ARCH", help_heading = "Where it runs")]
    pub arch: Option<String>,
    /// Cpus to reserve [default: 1]
    #[arg(long, value_name = "N", help_heading = "Where it runs")]
    pub cpu: Option<Cpus>,
    /// Memory to reserve and never to exceed, such as 512M or 4G [least: 4M]
    #[arg(long, value_name = "SIZE", help_heading = "Where it runs")]
    pub memory: Option<MemorySize>,
    /// Any other platform property that a worker must offer [repeatable]
    #[arg(long, value_name = "K=V", help_heading = "Where it runs")]
    pub prop: Vec<KeyValue>,

    /// End it after this long, such as 90s, 5m or 1h30m [default: no limit]
    #[arg(long, value_name = "TIME", value_parser = value::timeout, help_heading = "When and how often")]
    pub timeout: Option<Duration>,
    /// Give up when there has been no worker that could take it for this long [default: 10m; what this machine alone can't take is refused at once]
    #[arg(long, value_name = "TIME", value_parser = value::timeout, help_heading = "When and how often")]
    pub queue_timeout: Option<Duration>,
    /// Lower numbers run first; may be negative
    #[arg(
        long,
        value_name = "N",
        default_value_t = 0,
        hide_default_value = true,
        allow_negative_numbers = true,
        value_parser = value::whole::<i32>,
        help_heading = "When and how often"
    )]
    pub priority: i32,
    /// Run it again, up to N times, if its worker is lost midway; 0 is never, more than 2 is 2 [default: 2, or 0
    /// with --network host, --tty or --stdin, for it may have had effects]
    #[arg(
        long,
        value_name = "N",
        allow_negative_numbers = true,
        value_parser = value::whole::<u32>,
        help_heading = "When and how often"
    )]
    pub retry: Option<u32>,
    /// Take the result from the cache if it is there, and keep it there;
    /// inputs then all have one fixed modification time
    #[arg(long, help_heading = "When and how often")]
    pub cache: bool,
}
