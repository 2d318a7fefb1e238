//! Doing what the scheduler wants.

use std::sync::Arc;

use bytes::Bytes;
use hands_proto::{reapi, v1};
use hands_sched::{Effect, Input};
use hands_types::limits::{LEASED_COMMAND, MAX_ACTION, MAX_COMMAND};
use hands_types::{Attempt, Digest, OperationId, Resources, SessionId};
use prost::Message;
use tonic::Status;

use super::sessions::attempt_id;
use super::{Core, OpState, Second};
use crate::action;
use crate::db::{Record, Write};
use crate::time::timestamp;

/// What a worker is told of the client, with the action's id where one of ours left it out.
fn request_metadata(record: &Record) -> reapi::RequestMetadata {
    let mut metadata = reapi::RequestMetadata::clone(&record.metadata);
    if metadata.action_id.is_empty() && record.ours {
        metadata.action_id = record.digest.hex();
    }
    metadata
}

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
        let Some(known) = self.sessions.get(&session) else { return };
        let (worker, worker_name) = (known.worker, Arc::clone(&known.name));
        let fetches = known.hello.fetches_commands;
        let Some(operation) = self.operations.get_mut(&id) else { return };
        let record = Arc::clone(&operation.record);
        let carried = match &operation.messages {
            Some(packed) => Ok((packed.action(), packed.command())),
            None => self.read_messages(id, fetches),
        };
        let (action, command) = match carried {
            Ok(carried) => carried,
            Err(status) => return self.cancel(id, status),
        };
        if let Err(error) = self.logs.attempt(&record, attempt, worker, false) {
            return self
                .cancel(id, Status::internal(format!("can't spool the action's output: {error}")));
        }
        if let Some(operation) = self.operations.get_mut(&id) {
            if operation.attempt.is_some() {
                let worker = worker_name;
                operation.second = Some(Box::new(Second { attempt, worker, started: None }));
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
        let is_fetched = command.is_empty();
        let lease = v1::Lease {
            id: Some(attempt_id(id, attempt)),
            instance_name: record.instance.as_ref().to_owned(),
            digest_function: reapi::digest_function::Value::from(record.digest.function).into(),
            action_digest: Some(record.digest.into()),
            action,
            command,
            options: Some(v1::ExecuteOptions::clone(&record.options)),
            queued: Some(timestamp(record.created)),
            request_metadata: Some(request_metadata(&record)),
            takes: is_fetched.then(|| self.takes(id)),
        };
        // Not before its row is durable: a hub that is killed in between would have it run a second time.
        self.tell(session, v1::hub_message::Kind::Lease(lease));
    }

    /// What a worker must know of an action before it has its Command.
    fn takes(&self, id: OperationId) -> v1::Takes {
        let Some(needs) = self.sched.needs(id) else { return v1::Takes::default() };
        let Resources { cpu_millis, memory, custom } = &needs.resources;
        let custom =
            custom.iter().map(|(name, count)| v1::Counter { name: name.clone(), count: *count });
        v1::Takes { cpu_millis: *cpu_millis, memory: *memory, custom: custom.collect() }
    }

    /// A message of an operation.
    fn read_blob(&self, digest: Digest) -> Result<Bytes, Status> {
        self.store
            .read(&digest)
            .map_err(|e| hands_reapi::store_status(&e))?
            .ok_or_else(|| action::missing_blobs(&[digest]))
    }

    /// The messages of an operation that does not have them in memory. A Command that is too large for a lease is left out
    /// where its worker fetches it.
    fn read_messages(&self, id: OperationId, fetches: bool) -> Result<(Bytes, Bytes), Status> {
        let operation =
            self.operations.get(&id).ok_or_else(|| Status::internal("the operation is gone"))?;
        let digest = operation.record.digest;
        let too_large = |what, size, most| {
            Status::invalid_argument(format!(
                "no worker could take the {what} of {size} bytes: the most are {most}"
            ))
        };
        // An older hub took larger ones; such a message would cost the worker its session, and all that it runs.
        if digest.size > MAX_ACTION {
            return Err(too_large("Action", digest.size, MAX_ACTION));
        }
        let action_bytes = self.read_blob(digest)?;
        let action = reapi::Action::decode(action_bytes.clone()).map_err(|e| {
            Status::invalid_argument(format!("the blob {digest} is no Action message: {e}"))
        })?;
        let command = action.command_digest.unwrap_or_default();
        let command_digest =
            command.to_digest(digest.function).map_err(|e| hands_reapi::bad_digest(&e))?;
        if command_digest.size > MAX_COMMAND {
            return Err(too_large("Command", command_digest.size, MAX_COMMAND));
        }
        // A worker of an older version has no other way to a large one.
        let is_left = command_digest.size > LEASED_COMMAND && fetches;
        let command = if is_left { Bytes::new() } else { self.read_blob(command_digest)? };
        Ok((action_bytes, command))
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
            operation.state.change(change);
            operation.waiters.changed();
        }
    }
}
