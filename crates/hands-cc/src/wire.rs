//! What a compile's process and the agent say to each other: one request and one answer for each connection. Until it has the answer the
//! agent says each second that it is there, by a message of no length.
//!
//! A message is its length, then its fields; a field is its length, then its bytes. All lengths are 32 bits, big end first.
//! Both ends are builds of one program as a rule: a first field that is not known is refused, and the compile is local.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use crate::{Reason, Stats};

/// The agent's part: its socket's name.
pub const PART: &str = "cc";

/// Longest message: command lines are bounded by the kernel, what compilers say is not.
pub(crate) const LONGEST: usize = 64 << 20;
/// Which form of messages this is.
const FORM: &[u8] = b"cc/2";

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// Run this compile.
    Compile(Box<Compile>),
    /// Tell the counts.
    Stats,
    /// Begin them anew.
    ZeroStats,
}

/// A compile, with all of its caller that counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Compile {
    /// The compiler's name and all arguments.
    pub(crate) words: Vec<String>,
    /// The working directory.
    pub(crate) directory: PathBuf,
    /// Device and inode of the working directory and of `/`: whoever sees other files than the agent is not served.
    pub(crate) view: [u64; 4],
    pub(crate) umask: u32,
    /// Whether messages go to a terminal.
    pub(crate) on_terminal: bool,
    /// Variables that concern compilers and us.
    pub(crate) environment: BTreeMap<String, String>,
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// It was run: its outputs are ready.
    Done(Done),
    /// It is to be run by its caller.
    Local {
        /// The reason's code.
        code: String,
        /// What in particular.
        detail: String,
    },
    /// The counts.
    Stats(Stats),
}

/// How a compile ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Done {
    pub(crate) code: u8,
    pub(crate) cached: bool,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    /// Files that are ready, each with its place, in the order in which they get there. Whoever asked puts them there: it may have lost
    /// its patience and have run the compiler itself meanwhile.
    pub(crate) ready: Vec<(PathBuf, PathBuf)>,
}

impl From<Reason> for Reply {
    fn from(reason: Reason) -> Self {
        Self::Local { code: reason.code.to_owned(), detail: reason.detail }
    }
}

impl Request {
    pub(crate) fn encode(&self) -> io::Result<Vec<u8>> {
        let mut out = Fields::begin();
        match self {
            Self::Stats => out.field(b"stats")?,
            Self::ZeroStats => out.field(b"zero-stats")?,
            Self::Compile(it) => {
                out.field(b"compile")?;
                out.field(it.directory.as_os_str().as_encoded_bytes())?;
                for number in it.view {
                    out.field(&number.to_be_bytes())?;
                }
                out.field(&it.umask.to_be_bytes())?;
                out.field(&[u8::from(it.on_terminal)])?;
                out.field(&it.words.len().to_be_bytes())?;
                for word in &it.words {
                    out.field(word.as_bytes())?;
                }
                for (name, value) in &it.environment {
                    out.field(name.as_bytes())?;
                    out.field(value.as_bytes())?;
                }
            }
        }
        out.end()
    }

    pub(crate) fn decode(body: &[u8]) -> io::Result<Self> {
        let mut fields = Reader::begin(body)?;
        match fields.next()? {
            b"stats" => Ok(Self::Stats),
            b"zero-stats" => Ok(Self::ZeroStats),
            b"compile" => {
                let directory = PathBuf::from(fields.text()?);
                let mut view = [0; 4];
                for number in &mut view {
                    *number = fields.number()?;
                }
                let umask = u32::from_be_bytes(fields.bytes()?);
                let on_terminal = fields.bytes::<1>()? == [1];
                let count = fields.number()?;
                let words = (0..count).map(|_| fields.text()).collect::<Result<_, _>>()?;
                let mut environment = BTreeMap::new();
                while !fields.is_empty() {
                    environment.insert(fields.text()?, fields.text()?);
                }
                Ok(Self::Compile(Box::new(Compile {
                    words,
                    directory,
                    view,
                    umask,
                    on_terminal,
                    environment,
                })))
            }
            _ => Err(unreadable()),
        }
    }
}

