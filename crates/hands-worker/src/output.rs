//! An attempt's streams on their way to the hub.

use std::io;
use std::path::Path;

use hands_exec::Stream;
use hands_proto::rpc;
use hands_proto::v1::{self, worker_message};
use hands_types::DigestFunction;
use prost::Message as _;
use tokio::sync::mpsc;

use crate::spool::Spool;

/// Most that is sent before the hub has acknowledged it, both streams together, bytes.
const WINDOW: u64 = 1 << 20;
/// Largest piece, bytes.
const PIECE: usize = 128 << 10;
/// Largest result, bytes. The hub takes 16 MiB, and no more than 64 of what it becomes.
const LARGEST: usize = 12 << 20;

/// The way to the hub in one session. Not bounded: what goes through it is bounded by [`WINDOW`] for each attempt, and a
/// few small messages.
pub(crate) type Outgoing = mpsc::UnboundedSender<v1::WorkerMessage>;

/// Both streams of an attempt, how much of them the hub has, and the result that follows them. Shared between the core and
/// the task that runs the action.
#[derive(Debug)]
pub(crate) struct Streams {
    id: v1::AttemptId,
    spools: [Spool; 2],
    sent: [u64; 2],
    acknowledged: [u64; 2],
    session: Option<Outgoing>,
    finished: Option<v1::Finished>,
}

impl Streams {
    pub(crate) fn new(
        id: v1::AttemptId,
        directory: &Path,
        function: DigestFunction,
        session: Option<Outgoing>,
    ) -> Self {
        let spool = || Spool::new(directory, function);
        Self {
            id,
            spools: [spool(), spool()],
            sent: [0; 2],
            acknowledged: [0; 2],
            session,
            finished: None,
        }
    }

    /// One of the spools.
    pub(crate) fn spool(&self, stream: Stream) -> &Spool {
        &self.spools[index(stream)]
    }

    /// Keeps what the action wrote, and sends what may be sent.
    pub(crate) fn append(&mut self, stream: Stream, bytes: &[u8]) -> io::Result<()> {
        self.spools[index(stream)].append(bytes)?;
        self.pump()
    }

    /// The hub has the streams up to these offsets.
    pub(crate) fn acknowledge(&mut self, offsets: [u64; 2]) -> io::Result<()> {
        for (i, offset) in offsets.into_iter().enumerate() {
            // Never back, and never beyond what was sent, whatever the hub says.
            self.acknowledged[i] = self.acknowledged[i].max(offset.min(self.sent[i]));
        }
        self.pump()
    }

    /// A new session whose hub has the streams up to these offsets: everything after them is sent again, and so is the
    /// result when it is reported next.
    pub(crate) fn resume(&mut self, session: Outgoing, offsets: [u64; 2]) -> io::Result<()> {
        for (i, offset) in offsets.into_iter().enumerate() {
            self.sent[i] = offset.min(self.spools[i].length());
            self.acknowledged[i] = self.sent[i];
        }
        self.session = Some(session);
        self.pump()
    }

    /// The session is gone.
    pub(crate) fn suspend(&mut self) {
        self.session = None;
    }

    /// Sends the result, or why it can't be sent, as soon as everything before it is sent. The same result twice is sent twice.
    pub(crate) fn report(&mut self, mut finished: v1::Finished) -> io::Result<()> {
        finished.stdout_size = self.spools[0].length();
        finished.stderr_size = self.spools[1].length();
        // The hub takes no larger message, and would end the session of all that runs here.
        let bytes = finished.encoded_len();
        if bytes > LARGEST {
            finished.result = None;
            finished.message.clear();
            finished.status = Some(rpc::Status {
                code: rpc::Code::ResourceExhausted.into(),
                message: format!(
                    "the action's result has {bytes} bytes, more than {LARGEST}: declare directories as outputs, not each file"
                ),
                details: Vec::new(),
            });
        }
        self.finished = Some(finished);
        self.pump()
    }

    fn pump(&mut self) -> io::Result<()> {
        let Some(session) = &self.session else { return Ok(()) };
        for i in 0..2 {
            while self.sent[i] < self.spools[i].length() {
                let unacknowledged: u64 = (0..2).map(|k| self.sent[k] - self.acknowledged[k]).sum();
                let room = usize::try_from(WINDOW.saturating_sub(unacknowledged)).unwrap_or(0);
                if room == 0 {
                    return Ok(());
                }
                let data = self.spools[i].read(self.sent[i], room.min(PIECE))?;
                let offset = self.sent[i];
                self.sent[i] += data.len() as u64;
                let stream = if i == 0 { 1 } else { 2 };
                send(
                    session,
                    worker_message::Kind::Output(v1::Output {
                        id: Some(self.id.clone()),
                        stream,
                        offset,
                        data,
                    }),
                );
            }
        }
        if let Some(finished) = self.finished.take() {
            send(session, worker_message::Kind::Finished(finished));
        }
        Ok(())
    }
}

/// Sends a message. That the session has ended is noticed where it is read.
pub(crate) fn send(session: &Outgoing, kind: worker_message::Kind) {
    let _gone = session.send(v1::WorkerMessage { kind: Some(kind) });
}

const fn index(stream: Stream) -> usize {
    match stream {
        Stream::Stdout => 0,
        Stream::Stderr => 1,
    }
}
