//! An action's trees: from the hub into the store, from the store onto the disk.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use hands_exec::{CollectError, Isolation, Layer};
use hands_link::Way;
use hands_reapi::{BlobClient, BlobError};
use hands_store::{Made, StageError, Staged, Stager, Store};
use hands_tree::Lru;
use hands_types::limits::MAX_COMMAND;
use hands_types::{Digest, ErrorClass, RelPath};
use tokio::sync::mpsc;

use crate::action::{self, Plan};
use crate::attempt::Unread;
use crate::core::Event;
use crate::link::nobody_listens;
use crate::report::Conclusion;
use crate::room::Crowd;
use crate::seed;

/// How often a tree is fetched again that was evicted before it was staged.
const TRIES: u32 = 3;
pub(crate) const FIRST_WAIT: Duration = Duration::from_millis(100);
const LAST_WAIT: Duration = Duration::from_secs(5);
/// Sets of output directories that are remembered.
const SEEDS: u64 = 256;

/// Brings trees onto the disk.
#[derive(Debug)]
pub(crate) struct Fetcher {
    store: Store,
    stager: Stager,
    hub: Way,
    same_store: bool,
    compress: bool,
    /// Hears that nobody is at the hub's address.
    tasks: mpsc::UnboundedSender<Event>,
    /// Bytes that the hub's store may hold, 0 where it does not say.
    hub_quota: AtomicU64,
    /// Actions whose outputs the hub has no room for.
    crowd: Crowd,
    /// What must be made for outputs in an input root.
    seeds: Mutex<Lru<SeedKey, Option<Digest>>>,
}

/// An input root, and the working directory and the directories of outputs that a command names in it.
type SeedKey = (Digest, RelPath, BTreeSet<String>, Option<String>);

/// An action's trees on disk. They stay there as long as this lives.
#[derive(Clone, Debug)]
pub(crate) struct Prepared {
    /// The input root: topmost first, relative to the stager's root.
    pub(crate) lowers: Vec<PathBuf>,
    /// The action's own root, topmost first; none for the host's.
    pub(crate) root: Vec<PathBuf>,
    pub(crate) layers: Vec<Layer>,
    /// Held so that the trees stay.
    staged: Vec<Staged>,
}

impl Prepared {
    /// Notes a result that is made of these trees, until a look finds them as they were.
    pub(crate) fn note(&self, made: &Made) {
        for tree in &self.staged {
            tree.note(made);
        }
    }

    /// Whether [`Self::confirm`] would look at a tree.
    pub(crate) fn is_look_due(&self) -> bool {
        self.staged.iter().any(Staged::is_look_due)
    }

    /// Looks at the trees where that is due. Blocks.
    pub(crate) fn confirm(&self) -> Result<(), Conclusion> {
        // All of them, so that each that is damaged is found.
        let found: Vec<_> = self.staged.iter().map(confirm).collect();
        found.into_iter().collect()
    }
}

fn confirm(tree: &Staged) -> Result<(), Conclusion> {
    let root = tree.root_digest();
    match tree.confirm() {
        Ok(true) => Ok(()),
        Ok(false) => Err(Conclusion::internal(&format!(
            "the input tree {root} was damaged on this worker's disk while the action ran"
        ))),
        Err(StageError::Store(error)) => Err(Conclusion::of_store(&error)),
        Err(error @ (StageError::Missing(_) | StageError::Invalid { .. })) => {
            Err(Conclusion::internal(&format!(
                "the input tree {root} was touched on this worker's disk while the action ran, and can't be compared \
                 with what it should be: {error}"
            )))
        }
    }
}

impl Fetcher {
    pub(crate) fn new(
        store: Store,
        hub: Way,
        same_store: bool,
        compress: bool,
        tasks: mpsc::UnboundedSender<Event>,
    ) -> Self {
        let stager = store.stager();
        let (hub_quota, seeds) = (AtomicU64::new(0), Mutex::new(Lru::new()));
        let crowd = Crowd::default();
        Self { store, stager, hub, same_store, compress, tasks, hub_quota, crowd, seeds }
    }

