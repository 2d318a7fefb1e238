//! Numbered standard input: a client sends it, keeps what the worker does not have yet, and repeats that when a connection
//! or the hub was lost on the way.
//!
//! Nothing is handed on twice, and nothing out of its order: whatever comes is compared with what was handed on. Where the
//! way to the worker is another than before, the call ends, and the client asks anew from where to go on.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Buf as _;
use hands_proto::v1;
use hands_types::OperationId;
use tokio::sync::{mpsc, watch};
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use crate::core::{Handed, InputRoute, Sender};
use crate::jobs::{INPUT_PIECE, find};
use crate::shared::Shared;

/// What a client hears.
pub(crate) type Replies = ReceiverStream<Result<v1::FeedReply, Status>>;

/// Longest name of a client for itself, bytes.
const NAME: usize = 64;

type Routes = watch::Receiver<Option<InputRoute>>;

/// Answers one call.
pub(crate) async fn feed(
    hub: &Arc<Shared>,
    mut messages: Streaming<v1::FeedMessage>,
) -> Result<Replies, Status> {
    let first = messages.message().await?.unwrap_or_default();
    if first.source.is_empty() || first.source.len() > NAME {
        return Err(Status::invalid_argument(format!(
            "the first message must name its sender, in {NAME} bytes at most"
        )));
    }
    let name = &first.operation;
    let id = find(hub, name.strip_prefix("operations/").unwrap_or(name)).await?;
    let found = hub.ask(move |core| core.feed_of(id)).await?;
    let (replies, answers) = mpsc::channel(1);
    let routes = match found {
        Some(Some(routes)) => routes,
        Some(None) => {
            return Err(Status::failed_precondition(format!(
                "the action {id} was submitted without standard input, or has a terminal"
            )));
        }
        None => {
            // Nobody else has the other end, and there is room for one.
            drop(replies.try_send(Ok(over())));
            return Ok(ReceiverStream::new(answers));
        }
    };
    let hub = Arc::clone(hub);
    crate::task::spawn("feed", async move {
        let feeding = Feeding { hub: &hub, id, source: first.source, replies: &replies };
        let last = tokio::select! {
            last = feeding.serve(messages, routes) => last,
            // Whoever sends has gone.
            () = replies.closed() => return,
        };
        // Nobody may be left to hear it.
        drop(replies.send(last).await);
    });
    Ok(ReceiverStream::new(answers))
}

struct Feeding<'a> {
    hub: &'a Shared,
    id: OperationId,
    source: String,
    replies: &'a mpsc::Sender<Result<v1::FeedReply, Status>>,
}

impl Feeding<'_> {
    /// Hands on what comes, until the action has ended or the way to it is another. Gives the last reply.
    async fn serve(
        &self,
        mut messages: Streaming<v1::FeedMessage>,
        mut routes: Routes,
    ) -> Result<v1::FeedReply, Status> {
        let is_current =
            |route: &Option<InputRoute>| route.as_ref().is_some_and(InputRoute::is_current);
        let Ok(route) = routes.wait_for(is_current).await.map(|route| route.clone()) else {
            return self.gone().await;
        };
        let Some(route) = route else { return Err(another_way()) };
        self.claim(&mut route.sent.handed())?;
        let mut taken = route.sent.taken.subscribe();
        taken.mark_changed();
        let mut comes = true;
        loop {
            tokio::select! {
                message = messages.next(), if comes => match message {
                    Some(message) => {
                        let handing = hand_on(&route, message?);
                        tokio::select! {
                            handed = handing => handed?,
                            end = self.is_elsewhere(&route, &mut routes) => return end,
                        }
                    }
                    None => comes = false,
                },
                changed = taken.changed() => {
                    changed.map_err(|_| another_way())?;
                    let now = *taken.borrow_and_update();
                    let reply =
                        v1::FeedReply { taken: now.bytes, ended: now.ended, ..Default::default() };
                    // Its error means that whoever sends has gone, and then this is not waited for.
                    drop(self.replies.send(Ok(reply)).await);
                }
                end = self.is_elsewhere(&route, &mut routes) => return end,
            }
        }
    }

    /// Returns when the action has ended, or what is sent has to go another way than this one.
    async fn is_elsewhere(
        &self,
        route: &InputRoute,
        routes: &mut Routes,
    ) -> Result<v1::FeedReply, Status> {
        loop {
            match routes.changed().await {
                Ok(()) if !route.is_current() => return Err(another_way()),
                Ok(()) => {}
                Err(_) => return self.gone().await,
            }
        }
    }

    /// The ways to the action have ended: so has the action, or this hub.
    async fn gone(&self) -> Result<v1::FeedReply, Status> {
        let id = self.id;
        match self.hub.ask(move |core| core.feed_of(id).is_some()).await? {
            true => Err(another_way()),
            false => Ok(over()),
        }
    }

    /// Notes who sends the action's input, and that nobody else does.
    fn claim(&self, handed: &mut Handed) -> Result<(), Status> {
        match &handed.by {
            Sender::Nobody => {
                handed.by = Sender::Repeats(self.source.clone());
                Ok(())
            }
            Sender::Repeats(source) if *source == self.source => Ok(()),
            Sender::Repeats(_) | Sender::Once => Err(somebody_else()),
            Sender::Unknown => Err(Status::failed_precondition(
                "the hub was started again, and the action's worker, which is of an older version, can't say how much of the \
                 standard input it has",
            )),
        }
    }
}

