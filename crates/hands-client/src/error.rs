//! What can go wrong between a front-end and its cluster.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use hands_types::{Digest, ErrorClass};

use crate::{Code, JobStream};

/// An error of this crate. `Display` says what failed and where; [`ClientError::hint`] says what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The agent could not be started, or ended before it listened.
    #[error("the agent ({}) could not be started: {why}", program.display())]
    AgentStart {
        /// The program that was started.
        program: PathBuf,
        /// What happened, with the last line of its log where there is one.
        why: String,
        /// Where its log is.
        log: PathBuf,
        /// The cause, where the operating system gave one.
        #[source]
        source: Option<io::Error>,
    },
    /// The agent started, looked at its state or configuration, and refused to serve.
    #[error("{message}")]
    AgentRefused {
        /// Whose error it is, as the agent said.
        class: ErrorClass,
        /// One sentence of the agent's.
        message: String,
    },
    /// An agent is there and does not answer: it is stopped, or its machine is overloaded.
    #[error("{peer} has not answered for {} s", waited.as_secs())]
    AgentSilent {
        /// The agent, by its socket.
        peer: String,
        /// How long we waited.
        waited: Duration,
    },
    /// An agent lives, and listens nowhere that a front-end could find.
    #[error("an agent lives ({who}) and can't be reached; it holds {}", lock.display())]
    AgentUnreachable {
        /// The process, as far as it is known.
        who: String,
        /// The lock that it holds.
        lock: PathBuf,
    },
    /// No agent is running, and none was to be started.
    #[error("no agent is running")]
    NoAgent,
    /// Agent and client, or hub and client, have no protocol version in common.
    #[error(
        "the {peer} speaks protocol versions {theirs_low} to {theirs_high} (it is {theirs}), this program {ours_low} to {ours_high} (it is {ours})"
    )]
    Version {
        /// `agent` or `hub`.
        peer: &'static str,
        /// The lowest version that the peer speaks.
        theirs_low: u32,
        /// The highest version that the peer speaks.
        theirs_high: u32,
        /// The peer's version, for people.
        theirs: String,
        /// The lowest version that we speak.
        ours_low: u32,
        /// The highest version that we speak.
        ours_high: u32,
        /// Our version, for people.
        ours: &'static str,
    },
    /// No connection.
    #[error("no connection to {peer}: {why}")]
    Connect {
        /// Where to, as an address.
        peer: String,
        /// What the link said.
        why: String,
        /// Whether it may work later.
        retry: bool,
    },
    /// It is there, and says that it can't do it now.
    #[error("{peer} says that it can't now: {message}")]
    NotNow {
        /// Who answered.
        peer: String,
        /// The message that came with it, made printable.
        message: String,
    },
    /// It went on saying that for as long as the caller allows.
    #[error("{peer} said for {} s that it can't: {message}", waited.as_secs())]
    Never {
        /// Who answered.
        peer: String,
        /// How long we asked.
        waited: Duration,
        /// What it said last.
        message: String,
    },
    /// A request was answered with an error.
    #[error("{}", answered(what, peer, *code, message))]
    Rpc {
        /// What was asked, as a noun: `Execute`, `the list of workers` …
        what: &'static str,
        /// Who answered.
        peer: String,
        /// The gRPC code.
        code: Code,
        /// The message that came with it, made printable.
        message: String,
    },
    /// An attempt was lost after some of its output had been handed out, and the next attempt writes something else.
    #[error("{}", other_output(*stream, *bytes, *first, *second))]
    OtherOutput {
        /// Which stream.
        stream: JobStream,
        /// How much was handed out.
        bytes: u64,
        /// The attempt that wrote it.
        first: u32,
        /// The attempt that came after it; not above the first where it is another execution's, and 0 where nobody tells.
        second: u32,
    },
    /// An engine had not answered when the connection to it was lost, and the action may not be run a second time.
    #[error("{}", unanswered(peer, *times))]
    Unanswered {
        /// Who did not answer.
        peer: String,
        /// How often the action was submitted.
        times: u32,
    },
    /// The hub does not know the action any more, which may not be run a second time.
    #[error(
        "{peer} does not know the action any more, which may have been run; it may have had effects outside or is not to be run again, so it is not submitted again"
    )]
    Forgotten {
        /// Who answered.
        peer: String,
    },
    /// A worker misses standard input that it had acknowledged.
    #[error(
        "{peer} lost standard input of the action up to byte {has}, and this program has only what begins at byte {kept}"
    )]
    InputLost {
        /// Who lost it.
        peer: String,
        /// How much the worker has.
        has: u64,
        /// The first byte that can be repeated.
        kept: u64,
    },
    /// The same of an action that is only followed here.
    #[error(
        "{peer} does not know the action any more: it was started without its state, or with an old copy of it"
    )]
    NotKnown {
        /// Who answered.
        peer: String,
    },
    /// Another engine, asked for what only our hubs know.
    #[error("{peer} is not a hub of ours and can't answer {what}")]
    NotOurs {
        /// What was asked, as a noun.
        what: &'static str,
        /// Who it is.
        peer: String,
    },
    /// An address that was named as one without encryption is one with it.
    #[error("{peer} wants TLS, and is called here without")]
    WantsTls {
        /// Who it is.
        peer: String,
    },
    /// Nobody answered at an address in the time that the caller allows.
    #[error("{peer} could not be reached within {} s: {why}", waited.as_secs())]
    Unreachable {
        /// Where to.
        peer: String,
        /// How long we tried.
        waited: Duration,
        /// What the link said last.
        why: String,
    },
    /// The connection was lost and did not come back in the time that the caller allows.
    #[error("the connection to {peer} was lost and did not come back within {} s: {message}", waited.as_secs())]
    Lost {
        /// The hub or agent.
        peer: String,
        /// How long we tried.
        waited: Duration,
        /// The last error.
        message: String,
    },
    /// An answer that breaks the protocol.
    #[error("{peer} broke the protocol: {why}")]
    Protocol {
        /// Who.
        peer: String,
        /// How.
        why: String,
    },
    /// Blobs that should be in the cluster's store are not.
    #[error("{peer} has not got {what} ({digest})")]
    MissingBlob {
        /// Who was asked.
        peer: String,
        /// What the blob is, as a noun.
        what: String,
        /// Its digest.
        digest: Digest,
    },
    /// Blobs could not be moved.
    #[error("{what} could not be moved to or from {peer}: {message}")]
    Transfer {
        /// What was moved.
        what: String,
        /// The other side.
        peer: String,
        /// Whose error.
        class: ErrorClass,
        /// Why.
        message: String,
    },
    /// The agent could not take the snapshot.
    #[error("{message}")]
    Snapshot {
        /// Whose error it is.
        class: ErrorClass,
        /// The agent's words; they name the path.
        message: String,
    },
    /// The specification can't be made into an action.
    #[error("{0}")]
    Spec(String),
    /// A path of this machine that was to be an input.
    #[error("the input {} can't be opened", path.display())]
    Input {
        /// The path as it was given.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A result names an output that must not be written.
    #[error("the result names the output `{path}`, which {why}; nothing was written for it")]
    HostileOutput {
        /// The path, made printable.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// The disk has no room for the outputs.
    #[error(
        "the outputs have {} MiB{}, and the disk here has {} MiB free, of which {} MiB always stay free; nothing was written",
        bytes.div_ceil(1 << 20), beside(*promised), free >> 20, reserve >> 20
    )]
    NoRoom {
        /// Of all outputs.
        bytes: u64,
        /// Those of other results that are under way and not written yet.
        promised: u64,
        /// Free bytes.
        free: u64,
        /// What always stays free.
        reserve: u64,
    },
    /// Something here is in the way of an output, as was seen before the action ran.
    #[error("the output `{path}` can't be put in place here: {why}")]
    NoPlace {
        /// The output, made printable.
        path: String,
        /// What is in the way, printable.
        why: String,
    },
    /// Several outputs could not be put in place; all others are there.
    #[error("{} outputs can't be written, all others are in place:{}", refused.len(), listed(refused))]
    Unplaced {
        /// Two or more.
        refused: Vec<Self>,
    },
    /// An output could not be put in place.
    #[error("the output `{path}` can't be written")]
    Write {
        /// The path below the destination, made printable.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Something else of this machine failed.
    #[error("{what}")]
    Local {
        /// What was tried.
        what: String,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}

fn unanswered(peer: &str, times: u32) -> String {
    if times > 1 {
        return format!(
            "the connection to {peer} was lost {times} times before it had answered, so that the action may have been run as often; it is not submitted again"
        );
    }
    format!(
        "the connection to {peer} was lost before it had answered, so that the action may have been run; it may have had effects outside or is not to be run again, so it is not submitted again"
    )
}

fn beside(promised: u64) -> String {
    match promised.div_ceil(1 << 20) {
        0 => String::new(),
        mebibytes => format!(" beside {mebibytes} MiB that are under way"),
    }
}

fn other_output(stream: JobStream, bytes: u64, first: u32, second: u32) -> String {
    let (first, second) = if first < second {
        (format!("attempt {first}"), format!("attempt {second}"))
    } else {
        ("the first execution".to_owned(), "the second one".to_owned())
    };
    format!(
        "{bytes} bytes of {} that {first} wrote were passed on before it was lost, and {second} writes something else: what was passed on can't be taken back",
        name_of(stream)
    )
}

impl ClientError {
    /// Whose error it is.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::AgentRefused { class, .. }
            | Self::Snapshot { class, .. }
            | Self::Transfer { class, .. } => *class,
            Self::AgentStart { .. }
            | Self::AgentSilent { .. }
            | Self::AgentUnreachable { .. }
            | Self::NoAgent
            | Self::Write { .. }
            | Self::NoRoom { .. }
            | Self::Local { .. } => ErrorClass::Environment,
            Self::Input { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                ErrorClass::User
            }
            Self::Input { .. } => ErrorClass::Environment,
            Self::Unplaced { refused } => {
                refused.first().map_or(ErrorClass::Environment, Self::class)
            }
            Self::WantsTls { .. } => ErrorClass::Config,
            Self::Version { .. } => ErrorClass::Infra { retry: false },
            Self::Connect { retry, .. } => ErrorClass::Infra { retry: *retry },
            Self::Rpc { code, .. } => class_of_code(*code),
            Self::Unreachable { .. }
            | Self::Lost { .. }
            | Self::NotNow { .. }
            | Self::Never { .. } => ErrorClass::Infra { retry: true },
            Self::MissingBlob { .. }
            | Self::OtherOutput { .. }
            | Self::Forgotten { .. }
            | Self::Unanswered { .. }
            | Self::NotKnown { .. } => ErrorClass::Infra { retry: false },
            Self::Protocol { .. } | Self::HostileOutput { .. } | Self::InputLost { .. } => {
                ErrorClass::Infra { retry: false }
            }
            Self::NoPlace { .. } | Self::Spec(_) | Self::NotOurs { .. } => ErrorClass::User,
        }
    }

    /// The same for another of those whom it ends: errors of a connection end all that goes over it.
    pub(crate) fn again(&self) -> Self {
        match self {
            Self::Connect { peer, why, retry } => {
                Self::Connect { peer: peer.clone(), why: why.clone(), retry: *retry }
            }
            Self::NotNow { peer, message } => {
                Self::NotNow { peer: peer.clone(), message: message.clone() }
            }
            Self::Never { peer, waited, message } => {
                Self::Never { peer: peer.clone(), waited: *waited, message: message.clone() }
            }
            Self::Lost { peer, waited, message } => {
                Self::Lost { peer: peer.clone(), waited: *waited, message: message.clone() }
            }
            Self::Rpc { what, peer, code, message } => {
                Self::Rpc { what, peer: peer.clone(), code: *code, message: message.clone() }
            }
            other => Self::Transfer {
                what: "the session".to_owned(),
                peer: "the cluster".to_owned(),
                class: other.class(),
                message: other.to_string(),
            },
        }
    }

    /// The next step, as a sentence fragment, where there is one that helps.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::AgentStart { log, .. } => Some(format!("its log is {}; `hands doctor` tests what this machine can do", log.display())),
            Self::AgentSilent { .. } | Self::AgentUnreachable { .. } => Some("`hands agent stop --force` ends it, whatever state it is in; the next command starts another".to_owned()),
            Self::WantsTls { .. } => Some("`hands login JOIN` with a join string that `hands token create --role submit` makes there; then leave the address out. Engines of others are --engine grpcs://HOST:PORT".to_owned()),
            Self::NoAgent => Some("any `hands run` starts one".to_owned()),
            Self::Version { peer: "agent", .. } => {
                Some("`hands agent stop` ends the running agent (`--force` also when it is busy); the next command starts a fitting one".to_owned())
            }
            Self::Version { theirs_high, ours_low, .. } if theirs_high < ours_low => Some("update the hub first, then its clients".to_owned()),
            Self::Version { .. } => Some("update this program to the hub's version".to_owned()),
            Self::Connect { .. } | Self::Unreachable { .. } | Self::Lost { .. } => Some("check that the hub runs and that its address is right, or use `--local`".to_owned()),
            Self::OtherOutput { .. } => Some("with --json the output of different attempts is kept apart".to_owned()),
            Self::NoRoom { .. } => Some("free some space there, or choose another place".to_owned()),
            Self::MissingBlob { .. } => Some("it was evicted from the store, or was damaged on its disk, which the log of the hub then says: run the command again".to_owned()),
            Self::Write { source, .. } | Self::Local { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                Some("free some space there".to_owned())
            }
            Self::Rpc { code: Code::Unauthenticated | Code::PermissionDenied, .. } => Some("`hands login` with a join string that carries the role".to_owned()),
            Self::Rpc { code: Code::Internal, .. } | Self::Protocol { .. } => Some("please report this".to_owned()),
            _ => None,
        }
    }

    /// Whether the error is a lost connection or says that it will pass, so that the same request may be sent again.
    pub(crate) const fn is_lost_connection(&self) -> bool {
        match self {
            Self::Connect { retry, .. } => *retry,
            Self::NotNow { .. } => true,
            _ => false,
        }
    }

    /// Whether the hub has no room for it: for so many actions, or so much memory.
    pub const fn is_for_want_of_room(&self) -> bool {
        matches!(self, Self::Rpc { code: Code::ResourceExhausted, .. })
    }

    /// Makes an error of a gRPC status. One that never came over the wire, but was made by our end of a broken
    /// connection, has a cause behind it.
    pub(crate) fn rpc(what: &'static str, peer: &str, status: &tonic::Status) -> Self {
        let message = crate::printable(&message_of(status)).into_owned();
        if std::error::Error::source(status).is_some() {
            return Self::Connect { peer: peer.to_owned(), why: message, retry: may_pass(status) };
        }
        if status.code() == tonic::Code::Unavailable || is_short_of_room(status) {
            return Self::NotNow { peer: peer.to_owned(), message };
        }
        Self::Rpc { what, peer: peer.to_owned(), code: status.code().into(), message }
    }

    /// The same of another engine. What a hub of ours refuses it explains; the words of others do not even say whose they are.
    pub(crate) fn foreign(what: &'static str, peer: &str, status: &tonic::Status) -> Self {
        match Self::rpc(what, peer, status) {
            Self::Rpc { what, peer, code, message } if is_explained(code) => {
                let message = format!("{peer}: {message}");
                Self::Rpc { what, peer, code, message }
            }
            other => other,
        }
    }
}

