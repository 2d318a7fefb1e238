//! What a compile reads: found by one of several ways behind one trait.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Reason;
use crate::command::CompileCommand;
use crate::toolchain::Family;

/// A compile, as a way to find its dependencies is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question<'a> {
    pub(crate) driver: &'a Path,
    pub(crate) family: Family,
    pub(crate) command: &'a CompileCommand,
    /// The working directory, as its caller spells it.
    pub(crate) directory: &'a Path,
    pub(crate) environment: &'a BTreeMap<String, String>,
}

/// What it reads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// The source and all headers, absolute, as the compiler spells them.
    pub(crate) files: Vec<PathBuf>,
    /// Directories in which headers are looked for, those of the compiler included.
    pub(crate) search: Vec<PathBuf>,
}

/// A way to find what a compile reads. It says what the compiler itself would read at this moment, or why it can't tell.
pub(crate) trait Dependencies: fmt::Debug + Send + Sync {
    /// Finds it.
    fn find(&self, question: Question<'_>) -> Result<Found, Reason>;
}

/// The compiler's own answer, `-M`: right by construction, a new header that hides another included.
#[derive(Debug)]
pub(crate) struct AskCompiler;

impl Dependencies for AskCompiler {
    fn find(&self, question: Question<'_>) -> Result<Found, Reason> {
        let Question { driver, family, command, directory, environment } = question;
        let mut asking = Command::new(driver);
        // A name for the rule that needs no escapes; and no warnings, which come with the compile.
        asking.args(&command.preprocessing).args(["-M", "-MT", "x", "-w", "-v"]);
        if family == Family::Gcc {
            // As they are opened: where `..` stands in a path, the directory before it has to be there, too.
            asking.arg("-fno-canonical-system-headers");
        }
        let asked = asking
            .current_dir(directory)
            .env_clear()
            .envs(environment)
            .env("LC_ALL", "C")
            .stdin(std::process::Stdio::null())
            .output()
            .map_err(|error| Reason::new("dependencies", error))?;
        if !asked.status.success() {
            return Err(Reason::new("dependencies", "the preprocessor ends with an error"));
        }
        let files = rule(&asked.stdout).into_iter().map(|file| directory.join(file)).collect();
        let search = search(&asked.stderr).into_iter().map(|it| directory.join(it)).collect();
        Ok(Found { files, search })
    }
}

/// The prerequisites of a rule for make.
pub(crate) fn rule(text: &[u8]) -> Vec<PathBuf> {
    let text = text.strip_prefix(b"x:").unwrap_or(text);
    let mut files = Vec::new();
    let mut word: Vec<u8> = Vec::new();
    let mut bytes = text.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        let next = bytes.peek().copied();
        match (byte, next) {
            (b'\\', Some(b' ' | b'#' | b'\t')) | (b'$', Some(b'$')) => word.extend(bytes.next()),
            (b'\\', Some(b'\n')) => {}
            (b' ' | b'\n' | b'\t', _) => {
                if !word.is_empty() {
                    files.push(PathBuf::from(OsStr::from_bytes(&word)));
                    word.clear();
                }
            }
            (byte, _) => word.push(byte),
        }
    }
    if !word.is_empty() {
        files.push(PathBuf::from(OsStr::from_bytes(&word)));
    }
    files
}

/// The directories that `-v` lists.
pub(crate) fn search(text: &[u8]) -> Vec<PathBuf> {
    let lines = text.split(|byte| *byte == b'\n');
    let list = lines
        .skip_while(|line| !line.starts_with(b"#include \"...\" search starts here"))
        .take_while(|line| !line.starts_with(b"End of search list"));
    list.filter_map(|line| line.strip_prefix(b" "))
        .map(|line| PathBuf::from(OsStr::from_bytes(line)))
        .collect()
}
