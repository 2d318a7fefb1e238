//! Many actions at once: submitted by one call each, heard of in one place, given up in one call.
//!
//! On our own hub a [`Session`] is one stream, kept by a task of its own, which opens it again where it is lost. What was
//! accepted is then taken up by its operation's name, and what was sent and not answered is sent again under the same
//! number, by which the hub knows it: nothing is run twice. Of an action that was accepted only its name is kept here.
//! Other engines, and hubs that have no sessions, get an Execute stream for each action, and a bounded number of these.
//!
//! The events of a session are to be read while it is submitted to: they are held back where nobody reads them, and in the
//! end so are submissions. Dropping the session drops the stream, by which the hub gives up what has not ended and is not
//! detached.

mod alone;
mod each;
mod patience;
mod shared;
mod state;
mod stream;
#[cfg(test)]
mod tests;
mod told;

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hands_types::{Digest, Platform, limits};
use tokio::task::JoinHandle;

use crate::host_root::{add, needs_host_root, no_host_root};
use crate::retry::Backoff;
use crate::{ClientError, Cluster, ClusterKind, EncodedJob, Event, JobSpec};
pub(crate) use alone::{Alone, Heard};
use each::Each;
use shared::{Service, Shared};

/// An action of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ActionId(u64);

/// An action that was taken from its caller.
#[derive(Clone, Copy, Debug)]
pub struct Submitted {
    /// What its events are about.
    pub id: ActionId,
    /// What its user should know about the way it was submitted: a sentence.
    pub note: Option<&'static str>,
}

/// Many actions of one invocation.
pub struct Session {
    cluster: Cluster,
    shared: Arc<Shared>,
    way: Way,
    /// Host roots that were asked for lately.
    roots: Mutex<Vec<Root>>,
}

/// A platform, when it was asked for its host roots, and the one that most workers offer; none where there is none.
type Root = (Platform, Instant, Option<String>);

/// How actions are sent.
enum Way {
    /// Over the stream that this task keeps.
    Stream(JoinHandle<()>),
    /// Each over a stream of its own.
    Each(Each),
}

/// How long it is believed what the workers offer: they come and go, and a batch asks for each of its actions.
const ROOTS_FOR: Duration = Duration::from_secs(5);
/// Platforms that are remembered.
const ROOTS: usize = 64;
/// Bytes of a message that goes along with its submission. A larger one is uploaded before.
const INLINE: usize = 256 << 10;

impl Session {
    pub(crate) async fn open(cluster: &Cluster) -> Result<Self, ClientError> {
        if cluster.kind() != ClusterKind::Engine {
            let session = Self::begin(cluster, false)?;
            match session.shared.service().await {
                Service::Unserved => {}
                Service::Failed => {
                    if let Some(error) = session.shared.failure() {
                        return Err(error);
                    }
                }
                Service::Served | Service::Unknown => return Ok(session),
            }
        }
        let shared = Arc::new(Shared::default());
        let way = Way::Each(Each::new(cluster.clone(), Arc::clone(&shared)));
        Ok(Self { cluster: cluster.clone(), shared, way, roots: Mutex::default() })
    }

    /// One on a hub of ours that may have no sessions.
    fn begin(cluster: &Cluster, alone: bool) -> Result<Self, ClientError> {
        let shared = Arc::new(Shared::new(alone));
        let way = Way::Stream(tokio::spawn(stream::keep(cluster, &shared, alone)?));
        Ok(Self { cluster: cluster.clone(), shared, way, roots: Mutex::default() })
    }

    /// Submits an action. Its input root must be in the store. Returns when it is taken from the caller, not when the hub
    /// has it; waits where too much was submitted and not answered. Dropped while it waits, it submits nothing.
    pub async fn submit(&self, mut spec: JobSpec) -> Result<Submitted, ClientError> {
        if let Way::Each(each) = &self.way {
            let id = each.submit(spec).await;
            return Ok(Submitted { id, note: None });
        }
        let note = self.name_host_root(&mut spec).await?;
        spec.times &= self.cluster.keeps_times();
        let encoded = spec.encode(self.cluster.function())?;
        let id = self.submit_encoded(&spec, encoded, false).await?;
        Ok(Submitted { id, note })
    }

    async fn submit_encoded(
        &self,
        spec: &JobSpec,
        mut encoded: EncodedJob,
        alone: bool,
    ) -> Result<ActionId, ClientError> {
        let mut large: Vec<(Digest, _)> = Vec::new();
        for (digest, bytes) in [
            (encoded.action, &mut encoded.action_bytes),
            (encoded.command, &mut encoded.command_bytes),
        ] {
            if bytes.len() > INLINE {
                large.push((digest, std::mem::take(bytes)));
            }
        }
        if !large.is_empty() {
            self.upload(large).await?;
        }
        self.shared.submit(spec, encoded, alone).await.map(ActionId)
    }