/// The first of them, each on a line of its own.
fn listed(errors: &[ClientError]) -> String {
    const MOST: usize = 10;
    let lines = errors.iter().take(MOST).map(|error| {
        let cause = std::error::Error::source(error);
        format!("\n  {error}{}", cause.map(|cause| format!(": {cause}")).unwrap_or_default())
    });
    let more = errors.len().saturating_sub(MOST);
    lines.chain((more > 0).then(|| format!("\n  and {more} more"))).collect()
}

/// Whether it had no room for the call and says when to make it again. The same code without that stands for what stays, such
/// as a full disk.
fn is_short_of_room(status: &tonic::Status) -> bool {
    status.code() == tonic::Code::ResourceExhausted && hands_reapi::passes(status)
}

/// Whether the message of such an answer needs nothing around it.
const fn is_explained(code: Code) -> bool {
    matches!(code, Code::InvalidArgument | Code::NotFound)
}

/// Whether the cause of a broken connection may go away by itself. A hub that is somebody else does not.
fn may_pass(status: &tonic::Status) -> bool {
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        if let Some(link) = error.downcast_ref::<hands_link::LinkError>() {
            return link.class().retry();
        }
        cause = error.source();
    }
    true
}

/// tonic's message for a broken connection is "transport error"; the cause behind it says more.
fn message_of(status: &tonic::Status) -> String {
    use std::error::Error as _;
    let mut message = status.message().to_owned();
    let mut cause = status.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !message.contains(&text) {
            message.push_str(": ");
            message.push_str(&text);
        }
        cause = error.source();
    }
    if message.is_empty() { status.code().description().to_owned() } else { message }
}

