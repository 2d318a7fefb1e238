//! One lease and everything that is kept for it.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use hands_exec::{ActionTree, LeftOut, Ran};
use hands_proto::{reapi, v1};
use hands_reapi::{Blob, BlobError, Source};
use hands_store::Pin;
use hands_types::limits::{COLLECT, COLLECT_LEAST};
use hands_types::{Digest, ErrorClass};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::action::Plan;
use crate::fetch::{FIRST_WAIT, Fetcher, Prepared};
use crate::output::Streams;
use crate::outputs::{self, Collected, Wanted};
use crate::report::{self, Conclusion, Ending, Times};
use crate::room;
use crate::run::Feed;

/// One lease and everything that is kept for it. Dropping it stops whatever is still done for it.
#[derive(Debug)]
pub(crate) struct Attempt {
    /// What to do; or why the lease can't be read.
    pub(crate) plan: Result<Arc<Plan>, String>,
    /// The lease, until its Command is fetched.
    pub(crate) unread: Option<Unread>,
    pub(crate) times: Times,
    pub(crate) streams: Arc<Mutex<Streams>>,
    pub(crate) feed: Arc<Feed>,
    pub(crate) prepared: Option<Prepared>,
    /// Kills the running command.
    pub(crate) cancel: Option<oneshot::Sender<()>>,
    pub(crate) ran: Option<(Ran, Ending)>,
    /// Told to the hub until it is acknowledged.
    pub(crate) finished: Option<v1::Finished>,
    /// Keeps the outputs in the store until then.
    pub(crate) pin: Option<Pin>,
    pub(crate) task: Option<Task>,
    pub(crate) collecting: Arc<AtomicBool>,
}

/// A lease that names its Command and does not carry it.
#[derive(Debug)]
pub(crate) struct Unread {
    pub(crate) lease: Box<v1::Lease>,
    pub(crate) command: Digest,
}

impl Attempt {
    pub(crate) fn new(plan: Result<Arc<Plan>, String>, streams: Streams, feed: Arc<Feed>) -> Self {
        Self {
            plan,
            unread: None,
            times: Times::starting(SystemTime::now()),
            streams: Arc::new(Mutex::new(streams)),
            feed,
            prepared: None,
            cancel: None,
            ran: None,
            finished: None,
            pin: None,
            task: None,
            collecting: Arc::default(),
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        // A blocking thread can't be aborted; it looks at this between two files.
        self.collecting.store(true, Ordering::Relaxed);
        if let Some((ran, _)) = &mut self.ran {
            dispose(ran.tree.take());
        }
    }
}

/// A task that ends with whoever holds this.
#[derive(Debug)]
pub(crate) struct Task(Option<JoinHandle<()>>);

impl Task {
    pub(crate) fn spawn(work: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(Some(tokio::spawn(work)))
    }