/// Hands on what was not handed on before.
async fn hand_on(route: &InputRoute, mut message: v1::FeedMessage) -> Result<(), Status> {
    loop {
        let place = route.out.reserve().await.map_err(|_| another_way())?;
        if !hand_on_piece(route, &mut message, place)? {
            break;
        }
    }
    if !route.is_told {
        // What was handed on is all that is known.
        let handed = route.sent.handed();
        let taken = crate::core::Taken { bytes: handed.bytes, ended: handed.ended };
        drop(handed);
        route.sent.takes(taken);
    }
    Ok(())
}

/// Counts the next piece and hands it on, both under the lock: two calls of one sender may overlap. False if that was the end,
/// or all of the message was handed on.
fn hand_on_piece(
    route: &InputRoute,
    message: &mut v1::FeedMessage,
    place: mpsc::Permit<'_, v1::HubMessage>,
) -> Result<bool, Status> {
    let mut handed = route.sent.handed();
    if !route.is_of(&handed) {
        return Err(another_way());
    }
    let had = handed.bytes.saturating_sub(message.offset);
    let had = usize::try_from(had).unwrap_or(usize::MAX).min(message.data.len());
    message.data.advance(had);
    message.offset += had as u64;
    let has_data = !message.data.is_empty();
    let is_news = has_data || (message.eof && !handed.ended);
    if !is_news {
        return Ok(false);
    }
    if message.offset != handed.bytes || handed.ended {
        return Err(Status::invalid_argument(format!(
            "standard input goes on at byte {}, and what came begins at {}{}",
            handed.bytes,
            message.offset,
            if handed.ended { ", after its end" } else { "" },
        )));
    }
    let offset = handed.bytes;
    let kind = if has_data {
        let piece = message.data.split_to(message.data.len().min(INPUT_PIECE));
        handed.bytes += piece.len() as u64;
        message.offset = handed.bytes;
        v1::input::Kind::Data(piece)
    } else {
        handed.ended = true;
        v1::input::Kind::Eof(true)
    };
    route.sent.any.store(true, Ordering::SeqCst);
    let input = v1::Input { id: Some(route.id.clone()), offset, kind: Some(kind) };
    place.send(v1::HubMessage { kind: Some(v1::hub_message::Kind::Input(input)) });
    Ok(has_data)
}

/// The last reply to whoever feeds an action that takes no more.
fn over() -> v1::FeedReply {
    v1::FeedReply { closed: true, ..Default::default() }
}

fn another_way() -> Status {
    Status::unavailable(
        "the action's worker was connected anew; what it does not have is to be sent again",
    )
}

/// Bytes of two would be mixed.
pub(crate) fn somebody_else() -> Status {
    Status::failed_precondition("another client sends this action's standard input")
}
