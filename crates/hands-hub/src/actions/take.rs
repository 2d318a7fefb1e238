//! A message of submissions, from its bytes to what the core takes. Blocks.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use hands_proto::{Room, Tight, reapi, v1};
use hands_reapi::{CachedResult, Invocation};
use hands_types::limits::{INLINE_STREAM, MAX_ACTION, MAX_COMMAND, MAX_NAME};
use hands_types::text::cut;
use hands_types::{Digest, DigestFunction, OperationId};
use prost::Message as _;
use tonic::Status;

use super::outbox::{Ended, Outbox, refusal};
use super::{Head, later};
use crate::action::{self, Loaded, Read};
use crate::core::{Reply, Submission, unix_millis};
use crate::db::{Done, Record};
use crate::execution::{
    About, Caller, cached_response, check_options, load, record_answer, record_of, store_status,
};
use crate::shared::{Shared, table_status};
use crate::status::to_rpc;

/// What a client hears that gives a number twice.
pub(crate) const NUMBER_TAKEN: &str = "another action has this number of this session";
/// What an answer becomes in memory for each of its bytes, about.
const ANSWER: usize = 5;
/// Bits of an action's number.
const NUMBER: u32 = 36;

/// What became of a submission.
pub(super) enum Taken {
    /// By the action cache, or by a refusal. An answer that has an operation is one of the action cache.
    Answered {
        id: u64,
        operation: Option<OperationId>,
        response: Arc<reapi::ExecuteResponse>,
    },
    /// The same salted action was answered before.
    Earlier {
        id: u64,
        operation: OperationId,
        done: Done,
    },
    New(Box<Submission>),
    /// It takes more memory to look at than there was: it is looked at by itself.
    Large(Box<v1::SubmitAction>),
}

impl Head {
    /// The name of an action's operation: when it was sent first, its number, and part of the session's own name. So they
    /// sort as their client sent them, and what is sent again is the same.
    pub(super) fn operation(&self, action: &v1::SubmitAction) -> Result<OperationId, Status> {
        if action.id >> NUMBER != 0 {
            return Err(Status::invalid_argument(format!("{} is no number below 2^36", action.id)));
        }
        let name = hands_tree::hash(self.function, &self.name).hash;
        let part = name.iter().take(6).fold(0_u128, |part, byte| part << 8 | u128::from(*byte));
        let low = u128::from(action.id) << (80 - NUMBER) | part & ((1 << (80 - NUMBER)) - 1);
        Ok(OperationId::from_parts(self.clock.sent(action.at_ms)?, low))
    }

    /// Has a record hold what it has in common with the one before it together with that: there may be very many.
    fn share(&self, record: &mut Record) {
        record.instance = Arc::clone(&self.instance);
        // Whatever is there is a whole value.
        let mut last = self.options.lock().unwrap_or_else(PoisonError::into_inner);
        if *last == record.options {
            record.options = Arc::clone(&last);
        } else {
            *last = Arc::clone(&record.options);
        }
    }

    fn caller(&self, action: &v1::SubmitAction) -> Caller {
        let mut metadata = Arc::clone(&self.caller.metadata);
        // An action without one has the session's: our front-ends name themselves there.
        if !action.mnemonic.is_empty() {
            Arc::make_mut(&mut metadata).action_mnemonic =
                cut(&action.mnemonic, MAX_NAME).into_owned();
        }
        if action.target != metadata.target_id {
            Arc::make_mut(&mut metadata).target_id = cut(&action.target, MAX_NAME).into_owned();
        }
        Caller { metadata, options: Some(action.options.clone().unwrap_or_default()) }
    }
}

/// One action that is not answered yet.
struct Wanted {
    action: v1::SubmitAction,
    digest: Digest,
    read: Read,
    /// The messages that came along.
    inline: Bytes,
    command: Bytes,
}

