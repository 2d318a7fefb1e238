//! Calls that are made again because the engine said when.

use std::time::Duration;

use hands_proto::rpc::{self, RetryInfo};
use hands_proto::unpack;
use prost::Message as _;
use tokio::time::Instant;
use tonic::{Response, Status};

/// How long an engine may be asked to take a call that it has no room for now.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
/// The longest pause that an engine may ask for.
const LONGEST: Duration = Duration::from_secs(10);

/// Makes a call, and again after as long as its refusal asks for (google.rpc.RetryInfo), for so long at most.
pub(super) async fn patiently<T, F: Future<Output = Result<Response<T>, Status>>>(
    patience: Duration,
    mut call: impl FnMut() -> F,
) -> Result<T, Status> {
    let until = Instant::now() + patience;
    loop {
        let refused = match call().await {
            Ok(response) => return Ok(response.into_inner()),
            Err(status) => status,
        };
        let Some(pause) = pause(&refused).filter(|pause| Instant::now() + *pause < until) else {
            return Err(refused);
        };
        tracing::debug!(%refused, "asking again in {} ms", pause.as_millis());
        tokio::time::sleep(pause).await;
    }
}

/// Whether a refusal says when it passes.
pub fn passes(status: &Status) -> bool {
    pause(status).is_some()
}

fn pause(status: &Status) -> Option<Duration> {
    let details = rpc::Status::decode(status.details()).ok()?.details;
    let info = details.iter().find_map(|any| unpack::<RetryInfo>(any).ok())?;
    let delay = hands_proto::to_duration(&info.retry_delay?)?;
    Some(delay.min(LONGEST))
}

#[cfg(test)]
mod tests;
