//! REAPI's Execution service.

use std::borrow::Cow;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use hands_link::{ConnectionId, ConnectionInfo, StreamEnd};
use hands_proto::longrunning::{Operation, operation};
use hands_proto::reapi::execution_server::Execution;
use hands_proto::{
    Charge, EXECUTE_OPTIONS, Look, REQUEST_METADATA, Room, Tight, function_from_proto, pack, reapi,
    v1,
};
use hands_reapi::{CachedResult, Invocation, Looked, ROOM_WITHIN};
use hands_types::limits::MAX_NAME;
use hands_types::text::{check_name, cut, said};
use hands_types::{Digest, OperationId};
use prost::Message;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tonic::{Request, Response, Status};

use crate::action::{self, Loaded};
use crate::core::{Event, Reply, Submission, SubmitError, Ticket, unix_millis};
use crate::db::{Done, Record, Write};
use crate::ended::Memory;
use crate::follow::{Asker, Inline, follow, once};
use crate::shared::Shared;

/// The service.
#[derive(Clone, Debug)]
pub(crate) struct ExecutionService(pub(crate) Arc<Shared>);

/// A stream of one operation's states.
pub(crate) type OperationStream = Pin<Box<dyn Stream<Item = Result<Operation, Status>> + Send>>;

/// Bytes of a status's details that go into a header.
const DETAILS: usize = 4 << 10;
/// Longest title that is kept, characters.
const TITLE: usize = 200;
/// Priorities that the capabilities announce.
const PRIORITY: i32 = 1000;

#[tonic::async_trait]
impl Execution for ExecutionService {
    type ExecuteStream = OperationStream;
    type WaitExecutionStream = OperationStream;

    async fn execute(
        &self,
        request: Request<reapi::ExecuteRequest>,
    ) -> Result<Response<OperationStream>, Status> {
        let caller = Caller::read(&request)?;
        hands_reapi::check_instance(&request.get_ref().instance_name)?;
        let asker = Asker::of(&request, Some(&caller.metadata));
        let invocation = Invocation::named(&caller.metadata.tool_invocation_id);
        let charge = Charge::of(&request);
        let mut request = hands_reapi::Apart::of(charge.as_ref(), request.into_inner());
        let digest = digest_of(&request)?;
        let inline = Inline::of(charge.as_ref(), &mut request);
        let hub = &self.0;
        let read = if digest.size > action::QUICK {
            let store = hub.store.clone();
            crate::task::blocking(move || action::read_action(&store, &digest)).await??
        } else {
            action::read_action(&hub.store, &digest)?
        };
        let may_be_cached = read.as_ref().is_none_or(|read| !read.message.do_not_cache);
        if may_be_cached
            && !request.skip_cache_lookup
            && let Looked { found: Some(result), look } =
                look_up(hub, &request.instance_name, &digest, &invocation, charge.as_ref()).await?
        {
            let (record, done) =
                answer_from_cache(hub, &request, digest, &caller, (result, look), charge.as_ref());
            let memory = Memory::Of(charge.as_ref());
            return once(hub, record, done, inline, memory).await.map(Response::new);
        }
        let Some(read) = read else { return Err(action::missing_blobs(&[digest])) };
        let is_long = action::is_long(&hub.trees, &read.message, &digest);
        // Until it is queued, where what is kept of a large Command counts for its client. Before anything of it is in memory, and
        // before a look: what waits for another one must not keep it from others.
        let _kept = match &charge {
            Some(charge) if is_long => {
                let bytes = action::memory_of_command(&read.message);
                let room = tokio::time::timeout(ROOM_WITHIN, charge.hold_later(bytes));
                Some(room.await.map_err(|_| Charge::crowded())??)
            }
            _ => None,
        };
        let Looked { found: loaded, .. } = if is_long {
            let (hub, metadata) = (Arc::clone(hub), caller.metadata.clone());
            let load = move |room: &mut Room| load(&hub, &metadata, &digest, &read, room);
            hands_reapi::looking(charge.as_ref(), 0, ROOM_WITHIN, load).await?
        } else {
            // Nothing of it is too much for any room.
            let loaded = load(hub, &caller.metadata, &digest, &read, &mut Room::new(usize::MAX));
            let too_large = |tight: Tight| Status::invalid_argument(tight.to_string());
            Looked { found: loaded.map_err(too_large)?, look: None }
        };
        let loaded = match loaded {
            Ok(loaded) => loaded,
            // All that is missing is named, for which a header has no room.
            Err(status) if status.details().len() > DETAILS => {
                return Ok(Response::new(failed(digest, &status)));
            }
            Err(status) => return Err(status),
        };
        self.submit(&request, digest, caller, loaded, asker, inline).await
    }

