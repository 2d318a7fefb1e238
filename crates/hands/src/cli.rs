//! The command line as a whole: one place that says which subcommands there are.

mod exit_codes;
mod late;
mod members;

use std::path::PathBuf;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum, ValueHint};
use hands_front::args::GlobalArgs;
use hands_front::args::value::{Counter, KeyValue, MemorySize, duration, word};
use hands_run::args as front;

use hands_types::limits::MAX_SLOTS;
use hands_types::{Isolation, Role};
pub(crate) use late::Late;
pub(crate) use members::{
    BazelrcArgs, LoginArgs, LogoutArgs, TokenArgs, TokenCommand, TokenCreateArgs, WorkersArgs,
    WorkersCommand,
};

/// Runs builds, tests and any command on every machine you can reach.
///
/// With nothing configured this machine is the cluster: the first command starts a background
/// agent, which leaves after 15 idle minutes.
#[derive(Parser, Debug)]
#[command(
    name = "hands",
    version,
    max_term_width = 80,
    subcommand_required = true,
    arg_required_else_help = true
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: GlobalArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Cli {
    /// Reads the process's arguments.
    pub(crate) fn read() -> Result<Self, clap::Error> {
        let mut command = exit_codes::general(Self::command());
        let mut matches = command.try_get_matches_from_mut(std::env::args_os())?;
        Self::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut command))
    }
}

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Run one command on the cluster, as if it ran here
    Run(Late<Box<front::RunArgs>>),
    /// Run many commands on the cluster
    Batch(Late<Box<front::BatchArgs>>),
    /// A prompt whose lines run on the cluster
    Shell(Late<Box<front::ShellArgs>>),
    /// Compile C and C++ on the cluster, or from its cache
    Cc(Late<CcArgs>),
    /// List actions that are queued or running
    Ps(Late<front::PsArgs>),
    /// Watch workers, queue, invocations and failures live
    #[cfg(feature = "tui")]
    Top(Late<TopArgs>),
    /// Show one action in full
    Status(Late<front::JobArgs>),
    /// Say in one sentence what an action waits for
    Why(Late<front::JobArgs>),
    /// Print what an action wrote
    Logs(Late<front::LogsArgs>),
    /// Wait for actions to end; exit as they did
    Wait(Late<front::WaitArgs>),
    /// Follow an action as if it had been run here
    Attach(Late<front::AttachArgs>),
    /// Bring an action's outputs here
    Fetch(Late<front::FetchArgs>),
    /// End actions
    Cancel(Late<front::CancelArgs>),
    /// List the cluster's workers, or remove one
    Workers(Late<WorkersArgs>),
    /// Use a cluster from now on: become a member by a join string
    Login(Late<LoginArgs>),
    /// Forget a cluster
    Logout(Late<LogoutArgs>),
    /// Make, list and end tokens: who may join
    Token(Late<TokenArgs>),
    /// Print what Bazel needs to use the cluster
    Bazelrc(Late<BazelrcArgs>),
    /// The cluster's blob store: how full it is, cleaning and checking it
    Store(Late<StoreArgs>),
    /// The background process of this user
    Agent(Late<AgentArgs>),
    /// Serve a cluster: queue, scheduler and store
    Hub(Late<HubArgs>),
    /// Work for a hub
    Worker(Late<WorkerArgs>),
    /// Test what this machine can do, and say how to mend what is missing
    Doctor(Late<DoctorArgs>),
    /// Allow a project's hands.toml what it asks for
    Trust(Late<TrustArgs>),
}

#[cfg(feature = "tui")]
#[derive(Args, Debug)]
pub(crate) struct TopArgs {
    /// Print what goes on now and leave, as is done where there is no terminal
    #[arg(long)]
    pub(crate) once: bool,
}

#[derive(Args, Debug)]
#[command(after_help = CC_HELP, override_usage = CC_USAGE)]
pub(crate) struct CcArgs {
    /// Say how many compiles came from the cache, ran on workers, or ran here and why, since the agent began
    #[arg(long)]
    pub(crate) stats: bool,
    /// The same, and begin to count anew
    #[arg(long)]
    pub(crate) zero_stats: bool,
    /// One JSON object
    #[arg(long)]
    pub(crate) json: bool,
    /// A compiler and its arguments; behind `--`, a whole build
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        required_unless_present_any = ["stats", "zero_stats"],
        conflicts_with_all = ["stats", "zero_stats"],
        value_hint = ValueHint::CommandWithArguments
    )]
    pub(crate) command: Vec<std::ffi::OsString>,
}