/// An answer as a sentence. Where the request itself was wrong, what the other side says of it is all there is to say.
fn answered(what: &str, peer: &str, code: Code, message: &str) -> String {
    if is_explained(code) && !message.is_empty() {
        return message.to_owned();
    }
    format!("{peer} answered {what} with {code:?}: {message}")
}

/// Whose error a gRPC code is.
pub(crate) const fn class_of_code(code: Code) -> ErrorClass {
    match code {
        Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::OutOfRange
        | Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Ok => ErrorClass::User,
        Code::PermissionDenied | Code::Unauthenticated | Code::Unimplemented => ErrorClass::Config,
        Code::ResourceExhausted => ErrorClass::Environment,
        Code::Unavailable | Code::Unknown | Code::Aborted => ErrorClass::Infra { retry: true },
        Code::FailedPrecondition | Code::DataLoss => ErrorClass::Infra { retry: false },
        Code::Internal => ErrorClass::Bug,
    }
}

/// Reads the class from its name on the wire (`ErrorClass::name`).
pub(crate) fn class_by_name(name: &str) -> ErrorClass {
    match name {
        "user" => ErrorClass::User,
        "config" => ErrorClass::Config,
        "environment" => ErrorClass::Environment,
        "infrastructure" => ErrorClass::Infra { retry: false },
        _ => ErrorClass::Bug,
    }
}

pub(crate) const fn name_of(stream: JobStream) -> &'static str {
    match stream {
        JobStream::Stdout => "standard output",
        JobStream::Stderr => "standard error",
    }
}
