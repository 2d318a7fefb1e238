//! What the hub says.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hands_link::Parameters;
use hands_proto::function_from_proto;
use hands_proto::v1::{self, hub_message, worker_message};
use hands_slots::{Input, LeaseId};
use hands_types::limits::LEASE;
use hands_types::{Attempt as Number, DigestFunction};
use tokio::time::Instant;
use tonic::Status;

use super::Core;
use crate::action::{self, attempt_id, lease_id};
use crate::attempt::{Attempt, Unread};
use crate::config::PROTOCOL;
use crate::offer;
use crate::output::{self, Streams};
use crate::run::{Feed, lock};

impl Core {
    pub(super) fn dial(&mut self) {
        let held: Vec<LeaseId> = self
            .slots
            .held()
            .into_iter()
            .map(|(operation, attempt)| LeaseId { operation, attempt })
            .collect();
        let attempts = held.iter().copied().map(attempt_id).collect();
        let way = Parameters::of(self.config.hub.quality());
        let mut hello = offer::hello(&self.config, self.isolation, &self.parts, attempts, way);
        hello.resumes = self.slots.resumes();
        hello.inputs = held.iter().filter_map(|lease| self.input_taken(*lease)).collect();
        let outgoing = self.link.open(hello);
        self.opening = Some((outgoing, held));
    }

    pub(super) fn hub_message(&mut self, message: v1::HubMessage) {
        let Some(kind) = message.kind else { return };
        if let hub_message::Kind::Welcome(welcome) = kind {
            return self.welcome(&welcome);
        }
        if self.session.is_none() {
            return self.break_off("the hub's first message is not a welcome");
        }
        match kind {
            hub_message::Kind::Welcome(_) => {}
            hub_message::Kind::Lease(lease) => self.lease(lease),
            hub_message::Kind::Cancel(cancel) => {
                self.about(cancel.id.as_ref(), |lease| Input::Cancel { lease });
            }
            hub_message::Kind::Recall(recall) => {
                self.about(recall.id.as_ref(), |lease| Input::Recall { lease });
            }
            hub_message::Kind::ResultAck(ack) => {
                self.about(ack.id.as_ref(), |lease| Input::Acknowledged { lease });
            }
            hub_message::Kind::Refused(refused) => {
                tracing::debug!(reason = refused.reason, "the hub does not want a result");
                self.about(refused.id.as_ref(), |lease| Input::Refused { lease });
            }
            hub_message::Kind::OutputAck(ack) => {
                let Some(lease) = lease_id(ack.id.as_ref()) else { return };
                let Some(attempt) = self.attempts.get(&lease) else { return };
                let result =
                    lock(&attempt.streams).acknowledge([ack.stdout_offset, ack.stderr_offset]);
                self.streamed(lease, result);
            }
            hub_message::Kind::Input(input) => {
                let Some(lease) = lease_id(input.id.as_ref()) else { return };
                let (Some(attempt), Some(kind)) = (self.attempts.get(&lease), input.kind) else {
                    return;
                };
                let is_input = matches!(kind, v1::input::Kind::Data(_) | v1::input::Kind::Eof(_));
                attempt.feed.push(kind, input.offset);
                if let Some(taken) = self.input_taken(lease).filter(|_| is_input) {
                    self.say(worker_message::Kind::InputTaken(taken));
                }
            }
            hub_message::Kind::DoubtedAck(ack) => self.doubts.acknowledged(ack.number),
            hub_message::Kind::Drain(drain) => {
                tracing::info!(reason = drain.reason, "the hub asks this worker to drain");
                self.start_drain();
            }
        }
    }

    /// How much standard input of an attempt is here, if there is any.
    fn input_taken(&self, lease: LeaseId) -> Option<v1::InputTaken> {
        let (bytes, ended) = self.attempts.get(&lease)?.feed.received()?;
        let id = Some(attempt_id(lease));
        (bytes > 0 || ended).then_some(v1::InputTaken { id, bytes, ended })
    }

