//! Actions on an engine that has no sessions: an Execute stream for each, and a bounded number of these.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;

use super::shared::Shared;
use super::{ActionId, told};
use crate::execution::Execution;
use crate::{ClientError, Cluster, Event, JobSpec, Logs};

/// Streams that are open at once: below what one connection of any engine takes.
const STREAMS: usize = 100;

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

    /// Begins an action. Waits until few enough are under way.
    pub(super) async fn submit(&self, spec: JobSpec) -> ActionId {
        let place = Arc::clone(&self.room).acquire_owned().await;
        let id = self.shared.number();
        let (cancel, cancelled) = oneshot::channel();
        let (cluster, shared) = (self.cluster.clone(), Arc::clone(&self.shared));
        let live = Arc::clone(&self.live);
        // Held, so that the task can't end before it is noted.
        let mut noted = lock(&self.live);
        let task = tokio::spawn(async move {
            // Closed by nobody.
            let _place = place;
            if let Err(error) = follow(&cluster, &shared, id, spec, cancelled).await {
                shared.tell(id, Err(error));
            }
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

async fn follow(
    cluster: &Cluster,
    shared: &Shared,
    id: u64,
    mut spec: JobSpec,
    mut cancelled: oneshot::Receiver<()>,
) -> Result<(), ClientError> {
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
            shared.tell(id, Ok(told::cancelled(None)));
            return Ok(());
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
                    shared.tell(id, Ok(told::cancelled(None)));
                    return Ok(());
                }
                cluster.cancel_exactly(&name).await?;
                continue;
            }
        };
        let is_told = match &event {
            Event::Queued { .. } | Event::Waiting { .. } => follow,
            Event::Started { attempt, .. } => runs.replace(*attempt) != Some(*attempt) && follow,
            Event::Again { .. } | Event::Lost { .. } | Event::Output { .. } | Event::Done(_) => {
                true
            }
        };
        let is_over = matches!(event, Event::Done(_));
        if is_told {
            shared.tell(id, Ok(event));
        }
        if is_over {
            return Ok(());
        }
    }
}
