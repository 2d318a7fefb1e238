//! `hands.v1.Jobs`: what people ask about actions and workers, and the way into a running action.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hands_proto::v1::jobs_server::Jobs;
use hands_proto::{Charge, unpack, v1};
use hands_reapi::ROOM_WITHIN;
use hands_sched::Needs;
use hands_types::id::ID_LENGTH;
use hands_types::limits::{MAX_NAME, MAX_SAID};
use hands_types::text::cut;
use hands_types::{OperationId, Platform, SessionId};
use tokio::time::{Instant, timeout_at};
use tokio_stream::StreamExt as _;
use tonic::{Request, Response, Status, Streaming};

use crate::check::words::usage;
use crate::core::{
    Core, Event, InputRoute, Jobs as FoundJobs, SUMMED, Sender, Summary, unix_millis,
};
use crate::db::{Done, Record, Stored};
use crate::feed;
use crate::operations::Filter;
use crate::pages::{PAGE_BYTES, Page, with_ended};
use crate::shared::Shared;
use crate::time::timestamp;

/// The service.
#[derive(Clone, Debug)]
pub(crate) struct JobsService(pub(crate) Arc<Shared>);

/// What a list has where its request names no limit, and most that it ever has.
const LIST: usize = 100;
const LIST_MAX: usize = 10_000;
/// Rows of each list of an overview where its request names no number.
const OVERVIEW: usize = 50;
/// Shortest prefix of an id that is looked up.
const PREFIX: usize = 4;
/// Ids that are named when a prefix fits several.
const NAMED: usize = 8;
/// Host roots that are told.
const ROOTS: usize = 64;
/// Longest time that a worker is waited for.
const INFO_WAIT: Duration = Duration::from_secs(30);
/// Largest piece of input that is passed on as one message.
pub(crate) const INPUT_PIECE: usize = 64 << 10;

#[tonic::async_trait]
impl Jobs for JobsService {
    async fn info(
        &self,
        request: Request<v1::InfoRequest>,
    ) -> Result<Response<v1::InfoReply>, Status> {
        let hub = &self.0;
        let request = request.into_inner();
        let until = Instant::now() + Duration::from_millis(request.wait_ms.into()).min(INFO_WAIT);
        let asked = request.platform.into_iter().map(|p| (p.name, p.value)).collect();
        let needs = Needs::from_platform(&Platform::new(asked))
            .map_err(|e| Status::invalid_argument(e.to_string()))?;
        let needs = Arc::new(needs);
        let mut openings = hub.core.openings();
        loop {
            openings.mark_unchanged();
            let facts = facts(hub, &needs).await?;
            // An error says that the hub ends, and then the next question does.
            let comes = timeout_at(until, openings.changed());
            if !facts.1.is_empty() || comes.await.is_err() {
                return Ok(Response::new(info(hub, facts)));
            }
        }
    }

    async fn list(
        &self,
        request: Request<v1::ListRequest>,
    ) -> Result<Response<v1::ListReply>, Status> {
        let request = request.into_inner();
        let limit = match request.limit {
            0 => LIST,
            n => usize::try_from(n).unwrap_or(LIST_MAX).min(LIST_MAX),
        };
        // A page's token is the last id that was given; newest first.
        let before = match request.page_token.as_str() {
            "" => u128::MAX,
            token => {
                let id = token.parse::<OperationId>();
                id.map_err(|_| Status::invalid_argument("page_token is not ours"))?.0
            }
        };
        let invocation = Some(request.invocation).filter(|invocation| !invocation.is_empty());
        let wanted = Filter { invocation, ..Filter::default() };
        let filter = wanted.clone();
        // One row more than a page shows whether another page follows.
        let jobs =
            FoundJobs { filter: wanted, limit: limit + 1, bytes: PAGE_BYTES, found: Vec::new() };
        let active = self.0.walk(before, jobs).await?.found;
        let page = if request.active_only {
            Page::of(active, limit, PAGE_BYTES)
        } else {
            // What the core gives has ids that can be read.
            let active = active.into_iter().filter_map(|job| Some((job.id.parse().ok()?, job)));
            let (hub, active) = (Arc::clone(&self.0), active.collect());
            let (page, _last) = crate::task::listing(move |given_up| {
                let page = Page::new(limit, PAGE_BYTES);
                let row_of = |it: &Stored| Some(job_of(&it.record, it.done.as_ref()));
                with_ended(&hub.db, active, before, &filter, given_up, page, row_of)
            })
            .await?
            .map_err(|e| crate::shared::table_status(&e))?;
            page
        };
        let next_page_token = match page.rows.last() {
            Some(last) if page.is_cut => last.id.clone(),
            _ => String::new(),
        };
        Ok(Response::new(v1::ListReply { jobs: page.rows, next_page_token }))
    }

