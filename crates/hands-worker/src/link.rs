//! The session with the hub: dialing, dialing again, and what is logged about it.

mod absence;

use std::pin::Pin;
use std::time::Duration;

use hands_link::{LinkError, Way};
use hands_proto::v1;
use hands_proto::v1::workers_client::WorkersClient;
use hands_types::limits::MAX_MESSAGE;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Code, Status, Streaming};

use crate::output::{self, Outgoing};
use absence::{Absence, Return};

const FIRST_WAIT: Duration = Duration::from_millis(50);
const LAST_WAIT: Duration = Duration::from_secs(2);
/// A hub that takes the connection and says nothing for this long is as good as gone.
const PATIENCE: Duration = Duration::from_secs(15);

/// The way to the hub, or the way towards it.
pub(crate) struct Link {
    way: Way,
    hub_name: String,
    state: State,
    wait: Duration,
    absence: Absence,
}

enum State {
    /// Nothing until then.
    Waiting(Instant),
    /// The way is made.
    Dialing(Pin<Box<dyn Future<Output = Result<(), LinkError>> + Send>>),
    /// It is there, and the first message may be sent.
    Dialed,
    /// The first message is on its way.
    Opening {
        call: Pin<Box<dyn Future<Output = Result<Streaming<v1::HubMessage>, Status>> + Send>>,
        until: Instant,
    },
    /// Messages may come; until the first one has, not for ever.
    Open { stream: Box<Streaming<v1::HubMessage>>, until: Option<Instant>, moving: Moving },
}

/// A better way is looked for, and taken once it is found.
type Moving = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What the link has to say.
pub(crate) enum LinkEvent {
    /// Time to say hello: call [`Link::open`].
    Dial,
    Message(Box<v1::HubMessage>),
    /// A better way was taken: call [`Link::open`] at once, for nothing is heard any more from the session that there was.
    Moved,
    /// The session, or the attempt to have one, is over.
    Lost(Status),
}

impl Link {
    pub(crate) fn new(way: Way, hub_name: String) -> Self {
        Self {
            way,
            hub_name,
            state: State::Waiting(Instant::now()),
            wait: FIRST_WAIT,
            absence: Absence::default(),
        }
    }

    /// Opens a session with its first message; what is sent afterwards follows it.
    pub(crate) fn open(&mut self, hello: v1::Hello) -> Outgoing {
        let (outgoing, queue) = mpsc::unbounded_channel();
        output::send(&outgoing, v1::worker_message::Kind::Hello(hello));
        let mut client = WorkersClient::new(self.way.channel())
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE);
        let call = async move {
            client
                .session(UnboundedReceiverStream::new(queue))
                .await
                .map(tonic::Response::into_inner)
        };
        self.state = State::Opening { call: Box::pin(call), until: Instant::now() + PATIENCE };
        outgoing
    }

    /// The next event. May be dropped and called again.
    pub(crate) async fn next(&mut self) -> LinkEvent {
        let silent = || Status::deadline_exceeded("the hub does not answer");
        loop {
            match &mut self.state {
                State::Waiting(until) => {
                    tokio::time::sleep_until(*until).await;
                    let way = self.way.clone();
                    self.state = State::Dialing(Box::pin(async move { way.open().await }));
                }
                State::Dialing(dialing) => match dialing.await {
                    Ok(()) => {
                        self.state = State::Dialed;
                        return LinkEvent::Dial;
                    }
                    Err(error) => {
                        let error = tonic::ConnectError(Box::new(error));
                        return self.fail(Status::from_error(Box::new(error)));
                    }
                },
                State::Dialed => std::future::pending().await,
                State::Opening { call, until } => match tokio::time::timeout_at(*until, call).await
                {
                    Ok(Ok(stream)) => {
                        let until = Some(*until);
                        let way = self.way.clone();
                        let moving = Box::pin(async move {
                            let better = way.better().await;
                            way.take(better).await;
                        });
                        self.state = State::Open { stream: Box::new(stream), until, moving };
                    }
                    Ok(Err(status)) => return self.fail(status),
                    Err(_) => return self.fail(silent()),
                },
                State::Open { stream, until, moving } => {
                    let message = match until {
                        Some(until) => tokio::time::timeout_at(*until, stream.message()).await,
                        None => tokio::select! {
                            biased;
                            message = stream.message() => Ok(message),
                            () = moving => {
                                self.state = State::Dialed;
                                return LinkEvent::Moved;
                            }
                        },
                    };
                    return match message {
                        Ok(Ok(Some(message))) => {
                            *until = None;
                            LinkEvent::Message(Box::new(message))
                        }
                        Ok(Ok(None)) => self.fail(Status::unavailable("the hub ended the session")),
                        Ok(Err(status)) => self.fail(status),
                        Err(_) => self.fail(silent()),
                    };
                }
            }
        }
    }

    fn fail(&mut self, status: Status) -> LinkEvent {
        self.close();
        LinkEvent::Lost(status)
    }

    /// Ends the session, if there is one; the next attempt follows after a while.
    pub(crate) fn close(&mut self) {
        self.state = State::Waiting(Instant::now() + self.wait);
        self.wait = (self.wait * 2).min(LAST_WAIT);
    }

    /// A session works: says so.
    pub(crate) fn works(&mut self) {
        self.wait = FIRST_WAIT;
        match self.absence.ends(Instant::now()) {
            Return::First => tracing::info!(hub = self.hub_name, "connected to the hub"),
            Return::Again(after) => {
                tracing::info!(hub = self.hub_name, ?after, "connected to the hub again");
            }
        }
    }

    /// The hub is away, or refuses: says so if that is news.
    pub(crate) fn mention(&mut self, status: &Status) {
        let is_refusal = is_refusal(status);
        if !self.absence.lost(Instant::now(), is_refusal) {
            return;
        }
        let (hub, why) = (self.hub_name.as_str(), words(status));
        if is_refusal {
            tracing::error!(hub, "the hub refuses this worker: {why}");
        } else {
            tracing::warn!(hub, code = ?status.code(), "no connection to the hub, trying again: {why}");
        }
    }
}

