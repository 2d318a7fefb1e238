//! One operation that has not ended.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use hands_link::ConnectionId;
use hands_proto::v1;
use hands_store::Pin;
use hands_types::retry::why_not_again;
use hands_types::{Attempt, Digest, Time};
use tokio::sync::{mpsc, watch};

use super::crowd::Seat;
use super::sessions::attempt_id;
use crate::db::{Done, Record};
use crate::trees::WholeTree;

/// REAPI's stages, as far as we pass them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Stage {
    #[default]
    Queued,
    Executing,
    Completed,
}

/// What those who wait are told.
#[derive(Clone, Debug, Default)]
pub(crate) struct OpState {
    pub(crate) stage: Stage,
    /// Why it waits, if no worker can ever take it.
    pub(crate) waiting: Option<Arc<str>>,
    pub(crate) worker: Option<Arc<str>>,
    pub(crate) attempt: u32,
    /// Attempts that may have been started and were lost, oldest first.
    pub(crate) lost: Arc<[v1::LostAttempt]>,
    /// When its command was started, milliseconds since 1970.
    pub(crate) started: Option<i64>,
    pub(crate) done: Option<Done>,
}

/// Where input for a running action goes.
#[derive(Clone, Debug)]
pub(crate) struct InputRoute {
    pub(crate) id: v1::AttemptId,
    pub(crate) out: mpsc::Sender<v1::HubMessage>,
    pub(crate) sent: Arc<InputSent>,
}

/// What was sent of an action's standard input. No other attempt can have it.
#[derive(Debug, Default)]
pub(crate) struct InputSent {
    /// Set before anything is sent.
    pub(crate) any: AtomicBool,
    /// Locked while a piece is counted and put behind the last one: several may attach.
    pub(crate) bytes: Mutex<u64>,
    /// There is no more of it.
    pub(crate) ended: AtomicBool,
}

/// A lease that is out beside the one that people are told of.
#[derive(Debug)]
pub(crate) struct Second {
    pub(crate) attempt: Attempt,
    pub(crate) worker: Arc<str>,
    /// When its command was started, milliseconds since 1970.
    pub(crate) started: Option<i64>,
}

/// What a lease says of its action.
#[derive(Clone, Debug)]
pub(crate) struct Messages {
    pub(crate) action: Bytes,
    /// None where it is too large for a lease: it stays in the store, pinned.
    pub(crate) command: Option<Bytes>,
    pub(crate) command_digest: Digest,
}

/// One operation that has not ended.
pub(crate) struct Operation {
    pub(crate) record: Arc<Record>,
    /// The messages for the lease, unless memory is short: then they are read again when they are needed.
    pub(crate) messages: Option<Messages>,
    /// An attempt may have had effects outside, so it is run again only if retries were asked for.
    pub(crate) effects: bool,
    /// Attempts that were started and brought no result.
    pub(crate) lost: u32,
    pub(crate) state: Arc<watch::Sender<OpState>>,
    /// Who waits, by which connection.
    pub(crate) waiters: BTreeMap<u64, Option<ConnectionId>>,
    /// When it ends if nobody comes back.
    pub(crate) orphan_due: Option<Time>,
    /// What it ends with, where that was decided before the scheduler was told.
    pub(crate) verdict: Option<tonic::Status>,
    /// The lease that is out and that people are told of.
    pub(crate) attempt: Option<Attempt>,
    /// Its place among all that have not ended.
    pub(crate) seat: Seat,
    /// Another one: the action was started on a second worker because it takes long.
    pub(crate) second: Option<Second>,
    /// To the attempt that runs, or did last.
    pub(crate) route: Option<InputRoute>,
    /// For those who attach; only where the action takes input.
    pub(crate) input: Option<watch::Sender<Option<InputRoute>>>,
    pub(crate) input_sent: Arc<InputSent>,
    /// Keep what it needs in the store.
    pub(crate) _inputs: Vec<Arc<WholeTree>>,
    pub(crate) _pin: Option<Pin>,
}

impl Operation {
    pub(crate) fn new(record: Arc<Record>, seat: Seat, state: Arc<watch::Sender<OpState>>) -> Self {
        let takes_input = record.options.stdin || record.options.terminal.is_some();
        Self {
            record,
            messages: None,
            effects: false,
            lost: 0,
            state,
            waiters: BTreeMap::new(),
            orphan_due: None,
            verdict: None,
            attempt: None,
            seat,
            second: None,
            route: None,
            input: takes_input.then(|| watch::Sender::new(None)),
            input_sent: Arc::default(),
            _inputs: Vec::new(),
            _pin: None,
        }
    }

    /// Whether it may be run again, if it is lost only once.
    pub(crate) fn reruns(&self) -> bool {
        why_not_again(self.record.options.retry, self.effects, 1).is_none()
    }

    /// Has input, and what else is said to the action, go to an attempt.
    pub(crate) fn route_input(&mut self, attempt: Attempt, out: &mpsc::Sender<v1::HubMessage>) {
        let id = attempt_id(self.record.id, attempt);
        let sent = Arc::clone(&self.input_sent);
        let route = InputRoute { id, out: out.clone(), sent };
        if let Some(input) = &self.input {
            input.send_replace(Some(route.clone()));
        }
        self.route = Some(route);
    }

    /// How far standard input has come, for a worker that comes back with the attempt: it finds that the last pieces, or the
    /// end, were lost with its connection, and nothing might follow by which it could. To be asked before new input has a way.
    pub(crate) fn input_so_far(&self, attempt: Attempt) -> Option<v1::Input> {
        let sent = &self.input_sent;
        if self.record.options.terminal.is_some() || !sent.any.load(Ordering::SeqCst) {
            return None;
        }
        let offset = *sent.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let kind = if sent.ended.load(Ordering::SeqCst) {
            v1::input::Kind::Eof(true)
        } else {
            v1::input::Kind::Data(Bytes::new())
        };
        Some(v1::Input { id: Some(attempt_id(self.record.id, attempt)), offset, kind: Some(kind) })
    }

    /// Whether it stays although nobody waits.
    pub(crate) fn is_kept(&self) -> bool {
        self.record.options.detach && self.waiters.is_empty()
    }

    pub(crate) fn message_bytes(&self) -> usize {
        self.messages.as_ref().map_or(0, |messages| {
            messages.action.len() + messages.command.as_ref().map_or(0, Bytes::len)
        })
    }
}
