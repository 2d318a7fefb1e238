//! The stream of an operation's states, as Execute, WaitExecution and WaitOperation send them.

use std::sync::Arc;

use futures_util::stream;
use hands_link::{ConnectionId, ConnectionInfo};
use hands_proto::longrunning::{Operation, operation};
use hands_proto::{Charge, pack, reapi, v1};
use hands_reapi::{Apart, LogName, ROOM_WITHIN, reserve_later};
use hands_types::limits::MAX_BATCH;
use tokio::sync::watch;
use tonic::Status;

use crate::access::Principal;
use crate::core::{Claim, OpState, Owner, Stage, Ticket};
use crate::db::{Done, Record, Trouble};
use crate::ended::{Memory, ended, is_small, size_of};
use crate::execution::{OperationStream, Waiter};
use crate::logs::Stream;
use crate::shared::Shared;
use crate::time::timestamp;
use crate::told::Hearer;

/// What a result becomes in memory for each of its bytes.
const COPY: usize = 5;

/// What a client wants to have inside its answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Inline {
    stdout: bool,
    stderr: bool,
    files: Arc<Apart<Vec<String>>>,
}

impl Inline {
    pub(crate) fn of(charge: Option<&Arc<Charge>>, request: &mut reapi::ExecuteRequest) -> Self {
        Self {
            stdout: request.inline_stdout,
            stderr: request.inline_stderr,
            files: Arc::new(Apart::of(charge, std::mem::take(&mut request.inline_output_files))),
        }
    }

    fn is_empty(&self) -> bool {
        !self.stdout && !self.stderr && self.files.is_empty()
    }
}

/// The state now, then every change, and a sign of life in between; ends with the operation.
pub(crate) fn follow(
    hub: &Arc<Shared>,
    ticket: Ticket,
    asker: Asker,
    inline: Inline,
) -> OperationStream {
    let waiter = Waiter {
        id: ticket.record.id,
        waiter: ticket.claim.map_or(0, Claim::take),
        hub: Arc::clone(hub),
        connection: asker.connection,
        polls: false,
    };
    let follower = Follower {
        record: ticket.record,
        state: ticket.state,
        trouble: hub.db.trouble(),
        waiter,
        inline,
        charge: asker.charge,
        leaves_by_goodbye: asker.leaves_by_goodbye,
        told: None,
        ended: false,
    };
    Box::pin(stream::unfold(follower, |mut follower| async move {
        let operation = follower.next().await?;
        Some((operation, follower))
    }))
}

/// One message: the operation has ended.
pub(crate) async fn once(
    hub: &Arc<Shared>,
    record: Arc<Record>,
    done: Done,
    inline: Inline,
    memory: Memory<'_>,
) -> Result<OperationStream, Status> {
    let operation = ended_operation_with(hub, record, done, inline, memory).await?;
    Ok(Box::pin(tokio_stream::once(Ok(operation))))
}

/// Who follows an operation.
#[derive(Debug)]
pub(crate) struct Asker {
    pub(crate) connection: Option<ConnectionInfo>,
    principal: Option<Principal>,
    /// What its call takes in memory.
    pub(crate) charge: Option<Arc<Charge>>,
    leaves_by_goodbye: bool,
}

/// Interrupted, some of its versions announce that they will hang up, reset no stream, and stay connected for as long as
/// the answer takes, to nobody's use. While it wants an answer it announces nothing.
const LEAVES_BY_GOODBYE: &str = "bazel";

impl Asker {
    pub(crate) fn of<T>(
        request: &tonic::Request<T>,
        metadata: Option<&reapi::RequestMetadata>,
    ) -> Self {
        let tool = metadata.and_then(|metadata| metadata.tool_details.as_ref());
        Self {
            connection: ConnectionInfo::of(request).cloned(),
            principal: request.extensions().get::<Principal>().copied(),
            charge: Charge::of(request),
            leaves_by_goodbye: tool.is_some_and(|tool| tool.tool_name == LEAVES_BY_GOODBYE),
        }
    }

