//! Members that are far away have larger windows and more patience than others: a server has one size for all of its
//! connections, so there are two.

use std::io;
use std::time::Duration;

use hands_link::{Connection, Incoming, Parameters, Quality};
use tokio::sync::{mpsc, watch};
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;

/// What one server takes.
pub(super) type Share = (ReceiverStream<io::Result<Connection>>, Parameters);

/// Connections that wait for a server to take them.
const BACKLOG: usize = 16;
/// What is longer than this is served as if it were this long.
const FAR: Duration = Duration::from_millis(200);

/// Those of the near, and those of the far.
pub(super) fn split(mut incoming: Incoming, mut closed: watch::Receiver<bool>) -> (Share, Share) {
    let [near, far] = [Quality::default(), Quality { round_trip: Some(FAR), throughput: None }]
        .map(Parameters::of);
    let (to_near, of_near) = mpsc::channel(BACKLOG);
    let (to_far, of_far) = mpsc::channel(BACKLOG);
    crate::task::spawn("hub-accept", async move {
        loop {
            let came = tokio::select! {
                came = incoming.next() => came,
                // An error means that the hub was dropped.
                _ = closed.wait_for(|closed| *closed) => break,
            };
            let Some(came) = came else { break };
            let is_far = came.as_ref().is_ok_and(|connection| is_far(connection, near));
            let to = if is_far { &to_far } else { &to_near };
            // Its server has ended, as the other will.
            if to.send(came).await.is_err() {
                break;
            }
        }
    });
    ((ReceiverStream::new(of_near), near), (ReceiverStream::new(of_far), far))
}

/// Whether it is a member's and its way so long that more must be under way on it. A stranger could make its handshake last
/// as long as it likes.
fn is_far(connection: &Connection, near: Parameters) -> bool {
    let info = connection.info();
    let is_known = info.tls.as_ref().is_some_and(|tls| tls.certificate.is_some());
    is_known && Parameters::of(info.quality()).stream_window > near.stream_window
}
