//! Work that reads from the store what takes memory: on a blocking thread, with a room of its own.

use std::sync::Arc;
use std::time::Duration;

use hands_proto::{Charge, LARGEST_LOOK, Look, Room, Tight, rooms};
use tonic::Status;

/// How long a call waits until others have ended, so that there is memory for it.
pub const ROOM_WITHIN: Duration = Duration::from_secs(30);

/// What a look has found, with the memory that it took.
#[derive(Debug)]
pub struct Looked<T> {
    /// What was found.
    pub found: T,
    /// None where nothing is counted.
    pub look: Option<Look>,
}

/// Waits for memory for a look; RESOURCE_EXHAUSTED where that takes longer than `within`.
pub async fn look(
    charge: Option<&Arc<Charge>>,
    bytes: usize,
    within: Duration,
) -> Result<Option<Look>, Status> {
    let Some(charge) = charge else { return Ok(None) };
    let waiting = tokio::time::timeout(within, charge.look(bytes));
    waiting.await.map(Some).map_err(|_| Charge::crowded())
}

/// Does what needs memory that nobody can tell before: with a little first, and anew with more where that was too little.
/// `expected` is what is known of it, bytes; it waits each time no longer than `within`.
pub async fn looking<T: Send + 'static>(
    charge: Option<&Arc<Charge>>,
    expected: usize,
    within: Duration,
    work: impl Fn(&mut Room) -> Result<T, Tight> + Send + Sync + 'static,
) -> Result<Looked<T>, Status> {
    let work = Arc::new(work);
    for most in rooms(expected) {
        // First its client's own place, so that nobody holds memory that all share while it waits for other work of its own.
        let waiting = tokio::time::timeout(within, Charge::place());
        let place = waiting.await.map_err(|_| Charge::crowded())?;
        let look = look(charge, most, within).await?;
        let work = Arc::clone(&work);
        // The memory is taken until the work has ended. Where the call is given up that is soon: nothing has room then.
        let done = crate::services::wanted_work(place, move |wanted| {
            (work(&mut Room::of_call(most, wanted.is_over())), look)
        });
        if let (Ok(found), look) = done.await? {
            return Ok(Looked { found, look });
        }
    }
    let tight = Tight(LARGEST_LOOK);
    Err(Status::invalid_argument(format!("what the call names is too large: {tight}")))
}

/// Says what a handler is about to allocate beside its request, and waits where it is too much now. Only for small requests:
/// large ones that wait for each other would wait for ever.
pub async fn reserve_later(charge: Option<&Arc<Charge>>, bytes: usize) -> Result<(), Status> {
    let Some(charge) = charge else { return Ok(()) };
    let waiting = tokio::time::timeout(ROOM_WITHIN, charge.reserve_later(bytes));
    waiting.await.unwrap_or_else(|_| Err(charge.no_room(bytes)))
}

#[cfg(test)]
mod tests;
