//! What is to be run, and the channels to it.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use hands_sandbox::{InputRoot, Layer, Limits, Network, Privilege, Scratch};
use hands_types::RelPath;
use tokio::sync::mpsc;

/// One action, its trees staged.
#[derive(Clone, Debug)]
pub struct ExecRequest {
    /// The input root: staged directories relative to the launcher's `cache_dir`, topmost first.
    pub lowers: Vec<PathBuf>,
    /// Staged directories that take the place of the host's root, topmost first; none for the host's. The executor's
    /// default variables, which speak of the host's directories, are left out then.
    pub root: Vec<PathBuf>,
    /// Staged directories that are mounted read-only at a place of their own.
    pub layers: Vec<Layer>,
    /// What to run in it.
    pub command: Command,
    /// Absolute path at which the action sees its input root: [`crate::ROOT_INSIDE`], or the action's
    /// `InputRootAbsolutePath` (`--same-path`).
    pub root_at: PathBuf,
    /// Whether inputs are overlaid or copied.
    pub input: InputRoot,
    /// How long the command may run.
    pub deadline: Option<Duration>,
    /// Memory, processes, descriptors.
    pub limits: Limits,
    /// Where the action's files go.
    pub scratch: Scratch,
    /// Whether [`crate::Ran::tree`] is wanted; else nobody waits for its unmounting.
    pub tree: bool,
    /// What it can reach.
    pub network: Network,
    /// What it may do beyond the ordinary.
    pub privilege: Privilege,
    /// A terminal for all three streams; then `stdin` is not asked.
    pub terminal: Option<Terminal>,
    /// Whether [`ExecIo::input`] feeds standard input. It is empty otherwise.
    pub stdin: bool,
}

/// What is executed (REAPI `Command`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Command {
    /// Program and arguments. A program without a slash is searched in the environment's `PATH`.
    pub arguments: Vec<String>,
    /// The environment, in the order given. [`crate::INSIDE_VARIABLE`] is added always, and `PATH`, `LANG`, `HOME`, `TMPDIR` and
    /// [`crate::ExecConfig::default_env`] where they are missing; nothing else.
    pub environment: Vec<(String, String)>,
    /// Where it starts, below the input root.
    pub working_directory: RelPath,
}

/// A terminal's beginnings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terminal {
    /// Rows of characters.
    pub rows: u16,
    /// Columns of characters.
    pub columns: u16,
    /// `TERM`, where the command's environment has none. Nothing is set if it is empty.
    pub term: String,
}

/// One of an action's streams. A terminal has [`Stream::Stdout`] only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stream {
    /// Standard output, or the terminal.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    /// Its name in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// Something that the action wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Where.
    pub stream: Stream,
    /// What; never empty, at most 64 KiB.
    pub bytes: Bytes,
}

/// Something for a running action's standard input or terminal, in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InputEvent {
    /// Bytes.
    Data(Bytes),
    /// The end. A terminal gets its end-of-file character.
    Eof,
}

/// Something for a running action that does not wait until it has read its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlEvent {
    /// The terminal's new size: rows, columns. Nothing without a terminal.
    Resize(u16, u16),
    /// A signal for the terminal's foreground process group. Nothing without a terminal.
    Signal(i32),
    /// Nobody reads this stream any more: its pipe is closed, and the action's next write there meets SIGPIPE. Nothing on
    /// a terminal.
    Close(Stream),
}

/// The channels of one run.
#[derive(Debug)]
pub struct ExecIo {
    /// Takes what the action writes. While it is full the action's pipe fills and its writes block; that is the
    /// back-pressure. When its receiver is gone the action is killed.
    pub output: mpsc::Sender<Piece>,
    /// Standard input. A closed channel is its end. While the action reads nothing, no more is taken after some pieces.
    pub input: Option<mpsc::Receiver<InputEvent>>,
    /// What else happens to the action from outside: taken at once.
    pub control: Option<mpsc::Receiver<ControlEvent>>,
}
