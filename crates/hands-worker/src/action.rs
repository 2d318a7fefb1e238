//! A lease, read: what to run, on what, how.

use std::path::PathBuf;
use std::time::Duration;

use hands_exec::{
    Command, Declared, DeclaredKind, InputRoot, Isolation, Network, OutputSpec, Privilege,
    ROOT_INSIDE, Terminal,
};
use hands_proto::{MTIME, decode_blob, function_from_proto, reapi, v1};
use hands_sched::Needs;
use hands_slots::{LeaseId, LeaseTerms};
use hands_types::platform::{Layers, property};
use hands_types::{
    Attempt, Digest, DigestFunction, Platform, RelPath, Resources, Scratch, Word, is_output_pattern,
};

/// Which forms of a directory the result names (REAPI `Command.OutputDirectoryFormat`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DirectoryForms {
    pub(crate) tree: bool,
    pub(crate) root: bool,
}

/// All that a lease says.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) instance: String,
    /// The action's digest, if the hub has told one that can be read.
    pub(crate) action: Option<Digest>,
    pub(crate) function: DigestFunction,
    pub(crate) input_root: Digest,
    /// Trees that are mounted beside it, or as the whole root.
    pub(crate) layers: Layers,
    pub(crate) command: Command,
    pub(crate) outputs: OutputSpec,
    pub(crate) forms: DirectoryForms,
    /// Outputs carry their modification times.
    pub(crate) output_times: bool,
    /// The command used `output_files` and `output_directories`, which have lists of links of their own.
    pub(crate) legacy: bool,
    pub(crate) root_at: PathBuf,
    pub(crate) network: Network,
    pub(crate) privilege: Privilege,
    /// What the action writes is kept on disk.
    pub(crate) on_disk: bool,
    pub(crate) input: InputRoot,
    pub(crate) deadline: Option<Duration>,
    pub(crate) resources: Resources,
    pub(crate) terminal: Option<Terminal>,
    pub(crate) stdin: bool,
    pub(crate) queued: Option<prost_types::Timestamp>,
}

impl Plan {
    /// All trees that must stand on disk: the input root, then the layers.
    pub(crate) fn trees(&self) -> impl Iterator<Item = Digest> {
        std::iter::once(self.input_root).chain(self.layers.digests())
    }
}

/// Reads the name of an attempt.
pub(crate) fn lease_id(id: Option<&v1::AttemptId>) -> Option<LeaseId> {
    let id = id?;
    Some(LeaseId { operation: id.operation.parse().ok()?, attempt: Attempt(id.attempt) })
}

/// Writes it.
pub(crate) fn attempt_id(lease: LeaseId) -> v1::AttemptId {
    v1::AttemptId { operation: lease.operation.to_string(), attempt: lease.attempt.0 }
}

/// The Command that a lease names and does not carry.
pub(crate) fn command_to_fetch(lease: &v1::Lease) -> Option<Digest> {
    let action = decode_blob::<reapi::Action>(lease.action.clone()).ok()?;
    let function = function_from_proto(lease.digest_function).ok()?;
    let digest = action.command_digest?.to_digest(function).ok()?;
    (lease.command.is_empty() && !digest.is_empty()).then_some(digest)
}

/// What the slot machine must know, even of a lease whose action can't be read, or not yet.
pub(crate) fn terms(plan: Result<&Plan, &String>, lease: &v1::Lease) -> LeaseTerms {
    // An action that can't be read is uncached as far as anybody knows.
    let uncached = decode_blob::<reapi::Action>(lease.action.clone()).is_ok_and(|a| a.do_not_cache);
    let resources = match (plan, &lease.takes) {
        (Ok(plan), _) => plan.resources.clone(),
        (Err(_), Some(v1::Takes { cpu_millis, memory, custom })) => Resources {
            cpu_millis: *cpu_millis,
            memory: *memory,
            custom: custom.iter().map(|counter| (counter.name.clone(), counter.count)).collect(),
        },
        (Err(_), None) => Resources::default(),
    };
    LeaseTerms { resources, outlives_lease: (plan.is_ok() || lease.takes.is_some()) && !uncached }
}

