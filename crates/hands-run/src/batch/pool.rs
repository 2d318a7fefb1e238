//! The commands of a batch on their way: from a line of the list to a submission, and from a result to its outputs.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::SystemTime;

use bytes::Bytes;
use hands_client::{
    ActionId, ClientError, Cluster, ClusterKind, ImageRoot, ImageSource, JobResult, JobStream,
    Logs, Session, Snapshot,
};
use hands_front::args::ActionArgs;
use hands_front::{Around, Flight, FrontEnd, RunError, Trace, Verdict, spec, verdict};
use hands_types::retry::Reruns;
use hands_types::{Digest, ErrorClass, RelPath, TreeName};
use tokio::sync::OnceCell;

use crate::batch::source::Task;
use crate::{engine, hints, image, run};

/// Paths, whether they carry their times, and the program that was put beside them.
type Inputs = (Vec<PathBuf>, bool, Option<RelPath>);
type Root = Rc<Once<Option<Rc<Snapshot>>>>;

/// What is made once for all commands, or what is wrong with the files of its user: that is not looked for again.
pub(crate) type Once<T> = OnceCell<Result<T, String>>;

/// What the commands of a batch share.
pub(crate) struct Pool<'a> {
    cluster: &'a Cluster,
    session: &'a Session,
    front: &'a FrontEnd,
    action: &'a ActionArgs,
    trace: &'a Trace,
    /// Whether somebody wants to see what runs.
    follows: bool,
    /// One snapshot for all commands that name the same inputs.
    roots: RefCell<BTreeMap<Inputs, Root>>,
    /// The image that all of them have as their root.
    image: Option<ImageSource>,
    read: RefCell<Rc<Once<Rc<ImageRoot>>>>,
    /// What the names of layers mean, for all of them the same.
    names: RefCell<BTreeMap<TreeName, Digest>>,
    /// Whether its user was told what there is to know about the way commands are submitted.
    noted: Cell<bool>,
    /// The same about what could not be had where they ran.
    warned: Cell<bool>,
    /// The same about times that the engine does not keep.
    told_times: Cell<bool>,
    /// The same about output directories that ignore files keep here.
    told_ignored: Cell<bool>,
}

/// One command that was submitted.
pub(crate) struct Flying<'a> {
    pub(crate) task: &'a Task,
    root: Option<Rc<Snapshot>>,
    image: Option<Rc<ImageRoot>>,
    flight: Flight<'a>,
    pub(crate) before: Before,
    /// How often it may be run again, with what was lost before.
    pub(crate) reruns: Reruns,
}

/// What became of earlier submissions of a command.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Before {
    /// Its inputs had gone.
    pub(crate) lacked_inputs: bool,
    /// Attempts that were started, or may have been, and came to nothing.
    pub(crate) lost: u32,
}

/// One command that is over.
pub(crate) struct Outcome {
    pub(crate) result: JobResult,
    pub(crate) verdict: Verdict,
    pub(crate) stdout: Bytes,
    pub(crate) stderr: Bytes,
    pub(crate) started: SystemTime,
}

/// What a result is for its command.
pub(crate) enum Landed {
    Over(Box<Outcome>),
    /// Its inputs had gone from the store, and are to be sent once more.
    Again(Before),
}

impl<'a> Pool<'a> {
    pub(crate) fn new(
        cluster: &'a Cluster,
        session: &'a Session,
        front: &'a FrontEnd,
        action: &'a ActionArgs,
        trace: &'a Trace,
        follows: bool,
        image: Option<ImageSource>,
    ) -> Self {
        Self {
            image,
            read: RefCell::default(),
            names: RefCell::default(),
            cluster,
            session,
            front,
            action,
            trace,
            follows,
            roots: RefCell::new(BTreeMap::new()),
            noted: Cell::new(false),
            warned: Cell::new(false),
            told_times: Cell::new(false),
            told_ignored: Cell::new(false),
        }
    }

