//! One action, followed to its end.
//!
//! A [`Job`] hears what happens to its action (over a session on our hub, over a stream of its own elsewhere), and owns two
//! log streams where its output is wanted live. All that it does itself happens inside [`Job::next`], so a caller that does
//! not ask holds the streams back. Dropping it drops the streams, by which the hub cancels the action unless others wait for
//! it or it was submitted with `detach`.

#[cfg(test)]
mod again_tests;
mod logs;
mod shown;
#[cfg(test)]
mod stream_tests;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use hands_types::Digest;

use crate::cluster::ClusterKind;
use crate::execution::Execution;
use crate::session::{Alone, Heard};
use crate::{ClientError, Cluster, Event, JobResult, JobSpec, JobStream, Logs};
use shown::Shown;

/// One submitted action.
#[derive(Debug)]
pub struct Job {
    cluster: Cluster,
    source: Source,
    action: Option<Digest>,
    note: Option<&'static str>,
    shown: Shown,
    queue: VecDeque<Event>,
    result: Option<Box<JobResult>>,
    is_announced: bool,
    /// The attempt that was told to run last.
    started: Option<u32>,
    ended: bool,
}

/// From where it is heard what happens to it.
#[derive(Debug)]
enum Source {
    Session(Box<Alone>),
    Stream(Box<Execution>),
}

impl Cluster {
    /// Submits an action. The input root must be in the store. What the action can see of a worker's own files becomes part of
    /// its key first, where its result may be recorded ([`Cluster::name_host_root`]). On a hub of ours the action is on its way
    /// when this returns; what the hub says of it, a refusal too, comes by [`Job::next`].
    pub async fn submit(&self, mut spec: JobSpec) -> Result<Job, ClientError> {
        let logs = spec.logs;
        if self.kind() == ClusterKind::Engine {
            let execution = Execution::submit(self, spec).await?;
            return Ok(Job::new(self, Source::Stream(Box::new(execution)), logs));
        }
        let note = self.name_host_root(&mut spec).await?;
        spec.times &= self.keeps_times();
        let encoded = spec.encode(self.function())?;
        let action = Some(encoded.action);
        let alone = Alone::submit(self, spec, encoded).await?;
        let job = Job::new(self, Source::Session(Box::new(alone)), logs);
        Ok(Job { note, action, ..job })
    }

    /// Follows an action that was submitted before: by its whole id, or a unique prefix. Its result is there for an
    /// hour at least, cached ones and detached ones longer. With `Logs::Live` its output comes from the beginning.
    pub async fn follow(&self, id: &str, logs: Logs) -> Result<Job, ClientError> {
        let id = match self.kind() {
            ClusterKind::Engine => id.to_owned(),
            ClusterKind::Agent | ClusterKind::Hub => self.get(id).await?.id,
        };
        let execution = Execution::follow(self, id).await?;
        Ok(Job::new(self, Source::Stream(Box::new(execution)), logs))
    }
}

impl Job {
    fn new(cluster: &Cluster, source: Source, logs: Logs) -> Self {
        Self {
            cluster: cluster.clone(),
            source,
            action: None,
            note: None,
            shown: Shown::new(cluster, logs),
            queue: VecDeque::new(),
            result: None,
            is_announced: false,
            started: None,
            ended: false,
        }
    }

    /// The operation's id; empty before [`Event::Queued`] of a new submission.
    pub fn id(&self) -> &str {
        self.source.id()
    }