    async fn get(&self, request: Request<v1::GetRequest>) -> Result<Response<v1::Job>, Status> {
        let charge = Charge::of(&request);
        let id = find(&self.0, &request.into_inner().id).await?;
        if let Some(job) = self.0.ask(move |core| core.job(id)).await? {
            return Ok(Response::new(job));
        }
        let (stored, _look) = self.0.stored(id, charge.as_ref()).await?;
        match stored {
            Some(stored) => Ok(Response::new(job_of(&stored.record, stored.done.as_ref()))),
            None => Err(Status::not_found(format!("no action {id}"))),
        }
    }

    async fn list_workers(
        &self,
        request: Request<v1::ListWorkersRequest>,
    ) -> Result<Response<v1::ListWorkersReply>, Status> {
        let token = request.into_inner().page_token;
        let page = self.0.ask(move |core| core.workers(&token, PAGE_BYTES)).await?;
        let next_page_token = match page.rows.last() {
            Some(last) if page.is_cut => worker_token(&last.name, &last.worker_id),
            _ => String::new(),
        };
        Ok(Response::new(v1::ListWorkersReply { workers: page.rows, next_page_token }))
    }

    async fn overview(
        &self,
        request: Request<v1::OverviewRequest>,
    ) -> Result<Response<v1::OverviewReply>, Status> {
        let hub = &self.0;
        let charge = Charge::of(&request);
        let rows = match request.into_inner().rows {
            0 => OVERVIEW,
            n => usize::try_from(n).unwrap_or(LIST_MAX).min(LIST_MAX),
        };
        let asked = hub.ask(move |core| {
            let workers = core.workers("", PAGE_BYTES / 2);
            (workers, core.slots())
        });
        let (workers, (slots, busy)) = asked.await?;
        let facts = facts(hub, &Arc::default()).await?;
        let (queued, leased, _) = facts.2;
        let memory = (queued + leased).saturating_mul(SUMMED);
        // First its client's own place: nobody waits for that who holds what all wait for.
        let place = Charge::place().await;
        let _look = hands_reapi::look(charge.as_ref(), memory, ROOM_WITHIN).await?;
        let mut summary = hub.walk(u128::MAX, Summary::new(rows)).await?;
        let job = |core: &Core, id: &OperationId| core.job(*id);
        let running = hub.ask_each(summary.running(), job).await?;
        let queued = hub.ask_each(summary.queued(), job).await?;
        let part = PAGE_BYTES / 8;
        let ended = hub.ledger.invocations();
        let invocations = crate::task::at(place, move || summary.invocations(ended)).await?;
        Ok(Response::new(v1::OverviewReply {
            info: Some(info(hub, facts)),
            workers: workers.rows,
            invocations: Page::of(invocations, rows, part).rows,
            running: Page::of(running, rows, part).rows,
            queued: Page::of(queued, rows, part).rows,
            failures: Page::of(hub.ledger.failures(rows), rows, part).rows,
            now: Some(timestamp(unix_millis())),
            slots,
            busy,
        }))
    }