    /// Waits before a call to a hub that is away is made again.
    pub(crate) async fn wait_out(&self, what: &str, error: &BlobError, wait: &mut Duration) {
        tracing::debug!(error = error as &dyn std::error::Error, "could not {what}; trying again");
        // All calls share one channel, where each try to connect is told to one of them: the session may hear of every tenth.
        if nobody_listens(error) {
            // Fails only when the worker has ended.
            let _gone = self.tasks.send(Event::HubAbsent);
        }
        tokio::time::sleep(*wait).await;
        *wait = (*wait * 2).min(LAST_WAIT);
    }

    /// The hub says how many bytes its store may hold.
    pub(crate) fn hub_may_hold(&self, bytes: u64) {
        self.hub_quota.store(bytes, Ordering::Relaxed);
    }

    pub(crate) fn crowd(&self) -> &Crowd {
        &self.crowd
    }

    /// How many bytes the hub's store may hold, if these outputs are more.
    pub(crate) fn is_too_much_for_hub(&self, bytes: u64) -> Option<u64> {
        let quota = self.hub_quota.load(Ordering::Relaxed);
        (quota > 0 && bytes > quota).then_some(quota)
    }

    /// Not where bytes stay within this machine: there they move faster than any compressor.
    fn compresses(&self) -> bool {
        self.compress && !self.hub.is_here()
    }

    /// The client by which the hub's blobs are reached.
    pub(crate) fn blobs(&self, plan: &Plan) -> BlobClient {
        BlobClient::new(self.hub.channel(), &plan.instance, plan.function)
            .with_compression(self.compresses())
            .of_hub()
    }

    /// What to do, by a lease that does not carry its Command: it is fetched from the hub, as inputs are, waiting out a hub that
    /// is away.
    pub(crate) async fn read(
        &self,
        unread: Unread,
        isolation: Isolation,
    ) -> Result<Arc<Plan>, Conclusion> {
        let Unread { mut lease, command } = unread;
        if command.size > MAX_COMMAND {
            return Err(Conclusion::invalid_text(&format!(
                "the Command has {} bytes, more than {MAX_COMMAND}",
                command.size
            )));
        }
        let bytes = if self.same_store {
            let store = self.store.clone();
            tokio::task::spawn_blocking(move || store.read(&command))
                .await
                .map_err(|_| Conclusion::internal("reading the command panicked"))?
                .map_err(|e| Conclusion::of_store(&e))?
        } else {
            self.download(&lease.instance_name, &command).await?
        };
        lease.command = bytes.ok_or_else(|| Conclusion::missing(&[command]))?;
        // Decoding a large one takes its time.
        tokio::task::spawn_blocking(move || action::read(&lease, isolation))
            .await
            .map_err(|_| Conclusion::internal("reading the command panicked"))?
            .map(Arc::new)
            .map_err(|why| Conclusion::invalid_text(&why))
    }

    /// A blob of the hub's; none if it lacks it.
    async fn download(&self, instance: &str, digest: &Digest) -> Result<Option<Bytes>, Conclusion> {
        let client = BlobClient::new(self.hub.channel(), instance, digest.function)
            .with_compression(self.compresses())
            .of_hub();
        let mut wait = FIRST_WAIT;
        loop {
            match client.download(digest).await {
                Ok(bytes) => return Ok(Some(bytes)),
                Err(BlobError::Missing(_)) => return Ok(None),
                Err(error) if error.class() == (ErrorClass::Infra { retry: true }) => {
                    self.wait_out("fetch a command", &error, &mut wait).await;
                }
                Err(error) => return Err(Conclusion::of_blobs("fetch the command", &error)),
            }
        }
    }

