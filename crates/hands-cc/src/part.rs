//! The agent's part for compiles: from a request to outputs in their places, or to a reason why not.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hands_client::{
    AgentPart, BoxFuture, Cluster, ClusterKind, Invocation, JobResult, JobStream, Snapshot, Target,
    TreeSpec,
};
use hands_types::{Digest, RelPath};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use tokio::task::spawn_blocking;

use crate::action::{Prepared, prepare};
use crate::dependencies::{AskCompiler, Dependencies};
use crate::known::Known;
use crate::place::{self, Left, Staging};
use crate::toolchain::Toolchain;
use crate::wire::{Compile, Done, LONGEST, PART, Reply, Request};
use crate::{Reason, Stats};

/// Says where a caller's compiles go, by its variables and its working directory.
pub type FindTarget =
    dyn Fn(&BTreeMap<String, String>, &Path) -> Result<Target, String> + Send + Sync;

/// How long a cluster that can't be reached is not tried again.
const AWAY: Duration = Duration::from_secs(10);
/// How often the agent says that it is there.
const BEAT: Duration = Duration::from_secs(1);
/// Works that hold a thread at once, and wait there for others that need one: far fewer than a runtime has.
static BLOCKING: Semaphore = Semaphore::const_new(32);
/// Clusters to which a connection is kept.
const MOST_CLUSTERS: usize = 8;
/// Serves compiles.
pub struct CcPart {
    find_target: Box<FindTarget>,
    dependencies: Arc<dyn Dependencies>,
    known: Arc<Known>,
    clusters: tokio::sync::Mutex<HashMap<String, Arc<Connected>>>,
    /// Clusters that could not be reached, when, and why.
    away: Mutex<HashMap<String, (Instant, String)>>,
    /// Compilers that are asked for dependencies at once: each is a process of this machine.
    light: Semaphore,
    stats: Mutex<Stats>,
    active: watch::Sender<usize>,
}

impl std::fmt::Debug for CcPart {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CcPart").field("dependencies", &self.dependencies).finish_non_exhaustive()
    }
}

/// A cluster, and the trees of compilers that it has.
struct Connected {
    cluster: Cluster,
    toolchains: tokio::sync::Mutex<Vec<(Arc<Toolchain>, Digest)>>,
}

/// One request that is under way, for as long as this lives.
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

impl AgentPart for CcPart {
    fn name(&self) -> &'static str {
        PART
    }

    fn serve(self: Arc<Self>, stream: UnixStream) -> BoxFuture<'static, io::Result<()>> {
        Box::pin(async move { self.connection(stream).await })
    }

    fn under_way(&self) -> watch::Receiver<usize> {
        self.active.subscribe()
    }
}

