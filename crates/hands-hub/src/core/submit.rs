//! Execute, once its request has been read and checked.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hands_link::{ConnectionId, StreamEnd};
use hands_sched::{ActionSpec, Input, Needs, Tree};
use hands_types::limits::LEASED_COMMAND;
use hands_types::{Digest, InvocationId, OperationId};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tonic::Status;

use super::{Core, Event, OpState, Operation, Outbox, Owner, Packed, RECENT};
use crate::action::Loaded;
use crate::db::{Record, Write};
use crate::follow::Asker;
use crate::told::Hearer;
use crate::trees::WholeTree;

/// Execute, once its request has been read and checked.
pub(crate) struct Submission {
    /// With a fresh id, which is used if nothing is joined.
    pub(crate) record: Record,
    /// The encoded effective platform.
    pub(crate) platform: Bytes,
    pub(crate) owner: Owner,
    pub(crate) needs: Arc<Needs>,
    pub(crate) trees: Vec<Tree>,
    pub(crate) inputs: Vec<Arc<WholeTree>>,
    /// None where the Command is too large for a lease.
    pub(crate) messages: Option<Packed>,
    pub(crate) command_digest: Digest,
    pub(crate) input_root: Digest,
    /// An attempt may have effects outside.
    pub(crate) effects: bool,
    pub(crate) skip_cache_lookup: bool,
    pub(crate) connection: Option<ConnectionId>,
    /// When the table was asked for an earlier answer.
    pub(crate) asked: Instant,
    pub(crate) reply: Reply,
}

impl Submission {
    /// Of an action that was read and checked just now.
    pub(crate) fn of(
        loaded: &Loaded,
        record: Record,
        platform: Bytes,
        asker: &Asker,
        reply: Reply,
    ) -> Self {
        Self {
            effects: loaded.wishes.host_network
                || record.options.terminal.is_some()
                || record.options.stdin,
            record,
            platform,
            owner: asker.owner(),
            needs: Arc::clone(&loaded.wishes.needs),
            trees: loaded.trees.clone(),
            inputs: loaded.inputs.clone(),
            messages: (loaded.command_digest.size <= LEASED_COMMAND)
                .then(|| Packed::new(&loaded.action_bytes, &loaded.command_bytes)),
            command_digest: loaded.command_digest,
            input_root: loaded.input_root,
            skip_cache_lookup: false,
            connection: asker.connection_id(),
            asked: Instant::now(),
            reply,
        }
    }
}

/// Who hears what became of a submission.
#[derive(Debug)]
pub(crate) enum Reply {
    /// A stream of its own.
    Stream(oneshot::Sender<Result<Ticket, SubmitError>>),
    /// A session, by its number for the action.
    Session { outbox: Arc<Outbox>, id: u64, follow: bool },
}

/// What one needs to wait for an operation.
#[derive(Debug)]
pub(crate) struct Ticket {
    pub(crate) record: Arc<Record>,
    /// None where nothing needs to be waited for.
    pub(crate) claim: Option<Claim>,
    pub(crate) state: Hearer<OpState>,
}

impl Ticket {
    /// The same for an operation that has ended.
    pub(super) fn ended(&self) -> Self {
        Self { record: Arc::clone(&self.record), claim: None, state: self.state.clone() }
    }
}

/// The right to be counted among those who wait. Dropped on its way to a stream, because the request that asked for it
/// is gone, it counts as lost.
#[derive(Debug)]
pub(crate) struct Claim {
    pub(super) id: OperationId,
    pub(super) waiter: u64,
    pub(super) core: mpsc::WeakUnboundedSender<Event>,
}

impl Claim {
    /// Hands the duty to say when the waiter leaves to the caller.
    pub(crate) fn take(mut self) -> u64 {
        std::mem::take(&mut self.waiter)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if self.waiter != 0
            && let Some(core) = self.core.upgrade()
        {
            // Fails when the hub has ended, and then nobody counts.
            let _ended =
                core.send(Event::Gone { id: self.id, waiter: self.waiter, end: StreamEnd::Lost });
        }
    }
}

