//! One operation that has not ended.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use hands_proto::v1;
use hands_store::Pin;
use hands_types::retry::Reruns;
use hands_types::{Attempt, Time};
use tokio::sync::watch;

use super::crowd::Seat;
use super::input::{InputRoute, InputSent};
use super::messages::Packed;
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
    pub(crate) done: Option<Box<Done>>,
    /// From the first attempt on: until then there may be very many.
    ran: Option<Box<Ran>>,
}

/// What those who wait are told of an operation's attempts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ran {
    pub(crate) worker: Option<Arc<str>>,
    pub(crate) attempt: u32,
    /// Attempts that may have been started and were lost, oldest first.
    pub(crate) lost: Vec<v1::LostAttempt>,
    /// When its command was started, milliseconds since 1970.
    pub(crate) started: Option<i64>,
}

static NEVER: Ran = Ran { worker: None, attempt: 0, lost: Vec::new(), started: None };

impl OpState {
    /// Of an operation that waits, after so many attempts.
    pub(crate) fn after(attempt: u32) -> Self {
        let ran = (attempt > 0).then(|| Box::new(Ran { attempt, ..Ran::default() }));
        Self { ran, ..Self::default() }
    }
}

impl Deref for OpState {
    type Target = Ran;

    fn deref(&self) -> &Ran {
        self.ran.as_deref().unwrap_or(&NEVER)
    }
}

impl DerefMut for OpState {
    fn deref_mut(&mut self) -> &mut Ran {
        self.ran.get_or_insert_default()
    }
}

/// A lease that is out beside the one that people are told of.
#[derive(Debug)]
pub(crate) struct Second {
    pub(crate) attempt: Attempt,
    pub(crate) worker: Arc<str>,
    /// When its command was started, milliseconds since 1970.
    pub(crate) started: Option<i64>,
}

/// Verdicts on what an operation needs, which keep it in the store: one as a rule.
#[derive(Debug, Default)]
enum Kept {
    #[default]
    Nothing,
    One(#[expect(dead_code, reason = "held")] Arc<WholeTree>),
    Many(#[expect(dead_code, reason = "held")] Box<[Arc<WholeTree>]>),
}

/// One operation that has not ended. There may be hundreds of thousands: what is rare stands in a box.
pub(crate) struct Operation {
    pub(crate) record: Arc<Record>,
    /// The messages for the lease, unless they are large or memory is short: then they are read again when they are needed.
    pub(crate) messages: Option<Packed>,
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
    pub(crate) second: Option<Box<Second>>,
    /// To the attempt that runs, or did last.
    pub(crate) route: Option<Box<InputRoute>>,
    /// For those who attach; only where the action takes input.
    pub(crate) input: Option<watch::Sender<Option<InputRoute>>>,
    /// None before anything could be sent.
    pub(crate) input_sent: Option<Arc<InputSent>>,
    /// With the pin, this keeps what it needs in the store.
    inputs: Kept,
    pub(crate) pin: Option<Box<Pin>>,
}

const _: () = assert!(size_of::<Operation>() <= 232 && size_of::<Record>() <= 144);
const _: () = assert!(size_of::<OpState>() <= 40);

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
            inputs: Kept::Nothing,
            pin: None,
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
        self.messages.as_ref().map_or(0, |messages| messages.len())
    }

    /// Holds what it needs in the store, until it ends.
    pub(crate) fn keeps(&mut self, inputs: Vec<Arc<WholeTree>>, pin: Option<Pin>) {
        self.inputs = match <[_; 1]>::try_from(inputs) {
            Ok([one]) => Kept::One(one),
            Err(none) if none.is_empty() => Kept::Nothing,
            Err(many) => Kept::Many(many.into()),
        };
        self.pin = pin.map(Box::new);
    }

    pub(crate) const fn has_inputs(&self) -> bool {
        !matches!(self.inputs, Kept::Nothing)
    }
}