    async fn wait_execution(
        &self,
        request: Request<reapi::WaitExecutionRequest>,
    ) -> Result<Response<OperationStream>, Status> {
        let metadata: Option<reapi::RequestMetadata> = header(&request, REQUEST_METADATA)?;
        let asker = Asker::of(&request, metadata.as_ref());
        let id = operation_id(&request.get_ref().name)?;
        self.wait(id, asker).await.map(Response::new)
    }
}

impl ExecutionService {
    async fn submit(
        &self,
        request: &reapi::ExecuteRequest,
        digest: Digest,
        caller: Caller,
        (loaded, about): (Loaded, About),
        asker: Asker,
        inline: Inline,
    ) -> Result<Response<OperationStream>, Status> {
        let hub = &self.0;
        let platform = Bytes::from(loaded.platform.encode_to_vec());
        loop {
            let record = record_of(request, digest, &caller, &loaded, &about);
            let asked = Instant::now();
            if record.salted
                && let (Some((record, done)), look) =
                    self.earlier(&record, asker.charge.as_ref()).await?
            {
                let (record, memory) = (Arc::new(record), Memory::Paid(look));
                return once(hub, record, done, inline, memory).await.map(Response::new);
            }
            hub.accepts()?;
            let id = record.id;
            let (reply, answer) = oneshot::channel();
            let submission = Submission {
                skip_cache_lookup: request.skip_cache_lookup,
                asked,
                ..Submission::of(&loaded, record, platform.clone(), &asker, Reply::Stream(reply))
            };
            hub.core.send(Event::Submit(Box::new(submission))).await;
            match hub.durable(answer).await {
                Ok(Ok(ticket)) => {
                    return Ok(Response::new(follow(hub, ticket, asker, inline)));
                }
                Ok(Err(SubmitError::Again)) => {}
                Ok(Err(SubmitError::Refused(status))) => return Err(status),
                Err(status) => {
                    // Nobody has been told of it, and nobody will be.
                    hub.core.send(Event::Withdraw { id, status: status.clone() }).await;
                    return Err(status);
                }
            }
        }
    }

    /// The answer that this salted submission got before.
    async fn earlier(
        &self,
        record: &Record,
        charge: Option<&Arc<Charge>>,
    ) -> Result<(Option<(Record, Done)>, Option<Look>), Status> {
        let kept = i64::try_from(self.0.salted_result.as_millis()).unwrap_or(i64::MAX);
        let since = unix_millis().saturating_sub(kept);
        let instance = Arc::clone(&record.instance);
        let (stored, look) = self.0.retained(instance, record.digest, since, charge).await?;
        Ok((stored.and_then(|stored| Some((stored.record, stored.done?))), look))
    }

    /// The states of an operation from now on.
    pub(crate) async fn wait(
        &self,
        id: OperationId,
        asker: Asker,
    ) -> Result<OperationStream, Status> {
        let hub = &self.0;
        let charge = asker.charge.clone();
        match ticket(hub, id, asker.connection_id(), charge.as_ref()).await? {
            Found::Live(ticket) => Ok(follow(hub, ticket, asker, Inline::default())),
            Found::Ended(record, done, look) => {
                once(hub, record, done, Inline::default(), Memory::Paid(look)).await
            }
        }
    }
}

/// An operation that was looked up.
pub(crate) enum Found {
    Live(Ticket),
    /// With the memory that it takes, where that is much.
    Ended(Arc<Record>, Done, Option<Look>),
}