impl Reply {
    pub(crate) fn encode(&self) -> io::Result<Vec<u8>> {
        let mut out = Fields::begin();
        match self {
            Self::Done(done) => {
                out.field(b"done")?;
                out.field(&[done.code])?;
                out.field(&[u8::from(done.cached)])?;
                out.field(&done.stdout)?;
                out.field(&done.stderr)?;
                let path = |path: &PathBuf| path.as_os_str().as_encoded_bytes().to_vec();
                for (made, place) in &done.ready {
                    out.field(&path(made))?;
                    out.field(&path(place))?;
                }
            }
            Self::Local { code, detail } => {
                out.field(b"local")?;
                out.field(code.as_bytes())?;
                out.field(detail.as_bytes())?;
            }
            Self::Stats(stats) => {
                out.field(b"stats")?;
                out.field(&stats.hits.to_be_bytes())?;
                out.field(&stats.remote.to_be_bytes())?;
                for (code, count) in &stats.local {
                    out.field(code.as_bytes())?;
                    out.field(&count.to_be_bytes())?;
                }
            }
        }
        out.end()
    }

    pub(crate) fn decode(body: &[u8]) -> io::Result<Self> {
        let mut fields = Reader::begin(body)?;
        match fields.next()? {
            b"done" => {
                let mut done = Done {
                    code: fields.bytes::<1>()?[0],
                    cached: fields.bytes::<1>()? == [1],
                    stdout: fields.next()?.to_vec(),
                    stderr: fields.next()?.to_vec(),
                    ..Done::default()
                };
                while !fields.is_empty() {
                    done.ready.push((fields.text()?.into(), fields.text()?.into()));
                }
                Ok(Self::Done(done))
            }
            b"local" => Ok(Self::Local { code: fields.text()?, detail: fields.text()? }),
            b"stats" => {
                let (hits, remote) = (fields.number()?, fields.number()?);
                let mut local = BTreeMap::new();
                while !fields.is_empty() {
                    local.insert(fields.text()?, fields.number()?);
                }
                Ok(Self::Stats(Stats { hits, remote, local }))
            }
            _ => Err(unreadable()),
        }
    }
}

/// A message that is being written.
struct Fields(Vec<u8>);

impl Fields {
    fn begin() -> Self {
        let mut bytes = vec![0; 4];
        bytes.extend(4_u32.to_be_bytes());
        bytes.extend(FORM);
        Self(bytes)
    }

    fn field(&mut self, bytes: &[u8]) -> io::Result<()> {
        let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        self.0.extend(length.to_be_bytes());
        self.0.extend(bytes);
        Ok(())
    }

    fn end(mut self) -> io::Result<Vec<u8>> {
        let length = self.0.len() - 4;
        if length > LONGEST {
            return Err(io::Error::other("a message that is too long"));
        }
        let length = u32::try_from(length).map_err(io::Error::other)?;
        self.0[..4].copy_from_slice(&length.to_be_bytes());
        Ok(self.0)
    }
}

/// The fields of a message.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn begin(body: &'a [u8]) -> io::Result<Self> {
        let mut reader = Self(body);
        if reader.next()? == FORM { Ok(reader) } else { Err(unreadable()) }
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn next(&mut self) -> io::Result<&'a [u8]> {
        let (length, rest) = self.0.split_first_chunk::<4>().ok_or_else(unreadable)?;
        let length = usize::try_from(u32::from_be_bytes(*length)).map_err(io::Error::other)?;
        let (field, rest) = rest.split_at_checked(length).ok_or_else(unreadable)?;
        self.0 = rest;
        Ok(field)
    }

    fn bytes<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        self.next()?.try_into().map_err(|_| unreadable())
    }

    fn number(&mut self) -> io::Result<u64> {
        self.bytes().map(u64::from_be_bytes)
    }

    fn text(&mut self) -> io::Result<String> {
        String::from_utf8(self.next()?.to_vec()).map_err(|_| unreadable())
    }
}

fn unreadable() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a message that can't be read")
}
