//! One operation that has not ended.

use std::sync::Arc;

use bytes::Bytes;
use hands_proto::v1;
use hands_store::Pin;
use hands_types::retry::Reruns;
use hands_types::{Attempt, Digest, Time};
use tokio::sync::watch;

use super::crowd::Seat;
use super::input::{InputRoute, InputSent};
use super::waiters::Waiters;
use crate::db::{Done, Record};
use crate::told::Teller;
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
    pub(crate) state: Teller<OpState>,
    /// Who waits.
    pub(crate) waiters: Waiters,
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
    /// None before anything could be sent.
    pub(crate) input_sent: Option<Arc<InputSent>>,
    /// Keep what it needs in the store.
    pub(crate) _inputs: Vec<Arc<WholeTree>>,
    pub(crate) _pin: Option<Pin>,
}

impl Operation {
    pub(crate) fn new(record: Arc<Record>, seat: Seat, state: OpState) -> Self {
        let takes_input = record.options.stdin || record.options.terminal.is_some();
        Self {
            record,
            messages: None,
            effects: false,
            lost: 0,
            state: Teller::new(state),
            waiters: Waiters::default(),
            orphan_due: None,
            verdict: None,
            attempt: None,
            seat,
            second: None,
            route: None,
            input: takes_input.then(|| watch::Sender::new(None)),
            input_sent: None,
            _inputs: Vec::new(),
            _pin: None,
        }
    }

    /// Whether it may be run again, if it is lost only once.
    pub(crate) fn reruns(&self) -> bool {
        Reruns::new(self.record.options.retry, self.effects).lose(1).is_ok()
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
