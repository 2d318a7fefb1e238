//! The flags of every front-end in this crate, as clap reads them. What a flag means to the cluster is decided in
//! `spec.rs`; here stand only words, forms and help.

pub mod value;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum, ValueHint};

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

/// What an action may reach.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// No network at all, not even a loopback.
    None,
    /// A loopback of its own and nothing else.
    Loopback,
    /// The worker's own network.
    Host,
}

impl Network {
    /// The property's value.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Loopback => "loopback",
            Self::Host => "host",
        }
    }
}

/// What an action may do that others may not.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Privilege {
    /// Make user namespaces, and mount inside of them: what programs need that build sandboxes of their own.
    Userns,
}

impl Privilege {
    /// The property's value.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Userns => "userns",
        }
    }
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

    /// Set a variable, or with no value copy it from here [repeatable]
    #[arg(short, long, value_name = "K[=V]", help_heading = "What it sees")]
    pub env: Vec<EnvItem>,
    /// Network: none, loopback (its own; the default) or host (the worker's)
    #[arg(long, value_name = "NET", hide_possible_values = true, help_heading = "What it sees")]
    pub network: Option<Network>,
    /// userns: let it make sandboxes of its own, as browsers and container tools do
    #[arg(long, value_name = "WHAT", hide_possible_values = true, help_heading = "What it sees")]
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
    /// Give up when no worker has taken it after this long
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

/// Runs one command on the cluster.
#[derive(Args, Clone, Debug)]
#[command(after_help = RUN_EXAMPLES)]
pub struct RunArgs {
    #[command(flatten)]
    #[expect(missing_docs, reason = "a group of flags")]
    pub action: ActionArgs,
    /// Use a container image as its root, in place of the worker's files: oci:DIR[:NAME] or docker-archive:FILE[:NAME]
    #[arg(long, value_name = "IMAGE", help_heading = "What it sees")]
    pub image: Option<String>,
    /// Send our standard input along, live; otherwise it is empty
    #[arg(short = 'i', long, help_heading = "Interaction")]
    pub stdin: bool,
    /// Give it a terminal; `~.` at the start of a line ends a dead session
    #[arg(long, conflicts_with_all = ["json", "cache", "detach"], help_heading = "Interaction")]
    pub tty: bool,
    /// Print its id and leave; `hands wait ID` brings the result back
    #[arg(short, long, conflicts_with = "stdin", help_heading = "Interaction")]
    pub detach: bool,
    /// Print one JSON object with result and streams, instead of the streams
    #[arg(long, help_heading = "Interaction")]
    pub json: bool,
    /// Write when it was waiting for what, for chrome://tracing or Perfetto
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Interaction")]
    pub trace: Option<PathBuf>,
    /// The command and its arguments; `-` reads a script from standard input
    #[arg(
        required = true,
        trailing_var_arg = true,
        value_name = "CMD",
        value_hint = ValueHint::CommandWithArguments
    )]
    pub command: Vec<OsString>,
}

const RUN_EXAMPLES: &str = "\
Examples:
  hands run -- uname -a
  hands run --input . --output app -- cc -o app main.c
  hands run --tty -- bash
  echo 'make check' | hands run --input . -

Of a directory that is an input, `.git` and what a .gitignore, .ignore or
.handsignore names stay here, unless an --input of their own names them, as in
`--input . --input build`.
An output directory is laid over the one that is here.";

/// Runs many commands on the cluster.
#[derive(Args, Clone, Debug)]
#[command(after_help = BATCH_EXAMPLES, override_usage = "hands batch [OPTIONS] FILE|-\n       hands batch [OPTIONS] -- CMD [{}]... ::: ARG...")]
pub struct BatchArgs {
    #[command(flatten)]
    #[expect(missing_docs, reason = "a group of flags")]
    pub action: ActionArgs,
    /// Commands that are submitted and not ended at once [default: all of them; 32 on another engine]
    #[arg(short, long, value_name = "N", value_parser = value::at_least_one, help_heading = "Batch")]
    pub jobs: Option<usize>,
    /// Run all commands, whatever fails [default]
    #[arg(long, conflicts_with = "fail_fast", help_heading = "Batch")]
    pub keep_going: bool,
    /// Start nothing more after the first failure, and cancel what runs
    #[arg(long, help_heading = "Batch")]
    pub fail_fast: bool,
    /// Write a line for each finished command, in GNU parallel's columns
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Batch")]
    pub joblog: Option<PathBuf>,
    /// Do not run again what the job log says has finished
    #[arg(long, requires = "joblog", help_heading = "Batch")]
    pub resume: bool,
    /// Print one JSON object per command, instead of its output
    #[arg(long, help_heading = "Batch")]
    pub json: bool,
    /// Write when it was waiting for what, for chrome://tracing or Perfetto
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Batch")]
    pub trace: Option<PathBuf>,
    /// File of commands, one a line, or JSON objects; `-` is standard input
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath, required_unless_present = "command")]
    pub file: Option<PathBuf>,
    /// Words that a forgotten `--` leaves here; told apart to say so.
    #[arg(hide = true)]
    pub stray: Vec<OsString>,
    /// A command; {} {.} {/} {//} {/.} {#} stand for each argument after `:::`
    #[arg(last = true, value_name = "CMD", conflicts_with = "file")]
    pub command: Vec<OsString>,
}

