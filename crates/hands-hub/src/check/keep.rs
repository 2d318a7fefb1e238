//! An attempt's streams become blobs before its result is looked at. A store without room may have some soon, and a command
//! that has run is not run again for that.

use std::time::Duration;

use hands_proto::v1;
use hands_store::StoreError;
use hands_types::Digest;
use tokio::time::Instant;
use tonic::Status;

use super::Lookout;

/// The blobs of both streams; none where the attempt's end can't count, or they are not whole.
pub(crate) type Kept = Option<[Digest; 2]>;

/// How long a result waits for room.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(500);

impl Lookout {
    /// Makes the streams blobs. Blocks where they are large.
    pub(crate) fn keep(&self, finished: &v1::Finished) -> Result<Kept, StoreError> {
        if self.may_count(finished) { self.keep_both().map(Some) } else { Ok(None) }
    }

    /// The same, which waits for room for a while.
    pub(super) async fn keep_in_time(
        &self,
        finished: &v1::Finished,
    ) -> Result<Result<Kept, StoreError>, Status> {
        if !self.may_count(finished) {
            return Ok(Ok(None));
        }
        let until = Instant::now() + PATIENCE;
        loop {
            let this = self.clone();
            let kept = crate::task::blocking(move || this.keep_both()).await?;
            match kept {
                Err(error) if error.is_full() && Instant::now() < until => {
                    tracing::debug!(%error, "a result waits for room");
                    tokio::time::sleep(PAUSE).await;
                }
                kept => return Ok(kept.map(Some)),
            }
        }
    }

    fn may_count(&self, finished: &v1::Finished) -> bool {
        let have = [self.log.stdout.mark().length, self.log.stderr.mark().length];
        let is_whole = have == [finished.stdout_size, finished.stderr_size];
        is_whole && !finished.try_elsewhere && finished.result.is_some()
    }

    fn keep_both(&self) -> Result<[Digest; 2], StoreError> {
        let (log, function) = (&self.log, self.log.record.digest.function);
        let stdout = log.stdout.store(&self.store, function)?;
        Ok([stdout, log.stderr.store(&self.store, function)?])
    }
}
