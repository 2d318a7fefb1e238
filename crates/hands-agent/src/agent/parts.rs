//! The parts of the agent: what serves at sockets of its own beside hub and worker.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::select_all;
use hands_client::AgentPart;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;

/// Pause after a connection could not be accepted: out of descriptors, most likely, and others may close some.
const PAUSE: Duration = Duration::from_millis(100);

/// All parts, and what they have under way.
pub(super) struct Parts {
    all: Vec<Arc<dyn AgentPart>>,
    under_way: Vec<watch::Receiver<usize>>,
}

impl Parts {
    pub(super) fn new(all: Vec<Arc<dyn AgentPart>>) -> Self {
        let under_way = all.iter().map(|part| part.under_way()).collect();
        Self { all, under_way }
    }

    pub(super) fn all(&self) -> &[Arc<dyn AgentPart>] {
        &self.all
    }

    /// How much they have under way.
    pub(super) fn under_way(&self) -> usize {
        self.under_way.iter().map(|part| *part.borrow()).sum()
    }

    /// Waits until a part has begun something or ended it.
    pub(super) async fn changed(&mut self) {
        let changes = self.under_way.iter_mut().map(|part| {
            // A part that has gone changes no more.
            async {
                if part.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
            .boxed()
        });
        select_all(changes).await;
    }
}

/// Takes in a part's connections at one socket, until told to stop. What it has accepted is served to its end, or to the
/// agent's: whoever only keeps a connection open holds nobody up.
pub(super) async fn serve(
    part: Arc<dyn AgentPart>,
    listener: UnixListener,
    mut stop: watch::Receiver<bool>,
) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        match accepted {
            Ok((stream, _)) => {
                // A panic in it is told by the hook.
                drop(tokio::spawn(connection(Arc::clone(&part), stream)));
            }
            Err(error) => {
                tracing::warn!(part = part.name(), %error, "a connection can't be accepted");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn connection(part: Arc<dyn AgentPart>, stream: UnixStream) {
    let name = part.name();
    let served = match own_user(&stream) {
        Ok(()) => part.serve(stream).await,
        Err(error) => Err(error),
    };
    if let Err(error) = served {
        tracing::debug!(part = name, %error, "a connection has ended");
    }
}

/// An error unless the agent's own user is at the other end, or root.
fn own_user(stream: &UnixStream) -> io::Result<()> {
    let uid = stream.peer_cred()?.uid();
    if uid == rustix::process::geteuid().as_raw() || uid == 0 {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::PermissionDenied, format!("user {uid} may not ask")))
}