/// Whether it will be the same next time, so that whoever runs the worker must do something.
fn is_refusal(status: &Status) -> bool {
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        if let Some(link) = error.downcast_ref::<LinkError>() {
            return !link.class().retry();
        }
        cause = error.source();
    }
    matches!(
        status.code(),
        Code::FailedPrecondition
            | Code::Unauthenticated
            | Code::PermissionDenied
            | Code::InvalidArgument
    )
}

/// Why the hub refuses, in its words, where it will as long as this worker is who it is: the member was removed, the
/// certificate is another's, or has run out and is not renewed. What the way to the hub refuses may pass, and so may a hub of
/// another version.
pub(crate) fn refused_for_good(status: &Status) -> Option<String> {
    let mut cause = std::error::Error::source(status);
    if cause.is_none() {
        let is_about_us = matches!(status.code(), Code::Unauthenticated | Code::PermissionDenied);
        return is_about_us.then(|| words(status));
    }
    while let Some(error) = cause {
        if let Some(LinkError::Identity(error)) = error.downcast_ref() {
            return matches!(**error, hands_link::IdentityError::Refused { .. })
                .then(|| words(status));
        }
        cause = error.source();
    }
    None
}

/// Whether there was one stream to the hub, and it has ended.
pub(crate) fn is_over(status: &Status) -> bool {
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        if matches!(error.downcast_ref(), Some(LinkError::Ended)) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// A status that this end made of a broken connection has its cause behind it.
fn words(status: &Status) -> String {
    use std::error::Error as _;
    let mut words = status.message().to_owned();
    let mut cause = status.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !words.contains(&text) {
            words = if words.is_empty() { text } else { format!("{words}: {text}") };
        }
        cause = error.source();
    }
    words
}

/// Whether there is no hub that runs, rather than no way to it: its machine has refused the connection, or has taken it
/// for a process that stands still.
pub(crate) fn nobody_listens(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(link) = error.downcast_ref::<LinkError>() {
            return link.is_hub_absent();
        }
        if let Some(error) = error.downcast_ref::<std::io::Error>() {
            use std::io::ErrorKind::{ConnectionRefused, NotFound};
            let is_mute = error.get_ref().is_some_and(|inner| inner.is::<hands_link::Mute>());
            return is_mute || matches!(error.kind(), ConnectionRefused | NotFound);
        }
        cause = error.source();
    }
    false
}
