//! One action over a session of its own: what `hands run` submits. It is sent along with the session's opening, so that it
//! costs one round trip, and is begun anew where the hub has forgotten it and that may be.

use std::collections::VecDeque;
use std::time::SystemTime;

use hands_reapi::LogName;
use hands_types::retry::Reruns;

use super::shared::Service;
use super::{ActionId, Session};
use crate::execution::Execution;
use crate::{ClientError, Cluster, EncodedJob, Event, JobResult, JobSpec, LostAttempt};

/// A submitted action, and what it takes to submit it again. Dropped, it is given up, unless it is detached or others wait
/// for it.
#[derive(Debug)]
pub(crate) struct Alone {
    session: Session,
    spec: JobSpec,
    encoded: EncodedJob,
    asked: SystemTime,
    /// Its number; none where it is to be submitted.
    number: Option<ActionId>,
    /// Whether the hub is known to have sessions.
    is_served: bool,
    /// The operation's id; empty before the hub has it.
    id: String,
    /// The attempt that was told to run last.
    begun: Option<u32>,
    /// The one that had begun when the hub forgot the action, which is not told yet.
    forgotten: Option<u32>,
    /// How often it may be begun anew.
    reruns: Reruns,
    sent_again: bool,
    queue: VecDeque<Event>,
}

/// What is heard of it.
#[derive(Debug)]
pub(crate) enum Heard {
    Event(Event),
    /// The hub has no sessions: this is the other way.
    Unserved(Box<Execution>),
}

impl Alone {
    pub(crate) async fn submit(
        cluster: &Cluster,
        mut spec: JobSpec,
        encoded: EncodedJob,
    ) -> Result<Self, ClientError> {
        spec.follow = true;
        let session = Session::begin(cluster, true)?;
        let mut this = Self {
            session,
            reruns: spec.budget(),
            spec,
            encoded,
            asked: SystemTime::now(),
            number: None,
            is_served: false,
            id: String::new(),
            begun: None,
            forgotten: None,
            sent_again: false,
            queue: VecDeque::new(),
        };
        this.number = Some(this.send().await?);
        Ok(this)
    }

    async fn send(&self) -> Result<ActionId, ClientError> {
        self.session.submit_encoded(&self.spec, self.encoded.clone(), true).await
    }

    /// The operation's id, once it is known.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Gives it up. True once the hub has said so.
    pub(crate) async fn give_up(&self) -> bool {
        self.session.cancel_all().await.is_ok()
    }

    /// Names of standard output and error of an attempt; empty where there is no such stream.
    pub(crate) fn streams(&self, attempt: u32) -> [String; 2] {
        let has_stderr = self.spec.terminal.is_none();
        [(false, true), (true, has_stderr)].map(|(stderr, is_there)| {
            if !is_there || self.id.is_empty() {
                return String::new();
            }
            let name = LogName {
                instance: self.session.cluster.instance().to_owned(),
                operation: self.id.clone(),
                attempt: (attempt > 0).then_some(attempt),
                stderr,
            };
            name.to_string()
        })
    }

    /// The next event; it waits for ever after [`Event::Done`]. Dropped while it waits, it loses nothing.
    pub(crate) async fn next(&mut self) -> Result<Heard, ClientError> {
        loop {
            if let Some(event) = self.queue.pop_front() {
                return Ok(Heard::Event(event));
            }
            let Some(number) = self.number else {
                self.number = Some(self.send().await?);
                continue;
            };
            let (of, event) = tokio::select! {
                biased;
                event = self.session.next_event() => event,
                service = self.session.shared.service(), if !self.is_served => match service {
                    Service::Unserved => {
                        let (cluster, spec) = (&self.session.cluster, self.spec.clone());
                        let execution = Execution::begin(cluster, spec, self.encoded.clone());
                        return Ok(Heard::Unserved(Box::new(execution)));
                    }
                    // Its error ends the action, too.
                    Service::Served | Service::Failed | Service::Unknown => {
                        self.is_served = true;
                        continue;
                    }
                },
            };
            if of == number {
                self.hear(event)?;
            }
        }
    }

    fn hear(&mut self, event: Result<Event, ClientError>) -> Result<(), ClientError> {
        match event {
            Err(ClientError::Forgotten { .. })
                if !self.spec.stdin && self.reruns.lose(self.begun.unwrap_or(1).max(1)).is_ok() =>
            {
                self.spec.retry = self.reruns.left();
                self.forgotten = self.begun.take();
                self.number = None;
            }
            Err(error) => return Err(error),
            Ok(Event::Queued { id }) => {
                let is_first = self.id.is_empty();
                self.is_called(&id);
                if is_first {
                    self.queue.push_back(Event::Queued { id });
                }
            }
            Ok(Event::Done(result)) => {
                // Whoever feeds its standard input feeds this very operation.
                let may_be_another = !self.spec.stdin || self.id.is_empty();
                if !self.sent_again && may_be_another && result.lacks_messages(&self.encoded) {
                    // They were in the store when they were sent.
                    self.sent_again = true;
                    self.number = None;
                    return Ok(());
                }
                self.is_called(&result.id);
                let asked = Some(self.asked);
                self.queue.push_back(Event::Done(Box::new(JobResult { asked, ..*result })));
            }
            Ok(event) => {
                if let Event::Started { attempt, .. } | Event::Again { attempt, .. } = &event {
                    self.begun = Some(*attempt);
                }
                self.queue.push_back(event);
            }
        }
        Ok(())
    }

    /// The operation has this id, which is another one where the hub had forgotten it.
    fn is_called(&mut self, id: &str) {
        if id.is_empty() {
            return;
        }
        id.clone_into(&mut self.id);
        if let Some(attempt) = self.forgotten.take() {
            let lost = LostAttempt::unexplained(attempt, String::new());
            let worker = String::new();
            self.queue.push_back(Event::Again { lost, attempt: 0, worker, anew: false });
        }
    }
}