    async fn attach(
        &self,
        request: Request<Streaming<v1::AttachMessage>>,
    ) -> Result<Response<v1::AttachReply>, Status> {
        let mut messages = request.into_inner();
        let first = messages.message().await?.and_then(|message| message.kind);
        let Some(v1::attach_message::Kind::Operation(name)) = first else {
            return Err(Status::invalid_argument("the first message must name the operation"));
        };
        let id = find(&self.0, name.strip_prefix("operations/").unwrap_or(&name)).await?;
        let Some(mut routes) = self.0.ask(move |core| core.input_of(id)).await? else {
            return Err(Status::failed_precondition(format!(
                "the action {id} has ended, or was submitted without standard input and terminal"
            )));
        };
        loop {
            tokio::select! {
                message = messages.next() => match message {
                    None => {
                        // No more input; the reply still waits for the action's end.
                        while routes.changed().await.is_ok() {}
                        break;
                    }
                    Some(message) => {
                        let Some(kind) = message?.kind else { continue };
                        if !pass_on(&mut routes, kind).await? {
                            break;
                        }
                    }
                },
                changed = routes.changed() => if changed.is_err() {
                    break;
                },
            }
        }
        Ok(Response::new(v1::AttachReply {}))
    }

    type FeedStream = feed::Replies;

