//! Reading an Action and its Command, and finding out all that is wrong or missing before anything is queued.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hands_proto::{Room, Shaped, Tight, decode_blob, reapi, weigh};
use hands_sched::Tree;
use hands_store::{Pin, Store};
use hands_types::limits::{LEASED_COMMAND, MAX_ACTION, MAX_COMMAND, MAX_PATH, MAX_PATTERNS};
use hands_types::{Digest, RelPath, is_output_pattern};
use prost::Message;
use tonic::Status;

use crate::platform::{self, Wishes};
use crate::trees::{Trees, Verdict, WholeTree};

/// An action that can be queued.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) action: reapi::Action,
    pub(crate) action_bytes: Bytes,
    pub(crate) command: reapi::Command,
    pub(crate) command_bytes: Bytes,
    pub(crate) command_digest: Digest,
    pub(crate) input_root: Digest,
    pub(crate) platform: reapi::Platform,
    pub(crate) wishes: Wishes,
    /// For locality.
    pub(crate) trees: Vec<Tree>,
    /// Keeps the inputs in the store while the action lives.
    pub(crate) inputs: Vec<Arc<WholeTree>>,
    /// Keeps a Command that is too large for a lease there, until the operation has a pin of its own.
    pub(crate) _pin: Option<Pin>,
}

/// An Action message that was read, before its Command is looked at.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) message: reapi::Action,
    pub(crate) bytes: Bytes,
}

impl Read {
    /// An Action message that is at hand.
    pub(crate) fn of(bytes: Bytes, digest: &Digest) -> Result<Self, Status> {
        weigh::<reapi::Action>(&bytes, ACTION_MEMORY).map_err(|e| {
            Status::invalid_argument(format!("the Action {digest} can't be taken: {e}"))
        })?;
        let message = decode(&bytes, digest, "Action")?;
        Ok(Self { message, bytes })
    }
}

/// What an Action may become in memory, bytes: all that a platform may have, and more than once.
const ACTION_MEMORY: usize = 256 << 10;

/// The Action message; none if it is not in the store.
pub(crate) fn read_action(store: &Store, digest: &Digest) -> Result<Option<Read>, Status> {
    let Some(bytes) = read_message(store, digest, "Action", MAX_ACTION)? else {
        return Ok(None);
    };
    Read::of(bytes, digest).map(Some)
}

/// The rest, within a room. Blocks while trees that are not known yet are walked: [`is_long`] tells.
pub(crate) fn load(
    store: &Store,
    trees: &Trees,
    max_timeout: Duration,
    digest: &Digest,
    read: &Read,
    room: &mut Room,
) -> Result<Result<Loaded, Status>, Tight> {
    match load_within(store, trees, max_timeout, digest, read, room) {
        Ok(loaded) => Ok(Ok(loaded)),
        Err(Refusal::Status(status)) => Ok(Err(status)),
        Err(Refusal::Tight(tight)) => Err(tight),
    }
}

enum Refusal {
    Status(Status),
    Tight(Tight),
}

impl From<Status> for Refusal {
    fn from(status: Status) -> Self {
        Self::Status(status)
    }
}

impl From<Tight> for Refusal {
    fn from(tight: Tight) -> Self {
        Self::Tight(tight)
    }
}

fn load_within(
    store: &Store,
    trees: &Trees,
    max_timeout: Duration,
    digest: &Digest,
    read: &Read,
    room: &mut Room,
) -> Result<Loaded, Refusal> {
    let Read { message: action, bytes: action_bytes } = read;
    let function = digest.function;
    let field = |value: &Option<reapi::Digest>, name: &str| {
        value
            .as_ref()
            .ok_or_else(|| Status::invalid_argument(format!("the action {digest} has no {name}")))?
            .to_digest(function)
            .map_err(|e| {
                Status::invalid_argument(format!("the action {digest} has a bad {name}: {e}"))
            })
    };
    let command_digest = field(&action.command_digest, "command_digest")?;
    let input_root = field(&action.input_root_digest, "input_root_digest")?;
    check_timeout(action, max_timeout)?;

    let mut missing = Vec::new();
    let is_large = command_digest.size > LEASED_COMMAND;
    let pin = is_large.then(|| store.pin([*digest, command_digest]));
    room.keep(memory_of_so_many(command_digest.size))?;
    let command_bytes = read_message(store, &command_digest, "Command", MAX_COMMAND)?;
    if command_bytes.is_none() {
        missing.push(command_digest);
    }
    let command: Option<reapi::Command> = command_bytes
        .as_ref()
        .map(|bytes| decode(bytes, &command_digest, "Command"))
        .transpose()?;
    let platform = command.as_ref().map_or_else(
        || action.platform.clone().unwrap_or_default(),
        |command| platform::effective(action, command),
    );
    let wishes =
        platform::read(&platform, function).map_err(|e| Status::invalid_argument(e.to_string()))?;
    if let Some(command) = &command {
        check_command(command)?;
    }

    let mut inputs = Vec::new();
    let mut located = Vec::new();
    for root in [input_root].into_iter().chain(wishes.layers.iter().copied()) {
        match trees.look(&root, &mut room.rest())?.map_err(|e| hands_reapi::store_status(&e))? {
            Verdict::Whole(tree) => {
                located.push(Tree { digest: root, bytes: tree.bytes });
                inputs.push(tree);
            }
            Verdict::Missing(digests) => missing.extend(digests),
            Verdict::Invalid { digest, why } => {
                let why = format!("the directory {digest} of the input tree is invalid: {why}");
                return Err(Status::invalid_argument(why).into());
            }
        }
    }
    if !missing.is_empty() {
        missing.sort();
        missing.dedup();
        // Of many only the first are named: a client that lacks its command has to hear of it.
        if let Some(at) = missing.iter().position(|digest| *digest == command_digest) {
            missing.swap(0, at);
        }
        return Err(missing_blobs(&missing).into());
    }
    let (Some(command), Some(command_bytes)) = (command, command_bytes) else {
        return Err(missing_blobs(&[command_digest]).into());
    };
    Ok(Loaded {
        action: action.clone(),
        action_bytes: action_bytes.clone(),
        command,
        command_bytes,
        command_digest,
        input_root,
        platform,
        wishes,
        trees: located,
        inputs,
        _pin: pin,
    })
}

