//! The end of an operation: its row, the action cache, the worker's acknowledgement, and all who wait — in this order.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hands_proto::{reapi, rpc, v1};
use hands_sched::{Input, RejectReason};
use hands_types::{Attempt, OperationId, SessionId, WorkerId};
use prost::Message;
use tonic::Status;

use super::left::Keeper;
use super::sessions::attempt_id;
use super::{Core, Stage, Ticket, unix_millis};
use crate::check::Checked;
use crate::db::{Done, Record, Write};
use crate::status::to_rpc;
use crate::time::micros;

/// The result that the scheduler is being asked about.
pub(crate) struct Pending {
    result: Option<reapi::ActionResult>,
    status: rpc::Status,
    message: String,
}

/// Whether a response may be recorded in the action cache: success of an action that allows it.
pub(crate) fn is_cacheable(record: &Record, response: &reapi::ExecuteResponse) -> bool {
    let ok = response.status.as_ref().is_none_or(|status| status.code == 0);
    record.cacheable && ok && response.result.as_ref().is_some_and(|result| result.exit_code == 0)
}

impl Core {
    /// The look at a result has ended.
    pub(super) fn checked(
        &mut self,
        session: SessionId,
        id: OperationId,
        attempt: Attempt,
        checked: Checked,
    ) {
        match checked {
            Checked::Usable { result, status, message } => {
                self.pending =
                    Some(Pending { result: result.map(|result| *result), status, message });
                self.step(Input::Finished { session, operation: id, attempt });
                self.pending = None;
            }
            Checked::Unusable { reason, ran, hub_full } => {
                tracing::warn!(operation = %id, attempt = attempt.0, reason, "a worker's result can't be used");
                if ran {
                    // Whatever the worker said before: a command that has a result was started.
                    self.step(Input::Started { session, operation: id, attempt });
                }
                self.refuse(session, id, attempt, &reason);
                let reason = match hub_full {
                    true => RejectReason::NoRoom(reason),
                    false => RejectReason::Unable(reason),
                };
                self.step(Input::Rejected { session, operation: id, attempt, reason });
            }
            Checked::Unknown => {
                self.refuse(session, id, attempt, "this lease was not granted to this worker");
            }
        }
    }

    /// The scheduler took the result.
    pub(super) fn accepted(&mut self, session: SessionId, id: OperationId, attempt: Attempt) {
        let Some(pending) = self.pending.take() else {
            return self.fail(id, Status::internal("a result was accepted that nobody brought"));
        };
        let response = reapi::ExecuteResponse {
            result: pending.result,
            status: Some(pending.status),
            message: pending.message,
            ..Default::default()
        };
        self.complete(id, Some((session, attempt)), response);
    }

    /// It ends without a result, by this status unless one was decided on before.
    pub(super) fn fail(&mut self, id: OperationId, status: Status) {
        let Some(operation) = self.operations.get_mut(&id) else { return };
        let status = operation.verdict.take().unwrap_or(status);
        let response =
            reapi::ExecuteResponse { status: Some(to_rpc(&status)), ..Default::default() };
        self.complete(id, None, response);
    }

    /// An output stream can't be taken.
    pub(super) fn stream_failed(&mut self, id: OperationId, attempt: Attempt, status: &Status) {
        if self.operations.get(&id).is_some_and(|operation| operation.attempt == Some(attempt)) {
            self.cancel(id, status.clone());
        }
    }

