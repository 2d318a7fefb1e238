//! The snapshot socket: requests with directory handles in, progress and a root digest out.

mod embedded;
#[cfg(feature = "oci")]
mod image;
#[cfg(not(feature = "oci"))]
#[path = "snapshot/no_image.rs"]
mod image;
#[cfg(feature = "oci")]
mod known;
mod parts;
mod patience;
mod pouring;
mod receive;
mod remote;
#[cfg(feature = "oci")]
mod sink;
mod stored;

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use hands_client::{AgentPart, SNAPSHOT_PART};
use hands_proto::function_from_proto;
use hands_proto::v1::snapshot_reply::Kind;
use hands_proto::v1::{
    ImageConfig, SnapshotDone, SnapshotError as ErrorReply, SnapshotProgress, SnapshotReply,
    SnapshotRequest,
};
use hands_store::Store;
use hands_types::{Digest, RelPath};
use prost::Message;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use crate::error::SnapshotError;
use crate::stat_cache::{StatCache, SystemClock};
use crate::walk::{LeftOut, Progress, Sink, Walk, WalkInput, Walked};
use image::ImageSource;
pub(crate) use image::KnownImages;
use parts::Part;
use receive::receive;
use stored::To;

/// How often progress is told.
const PROGRESS: Duration = Duration::from_millis(100);
/// How long a snapshot's blobs are kept for the Execute that will name them.
const KEPT: Duration = Duration::from_secs(15 * 60);
/// Threads that read and hash. More help only where the disk is faster than two cores hash.
const THREADS: usize = 2;
/// How often a tree is looked at again that changes while it is read.
const ROUNDS: usize = 4;

pub(crate) struct SnapshotServer {
    store: Store,
    cache: Arc<StatCache>,
    images: KnownImages,
    /// How many are under way.
    active: watch::Sender<usize>,
}

/// A tree in the store of its target.
pub(crate) struct Taken {
    root: Digest,
    files: u64,
    bytes: u64,
    left_out: LeftOut,
    image: Option<ImageConfig>,
}

impl Taken {
    fn of(walked: &Walked<'_>) -> Self {
        let (files, bytes) = walked.totals();
        Self { root: walked.root(), files, bytes, left_out: walked.left_out().clone(), image: None }
    }
}

/// One snapshot that is under way, for as long as this lives.
struct UnderWay<'a>(&'a watch::Sender<usize>);

impl<'a> UnderWay<'a> {
    fn begin(active: &'a watch::Sender<usize>) -> Self {
        active.send_modify(|n| *n += 1);
        Self(active)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|n| *n -= 1);
    }
}

impl AgentPart for SnapshotServer {
    fn name(&self) -> &'static str {
        SNAPSHOT_PART
    }

    fn serve(self: Arc<Self>, stream: UnixStream) -> BoxFuture<'static, io::Result<()>> {
        self.connection(stream).boxed()
    }

    fn under_way(&self) -> watch::Receiver<usize> {
        self.active.subscribe()
    }
}

impl SnapshotServer {
    pub(crate) fn new(store: Store, cache: Arc<StatCache>, images: KnownImages) -> Self {
        Self { store, cache, images, active: watch::Sender::new(0) }
    }

    async fn connection(self: Arc<Self>, mut stream: UnixStream) -> io::Result<()> {
        while let Some((request, handles)) = receive(&stream).await? {
            let under_way = UnderWay::begin(&self.active);
            let result = self.take(&mut stream, request, handles).await;
            drop(under_way);
            let reply = match result {
                Ok(done) => Kind::Done(done),
                Err(SnapshotError::Cancelled) => return Ok(()),
                Err(error) => Kind::Error(ErrorReply {
                    class: error.class().name().to_owned(),
                    message: error.to_string(),
                }),
            };
            send(&mut stream, reply).await?;
        }
        Ok(())
    }

