//! Doing what the scheduler wants.

use std::sync::Arc;

use bytes::Bytes;
use hands_proto::{reapi, v1};
use hands_sched::{Effect, Input};
use hands_types::limits::{MAX_ACTION, MAX_COMMAND};
use hands_types::{Attempt, OperationId, SessionId};
use prost::Message;
use tonic::Status;

use super::sessions::attempt_id;
use super::{Core, OpState, Second};
use crate::action;
use crate::db::Write;
use crate::time::timestamp;

impl Core {
    /// Tells the scheduler and does what follows.
    pub(super) fn step(&mut self, input: Input) {
        let mut effects = Vec::new();
        self.sched.step(self.now(), input, &mut effects);
        for effect in effects {
            self.perform(effect);
        }
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Lease { session, operation, attempt } => {
                self.lease(session, operation, attempt);
            }
            Effect::Adopted { session, operation, attempt } => {
                self.adopt(session, operation, attempt);
            }
            Effect::CancelLease { session, operation, attempt } => {
                let id = Some(attempt_id(operation, attempt));
                let reason = "nobody wants this attempt any more".to_owned();
                self.tell(session, v1::hub_message::Kind::Cancel(v1::Cancel { id, reason }));
            }
            Effect::Recall { session, operation, attempt } => {
                let id = Some(attempt_id(operation, attempt));
                self.tell(session, v1::hub_message::Kind::Recall(v1::Recall { id }));
            }
            Effect::Requeued { operation, attempt, reason, started } => {
                self.requeued(operation, attempt, &reason, started);
            }
            Effect::Lost { operation, attempt, reason, started } => {
                self.lost_one_of_two(operation, attempt, &reason, started);
            }
            Effect::Accept { session, operation, attempt } => {
                self.accepted(session, operation, attempt);
            }
            Effect::Refuse { session, operation, attempt } => {
                self.refuse(session, operation, attempt, "this attempt is not wanted any more");
            }
            Effect::Fail { operation, reason } => {
                let status = self.failure(operation, &reason);
                self.fail(operation, status);
            }
            Effect::Cancelled { operation } => {
                self.fail(operation, Status::cancelled("the action was cancelled"));
            }
            Effect::Waiting { operation, explanation } => {
                self.publish(operation, |state| state.waiting = Some(explanation));
            }
            Effect::CloseSession { session } => {
                if let Some(session) = self.sessions.remove(&session) {
                    session.out.close();
                }
            }
        }
    }

    fn lease(&mut self, session: SessionId, id: OperationId, attempt: Attempt) {
        let Some((worker, worker_name)) =
            self.sessions.get(&session).map(|s| (s.worker, Arc::clone(&s.name)))
        else {
            return;
        };
        let Some(operation) = self.operations.get_mut(&id) else { return };
        let record = Arc::clone(&operation.record);
        let messages = match &operation.messages {
            Some(messages) => Ok(messages.clone()),
            None => self.read_messages(id),
        };
        let (action, command) = match messages {
            Ok(messages) => messages,
            Err(status) => return self.cancel(id, status),
        };
        // An older hub took larger ones; such a message would cost the worker its session, and all that it runs.
        if action.len() as u64 > MAX_ACTION || command.len() as u64 > MAX_COMMAND {
            let (action, command) = (action.len(), command.len());
            return self.cancel(
                id,
                Status::invalid_argument(format!(
                    "no worker could take the Action of {action} and the Command of {command} bytes: the most are {MAX_ACTION} \
                     and {MAX_COMMAND}"
                )),
            );
        }
        if let Err(error) = self.logs.attempt(&record, attempt, worker, false) {
            return self
                .cancel(id, Status::internal(format!("can't spool the action's output: {error}")));
        }
        if let Some(operation) = self.operations.get_mut(&id) {
            if operation.attempt.is_some() {
                let worker = worker_name;
                operation.second = Some(Second { attempt, worker, started: None });
            } else {
                operation.attempt = Some(attempt);
                self.publish(id, |state| {
                    state.waiting = None;
                    state.worker = Some(worker_name);
                    state.attempt = attempt.0;
                });
            }
        }
        self.commit.writes.push(Write::Lease { id, attempt, worker });
        let lease = v1::Lease {
            id: Some(attempt_id(id, attempt)),
            instance_name: record.instance.as_ref().to_owned(),
            digest_function: reapi::digest_function::Value::from(record.digest.function).into(),
            action_digest: Some(record.digest.into()),
            action,
            command,
            options: Some(record.options.clone()),
            queued: Some(timestamp(record.created)),
            request_metadata: Some(record.metadata.clone()),
        };
        // Not before its row is durable: a hub that is killed in between would have it run a second time.
        self.tell(session, v1::hub_message::Kind::Lease(lease));
    }

    /// The Action and Command of an operation that does not have them in memory.
    fn read_messages(&self, id: OperationId) -> Result<(Bytes, Bytes), Status> {
        let operation =
            self.operations.get(&id).ok_or_else(|| Status::internal("the operation is gone"))?;
        let digest = operation.record.digest;
        let read = |digest| -> Result<Bytes, Status> {
            self.store
                .read(&digest)
                .map_err(|e| hands_reapi::store_status(&e))?
                .ok_or_else(|| action::missing_blobs(&[digest]))
        };
        let action_bytes = read(digest)?;
        let action = reapi::Action::decode(action_bytes.clone()).map_err(|e| {
            Status::invalid_argument(format!("the blob {digest} is no Action message: {e}"))
        })?;
        let command = action.command_digest.unwrap_or_default();
        let command =
            command.to_digest(digest.function).map_err(|e| hands_reapi::bad_digest(&e))?;
        Ok((action_bytes, read(command)?))
    }

    pub(super) fn refuse(
        &mut self,
        session: SessionId,
        id: OperationId,
        attempt: Attempt,
        reason: &str,
    ) {
        let id = Some(attempt_id(id, attempt));
        self.tell(
            session,
            v1::hub_message::Kind::Refused(v1::Refused { id, reason: reason.to_owned() }),
        );
    }

    /// Says something to a worker, after everything that was said before.
    pub(super) fn tell(&mut self, session: SessionId, kind: v1::hub_message::Kind) {
        if let Some(session) = self.sessions.get(&session) {
            let out = session.out.clone();
            self.commit.then.push(Box::new(move || out.say(kind)));
        }
    }

    /// Tells those who wait.
    pub(super) fn publish(&self, id: OperationId, change: impl FnOnce(&mut OpState)) {
        if let Some(operation) = self.operations.get(&id) {
            operation.state.send_modify(change);
        }
    }
}
