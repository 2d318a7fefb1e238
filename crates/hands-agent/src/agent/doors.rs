//! The places where an agent listens, and keeping them: a logout, a cleaner of `/tmp` or a hand may remove a socket under a
//! living agent, and nobody new would find it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hands_client::{AgentPart, AgentSockets};
use hands_hub::MeterLayer;
use hands_link::{LinkError, Listener, SocketFile};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tonic::service::Routes;

use super::parts;
use super::removals::Removals;
use crate::AgentError;
use crate::error::sentence;

/// How long whoever removes files is given to end: `rm -r` would fail for a socket that is there again.
const QUIET: Duration = Duration::from_millis(200);

pub(super) struct Doors {
    places: Vec<Place>,
    routes: (Routes, MeterLayer),
    parts: Vec<Arc<dyn AgentPart>>,
    tasks: JoinSet<()>,
    removals: Removals,
    /// When to look, because something was removed.
    due: Option<Instant>,
}

struct Place {
    sockets: AgentSockets,
    open: Option<Open>,
    /// Why it could not be opened when that was said last: the log has it once.
    said: String,
}

/// Sockets that are bound. They are removed when this is dropped.
struct Open {
    files: Vec<SocketFile>,
    stop: watch::Sender<bool>,
}

impl Doors {
    /// Opens every place that can be; an error where none can.
    pub(super) fn open(
        sockets: &[AgentSockets],
        routes: (Routes, MeterLayer),
        parts: &[Arc<dyn AgentPart>],
    ) -> Result<Self, AgentError> {
        let place = |sockets: &AgentSockets| Place {
            sockets: sockets.clone(),
            open: None,
            said: String::new(),
        };
        let mut doors = Self {
            places: sockets.iter().map(place).collect(),
            routes,
            parts: parts.to_vec(),
            tasks: JoinSet::new(),
            removals: Removals::new(),
            due: None,
        };
        match doors.mend() {
            Some(error) if doors.places.iter().all(|place| place.open.is_none()) => {
                Err(AgentError::Listen { message: sentence(&error), class: error.class() })
            }
            _ => Ok(doors),
        }
    }

    /// Opens what is not open, and again what was removed. Returns the first failure.
    pub(super) fn mend(&mut self) -> Option<LinkError> {
        let mut failure = None;
        // Ends of doors that were closed: nobody waits for them.
        while self.tasks.try_join_next().is_some() {}
        for place in &mut self.places {
            if place.open.as_ref().is_some_and(Open::is_there) {
                continue;
            }
            if let Some(lost) = place.open.take() {
                tracing::warn!(socket = %place.sockets.agent.display(), "was removed; listening anew");
                // What it has accepted is served to its end.
                lost.stop.send_replace(true);
            }
            match open(&place.sockets, &self.routes, &self.parts, &mut self.tasks) {
                Ok(open) => {
                    place.open = Some(open);
                    place.said.clear();
                    tracing::info!(socket = %place.sockets.agent.display(), "listening");
                }
                Err(error) => {
                    let why = sentence(&error);
                    if place.said != why {
                        tracing::warn!("can't listen: {why}");
                        place.said = why;
                    }
                    failure.get_or_insert(error);
                }
            }
        }
        let directories: Vec<PathBuf> = self
            .places
            .iter()
            .filter(|place| place.open.is_some())
            .filter_map(|place| place.sockets.agent.parent().map(Path::to_owned))
            .collect();
        self.removals.look_at(&directories);
        failure
    }

    /// Waits until something was removed where it listens, and whoever removes may have removed the directory too.
    pub(super) async fn disturbed(&mut self) {
        let due = match self.due {
            Some(due) => due,
            None => {
                self.removals.seen().await;
                *self.due.insert(Instant::now() + QUIET)
            }
        };
        tokio::time::sleep_until(due).await;
        self.due = None;
    }

    /// Takes in nobody any more.
    pub(super) fn shut(&mut self) {
        for place in &mut self.places {
            if let Some(open) = place.open.take() {
                open.stop.send_replace(true);
            }
        }
    }

    /// Lets requests under way end.
    pub(super) async fn end(&mut self, deadline: Instant) {
        while let Ok(Some(_)) = tokio::time::timeout_at(deadline, self.tasks.join_next()).await {}
        self.tasks.abort_all();
    }
}

impl Open {
    fn is_there(&self) -> bool {
        self.files.iter().all(SocketFile::is_there)
    }
}

fn open(
    sockets: &AgentSockets,
    (routes, meter): &(Routes, MeterLayer),
    parts: &[Arc<dyn AgentPart>],
    tasks: &mut JoinSet<()>,
) -> Result<Open, LinkError> {
    let (listener, file) = hands_link::listen_unix(&sockets.agent)?;
    let mut files = vec![file];
    let mut listeners = Vec::new();
    for part in parts {
        let (listener, file) = hands_link::listen_unix(&sockets.of_part(part.name()))?;
        files.push(file);
        listeners.push((Arc::clone(part), listener));
    }
    let (stop, stopped) = watch::channel(false);
    let incoming = Listener::from_unix(listener).incoming();
    let mut until = stopped.clone();
    let serving = hands_link::server()
        .layer(meter.clone())
        .add_routes(routes.clone())
        .serve_with_incoming_shutdown(incoming, async move {
            // Its error means that the agent has gone without a word: the same.
            drop(until.wait_for(|stop| *stop).await);
        });
    tasks.spawn(async move {
        if let Err(error) = serving.await {
            tracing::error!(%error, "a socket serves no more");
        }
    });
    for (part, listener) in listeners {
        tasks.spawn(parts::serve(part, listener, stopped.clone()));
    }
    Ok(Open { files, stop })
}