/// Looks at the submissions of a message as far as there is room for them and for their answers: at one at least. The rest is
/// to be looked at later.
pub(super) fn take(
    hub: &Arc<Shared>,
    head: &Head,
    outbox: &Arc<Outbox>,
    message: v1::Submissions,
    room: &mut Room,
) -> (Vec<Taken>, Vec<v1::SubmitAction>) {
    let invocation = Invocation::named(&head.caller.metadata.tool_invocation_id);
    let hash = |bytes: &Bytes| hands_tree::hash(head.function, bytes);
    let (mut taken, mut wanted, mut blobs) = (Vec::new(), Vec::new(), Vec::new());
    // What is submitted may be among them.
    let came = message.blobs.into_iter().map(|bytes| (hash(&bytes), bytes)).collect();
    let is_alone = message.actions.iter().all(|action| action.alone);
    if let Err(status) = keep(hub, &invocation, came, is_alone) {
        taken.extend(message.actions.iter().map(|action| refused(action.id, &status)));
        return (taken, Vec::new());
    }
    let mut hits = 0;
    let mut held = outbox.held();
    let mut actions = message.actions.into_iter();
    let mut rest = Vec::new();
    for mut action in actions.by_ref() {
        let id = action.id;
        let is_first = taken.is_empty() && wanted.is_empty();
        if held >= outbox.most && !is_first {
            rest.push(action);
            break;
        }
        let (inline, command) =
            (std::mem::take(&mut action.action), std::mem::take(&mut action.command));
        match look(hub, head, &invocation, &action, &inline, room) {
            Err(Tight(_)) if is_first => {
                taken.push(Taken::large(action, inline, command));
                break;
            }
            Err(Tight(_)) => {
                rest.push(whole(action, inline, command));
                break;
            }
            Ok(Err(status)) => taken.push(refused(id, &status)),
            Ok(Ok(Looked::Hit(digest, response))) => {
                held += response.encoded_len();
                let mut operation = None;
                if action.alone {
                    operation = Some(operation_of(hub, head, outbox, &action, digest, &response));
                } else {
                    hits += 1;
                }
                taken.push(Taken::Answered { id, operation, response });
            }
            Ok(Ok(Looked::Miss(..))) if command.len() as u64 > MAX_COMMAND => {
                let most = format!("a Command has no more than {MAX_COMMAND} bytes");
                taken.push(refused(id, &Status::invalid_argument(most)));
            }
            Ok(Ok(Looked::Miss(digest, read))) => {
                if !inline.is_empty() {
                    blobs.push((digest, inline.clone()));
                }
                if !command.is_empty() {
                    blobs.push((hash(&command), command.clone()));
                }
                wanted.push(Wanted { action, digest, read, inline, command });
            }
        }
    }
    rest.extend(actions);
    if hits > 0 {
        hub.ledger.answered(&head.caller.metadata, hits, unix_millis());
    }
    if let Err(status) = keep(hub, &invocation, blobs, is_alone) {
        taken.extend(wanted.iter().map(|wanted| refused(wanted.action.id, &status)));
        return (taken, rest);
    }
    let mut left = Vec::new();
    for wanted in wanted {
        let id = wanted.action.id;
        let is_tight = !left.is_empty();
        let looked = if is_tight { Err(Tight(0)) } else { ready(hub, head, outbox, &wanted, room) };
        match looked {
            Ok(Ok(ready)) => taken.push(ready),
            Ok(Err(status)) => taken.push(refused(id, &status)),
            Err(Tight(_)) if taken.is_empty() => {
                taken.push(Taken::large(wanted.action, wanted.inline, wanted.command));
            }
            Err(Tight(_)) => left.push(whole(wanted.action, wanted.inline, wanted.command)),
        }
    }
    left.append(&mut rest);
    (taken, left)
}

/// Makes an answer of the action cache an operation. Its row takes memory until it is written.
fn operation_of(
    hub: &Shared,
    head: &Head,
    outbox: &Arc<Outbox>,
    action: &v1::SubmitAction,
    digest: Digest,
    response: &Arc<reapi::ExecuteResponse>,
) -> OperationId {
    let bytes = response.encoded_len();
    outbox.hold(bytes);
    let outbox = Arc::clone(outbox);
    let then = Box::new(move || outbox.let_go(bytes));
    let caller = head.caller(action);
    let (record, _) =
        record_answer(hub, &head.instance, digest, &caller, Arc::clone(response), then);
    record.id
}

/// Puts blobs into the store.
fn keep(
    hub: &Shared,
    invocation: &Invocation,
    blobs: Vec<(Digest, Bytes)>,
    is_alone: bool,
) -> Result<(), Status> {
    let digests: Vec<Digest> = blobs.iter().map(|(digest, _)| *digest).collect();
    // Before they are there, so that they stay.
    invocation.keep(&hub.store, &digests);
    hub.store
        .put_many(blobs)
        .into_iter()
        .find_map(Result::err)
        // A disk that is full now may have room a little later, as for rows.
        .map_or(Ok(()), |e| {
            let is_later = e.is_full() && !is_alone;
            Err(if is_later { later(&store_status(e)) } else { store_status(e) })
        })
}

fn whole(action: v1::SubmitAction, inline: Bytes, command: Bytes) -> v1::SubmitAction {
    v1::SubmitAction { action: inline, command, ..action }
}

impl Taken {
    fn large(action: v1::SubmitAction, inline: Bytes, command: Bytes) -> Self {
        Self::Large(Box::new(whole(action, inline, command)))
    }
}

