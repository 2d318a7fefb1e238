//! What every front-end begins with: where its work goes, who called it, how to print; and the connection itself.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, SystemTime};

use hands_client::{
    Cluster, ClusterKind, Input, Invocation, Job, JobSpec, ListRequest, Paths, Session, Snapshot,
    Target, TreeSpec,
};
use hands_types::{Digest, RelPath, TreeName, TreeRef};
use tokio::time::timeout;

use crate::args::ActionArgs;
use crate::caller::Caller;
use crate::error::RunError;
use crate::eye;
use crate::out::Out;
use crate::signals::Signals;
use crate::spec;

/// How long we try to tell a cluster that we leave.
const FAREWELL: Duration = Duration::from_secs(2);
/// What each action adds to that.
const EACH: Duration = Duration::from_micros(50);

/// Paths that a warning names.
const FEW: usize = 3;

/// What lies around the paths of an input root.
#[derive(Debug, Default)]
pub struct Around {
    /// A tree on which they are laid.
    pub below: Option<TreeSpec>,
    /// Where in it.
    pub at: RelPath,
    /// A tree that is laid over all.
    pub above: Option<TreeSpec>,
    /// The program that was put into it: of one image the only thing that is not the same for all commands.
    pub program: Option<RelPath>,
}

impl Around {
    /// Whether there is nothing around them.
    pub fn is_nothing(&self) -> bool {
        self.below.is_none() && self.above.is_none() && self.at.as_str().is_empty()
    }
}