const CC_USAGE: &str = "\
hands cc COMPILER [ARGUMENT]...
       hands cc -- BUILD [ARGUMENT]...
       hands cc --stats [--json]";

const CC_HELP: &str = "\
What can't run elsewhere runs here, by the compiler itself. HANDS_CC_LOG=FILE adds a line for each compile: where it ran, and
why. docs/cc.md has the rest.

Examples:
  make CC=\"hands cc gcc\"
  hands cc -- make -j8";

#[derive(Args, Debug)]
pub(crate) struct AgentArgs {
    #[command(subcommand)]
    pub(crate) command: AgentCommand,
}

#[derive(Subcommand, Debug)]
pub(crate) enum AgentCommand {
    /// Say whether it runs, since when, and where its log is
    Status {
        /// One JSON object
        #[arg(long)]
        json: bool,
    },
    /// End it
    Stop {
        /// Also when something is queued, running or detached; that is cancelled
        #[arg(long)]
        force: bool,
    },
    /// Be the agent (front-ends start it by themselves)
    #[command(hide = true)]
    Run,
}

#[derive(Args, Debug)]
pub(crate) struct StoreArgs {
    #[command(subcommand)]
    pub(crate) command: StoreCommand,
    /// The state directory of a stopped hub or worker, instead of the cluster
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, global = true)]
    pub(crate) state: Option<PathBuf>,
}

#[derive(Subcommand, Debug)]
pub(crate) enum StoreCommand {
    /// Say how full it is
    Status {
        /// One JSON object
        #[arg(long)]
        json: bool,
    },
    /// Evict what is beyond the quota and not needed by open work
    Gc {
        /// One JSON object: how full it is afterwards
        #[arg(long)]
        json: bool,
    },
    /// Read every blob; corrupt ones are named and put into quarantine
    Verify {
        /// One JSON object
        #[arg(long)]
        json: bool,
    },
    /// Give a tree a name, so that it stays whatever the quota, and `--layer NAME` finds it
    #[command(after_help = PIN_HELP)]
    Pin(PinArgs),
    /// Take a tree's name away; the tree goes when room is needed
    Unpin {
        /// The name
        name: String,
        /// One JSON object: the tree that had it
        #[arg(long)]
        json: bool,
    },
    /// List the trees that have names
    Pins {
        /// One JSON object per line
        #[arg(long)]
        json: bool,
    },
}

const PIN_HELP: &str = "\
A name has at most 256 bytes, no spaces, commas or equals signs. A name that another tree has goes from that one to this.
The trees that have names take half of the store's quota at most. Of an image its files stay; its variables and its command
do not come with a name.

Examples:
  hands store pin debian:12 oci:layouts/debian:12
  hands store pin tools/gcc-13 --input /opt/gcc-13
  hands run --layer debian:12 -- cat /etc/debian_version
  hands run --layer /gcc=tools/gcc-13 -- /gcc/bin/gcc --version";

#[derive(Args, Debug)]
pub(crate) struct PinArgs {
    /// The name
    pub(crate) name: String,
    /// A tree of the store, HASH/SIZE, or an image of this machine: oci:DIR[:NAME] or docker-archive:FILE[:NAME]
    #[arg(required_unless_present = "input", conflicts_with = "input")]
    pub(crate) tree: Option<String>,
    /// What is in this directory of this machine
    #[arg(short = 'I', long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) input: Option<PathBuf>,
    /// One JSON object: the tree
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct HubArgs {
    /// unix:PATH or IP[:PORT], such as 0.0.0.0 [repeatable; default: hub.sock among the sockets]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Vec<String>,
    /// A name or address by which others reach it: HOST[:PORT] [repeatable]
    #[arg(long, value_name = "HOST")]
    pub(crate) public_name: Vec<String>,
    /// The cluster's name, for those who join [default: the machine's]
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Without TLS on loopback addresses: every program and user of this machine may come in
    #[arg(long)]
    pub(crate) insecure_loopback: bool,
    /// Show this certificate (PEM, whole chain) to clients that are not hands
    #[arg(long, value_name = "FILE", requires = "tls_key", value_hint = ValueHint::FilePath)]
    pub(crate) tls_cert: Option<PathBuf>,
    /// Its key (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert", value_hint = ValueHint::FilePath)]
    pub(crate) tls_key: Option<PathBuf>,
    /// Let clients in whose certificates are of these authorities (PEM)
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) client_ca: Option<PathBuf>,
    /// What those clients may do [repeatable; default: submit]
    #[arg(long, value_name = "ROLE", requires = "client_ca")]
    pub(crate) client_role: Vec<Role>,
    /// Serve /metrics and /healthz here: IP:PORT [repeatable]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) http: Vec<std::net::SocketAddr>,
    /// How long certificates live
    #[arg(long, value_name = "TIME", value_parser = duration, hide = true)]
    pub(crate) leaf_ttl: Option<std::time::Duration>,
    /// Where it keeps its queue and its store
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) state: Option<PathBuf>,
    /// Most that the store may hold, such as 50G [default: 20 GiB or a tenth of the disk]
    #[arg(long, value_name = "SIZE")]
    pub(crate) quota: Option<MemorySize>,
    #[command(flatten)]
    pub(crate) log: LogArgs,
}

