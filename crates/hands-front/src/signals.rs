//! What people and systems do to a front-end: Ctrl-C, SIGTERM, SIGHUP.
//!
//! A signal that was ignored when this program was started stays ignored: `nohup`, and a shell that puts a program in its
//! background, mean that.

use std::fs;
use std::future::poll_fn;
use std::io;
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};

/// A signal that asks us to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caught {
    /// Ctrl-C.
    Interrupt,
    /// SIGTERM.
    Terminate,
    /// The terminal has gone.
    Hangup,
}

impl Caught {
    /// What a shell reports for a program that this signal ended.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Hangup => 129,
            Self::Interrupt => 130,
            Self::Terminate => 143,
        }
    }
}

/// A signal of one kind within this time is the same one: `timeout` sends it to its child and to the whole group, and so do others
/// that pass on what they get. Nobody presses a key twice so soon.
const SAME: Duration = Duration::from_millis(100);

/// Listens for all of them that are not ignored, from its making on: their default effect, which is to end us at once, is
/// off.
#[derive(Debug)]
pub struct Signals {
    heard: Vec<(Signal, Caught)>,
    /// The last one, and when it came.
    last: Option<(Caught, Instant)>,
}

impl Signals {
    pub fn listen() -> io::Result<Self> {
        let ignored = ignored();
        let mut heard = Vec::new();
        for (kind, caught) in [
            (SignalKind::interrupt(), Caught::Interrupt),
            (SignalKind::terminate(), Caught::Terminate),
            (SignalKind::hangup(), Caught::Hangup),
        ] {
            if ignored >> (kind.as_raw_value() - 1) & 1 == 0 {
                heard.push((signal(kind)?, caught));
            }
        }
        Ok(Self { heard, last: None })
    }

    /// Does something, unless one of them comes first. The work is dropped then.
    pub async fn unless<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Caught> {
        tokio::select! {
            biased;
            caught = self.next() => Err(caught),
            done = work => Ok(done),
        }
    }

    /// The next one. Losing this future loses no signal.
    pub async fn next(&mut self) -> Caught {
        poll_fn(|context| {
            for (signal, caught) in &mut self.heard {
                while signal.poll_recv(context).is_ready() {
                    // Since the one that was heard: a key that is held down is heard again.
                    if !self.last.is_some_and(|(last, at)| last == *caught && at.elapsed() < SAME) {
                        self.last = Some((*caught, Instant::now()));
                        return Poll::Ready(*caught);
                    }
                }
            }
            Poll::Pending
        })
        .await
    }
}

/// The signals that are ignored, one bit each. Only Linux tells it without a call that Rust has no safe form of; elsewhere
/// none is known to be.
fn ignored() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    line.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok()).unwrap_or(0)
}