/// Why a submission was not taken.
#[derive(Debug)]
pub(crate) enum SubmitError {
    /// Too much time has passed since the table was asked: ask again.
    Again,
    /// Nothing more is taken of this client, or of anybody; or not this.
    Refused(Status),
}

/// Action and Command messages that are kept in memory; beyond it they are read again for their lease.
const MAX_MESSAGES: usize = 64 << 20;

impl Core {
    pub(super) fn submit(&mut self, submission: Submission) {
        let key = submission.record.key();
        // A session names its operations itself, so that one that was sent twice is known by that.
        let recent = self.recent.get(&submission.record.id);
        let known = self.operations.get(&submission.record.id).map(|it| &it.record);
        if let Some(known) = known.or(recent.map(|ticket| &ticket.record)) {
            if known.key() != key {
                let status = Status::invalid_argument(crate::actions::NUMBER_TAKEN);
                return answer(submission.reply, Err(SubmitError::Refused(status)));
            }
            if let Some(ticket) = recent.map(Ticket::ended) {
                return answer(submission.reply, Ok(ticket));
            }
            return self.join(submission.record.id, submission);
        }
        if submission.record.joinable {
            let equal = self.keys.get(&key).filter(|id| {
                self.operations.get(id).is_some_and(|known| known.record.key() == key)
            });
            if let Some(id) = equal {
                return self.join(id, submission);
            }
            if let Some(ticket) = self.recent_answer(&submission) {
                answer(submission.reply, Ok(ticket));
                return;
            }
        }
        let is_named = matches!(submission.reply, Reply::Session { .. });
        if (submission.record.salted || is_named) && submission.asked.elapsed() > RECENT / 2 {
            answer(submission.reply, Err(SubmitError::Again));
            return;
        }
        self.accept(submission);
    }

    /// The answer of an equal operation that ended since the caller looked.
    fn recent_answer(&self, submission: &Submission) -> Option<Ticket> {
        let ticket = self.recent.get(self.recent_keys.get(&submission.record.key())?)?;
        let state = ticket.state.borrow();
        let done = state.done.as_ref()?;
        let usable = if submission.record.salted {
            done.retained
        } else {
            // What the action cache would have answered a moment later.
            !submission.skip_cache_lookup
                && super::finish::is_cacheable(&ticket.record, &done.response)
        };
        drop(state);
        usable.then(|| ticket.ended())
    }

    fn join(&mut self, id: OperationId, submission: Submission) {
        let Some(operation) = self.operations.get_mut(&id) else { return };
        let (ours, theirs) = (&operation.record.options, &submission.record.options);
        let detach = ours.detach || theirs.detach;
        // Who wants it run again least often decides.
        let retry = match (ours.retry, theirs.retry) {
            (Some(ours), Some(theirs)) => Some(ours.min(theirs)),
            (ours, theirs) => ours.or(theirs),
        };
        if (detach, retry) != (ours.detach, ours.retry) {
            let mut record = Record::clone(&operation.record);
            let options = Arc::make_mut(&mut record.options);
            (options.detach, options.retry) = (detach, retry);
            operation.record = Arc::new(record);
            self.commit.writes.push(Write::Options { record: Arc::clone(&operation.record) });
            if !operation.reruns() {
                self.step(Input::RunOnce { operation: id });
            }
        }
        self.admit(id, submission.connection, submission.reply);
    }

    /// Counts who submitted among those who wait, and tells them once the operation's row is durable.
    fn admit(&mut self, id: OperationId, connection: Option<ConnectionId>, reply: Reply) {
        match reply {
            Reply::Stream(reply) => {
                if let Some(ticket) = self.add_waiter(id, connection) {
                    self.commit.then.push(Box::new(move || {
                        // Whoever asked may be gone; then the claim is dropped, and says so.
                        let _gone = reply.send(Ok(ticket));
                    }));
                }
            }
            Reply::Session { outbox, id: number, follow } => {
                self.follow(id, connection, outbox, number, follow);
            }
        }
    }

