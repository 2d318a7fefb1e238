//! From what a front-end wants to the messages that name it: REAPI's Command and Action.

use std::time::Duration;

use bytes::Bytes;
use hands_proto::MTIME;
use hands_proto::reapi;
use hands_proto::reapi::command::{EnvironmentVariable, OutputDirectoryFormat};
use hands_proto::v1::ExecuteOptions;
use hands_types::platform::{Layer, Layers, Root, property};
use hands_types::retry::Reruns;
use hands_types::text::cut;
use hands_types::{Digest, DigestFunction, Network, Platform, RelPath, limits};
use prost::Message;

use crate::TreeSpec;
use crate::metadata::bounded;
use crate::{ClientError, Terminal, random_u128};

/// Bytes of an argument or a name that a message shows.
const SHOWN: usize = 200;

/// One action, as a front-end describes it. Equal specifications become byte for byte equal messages.
#[derive(Clone, Debug)]
pub struct JobSpec {
    /// The command and its arguments. The first is looked up on the action's `PATH` unless it holds a slash.
    pub argv: Vec<String>,
    /// Environment; of a name that stands there twice the last one counts.
    pub env: Vec<(String, String)>,
    /// Working directory below the input root. It must exist there.
    pub cwd: RelPath,
    /// Outputs to collect, relative to `cwd`: files, directories, and globs on our own hub.
    pub outputs: Vec<String>,
    /// What a worker must offer, and properties that change how the action runs.
    pub platform: Platform,
    /// Its file system: the worker's, or trees. Engines of others know only the worker's: [`JobSpec::flatten`].
    pub root: Root,
    /// Trees that it sees at paths of their own.
    pub layers: Vec<Layer>,
    /// The digest of the root `Directory`; without one the input root is empty.
    pub input_root: Option<Digest>,
    /// How long the command may run. None is no deadline.
    pub timeout: Option<Duration>,
    /// Whether a recorded result will do.
    pub caching: Caching,
    /// Whether outputs come with the modification times that the action gave them; only those of an uncached action do, and
    /// only where the engine keeps them ([`crate::Cluster::keeps_times`]).
    pub times: bool,
    /// Whether the roots of output directories are put into the store too ([`crate::Made::Directory`]), so that another action
    /// can have them as inputs while nothing of them comes here.
    pub output_roots: bool,
    /// REAPI's priority: lower runs earlier, 0 is normal.
    pub priority: i32,
    /// Whether the streams are shown while the action runs.
    pub logs: Logs,
    /// Keep the action when nobody waits for it.
    pub detach: bool,
    /// Standard input comes with [`crate::Cluster::attach`]; otherwise it is empty.
    pub stdin: bool,
    /// Run on a terminal of this size.
    pub terminal: Option<Terminal>,
    /// How often it may be run again after its worker was lost; 0 is never. None is twice, and never for an action that may
    /// have had effects outside: with the worker's network, a terminal or standard input.
    pub retry: Option<u32>,
    /// How long it may wait for a worker that could take it; None is the hub's default.
    pub queue_timeout: Option<Duration>,
    /// Whether a session tells when it waits, and when it is started. That an attempt was lost is told in any case.
    pub follow: bool,
    /// For people, in lists: the command as it was typed.
    pub title: String,
    /// For people: what kind of action it is; empty is the front-end's name.
    pub mnemonic: String,
    /// For people: what it makes or tests.
    pub target: String,
}

/// Whether a recorded result will do, and whether this one is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caching {
    /// Execute every time; record nothing. Sent with a fresh salt, so that no other submission is taken for it.
    Uncached,
    /// Take a recorded result if there is one; record this one if it succeeds.
    Cached,
    /// Execute, and record the result in place of an older one.
    Refresh,
}

/// Whether a job's streams are followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Logs {
    /// Stream them while the action runs: `Event::Output` as it comes.
    Live,
    /// No events for them; [`crate::Cluster::stream_of`] reads them from the result.
    No,
}