    /// Whether there is anything to upload to.
    pub(crate) fn same_store(&self) -> bool {
        self.same_store
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// Fetches and stages all that an action needs.
    pub(crate) async fn prepare(&self, plan: &Plan) -> Result<Prepared, Conclusion> {
        let roots: Vec<Digest> = plan.trees().collect();
        let mut staged = Vec::with_capacity(roots.len() + 1);
        let mut missing = Vec::new();
        for (i, root) in roots.iter().enumerate() {
            match self.tree(plan, root, i > 0).await? {
                Ok(tree) => staged.push(tree),
                Err(lacking) => missing.extend(lacking),
            }
        }
        // All at once: a client uploads what is named and tries again.
        if !missing.is_empty() {
            missing.sort_unstable();
            missing.dedup();
            return Err(Conclusion::missing(&missing));
        }
        let seed = self.seed(plan, &staged[0]).await?;
        assemble(plan, staged, seed)
    }

    /// The same, if everything is staged already: without waiting, and without a task to wait in.
    pub(crate) fn ready(&self, plan: &Plan) -> Option<Prepared> {
        let whole = |t: &Staged| t.lowers().len() == 1;
        let mut staged = vec![self.stager.ready(&plan.input_root)?];
        for digest in plan.layers.digests() {
            staged.push(self.stager.ready(&digest).filter(whole)?);
        }
        let seed = match seed_key(plan).ok()? {
            None => None,
            Some(key) => match lock(&self.seeds).get(&key).copied()? {
                None => None,
                Some(root) => Some(self.stager.ready(&root).filter(whole)?),
            },
        };
        assemble(plan, staged, seed).ok()
    }

    /// One tree, a layer as one directory; or the blobs that the hub lacks of it.
    async fn tree(
        &self,
        plan: &Plan,
        root: &Digest,
        layer: bool,
    ) -> Result<Result<Staged, Vec<Digest>>, Conclusion> {
        if let Some(ready) = self.stager.ready(root).filter(|t| !layer || t.lowers().len() == 1) {
            return Ok(Ok(ready));
        }
        let mut lacking = Vec::new();
        for _ in 0..TRIES {
            match self.stage(root, layer).await? {
                Ok(tree) => return Ok(Ok(tree)),
                Err(StageError::Missing(digests)) if self.same_store => return Ok(Err(digests)),
                Err(StageError::Missing(digests)) => lacking = digests,
                Err(error @ StageError::Invalid { .. }) => return Err(Conclusion::invalid(&error)),
                Err(StageError::Store(error)) => return Err(Conclusion::of_store(&error)),
            }
            if let Some(digests) = self.fetch(plan, root).await? {
                return Ok(Err(digests));
            }
        }
        // Fetched again and again and gone each time: the store has no room for it.
        tracing::warn!(%root, "a tree is evicted before it can be used");
        Ok(Err(lacking))
    }

    async fn stage(
        &self,
        root: &Digest,
        layer: bool,
    ) -> Result<Result<Staged, StageError>, Conclusion> {
        let (stager, root) = (self.stager.clone(), *root);
        tokio::task::spawn_blocking(move || {
            if layer { stager.stage_whole(&root) } else { stager.stage(&root) }
        })
        .await
        .map_err(|_| Conclusion::internal("staging the inputs panicked"))
    }

    /// Fetches a tree, waiting out a hub that is away; or the blobs that it lacks.
    async fn fetch(&self, plan: &Plan, root: &Digest) -> Result<Option<Vec<Digest>>, Conclusion> {
        let client = self.blobs(plan);
        let mut wait = FIRST_WAIT;
        loop {
            match client.fetch_tree(root, &self.store).await {
                Ok(_) => return Ok(None),
                Err(BlobError::Missing(digests)) => return Ok(Some(digests)),
                Err(error) if error.class() == (ErrorClass::Infra { retry: true }) => {
                    self.wait_out("fetch inputs", &error, &mut wait).await;
                }
                Err(BlobError::Store(error)) => return Err(Conclusion::of_store(&error)),
                Err(error) => return Err(Conclusion::of_blobs("fetch the inputs", &error)),
            }
        }
    }

    /// The directories in which outputs are made, which must exist before the command runs (REAPI v2), where the inputs have
    /// them not. Staged as a tree of empty directories; the same few sets come again and again.
    async fn seed(&self, plan: &Plan, inputs: &Staged) -> Result<Option<Staged>, Conclusion> {
        let Some(key) = seed_key(plan).map_err(|e| Conclusion::invalid(&e))? else {
            return Ok(None);
        };
        let known = lock(&self.seeds).get(&key).copied();
        match known {
            Some(None) => return Ok(None),
            Some(Some(root)) => {
                if let Some(ready) = self.stager.ready(&root).filter(|t| t.lowers().len() == 1) {
                    return Ok(Some(ready));
                }
            }
            None => {}
        }
        let (outputs, inputs, parents) = (plan.outputs.clone(), inputs.clone(), key.2.clone());
        let places = tokio::task::spawn_blocking(move || {
            outputs.places(&parents, &mut |path| inputs.look(path))
        });
        let places = places
            .await
            .map_err(|_| Conclusion::internal("looking for the places of outputs panicked"))?
            .map_err(|e| Conclusion::of_store(&e))?
            .map_err(|e| Conclusion::invalid(&e))?;
        let seed = if places.missing.is_empty() {
            None
        } else {
            self.make_seed(plan, places.missing).await?
        };
        let mut seeds = lock(&self.seeds);
        seeds.insert(key, seed.as_ref().map(|tree| *tree.root_digest()), 1);
        seeds.shrink(SEEDS);
        drop(seeds);
        Ok(seed)
    }

    async fn make_seed(
        &self,
        plan: &Plan,
        missing: BTreeSet<RelPath>,
    ) -> Result<Option<Staged>, Conclusion> {
        let built = seed::tree(&self.store, plan.function, &plan.input_root, &missing);
        let Some(root) = built.last().map(|directory| directory.digest) else { return Ok(None) };
        let blobs = built.into_iter().map(|d| (d.digest, d.bytes.into())).collect();
        for stored in self.store.put_many(blobs) {
            stored.map_err(|e| Conclusion::of_store(&e))?;
        }
        match self.stage(&root, true).await? {
            Ok(tree) => Ok(Some(tree)),
            Err(StageError::Store(error)) => Err(Conclusion::of_store(&error)),
            Err(error) => Err(Conclusion::internal(&error.to_string())),
        }
    }
}

/// What tells the seed of an action; none where there is nothing to look for.
fn seed_key(plan: &Plan) -> Result<Option<SeedKey>, CollectError> {
    let outputs = &plan.outputs;
    let parents = outputs.parents()?;
    let wd = outputs.working_directory.clone();
    let plain = parents.is_empty() && wd.as_str().is_empty();
    Ok((!plain).then(|| (plan.input_root, wd, parents, outputs.root_at.clone())))
}

/// Puts an action's directories in order: `staged` is the input root and then the layers.
fn assemble(
    plan: &Plan,
    mut staged: Vec<Staged>,
    seed: Option<Staged>,
) -> Result<Prepared, Conclusion> {
    // On top of the inputs: what a tree lacks that lies over another is whited out in it, and below that these
    // directories would be hidden too.
    let mut lowers: Vec<PathBuf> = seed.as_ref().map(|t| t.lowers().to_vec()).unwrap_or_default();
    // An empty input root needs no tree below it.
    let inputs = staged.first().filter(|_| !plan.input_root.is_empty());
    for lower in inputs.iter().flat_map(|t| t.lowers()) {
        // The inputs may lie over this very tree. Overlayfs refuses a directory that is named twice (ELOOP), and on
        // top it shows the same.
        if !lowers.contains(lower) {
            lowers.push(lower.clone());
        }
    }
    let mut single = staged.iter().skip(1).map(|tree| match tree.lowers() {
        [dir] => Ok(dir.clone()),
        [..] => Err(Conclusion::internal("a layer was not staged as one directory")),
    });
    let root = single.by_ref().take(plan.layers.root.len()).collect::<Result<_, _>>()?;
    let layers = plan.layers.mounted.iter().zip(single);
    let layers = layers
        .map(|((at, _), dir)| Ok(Layer { dir: dir?, at: PathBuf::from(at) }))
        .collect::<Result<_, _>>()?;
    staged.extend(seed);
    Ok(Prepared { lowers, root, layers, staged })
}

/// Nothing that holds the lock leaves the list half-changed.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