    /// Ends it, and returns when all that it held is dropped.
    pub(crate) async fn stop(mut self) {
        if let Some(task) = self.0.take() {
            task.abort();
            // Aborted, as was asked; or it had ended.
            let _ended = task.await;
        }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

/// Drops a tree on a blocking thread: unmounting waits for the kernel, 0.1 ms for an empty one, and the result of the
/// action does not wait for that.
pub(crate) fn dispose(tree: Option<ActionTree>) {
    if let Some(tree) = tree
        && let Ok(runtime) = tokio::runtime::Handle::try_current()
    {
        drop(runtime.spawn_blocking(move || drop(tree)));
    }
}

/// Outputs that are where the hub can read them.
#[derive(Debug)]
pub(crate) struct Uploaded {
    /// The part of the result that names them.
    pub(crate) result: reapi::ActionResult,
    pub(crate) left_out: LeftOut,
    /// Keeps them in our own store.
    pub(crate) pin: Pin,
}

/// How long collecting may take: what is left of the action's own time, but enough for an action that ran to its last
/// second, and never without end.
fn collect_limit(deadline: Option<Duration>, ran: Duration) -> Duration {
    let left = deadline.map_or(COLLECT, |deadline| deadline.saturating_sub(ran));
    left.clamp(COLLECT_LEAST, COLLECT)
}

/// Looks at the inputs of an action once more, as far as that is due.
pub(crate) async fn confirm(
    prepared: Prepared,
    given_up: Arc<AtomicBool>,
) -> Result<(), Conclusion> {
    let look = tokio::task::spawn_blocking(move || {
        // Nobody waits for it when the attempt is over.
        if given_up.load(Ordering::Relaxed) { Ok(()) } else { prepared.confirm() }
    });
    look.await.map_err(|_| Conclusion::internal("looking at the inputs panicked"))?
}

/// Collects the outputs and uploads what the hub misses.
pub(crate) async fn upload(
    fetcher: &Fetcher,
    plan: Arc<Plan>,
    prepared: Option<Prepared>,
    tree: ActionTree,
    given_up: Arc<AtomicBool>,
    ran: Duration,
) -> Result<Uploaded, Conclusion> {
    let limit = collect_limit(plan.deadline, ran);
    let store = fetcher.store().clone();
    let for_thread = Arc::clone(&plan);
    let (gathered, result) = oneshot::channel();
    tokio::task::spawn_blocking(move || {
        // Nobody waits for it when the attempt is over.
        let confirmed = prepared.map_or(Ok(()), |prepared| prepared.confirm());
        let wanted = Wanted { given_up, until: Instant::now() + limit };
        let _gone = gathered.send(confirmed.and_then(|()| {
            // Before anything is taken in.
            store
                .fits(outputs::measure(&for_thread, &tree, &wanted))
                .map_err(|e| Conclusion::of_outputs(&e))?;
            outputs::gather(&store, &for_thread, &tree, &wanted).or_else(|e| {
                if wanted.is_late() {
                    // The command has ended by itself: that stays so.
                    let why = report::late(limit, for_thread.deadline, ran);
                    return Ok(Collected::none(&store, &for_thread, &why));
                }
                Err(Conclusion::of_collect(&e))
            })
        }));
        // Here and afterwards, because it may take a while.
        drop(tree);
    });
    let Collected { result, left_out, digests, pin } =
        result.await.map_err(|_| Conclusion::internal("collecting the outputs panicked"))??;
    if fetcher.same_store() || digests.is_empty() {
        return Ok(Uploaded { result, left_out, pin });
    }
    // Before any of them is sent: they would drive out all that the hub holds, and one another.
    let bytes = digests.iter().collect::<BTreeSet<_>>().iter().map(|digest| digest.size).sum();
    if let Some(quota) = fetcher.is_too_much_for_hub(bytes) {
        return Err(Conclusion::beyond_hub(bytes, quota));
    }
    let client = fetcher.blobs(&plan);
    let store = fetcher.store();
    let mut wait = FIRST_WAIT;
    let mut patience = fetcher.crowd().begin();
    loop {
        let blobs = digests
            .iter()
            .map(|digest| Blob { digest: *digest, source: Source::Stored(store.clone()) })
            .collect();
        match client.upload_missing(blobs).await {
            Ok(_) => return Ok(Uploaded { result, left_out, pin }),
            // It may have some soon, and what was made is not made again for that.
            Err(error) if room::is_no_room(&error) => {
                if !patience.wait(&error).await {
                    return Err(Conclusion::no_room(&error));
                }
            }
            // The hub is away: the lease says how long that may last.
            Err(error) if error.class() == (ErrorClass::Infra { retry: true }) => {
                fetcher.wait_out("upload outputs", &error, &mut wait).await;
                // Nobody knows what room it has when it is back.
                patience = fetcher.crowd().begin();
            }
            Err(BlobError::Store(error)) => return Err(Conclusion::of_store(&error)),
            Err(error) => return Err(Conclusion::of_blobs("upload the outputs", &error)),
        }
    }
}