impl CcPart {
    /// A part that asks where compiles go.
    pub fn new(find_target: Box<FindTarget>) -> Self {
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            find_target,
            dependencies: Arc::new(AskCompiler),
            known: Arc::default(),
            clusters: tokio::sync::Mutex::default(),
            away: Mutex::default(),
            light: Semaphore::new(cpus),
            stats: Mutex::default(),
            active: watch::Sender::new(0),
        }
    }

    async fn connection(&self, mut stream: UnixStream) -> io::Result<()> {
        let length = usize::try_from(stream.read_u32().await?).map_err(io::Error::other)?;
        if length > LONGEST {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a request that is too long"));
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        let _under_way = UnderWay::begin(&self.active);
        let mut staging = None;
        let reply = match Request::decode(&body) {
            Err(error) => Reply::from(Reason::new("agent", error)),
            Ok(Request::Stats) => Reply::Stats(self.stats().clone()),
            Ok(Request::ZeroStats) => Reply::Stats(std::mem::take(&mut *self.stats())),
            Ok(Request::Compile(request)) => {
                let mut compiling = Box::pin(self.compile(*request));
                let mut beats = tokio::time::interval(BEAT);
                let (mut asker, mut answers) = stream.split();
                let ended = loop {
                    tokio::select! {
                        ended = &mut compiling => break ended,
                        // Whoever asked has gone; what runs for it ends by being dropped.
                        _ = asker.read_u8() => return Ok(()),
                        _ = beats.tick() => answers.write_u32(0).await?,
                    }
                };
                self.counted(ended.map(|(done, ready)| {
                    staging = ready;
                    done
                }))
            }
        };
        stream.write_all(&reply.encode()?).await?;
        // Whoever asked puts what is ready in its place, and goes.
        let _gone = stream.read_u8().await;
        drop(staging);
        Ok(())
    }

    fn stats(&self) -> std::sync::MutexGuard<'_, Stats> {
        self.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn counted(&self, ended: Result<Done, Reason>) -> Reply {
        let mut stats = self.stats();
        match ended {
            Ok(done) => {
                if done.cached {
                    stats.hits += 1;
                } else {
                    stats.remote += 1;
                }
                Reply::Done(done)
            }
            Err(reason) => {
                tracing::debug!(%reason, "a compile is local");
                *stats.local.entry(reason.code.to_owned()).or_default() += 1;
                reason.into()
            }
        }
    }

    async fn compile(&self, request: Compile) -> Result<(Done, Option<Staging>), Reason> {
        check_view(&request)?;
        let target = (self.find_target)(&request.environment, &request.directory)
            .map_err(|why| Reason::new("cluster", why))?;
        let request = Arc::new(request);
        let prepared = {
            let _turn = self.light.acquire().await.map_err(|error| Reason::new("agent", error))?;
            let (request, known) = (Arc::clone(&request), Arc::clone(&self.known));
            let dependencies = Arc::clone(&self.dependencies);
            spawn_blocking(move || prepare(&request, &known, &*dependencies))
                .await
                .map_err(|error| Reason::new("agent", error))??
        };
        let name = format!("{target:?}");
        let connected = self.connected(&name, target).await?;
        let ended = run(&connected, &prepared, &request).await;
        if let Err(reason) = &ended
            && reason.code == "cluster"
        {
            // What is known of it may not hold any more; a compile in a while finds out.
            self.clusters.lock().await.remove(&name);
            self.is_away(&name, &reason.detail);
        }
        ended
    }

    fn away(&self) -> std::sync::MutexGuard<'_, HashMap<String, (Instant, String)>> {
        self.away.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_away(&self, name: &str, why: &str) {
        let mut away = self.away();
        away.retain(|_, (since, _)| since.elapsed() < AWAY);
        away.insert(name.to_owned(), (Instant::now(), why.to_owned()));
    }

    async fn connected(&self, name: &str, target: Target) -> Result<Arc<Connected>, Reason> {
        // Held while it is connected: all who come meanwhile want the same as a rule.
        let mut clusters = self.clusters.lock().await;
        if let Some(connected) = clusters.get(name) {
            return Ok(Arc::clone(connected));
        }
        // Not for each compile of a build anew.
        let away = self.away().get(name).filter(|(since, _)| since.elapsed() < AWAY).cloned();
        if let Some((_, why)) = away {
            return Err(Reason::new("cluster", why));
        }
        let failed = |error: hands_client::ClientError| Reason::new("cluster", error);
        let invocation = Invocation::new("cc").map_err(failed)?;
        let cluster = Cluster::connect(target, invocation, |why| tracing::debug!(why, "waiting"));
        let cluster = Box::pin(cluster).await.map_err(|error| {
            self.is_away(name, &error.to_string());
            failed(error)
        })?;
        if cluster.kind() == ClusterKind::Engine {
            return Err(Reason::new("engine", cluster.peer()));
        }
        let connected = Arc::new(Connected { cluster, toolchains: tokio::sync::Mutex::default() });
        if clusters.len() >= MOST_CLUSTERS {
            clusters.clear();
        }
        clusters.insert(name.to_owned(), Arc::clone(&connected));
        Ok(connected)
    }
}

/// Whether the caller sees the files that the agent sees, as far as that can be told.
fn check_view(request: &Compile) -> Result<(), Reason> {
    let here = fs::metadata(&request.directory);
    let here = here.map_err(|error| Reason::new("other-view", error))?;
    let root = fs::metadata("/").map_err(|error| Reason::new("other-view", error))?;
    if request.view != [here.dev(), here.ino(), root.dev(), root.ino()] {
        return Err(Reason::new("other-view", request.directory.display()));
    }
    Ok(())
}