#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct WorkerArgs {
    #[command(subcommand)]
    pub(crate) command: Option<WorkerCommand>,
    /// A join string (- reads it from standard input, @FILE from a file), the name of a cluster
    /// that was joined before, or the hub's address: unix:PATH or 127.0.0.1:PORT
    #[arg(value_name = "JOIN")]
    pub(crate) hub: Option<String>,
    /// Speak with the hub over standard input and output, which whoever starts this carries to the
    /// hub: TLS inside, or plainly with --stdio=trusted, where that end speaks for the hub's user
    #[arg(
        long,
        value_name = "HOW",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "tls",
        hide_possible_values = true
    )]
    pub(crate) stdio: Option<StdioForm>,
    /// Offer this tag [repeatable]
    #[arg(short, long, value_name = "TAG")]
    pub(crate) tag: Vec<String>,
    /// Actions at once [default: one for each cpu]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=MAX_SLOTS.into()))]
    pub(crate) slots: Option<u32>,
    /// Memory to give to actions [default: what the machine has]
    #[arg(long, value_name = "SIZE")]
    pub(crate) memory: Option<MemorySize>,
    /// Offer this platform property [repeatable]
    #[arg(long, value_name = "K=V")]
    pub(crate) prop: Vec<KeyValue>,
    /// Offer so many of something that actions take while they run [repeatable]
    #[arg(long, value_name = "NAME=N")]
    pub(crate) counter: Vec<Counter>,
    /// Isolation of actions: full (the default), no-netns or process
    #[arg(long, value_name = "LEVEL", value_parser = word::<Isolation>(), hide_possible_values = true)]
    pub(crate) isolation: Option<Isolation>,
    /// Name in lists [default: the machine's]
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Let actions see this directory of the machine, read-only [repeatable]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) expose: Vec<PathBuf>,
    /// Serve /metrics and /healthz here: IP:PORT [repeatable]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) http: Vec<std::net::SocketAddr>,
    /// Where it keeps its store and its work
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) state: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) log: LogArgs,
}

#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StdioForm {
    /// As to any hub that was joined.
    Tls,
    /// Without: whoever started this answers for both ends.
    Trusted,
}

#[derive(Subcommand, Debug)]
pub(crate) enum WorkerCommand {
    /// Have a worker end what it runs, take nothing new and leave
    Drain(front::DrainArgs),
}

#[derive(Args, Debug)]
pub(crate) struct LogArgs {
    /// Log lines on stderr: text, or json for one object a line
    #[arg(long = "log", value_name = "FORM", default_value = "text", hide_possible_values = true)]
    pub(crate) form: LogForm,
    /// What is logged: error, warn, info, debug or trace
    #[arg(
        long = "log-level",
        value_name = "LEVEL",
        default_value = "info",
        hide_possible_values = true
    )]
    pub(crate) level: LogLevel,
}

#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogForm {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

#[derive(Args, Debug)]
#[command(after_help = TRUST_MEANS)]
pub(crate) struct TrustArgs {
    /// The project [default: the one that the current directory is in]
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) directory: Option<PathBuf>,
    /// Take the consent back
    #[arg(long)]
    pub(crate) revoke: bool,
    /// One JSON object: file, digest, asks and whether it is trusted
    #[arg(long)]
    pub(crate) json: bool,
}

const TRUST_MEANS: &str = "\
A project's hands.toml may set inputs, environment and limits. What it says
about clusters, worker hosts, exposed paths and the worker's own network takes
your consent: this command shows those lines and allows them until the file
changes.";

#[derive(Args, Debug)]
pub(crate) struct DoctorArgs {
    /// One JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
}

impl Command {
    /// Whether its exit code is an action's own, so that our failures are 125.
    pub(crate) const fn passes_exit_code_through(&self) -> bool {
        matches!(
            self,
            Self::Run(_) | Self::Batch(_) | Self::Shell(_) | Self::Wait(_) | Self::Attach(_)
        )
    }
}
