//! Where standard input of a running action goes, and how much of it has gone there.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use hands_proto::v1;
use hands_types::{Attempt, OperationId};
use tokio::sync::{mpsc, watch};

use super::Operation;
use super::sessions::attempt_id;

/// Where input for a running action goes.
#[derive(Clone, Debug)]
pub(crate) struct InputRoute {
    pub(crate) id: v1::AttemptId,
    pub(crate) out: mpsc::Sender<v1::HubMessage>,
    pub(crate) sent: Arc<InputSent>,
    /// The worker says how much it has. One of an older version does not.
    pub(crate) is_told: bool,
    /// Of this way among all to this action: what is counted for one must not go another.
    pub(crate) number: u64,
}

impl InputRoute {
    /// Whether what goes this way may arrive.
    pub(crate) fn is_current(&self) -> bool {
        !self.out.is_closed() && self.is_of(&self.sent.handed())
    }

    /// Whether what is handed on is counted for this way.
    pub(crate) const fn is_of(&self, handed: &Handed) -> bool {
        self.number == handed.number
    }
}

/// What was sent of an action's standard input. No other attempt can have it.
#[derive(Debug, Default)]
pub(crate) struct InputSent {
    /// Set before anything is sent.
    pub(crate) any: AtomicBool,
    handed: Mutex<Handed>,
    /// What its worker has.
    pub(crate) taken: watch::Sender<Taken>,
}

impl InputSent {
    /// Locked while a piece is counted and put behind the last one: several may send.
    pub(crate) fn handed(&self) -> MutexGuard<'_, Handed> {
        self.handed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The worker has so much. Never more than it was given, whatever it says.
    pub(crate) fn takes(&self, said: Taken) {
        let most = self.handed().bytes;
        self.taken.send_if_modified(|taken| {
            let now = Taken {
                bytes: taken.bytes.max(said.bytes.min(most)),
                ended: taken.ended || said.ended,
            };
            std::mem::replace(taken, now) != now
        });
    }
}

/// What was handed on to the worker's session.
#[derive(Debug, Default)]
pub(crate) struct Handed {
    pub(crate) bytes: u64,
    /// There is no more of it.
    pub(crate) ended: bool,
    pub(crate) by: Sender,
    number: u64,
}

/// Who has sent it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) enum Sender {
    #[default]
    Nobody,
    /// A client that repeats what is lost, by its name for itself.
    Repeats(String),
    /// Whoever attached. It can't be had again.
    Once,
    /// The hub was started again since, and the worker does not say what it has.
    Unknown,
}

/// How much standard input a worker has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) bytes: u64,
    /// It knows that no more follow.
    pub(crate) ended: bool,
}

/// What a worker that comes back has of its attempts' input; none where it does not say.
pub(crate) type Told = Option<BTreeMap<(OperationId, Attempt), Taken>>;

/// Reads that from its first message.
pub(super) fn told(hello: &v1::Hello) -> Told {
    let inputs = hello.inputs.iter().filter_map(|input| {
        let id = input.id.as_ref()?;
        let taken = Taken { bytes: input.bytes, ended: input.ended };
        Some(((id.operation.parse().ok()?, Attempt(id.attempt)), taken))
    });
    hello.tells_input.then(|| inputs.collect())
}

impl Operation {
    /// Has input, and what else is said to the action, go to an attempt.
    pub(crate) fn route_input(
        &mut self,
        attempt: Attempt,
        out: &mpsc::Sender<v1::HubMessage>,
        is_told: bool,
    ) {
        let id = attempt_id(self.record.id, attempt);
        let is_same =
            self.route.as_ref().is_some_and(|route| route.id == id && route.out.same_channel(out));
        let sent = Arc::clone(self.input_sent.get_or_insert_default());
        let number = {
            let mut handed = sent.handed();
            handed.number += u64::from(!is_same);
            handed.number
        };
        let route = InputRoute { id, out: out.clone(), sent, is_told, number };
        if let Some(input) = &self.input {
            input.send_replace(Some(route.clone()));
        }
        self.route = Some(Box::new(route));
    }

    /// Counts what the worker has of an attempt with which it has come back. It says once more if the attempt has started, and
    /// before that it gets nothing: one that has not may go to another worker. Gives what the worker is told: where nobody can
    /// repeat what was lost with the connection, it must not wait for it.
    pub(crate) fn resume_input(
        &mut self,
        attempt: Attempt,
        told: Option<Taken>,
    ) -> Option<v1::Input> {
        self.stop_input();
        let sent = Arc::clone(self.input_sent.get_or_insert_default());
        if let Some(told) = told {
            let mut handed = sent.handed();
            match &handed.by {
                Sender::Once => {}
                Sender::Repeats(_) | Sender::Nobody => {
                    handed.bytes = handed.bytes.min(told.bytes);
                    handed.ended &= told.ended;
                }
                Sender::Unknown => {
                    handed.by = Sender::Nobody;
                    (handed.bytes, handed.ended) = (told.bytes, told.ended);
                }
            }
            drop(handed);
            sent.takes(told);
        }
        self.input_so_far(attempt)
    }

    /// Input has no way until an attempt has started. What still comes for an earlier one is not counted.
    pub(super) fn stop_input(&mut self) {
        self.route = None;
        if let Some(sent) = &self.input_sent {
            sent.handed().number += 1;
        }
        if let Some(input) = &self.input {
            input.send_replace(None);
        }
    }

    /// Whether some of its standard input was handed on, which can't be had again.
    pub(super) fn has_given_input(&self) -> bool {
        self.input_sent.as_ref().is_some_and(|sent| {
            let handed = sent.handed();
            handed.bytes > 0 || handed.ended
        })
    }

    /// Whether any was sent, though it may not have arrived.
    pub(super) fn has_sent_input(&self) -> bool {
        self.input_sent.as_ref().is_some_and(|sent| sent.any.load(Ordering::SeqCst))
    }

    /// How far standard input has come, for a worker that comes back with the attempt: it finds that the last pieces, or the
    /// end, were lost with its connection, and nothing might follow by which it could. To be asked before new input has a way.
    fn input_so_far(&self, attempt: Attempt) -> Option<v1::Input> {
        let sent = self.input_sent.as_ref()?;
        if self.record.options.terminal.is_some() || !self.has_sent_input() {
            return None;
        }
        let handed = sent.handed();
        let kind = if handed.ended {
            v1::input::Kind::Eof(true)
        } else {
            v1::input::Kind::Data(Bytes::new())
        };
        let (id, offset) = (Some(attempt_id(self.record.id, attempt)), handed.bytes);
        Some(v1::Input { id, offset, kind: Some(kind) })
    }

    /// The hub was started again: what was sent before nobody here knows.
    pub(super) fn input_is_unknown(&mut self) {
        let sent = self.input_sent.get_or_insert_default();
        sent.any.store(self.record.options.stdin, Ordering::SeqCst);
        sent.handed().by = Sender::Unknown;
    }

    /// Whether its standard input is a stream of bytes that can be numbered.
    pub(crate) fn is_fed(&self) -> bool {
        self.record.options.stdin && self.record.options.terminal.is_none()
    }
}