    fn about(&mut self, id: Option<&v1::AttemptId>, input: impl FnOnce(LeaseId) -> Input) {
        // An id that can't be read names nothing that is here.
        if let Some(lease) = lease_id(id) {
            self.inputs.push_back(input(lease));
        }
    }

    fn welcome(&mut self, welcome: &v1::Welcome) {
        let Some((outgoing, held)) = self.opening.take() else {
            return self.break_off("the hub welcomed this worker twice");
        };
        let theirs = welcome.protocol.clone().unwrap_or_default();
        if theirs.low > *PROTOCOL.end() || theirs.high < *PROTOCOL.start() {
            let text = format!(
                "the hub speaks protocol versions {} to {} (it is {}), this worker {} to {} (it is {}); use versions that are next to each other",
                theirs.low,
                theirs.high,
                theirs.version,
                PROTOCOL.start(),
                PROTOCOL.end(),
                self.config.version,
            );
            self.link.mention(&Status::failed_precondition(text));
            self.link.close();
            return;
        }
        self.link.works();
        self.fetcher.hub_may_hold(welcome.store_quota);
        self.session = Some(outgoing.clone());
        // At once: it says what is held here, and the first actions may be for that.
        self.next_heartbeat = Instant::now();
        let lease =
            if welcome.lease_ms == 0 { LEASE } else { Duration::from_millis(welcome.lease_ms) };
        self.inputs.push_back(Input::SessionOpened { lease });
        self.inputs.push_back(Input::Welcomed);
        let wanted: BTreeMap<LeaseId, [u64; 2]> = welcome
            .resume
            .iter()
            .filter_map(|r| Some((lease_id(r.id.as_ref())?, [r.stdout_offset, r.stderr_offset])))
            .collect();
        for lease in held {
            match (wanted.get(&lease), self.attempts.get(&lease)) {
                (Some(offsets), Some(attempt)) => {
                    let result = lock(&attempt.streams).resume(outgoing.clone(), *offsets);
                    self.streamed(lease, result);
                }
                // Given up while the first message was under way, which nobody was told.
                (Some(_), None) => {
                    let reason = "given up while the connection was away".to_owned();
                    let cause = v1::HandBackCause::Unable.into();
                    let back = v1::HandBack { id: Some(attempt_id(lease)), reason, cause };
                    output::send(&outgoing, worker_message::Kind::HandBack(back));
                }
                (None, _) => self.inputs.push_back(Input::Cancel { lease }),
            }
        }
        if self.slots.draining() {
            output::send(&outgoing, worker_message::Kind::Draining(v1::Draining {}));
        }
        self.recent_changed = !self.recent.is_empty();
    }

    /// A hub that does not keep to the protocol is left, and tried again later.
    fn break_off(&mut self, why: &str) {
        self.link.mention(&Status::internal(why));
        self.link.close();
        self.lose_session();
    }

    fn lease(&mut self, message: v1::Lease) {
        let Some(lease) = lease_id(message.id.as_ref()).filter(|l| l.attempt > Number(0)) else {
            return self.break_off("the hub sent a lease without a name");
        };
        if self.attempts.contains_key(&lease) {
            return;
        }
        let to_fetch = action::command_to_fetch(&message);
        let plan = match to_fetch {
            None => action::read(&message, self.isolation).map(Arc::new),
            Some(_) => Err("its command was not fetched".to_owned()),
        };
        let terms = action::terms(plan.as_ref().map(|p| &**p), &message);
        let function =
            function_from_proto(message.digest_function).unwrap_or(DigestFunction::Sha256);
        let streams =
            Streams::new(attempt_id(lease), &self.state_dir, function, self.session.clone());
        let of_terminal = message.options.as_ref().is_some_and(|it| it.terminal.is_some());
        let feed = Arc::new(Feed::new(&self.state_dir, of_terminal));
        let mut attempt = Attempt::new(plan, streams, feed);
        attempt.unread = to_fetch.map(|command| Unread { lease: Box::new(message), command });
        self.attempts.insert(lease, attempt);
        self.inputs.push_back(Input::Lease { lease, terms });
    }
}