/// Reads a lease. The hub has checked all of this before; an error is told as INVALID_ARGUMENT.
pub(crate) fn read(lease: &v1::Lease, isolation: Isolation) -> Result<Plan, String> {
    let function = function_from_proto(lease.digest_function).map_err(|e| e.to_string())?;
    let action = decode_blob::<reapi::Action>(lease.action.clone())
        .map_err(|e| format!("the action can't be read: {e}"))?;
    let command = decode_blob::<reapi::Command>(lease.command.clone())
        .map_err(|e| format!("the command can't be read: {e}"))?;
    let input_root = action
        .input_root_digest
        .as_ref()
        .ok_or("the action has no input root")?
        .to_digest(function)
        .map_err(|e| e.to_string())?;
    let platform = platform(&action, &command);
    let needs = Needs::from_platform(&platform).map_err(|e| e.to_string())?;
    let options = lease.options.clone().unwrap_or_default();
    let working_directory = RelPath::normalized(&command.working_directory)
        .map_err(|e| format!("the working directory: {e}"))?;
    let (declared, legacy) = declared(&command);
    let root_at = root_at(&platform)?;
    let terminal = options.terminal.map(|t| Terminal {
        rows: u16::try_from(t.rows).unwrap_or(u16::MAX),
        columns: u16::try_from(t.columns).unwrap_or(u16::MAX),
        term: t.term,
    });
    Ok(Plan {
        instance: lease.instance_name.clone(),
        action: lease.action_digest.as_ref().and_then(|d| d.to_digest(function).ok()),
        function,
        input_root,
        layers: Layers::read(&platform, function).map_err(|e| e.to_string())?,
        forms: forms(&command),
        output_times: command.output_node_properties.iter().any(|name| name == MTIME),
        legacy,
        outputs: OutputSpec {
            declared,
            working_directory: working_directory.clone(),
            // At `process` the input root is elsewhere, and nobody knows where before there is a slot.
            root_at: (isolation != Isolation::Process)
                .then(|| root_at.to_string_lossy().into_owned()),
        },
        root_at,
        network: word(&platform, property::NETWORK)?.unwrap_or(Network::Loopback),
        privilege: match word(&platform, property::PRIVILEGE)? {
            Some(hands_types::Privilege::Userns) => Privilege::Userns,
            None => Privilege::None,
        },
        on_disk: word(&platform, property::SCRATCH)? == Some(Scratch::Disk),
        input: word(&platform, property::INPUT_ROOT)?.unwrap_or(InputRoot::Overlay),
        deadline: deadline(&action),
        resources: needs.resources,
        stdin: options.stdin || terminal.is_some(),
        terminal,
        queued: lease.queued,
        command: Command {
            arguments: command.arguments,
            environment: command
                .environment_variables
                .into_iter()
                .map(|v| (v.name, v.value))
                .collect(),
            working_directory,
        },
    })
}

/// The word that a property has; none where it is not there.
fn word<W: Word>(platform: &Platform, name: &str) -> Result<Option<W>, String> {
    let Some(text) = platform.get(name) else { return Ok(None) };
    let word = W::read(text);
    word.map(Some).ok_or_else(|| format!("the {name} `{}` is unknown", text.escape_debug()))
}

fn platform(action: &reapi::Action, command: &reapi::Command) -> Platform {
    // API 2.2 moved it; Buck2 sets only the command's.
    let platform = action.platform.as_ref().or(command.platform.as_ref());
    let properties = platform.map(|p| p.properties.as_slice()).unwrap_or_default();
    Platform::new(properties.iter().map(|p| (p.name.clone(), p.value.clone())).collect())
}

fn declared(command: &reapi::Command) -> (Vec<Declared>, bool) {
    let one = |kind| move |path: &String| Declared { path: path.clone(), kind };
    if command.output_paths.is_empty() {
        let files = command.output_files.iter().map(one(DeclaredKind::File));
        let directories = command.output_directories.iter().map(one(DeclaredKind::Directory));
        let declared: Vec<Declared> = files.chain(directories).collect();
        let legacy = !declared.is_empty();
        return (declared, legacy);
    }
    // A pattern is taken by its own name too, should that exist: other clients mean nothing by a star.
    let paths = command.output_paths.iter().map(|path| {
        let kind = if is_output_pattern(path) { DeclaredKind::Glob } else { DeclaredKind::Any };
        one(kind)(path)
    });
    (paths.collect(), false)
}

fn forms(command: &reapi::Command) -> DirectoryForms {
    use reapi::command::OutputDirectoryFormat as Format;
    match Format::try_from(command.output_directory_format) {
        Ok(Format::DirectoryOnly) => DirectoryForms { tree: false, root: true },
        Ok(Format::TreeAndDirectory) => DirectoryForms { tree: true, root: true },
        Ok(Format::TreeOnly) | Err(_) => DirectoryForms { tree: true, root: false },
    }
}

fn root_at(platform: &Platform) -> Result<PathBuf, String> {
    match platform.get(property::ROOT_PATH) {
        None => Ok(PathBuf::from(ROOT_INSIDE)),
        Some(path) if path.starts_with('/') && path.trim_end_matches('/').len() > 1 => {
            Ok(PathBuf::from(path))
        }
        Some(path) => Err(format!(
            "{} is `{}`, not an absolute path",
            property::ROOT_PATH,
            path.escape_debug()
        )),
    }
}

fn deadline(action: &reapi::Action) -> Option<Duration> {
    action.timeout.as_ref().and_then(hands_proto::to_duration).filter(|timeout| !timeout.is_zero())
}
