//! One job on one screen: its streams as they come, why it waits, and what Ctrl-C does.

use hands_client::{
    Attachment, AttachmentInput, ClientError, Cluster, ClusterKind, Event, Job, JobResult,
    JobStream,
};
use tokio::io::AsyncReadExt;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::again;
use crate::error::RunError;
use crate::out::{Out, StdoutError};
use crate::signals::{Caught, Signals};
use crate::streams::Streams;

/// How much of our stdin goes in one message.
const STDIN_PIECE: usize = 64 << 10;

/// How a job's showing ended.
#[derive(Debug)]
pub(crate) enum Ended {
    /// With its result. If it was we who cancelled it, by this signal.
    Done(Box<JobResult>, Option<Caught>),
    /// We left before the end: a second signal, one before the hub had the action, or an engine that does not cancel.
    Left(Caught),
    /// Whoever read our stdout has gone. The action was cancelled, as SIGPIPE ends a program that runs here.
    Closed,
}

/// Shows a job until it ends. `streams` is none when its output is not to be shown.
pub(crate) async fn follow(
    cluster: &Cluster,
    job: &mut Job,
    mut streams: Option<&mut Streams>,
    signals: &mut Signals,
    out: &Out,
    stdin: bool,
) -> Result<Ended, RunError> {
    if streams.is_some() {
        Streams::restart_on_terminals(job);
    }
    let mut pump: Option<StdinPump> = None;
    let mut cancelled = None;
    let mut last_reason = String::new();
    loop {
        let event = tokio::select! {
            event = job.next() => match event {
                Ok(event) => event,
                Err(error) => {
                    if matches!(error, ClientError::OtherOutput { .. }) {
                        // What it writes has nowhere to go; what came of the request nobody needs to know.
                        drop(job.cancel().await);
                    }
                    return Err(error.into());
                }
            },
            error = unreadable(&mut pump) => {
                // It would go on with half of its input, and might end well. What came of the request nobody needs to know.
                drop(job.cancel().await);
                return Err(error);
            }
            caught = signals.next() => {
                if cancelled.is_some() || job.id().is_empty() {
                    return Ok(Ended::Left(caught));
                }
                cancelled = Some(caught);
                tokio::select! {
                    answer = job.cancel() => if let Err(error) = answer {
                        out.warning(&format!("the request to cancel failed: {error}"));
                        // Not every engine cancels, and what goes on there is nothing to wait for. A hub does: an action that
                        // has just ended can't be cancelled any more, and its end follows.
                        if cluster.kind() == ClusterKind::Engine {
                            return Ok(Ended::Left(caught));
                        }
                    },
                    again = signals.next() => return Ok(Ended::Left(again)),
                }
                continue;
            }
        };
        match event {
            Some(Event::Queued { id }) => {
                if stdin && pump.is_none() {
                    pump = Some(StdinPump::start(cluster.attach(&id)));
                }
                if out.is_verbose() {
                    out.note(&format!("action {id}"));
                }
            }
            Some(Event::Waiting { reason }) => {
                if reason != last_reason && !reason.is_empty() {
                    out.waiting(&reason);
                    last_reason = reason;
                }
            }
            Some(Event::Started { worker }) => {
                if out.is_verbose() && !worker.is_empty() {
                    out.note(&format!("running on {worker}"));
                }
            }
            Some(event @ Event::Again { .. }) => {
                if let Some(streams) = &mut streams {
                    streams.end_line().await;
                }
                out.always(&again::sentence(&event).unwrap_or_default());
            }
            Some(Event::Output { stream, data, .. }) => match (&mut streams, stream) {
                (Some(streams), JobStream::Stdout) => {
                    if let Err(error) = streams.stdout(&data).await {
                        // Its output has nowhere to go; what came of the request nobody needs to know.
                        drop(job.cancel().await);
                        return match error {
                            StdoutError::Closed => Ok(Ended::Closed),
                            StdoutError::Write(source) => Err(RunError::Stdout(source)),
                        };
                    }
                }
                (Some(streams), JobStream::Stderr) => streams.stderr(&data).await,
                (None, _) => {}
            },
            Some(Event::Done(result)) => return Ok(Ended::Done(result, cancelled)),
            None => return Err(RunError::Bug("a job was followed past its end")),
        }
    }
}

/// Returns when our stdin could not be read or sent. Its end is none, nor is an action that takes no more.
async fn unreadable(pump: &mut Option<StdinPump>) -> RunError {
    if let Some(pump) = pump
        && let Some(failed) = &mut pump.failed
    {
        let failed = failed.await;
        pump.failed = None;
        if let Ok(error) = failed {
            return error;
        }
    }
    std::future::pending().await
}

/// Sends our stdin along as it comes. Dropping it stops that.
#[derive(Debug)]
struct StdinPump {
    task: JoinHandle<()>,
    /// Why not all of it went to the action.
    failed: Option<oneshot::Receiver<RunError>>,
}

impl StdinPump {
    fn start(mut attachment: Attachment) -> Self {
        let (say, failed) = oneshot::channel();
        let task =
            tokio::spawn(async move {
                let mut stdin = tokio::io::stdin();
                let mut buffer = bytes::BytesMut::with_capacity(STDIN_PIECE);
                loop {
                    buffer.reserve(STDIN_PIECE);
                    match stdin.read_buf(&mut buffer).await {
                        Ok(0) => break,
                        Err(error) => {
                            // Whoever does not hear it has left the action.
                            drop(say.send(RunError::Read {
                                path: "standard input".into(),
                                source: error,
                            }));
                            return;
                        }
                        Ok(_) => {
                            let data = buffer.split().freeze();
                            if !attachment.send(AttachmentInput::Data(data)).await {
                                break;
                            }
                        }
                    }
                }
                // Where the action takes no more, its end is a good one. Else it would wait for the rest for ever.
                if !attachment.send(AttachmentInput::Eof).await
                    && let Err(error) = attachment.ended().await
                {
                    drop(say.send(error.into()));
                }
            });
        Self { task, failed: Some(failed) }
    }
}

impl Drop for StdinPump {
    fn drop(&mut self) {
        self.task.abort();
    }
}
