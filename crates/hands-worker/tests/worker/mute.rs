//! A hub that stands still: its machine takes connections, and nobody answers on them.

use std::io;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hands_link::{Address, Listener, Mute};
use hands_proto::v1::{AttemptId, hub_message};
use hyper_util::rt::TokioIo;
use tokio::sync::watch;
use tonic::transport::{Channel, Endpoint};

use crate::hub::{Hub, Job, text};
use crate::place::Tally;

/// How long a try takes that nobody answers, and how long leases live: fewer tries than there are uploads.
const TRY: Duration = Duration::from_millis(400);
const LEASE_MS: u64 = 1000;
const N_ACTIONS: u8 = 3;

/// The way to the hub, which a test can close.
struct Road {
    hub: PathBuf,
    is_closed: watch::Sender<bool>,
    last: Mutex<Option<UnixStream>>,
    /// Tries that nobody answered.
    unanswered: watch::Sender<usize>,
}

impl Road {
    fn new(hub: PathBuf) -> Arc<Self> {
        let (is_closed, unanswered) = (watch::Sender::new(false), watch::Sender::new(0));
        Arc::new(Self { hub, is_closed, last: Mutex::new(None), unanswered })
    }

    fn channel(self: &Arc<Self>) -> Channel {
        let road = Arc::clone(self);
        let connector = tower::service_fn(move |_| {
            let road = Arc::clone(&road);
            async move { road.dial().await.map(TokioIo::new) }
        });
        Endpoint::from_static("http://hands").connect_with_connector_lazy(connector)
    }

    async fn dial(&self) -> io::Result<tokio::net::UnixStream> {
        if *self.is_closed.borrow() {
            tokio::time::sleep(TRY).await;
            self.unanswered.send_modify(|n| *n += 1);
            return Err(io::Error::new(io::ErrorKind::TimedOut, Mute));
        }
        let stream = UnixStream::connect(&self.hub)?;
        stream.set_nonblocking(true)?;
        *self.last.lock().expect("the road") = Some(stream.try_clone()?);
        tokio::net::UnixStream::from_std(stream)
    }

    /// The connection breaks, and nobody answers the next.
    fn close(&self) {
        self.is_closed.send_replace(true);
        let last = self.last.lock().expect("the road").take().expect("a connection");
        last.shutdown(Shutdown::Both).expect("a connection");
    }

    fn open(&self) {
        self.is_closed.send_replace(false);
    }
}

/// What ends while the hub stands still is kept with its outputs, which try to get there as long.
pub(crate) async fn run(tally: &mut Tally) {
    let place = tally.directory();
    let at = place.join("hub.sock");
    let listener = Listener::bind(&Address::Unix(at.clone())).expect("a socket");
    let road = Road::new(at);
    let mut hub = Hub::at(&place, listener, road.channel());
    let mut config = hub.config(&place, true);
    config.slots = N_ACTIONS.into();
    let (worker, mut session) = tokio::join!(hands_worker::Worker::start(config), hub.session());
    let worker = worker.expect("a worker");
    session.lease_ms = LEASE_MS;
    session.welcome(Vec::new());
    let leases: Vec<_> = (0..N_ACTIONS)
        .map(|i| Job::sh(&format!("sleep 0.3; echo {i} > f")).outputs(&["f"]).lease())
        .collect();
    let mut ids: Vec<AttemptId> = leases.iter().map(|l| l.id.clone().expect("an id")).collect();
    for lease in leases {
        session.send(hub_message::Kind::Lease(lease));
    }
    let mut unanswered = road.unanswered.subscribe();
    session.started(ids.last().expect("some")).await;
    road.close();
    // Several rounds of all of them.
    unanswered
        .wait_for(|n| *n >= 3 * (usize::from(N_ACTIONS) + 1))
        .await
        .expect("the road is there");
    road.open();
    let mut session = hub.session().await;
    let mut held = session.hello.attempts.clone();
    held.sort_by_key(|id| id.operation.clone());
    ids.sort_by_key(|id| id.operation.clone());
    tally.check("a hub that stood still gets what ended meanwhile", held == ids, &held);
    session.welcome(held.iter().map(|id| (id.clone(), [0, 0])).collect());
    for (i, id) in ids.iter().enumerate().filter(|(_, id)| held.contains(id)) {
        let ended = session.finish(id).await;
        let file = ended.result().output_files.first().and_then(|file| file.digest.clone());
        let good = text(&hub.store, file.as_ref()) == format!("{i}\n");
        tally.check("with its outputs", good, ended.note());
    }
    worker.stop().await;
}