    async fn feed(
        &self,
        request: Request<Streaming<v1::FeedMessage>>,
    ) -> Result<Response<feed::Replies>, Status> {
        feed::feed(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn close_output(
        &self,
        request: Request<v1::CloseOutputRequest>,
    ) -> Result<Response<v1::CloseOutputReply>, Status> {
        let request = request.into_inner();
        let id = find(&self.0, &request.operation).await?;
        let Some(route) = self.0.ask(move |core| core.sole_reader_of(id)).await? else {
            return Err(Status::failed_precondition(format!(
                "the action {id} does not run, or others may want what it writes"
            )));
        };
        let closed = [
            request.stdout.then_some(v1::input::Kind::StdoutClosed(true)),
            request.stderr.then_some(v1::input::Kind::StderrClosed(true)),
        ];
        for kind in closed.into_iter().flatten() {
            send(&route, kind).await;
        }
        Ok(Response::new(v1::CloseOutputReply {}))
    }

    async fn drain_worker(
        &self,
        request: Request<v1::DrainWorkerRequest>,
    ) -> Result<Response<v1::DrainWorkerReply>, Status> {
        let worker = request.into_inner().worker;
        let (reply, answer) = tokio::sync::oneshot::channel();
        self.0.core.send(Event::Drain { worker: worker.clone(), reply }).await;
        let worker = cut(&worker, MAX_NAME);
        match answer.await.map_err(|_| crate::shared::ended())? {
            1 => Ok(Response::new(v1::DrainWorkerReply {})),
            0 => Err(Status::not_found(format!("no connected worker is called {worker:?}"))),
            n => Err(Status::invalid_argument(format!(
                "{n} workers fit {worker:?}: name one by its id"
            ))),
        }
    }
}

/// The token of the page behind a worker.
pub(crate) fn worker_token(name: &str, id: &str) -> String {
    format!("{name}/{id}")
}

/// Workers, host roots of those that could take an action with these needs, and actions queued, running and kept.
type Facts = (usize, Vec<String>, (usize, usize, usize));

/// In steps of the core: there may be thousands of workers.
async fn facts(hub: &Shared, needs: &Arc<Needs>) -> Result<Facts, Status> {
    let counts = |core: &Core| (core.n_workers(), core.session_ids(), core.counts());
    let (workers, sessions, counts) = hub.ask(counts).await?;
    let asked = sessions.into_iter().map(|id| (id, Arc::clone(needs))).collect();
    let root = |core: &Core, (id, needs): &(SessionId, Arc<Needs>)| core.host_roots(*id, needs);
    let roots = hub.ask_each(asked, root).await?;
    Ok((workers, most_offered(roots.into_iter().flatten()), counts))
}

/// Each once, the most offered first.
fn most_offered(roots: impl Iterator<Item = String>) -> Vec<String> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for root in roots {
        *counts.entry(root).or_default() += 1;
    }
    let mut roots: Vec<_> = counts.into_iter().collect();
    roots.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
    roots.into_iter().take(ROOTS).map(|(root, _)| root).collect()
}

/// A hub in figures.
fn info(hub: &Shared, facts: Facts) -> v1::InfoReply {
    let (workers, host_roots, (queued, running, _)) = facts;
    let usage = hub.store.usage();
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    v1::InfoReply {
        protocol: Some(hub.protocol.clone()),
        hub_id: hub.hub_id.clone(),
        started: Some(timestamp(hub.started)),
        workers: count(workers),
        host_roots,
        store_bytes: usage.total(),
        store_quota: usage.quota,
        queued: count(queued),
        running: count(running),
    }
}

/// Waits until the action runs and passes a piece of input on. False once the action has ended.
async fn pass_on(
    routes: &mut tokio::sync::watch::Receiver<Option<InputRoute>>,
    kind: v1::attach_message::Kind,
) -> Result<bool, Status> {
    let route = match routes.wait_for(Option::is_some).await {
        Ok(route) => route.clone(),
        Err(_) => return Ok(false),
    };
    let Some(route) = route else { return Ok(false) };
    let pieces = match kind {
        v1::attach_message::Kind::Operation(_) => return Ok(true),
        v1::attach_message::Kind::Data(mut data) => {
            let mut pieces = Vec::new();
            while !data.is_empty() {
                pieces.push(v1::input::Kind::Data(data.split_to(data.len().min(INPUT_PIECE))));
            }
            pieces
        }
        v1::attach_message::Kind::Eof(eof) => vec![v1::input::Kind::Eof(eof)],
        v1::attach_message::Kind::Resize(size) => vec![v1::input::Kind::Resize(size)],
        v1::attach_message::Kind::Signal(signal) => vec![v1::input::Kind::Signal(signal)],
    };
    for piece in pieces {
        let is_input = matches!(piece, v1::input::Kind::Data(_) | v1::input::Kind::Eof(_));
        if is_input && matches!(route.sent.handed().by, Sender::Repeats(_)) {
            return Err(feed::somebody_else());
        }
        if !send(&route, piece).await {
            break;
        }
    }
    Ok(true)
}

/// Says something to a running attempt. A worker that is gone takes it along; the action is lost, or comes back with the
/// worker, which finds that a piece is missing.
async fn send(route: &InputRoute, kind: v1::input::Kind) -> bool {
    // Not counted before there is room for it: whoever waits here may hang up, and the worker misses no piece for that. What
    // finds the worker gone is counted, so that the worker misses it if it comes back.
    let place = route.out.reserve().await;
    let mut handed = route.sent.handed();
    let offset = match &kind {
        v1::input::Kind::Data(data) => {
            route.sent.any.store(true, Ordering::SeqCst);
            handed.by = Sender::Once;
            let offset = handed.bytes;
            handed.bytes += data.len() as u64;
            offset
        }
        v1::input::Kind::Eof(_) => {
            route.sent.any.store(true, Ordering::SeqCst);
            handed.by = Sender::Once;
            handed.ended = true;
            handed.bytes
        }
        v1::input::Kind::Resize(_)
        | v1::input::Kind::Signal(_)
        | v1::input::Kind::StdoutClosed(_)
        | v1::input::Kind::StderrClosed(_) => 0,
    };
    let Ok(place) = place else { return false };
    let input = v1::Input { id: Some(route.id.clone()), offset, kind: Some(kind) };
    place.send(v1::HubMessage { kind: Some(v1::hub_message::Kind::Input(input)) });
    true
}

/// An id, or the one that a prefix fits.
pub(crate) async fn find(hub: &Arc<Shared>, text: &str) -> Result<OperationId, Status> {
    if text.len() > ID_LENGTH {
        return Err(Status::invalid_argument(format!(
            "{:?} is no id of an action: it is too long",
            cut(text, ID_LENGTH)
        )));
    }
    let text = text.to_ascii_lowercase();
    if let Ok(id) = text.parse() {
        return Ok(id);
    }
    if text.len() < PREFIX {
        return Err(Status::invalid_argument(format!(
            "{text:?} is too short: give at least {PREFIX} characters"
        )));
    }
    let range = || -> Option<(u128, u128)> {
        let fill = ID_LENGTH.checked_sub(text.len())?;
        let low: OperationId = format!("{text}{}", "0".repeat(fill)).parse().ok()?;
        let high: OperationId = format!("{text}{}", "z".repeat(fill)).parse().ok()?;
        Some((low.0, high.0))
    };
    let Some((low, high)) = range() else {
        return Err(Status::invalid_argument(format!("{text:?} is no id of an action")));
    };
    let hub = Arc::clone(hub);
    let found = crate::task::blocking(move || hub.db.ids(low, high, NAMED + 1))
        .await?
        .map_err(|e| crate::shared::table_status(&e))?;
    match found[..] {
        [] => Err(Status::not_found(format!("no action's id begins with {text:?}"))),
        [id] => Ok(id),
        _ => {
            let ids: Vec<String> = found.iter().take(NAMED).map(ToString::to_string).collect();
            let more = if found.len() > NAMED { " and more" } else { "" };
            Err(Status::invalid_argument(format!(
                "{text:?} fits several actions: {}{more}",
                ids.join(", ")
            )))
        }
    }
}

/// What lists show of one operation.
pub(crate) fn job_of(record: &Record, done: Option<&Done>) -> v1::Job {
    let metadata = &record.metadata;
    let tool = metadata.tool_details.clone().unwrap_or_default();
    let name = |text: &str| cut(text, MAX_NAME).into_owned();
    let mut job = v1::Job {
        id: record.id.to_string(),
        instance_name: name(&record.instance),
        action_digest: record.digest.to_string(),
        title: cut(&record.title, MAX_SAID).into_owned(),
        state: v1::JobState::Queued.into(),
        created: Some(timestamp(record.created)),
        invocation: name(&metadata.tool_invocation_id),
        tool: name(&tool.tool_name),
        mnemonic: name(&metadata.action_mnemonic),
        target: name(&metadata.target_id),
        detached: record.options.detach,
        cached: record.cached,
        priority: record.priority,
        has_terminal: record.options.terminal.is_some(),
        ..Default::default()
    };
    if let Some(done) = done {
        let result = done.response.result.as_ref();
        job.state = v1::JobState::Done.into();
        job.worker = name(&done.worker_name);
        job.attempt = done.attempt.0;
        job.started = done.started.map(timestamp);
        job.finished = Some(timestamp(done.finished));
        job.exit_code = result.map_or(0, |result| result.exit_code);
        job.status = done.response.status.as_ref().map(|status| hands_proto::rpc::Status {
            code: status.code,
            message: cut(&status.message, MAX_SAID).into_owned(),
            // They are for whoever submitted it.
            details: Vec::new(),
        });
        let message = &done.response.message;
        // Who reads this is there already.
        let message = message.strip_suffix(&crate::core::see_more(record.id)).unwrap_or(message);
        job.message = cut(message.trim_end(), MAX_SAID).into_owned();
        let metadata = result.and_then(|result| result.execution_metadata.as_ref());
        let beside = metadata.map_or(&[][..], |metadata| &metadata.auxiliary_metadata);
        // A client may have recorded the result.
        job.usage = beside.iter().find_map(usage);
        if !record.cached {
            let said = done.response.status.as_ref().map_or(&[][..], |status| &status.details);
            let mut told = if result.is_some() { beside } else { said }.iter();
            let lost = told.find_map(|any| unpack::<v1::LostAttempts>(any).ok());
            job.lost = lost.unwrap_or_default().lost;
        }
    }
    job
}

#[cfg(test)]
mod tests;