impl JobSpec {
    /// An uncached action without inputs and outputs, its streams live.
    pub fn new(argv: Vec<String>) -> Self {
        Self {
            argv,
            env: Vec::new(),
            cwd: RelPath::default(),
            outputs: Vec::new(),
            platform: Platform::default(),
            root: Root::Host,
            layers: Vec::new(),
            input_root: None,
            timeout: None,
            caching: Caching::Uncached,
            times: false,
            output_roots: false,
            priority: 0,
            logs: Logs::Live,
            detach: false,
            stdin: false,
            terminal: None,
            retry: None,
            queue_timeout: None,
            follow: true,
            title: String::new(),
            mnemonic: String::new(),
            target: String::new(),
        }
    }

    /// Whether it may be run again after it was lost once.
    pub fn reruns(&self) -> bool {
        self.budget().lose(1).is_ok()
    }

    /// How often it may be run again. Who submits it anew counts here what was lost.
    pub fn budget(&self) -> Reruns {
        let host_network =
            self.platform.all(property::NETWORK).any(|network| network == Network::Host.name());
        Reruns::new(self.retry, host_network || self.terminal.is_some() || self.stdin)
    }

    /// Takes the action's trees away, which engines of others do not know, and makes one of them to lie below its inputs: none
    /// where it has no trees. What stood at absolute paths then stands below the input root, and hides there what it hid.
    pub fn flatten(&mut self) -> Option<TreeSpec> {
        let stack = match std::mem::take(&mut self.root) {
            Root::Host => Vec::new(),
            Root::Layers(stack) => stack,
        };
        let mut layers = std::mem::take(&mut self.layers);
        if stack.is_empty() && layers.is_empty() {
            return None;
        }
        let stack = stack.into_iter().rev().map(TreeSpec::Stored).collect();
        // What lies below another path is mounted after it.
        layers.sort_by(|a, b| a.path.cmp(&b.path));
        Some(layers.into_iter().fold(TreeSpec::Merged(stack), |on, layer| {
            let path = RelPath::normalized(layer.path.trim_start_matches('/')).unwrap_or_default();
            let tree = Box::new(TreeSpec::Stored(layer.tree));
            TreeSpec::Mounted { on: Box::new(on), path, tree }
        }))
    }

    /// The platform as workers of ours read it, trees included.
    pub(crate) fn whole_platform(&self) -> Platform {
        let mut pairs = self.platform.properties().to_vec();
        pairs.extend(Layers::properties(&self.root, &self.layers));
        Platform::new(pairs)
    }

    /// What REAPI can't say about it.
    pub(crate) fn options(&self) -> ExecuteOptions {
        ExecuteOptions {
            detach: self.detach,
            stdin: self.stdin,
            terminal: self
                .terminal
                .as_ref()
                .map(|terminal| Terminal { term: bounded(&terminal.term), ..*terminal }.into()),
            retry: self.retry,
            queue_timeout_ms: self
                .queue_timeout
                .map_or(0, |t| u64::try_from(t.as_millis()).unwrap_or(u64::MAX).max(1)),
            title: bounded(&self.title),
        }
    }

    /// Encodes Command and Action. An uncached one gets a fresh salt each time: encode once per submission.
    pub fn encode(&self, function: DigestFunction) -> Result<EncodedJob, ClientError> {
        self.check()?;
        let platform = reapi_platform(&self.whole_platform());
        let mut env: Vec<&(String, String)> = self.env.iter().collect();
        // Stable: among equals the last one given stays last, and is the one to keep.
        env.sort_by(|a, b| a.0.cmp(&b.0));
        let mut variables: Vec<EnvironmentVariable> = Vec::with_capacity(env.len());
        for (name, value) in env {
            if variables.last().is_some_and(|last| last.name == *name) {
                variables.pop();
            }
            variables.push(EnvironmentVariable { name: name.clone(), value: value.clone() });
        }
        let mut output_paths = self.outputs.clone();
        output_paths.sort_unstable();
        output_paths.dedup();
        let uncached = self.caching == Caching::Uncached;
        let output_node_properties =
            if uncached && self.times { vec![MTIME.to_owned()] } else { Vec::new() };
        let command = reapi::Command {
            arguments: self.argv.clone(),
            environment_variables: variables,
            // Deprecated since API 2.2, but all that engines of 2.0 and 2.1 read.
            platform: platform.clone(),
            working_directory: self.cwd.as_str().to_owned(),
            output_paths,
            output_node_properties,
            output_directory_format: match self.output_roots {
                true => OutputDirectoryFormat::TreeAndDirectory.into(),
                false => OutputDirectoryFormat::default().into(),
            },
            ..reapi::Command::default()
        };
        let command_bytes = Bytes::from(command.encode_to_vec());
        let command = hands_tree::hash(function, &command_bytes);
        let root = self.input_root.unwrap_or_else(|| hands_tree::empty(function));
        let action = reapi::Action {
            command_digest: Some(command.into()),
            input_root_digest: Some(root.into()),
            timeout: self.timeout.map(to_duration).transpose()?,
            do_not_cache: uncached,
            salt: if uncached {
                Bytes::copy_from_slice(&random_u128()?.to_le_bytes())
            } else {
                Bytes::new()
            },
            platform,
        };
        let action_bytes = Bytes::from(action.encode_to_vec());
        let action = hands_tree::hash(function, &action_bytes);
        Ok(EncodedJob { action, action_bytes, command, command_bytes })
    }