    /// Waits for a while for a hub that is away or has no room.
    async fn upload(&self, blobs: Vec<(Digest, bytes::Bytes)>) -> Result<(), ClientError> {
        let cluster = &self.cluster;
        let mut backoff = Backoff::new(Some(limits::ORPHAN));
        loop {
            let error = match cluster.uploader().upload(blobs.clone()).await {
                Ok(()) => return Ok(()),
                Err(status) => cluster.failed("the upload of a command", &status),
            };
            if !error.is_lost_connection() {
                return Err(error);
            }
            backoff.pause(cluster.contact(), cluster.peer(), &error).await?;
        }
    }

    /// The next thing that happens to any of the actions: [`Event::Done`] or an error once for each, last. Waits for ever
    /// where there is none. Output comes with the result. Dropped while it waits, it loses nothing.
    ///
    /// [`ClientError::Forgotten`] is the end of an action that was accepted, and that the hub does not know any more: whoever
    /// may have it run a second time ([`JobSpec::reruns`]) submits it again.
    pub async fn next_event(&self) -> (ActionId, Result<Event, ClientError>) {
        let (id, event) = self.shared.next_event().await;
        // What the store lost is sent again by whoever submits it again.
        if let Ok(Event::Done(result)) = &event
            && let Some(failure) = &result.failure
        {
            let missing: Vec<Digest> =
                failure.missing.iter().filter_map(|digest| digest.parse().ok()).collect();
            self.cluster.uploader().forget(&missing);
        }
        (ActionId(id), event)
    }

    /// How many actions have not ended yet, as far as their ends were heard of; they may be unread.
    pub fn live(&self) -> usize {
        match &self.way {
            Way::Stream(_) => self.shared.live(),
            Way::Each(each) => each.live(),
        }
    }

    /// Whether actions have ended here that the hub may have, because it said nothing of them for too long. Whoever ends the
    /// session gives all up ([`Session::cancel_all`]), or they may be run for nobody.
    pub fn has_left_behind(&self) -> bool {
        self.shared.has_left_behind()
    }

    /// Asks for the end of one action. It comes as an event all the same.
    pub fn cancel(&self, id: ActionId) {
        match &self.way {
            Way::Stream(_) => self.shared.cancel(id.0),
            Way::Each(each) => each.cancel(id.0),
        }
    }

    /// Gives up all actions, in one call. Nothing is heard of them from then on. Returns when all of them have ended, unless
    /// others wait for them too; of another engine nobody can tell.
    pub async fn cancel_all(&self) -> Result<(), ClientError> {
        match &self.way {
            Way::Stream(_) => self.shared.cancel_all(self.cluster.peer()).await,
            Way::Each(each) => {
                each.cancel_all();
                Ok(())
            }
        }
    }

    /// Whether [`Session::cancel_all`] has heard from the hub that all have ended. Where each has a stream of its own it only
    /// drops these.
    pub const fn hears_of_cancel(&self) -> bool {
        matches!(self.way, Way::Stream(_))
    }

    /// As [`Cluster::name_host_root`], and asks once for many.
    async fn name_host_root(
        &self,
        spec: &mut JobSpec,
    ) -> Result<Option<&'static str>, ClientError> {
        if !needs_host_root(&self.cluster, spec) {
            return Ok(None);
        }
        if let Some(root) = self.known_root(&spec.platform) {
            return Ok(match root {
                Some(root) => {
                    add(&mut spec.platform, root);
                    None
                }
                None => Some(no_host_root(spec)),
            });
        }
        let platform = spec.platform.clone();
        let note = self.cluster.name_host_root(spec).await?;
        let root = spec.platform.get(hands_types::platform::property::HOST_ROOT);
        {
            let mut roots = self.roots();
            roots.retain(|(_, asked, _)| asked.elapsed() < ROOTS_FOR);
            if roots.len() < ROOTS {
                let root = root.filter(|_| note.is_none());
                roots.push((platform, Instant::now(), root.map(str::to_owned)));
            }
        }
        Ok(note)
    }

    fn known_root(&self, platform: &Platform) -> Option<Option<String>> {
        let roots = self.roots();
        let known =
            roots.iter().find(|(of, asked, _)| of == platform && asked.elapsed() < ROOTS_FOR);
        known.map(|(_, _, root)| root.clone())
    }

    fn roots(&self) -> std::sync::MutexGuard<'_, Vec<Root>> {
        self.roots.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Way::Stream(keeper) = &self.way {
            keeper.abort();
        }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("cluster", &self.cluster).finish_non_exhaustive()
    }
}
