//! One job on one screen: its streams as they come, why it waits, and what Ctrl-C does.

use std::pin::pin;
use std::time::Duration;

use hands_client::{ClientError, Cluster, ClusterKind, Event, Feed, Job, JobResult, JobStream};
use hands_front::stdio::read_stdin;
use hands_front::{Caught, Out, RunError, Signals, StdoutError};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::again;
use crate::streams::{Cut, Streams};

/// How much of our stdin goes in one message.
const STDIN_PIECE: usize = 64 << 10;
/// How long a reader of our streams may take nothing, after the action was cancelled, before the rest is not shown to it.
const STUCK: Duration = Duration::from_secs(1);

/// How long a second signal leaves the request to cancel to go out.
const SENT_WITHIN: Duration = Duration::from_millis(300);

/// How a job's showing ended.
#[derive(Debug)]
pub(crate) enum Ended {
    /// With its result. If it was we who cancelled it, by this signal.
    Done(Box<JobResult>, Option<Caught>),
    /// We left before the end: a second signal, one before the hub had the action, or an engine that does not cancel; whoever
    /// only watches leaves at the first.
    Left(Caught),
    /// Whoever read our streams has gone, and we only watched, or can't tell the action.
    Closed,
}

/// Whose the action is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    /// We submitted it: what ends us ends it.
    Ours,
    /// Somebody submitted it before: we only watch.
    Watched,
}

/// How a job is shown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner {
    pub(crate) whose: Whose,
    /// Our stdin is sent along.
    pub(crate) stdin: bool,
    /// It has outputs that are wanted, whoever reads its streams.
    pub(crate) has_outputs: bool,
}

