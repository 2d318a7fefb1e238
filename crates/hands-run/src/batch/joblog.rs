//! The job log: GNU parallel's columns, so that its readers read ours.
//!
//! `Seq Host Starttime JobRuntime Send Receive Exitval Signal Command`, separated by tabs, one line for each command
//! that ran to its end. A line is written whole or not at all; what a killed run left half is cut off when it resumes.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hands_front::RunError;

use crate::batch::source::Task;
use crate::quote::{in_a_line, in_a_log};

const HEADING: &str = "Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand\n";

/// One line to be written.
#[derive(Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) number: usize,
    pub(crate) host: &'a str,
    pub(crate) started: SystemTime,
    pub(crate) runtime: Duration,
    /// Bytes of stdout.
    pub(crate) received: u64,
    pub(crate) exit: u32,
    pub(crate) signal: u32,
    pub(crate) command: &'a str,
}

/// The log, open for appending.
#[derive(Debug)]
pub(crate) struct JobLog {
    path: PathBuf,
    file: File,
}

/// What an earlier run has finished: number → whether it succeeded.
pub(crate) type Finished = BTreeMap<usize, bool>;

impl JobLog {
    /// Starts a log, replacing an old one.
    pub(crate) fn create(path: &Path) -> Result<Self, RunError> {
        let file = File::create(path);
        let mut log =
            Self { path: path.to_owned(), file: file.map_err(|e| RunError::write(path, e))? };
        log.put(HEADING.as_bytes())?;
        Ok(log)
    }

    /// Goes on with a log: says what is finished. The list must be the one that the log is about.
    pub(crate) fn resume(path: &Path, tasks: &[Task]) -> Result<(Self, Finished), RunError> {
        let open =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
        let mut file = open.map_err(|e| RunError::write(path, e))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(|e| RunError::write(path, e))?;
        let whole = bytes.iter().rposition(|&b| b == b'\n').map_or(0, |i| i + 1);
        bytes.truncate(whole);
        let text = String::from_utf8_lossy(&bytes);
        let mut finished = Finished::new();
        for (index, line) in text.lines().enumerate().skip(1) {
            let wrong =
                |why: String| RunError::Line { path: path.to_owned(), line: index + 1, why };
            let fields: Vec<&str> = line.splitn(9, '\t').collect();
            let &[number, _, _, _, _, _, exit, signal, command] = fields.as_slice() else {
                return Err(wrong("does not have the nine columns of a job log".to_owned()));
            };
            let number: usize =
                number.trim().parse().map_err(|_| wrong("begins with no number".to_owned()))?;
            match number.checked_sub(1).and_then(|i| tasks.get(i)) {
                Some(task) if field(&task.title) != command => {
                    return Err(wrong(format!(
                        "is about another command {number} than this list's ({}); \
                         the list has changed: start a new log",
                        in_a_line(command)
                    )));
                }
                Some(_) | None => {}
            }
            finished.insert(number, exit.trim() == "0" && signal.trim() == "0");
        }
        let whole = u64::try_from(whole).unwrap_or(u64::MAX);
        file.set_len(whole)
            .and_then(|()| file.seek(SeekFrom::End(0)))
            .map_err(|e| RunError::write(path, e))?;
        let mut log = Self { path: path.to_owned(), file };
        if whole == 0 {
            log.put(HEADING.as_bytes())?;
        }
        Ok((log, finished))
    }

    /// Appends a line.
    pub(crate) fn append(&mut self, entry: &Entry<'_>) -> Result<(), RunError> {
        let started = entry.started.duration_since(UNIX_EPOCH).unwrap_or_default();
        let line = format!(
            "{}\t{}\t{:.3}\t{:10.3}\t0\t{}\t{}\t{}\t{}\n",
            entry.number,
            field(entry.host),
            started.as_secs_f64(),
            entry.runtime.as_secs_f64(),
            entry.received,
            entry.exit,
            entry.signal,
            field(entry.command),
        );
        self.put(line.as_bytes())
    }

    fn put(&mut self, line: &[u8]) -> Result<(), RunError> {
        self.file.write_all(line).map_err(|e| RunError::write(&self.path, e))
    }
}

/// A column can't hold what separates columns and lines.
fn field(text: &str) -> String {
    in_a_log(text).replace(['\t', '\n', '\r'], " ")
}
