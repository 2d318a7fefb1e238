//! What people and systems do to a front-end: Ctrl-C, SIGTERM, SIGHUP.

use std::future::poll_fn;
use std::io;
use std::task::Poll;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// A signal that asks us to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caught {
    /// Ctrl-C.
    Interrupt,
    /// SIGTERM.
    Terminate,
    /// The terminal has gone.
    Hangup,
}

impl Caught {
    /// What a shell reports for a program that this signal ended.
    pub(crate) const fn exit_code(self) -> u8 {
        match self {
            Self::Hangup => 129,
            Self::Interrupt => 130,
            Self::Terminate => 143,
        }
    }
}

/// Listens for all of them, from its making on: their default effect, which is to end us at once, is off.
#[derive(Debug)]
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// The next one. Losing this future loses no signal.
    pub(crate) async fn next(&mut self) -> Caught {
        poll_fn(|context| {
            let all = [
                (&mut self.interrupt, Caught::Interrupt),
                (&mut self.terminate, Caught::Terminate),
                (&mut self.hangup, Caught::Hangup),
            ];
            for (signal, caught) in all {
                if signal.poll_recv(context).is_ready() {
                    return Poll::Ready(caught);
                }
            }
            Poll::Pending
        })
        .await
    }
}