    fn check(&self) -> Result<(), ClientError> {
        if self.argv.first().is_none_or(String::is_empty) {
            return Err(ClientError::Spec("there is no command to run".to_owned()));
        }
        if let Some(argument) = self.argv.iter().find(|a| a.contains('\0')) {
            return Err(ClientError::Spec(format!(
                "the argument `{}` holds a NUL",
                crate::printable(&cut(argument, SHOWN))
            )));
        }
        if let Some((name, _)) = self
            .env
            .iter()
            .find(|(n, v)| n.is_empty() || n.contains(['=', '\0']) || v.contains('\0'))
        {
            return Err(ClientError::Spec(format!(
                "the environment variable `{}` can't be set: a name is not empty and holds no `=`, and nothing holds a NUL",
                crate::printable(&cut(name, SHOWN))
            )));
        }
        self.check_lengths()
    }

    /// What no kernel takes is not sent anywhere.
    fn check_lengths(&self) -> Result<(), ClientError> {
        if let Some((at, argument)) =
            self.argv.iter().enumerate().find(|(_, a)| a.len() > limits::MAX_ARGUMENT)
        {
            return Err(ClientError::Spec(format!(
                "argument {at} of the command has {} bytes, and Linux takes {} of one argument; put it into a file, or into \
                 standard input",
                argument.len(),
                limits::MAX_ARGUMENT
            )));
        }
        let variable = |name: &str, value: &str| name.len() + "=".len() + value.len();
        if let Some((name, value)) =
            self.env.iter().find(|(n, v)| variable(n, v) > limits::MAX_ARGUMENT)
        {
            return Err(ClientError::Spec(format!(
                "the environment variable `{}` has {} bytes, and Linux takes {} of one variable; put it into a file",
                crate::printable(&cut(name, SHOWN)),
                variable(name, value),
                limits::MAX_ARGUMENT
            )));
        }
        // Each with a NUL and a pointer to it.
        let each = 1 + size_of::<u64>();
        let arguments = self.argv.iter().map(|a| a.len() + each);
        let variables = self.env.iter().map(|(n, v)| variable(n, v) + each);
        let all = arguments.chain(variables).fold(0_usize, usize::saturating_add);
        if all > limits::MAX_ARGUMENTS {
            return Err(ClientError::Spec(format!(
                "the command's arguments and variables take {all} bytes, and Linux takes 2 MiB as a rule; put them into a \
                 file, or split them as xargs does"
            )));
        }
        Ok(())
    }
}

/// The messages of one submission.
#[derive(Clone, Debug)]
pub struct EncodedJob {
    /// Digest of the Action: what Execute names.
    pub action: Digest,
    /// The Action.
    pub action_bytes: Bytes,
    /// Digest of the Command.
    pub command: Digest,
    /// The Command.
    pub command_bytes: Bytes,
}

fn reapi_platform(platform: &Platform) -> Option<reapi::Platform> {
    if platform.properties().is_empty() {
        return None;
    }
    let properties = platform
        .properties()
        .iter()
        .map(|(name, value)| reapi::platform::Property { name: name.clone(), value: value.clone() })
        .collect();
    Some(reapi::Platform { properties })
}

fn to_duration(time: Duration) -> Result<prost_types::Duration, ClientError> {
    prost_types::Duration::try_from(time)
        .map_err(|_| ClientError::Spec(format!("a timeout of {} s is too long", time.as_secs())))
}
