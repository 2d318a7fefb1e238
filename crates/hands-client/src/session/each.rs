//! Actions on an engine that has no sessions: an Execute stream for each, and a bounded number of these.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;

use super::shared::Shared;
use super::{ActionId, told};
use crate::execution::Execution;
use crate::{ClientError, Cluster, Event, JobSpec, Logs};

/// Streams that are open at once: what the usual engine takes over one connection. Of one that takes fewer the others wait.
pub(super) const STREAMS: usize = 100;

pub(super) struct Each {
    cluster: Cluster,
    shared: Arc<Shared>,
    room: Arc<Semaphore>,
    live: Arc<Mutex<Live>>,
}

type Live = HashMap<u64, (JoinHandle<()>, Option<oneshot::Sender<()>>)>;

impl Each {
    pub(super) fn new(cluster: Cluster, shared: Arc<Shared>) -> Self {
        let room = Arc::new(Semaphore::new(STREAMS));
        Self { cluster, shared, room, live: Arc::default() }
    }

    /// Begins an action. Waits until few enough are under way or have an end that was not read.
    pub(super) async fn submit(&self, spec: JobSpec) -> ActionId {
        // No error: it is closed by nobody.
        let place = Arc::clone(&self.room).acquire_owned().await;
        let id = self.shared.number();
        let (cancel, cancelled) = oneshot::channel();
        let (cluster, shared) = (self.cluster.clone(), Arc::clone(&self.shared));
        let live = Arc::clone(&self.live);
        // Held, so that the task can't end before it is noted.
        let mut noted = lock(&self.live);
        let task = tokio::spawn(async move {
            let end = follow(&cluster, &shared, id, spec, cancelled).await;
            // Its place is free once that was read: a whole result waits until then.
            shared.tell_end(id, end, place.ok());
            lock(&live).remove(&id);
        });
        noted.insert(id, (task, Some(cancel)));
        ActionId(id)
    }

    pub(super) fn cancel(&self, id: u64) {
        let cancel = lock(&self.live).get_mut(&id).and_then(|(_, cancel)| cancel.take());
        if let Some(cancel) = cancel {
            // Fails where it has just ended.
            let _ended = cancel.send(());
        }
    }

    pub(super) fn cancel_all(&self) {
        for (_, (task, _)) in lock(&self.live).drain() {
            task.abort();
        }
        self.shared.forget_events();
    }

    pub(super) fn live(&self) -> usize {
        lock(&self.live).len()
    }
}

impl Drop for Each {
    fn drop(&mut self) {
        self.cancel_all();
    }
}

fn lock(live: &Mutex<Live>) -> MutexGuard<'_, Live> {
    live.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Tells what happens to an action, but for its end.
async fn follow(
    cluster: &Cluster,
    shared: &Shared,
    id: u64,
    mut spec: JobSpec,
    mut cancelled: oneshot::Receiver<()>,
) -> Result<Event, ClientError> {
    let follow = spec.follow;
    spec.logs = Logs::No;
    let submitting = async {
        // One that can't be named the root of is not cached.
        let _note = cluster.name_host_root(&mut spec).await?;
        Execution::submit(cluster, spec).await
    };
    let mut action = tokio::select! {
        action = submitting => action?,
        Ok(()) = &mut cancelled => {
            // What the engine may have of it ends with its stream.
            return Ok(told::cancelled(None));
        }
    };
    let mut is_cancelled = false;
    let mut runs = None;
    loop {
        let event = tokio::select! {
            event = action.next() => event?,
            Ok(()) = &mut cancelled, if !is_cancelled => {
                is_cancelled = true;
                let name = action.id().to_owned();
                if name.is_empty() {
                    // Dropping it is what ends it.
                    return Ok(told::cancelled(None));
                }
                cluster.cancel_exactly(&name).await?;
                continue;
            }
        };
        let is_told = match &event {
            Event::Queued { .. } | Event::Waiting { .. } => follow,
            Event::Started { attempt, .. } => runs.replace(*attempt) != Some(*attempt) && follow,
            Event::Again { .. } | Event::Lost { .. } | Event::Output { .. } => true,
            Event::Done(_) => return Ok(event),
        };
        if is_told {
            shared.tell(id, Ok(event));
        }
    }
}
