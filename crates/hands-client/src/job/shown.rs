//! Both streams of an action, and what is said where they turn from one attempt to another.

use bytes::Bytes;

use super::logs::Log;
use crate::{ClientError, Cluster, Event, JobResult, JobStream, Logs, LostAttempt};

#[derive(Debug)]
pub(super) struct Shown {
    pub(super) logs: [Log; 2],
    /// The attempt that was told to run last, and its worker.
    running: (u32, String),
    /// The highest number of an attempt that was told to be lost.
    told_lost: u32,
    /// Whether it was the turn to the attempt that runs that had something begin anew.
    anew: bool,
}

impl Shown {
    pub(super) fn new(cluster: &Cluster, logs: Logs) -> Self {
        let function = cluster.function();
        let logs = [JobStream::Stdout, JobStream::Stderr].map(|stream| match logs {
            Logs::Live => Log::idle(stream, function),
            Logs::No => Log::unwanted(stream, function),
        });
        Self { logs, running: (0, String::new()), told_lost: 0, anew: false }
    }

    pub(super) const fn log(&mut self, stream: JobStream) -> &mut Log {
        let [stdout, stderr] = &mut self.logs;
        match stream {
            JobStream::Stdout => stdout,
            JobStream::Stderr => stderr,
        }
    }

    pub(super) fn is_settled(&self) -> bool {
        self.logs.iter().all(Log::is_settled)
    }

    /// An attempt was lost. Turns to the one that runs instead, and gives what is told of it.
    pub(super) fn again(&mut self, lost: LostAttempt, attempt: u32, worker: String) -> Event {
        let mut lost = lost;
        if lost.attempt == self.running.0 && lost.worker.is_empty() {
            lost.worker.clone_from(&self.running.1);
        }
        if attempt == 0 {
            // Another execution, whose attempts are counted anew.
            let each = self.logs.iter_mut().map(Log::turn_to_other_execution);
            let anew = each.fold(false, |anew, turned| turned | anew);
            (self.running, self.told_lost, self.anew) = ((0, String::new()), 0, false);
            return Event::Again { lost, attempt, worker, anew };
        }
        self.told_lost = lost.attempt;
        self.turn_to(attempt, &worker, Log::turn_to);
        Event::Again { lost, attempt, worker, anew: self.anew }
    }

    /// An attempt runs, and writes streams of these names. Gives what is told where others were shown before.
    pub(super) fn starts(
        &mut self,
        cluster: &Cluster,
        attempt: u32,
        worker: &str,
        names: [String; 2],
    ) -> Option<Event> {
        let mut names = names.into_iter();
        let turn = |log: &mut Log, attempt| {
            names.next().is_some_and(|name| log.open(cluster, &name, attempt))
        };
        self.turned(attempt, worker, false, turn)
    }

    /// The action has ended with a result of this attempt. Gives the same.
    pub(super) fn ends(&mut self, attempt: u32, worker: &str) -> Option<Event> {
        if attempt == 0 {
            return None;
        }
        self.turned(attempt, worker, true, Log::turn_to)
    }

    /// It has ended without a result: what it wrote before has no other name than these.
    pub(super) fn leaves(&mut self, cluster: &Cluster, attempt: u32, names: &[String; 2]) {
        for (log, name) in self.logs.iter_mut().zip(names) {
            log.open_left(cluster, name, attempt);
        }
    }

    fn turned(
        &mut self,
        attempt: u32,
        worker: &str,
        overtaken: bool,
        turn: impl FnMut(&mut Log, u32) -> bool,
    ) -> Option<Event> {
        let (before, its_worker) = self.running.clone();
        let is_told = before <= self.told_lost || before == attempt;
        let anew = self.turn_to(attempt, worker, turn);
        if is_told || !anew {
            return None;
        }
        // Nobody said so.
        self.told_lost = before;
        let lost = LostAttempt { overtaken, ..LostAttempt::unexplained(before, its_worker) };
        Some(Event::Again { lost, attempt, worker: worker.to_owned(), anew })
    }

    fn turn_to(
        &mut self,
        attempt: u32,
        worker: &str,
        mut turn: impl FnMut(&mut Log, u32) -> bool,
    ) -> bool {
        let is_other = self.running.0 != attempt;
        self.running = (attempt, worker.to_owned());
        let anew = self.logs.iter_mut().fold(false, |anew, log| turn(log, attempt) | anew);
        self.anew = anew || (self.anew && !is_other);
        anew
    }

    /// Compares what was shown with what the result says. Gives the rest, or has it fetched.
    pub(super) fn settle(
        &mut self,
        cluster: &Cluster,
        result: &JobResult,
    ) -> Result<Vec<Event>, ClientError> {
        let attempt = self.running.0;
        let mut events = Vec::new();
        for stream in [JobStream::Stdout, JobStream::Stderr] {
            let log = self.log(stream);
            let rest = match (&result.result, stream) {
                (None, _) => log.settle_without_result(),
                (Some(r), JobStream::Stdout) => {
                    log.settle(cluster, &r.stdout_raw, r.stdout_digest.as_ref(), attempt)?
                }
                (Some(r), JobStream::Stderr) => {
                    log.settle(cluster, &r.stderr_raw, r.stderr_digest.as_ref(), attempt)?
                }
            };
            events.extend(rest.and_then(|data| log.output(data)));
        }
        Ok(events)
    }

    /// The next piece of either, and of which; none when something else has changed.
    pub(super) async fn next(
        &mut self,
        cluster: &Cluster,
    ) -> (JobStream, Result<Option<Event>, ClientError>) {
        let [stdout, stderr] = &mut self.logs;
        let (log, data) = tokio::select! {
            biased;
            data = stdout.next(cluster) => (stdout, data),
            data = stderr.next(cluster) => (stderr, data),
        };
        (log.stream(), data.map(|data| data.and_then(|data| log.output(data))))
    }
}

impl Log {
    /// A piece of it, if it is one.
    fn output(&self, data: Bytes) -> Option<Event> {
        let (stream, attempt) = (self.stream(), self.attempt());
        (!data.is_empty()).then_some(Event::Output { stream, attempt, data })
    }
}