/// Looks an operation up and joins those who wait for it.
pub(crate) async fn ticket(
    hub: &Arc<Shared>,
    id: OperationId,
    connection: Option<ConnectionId>,
    charge: Option<&Arc<Charge>>,
) -> Result<Found, Status> {
    let (reply, answer) = oneshot::channel();
    hub.core.send(Event::Wait { id, connection, reply }).await;
    if let Some(ticket) = hub.durable(answer).await? {
        return Ok(Found::Live(ticket));
    }
    // It was forgotten only after its row was durable.
    let (stored, look) = hub.stored_answer(id, charge).await?;
    stored
        .and_then(|stored| Some(Found::Ended(Arc::new(stored.record), stored.done?, look)))
        .ok_or_else(|| Status::not_found(format!("no operation {id}")))
}

/// Who calls, and how.
#[derive(Debug)]
pub(crate) struct Caller {
    /// One for all actions of a session that say nothing else of themselves.
    pub(crate) metadata: Arc<reapi::RequestMetadata>,
    pub(crate) options: Option<v1::ExecuteOptions>,
}

impl Caller {
    pub(crate) fn read<T>(request: &Request<T>) -> Result<Self, Status> {
        let mut metadata: reapi::RequestMetadata =
            header(request, REQUEST_METADATA)?.unwrap_or_default();
        // It is kept with the operation, and shown in lists.
        let texts = [
            &mut metadata.action_id,
            &mut metadata.tool_invocation_id,
            &mut metadata.correlated_invocations_id,
            &mut metadata.action_mnemonic,
            &mut metadata.target_id,
            &mut metadata.configuration_id,
        ];
        let of_tool = metadata.tool_details.iter_mut();
        let of_tool = of_tool.flat_map(|tool| [&mut tool.tool_name, &mut tool.tool_version]);
        for text in texts.into_iter().chain(of_tool) {
            if let Cow::Owned(short) = cut(text, MAX_NAME) {
                *text = short;
            }
        }
        let options = header(request, EXECUTE_OPTIONS)?;
        check_options(options.as_ref())?;
        Ok(Self { metadata: Arc::new(metadata), options })
    }
}

/// Whether the texts of options are ones that may be kept. A title is cut where the operation gets it.
pub(crate) fn check_options(options: Option<&v1::ExecuteOptions>) -> Result<(), Status> {
    let Some(terminal) = options.and_then(|options| options.terminal.as_ref()) else {
        return Ok(());
    };
    check_name(&terminal.term)
        .map_err(|bad| Status::invalid_argument(format!("the kind of the terminal {bad}")))
}

/// The first of a command's arguments, more than a title has room for: there may be megabytes of them.
fn beginning(arguments: &[String]) -> String {
    let mut title = String::new();
    for argument in arguments {
        if !title.is_empty() {
            title.push(' ');
        }
        title.push_str(&cut(argument, 4 * TITLE));
        if title.len() > 4 * TITLE {
            break;
        }
    }
    title
}

/// An operation that ends as it begins, by a failure that is told inside of it.
fn failed(digest: Digest, status: &Status) -> OperationStream {
    let metadata = reapi::ExecuteOperationMetadata {
        stage: reapi::execution_stage::Value::Completed.into(),
        action_digest: Some(digest.into()),
        digest_function: reapi::digest_function::Value::from(digest.function).into(),
        ..Default::default()
    };
    let response = reapi::ExecuteResponse {
        status: Some(crate::status::to_rpc(status)),
        ..Default::default()
    };
    let operation = Operation {
        name: format!("operations/{}", crate::id::operation()),
        metadata: Some(pack(&metadata)),
        done: true,
        result: Some(operation::Result::Response(pack(&response))),
    };
    Box::pin(tokio_stream::once(Ok(operation)))
}

fn header<T, M: Message + Default>(
    request: &Request<T>,
    name: &'static str,
) -> Result<Option<M>, Status> {
    let Some(value) = request.metadata().get_bin(name) else { return Ok(None) };
    let bytes = value
        .to_bytes()
        .map_err(|_| Status::invalid_argument(format!("the header {name} is no base64")))?;
    M::decode(bytes)
        .map(Some)
        .map_err(|e| Status::invalid_argument(format!("the header {name} can't be read: {e}")))
}

fn digest_of(request: &reapi::ExecuteRequest) -> Result<Digest, Status> {
    let bad = |e: hands_proto::BadDigest| Status::invalid_argument(e.to_string());
    let function = function_from_proto(request.digest_function).map_err(bad)?;
    let digest = request
        .action_digest
        .as_ref()
        .ok_or_else(|| Status::invalid_argument("action_digest is not set"))?;
    digest.to_digest(function).map_err(bad)
}

