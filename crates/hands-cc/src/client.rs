//! A compile's own process: it asks the agent, and becomes the compiler where the answer is no.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::fs::Mode;

use crate::wire::{Compile, Done, LONGEST, Reply, Request};
use crate::{Reason, Stats, compiler};

/// How long the agent may say nothing, which it does each second: one that stands still is no reason to wait.
const PATIENCE: Duration = Duration::from_secs(10);

/// Variables that concern compilers; those of ours, and by which our places are found, go along too.
const NAMES: &[&str] = &[
    "PATH",
    "PWD",
    "HOME",
    "TMPDIR",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "LC_MESSAGES",
    "LANGUAGE",
    "TERM",
    "CPATH",
    "C_INCLUDE_PATH",
    "CPLUS_INCLUDE_PATH",
    "SOURCE_DATE_EPOCH",
    "COMPILER_PATH",
    "LIBRARY_PATH",
    "DEPENDENCIES_OUTPUT",
    "SUNPRO_DEPENDENCIES",
    "CCC_OVERRIDE_OPTIONS",
    "LD_LIBRARY_PATH",
    "LD_PRELOAD",
    "MACOSX_DEPLOYMENT_TARGET",
    "IPHONEOS_DEPLOYMENT_TARGET",
    "SDKROOT",
];
const BEGINS: &[&str] = &["HANDS_", "XDG_", "GCC_", "CLANG_"];

/// How a compile went that its process need not run.
#[derive(Debug)]
pub enum Asked {
    /// It was run; what it printed was printed.
    Done {
        /// The compiler's exit code.
        code: u8,
        /// Whether it came from the cache.
        cached: bool,
    },
    /// It is to be run here.
    Local(Reason),
    /// Nobody listens at any of the sockets.
    NoAgent,
}

/// Asks for a compile. `words` begin with the compiler. Anything that goes wrong on the way is a reason to run it here.
pub fn ask(
    sockets: &[PathBuf],
    words: &[OsString],
    environment: &BTreeMap<OsString, OsString>,
) -> Asked {
    let request = match request(words, environment) {
        Ok(request) => request,
        Err(reason) => return Asked::Local(reason),
    };
    let (mut stream, reply) = match talk(sockets, &Request::Compile(Box::new(request))) {
        Ok(Some(talked)) => talked,
        Ok(None) => return Asked::NoAgent,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            return Asked::Local(Reason::new("agent", "it says nothing"));
        }
        Err(error) => return Asked::Local(Reason::new("agent", error)),
    };
    match reply {
        Reply::Done(done) => {
            if let Err(error) = put_in_place(&done) {
                return Asked::Local(Reason::new("output", error));
            }
            // What was made ready and is not in place is taken away, and then the agent hangs up.
            drop(stream.shutdown(Shutdown::Write).and_then(|()| stream.read(&mut [0])));
            // A reader that has gone is the compiler's own trouble as well: it would be ended by it, or not hear of it.
            drop(io::stdout().write_all(&done.stdout));
            drop(io::stderr().write_all(&done.stderr));
            Asked::Done { code: done.code, cached: done.cached }
        }
        Reply::Local { code, detail } => Asked::Local(Reason::new(known_code(&code), detail)),
        Reply::Stats(_) => Asked::Local(Reason::new("agent", "an answer to another question")),
    }
}

fn put_in_place(done: &Done) -> io::Result<()> {
    for (made, place) in &done.ready {
        fs::rename(made, place)?;
    }
    Ok(())
}

/// The counts of the agent; none where none runs.
pub fn stats(sockets: &[PathBuf], zero: bool) -> io::Result<Option<Stats>> {
    let request = if zero { Request::ZeroStats } else { Request::Stats };
    match talk(sockets, &request)? {
        Some((_, Reply::Stats(stats))) => Ok(Some(stats)),
        Some(_) => Err(io::Error::other("an answer to another question")),
        None => Ok(None),
    }
}

/// Becomes the compiler. Returns only where that fails.
pub fn become_compiler(words: &[OsString], path: Option<&OsStr>) -> io::Error {
    let Some((compiler, arguments)) = words.split_first() else {
        return io::Error::new(io::ErrorKind::NotFound, "no compiler is named");
    };
    let mut program = Command::new(real(compiler, path).unwrap_or_else(|| compiler.into()));
    program.args(arguments).exec()
}

/// The first program of that name along the `PATH` that is none of ours.
fn real(word: &OsStr, path: Option<&OsStr>) -> Option<PathBuf> {
    if Path::new(word).components().count() > 1 {
        return None;
    }
    let ourselves = fs::metadata("/proc/self/exe").ok()?;
    std::env::split_paths(path?).map(|place| place.join(word)).find(|program| {
        fs::metadata(program).is_ok_and(|it| {
            it.is_file()
                && it.mode() & 0o111 != 0
                && (it.dev(), it.ino()) != (ourselves.dev(), ourselves.ino())
                && !compiler::is_ours(program)
        })
    })
}

fn request(
    words: &[OsString],
    environment: &BTreeMap<OsString, OsString>,
) -> Result<Compile, Reason> {
    let text = |word: &OsString| word.to_str().map(str::to_owned);
    let words: Option<Vec<String>> = words.iter().map(text).collect();
    let is_sent =
        |name: &str| NAMES.contains(&name) || BEGINS.iter().any(|start| name.starts_with(start));
    let mut sent = BTreeMap::new();
    for (name, value) in environment {
        if let Some(name) = name.to_str().filter(|name| is_sent(name)) {
            let value = text(value).ok_or_else(|| Reason::new("not-utf-8", name))?;
            sent.insert(name.to_owned(), value);
        }
    }
    let failed = |error| Reason::new("directory", error);
    let directory = std::env::current_dir().map_err(failed)?;
    if directory.to_str().is_none() {
        return Err(Reason::new("not-utf-8", directory.display()));
    }
    let here = fs::metadata(".").map_err(failed)?;
    let root = fs::metadata("/").map_err(failed)?;
    // It can't be asked for without being set.
    let umask = rustix::process::umask(Mode::empty());
    rustix::process::umask(umask);
    Ok(Compile {
        words: words.ok_or_else(|| Reason::plain("not-utf-8"))?,
        directory,
        view: [here.dev(), here.ino(), root.dev(), root.ino()],
        umask: umask.as_raw_mode(),
        on_terminal: rustix::termios::isatty(io::stderr()),
        environment: sent,
    })
}

/// The answer, with the connection that it came by.
fn talk(sockets: &[PathBuf], request: &Request) -> io::Result<Option<(UnixStream, Reply)>> {
    let Some(mut stream) = sockets.iter().find_map(|at| UnixStream::connect(at).ok()) else {
        return Ok(None);
    };
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(&request.encode()?)?;
    let mut length = [0; 4];
    while length == [0; 4] {
        stream.read_exact(&mut length)?;
    }
    let length = usize::try_from(u32::from_be_bytes(length)).map_err(io::Error::other)?;
    if length > LONGEST {
        return Err(io::Error::other("an answer that is too long"));
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    let reply = Reply::decode(&body)?;
    Ok(Some((stream, reply)))
}

/// Codes come from a part of this program; one of a later build keeps its words in the detail.
fn known_code(code: &str) -> &'static str {
    Reason::CODES.iter().find(|known| **known == code).copied().unwrap_or("agent")
}
