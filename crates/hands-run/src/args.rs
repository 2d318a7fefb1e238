//! The flags of every front-end in this crate, as clap reads them. What an action needs is said by flags that all
//! front-ends share: `hands_front::args`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, ValueHint};
use hands_front::args::{ActionArgs, value};

/// Runs one command on the cluster.
#[derive(Args, Clone, Debug)]
#[command(after_help = RUN_EXAMPLES)]
pub struct RunArgs {
    #[command(flatten)]
    #[expect(missing_docs, reason = "a group of flags")]
    pub action: ActionArgs,
    /// Send our standard input along, live; otherwise it is empty
    #[arg(short = 'i', long, help_heading = "Interaction")]
    pub stdin: bool,
    /// Give it a terminal; `~.` at the start of a line ends a dead session
    #[arg(long, conflicts_with_all = ["json", "cache", "detach"], help_heading = "Interaction")]
    pub tty: bool,
    /// Print its id and leave; `hands wait ID` waits for its end, `hands fetch ID` brings its outputs
    #[arg(short, long, conflicts_with = "stdin", help_heading = "Interaction")]
    pub detach: bool,
    /// Print one JSON object with result and streams, instead of the streams
    #[arg(long, help_heading = "Interaction")]
    pub json: bool,
    /// Write when it was waiting for what, for chrome://tracing or Perfetto
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Interaction")]
    pub trace: Option<PathBuf>,
    /// The command and its arguments; `-` reads a script from standard input; none runs what the image says
    #[arg(
        required_unless_present = "image",
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
Of an image, a command that is given runs as it is, without the image's
entrypoint, as with `docker run --entrypoint`.
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