/// One submission by itself, within a room.
pub(super) fn one(
    hub: &Arc<Shared>,
    head: &Head,
    outbox: &Arc<Outbox>,
    action: &v1::SubmitAction,
    room: &Room,
) -> Result<Taken, Tight> {
    let message = v1::Submissions { actions: vec![action.clone()], ..Default::default() };
    let mut rest = room.rest();
    let most = rest.most();
    match take(hub, head, outbox, message, &mut rest).0.pop() {
        Some(Taken::Large(_)) | None => Err(Tight(most)),
        Some(taken) => Ok(taken),
    }
}

fn refused(id: u64, status: &Status) -> Taken {
    Taken::Answered { id, operation: None, response: Arc::new(refusal(to_rpc(status))) }
}

enum Looked {
    Hit(Digest, Arc<reapi::ExecuteResponse>),
    Miss(Digest, Read),
}

/// Reads the Action, and asks the action cache.
fn look(
    hub: &Shared,
    head: &Head,
    invocation: &Invocation,
    action: &v1::SubmitAction,
    inline: &Bytes,
    room: &mut Room,
) -> Result<Result<Looked, Status>, Tight> {
    let (digest, read) = match read_action(hub, head, action, inline) {
        Ok(read) => read,
        Err(status) => return Ok(Err(status)),
    };
    let may_be_cached = read.as_ref().is_none_or(|read| !read.message.do_not_cache);
    if may_be_cached && !action.skip_cache_lookup {
        let found = match CachedResult::find(&hub.store, &head.instance, digest) {
            Ok(None) => Ok(None),
            Ok(Some(cached)) => cached.read(&hub.store, invocation, room)?,
            Err(error) => Err(error),
        };
        let found = match found {
            // A client may have recorded a failure. Whoever asks for the action again means to have it run.
            Ok(found) => found.filter(|result| result.exit_code == 0),
            Err(error) => return Ok(Err(store_status(error))),
        };
        let metrics = &hub.metrics;
        let counter = if found.is_some() { &metrics.cache_hits } else { &metrics.cache_misses };
        counter.fetch_add(1, Ordering::Relaxed);
        if let Some(mut result) = found {
            room.keep(streams_of(&result))?;
            // A row has no use for them.
            if !action.alone {
                with_streams(hub, head.function, &mut result);
            }
            return Ok(Ok(Looked::Hit(digest, Arc::new(cached_response(result)))));
        }
    }
    let read = read.ok_or_else(|| action::missing_blobs(&[digest]));
    Ok(read.map(|read| Looked::Miss(digest, read)))
}

/// The Action, if it came along or is in the store.
fn read_action(
    hub: &Shared,
    head: &Head,
    action: &v1::SubmitAction,
    inline: &Bytes,
) -> Result<(Digest, Option<Read>), Status> {
    head.operation(action)?;
    let digest = action.action_digest.as_ref();
    let digest = digest.ok_or_else(|| Status::invalid_argument("action_digest is not set"))?;
    let digest =
        digest.to_digest(head.function).map_err(|e| Status::invalid_argument(e.to_string()))?;
    if digest.size > MAX_ACTION {
        return Err(Status::invalid_argument(format!(
            "the Action {digest} has {} bytes, more than {MAX_ACTION}: no worker could take it",
            digest.size
        )));
    }
    if inline.is_empty() {
        return Ok((digest, action::read_action(&hub.store, &digest)?));
    }
    if hands_tree::hash(head.function, inline) != digest {
        return Err(Status::invalid_argument(format!(
            "the message that came along is not the action {digest}"
        )));
    }
    Ok((digest, Some(Read::of(inline.clone(), &digest)?)))
}

/// All the rest that is known before the core has it.
fn ready(
    hub: &Arc<Shared>,
    head: &Head,
    outbox: &Arc<Outbox>,
    wanted: &Wanted,
    room: &mut Room,
) -> Result<Result<Taken, Status>, Tight> {
    let Wanted { action, digest, read, .. } = wanted;
    if let Err(status) = check_options(action.options.as_ref()) {
        return Ok(Err(status));
    }
    let caller = head.caller(action);
    let loaded = load(hub, &caller.metadata, digest, read, room)?;
    let kept = i64::try_from(hub.salted_result.as_millis()).unwrap_or(i64::MAX);
    let since = unix_millis().saturating_sub(kept);
    let is_salted = read.message.do_not_cache && !read.message.salt.is_empty();
    if is_salted {
        let size = hub.db.retained_size(digest, since).unwrap_or_default();
        room.keep(size.saturating_mul(ANSWER))?;
    }
    Ok(loaded.and_then(|loaded| queue(hub, head, outbox, wanted, caller, loaded, since)))
}