    fn complete(
        &mut self,
        id: OperationId,
        accepted: Option<(SessionId, Attempt)>,
        mut response: reapi::ExecuteResponse,
    ) {
        let Some(mut operation) = self.operations.remove(&id) else { return };
        let record = Arc::clone(&operation.record);
        let key = record.key();
        self.keys.remove(&key, id);
        if let Some(due) = operation.orphan_due {
            self.orphans.remove(&(due, id));
        }
        // Whoever comes for its streams before its row is durable waits for that.
        self.logs.register(id);
        self.message_bytes -= operation.message_bytes();
        self.crowd.leave(&operation.seat);
        self.n_clients -= operation.waiters.len();
        self.n_detached -= usize::from(operation.is_kept());
        if !record.ours {
            // Foreign clients print this; ours know the id.
            if !response.message.is_empty() {
                response.message.push('\n');
            }
            response.message.push_str(&see_more(id));
        }

        let before = operation.state.borrow().clone();
        let retained = record.salted && is_final(&response);
        tell_lost(&mut response, &before.lost, record.ours);
        let done = Done {
            retained,
            response: Arc::new(response),
            finished: unix_millis(),
            started: before.started,
            attempt: accepted.map_or(Attempt(before.attempt), |(_, attempt)| attempt),
            worker_name: accepted
                .and_then(|(session, _)| Some(Arc::clone(&self.sessions.get(&session)?.name)))
                .or_else(|| before.worker.clone())
                .unwrap_or_default(),
        };
        self.learn(&record, &done.response);
        self.ledger.ended(&record, &done);
        if done.retained {
            self.db.retain(&record.digest, done.finished);
        }
        self.commit.writes.push(Write::Finish { id, done: done.clone() });
        self.remember(Ticket {
            record: Arc::clone(&record),
            claim: None,
            state: operation.state.hearer(),
        });

        let out = accepted.and_then(|(session, attempt)| {
            Some((self.sessions.get(&session)?.out.clone(), attempt))
        });
        let attempt = accepted.map(|(_, attempt)| attempt);
        let logs = Arc::clone(&self.logs);
        let keeper = Keeper {
            logs: Arc::clone(&self.logs),
            store: self.store.clone(),
            db: Arc::downgrade(&self.db),
            runtime: tokio::runtime::Handle::current(),
        };
        let worker = accepted.and_then(|(session, _)| Some(self.sessions.get(&session)?.worker));
        let cached = is_cacheable(&record, &done.response).then(|| Arc::clone(&done.response));
        let waiters = std::mem::take(&mut operation.waiters);
        let of = Arc::clone(&record);
        let tell = move || {
            if let Some(left) = logs.finish(id, attempt, done.response.result.is_some()) {
                keeper.keep(left, &done.response);
            }
            if let Some((out, attempt)) = out {
                let ack = v1::ResultAck { id: Some(attempt_id(id, attempt)) };
                out.say(v1::hub_message::Kind::ResultAck(ack));
            }
            waiters.ended(&of, &done);
            operation.state.change(|state| {
                state.stage = Stage::Completed;
                state.waiting = None;
                state.done = Some(Box::new(done));
            });
            // Its inputs may go now.
            drop(operation);
        };
        match cached {
            None => self.commit.then.push(Box::new(tell)),
            Some(response) => {
                let store = self.store.clone();
                self.commit.then.push(Box::new(move || {
                    // Not in the core: a result has up to 16 MiB.
                    let entry = cache_entry(&response, worker);
                    let (instance, digest) = (Arc::clone(&record.instance), record.digest);
                    store.action_put_then(&instance, digest, entry, move |put| {
                        if let Err(error) = put {
                            // The result stands; it will only have to be computed again.
                            tracing::warn!(%error, operation = %id, "a result was not recorded in the action cache");
                        }
                        tell();
                    });
                }));
            }
        }
    }

    /// Keeps an ended operation for those who were about to ask.
    fn remember(&mut self, ticket: Ticket) {
        let id = ticket.record.id;
        let now = self.now();
        self.recent_keys.insert(ticket.record.key(), id);
        self.recent.insert(id, ticket);
        self.recent_order.push_back((now, id));
        self.forget_recent(now);
    }

    fn learn(&mut self, record: &Record, response: &reapi::ExecuteResponse) {
        let Some(result) = response.result.as_ref().filter(|result| result.exit_code == 0) else {
            return;
        };
        let Some(metadata) = &result.execution_metadata else { return };
        let (Some(from), Some(to)) =
            (&metadata.execution_start_timestamp, &metadata.execution_completed_timestamp)
        else {
            return;
        };
        let took =
            Duration::from_micros(u64::try_from(micros(to) - micros(from)).unwrap_or_default());
        self.commit.writes.extend(self.history.learn(record.shape, took));
    }
}

/// Adds the attempts that were lost before this end came. Where it brings no result, foreign clients are not told: a detail
/// that they do not know keeps them from sending what is missing.
fn tell_lost(response: &mut reapi::ExecuteResponse, lost: &[v1::LostAttempt], ours: bool) {
    if lost.is_empty() {
        return;
    }
    let lost = hands_proto::pack(&v1::LostAttempts { lost: lost.to_vec() });
    match (&mut response.result, &mut response.status) {
        (Some(result), _) => {
            let metadata = result.execution_metadata.get_or_insert_default();
            metadata.auxiliary_metadata.push(lost);
        }
        (None, Some(status)) if ours => status.details.push(lost),
        (None, _) => {}
    }
}

/// What a foreign client prints below an action's failure, so that the person before it knows where to look.
pub(crate) fn see_more(id: OperationId) -> String {
    format!("to see more: hands status {id}")
}

/// The result as the action cache keeps it: without inlined streams, which it adds where a client asks for them, and with
/// the worker that may take it back.
fn cache_entry(response: &reapi::ExecuteResponse, worker: Option<WorkerId>) -> Bytes {
    let mut result = response.result.clone().unwrap_or_default();
    result.stdout_raw = Bytes::new();
    result.stderr_raw = Bytes::new();
    if let Some(worker) = worker {
        let made_by = v1::MadeBy { worker_id: worker.to_string() };
        let metadata = result.execution_metadata.get_or_insert_default();
        metadata.auxiliary_metadata.push(hands_proto::pack(&made_by));
    }
    result.encode_to_vec().into()
}

/// Whether the same submission, sent again, gets this answer. Not where the client has been told to do something and
/// send it again, and not where we failed.
fn is_final(response: &reapi::ExecuteResponse) -> bool {
    if response.result.is_some() {
        return true;
    }
    let status = response.status.clone().unwrap_or_default();
    match rpc::Code::try_from(status.code) {
        Ok(rpc::Code::FailedPrecondition) => status.details.is_empty(),
        Ok(
            rpc::Code::Internal
            | rpc::Code::Unknown
            | rpc::Code::Unavailable
            | rpc::Code::ResourceExhausted
            | rpc::Code::Aborted,
        ) => false,
        _ => true,
    }
}