    /// Sends a command's inputs, where that was not done, and submits it.
    pub(crate) async fn begin<'t>(
        &self,
        task: &'t Task,
        before: Before,
    ) -> (&'t Task, Result<(ActionId, Flying<'t>), RunError>)
    where
        'a: 't,
    {
        (task, self.try_begin(task, before).await)
    }

    async fn try_begin<'t>(
        &self,
        task: &'t Task,
        before: Before,
    ) -> Result<(ActionId, Flying<'t>), RunError>
    where
        'a: 't,
    {
        let action = task.action.as_deref().unwrap_or(self.action);
        engine::check(action, self.cluster.kind(), self.cluster.peer())?;
        if let Some(sentence) = engine::loses_times(action, self.cluster)
            && !self.told_times.replace(true)
        {
            self.front.out.warning(&sentence);
        }
        // Wrong flags are told before anything is sent.
        let caller = &self.front.caller;
        let mut job = spec::job(action, task.argv.clone(), task.title.clone(), None, caller)?;
        self.front.give_layers(self.cluster, action, &mut job, &self.names).await?;
        job.logs = Logs::No;
        job.follow = self.follows;
        let mut reruns = job.budget();
        if let Err(why) = reruns.lose(before.lost) {
            // Whoever began it anew has asked before.
            return Err(RunError::Bug(why));
        }
        job.retry = reruns.left();
        let mut around = Around::default();
        let mut image = None;
        if let Some(source) = &self.image {
            let reading = image::read(source, self.cluster, self.front);
            let reading =
                async { self.trace.span("reading the image", reading).await.map(Rc::new) };
            let read = Rc::clone(&self.read.borrow());
            let root = image.insert(once(&read, Box::pin(reading)).await?);
            around = image::apply(root, &mut job, action, self.cluster, self.front).await?;
        } else if self.cluster.kind() == ClusterKind::Engine {
            around.below = job.flatten();
        }
        let root = self.root(action, around).await?;
        job.input_root = root.as_ref().map(|snapshot| snapshot.root);
        if let Some(snapshot) = &root
            && let Some(hint) = hints::ignored_outputs(action, &job.outputs, snapshot, caller)?
            && !self.told_ignored.replace(true)
        {
            self.front.out.hint(&hint);
        }
        run::check_places(action, &job.outputs, self.front)?;
        let flight = self.trace.action(&task.title);
        let submitted = self.session.submit(job).await?;
        // Said once: all may have it in common.
        if let Some(note) = submitted.note.filter(|_| !self.noted.replace(true)) {
            self.front.out.warning(note);
        }
        Ok((submitted.id, Flying { task, root, image, flight, before, reruns }))
    }

    /// Judges a result, and brings its outputs and streams.
    pub(crate) async fn land<'t>(
        &self,
        flying: Flying<'t>,
        result: JobResult,
    ) -> (&'t Task, Result<Landed, RunError>) {
        (flying.task, self.try_land(flying, result).await)
    }

    async fn try_land(&self, flying: Flying<'_>, result: JobResult) -> Result<Landed, RunError> {
        let Flying { task, root, image, mut flight, before, mut reruns } = flying;
        let action = task.action.as_deref().unwrap_or(self.action);
        if run::lacks_inputs(&result)
            && !before.lacked_inputs
            && reruns.lose(run::begun(&result)).is_ok()
        {
            self.forget(root, image);
            return Ok(Landed::Again(Before { lacked_inputs: true, lost: reruns.lost() }));
        }
        flight.has_result(&result);
        let mut verdict = verdict::of(&result, &spec::outputs(action)?);
        run::settle(self.cluster, &result, &mut verdict, self.front).await;
        let mut lost = hints::not_kept(action, &result);
        lost.extend(hints::wrong_clock(action, &result));
        if !lost.is_empty() && !self.warned.replace(true) {
            for sentence in lost {
                self.front.out.warning(&sentence);
            }
        }
        let cluster = self.cluster;
        let stdout = run::stream_of(cluster, &result, JobStream::Stdout, &mut verdict).await;
        let stderr = run::stream_of(cluster, &result, JobStream::Stderr, &mut verdict).await;
        flight.ends(&verdict);
        // By the worker's clock, where it tells.
        let started = result.started().unwrap_or_else(SystemTime::now);
        Ok(Landed::Over(Box::new(Outcome { result, verdict, stdout, stderr, started })))
    }

    /// Has a snapshot taken again, an image read again, and names looked up again: each may be what went from the store. Once
    /// for all commands that had the same: what was made since may well be there.
    fn forget(&self, root: Option<Rc<Snapshot>>, image: Option<Rc<ImageRoot>>) {
        self.names.take();
        let mut read = self.read.borrow_mut();
        if is_held(&read, image.as_ref()) {
            *read = Rc::default();
        }
        let root = root.as_ref().map(Rc::as_ptr);
        self.roots.borrow_mut().retain(|_, cell| {
            !matches!(cell.get(), Some(Ok(known)) if known.as_ref().map(Rc::as_ptr) == root)
        });
    }

    /// What goes around the inputs is the same for all but for the program.
    async fn root(
        &self,
        action: &ActionArgs,
        around: Around,
    ) -> Result<Option<Rc<Snapshot>>, RunError> {
        let (paths, times) = (&action.input, !action.cache);
        if paths.is_empty() && around.is_nothing() {
            return Ok(None);
        }
        let inputs: Inputs = (paths.clone(), times, around.program.clone());
        let cell = Rc::clone(self.roots.borrow_mut().entry(inputs).or_default());
        let sending = async {
            let snapshot = self.front.snapshot_with(self.cluster, paths, times, around);
            Ok(self.trace.span("sending inputs", snapshot).await?.map(Rc::new))
        };
        once(&cell, Box::pin(sending)).await
    }
}

/// Has something made, unless that was done.
pub(crate) async fn once<T: Clone>(
    cell: &Once<T>,
    making: impl Future<Output = Result<T, RunError>>,
) -> Result<T, RunError> {
    let class = ErrorClass::User;
    let made = cell.get_or_try_init(|| async {
        match making.await {
            Ok(made) => Ok(Ok(made)),
            Err(RunError::Client(ClientError::Snapshot { class: ErrorClass::User, message })) => {
                Ok(Err(message))
            }
            Err(error) => Err(error),
        }
    });
    made.await?.clone().map_err(|message| ClientError::Snapshot { class, message }.into())
}

/// Whether it is this very one that is held, and not one that was made after it.
pub(crate) fn is_held<T>(cell: &Once<Rc<T>>, one: Option<&Rc<T>>) -> bool {
    let Some(Ok(held)) = cell.get() else { return false };
    one.is_some_and(|one| Rc::ptr_eq(held, one))
}