    fn accept(&mut self, submission: Submission) {
        let record = Arc::new(submission.record);
        let id = record.id;
        let seat = match self.crowd.enter(submission.owner, &record, &submission.platform) {
            Ok(seat) => seat,
            Err(status) => return answer(submission.reply, Err(SubmitError::Refused(status))),
        };
        let mut operation = Operation::new(Arc::clone(&record), seat, OpState::default());
        operation.effects = submission.effects;
        let command_digest = submission.command_digest;
        operation.messages = submission.messages.filter(|_| self.message_bytes < MAX_MESSAGES);
        self.message_bytes += operation.message_bytes();
        let is_read_later = operation.messages.is_none();
        let pin = is_read_later.then(|| self.store.pin([record.digest, command_digest]));
        operation.keeps(submission.inputs, pin);
        if self.trees_due.is_none() && operation.has_inputs() {
            self.trees_due = Some(self.now().after(self.trees.keep_for()));
        }
        self.n_detached += usize::from(operation.is_kept());
        self.operations.insert(id, Box::new(operation));
        if record.joinable {
            self.keys.insert(&record.key(), id);
        }
        let (connection, reply) = (submission.connection, submission.reply);

        let rerun = self.operations.get(&id).is_none_or(|it| it.reruns());
        let spec = self.spec(&record, submission.needs, submission.trees, rerun);
        let row = self.commit.writes.len();
        self.commit.writes.push(Write::Insert {
            record: Arc::clone(&record),
            input_root: submission.input_root,
            platform: submission.platform,
            lease: None,
        });
        self.admit(id, connection, reply);
        self.step(Input::Submit { operation: id, spec });
        self.merge_lease(row);
    }

    /// A lease that was granted at once goes into the operation's first row.
    fn merge_lease(&mut self, row: usize) {
        let Some(Write::Insert { record, .. }) = self.commit.writes.get(row) else { return };
        let new = record.id;
        let found =
            self.commit.writes.iter().skip(row).enumerate().find_map(|(at, write)| match write {
                Write::Lease { id, attempt, worker } if *id == new => {
                    Some((row + at, (*attempt, *worker)))
                }
                _ => None,
            });
        if let Some((at, granted)) = found {
            self.commit.writes.remove(at);
            if let Some(Write::Insert { lease, .. }) = self.commit.writes.get_mut(row) {
                *lease = Some(granted);
            }
        }
    }

    pub(super) fn spec(
        &self,
        record: &Record,
        needs: Arc<Needs>,
        inputs: Vec<Tree>,
        rerun: bool,
    ) -> ActionSpec {
        let queue_timeout = match record.options.queue_timeout_ms {
            0 if record.ours => self.config.queue_timeout,
            0 => self.config.queue_timeout_foreign,
            millis => Duration::from_millis(millis),
        };
        ActionSpec {
            invocation: invocation(&record.metadata.tool_invocation_id),
            priority: record.priority,
            needs,
            expected: self.history.expected(record.shape),
            inputs,
            cacheable: record.cacheable,
            rerun,
            queue_timeout: Some(queue_timeout),
            asked_to_wait: record.options.queue_timeout_ms != 0,
        }
    }
}

/// Answers at once: with an end, or with a refusal.
fn answer(reply: Reply, answer: Result<Ticket, SubmitError>) {
    match reply {
        Reply::Stream(reply) => {
            // Whoever asked may be gone; then the claim is dropped, and says so.
            let _gone = reply.send(answer);
        }
        Reply::Session { outbox, id, .. } => match answer {
            Ok(ticket) => super::followers::tell_end(outbox, id, ticket),
            // Its client sends it once more.
            Err(SubmitError::Again) => {
                outbox.refused(
                    id,
                    &Status::unavailable("the hub was busy for too long; it can be asked again"),
                );
            }
            Err(SubmitError::Refused(status)) => outbox.refused(id, &status),
        },
    }
}

/// The unit of fairness. Foreign clients name their invocations by UUIDs; any text will do.
fn invocation(name: &str) -> InvocationId {
    name.parse().unwrap_or_else(|_| {
        // FNV-1a of 128 bits; equal names must give equal ids, and nothing more.
        let start = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d_u128;
        InvocationId(name.bytes().fold(start, |hash, byte| {
            (hash ^ u128::from(byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b)
        }))
    })
}
