//! What the slot machine wants done, and how it ended.

use std::sync::Arc;
use std::time::SystemTime;

use hands_exec::{ExecRequest, LeftOut, Limits, Scratch, Stream};
use hands_proto::reapi;
use hands_proto::v1::{self, worker_message};
use hands_slots::{Effect, HandBackReason, Input, LeaseId};
use hands_store::Made;
use tokio::sync::oneshot;

use super::{Core, Event};
use crate::action::{Plan, attempt_id};
use crate::attempt::{self, Task, Uploaded, dispose};
use crate::fetch::Prepared;
use crate::metrics::Outcome;
use crate::output;
use crate::report::{self, Conclusion};
use crate::run::{self, RunEnd, lock};

/// What an action's files may take in memory, bytes, when it asks for no memory in particular.
const SCRATCH: u64 = 2 << 30;

impl Core {
    pub(super) fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Fetch { lease } => self.fetch(lease),
            Effect::Run { lease, slot: _ } => self.start(lease),
            Effect::Started { lease } => {
                self.say(worker_message::Kind::Started(v1::Started {
                    id: Some(attempt_id(lease)),
                }));
            }
            Effect::Kill { lease } => {
                if let Some(cancel) = self.attempts.get_mut(&lease).and_then(|a| a.cancel.take()) {
                    // If it has ended meanwhile there is nothing to kill.
                    let _ended = cancel.send(());
                }
            }
            Effect::Upload { lease } => self.upload(lease),
            Effect::Report { lease } => {
                // What is not kept any more may have gone while the action ran, and made it what it was.
                if !self.is_here() {
                    return;
                }
                let Some(attempt) = self.attempts.get(&lease) else { return };
                if let Some(finished) = &attempt.finished {
                    let result = lock(&attempt.streams).report(finished.clone());
                    self.streamed(lease, result);
                }
            }
            Effect::HandBack { lease, reason } => {
                let (cause, reason) = match reason {
                    HandBackReason::Draining => {
                        (v1::HandBackCause::WorkerDrains, "the worker is being drained".to_owned())
                    }
                    HandBackReason::Recalled => {
                        (v1::HandBackCause::LeaseRecalled, "the hub asked for it".to_owned())
                    }
                    HandBackReason::Unable(why) => (v1::HandBackCause::Unable, why),
                };
                self.say(worker_message::Kind::HandBack(v1::HandBack {
                    id: Some(attempt_id(lease)),
                    reason,
                    cause: cause.into(),
                }));
            }
            Effect::Forget { lease } => {
                self.attempts.remove(&lease);
            }
            Effect::Drained => self.done = true,
        }
    }

    pub(super) fn say(&self, kind: worker_message::Kind) {
        if let Some(session) = &self.session {
            output::send(session, kind);
        }
    }

    fn fetch(&mut self, lease: LeaseId) {
        let Some(attempt) = self.attempts.get_mut(&lease) else { return };
        attempt.times.fetch_start = SystemTime::now();
        if let Some(unread) = attempt.unread.take() {
            let (fetcher, tasks) = (Arc::clone(&self.fetcher), self.tasks.clone());
            let isolation = self.isolation;
            attempt.task = Some(Task::spawn(async move {
                let result = match fetcher.read(unread, isolation).await {
                    Ok(plan) => fetcher.prepare(&plan).await.map(|prepared| (plan, prepared)),
                    Err(conclusion) => Err(conclusion),
                };
                // Fails only when the worker has ended.
                let _gone = tasks.send(Event::Fetched(lease, result));
            }));
            return;
        }
        match &attempt.plan {
            Ok(plan) => {
                let plan = Arc::clone(plan);
                if let Some(prepared) = self.fetcher.ready(&plan) {
                    return self.fetched(lease, Ok((plan, prepared)));
                }
                let (fetcher, tasks) = (Arc::clone(&self.fetcher), self.tasks.clone());
                attempt.task = Some(Task::spawn(async move {
                    let result = fetcher.prepare(&plan).await.map(|prepared| (plan, prepared));
                    // Fails only when the worker has ended.
                    let _gone = tasks.send(Event::Fetched(lease, result));
                }));
            }
            Err(why) => {
                let conclusion = Conclusion::invalid_text(why);
                self.conclude(lease, conclusion);
            }
        }
    }

    pub(super) fn fetched(
        &mut self,
        lease: LeaseId,
        result: Result<(Arc<Plan>, Prepared), Conclusion>,
    ) {
        let Some(attempt) = self.attempts.get_mut(&lease) else { return };
        attempt.times.fetch_end = SystemTime::now();
        match result {
            Ok((plan, prepared)) => {
                attempt.prepared = Some(prepared);
                for root in plan.trees() {
                    self.recent_changed |= self.recent.insert(root, (), 1).is_none();
                }
                attempt.plan = Ok(plan);
                self.recent.shrink(super::HOLDS as u64);
                self.inputs.push_back(Input::Fetched { lease });
            }
            Err(conclusion) => self.conclude(lease, conclusion),
        }
    }

    fn start(&mut self, lease: LeaseId) {
        let Some(attempt) = self.attempts.get_mut(&lease) else { return };
        let (Ok(plan), Some(prepared)) = (&attempt.plan, &attempt.prepared) else {
            return self.conclude(
                lease,
                Conclusion::internal("a lease was started before its inputs were there"),
            );
        };
        let (cancel, cancelled) = oneshot::channel();
        attempt.cancel = Some(cancel);
        attempt.times.stage_start = SystemTime::now();
        attempt.times.run_start = attempt.times.stage_start;
        let run = run::run(
            self.executor.clone(),
            request(plan, prepared),
            Arc::clone(&attempt.streams),
            Arc::clone(&attempt.feed),
            cancelled,
        );
        let tasks = self.tasks.clone();
        attempt.task = Some(Task::spawn(async move {
            let end = run.await;
            // Fails only when the worker has ended.
            let _gone = tasks.send(Event::Ran(lease, end));
        }));
    }

    pub(super) fn ran(&mut self, lease: LeaseId, end: RunEnd) {
        let Some(attempt) = self.attempts.get_mut(&lease) else { return };
        let Ok(plan) = attempt.plan.clone() else { return };
        attempt.times.run_end = SystemTime::now();
        let mut ran = match end {
            RunEnd::Ran(ran) => ran,
            RunEnd::Failed(error) => return self.conclude(lease, Conclusion::of_exec(&error)),
            RunEnd::Spool(error) => return self.conclude(lease, Conclusion::of_spool(&error)),
            RunEnd::Input(why) => return self.conclude(lease, Conclusion::exhausted(why)),
        };
        attempt.times.run_start = ran.timings.executed;
        attempt.times.run_end = ran.timings.ended;
        let ending = report::ending(&ran, &plan);
        if let Some(line) = &ending.line {
            let (stream, line) = match plan.terminal {
                Some(_) => (Stream::Stdout, line.replace('\n', "\r\n")),
                None => (Stream::Stderr, line.clone()),
            };
            let appended = lock(&attempt.streams).append(stream, line.as_bytes());
            if let Err(error) = appended {
                return self.conclude(lease, Conclusion::of_spool(&error));
            }
        }
        if ending.exit_code.is_none() {
            dispose(ran.tree.take());
            return self.conclude(lease, ending.conclusion);
        }
        attempt.ran = Some((ran, ending));
        self.inputs.push_back(Input::Ran { lease });
    }

    fn upload(&mut self, lease: LeaseId) {
        let Some(attempt) = self.attempts.get_mut(&lease) else { return };
        let now = SystemTime::now();
        attempt.times.upload_start = now;
        attempt.times.upload_end = now;
        let tree = attempt.ran.as_mut().and_then(|(ran, _)| ran.tree.take());
        if let (Ok(plan), Some(prepared)) = (&attempt.plan, &attempt.prepared)
            && let Some(made) = made(lease, plan)
        {
            prepared.note(&made);
        }
        let due = attempt.prepared.clone().filter(Prepared::is_look_due);
        match (&attempt.plan, tree) {
            (Ok(plan), Some(tree)) if !plan.outputs.declared.is_empty() => {
                let (fetcher, plan, tasks) =
                    (Arc::clone(&self.fetcher), Arc::clone(plan), self.tasks.clone());
                let given_up = Arc::clone(&attempt.collecting);
                let ran = attempt.times.run_end.duration_since(attempt.times.run_start);
                let ran = ran.unwrap_or_default();
                attempt.task = Some(Task::spawn(async move {
                    let result = attempt::upload(&fetcher, plan, due, tree, given_up, ran).await;
                    // Fails only when the worker has ended.
                    let _gone = tasks.send(Event::Uploaded(lease, Box::new(result)));
                }));
            }
            (_, tree) => {
                dispose(tree);
                let Some(due) = due else {
                    let none = reapi::ActionResult::default();
                    return self.complete(lease, none, LeftOut::default(), None);
                };
                let (store, tasks) = (self.config.store.clone(), self.tasks.clone());
                let given_up = Arc::clone(&attempt.collecting);
                attempt.task = Some(Task::spawn(async move {
                    let result = attempt::confirm(due, given_up).await.map(|()| Uploaded {
                        result: reapi::ActionResult::default(),
                        left_out: LeftOut::default(),
                        pin: store.pin([]),
                    });
                    // Fails only when the worker has ended.
                    let _gone = tasks.send(Event::Uploaded(lease, Box::new(result)));
                }));
            }
        }
    }

    pub(super) fn uploaded(&mut self, lease: LeaseId, result: Result<Uploaded, Conclusion>) {
        let Some(attempt) = self.attempts.get_mut(&lease) else { return };
        attempt.times.upload_end = SystemTime::now();
        match result {
            Ok(Uploaded { result, left_out, pin }) => {
                attempt.pin = Some(pin);
                self.complete(lease, result, left_out, None);
            }
            Err(conclusion) => {
                let (none, nothing) = (reapi::ActionResult::default(), LeftOut::default());
                self.complete(lease, none, nothing, Some(conclusion));
            }
        }
    }

    /// Makes the result of a command that ran.
    fn complete(
        &mut self,
        lease: LeaseId,
        outputs: reapi::ActionResult,
        left_out: LeftOut,
        failure: Option<Conclusion>,
    ) {
        let Some(attempt) = self.attempts.get_mut(&lease) else { return };
        let (Ok(plan), Some((ran, ending))) = (&attempt.plan, &attempt.ran) else {
            return self
                .conclude(lease, Conclusion::internal("an action was collected before it ran"));
        };
        let exit_code = ending.exit_code.unwrap_or_default();
        let mut conclusion = ending.conclusion.clone();
        let mut message = ending.hint.clone();
        // A part is not to be taken for the whole, by our clients or others'.
        let failure = failure.or_else(|| Conclusion::of_left_out(&left_out));
        if let Some(failure) = failure {
            let failed_anyway = exit_code != 0 || !conclusion.is_ok();
            // A command that failed is told as that: its outputs are its own affair.
            if failed_anyway && !failure.try_elsewhere {
                let line = if left_out.total > 0 {
                    failure.status.message
                } else {
                    format!("its outputs were not collected: {}", failure.status.message)
                };
                message = if message.is_empty() { line } else { format!("{message}; {line}") };
            } else {
                conclusion = failure;
            }
        }
        let mut metadata = report::metadata(
            &self.config.name,
            plan,
            &attempt.times,
            Some(ran),
            self.isolation,
            lease.attempt,
        );
        metadata.auxiliary_metadata.extend(report::left_out(&left_out));
        let result = report::complete(outputs, exit_code, &lock(&attempt.streams), metadata);
        let is_success = exit_code == 0 && conclusion.is_ok();
        self.metrics.ended(if is_success { Outcome::Succeeded } else { Outcome::Failed });
        attempt.finished = Some(v1::Finished {
            id: Some(attempt_id(lease)),
            result: Some(result),
            status: Some(conclusion.status),
            message,
            try_elsewhere: conclusion.try_elsewhere,
            hub_full: conclusion.hub_full,
            ..Default::default()
        });
        self.inputs.push_back(Input::Uploaded { lease });
    }

    /// Ends an attempt whose command did not run, or not to an end of its own.
    fn conclude(&mut self, lease: LeaseId, conclusion: Conclusion) {
        let Some(attempt) = self.attempts.get_mut(&lease) else { return };
        tracing::debug!(operation = %lease.operation, status = conclusion.status.message, "an action did not run");
        self.metrics.ended(Outcome::NotRun);
        attempt.finished = Some(v1::Finished {
            id: Some(attempt_id(lease)),
            status: Some(conclusion.status),
            try_elsewhere: conclusion.try_elsewhere,
            ..Default::default()
        });
        self.inputs.push_back(Input::Concluded { lease });
    }

    /// A spool that can't be read any more: what the action wrote is lost, and so is its result.
    pub(super) fn streamed(&mut self, lease: LeaseId, result: std::io::Result<()>) {
        let Err(error) = result else { return };
        let conclusion = Conclusion::of_spool(&error);
        tracing::error!(operation = %lease.operation, %error, "the output of an action can't be read back");
        if let Some(cancel) = self.attempts.get_mut(&lease).and_then(|a| a.cancel.take()) {
            let _ended = cancel.send(());
        }
        self.say(worker_message::Kind::Finished(v1::Finished {
            id: Some(attempt_id(lease)),
            status: Some(conclusion.status),
            try_elsewhere: true,
            ..Default::default()
        }));
    }
}

/// A result, as it is noted until its inputs are confirmed.
fn made(lease: LeaseId, plan: &Plan) -> Option<Made> {
    Some(Made {
        operation: lease.operation.to_string().into(),
        instance: plan.instance.as_str().into(),
        action: plan.action?,
    })
}

/// What the executor is asked.
fn request(plan: &Plan, prepared: &Prepared) -> ExecRequest {
    let memory = (plan.resources.memory > 0).then_some(plan.resources.memory);
    ExecRequest {
        lowers: prepared.lowers.clone(),
        root: prepared.root.clone(),
        layers: prepared.layers.clone(),
        command: plan.command.clone(),
        root_at: plan.root_at.clone(),
        input: plan.input,
        deadline: plan.deadline,
        limits: Limits { memory, ..Limits::default() },
        scratch: match plan.on_disk {
            true => Scratch::Disk,
            false => Scratch::Tmpfs { size: memory.unwrap_or(SCRATCH) },
        },
        tree: !plan.outputs.declared.is_empty(),
        network: plan.network,
        privilege: plan.privilege,
        terminal: plan.terminal.clone(),
        stdin: plan.stdin,
    }
}