const BATCH_EXAMPLES: &str = "\
Examples:
  hands batch commands.txt
  hands batch --jobs 8 --joblog log.tsv --resume commands.txt
  hands batch --input src -- wc -l {} ::: src/a.c src/b.c
  hands batch -- echo {1} {2} ::: a b ::: x y

A line is a shell command; an empty line or one that begins with `#` is
skipped. A line that begins with `{` is a JSON object: {\"argv\": [..]} or
{\"command\": \"..\"}, and any of id, input, output, env, timeout, tag, network,
cpu, memory, priority, retry, cache.

A template of one word, or with an operator of the shell among its words, is a
shell command, in which arguments are quoted; any other is run word by word.
Without `:::` the arguments are the lines of standard input. {} and the others
stand for them in --input and --output, too: `--output {.}.o`.";

/// A prompt whose lines run on the cluster.
#[derive(Args, Clone, Debug)]
pub struct ShellArgs {
    #[command(flatten)]
    #[expect(missing_docs, reason = "a group of flags")]
    pub action: ActionArgs,
    /// Write when it was waiting for what, for chrome://tracing or Perfetto
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Interaction")]
    pub trace: Option<PathBuf>,
}

/// Lists actions.
#[derive(Args, Clone, Debug)]
pub struct PsArgs {
    /// Also those that are done
    #[arg(short, long)]
    pub all: bool,
    /// At most this many
    #[arg(short = 'n', long, value_name = "N", default_value_t = 100)]
    pub limit: u32,
    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
}

/// Names one action.
#[derive(Args, Clone, Debug)]
pub struct JobArgs {
    /// The action's id, or its first characters
    #[arg(value_name = "ID")]
    pub id: String,
    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
}

/// Prints what an action wrote.
#[derive(Args, Clone, Debug)]
pub struct LogsArgs {
    /// The action's id, or its first characters
    #[arg(value_name = "ID")]
    pub id: String,
    /// Stay until the action ends
    #[arg(short, long)]
    pub follow: bool,
    /// Its standard output only
    #[arg(long, conflicts_with = "stderr")]
    pub stdout: bool,
    /// Its standard error only
    #[arg(long)]
    pub stderr: bool,
    /// One JSON object a line: {"stream": .., "data": ..}
    #[arg(long)]
    pub json: bool,
}

/// Waits for an action.
#[derive(Args, Clone, Debug)]
pub struct WaitArgs {
    /// The actions' ids, or their first characters
    #[arg(value_name = "ID", required = true)]
    pub id: Vec<String>,
    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
    /// Write when it was waiting for what, for chrome://tracing or Perfetto
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub trace: Option<PathBuf>,
}

/// Follows an action as if it had been run here.
#[derive(Args, Clone, Debug)]
#[command(after_help = ATTACH_MEANS)]
pub struct AttachArgs {
    /// The action's id, or its first characters
    #[arg(value_name = "ID")]
    pub id: String,
    /// Write when it was waiting for what, for chrome://tracing or Perfetto
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub trace: Option<PathBuf>,
}

const ATTACH_MEANS: &str = "\
Ctrl-C leaves the action, which goes on; `hands cancel ID` ends it. One that was
not detached goes on while somebody else waits for it.";

/// Brings an action's outputs here.
#[derive(Args, Clone, Debug)]
pub struct FetchArgs {
    /// The action's id, or its first characters
    #[arg(value_name = "ID")]
    pub id: String,
    /// Where to put them
    #[arg(short = 'C', long, value_name = "DIR", default_value = ".", value_hint = ValueHint::DirPath)]
    pub directory: PathBuf,
    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
}

/// Ends actions.
#[derive(Args, Clone, Debug)]
pub struct CancelArgs {
    /// The actions' ids, or their first characters
    #[arg(value_name = "ID", required_unless_present = "all")]
    pub id: Vec<String>,
    /// Every action that is not done
    #[arg(short, long, conflicts_with = "id")]
    pub all: bool,
    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
}

/// Has a worker leave when what it runs has ended.
#[derive(Args, Clone, Debug)]
pub struct DrainArgs {
    /// The worker's name, or the first characters of its id
    #[arg(value_name = "NAME")]
    pub worker: String,
}

/// Lists workers.
#[derive(Args, Clone, Debug)]
pub struct WorkersArgs {
    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
}
