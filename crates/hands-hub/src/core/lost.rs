//! Attempts that are lost: who is told, and whether the action may be run again.

use std::sync::Arc;

use hands_proto::v1;
use hands_sched::{FailReason, RejectReason, RequeueReason};
use hands_types::retry::Reruns;
use hands_types::{Attempt, OperationId, WorkerId};
use tonic::Status;

use super::{Core, Stage};
use crate::db::Write;

impl Core {
    /// The operation has no lease any more and waits for the next.
    pub(super) fn requeued(
        &mut self,
        id: OperationId,
        attempt: Attempt,
        reason: &RequeueReason,
        started: bool,
    ) {
        tracing::info!(operation = %id, attempt = attempt.0, ?reason, "an action is queued again");
        self.commit.writes.push(Write::Requeue { id });
        self.logs.lost(id, attempt);
        let gone = self.lost_attempt(id, attempt, reason);
        let Some(operation) = self.operations.get_mut(&id) else { return };
        operation.attempt = None;
        operation.second = None;
        operation.stop_input();
        operation.lost += u32::from(started);
        self.ledger.requeued(started);
        let options = &operation.record.options;
        // At a terminal people see where they are. Where an attempt that never started was sent any, the next would wait for it.
        let was_sent = options.terminal.is_none()
            && (operation.has_given_input() || (started && operation.has_sent_input()));
        let forbidden = if was_sent {
            Some("it had been sent standard input, which can't be sent a second time")
        } else if !started || (options.retry.is_none() && !operation.effects) {
            // Nobody said how often: the scheduler counts, and not what is refused of a result.
            None
        } else {
            Reruns::new(options.retry, operation.effects).lose(operation.lost).err()
        };
        if let Some(why) = forbidden {
            let reason = if gone.given_up { format!(" ({})", gone.reason) } else { String::new() };
            let text = format!("{}{reason}, and is not run again: {why}", sentence(&gone));
            return self.cancel(id, Status::failed_precondition(text));
        }
        self.publish(id, |state| {
            state.stage = Stage::Queued;
            state.worker = None;
            state.started = None;
            state.lost.extend(started.then_some(gone));
        });
    }

    /// One of the two leases of a straggler is void. If people were told of that one, they are told of the other now.
    pub(super) fn lost_one_of_two(
        &mut self,
        id: OperationId,
        attempt: Attempt,
        reason: &RequeueReason,
        started: bool,
    ) {
        tracing::info!(operation = %id, attempt = attempt.0, ?reason, "one of two attempts was lost");
        self.logs.lost(id, attempt);
        let lost = started.then(|| self.lost_attempt(id, attempt, reason));
        let Some(operation) = self.operations.get_mut(&id) else { return };
        if operation.attempt != Some(attempt) {
            operation.second = None;
            return;
        }
        let Some(other) = operation.second.take() else { return };
        operation.attempt = Some(other.attempt);
        self.publish(id, |state| {
            state.stage = if other.started.is_some() { Stage::Executing } else { Stage::Queued };
            state.started = other.started;
            state.worker = Some(other.worker);
            state.attempt = other.attempt.0;
            state.lost.extend(lost);
        });
    }

    /// What is told of an attempt that is lost now.
    fn lost_attempt(
        &self,
        id: OperationId,
        attempt: Attempt,
        reason: &RequeueReason,
    ) -> v1::LostAttempt {
        let (worker, why) = match reason {
            RequeueReason::LeaseExpired { worker } => (worker, "it gave no sign of life"),
            RequeueReason::NotHeld { worker } => {
                (worker, "it was restarted or away for too long, and no longer has the action")
            }
            RequeueReason::HandedBack { worker, reason } => match reason {
                RejectReason::Unable(why) | RejectReason::NoRoom(why) => (worker, why.as_str()),
                RejectReason::Draining | RejectReason::Recalled => (worker, "it handed it back"),
            },
        };
        let worker = self.name_of(id, attempt, *worker).as_ref().to_owned();
        let given_up = matches!(reason, RequeueReason::HandedBack { .. });
        v1::LostAttempt { attempt: attempt.0, worker, reason: why.to_owned(), given_up }
    }

    /// The name of the worker that had an attempt. Its session may have ended long ago.
    fn name_of(&self, id: OperationId, attempt: Attempt, worker: WorkerId) -> Arc<str> {
        let known = self.operations.get(&id).and_then(|operation| {
            let of_current = operation.attempt == Some(attempt);
            of_current.then(|| operation.state.borrow().worker.clone()).flatten()
        });
        known.unwrap_or_else(|| self.worker_name(worker))
    }

    /// What a client is told. Never UNAVAILABLE: Bazel ends the whole build by that.
    pub(super) fn failure(&self, id: OperationId, reason: &FailReason) -> Status {
        let text = reason.to_string();
        match reason {
            FailReason::NotRerunnable { attempt, worker, why }
                if self
                    .operations
                    .get(&id)
                    .is_some_and(|it| it.record.options.retry == Some(0)) =>
            {
                let lost = v1::LostAttempt {
                    attempt: attempt.0,
                    worker: self.name_of(id, *attempt, *worker).as_ref().to_owned(),
                    reason: why.clone().unwrap_or_default(),
                    given_up: why.is_some(),
                };
                let why = why.as_ref().map_or_else(String::new, |why| format!(" ({why})"));
                Status::failed_precondition(format!(
                    "{}{why} and is not run again, as `--retry 0` says",
                    sentence(&lost)
                ))
            }
            FailReason::Poisonous { .. }
            | FailReason::NoResult { .. }
            | FailReason::NoWorker { .. }
            | FailReason::NotRerunnable { .. }
            | FailReason::Rejected { .. } => Status::failed_precondition(text),
            FailReason::TooManyClasses { .. } => Status::resource_exhausted(text),
        }
    }
}

fn sentence(lost: &v1::LostAttempt) -> String {
    let how = if lost.given_up { "brought no result on" } else { "was lost with" };
    format!("attempt {} {how} its worker {}", lost.attempt, lost.worker)
}