/// Names the operation, and finds out whether it was answered before.
fn queue(
    hub: &Arc<Shared>,
    head: &Head,
    outbox: &Arc<Outbox>,
    wanted: &Wanted,
    caller: Caller,
    (loaded, about): (Loaded, About),
    since: i64,
) -> Result<Taken, Status> {
    let Wanted { action, digest, .. } = wanted;
    let request = reapi::ExecuteRequest {
        instance_name: head.instance.to_string(),
        execution_policy: Some(reapi::ExecutionPolicy { priority: action.priority }),
        ..Default::default()
    };
    let mut record = record_of(&request, *digest, &caller, &loaded, &about);
    record.id = head.operation(action)?;
    head.share(&mut record);
    // The client names it, and might name what is somebody else's.
    let taken = hub.db.ids(record.id.0, record.id.0, 1).map_err(|e| table_status(&e))?;
    if !taken.is_empty() {
        // What came over the stream before, which was thought lost, may have been taken since it was looked for here: asked
        // once more, it is found.
        let status = match action.sent_before {
            true => Status::unavailable("the action was just taken from an earlier stream"),
            false => Status::invalid_argument(NUMBER_TAKEN),
        };
        return Err(status);
    }
    if record.salted {
        let stored = hub.db.retained(&record.instance, digest, since);
        let stored = stored.map_err(|e| table_status(&e))?;
        if let Some((record, done)) = stored.and_then(|it| Some((it.record, it.done?))) {
            return Ok(Taken::Earlier { id: action.id, operation: record.id, done });
        }
    }
    // It passes: the client sends it again.
    hub.accepts().map_err(|status| if action.alone { status } else { later(&status) })?;
    let platform = Bytes::from(loaded.platform.encode_to_vec());
    let reply = Reply::Session { outbox: Arc::clone(outbox), id: action.id, follow: action.follow };
    let submission = Submission {
        skip_cache_lookup: action.skip_cache_lookup,
        ..Submission::of(&loaded, record, platform, &head.asker, reply)
    };
    Ok(Taken::New(Box::new(submission)))
}

/// Whether an end can be told without a look at the disk.
pub(super) fn is_quick(ended: &Ended) -> bool {
    let result = ended.response.as_ref().map(|response| response.result.as_ref());
    result.is_some_and(|result| result.is_none_or(has_streams))
}

/// What the small ones of a result's streams take.
fn streams_of(result: &reapi::ActionResult) -> usize {
    let streams = [&result.stdout_digest, &result.stderr_digest].into_iter().flatten();
    let sizes = streams.map(|digest| usize::try_from(digest.size_bytes).unwrap_or_default());
    sizes.filter(|size| *size <= INLINE_STREAM).sum()
}

/// Whether the small ones of a result's streams stand inside it.
fn has_streams(result: &reapi::ActionResult) -> bool {
    let streams =
        [(&result.stdout_digest, &result.stdout_raw), (&result.stderr_digest, &result.stderr_raw)];
    streams.into_iter().all(|(digest, raw)| {
        let size = digest.as_ref().map_or(0, |digest| digest.size_bytes);
        !raw.is_empty()
            || size <= 0
            || u64::try_from(size).is_ok_and(|size| size > INLINE_STREAM as u64)
    })
}

/// An action's end as its client hears it.
pub(super) fn tell(hub: &Shared, function: DigestFunction, ended: Ended) -> v1::ActionEnded {
    let Ended { id, operation, attempt, response, .. } = ended;
    let mut response = match response {
        Some(response) => reapi::ExecuteResponse::clone(&response),
        None => stored(hub, operation),
    };
    if let Some(result) = response.result.as_mut().filter(|result| !has_streams(result)) {
        with_streams(hub, function, result);
    }
    v1::ActionEnded {
        id,
        operation: operation.map(|id| id.to_string()).unwrap_or_default(),
        attempt,
        response: Some(response),
    }
}

/// Puts the streams in, where they are small.
fn with_streams(hub: &Shared, function: DigestFunction, result: &mut reapi::ActionResult) {
    if let Err(error) = hands_reapi::fill_inline(&hub.store, result, function, true, true, &[]) {
        // Inlining is a favour: the digests are there.
        tracing::warn!(%error, "streams could not be inlined");
    }
}

fn stored(hub: &Shared, operation: Option<OperationId>) -> reapi::ExecuteResponse {
    let stored = operation.map(|id| hub.db.operation(id));
    let status = match stored {
        Some(Ok(Some(stored))) => match stored.done {
            Some(done) => return reapi::ExecuteResponse::clone(&done.response),
            None => Status::internal("an action that has ended has no result in the table"),
        },
        Some(Err(error)) => table_status(&error),
        // Its row was pruned before its client came for it.
        Some(Ok(None)) | None => Status::not_found("the result is not kept any more"),
    };
    refusal(to_rpc(&status))
}