/// Reads an operation's name as we give it, or a bare id.
pub(crate) fn operation_id(name: &str) -> Result<OperationId, Status> {
    let id = name.rsplit_once("operations/").map_or(name, |(_, id)| id);
    id.parse().map_err(|_| Status::not_found(format!("no operation {:?}", cut(name, MAX_NAME))))
}

/// What is said of a command in lists.
#[derive(Debug)]
pub(crate) struct About {
    /// For those whose client names no title.
    title: String,
    shape: i64,
}

/// All that is read of an action before it is queued. Blocks where [`action::is_long`] says so.
pub(crate) fn load(
    hub: &Shared,
    metadata: &reapi::RequestMetadata,
    digest: &Digest,
    read: &action::Read,
    room: &mut Room,
) -> Result<Result<(Loaded, About), Status>, Tight> {
    let loaded = action::load(&hub.store, &hub.trees, hub.max_timeout, digest, read, room)?;
    Ok(loaded.map(|loaded| {
        let title = beginning(&loaded.command.arguments);
        let shape = crate::history::shape(metadata, &loaded.command);
        (loaded, About { title, shape })
    }))
}

pub(crate) fn record_of(
    request: &reapi::ExecuteRequest,
    digest: Digest,
    caller: &Caller,
    loaded: &Loaded,
    about: &About,
) -> Record {
    let salted = loaded.action.do_not_cache && !loaded.action.salt.is_empty();
    let mut options = caller.options.clone().unwrap_or_default();
    // Kept once, and not longer than lists show it.
    let mut title = std::mem::take(&mut options.title);
    if title.is_empty() {
        title.clone_from(&about.title);
    }
    let title = title.chars().take(TITLE).collect::<String>().into();
    Record {
        id: crate::id::operation(),
        instance: request.instance_name.as_str().into(),
        digest,
        joinable: salted || !loaded.action.do_not_cache,
        cacheable: !loaded.action.do_not_cache,
        salted,
        ours: caller.options.is_some(),
        cached: false,
        priority: request
            .execution_policy
            .map_or(0, |policy| policy.priority)
            .clamp(-PRIORITY, PRIORITY),
        shape: about.shape,
        metadata: caller.metadata.clone(),
        options: Arc::new(options),
        title,
        created: unix_millis(),
    }
}

/// Asks the action cache, and counts.
async fn look_up(
    hub: &Shared,
    instance: &str,
    digest: &Digest,
    invocation: &Invocation,
    charge: Option<&Arc<Charge>>,
) -> Result<Looked<Option<reapi::ActionResult>>, Status> {
    let cached = CachedResult::find(&hub.store, instance, *digest).map_err(store_status)?;
    let Looked { found, mut look } = match cached {
        None => Looked { found: Ok(None), look: None },
        Some(cached) if cached.is_quick() => {
            // Nothing of it is too much for any room.
            let found = cached.read(&hub.store, invocation, &mut Room::new(usize::MAX));
            Looked { found: found.unwrap_or(Ok(None)), look: None }
        }
        Some(cached) => {
            let (store, invocation) = (hub.store.clone(), invocation.clone());
            let (expected, memory) = (cached.expected(), cached.memory());
            let read = move |room: &mut Room| cached.read(&store, &invocation, room);
            let mut looked = hands_reapi::looking(charge, expected, ROOM_WITHIN, read).await?;
            if let Some(look) = &mut looked.look {
                look.shrink(memory);
            }
            looked
        }
    };
    let found = found.map_err(store_status)?;
    // A client may have recorded a failure. Whoever asks for the action again means to have it run.
    let found = found.filter(|result| result.exit_code == 0);
    if found.is_none() {
        look = None;
    }
    let metrics = &hub.metrics;
    let counter = if found.is_some() { &metrics.cache_hits } else { &metrics.cache_misses };
    counter.fetch_add(1, Ordering::Relaxed);
    Ok(Looked { found, look })
}