    async fn take(
        self: &Arc<Self>,
        stream: &mut UnixStream,
        request: SnapshotRequest,
        mut handles: Vec<OwnedFd>,
    ) -> Result<SnapshotDone, SnapshotError> {
        let function = function_from_proto(request.digest_function)
            .map_err(|_| SnapshotError::Protocol("an unknown digest function"))?;
        let wanted = match (&request.image, &request.stream, &request.tar) {
            (Some(image), ..) => Wanted::Image(image::source(image, handles.pop())?),
            (None, Some(request), _) => {
                let asker = stream.as_fd().try_clone_to_owned().map_err(|_| {
                    SnapshotError::Protocol("a connection that can't be looked at twice")
                })?;
                Wanted::Part(Part::stream(request, handles.pop(), asker)?)
            }
            (None, None, Some(tar)) => Wanted::Part(Part::tar(tar, handles.pop())?),
            (None, None, None) => Wanted::Paths(Paths::of(&request, handles)?),
        };
        let progress = Arc::new(Progress::default());
        let work = {
            let (server, progress) = (Arc::clone(self), Arc::clone(&progress));
            let runtime = tokio::runtime::Handle::current();
            tokio::task::spawn_blocking(move || {
                server.cache.begin();
                let (store, runtime) = (&server.store, &runtime);
                let (request, progress) = (&request, &progress);
                let to = To { store, runtime, request, function, progress };
                match &wanted {
                    Wanted::Image(image) => image::take(&to, image, &server.images),
                    Wanted::Part(part) => part.take(&to),
                    Wanted::Paths(paths) if request.target.is_empty() => {
                        embedded::take(&to, paths, &server.cache)
                    }
                    Wanted::Paths(paths) => remote::take(&to, paths, &server.cache),
                }
            })
        };
        tokio::pin!(work);
        let mut ticks = interval(PROGRESS);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first tick comes at once: before it nothing is worth telling.
        ticks.tick().await;
        let taken = loop {
            tokio::select! {
                done = &mut work => {
                    break done.unwrap_or(Err(SnapshotError::Protocol("the walk panicked")))?;
                }
                _ = ticks.tick() => {
                    if send(stream, Kind::Progress(now(&progress))).await.is_err() {
                        progress.cancelled.store(true, Ordering::Relaxed);
                        // Let the threads end before the handles' numbers are used again.
                        drop((&mut work).await);
                        return Err(SnapshotError::Cancelled);
                    }
                }
            }
        };
        let now = now(&progress);
        Ok(SnapshotDone {
            root: Some(taken.root.into()),
            files: taken.files,
            bytes: taken.bytes,
            bytes_hashed: now.bytes_hashed,
            bytes_sent: now.bytes_sent,
            vanished: taken.left_out.vanished.names,
            vanished_count: taken.left_out.vanished.count,
            unfit: taken.left_out.unfit.names,
            unfit_count: taken.left_out.unfit.count,
            ignored: taken.left_out.ignored.names,
            ignored_count: taken.left_out.ignored.count,
            ignored_directories: taken.left_out.ignored_directories,
            image: taken.image,
        })
    }
}

fn now(progress: &Progress) -> SnapshotProgress {
    SnapshotProgress {
        files: progress.files.load(Ordering::Relaxed),
        bytes_hashed: progress.bytes_hashed.load(Ordering::Relaxed),
        bytes_sent: progress.bytes_sent.load(Ordering::Relaxed),
    }
}

/// What a request asks for.
enum Wanted {
    Image(ImageSource),
    Part(Part),
    Paths(Paths),
}

/// Paths that are walked.
struct Paths {
    inputs: Vec<WalkInput>,
    /// A directory that is there in any case.
    working_directory: RelPath,
}

impl Paths {
    fn of(request: &SnapshotRequest, handles: Vec<OwnedFd>) -> Result<Self, SnapshotError> {
        let mut handles: Vec<Option<OwnedFd>> = handles.into_iter().map(Some).collect();
        let inputs = request.inputs.iter().map(|input| {
            let number = usize::try_from(input.descriptor).unwrap_or(usize::MAX);
            let directory = handles
                .get_mut(number)
                .and_then(Option::take)
                .ok_or(SnapshotError::Protocol("an input without a directory handle of its own"))?;
            Ok(WalkInput {
                directory,
                entry: (!input.entry.is_empty()).then(|| input.entry.clone()),
                place: RelPath::new(&input.place)
                    .map_err(|_| SnapshotError::Protocol("a place that leaves the root"))?,
                respect_ignore: input.respect_ignore,
                display: input.display.clone(),
            })
        });
        let inputs = inputs.collect::<Result<_, _>>()?;
        let working_directory = RelPath::new(&request.working_directory)
            .map_err(|_| SnapshotError::Protocol("a working directory that leaves the root"))?;
        Ok(Self { inputs, working_directory })
    }

    /// How they are walked.
    fn walk<'a>(&'a self, to: &'a To<'_>, cache: &'a StatCache, sink: &'a dyn Sink) -> Walk<'a> {
        Walk {
            inputs: &self.inputs,
            working_directory: &self.working_directory,
            function: to.function,
            times: to.request.times,
            cache,
            clock: &SystemClock,
            sink,
            progress: to.progress,
            threads: THREADS,
        }
    }
}

async fn send(stream: &mut UnixStream, kind: Kind) -> io::Result<()> {
    let body = SnapshotReply { kind: Some(kind) }.encode_to_vec();
    let length = u32::try_from(body.len()).map_err(io::Error::other)?;
    let mut bytes = Vec::with_capacity(body.len() + 4);
    bytes.extend(length.to_be_bytes());
    bytes.extend(body);
    stream.write_all(&bytes).await
}
