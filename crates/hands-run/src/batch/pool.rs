//! The commands in flight: each one a future from its inputs to its outputs.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::SystemTime;

use bytes::Bytes;
use hands_client::{Cluster, Event, Job, JobResult, JobSpec, JobStream, Logs, Snapshot};
use hands_types::Digest;
use tokio::sync::OnceCell;

use crate::args::ActionArgs;
use crate::batch::source::Task;
use crate::error::RunError;
use crate::front_end::FrontEnd;
use crate::trace::Trace;
use crate::verdict::Verdict;
use crate::{again, engine, hints, run, spec, verdict};

/// Paths, and whether they carry their times.
type Inputs = (Vec<PathBuf>, bool);
type Root = Rc<OnceCell<Option<Rc<Snapshot>>>>;

/// What the commands of a batch share.
pub(crate) struct Pool<'a> {
    cluster: &'a Cluster,
    front: &'a FrontEnd,
    action: &'a ActionArgs,
    trace: &'a Trace,
    /// One snapshot for all commands that name the same inputs.
    roots: RefCell<BTreeMap<Inputs, Root>>,
    /// Whether its user was told what there is to know about the way commands are submitted.
    noted: Cell<bool>,
    /// The same about what could not be had where they ran.
    warned: Cell<bool>,
    /// The same about times that the engine does not keep.
    told_times: Cell<bool>,
    /// The same about output directories that ignore files keep here.
    told_ignored: Cell<bool>,
}

/// One command that is over.
pub(crate) struct Outcome {
    pub(crate) result: JobResult,
    pub(crate) verdict: Verdict,
    pub(crate) stdout: Bytes,
    pub(crate) stderr: Bytes,
    pub(crate) argv: Vec<String>,
    pub(crate) started: SystemTime,
}

impl<'a> Pool<'a> {
    pub(crate) fn new(
        cluster: &'a Cluster,
        front: &'a FrontEnd,
        action: &'a ActionArgs,
        trace: &'a Trace,
    ) -> Self {
        Self {
            cluster,
            front,
            action,
            trace,
            roots: RefCell::new(BTreeMap::new()),
            noted: Cell::new(false),
            warned: Cell::new(false),
            told_times: Cell::new(false),
            told_ignored: Cell::new(false),
        }
    }

    /// Runs one command to its end. Dropping the future cancels it.
    pub(crate) async fn run<'t>(&self, task: &'t Task) -> (&'t Task, Result<Outcome, RunError>) {
        (task, self.try_run(task).await)
    }

    async fn try_run(&self, task: &Task) -> Result<Outcome, RunError> {
        let action = task.action.as_deref().unwrap_or(self.action);
        engine::check(action, self.cluster.kind(), self.cluster.peer())?;
        if let Some(sentence) = engine::loses_times(action, self.cluster)
            && !self.told_times.replace(true)
        {
            self.front.out.warning(&sentence);
        }
        let inputs = (action.input.clone(), !action.cache);
        // Wrong flags are told before anything is sent.
        let caller = &self.front.caller;
        let mut job = spec::job(action, task.argv.clone(), task.title.clone(), None, caller)?;
        job.logs = Logs::No;
        let (argv, outputs) = (job.argv.clone(), job.outputs.clone());
        let snapshot = self.root(&inputs).await?;
        let root = snapshot.as_ref().map(|s| s.root);
        job.input_root = root;
        if let Some(snapshot) = &snapshot
            && let Some(hint) = hints::ignored_outputs(action, &outputs, snapshot, caller)?
            && !self.told_ignored.replace(true)
        {
            self.front.out.hint(&hint);
        }
        run::check_places(action, &outputs, self.front)?;
        let mut flight = self.trace.action(&task.title);
        let tell = |event: &Event| {
            if let Some(sentence) = again::sentence(event) {
                self.front.out.always(&format!("command {}: {sentence}", task.number));
            }
        };
        let mut result = self.submit(job.clone()).await?.wait_telling(tell).await?;
        if run::lacks_inputs(&result) {
            self.forget(&inputs, root);
            job.input_root = self.root(&inputs).await?.map(|s| s.root);
            result = self.submit(job).await?.wait_telling(tell).await?;
        }
        flight.has_result(&result);
        let mut verdict = verdict::of(&result, &outputs);
        run::settle(self.cluster, &result, &mut verdict, self.front).await?;
        let mut lost = hints::not_kept(action, &result);
        lost.extend(hints::wrong_clock(action, &result));
        if !lost.is_empty() && !self.warned.replace(true) {
            for sentence in lost {
                self.front.out.warning(&sentence);
            }
        }
        let stdout = self.cluster.stream_of(&result, JobStream::Stdout).await?;
        let stderr = self.cluster.stream_of(&result, JobStream::Stderr).await?;
        flight.ends(&verdict);
        let started = super::start_of(&result);
        Ok(Outcome { result, verdict, stdout, stderr, argv, started })
    }

    /// Submits, and says once what all may have in common.
    async fn submit(&self, spec: JobSpec) -> Result<Job, RunError> {
        let job = self.cluster.submit(spec).await?;
        if let Some(note) = job.note().filter(|_| !self.noted.replace(true)) {
            self.front.out.warning(note);
        }
        Ok(job)
    }

    /// Has a snapshot taken again.
    fn forget(&self, inputs: &Inputs, root: Option<Digest>) {
        let mut roots = self.roots.borrow_mut();
        let known = roots.get(inputs).and_then(|cell| cell.get());
        if known.is_some_and(|snapshot| snapshot.as_ref().map(|s| s.root) == root) {
            roots.remove(inputs);
        }
    }

    async fn root(&self, inputs: &Inputs) -> Result<Option<Rc<Snapshot>>, RunError> {
        let (paths, times) = inputs;
        if paths.is_empty() {
            return Ok(None);
        }
        let cell = Rc::clone(self.roots.borrow_mut().entry(inputs.clone()).or_default());
        let root = cell.get_or_try_init(|| async {
            let snapshot = self.front.snapshot(self.cluster, paths, *times);
            Ok::<_, RunError>(self.trace.span("sending inputs", snapshot).await?.map(Rc::new))
        });
        Ok(root.await?.clone())
    }
}