/// An operation that ends as it begins. Its row may be lost in a crash: nothing hangs on it but a list.
fn answer_from_cache(
    hub: &Shared,
    request: &reapi::ExecuteRequest,
    digest: Digest,
    caller: &Caller,
    (result, look): (reapi::ActionResult, Option<Look>),
    charge: Option<&Arc<Charge>>,
) -> (Arc<Record>, Done) {
    let response = Arc::new(cached_response(result));
    // It takes memory until it is written, and counts for its client, who does not wait for that.
    let paid = (look, charge.cloned());
    let then: crate::db::Then = Box::new(move || drop(paid));
    record_answer(hub, &request.instance_name, digest, caller, response, then)
}

/// What is said of an action whose result the action cache has.
pub(crate) fn cached_response(result: reapi::ActionResult) -> reapi::ExecuteResponse {
    reapi::ExecuteResponse {
        result: Some(result),
        cached_result: true,
        status: Some(hands_proto::rpc::Status::default()),
        ..Default::default()
    }
}

/// Makes an operation of an answer of the action cache, and a row of that. `then`: when the row is written, or can't be.
pub(crate) fn record_answer(
    hub: &Shared,
    instance: &str,
    digest: Digest,
    caller: &Caller,
    response: Arc<reapi::ExecuteResponse>,
    then: crate::db::Then,
) -> (Arc<Record>, Done) {
    let mut options = caller.options.clone().unwrap_or_default();
    let title = std::mem::take(&mut options.title);
    let now = unix_millis();
    let record = Arc::new(Record {
        id: crate::id::operation(),
        instance: instance.into(),
        digest,
        joinable: false,
        cacheable: true,
        salted: false,
        ours: caller.options.is_some(),
        cached: true,
        priority: 0,
        shape: 0,
        metadata: caller.metadata.clone(),
        title: title.chars().take(TITLE).collect::<String>().into(),
        options: Arc::new(options),
        created: now,
    });
    let metadata = response.result.as_ref().and_then(|it| it.execution_metadata.as_ref());
    let worker = metadata.map(|metadata| metadata.worker.as_str()).unwrap_or_default();
    let done = Done {
        worker_name: said(worker, MAX_NAME).into(),
        response: Arc::clone(&response),
        finished: now,
        started: None,
        attempt: hands_types::Attempt(0),
        retained: false,
    };
    hub.ledger.ended(&record, &done);
    if hub.accepts().is_err() {
        // Rows that can't be written would fill the memory instead.
        then();
        return (record, done);
    }
    let write = Write::Answered { record: Arc::clone(&record), done: done.clone() };
    hub.db.submit(crate::db::Commit {
        writes: vec![write],
        then: vec![then],
        ..Default::default()
    });
    (record, done)
}

pub(crate) fn store_status(error: hands_store::StoreError) -> Status {
    hands_reapi::store_status(&error)
}

/// Leaves the operation when it is dropped, and says whether the client left or was lost.
pub(crate) struct Waiter {
    pub(crate) id: OperationId,
    pub(crate) waiter: u64,
    pub(crate) hub: Arc<Shared>,
    pub(crate) connection: Option<ConnectionInfo>,
    /// It asks now and then, so that its end says nothing.
    pub(crate) polls: bool,
}

/// A connection's end may trail the end of its streams; a waiter asks no longer than this.
pub(crate) const LOST_WITHIN: Duration = Duration::from_millis(200);

impl Drop for Waiter {
    fn drop(&mut self) {
        if self.waiter == 0 {
            return;
        }
        let (id, waiter, core) = (self.id, self.waiter, self.hub.core.clone());
        if self.polls {
            return core.send_now(Event::Gone { id, waiter, end: StreamEnd::Lost });
        }
        let Some(connection) = self.connection.take() else {
            return core.send_now(Event::Gone { id, waiter, end: StreamEnd::Cancelled });
        };
        if connection.is_lost() {
            return core.send_now(Event::Gone { id, waiter, end: StreamEnd::Lost });
        }
        if tokio::runtime::Handle::try_current().is_err() {
            // The runtime itself ends, and the hub with it.
            return;
        }
        crate::task::spawn("waiter-gone", async move {
            let end = tokio::time::timeout(LOST_WITHIN, connection.stream_end())
                .await
                .unwrap_or(StreamEnd::Cancelled);
            core.send_now(Event::Gone { id, waiter, end });
        });
    }
}
