//! Waiting for a target that is away, as front-ends wait for theirs.

use std::iter::successors;
use std::time::{Duration, Instant};

use hands_link::LinkError;
use hands_reapi::BlobError;
use hands_types::limits;
use tokio::runtime::Handle;
use tonic::Code;

use crate::error::SnapshotError;
use crate::walk::Progress;

/// The pauses between tries. A hub is back within a second of a restart.
const FIRST: Duration = Duration::from_millis(20);
const LAST: Duration = Duration::from_secs(1);

/// Asks about blobs or sends them, and does so again for a while where the target is away: it takes a blob as often as it
/// comes. The outer error is of whoever waits for the snapshot.
pub(super) fn patiently<T, F: Future<Output = Result<T, BlobError>>>(
    runtime: &Handle,
    progress: &Progress,
    mut call: impl FnMut() -> F,
) -> Result<Result<T, BlobError>, SnapshotError> {
    let mut away_since = None;
    let mut pause = FIRST;
    loop {
        let begun = Instant::now();
        let error = match runtime.block_on(call()) {
            Err(error) if is_away(&error) => error,
            other => return Ok(other),
        };
        progress.check()?;
        if begun.elapsed() > LAST {
            // It was there and has gone again.
            away_since = None;
            pause = FIRST;
        }
        if away_since.get_or_insert_with(Instant::now).elapsed() >= limits::ORPHAN {
            return Ok(Err(error));
        }
        tracing::debug!(%error, pause_ms = pause.as_millis(), "trying again");
        runtime.block_on(async { tokio::time::sleep(pause).await });
        pause = (pause * 2).min(LAST);
    }
}

/// Whether the connection was lost or could not be made, or its other end says that it will pass.
fn is_away(error: &BlobError) -> bool {
    let BlobError::Rpc { source, .. } = error else { return false };
    let cause = std::error::Error::source(source);
    let mut causes = successors(cause, |cause| cause.source()).peekable();
    let is_broken = causes.peek().is_some();
    let link = causes.find_map(|cause| cause.downcast_ref::<LinkError>());
    match link {
        // A hub that is somebody else stays so.
        Some(link) => link.class().retry(),
        None => is_broken || source.status().code() == Code::Unavailable,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicU64};

    use hands_reapi::{BlobClient, Channel};
    use hands_types::DigestFunction;

    use super::*;

    /// A client of nobody.
    fn client(runtime: &Handle) -> BlobClient {
        let _inside = runtime.enter();
        let address = "unix:/nonexistent/hub.sock".parse().unwrap();
        let channel = Channel::from(hands_link::connect(&address));
        BlobClient::new(channel, "", DigestFunction::Sha256)
    }

    fn progress(cancelled: bool) -> Progress {
        Progress {
            files: AtomicU64::new(0),
            bytes_hashed: AtomicU64::new(0),
            bytes_sent: AtomicU64::new(0),
            cancelled: AtomicBool::new(cancelled),
        }
    }

    #[test]
    fn a_target_that_is_away_is_asked_again_while_somebody_waits() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let client = client(runtime.handle());
        let digest = hands_tree::hash(DigestFunction::Sha256, b"x");
        let mut calls = 0;
        let answered = patiently(runtime.handle(), &progress(false), || {
            calls += 1;
            let (client, is_there) = (client.clone(), calls == 4);
            async move {
                match is_there {
                    true => Ok(Vec::new()),
                    false => client.find_missing(&[digest]).await,
                }
            }
        });
        assert_eq!(answered.unwrap().unwrap(), []);
        let one = [digest];
        let given_up = patiently(runtime.handle(), &progress(true), || client.find_missing(&one));
        assert!(matches!(given_up, Err(SnapshotError::Cancelled)));
        // What no waiting mends is told at once.
        let missing = || std::future::ready(Err::<(), _>(BlobError::Missing(vec![digest])));
        assert!(patiently(runtime.handle(), &progress(false), missing).unwrap().is_err());
    }
}
