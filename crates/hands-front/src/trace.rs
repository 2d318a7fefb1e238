//! `--trace FILE`: what an invocation did and when, for chrome://tracing and Perfetto.
//!
//! A [`Trace`] collects spans by the clock of this machine while the front-end works, and is written once, when it ends,
//! whatever the end. Spans that are cut short, because somebody pressed Ctrl-C, are kept as far as they came: each is a
//! value that records itself when it is dropped. Without `--trace` all of this costs a comparison.

mod chrome;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::fs::{self, File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use hands_client::{JobResult, StageSpan};
use hands_types::error::exit;

use crate::error::RunError;
use crate::front_end::FrontEnd;
use crate::verdict::Verdict;

/// Runs a front-end under a trace that is written when it ends, however it ends. A trace that can't be written is our
/// failure, unless there is a worse one to tell.
pub async fn traced(
    path: Option<&Path>,
    name: &str,
    front: &FrontEnd,
    work: impl AsyncFnOnce(&Trace) -> Result<u8, RunError>,
) -> Result<u8, RunError> {
    let trace = Trace::begin(path, name, front.began)?;
    let ended = work(&trace).await;
    match (trace.write(), &ended) {
        (Ok(()), _) => {}
        (Err(error), Ok(exit::OK)) => return Err(error),
        (Err(error), _) => error.print(&front.out),
    }
    ended
}

/// A stretch of time with a name.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    pub(crate) name: &'static str,
    pub(crate) from: SystemTime,
    pub(crate) to: SystemTime,
}

/// One action from its submission to its outputs' arrival.
#[derive(Clone, Debug)]
pub(crate) struct Action {
    pub(crate) title: String,
    pub(crate) submitted: SystemTime,
    /// Whether it was submitted before that, and only watched from then on.
    pub(crate) watched: bool,
    /// When its result was here.
    pub(crate) result: Option<SystemTime>,
    /// When all that belongs to it was here, or it was left.
    pub(crate) ended: SystemTime,
    pub(crate) id: String,
    pub(crate) worker: String,
    pub(crate) cached: bool,
    pub(crate) attempt: u32,
    pub(crate) peak_memory: u64,
    pub(crate) stages: Vec<StageSpan>,
    /// How it ended, one word; none if it was left before.
    pub(crate) end: Option<(&'static str, u8)>,
}

#[derive(Debug, Default)]
pub(crate) struct Recorded {
    pub(crate) spans: Vec<Span>,
    pub(crate) actions: Vec<Action>,
}

/// What an invocation did so far.
#[derive(Debug)]
pub struct Trace {
    path: Option<PathBuf>,
    title: String,
    began: SystemTime,
    recorded: RefCell<Recorded>,
}

impl Trace {
    /// Begins a trace that will be written to `path`, if there is one. That a file can be made there is tried out at
    /// once: nobody wants to hear of it when the work is done.
    pub fn begin(
        path: Option<&Path>,
        front_end: &str,
        began: SystemTime,
    ) -> Result<Self, RunError> {
        if let Some(path) = path {
            let tried = if is_special(path) { Ok(()) } else { draft(path).map(drop) };
            tried.map_err(|e| RunError::write(path, e))?;
        }
        Ok(Self {
            path: path.map(Path::to_owned),
            title: format!("hands {front_end}"),
            began,
            recorded: RefCell::default(),
        })
    }

    /// Waits for something and records how long that took, also if the wait is given up.
    pub async fn span<T>(&self, name: &'static str, waiting: impl Future<Output = T>) -> T {
        let _open = Open { trace: self, name, from: SystemTime::now() };
        waiting.await
    }

    /// Begins an action that is about to be submitted.
    pub fn action(&self, title: &str) -> Flight<'_> {
        self.flight(title, SystemTime::now(), false)
    }

    /// An action that was submitted before, perhaps by somebody else: it is watched since this invocation began.
    pub fn watched(&self, title: &str) -> Flight<'_> {
        self.flight(title, self.began, true)
    }

    fn flight(&self, title: &str, submitted: SystemTime, watched: bool) -> Flight<'_> {
        let action = self.path.is_some().then(|| {
            Box::new(Action {
                title: title.to_owned(),
                submitted,
                watched,
                result: None,
                ended: submitted,
                id: String::new(),
                worker: String::new(),
                cached: false,
                attempt: 0,
                peak_memory: 0,
                stages: Vec::new(),
                end: None,
            })
        });
        Flight { trace: self, action }
    }

    /// Writes the file: wholly, or not at all.
    pub fn write(&self) -> Result<(), RunError> {
        let Some(path) = &self.path else { return Ok(()) };
        let recorded = self.recorded.borrow();
        let json = chrome::json(&recorded, &self.title, self.began, SystemTime::now());
        put(path, json.to_string().as_bytes()).map_err(|e| RunError::write(path, e))
    }
}

/// A span that is not over.
struct Open<'a> {
    trace: &'a Trace,
    name: &'static str,
    from: SystemTime,
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        if self.trace.path.is_some() {
            let span = Span { name: self.name, from: self.from, to: SystemTime::now() };
            self.trace.recorded.borrow_mut().spans.push(span);
        }
    }
}

/// An action under way. Dropping it is its end.
#[derive(Debug)]
pub struct Flight<'a> {
    trace: &'a Trace,
    /// Many are under way at once, and few are traced.
    action: Option<Box<Action>>,
}

impl Flight<'_> {
    /// Its result is here; its outputs may still be on their way.
    pub fn has_result(&mut self, result: &JobResult) {
        let Some(action) = &mut self.action else { return };
        action.result = Some(SystemTime::now());
        action.id.clone_from(&result.id);
        action.worker = result.worker();
        action.cached = result.cached;
        action.stages = result.timeline();
        if let Some(usage) = result.usage() {
            action.attempt = usage.attempt;
            action.peak_memory = usage.peak_memory;
        }
    }

    /// It is over, and this is what it came to.
    pub fn ends(mut self, verdict: &Verdict) {
        if let Some(action) = &mut self.action {
            action.end = Some((verdict.end.name(), verdict.code));
        }
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        if let Some(mut action) = self.action.take() {
            action.ended = SystemTime::now();
            self.trace.recorded.borrow_mut().actions.push(*action);
        }
    }
}

/// A pipe or a device has no name that could be moved into its place.
fn is_special(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|m| !m.is_file() && !m.is_dir())
}

/// A file beside `path`, with the permissions that the person's umask leaves.
fn draft(path: &Path) -> io::Result<tempfile::NamedTempFile> {
    if path.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    let directory = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    tempfile::Builder::new()
        .prefix(".hands-trace-")
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(directory)
}

fn put(path: &Path, json: &[u8]) -> io::Result<()> {
    if is_special(path) {
        return File::options().write(true).open(path)?.write_all(json);
    }
    let mut draft = draft(path)?;
    draft.write_all(json)?;
    draft.persist(path).map(drop).map_err(|e| e.error)
}