    /// Whose place in the queue it takes.
    pub(crate) fn owner(&self) -> Owner {
        match (self.principal, &self.connection) {
            (Some(Principal::Member(id, _)), _) => Owner::Member(id),
            (Some(Principal::Bearer(id, _)), _) => Owner::Token(id),
            (Some(Principal::Certificate(key, _)), _) => Owner::Certificate(key),
            (Some(Principal::Loopback) | None, Some(connection)) if !connection.is_own() => {
                Owner::Source(connection.peer.source)
            }
            (Some(Principal::Local | Principal::Loopback) | None, _) => Owner::Local,
        }
    }

    pub(crate) fn connection_id(&self) -> Option<ConnectionId> {
        self.connection.as_ref().map(|connection| connection.id)
    }
}

/// Returns when a client that leaves so says goodbye.
async fn goodbye(waiter: &Waiter, leaves_by_goodbye: bool) {
    match &waiter.connection {
        Some(connection) if leaves_by_goodbye => connection.goodbye().await,
        _ => std::future::pending().await,
    }
}

struct Follower {
    record: Arc<Record>,
    state: Hearer<OpState>,
    /// An end that can't be made durable waits, and says why.
    trouble: watch::Receiver<Option<Trouble>>,
    waiter: Waiter,
    inline: Inline,
    charge: Option<Arc<Charge>>,
    leaves_by_goodbye: bool,
    /// What the client was told last: with the attempt's number, and how many were lost.
    told: Option<(Stage, Option<Arc<str>>, u32, usize)>,
    ended: bool,
}

impl Follower {
    async fn next(&mut self) -> Option<Result<Operation, Status>> {
        if self.ended {
            return None;
        }
        loop {
            let mut state = self.state.hear().clone();
            let trouble = self.trouble.borrow_and_update().as_ref().map(Trouble::sentence);
            if let Some(done) = &state.done {
                self.ended = true;
                // It has left the operation with its end.
                self.waiter.waiter = 0;
                let (record, inline) = (Arc::clone(&self.record), std::mem::take(&mut self.inline));
                let done = Done::clone(done);
                let (hub, memory) = (&self.waiter.hub, Memory::Of(self.charge.as_ref()));
                return Some(ended_operation_with(hub, record, done, inline, memory).await);
            }
            if let Some(sentence) = trouble {
                state.waiting = Some(sentence.into());
            }
            let now =
                Some((state.stage, state.waiting.clone(), told_attempt(&state), state.lost.len()));
            if self.told != now {
                self.told = now;
                return Some(Ok(operation_of(&self.record, &state)));
            }
            tokio::select! {
                changed = self.state.changed() => if changed.is_err() {
                    // The hub ends. A stream that ends well before the operation is done makes clients come back.
                    return None;
                },
                // Its error means that the hub ends, which the other one says too.
                Ok(()) = self.trouble.changed() => {}
                () = goodbye(&self.waiter, self.leaves_by_goodbye) => return None,
                () = tokio::time::sleep(self.waiter.hub.keepalive) => {
                    return Some(Ok(operation_of(&self.record, &state)));
                }
            }
        }
    }
}

/// The attempt's number as clients are told it: what waits has none yet, or none any more.
fn told_attempt(state: &OpState) -> u32 {
    if state.stage == Stage::Queued { 0 } else { state.attempt }
}

/// An operation that has not ended, as clients see it.
pub(crate) fn operation_of(record: &Record, state: &OpState) -> Operation {
    let stage = match state.stage {
        Stage::Queued => reapi::execution_stage::Value::Queued,
        Stage::Executing => reapi::execution_stage::Value::Executing,
        Stage::Completed => reapi::execution_stage::Value::Completed,
    };
    let attempt = told_attempt(state);
    let mut metadata = metadata(record, stage, attempt);
    let mut partial = reapi::ExecutedActionMetadata {
        queued_timestamp: Some(timestamp(record.created)),
        ..Default::default()
    };
    if let Some(worker) = &state.worker {
        worker.as_ref().clone_into(&mut partial.worker);
    }
    if record.ours || state.waiting.is_some() {
        // What our own clients show; foreign ones skip what they don't know.
        partial.auxiliary_metadata.push(pack(&v1::Job {
            id: record.id.to_string(),
            state: v1::JobState::Queued.into(),
            waiting: state.waiting.as_deref().unwrap_or_default().to_owned(),
            attempt,
            lost: state.lost.clone(),
            ..Default::default()
        }));
    }
    metadata.partial_execution_metadata = Some(partial);
    Operation { name: name(record), metadata: Some(pack(&metadata)), done: false, result: None }
}