async fn run(
    connected: &Connected,
    prepared: &Prepared,
    request: &Compile,
) -> Result<(Done, Option<Staging>), Reason> {
    let cluster = &connected.cluster;
    let (toolchain, input_root, outside) = tokio::try_join!(
        connected.toolchain(&prepared.toolchain),
        async { tree(cluster, prepared.input_root()?).await },
        async { tree(cluster, prepared.outside()?).await },
    )?;
    let failed = |error: hands_client::ClientError| Reason::new("cluster", error);
    let job = cluster.submit(prepared.job(input_root, outside, toolchain)).await.map_err(failed)?;
    let result = job.wait().await.map_err(failed)?;
    if let Some(failure) = &result.failure {
        return Err(Reason::new("cluster", &failure.message));
    }
    if !prepared.toolchain.holds() {
        return Err(Reason::new("input-changed", "the compiler"));
    }
    if let Some(file) = prepared.changed() {
        return Err(Reason::new("input-changed", file.display()));
    }
    let (cluster, outputs) = (cluster.clone(), prepared.outputs.clone());
    let (directory, umask) = (request.directory.clone(), request.umask);
    let runtime = Handle::current();
    let _turn = BLOCKING.acquire().await.map_err(|error| Reason::new("agent", error))?;
    // On a thread that may wait for disks.
    let collecting = spawn_blocking(move || {
        runtime.block_on(collect(&cluster, &result, &directory, &outputs, umask))
    });
    collecting.await.map_err(|error| Reason::new("agent", error))?
}

async fn collect(
    cluster: &Cluster,
    result: &JobResult,
    directory: &Path,
    outputs: &[RelPath],
    umask: u32,
) -> Result<(Done, Option<Staging>), Reason> {
    let code = result.exit_code().and_then(|code| u8::try_from(code).ok());
    let code = code.ok_or(Reason::plain("worker"))?;
    let stdout = stream(cluster, result, JobStream::Stdout).await?;
    let stderr = stream(cluster, result, JobStream::Stderr).await?;
    if code != 0 {
        // Whether that is the source's fault, and what is left in the object's place then, the compiler here says better.
        let said = String::from_utf8_lossy(&stderr);
        let first = said.lines().next().unwrap_or_default().to_owned();
        return Err(Reason::new("failed", format!("exit code {code}: {first}")));
    }
    let Left { ready, staging } =
        place::outputs(cluster, result, directory, outputs, umask).await?;
    Ok((Done { code, cached: result.cached, stdout, stderr, ready }, staging))
}

async fn stream(
    cluster: &Cluster,
    result: &JobResult,
    which: JobStream,
) -> Result<Vec<u8>, Reason> {
    let bytes = cluster.stream_of(result, which).await;
    bytes.map(Into::into).map_err(|error| Reason::new("cluster", error))
}

async fn tree(cluster: &Cluster, spec: TreeSpec) -> Result<Digest, Reason> {
    let _turn = BLOCKING.acquire().await.map_err(|error| Reason::new("agent", error))?;
    let (cluster, runtime) = (cluster.clone(), Handle::current());
    // On a thread of its own: it stays on that from its begin to its end.
    let making = spawn_blocking(move || runtime.block_on(cluster.tree(spec, |_| {})));
    let snapshot = making.await.map_err(|error| Reason::new("agent", error))?;
    let snapshot: Snapshot = snapshot.map_err(|error| Reason::new("cluster", error))?;
    if snapshot.vanished_count + snapshot.unfit_count > 0 {
        let which = snapshot.vanished.iter().chain(&snapshot.unfit).next();
        return Err(Reason::new("input-changed", which.map_or("", String::as_str)));
    }
    Ok(snapshot.root)
}

impl Connected {
    /// A compiler's tree in the cluster's store.
    async fn toolchain(&self, toolchain: &Arc<Toolchain>) -> Result<Digest, Reason> {
        let mut all = self.toolchains.lock().await;
        if let Some((_, root)) = all.iter().find(|(known, _)| Arc::ptr_eq(known, toolchain)) {
            return Ok(*root);
        }
        let root = tree(&self.cluster, toolchain.tree()?).await?;
        // One that was found out anew has taken the place of an older one, which nobody will ask for again.
        all.retain(|(known, _)| Arc::strong_count(known) > 1);
        all.push((Arc::clone(toolchain), root));
        Ok(root)
    }
}