    /// What its user should know about the way it was submitted: a sentence.
    pub fn note(&self) -> Option<&'static str> {
        self.note
    }

    /// The action's digest, where it is known.
    pub fn action(&self) -> Option<Digest> {
        match &self.source {
            Source::Session(_) => self.action,
            Source::Stream(stream) => stream.action(),
        }
    }

    /// The next event; none after [`Event::Done`] or an error. A lost connection is waited out inside. May be dropped
    /// while it waits (as one branch of a `select!`) without losing anything.
    pub async fn next(&mut self) -> Result<Option<Event>, ClientError> {
        if self.ended {
            return Ok(None);
        }
        match self.step().await {
            Ok(event) => {
                self.ended = matches!(event, Event::Done(_));
                Ok(Some(event))
            }
            Err(error) => {
                self.ended = true;
                Err(error)
            }
        }
    }

    /// Has a stream begin anew when another attempt writes it: its bytes go where that can be seen, to a terminal or with the
    /// attempt's number beside them. Any other stream goes on only where the next attempt has written the same so far, and
    /// ends with [`ClientError::OtherOutput`] else.
    pub const fn restart(&mut self, stream: JobStream) {
        self.shown.log(stream).restart();
    }

    /// Waits for the end; what comes before is dropped.
    pub async fn wait(self) -> Result<JobResult, ClientError> {
        self.wait_telling(|_| {}).await
    }

    /// Waits for the end; what comes before is handed to somebody.
    pub async fn wait_telling(
        mut self,
        mut told: impl FnMut(&Event),
    ) -> Result<JobResult, ClientError> {
        loop {
            match self.next().await? {
                Some(Event::Done(result)) => return Ok(*result),
                Some(event) => told(&event),
                None => return Err(self.broken("the operation has ended without a result")),
            }
        }
    }

    /// Waits until the hub has the action and returns its id: what `--detach` needs before it lets go.
    pub async fn accepted(&mut self) -> Result<String, ClientError> {
        while !self.is_announced {
            if self.result.is_some() {
                return Err(self.broken("the action has ended and has no name"));
            }
            self.hear().await?;
        }
        Ok(self.id().to_owned())
    }

    /// Asks the hub to end the action at once. Its end comes as an event all the same.
    pub async fn cancel(&self) -> Result<(), ClientError> {
        if self.id().is_empty() {
            // Not accepted yet: dropping the job is what ends it.
            return Ok(());
        }
        self.cluster.cancel_exactly(self.id()).await
    }

    /// Gives the action up, whether or not the hub has said that it has it. Nothing is heard of it from then on. True once the
    /// hub has said that it has ended, unless others wait for it.
    pub async fn give_up(&self) -> bool {
        match &self.source {
            Source::Session(alone) => alone.give_up().await,
            Source::Stream(_) => false,
        }
    }

    /// Whether the action has ended: what comes from here on is what it wrote before.
    pub fn has_result(&self) -> bool {
        self.result.is_some() || self.ended
    }

    /// Tells the running action that nobody reads this stream any more: its next write there meets SIGPIPE. False where that
    /// can't be told: it does not run, it is cacheable or detached, others wait for it too, or its engine has no such call.
    pub async fn close_output(&self, stream: JobStream) -> bool {
        if self.id().is_empty() || self.cluster.kind() == ClusterKind::Engine {
            return false;
        }
        match self.cluster.close_output(self.id(), stream).await {
            Ok(()) => true,
            Err(error) => {
                tracing::debug!(%error, "a stream can't be closed");
                false
            }
        }
    }

    async fn step(&mut self) -> Result<Event, ClientError> {
        loop {
            if let Some(result) = &self.result {
                self.queue.extend(self.shown.settle(&self.cluster, result)?);
            }
            if let Some(event) = self.queue.pop_front() {
                return Ok(event);
            }
            if self.shown.is_settled()
                && let Some(result) = self.result.take()
            {
                return Ok(Event::Done(result));
            }
            let is_done = self.result.is_some();
            tokio::select! {
                biased;
                (stream, output) = self.shown.next(&self.cluster) => self.output(stream, output)?,
                heard = self.source.next(), if !is_done => self.receive(heard?),
            }
        }
    }

    fn output(
        &mut self,
        stream: JobStream,
        output: Result<Option<Event>, ClientError>,
    ) -> Result<(), ClientError> {
        match (output, &mut self.result) {
            (Ok(output), _) => self.queue.extend(output),
            (Err(error @ ClientError::OtherOutput { .. }), _) | (Err(error), None) => {
                return Err(error);
            }
            // It has been run, and what else it made is there.
            (Err(error), Some(result)) => {
                self.shown.log(stream).give_up();
                let name = crate::error::name_of(stream);
                result.unread.get_or_insert(format!("its {name} can't be had: {error}"));
            }
        }
        Ok(())
    }

    async fn hear(&mut self) -> Result<(), ClientError> {
        let heard = self.source.next().await?;
        self.receive(heard);
        Ok(())
    }

    fn receive(&mut self, heard: Heard) {
        let event = match heard {
            Heard::Event(event) => event,
            Heard::Unserved(stream) => {
                self.source = Source::Stream(stream);
                return;
            }
        };
        let cluster = &self.cluster;
        match event {
            Event::Queued { id } => self.announce(id),
            Event::Started { worker, attempt } => {
                let names = self.source.streams(attempt);
                self.queue.extend(self.shown.starts(cluster, attempt, &worker, names));
                // It is said again where a stream may have to be opened again.
                if self.started.replace(attempt) != Some(attempt) {
                    self.queue.push_back(Event::Started { worker, attempt });
                }
            }
            Event::Again { lost, attempt, worker, .. } => {
                self.started = None;
                self.queue.push_back(self.shown.again(lost, attempt, worker));
            }
            Event::Done(mut result) => {
                let attempt = result.attempt;
                if result.result.is_some() {
                    self.queue.extend(self.shown.ends(attempt, &result.worker()));
                } else if cluster.kind() != ClusterKind::Engine && attempt > 0 {
                    self.shown.leaves(cluster, attempt, &self.source.streams(attempt));
                }
                result.action = result.action.or(self.action);
                if !self.is_announced && !result.id.is_empty() {
                    self.announce(result.id.clone());
                }
                self.result = Some(result);
            }
            event @ (Event::Waiting { .. } | Event::Lost { .. } | Event::Output { .. }) => {
                self.queue.push_back(event);
            }
        }
    }

    fn announce(&mut self, id: String) {
        self.is_announced = true;
        self.queue.push_back(Event::Queued { id });
    }

    fn broken(&self, why: &str) -> ClientError {
        ClientError::Protocol { peer: self.cluster.peer().to_owned(), why: why.to_owned() }
    }
}

impl Source {
    fn id(&self) -> &str {
        match self {
            Self::Session(alone) => alone.id(),
            Self::Stream(stream) => stream.id(),
        }
    }

    /// Names of the streams of the attempt that was told last.
    fn streams(&self, attempt: u32) -> [String; 2] {
        match self {
            Self::Session(alone) => alone.streams(attempt),
            Self::Stream(stream) => stream.streams(),
        }
    }

    async fn next(&mut self) -> Result<Heard, ClientError> {
        match self {
            Self::Session(alone) => alone.next().await,
            Self::Stream(stream) => stream.next().await.map(Heard::Event),
        }
    }
}