/// An operation that has ended, with what its client wants to have inside.
async fn ended_operation_with(
    hub: &Arc<Shared>,
    record: Arc<Record>,
    done: Done,
    inline: Inline,
    memory: Memory<'_>,
) -> Result<Operation, Status> {
    if inline.is_empty() {
        return ended(record, done, memory).await;
    }
    let is_quick = inline.files.is_empty() && is_small(&done.response);
    let look = match memory {
        Memory::Paid(look) => look,
        Memory::Of(_) if is_quick => None,
        Memory::Of(charge) => {
            // The answer with the contents that are put into it, and a copy of what is decoded.
            let size = size_of(&done.response).await?;
            let contents = usize::try_from(MAX_BATCH).unwrap_or(usize::MAX);
            reserve_later(charge, size.saturating_add(contents)).await?;
            let copy = size.saturating_mul(COPY).saturating_add(contents);
            hands_reapi::look(charge, copy, ROOM_WITHIN).await?
        }
    };
    let (store, function) = (hub.store.clone(), record.digest.function);
    let response = Arc::clone(&done.response);
    let fill = move || {
        let _look = look;
        let mut response = reapi::ExecuteResponse::clone(&response);
        if let Some(result) = &mut response.result {
            let Inline { stdout, stderr, files } = &inline;
            hands_reapi::fill_inline(&store, result, function, *stdout, *stderr, files)
                .map_err(|e| hands_reapi::store_status(&e))?;
        }
        Ok(pack(&response))
    };
    let filled =
        if is_quick { fill() } else { crate::task::blocking(fill).await.and_then(|filled| filled) };
    match filled {
        Ok(response) => Ok(operation_with(&record, &done, response)),
        Err(status) => {
            // Inlining is a favour: the digests are there.
            tracing::warn!(%status, "outputs could not be inlined");
            crate::task::blocking(move || ended_operation(&record, &done)).await
        }
    }
}

/// An operation that has ended. Failures stand in the response: `Operation.error` is for failures of the service.
pub(crate) fn ended_operation(record: &Record, done: &Done) -> Operation {
    operation_with(record, done, pack(&*done.response))
}

fn operation_with(record: &Record, done: &Done, response: prost_types::Any) -> Operation {
    let mut metadata = metadata(record, reapi::execution_stage::Value::Completed, done.attempt.0);
    if record.ours {
        let job = v1::Job {
            id: record.id.to_string(),
            state: v1::JobState::Done.into(),
            attempt: done.attempt.0,
            ..Default::default()
        };
        metadata.partial_execution_metadata = Some(reapi::ExecutedActionMetadata {
            auxiliary_metadata: vec![pack(&job)],
            ..Default::default()
        });
    }
    Operation {
        name: name(record),
        metadata: Some(pack(&metadata)),
        done: true,
        result: Some(operation::Result::Response(response)),
    }
}

fn name(record: &Record) -> String {
    format!("operations/{}", record.id)
}

/// A stream belongs to an attempt. Before the first one it has a name that fits the first attempt that writes.
fn metadata(
    record: &Record,
    stage: reapi::execution_stage::Value,
    attempt: u32,
) -> reapi::ExecuteOperationMetadata {
    let stream = |stream: Stream| {
        LogName {
            instance: record.instance.as_ref().to_owned(),
            operation: record.id.to_string(),
            attempt: (attempt > 0).then_some(attempt),
            stderr: stream == Stream::Stderr,
        }
        .to_string()
    };
    let has_stderr = record.options.terminal.is_none();
    reapi::ExecuteOperationMetadata {
        stage: stage.into(),
        action_digest: Some(record.digest.into()),
        stdout_stream_name: stream(Stream::Stdout),
        stderr_stream_name: if has_stderr { stream(Stream::Stderr) } else { String::new() },
        partial_execution_metadata: None,
        digest_function: reapi::digest_function::Value::from(record.digest.function).into(),
    }
}