/// What there is of an invocation.
#[derive(Clone, Copy, Debug)]
pub enum Own<'a> {
    /// One action.
    Job(&'a Job),
    /// All actions of a session.
    Session(&'a Session),
    /// Whatever the cluster knows of it.
    Unknown,
}

/// One use of a front-end.
#[derive(Debug)]
pub struct FrontEnd {
    /// Where its work goes.
    pub target: Target,
    /// Who called.
    pub caller: Caller,
    /// How to print.
    pub out: Out,
    /// When this program began.
    pub began: SystemTime,
    /// What is said where nothing is found: that its caller may have meant another place.
    pub elsewhere: Option<String>,
}

impl FrontEnd {
    /// Connects; on the first use of an agent, says that it is there, what it can do, and how to end it.
    pub async fn connect(&self, name: &'static str) -> Result<Cluster, RunError> {
        let waiting = |reason: String| self.out.waiting(&reason);
        let cluster =
            Cluster::connect(self.target.clone(), Invocation::new(name)?, waiting).await?;
        if let Some(hello) = cluster.agent_hello()
            && hello.started.is_some_and(|started| started >= self.began)
        {
            // It has just begun to be idle: what is left is what it was given, to the second.
            let stays = match hello.idle_left_s.div_ceil(60) {
                ..=1 => format!("{} idle seconds", hello.idle_left_s),
                minutes => format!("{minutes} idle minutes"),
            };
            // The level is named once: the note begins by naming it, too.
            let note = hello.isolation_note.trim().trim_end_matches('.');
            let note = match note.split_once(": ") {
                Some((head, rest)) if head.starts_with("isolation is") => rest,
                _ => note,
            };
            let note = if note.is_empty() { String::new() } else { format!(" ({note})") };
            self.out.note(&format!(
                "running on this machine, isolation {}{note}; an agent stays for {stays}, \
                 `hands agent stop` ends it",
                if hello.isolation.is_empty() { "unknown" } else { &hello.isolation },
            ));
        }
        Ok(cluster)
    }

    /// Nothing was found: its caller may have looked in the wrong place.
    pub fn nothing_here(&self) {
        if let Some(hint) = &self.elsewhere {
            self.out.hint(hint);
        }
    }

    /// Does something, and says meanwhile what the cluster keeps it waiting for.
    pub fn telling<'a, T, W: Future<Output = T> + 'a>(
        &'a self,
        cluster: &Cluster,
        work: W,
    ) -> impl Future<Output = T> + use<'a, T, W> {
        let mut trouble = cluster.trouble();
        let mut work = Box::pin(work);
        async move {
            loop {
                tokio::select! {
                    biased;
                    done = &mut work => return done,
                    Ok(()) = trouble.changed() => {
                        let reason = trouble.borrow_and_update().clone();
                        if let Some(reason) = reason {
                            self.out.waiting(&reason);
                        }
                    }
                }
            }
        }
    }

    /// Ends whatever of this invocation is not done. Dropped streams say the same, but a program that leaves takes its
    /// connection along, and a lost connection keeps actions for a minute. Bounded: the cluster may not answer, and a
    /// further signal ends the waiting at once. Other engines have no list of what is ours.
    pub async fn cancel_all(&self, cluster: &Cluster, signals: &mut Signals) {
        self.give_up(cluster, Own::Unknown, signals).await;
    }

    /// The same where it is known what that is, which takes one request. Whether the cluster has taken it.
    pub async fn give_up(&self, cluster: &Cluster, own: Own<'_>, signals: &mut Signals) -> bool {
        if cluster.kind() == ClusterKind::Engine {
            let peer = cluster.peer();
            self.out.warning(&format!(
                "what {peer} has begun may go on until it misses this connection"
            ));
            return false;
        }
        let live = match own {
            Own::Session(session) => u32::try_from(session.live()).unwrap_or(u32::MAX),
            Own::Job(_) | Own::Unknown => 0,
        };
        let cancelling = async {
            let is_over = match own {
                Own::Session(session) => {
                    session.cancel_all().await.is_ok() && session.hears_of_cancel()
                }
                Own::Job(job) => job.give_up().await,
                Own::Unknown => false,
            };
            if is_over {
                return Ok(());
            }
            let invocation = cluster.invocation().id.to_string();
            let request = ListRequest { active_only: true, limit: u32::MAX, invocation };
            for job in cluster.list(request).await? {
                cluster.cancel(&job.id).await?;
            }
            Ok::<_, RunError>(())
        };
        let cancelled = tokio::select! {
            cancelled = timeout(FAREWELL + EACH * live, cancelling) => cancelled,
            _ = signals.next() => return false,
        };
        match cancelled {
            Ok(Ok(())) => return true,
            Ok(Err(error)) => self.out.warning(&format!("the request to cancel failed: {error}")),
            Err(_) => self.out.warning(
                "the cluster does not answer; what runs ends when it misses this connection",
            ),
        }
        false
    }

    /// Gives the action the layers that its flags name. Names mean what they mean to the cluster now; those in `known` are not
    /// asked for again.
    pub async fn give_layers(
        &self,
        cluster: &Cluster,
        args: &ActionArgs,
        job: &mut JobSpec,
        known: &RefCell<BTreeMap<TreeName, Digest>>,
    ) -> Result<(), RunError> {
        let written = spec::layers(args)?;
        // Its own, for another command of the batch may have all of them asked for anew meanwhile.
        let mut named = BTreeMap::new();
        for tree in written.trees() {
            let TreeRef::Name(name) = tree else { continue };
            let digest = known.borrow().get(name).copied();
            let digest = match digest {
                Some(digest) => digest,
                None => cluster.tree_named(name).await?,
            };
            known.borrow_mut().insert(name.clone(), digest);
            named.insert(name, digest);
        }
        let function = cluster.function();
        let layers = written.resolved(|tree| {
            let digest = match tree {
                TreeRef::Digest(digest) => *digest,
                TreeRef::Name(name) => named[name],
            };
            if digest.function == function {
                return Ok(digest);
            }
            let (its, ours) = (digest.function.name(), function.name());
            Err(RunError::Usage(format!(
                "--layer: the tree {digest} is named by {its}, and all trees of one action by {ours}; send it anew, as with \
                 `hands store pin NAME --input DIR`"
            )))
        });
        (job.root, job.layers) = layers?.into_parts();
        Ok(())
    }

    /// Puts inputs into the cluster's store; without any there is no snapshot to take. With `times` they carry the times that
    /// they have here: all but those of an action whose result is to be cached.
    pub async fn snapshot<P: AsRef<Path>>(
        &self,
        cluster: &Cluster,
        paths: &[P],
        times: bool,
    ) -> Result<Option<Snapshot>, RunError> {
        self.snapshot_with(cluster, paths, times, Around::default()).await
    }

    /// The same, with other trees around it.
    pub async fn snapshot_with<P: AsRef<Path>>(
        &self,
        cluster: &Cluster,
        paths: &[P],
        times: bool,
        around: Around,
    ) -> Result<Option<Snapshot>, RunError> {
        if paths.is_empty() && around.is_nothing() {
            return Ok(None);
        }
        let layout = spec::layout(paths, &self.caller)?;
        let inputs = paths.iter().map(AsRef::as_ref).zip(layout.places);
        let inputs = inputs
            .map(|(path, place)| Ok(Input::open(path, place, true)?))
            .collect::<Result<Vec<_>, RunError>>()?;
        let paths = TreeSpec::Paths(Paths { inputs, directory: layout.directory, times });
        let tree = match around.is_nothing() {
            true => paths,
            false => {
                let Around { below, at, above, program: _ } = around;
                let parts = below.into_iter().chain([paths.at(at)]).chain(above);
                TreeSpec::Merged(parts.collect())
            }
        };
        let watched = self.out.watched();
        let began = SystemTime::now();
        let snapshot = cluster
            .tree(tree, |now| {
                // Small trees are done before anyone could read about them.
                if watched && began.elapsed().is_ok_and(|t| t > Duration::from_millis(500)) {
                    let (hashed, sent) = (eye::bytes(now.bytes_hashed), eye::bytes(now.bytes_sent));
                    self.out.draw_bar(&format!(
                        "sending inputs: {} files, {hashed} read, {sent} sent",
                        now.files
                    ));
                }
            })
            .await;
        self.out.wipe_bar();
        let snapshot = snapshot?;
        let vanished = some_of(&snapshot.vanished, snapshot.vanished_count, FEW);
        if let Some(paths) = vanished {
            self.out.warning(&format!("left out, gone while the inputs were read: {paths}"));
        }
        if let Some(paths) = some_of(&snapshot.unfit, snapshot.unfit_count, FEW) {
            // Of a shell's lines each would say it.
            self.out.warning_once(&format!("left out, neither file, directory nor link: {paths}"));
        }
        if self.out.is_verbose() {
            let took = eye::time(began.elapsed().unwrap_or_default());
            self.out.note(&format!(
                "sent inputs: {} files of {}, {} read, {} sent, {took}",
                snapshot.files,
                eye::bytes(snapshot.bytes),
                eye::bytes(snapshot.bytes_hashed),
                eye::bytes(snapshot.bytes_sent),
            ));
            if let Some(paths) = some_of(&snapshot.ignored, snapshot.ignored_count, usize::MAX) {
                let count = snapshot.ignored_count;
                self.out.note(&format!("left out by ignore files: {count} ({paths})"));
            }
        }
        Ok(Some(snapshot))
    }
}

/// The first of these paths, and how many more there are; none where there are none.
fn some_of(paths: &[String], count: u64, most: usize) -> Option<String> {
    let named: Vec<&str> = paths.iter().take(most).map(String::as_str).collect();
    let more = count.saturating_sub(named.len() as u64);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    (count > 0).then(|| format!("{}{more}", named.join(", ")))
}