/// Bytes that the Command of an Action takes with what is decoded of it, at most. One that is too large is refused before it is
/// read.
pub(crate) fn memory_of_command(action: &reapi::Action) -> usize {
    let size = action.command_digest.as_ref().map_or(0, |command| command.size_bytes);
    memory_of_so_many(u64::try_from(size).unwrap_or(0))
}

fn memory_of_so_many(size: u64) -> usize {
    usize::try_from(size.min(MAX_COMMAND)).unwrap_or(usize::MAX).saturating_mul(9)
}

/// Bytes of a message that is read and checked on the reactor.
pub(crate) const QUICK: u64 = 64 << 10;

/// Whether [`load`] takes long: it walks a tree of which nothing is known, or reads a large command.
pub(crate) fn is_long(trees: &Trees, action: &reapi::Action, digest: &Digest) -> bool {
    let root =
        action.input_root_digest.as_ref().and_then(|root| root.to_digest(digest.function).ok());
    let layered = action.platform.iter().flat_map(|p| &p.properties).any(|p| p.name == "layer");
    let command = action.command_digest.as_ref().map_or(0, |command| command.size_bytes);
    let large = u64::try_from(command).is_ok_and(|size| size > QUICK);
    large || layered || root.is_some_and(|root| !root.is_empty() && trees.known(&root).is_none())
}

/// What REAPI wants to hear about missing blobs: all of them at once.
pub(crate) fn missing_blobs(missing: &[Digest]) -> Status {
    hands_reapi::all_missing_blobs(tonic::Code::FailedPrecondition, missing)
}

fn read_message(
    store: &Store,
    digest: &Digest,
    what: &str,
    most: u64,
) -> Result<Option<Bytes>, Status> {
    if digest.size > most {
        return Err(Status::invalid_argument(format!(
            "the {what} {digest} has {} bytes, more than {most}: no worker could take it",
            digest.size
        )));
    }
    store.read(digest).map_err(|e| hands_reapi::store_status(&e))
}

fn decode<M: Message + Shaped + Default>(
    bytes: &Bytes,
    digest: &Digest,
    what: &str,
) -> Result<M, Status> {
    decode_blob(bytes.clone()).map_err(|e| {
        Status::invalid_argument(format!("the blob {digest} can't be read as {what}: {e}"))
    })
}

/// A timeout beyond the maximum is refused, never cut down (REAPI v2, `Action.timeout`).
fn check_timeout(action: &reapi::Action, most: Duration) -> Result<(), Status> {
    let Some(timeout) = action.timeout else { return Ok(()) };
    match hands_proto::to_duration(&timeout) {
        Some(timeout) if timeout <= most => Ok(()),
        Some(timeout) => Err(Status::invalid_argument(format!(
            "the action's timeout of {} s is above the maximum of {} s",
            timeout.as_secs(),
            most.as_secs()
        ))),
        None => Err(Status::invalid_argument("the action's timeout is negative or out of range")),
    }
}

fn check_command(command: &reapi::Command) -> Result<(), Status> {
    let bad = |text: String| Err(Status::invalid_argument(text));
    if command.arguments.is_empty() {
        return bad("the command has no arguments".to_owned());
    }
    if command.arguments.iter().any(|a| a.contains('\0')) {
        return bad("an argument of the command holds a NUL".to_owned());
    }
    for variable in &command.environment_variables {
        if variable.name.is_empty()
            || variable.name.contains(['=', '\0'])
            || variable.value.contains('\0')
        {
            return bad(format!(
                "the environment variable `{}` can't be set",
                variable.name.escape_debug()
            ));
        }
    }
    if command.working_directory.len() > MAX_PATH {
        let length = command.working_directory.len();
        return bad(format!("working directory: {length} bytes are more than {MAX_PATH}"));
    }
    let depth = match RelPath::normalized(&command.working_directory) {
        Ok(directory) => directory.names().count(),
        Err(error) => return bad(format!("working directory: {error}")),
    };
    if command
        .output_paths
        .iter()
        .filter(|path| is_output_pattern(path))
        .nth(MAX_PATTERNS)
        .is_some()
    {
        return bad(format!("the command declares more than {MAX_PATTERNS} patterns as outputs"));
    }
    let outputs =
        command.output_paths.iter().chain(&command.output_files).chain(&command.output_directories);
    for path in outputs {
        if path.len() > MAX_PATH {
            return bad(format!("output path: {} bytes are more than {MAX_PATH}", path.len()));
        }
        // Relative to the working directory; build systems do name outputs beside it.
        if path.starts_with('/') {
            return bad(format!("output path: `{}` is absolute", path.escape_debug()));
        }
        if let Err(error) = RelPath::check_below(depth, path) {
            return bad(format!("output path: {error}"));
        }
    }
    Ok(())
}