/// Shows a job until it ends. `streams` is none when its output is not to be shown.
///
/// Where the reader of a stream of ours has gone, the action's own is closed, so that it meets SIGPIPE as it would here,
/// and goes on or not as it would here; what it declared comes back all the same. So it does where a full disk takes no more
/// of a stream, which is said at once; without declared outputs the action is cancelled then. Where that can't be told (an engine of
/// others; an action that others may want) it goes on if it has outputs, and else is cancelled.
pub(crate) async fn follow(
    cluster: &Cluster,
    job: &mut Job,
    mut streams: Option<&mut Streams>,
    signals: &mut Signals,
    out: &Out,
    manner: Manner,
) -> Result<Ended, RunError> {
    if streams.is_some() {
        Streams::restart_on_terminals(job);
    }
    let mut pump: Option<StdinPump> = None;
    let mut cancelled = None;
    let mut last_reason = String::new();
    loop {
        let is_writing = streams.as_ref().is_some_and(|streams| streams.is_busy());
        let event = tokio::select! {
            written = written(&mut streams, cancelled.is_some()), if is_writing => {
                if let Err((stream, error)) = written {
                    let shown = streams.as_deref_mut();
                    let given_up = unwritten(stream, error, job, shown, out, manner);
                    match signals.unless(given_up).await {
                        Ok(None) => {
                            // Nothing of it is shown any more: another attempt's may begin where it likes.
                            job.restart(stream);
                        }
                        Ok(Some(ended)) => return ended,
                        Err(caught) => return Ok(Ended::Left(caught)),
                    }
                }
                continue;
            }
            event = job.next(), if !is_writing => match event {
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
                if cancelled.is_some() || job.id().is_empty() || manner.whose == Whose::Watched {
                    return Ok(Ended::Left(caught));
                }
                cancelled = Some(caught);
                let mut cancel = pin!(job.cancel());
                match signals.unless(cancel.as_mut()).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => {
                        let left = if cluster.kind() == ClusterKind::Engine {
                            let peer = cluster.peer();
                            format!("; {peer} may still run it, or run it on, until it misses this connection")
                        } else {
                            String::new()
                        };
                        out.warning(&format!("the request to cancel failed: {error}{left}"));
                        // Not every engine cancels, and what goes on there is nothing to wait for. A hub does: an action that
                        // has just ended can't be cancelled any more, and its end follows.
                        if cluster.kind() == ClusterKind::Engine {
                            return Ok(Ended::Left(caught));
                        }
                    }
                    Err(again) => {
                        // Whoever asks twice waits for no answer, but the request is to go out.
                        drop(timeout(SENT_WITHIN, cancel).await);
                        return Ok(Ended::Left(again));
                    }
                }
                continue;
            }
        };
        match event {
            Some(Event::Queued { id }) => {
                if manner.stdin && pump.is_none() {
                    pump = Some(StdinPump::start(cluster.feed(&id)));
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
            Some(Event::Started { worker, .. }) => {
                if out.is_verbose() && !worker.is_empty() {
                    out.note(&format!("running on {worker}"));
                }
                // A new attempt does not know what the last one was told.
                if let Some(streams) = &streams {
                    for stream in streams.closed_ones().filter(|_| manner.whose == Whose::Ours) {
                        if let Err(caught) = signals.unless(job.close_output(stream)).await {
                            return Ok(Ended::Left(caught));
                        }
                    }
                }
            }
            Some(event @ (Event::Again { .. } | Event::Lost { .. })) => {
                if let Some(streams) = &mut streams {
                    streams.end_line().await;
                }
                out.always(&again::sentence(&event).unwrap_or_default());
            }
            Some(Event::Output { stream, data, .. }) => {
                if let Some(streams) = &mut streams {
                    streams.begin(stream, data);
                }
            }
            Some(Event::Done(result)) => return Ok(Ended::Done(result, cancelled)),
            None => return Err(RunError::Bug("a job was followed past its end")),
        }
    }
}

/// Waits for the write that is under way. For an action that was cancelled it does not wait long: whoever reads may have
/// stopped for good, and no end would come.
async fn written(
    streams: &mut Option<&mut Streams>,
    is_cancelled: bool,
) -> Result<(), (JobStream, StdoutError)> {
    let Some(streams) = streams else { return Ok(()) };
    if !is_cancelled {
        return streams.written().await;
    }
    match timeout(STUCK, streams.written()).await {
        Ok(written) => written,
        Err(_) => {
            streams.give_up();
            Ok(())
        }
    }
}

/// What becomes of a job one of whose streams can't be shown; none if it is followed on.
async fn unwritten(
    stream: JobStream,
    error: StdoutError,
    job: &Job,
    streams: Option<&mut Streams>,
    out: &Out,
    manner: Manner,
) -> Option<Result<Ended, RunError>> {
    let is_ours = manner.whose == Whose::Ours;
    match error {
        StdoutError::Closed if !is_ours => return Some(Ok(Ended::Closed)),
        StdoutError::Closed => {}
        StdoutError::Write(source) if is_ours && manner.has_outputs => {
            // The outputs may go to another disk. A command whose output can't be written goes on here, too, if it likes.
            RunError::Stdout(source).print(out);
            if let Some(streams) = streams {
                streams.cut(stream, Cut::Unwritable);
            }
            return None;
        }
        StdoutError::Write(source) => {
            if is_ours {
                // What came of the request nobody needs to know.
                drop(job.cancel().await);
            }
            return Some(Err(RunError::Stdout(source)));
        }
    }
    if let Some(streams) = streams {
        streams.cut(stream, Cut::Closed);
    }
    if job.has_result() || job.close_output(stream).await || manner.has_outputs {
        return None;
    }
    // A hub cancels, or the action has just ended: its end follows. Another engine may not.
    job.cancel().await.is_err().then_some(Ok(Ended::Closed))
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
    fn start(mut feed: Feed) -> Self {
        let (say, failed) = oneshot::channel();
        let task = tokio::spawn(async move {
            loop {
                match read_stdin(STDIN_PIECE).await {
                    Ok(piece) if piece.is_empty() => break,
                    Err(source) => {
                        // Whoever does not hear it has left the action.
                        drop(say.send(RunError::Read { path: "standard input".into(), source }));
                        return;
                    }
                    Ok(piece) => {
                        if !feed.send(piece.into()).await {
                            break;
                        }
                    }
                }
            }
            // Where the action takes no more, its end is a good one. Else it would wait for the rest for ever.
            if let Err(error) = feed.finish().await {
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
