//! `hands run --tty`: a remote terminal on this one.

pub(crate) mod escapes;

use std::io::{self, IsTerminal};
use std::time::Duration;

use hands_client::{Attachment, AttachmentInput, Cluster, Event, Job, JobStream, Terminal};
use hands_front::stdio::read_stdin;
use hands_front::terminal::{RawMode, size};
use hands_front::{Caller, Caught, Out, RunError, Signals};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::again;
use crate::follow::{Ended, Whose};
use crate::streams::Streams;
use crate::tty::escapes::Escapes;

/// How long a session that is left may take to be cancelled on the far side; the connection may be dead.
const FAREWELL: Duration = Duration::from_secs(1);
const ESCAPES: &str = "~.  ends this session\n~~  sends one tilde\n~?  shows this list";

/// The terminal that an action gets: this one's size and kind.
pub(crate) fn terminal(caller: &Caller) -> Result<Terminal, RunError> {
    if !io::stdin().is_terminal() {
        return Err(RunError::Usage(
            "--tty needs a terminal, and standard input is none; leave it out, or use --stdin"
                .to_owned(),
        ));
    }
    let (rows, columns) = size().unwrap_or((24, 80));
    let term = caller.variable("TERM").unwrap_or("dumb").to_owned();
    Ok(Terminal { rows: rows.into(), columns: columns.into(), term })
}

/// What the person's side wants of the session.
enum FromPerson {
    Leave,
    Help,
}

/// Joins the terminals until the action ends or the person leaves. Ours is given back on every way out.
pub(crate) async fn run(
    cluster: &Cluster,
    job: &mut Job,
    signals: &mut Signals,
    out: &Out,
    whose: Whose,
) -> Result<Ended, RunError> {
    // Whatever is a terminal and whatever not: a person sits here.
    job.restart(JobStream::Stdout);
    job.restart(JobStream::Stderr);
    let id = match signals.unless(job.accepted()).await {
        Ok(id) => id?,
        Err(caught) => return Ok(Ended::Left(caught)),
    };
    let mut resized = signal(SignalKind::window_change()).map_err(RunError::Terminal)?;
    let raw = RawMode::enter().map_err(RunError::Terminal)?;
    out.set_raw(true);
    let (inputs, from_keys) = mpsc::unbounded_channel();
    let (to_us, mut from_person) = mpsc::channel(8);
    let mut tasks = JoinSet::new();
    tasks.spawn(read_keys(inputs.clone(), to_us));
    tasks.spawn(send_keys(cluster.attach(&id), from_keys));
    let mut streams = Streams::default();
    let mut last_reason = String::new();
    // The size may have changed since it was sent with the action.
    send_size(&inputs);
    let ended = loop {
        // A terminal may take nothing for a while, or for ever: keys and signals are heard meanwhile.
        let is_writing = streams.is_busy();
        tokio::select! {
            written = streams.written(), if is_writing => if written.is_err() {
                break Ok(Ended::Closed);
            },
            event = job.next(), if !is_writing => match event {
                Ok(Some(Event::Output { data, .. })) => streams.begin(JobStream::Stdout, data),
                Ok(Some(Event::Waiting { reason })) => {
                    if reason != last_reason {
                        out.waiting(&reason);
                        last_reason = reason;
                    }
                }
                Ok(Some(event @ (Event::Again { .. } | Event::Lost { .. }))) => {
                    out.always(&again::sentence(&event).unwrap_or_default());
                }
                Ok(Some(Event::Done(result))) => break Ok(Ended::Done(result, None)),
                Ok(Some(Event::Queued { .. } | Event::Started { .. })) => {}
                Ok(None) => break Ok(Ended::Left(Caught::Hangup)),
                Err(error) => break Err(error.into()),
            },
            Some(()) = resized.recv() => send_size(&inputs),
            Some(wish) = from_person.recv() => match wish {
                FromPerson::Leave => break Ok(Ended::Left(Caught::Hangup)),
                FromPerson::Help => out.note(ESCAPES),
            },
            caught = signals.next() => break Ok(Ended::Left(caught)),
        }
    };
    out.set_raw(false);
    drop(raw);
    if matches!(ended, Ok(Ended::Left(_) | Ended::Closed)) && whose == Whose::Ours {
        let is_busy = streams.is_busy();
        if tokio::time::timeout(FAREWELL, job.cancel()).await.is_err() {
            out.warning(
                "the cluster does not answer; the action ends when it misses this connection",
            );
        }
        // Last, and not for long: between two writes nobody knows whether the terminal still takes any.
        if !is_busy {
            out.note_within("session ended", FAREWELL).await;
        }
    }
    ended
}

fn send_size(inputs: &mpsc::UnboundedSender<AttachmentInput>) {
    if let Some((rows, columns)) = size() {
        // A closed channel belongs to an action that takes no more input.
        drop(inputs.send(AttachmentInput::Resize { rows: rows.into(), columns: columns.into() }));
    }
}

/// Reads keys. Never waits for the far side: `~.` must work when that is dead, so what is typed queues without bound
/// (a person types; a paste is in memory anyway).
async fn read_keys(
    inputs: mpsc::UnboundedSender<AttachmentInput>,
    to_us: mpsc::Sender<FromPerson>,
) {
    let mut escapes = Escapes::new();
    loop {
        let keys = match read_stdin(4096).await {
            Ok(keys) if !keys.is_empty() => keys,
            Ok(_) | Err(_) => {
                // The terminal has gone; a hangup follows.
                drop(inputs.send(AttachmentInput::Eof));
                return;
            }
        };
        let typed = escapes.typed(&keys);
        if !typed.bytes.is_empty() {
            drop(inputs.send(AttachmentInput::Data(typed.bytes.into())));
        }
        let wish = match (typed.leave, typed.help) {
            (true, _) => FromPerson::Leave,
            (false, true) => FromPerson::Help,
            (false, false) => continue,
        };
        if to_us.send(wish).await.is_err() {
            return;
        }
    }
}

async fn send_keys(attachment: Attachment, mut inputs: mpsc::UnboundedReceiver<AttachmentInput>) {
    while let Some(input) = inputs.recv().await {
        if !attachment.send(input).await {
            return;
        }
    }
}
