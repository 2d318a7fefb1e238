//! `hands batch`: many commands, as many at once as the cluster takes.
//!
//! A command costs one Execute and its share of an upload that many share; its output comes with its result and is
//! printed whole, so that no two commands meet inside a line.

mod joblog;
pub(crate) mod json;
mod pool;
mod progress;
mod source;
mod template;
#[cfg(test)]
mod tests;

use std::time::{Instant, SystemTime};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use hands_client::{Cluster, ClusterKind};
use hands_types::error::exit;
use tokio::time::{Duration, MissedTickBehavior, interval};

use crate::args::BatchArgs;
use crate::error::RunError;
use crate::front_end::FrontEnd;
use crate::quote::in_a_line;
use crate::signals::Signals;
use crate::streams::Streams;
use crate::trace::{Trace, traced};
use crate::verdict::End;
use crate::{hints, report, spec, terminal};
use joblog::{Entry, Finished, JobLog};
use pool::{Outcome, Pool};
use progress::Progress;
pub(crate) use progress::short as short_time;
use source::Task;
pub(crate) use source::shell_argv;

/// How often the bar is drawn.
const REDRAW: Duration = Duration::from_millis(100);
/// Commands in flight for each slot of the cluster: what keeps a slot busy over a round trip.
const FOR_EACH_SLOT: usize = 4;
/// Commands in flight at an engine of unknown size.
const ON_AN_ENGINE: usize = 32;

/// Runs the commands and returns the process's exit code.
pub async fn batch(args: BatchArgs, front: &FrontEnd) -> u8 {
    let path = args.trace.clone();
    let ended =
        traced(path.as_deref(), "batch", front, async |trace| try_batch(args, front, trace).await);
    ended.await.unwrap_or_else(|error| {
        front.out.wipe_bar();
        error.print(&front.out);
        error.exit_code(true)
    })
}

async fn try_batch(args: BatchArgs, front: &FrontEnd, trace: &Trace) -> Result<u8, RunError> {
    let tasks = source::tasks(&args)?;
    let mut signals = Signals::listen().map_err(RunError::Terminal)?;
    spec::warn_of_unset(&args.action, &front.caller, &front.out);
    let (log, finished) = match &args.joblog {
        None => (None, Finished::new()),
        Some(path) if args.resume => {
            let (log, finished) = JobLog::resume(path, &tasks)?;
            (Some(log), finished)
        }
        Some(path) => (Some(JobLog::create(path)?), Finished::new()),
    };
    let left: Vec<&Task> = tasks.iter().filter(|t| !finished.contains_key(&t.number)).collect();
    let mut run = Run {
        front,
        args: &args,
        trace,
        log,
        streams: Streams::default(),
        began: Instant::now(),
        progress: Progress {
            total: tasks.len(),
            before: tasks.len() - left.len(),
            ..Progress::default()
        },
        torn: [false; 2],
        hinted: false,
    };
    let failed_before = finished.values().any(|ok| !ok);
    if !left.is_empty() {
        let prepared = async {
            let cluster = trace.span("connecting", front.connect("batch")).await?;
            let jobs = match args.jobs {
                Some(jobs) => jobs,
                None => default_jobs(&cluster).await?,
            };
            Ok::<_, RunError>((cluster, jobs))
        };
        let (cluster, jobs) = tokio::select! {
            prepared = prepared => prepared?,
            caught = signals.next() => return Ok(caught.exit_code()),
        };
        let caught = front.telling(&cluster, run.all(&cluster, &left, jobs, &mut signals)).await?;
        if let Some(code) = caught {
            run.summarize();
            return Ok(code);
        }
    }
    if left.is_empty() && !tasks.is_empty() {
        let failed = match finished.values().filter(|ok| !**ok).count() {
            0 => String::new(),
            failed => format!(", {failed} of which failed"),
        };
        let all = progress::commands(tasks.len());
        front.out.note(&format!("nothing is left to run: the log has {all}{failed}"));
    } else {
        run.summarize();
    }
    let progress = &run.progress;
    Ok(match () {
        () if progress.not_run > 0 => exit::NOT_RUN,
        () if progress.failed > 0 || failed_before => exit::FAILED,
        () => exit::OK,
    })
}

async fn default_jobs(cluster: &Cluster) -> Result<usize, RunError> {
    // REAPI has no way to ask an engine how much it can do at once.
    if cluster.kind() == ClusterKind::Engine {
        return Ok(ON_AN_ENGINE);
    }
    let workers = cluster.workers().await?;
    let slots: usize = workers.iter().map(|w| usize::try_from(w.slots).unwrap_or(usize::MAX)).sum();
    Ok(slots.saturating_mul(FOR_EACH_SLOT).clamp(16, 4096))
}

/// One batch under way.
struct Run<'a> {
    front: &'a FrontEnd,
    args: &'a BatchArgs,
    trace: &'a Trace,
    log: Option<JobLog>,
    streams: Streams,
    began: Instant,
    progress: Progress,
    /// Whether the last that stdout and stderr got did not end a line.
    torn: [bool; 2],
    hinted: bool,
}

impl Run<'_> {
    /// Runs all tasks; comes back early with an exit code when a signal ends the batch. Dropping the pool cancels what
    /// runs.
    async fn all(
        &mut self,
        cluster: &Cluster,
        tasks: &[&Task],
        jobs: usize,
        signals: &mut Signals,
    ) -> Result<Option<u8>, RunError> {
        let (args, front) = (self.args, self.front);
        let pool = Pool::new(cluster, front, &args.action, self.trace);
        let mut todo = tasks.iter();
        let mut running = FuturesUnordered::new();
        let mut tick = interval(REDRAW);
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let watched = front.out.watched() && !args.json;
        loop {
            while running.len() < jobs
                && let Some(task) = todo.next()
            {
                running.push(pool.run(task));
            }
            self.progress.running = running.len();
            tokio::select! {
                finished = running.next() => {
                    let Some((task, outcome)) = finished else { return Ok(None) };
                    // Whoever reads what we print may have stopped for good.
                    let end = match signals.unless(self.finish(task, outcome)).await {
                        Ok(Ok(end)) => end,
                        Err(caught) => {
                            leave(running, cluster, front, signals).await;
                            return Ok(Some(caught.exit_code()));
                        }
                        Ok(Err(error)) => {
                            self.end_line_of_stderr();
                            leave(running, cluster, front, signals).await;
                            return Err(error);
                        }
                    };
                    if args.fail_fast && end != End::Succeeded {
                        let skipped = running.len() + todo.len();
                        if skipped > 0 {
                            front.out.note(&format!(
                                "{} not run to the end, because of --fail-fast",
                                progress::commands(skipped)
                            ));
                        }
                        leave(running, cluster, front, signals).await;
                        return Ok(None);
                    }
                }
                caught = signals.next() => {
                    leave(running, cluster, front, signals).await;
                    return Ok(Some(caught.exit_code()));
                }
                _ = tick.tick(), if watched => {
                    front.out.draw_bar(&self.progress.line(self.began.elapsed(), terminal::stderr_width()));
                }
            }
        }
    }

    async fn finish(
        &mut self,
        task: &Task,
        outcome: Result<Outcome, RunError>,
    ) -> Result<End, RunError> {
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(RunError::Closed) => return Err(RunError::Closed),
            Err(error) => {
                self.progress.not_run += 1;
                self.not_run(task, &error).await?;
                return Ok(End::NotRun);
            }
        };
        let Outcome { result, verdict, stdout, stderr, argv, .. } = &outcome;
        match verdict.end {
            End::Succeeded => self.progress.succeeded += 1,
            End::Failed => self.progress.failed += 1,
            End::Cancelled | End::NotRun => self.progress.not_run += 1,
        }
        if self.args.json {
            let mut map = report::result(result, verdict, &task.title);
            map.insert("number".into(), task.number.into());
            if let Some(id) = &task.id {
                map.insert("task".into(), id.as_str().into());
            }
            report::stream(&mut map, "stdout", stdout);
            report::stream(&mut map, "stderr", stderr);
            self.line(&serde_json::Value::from(map).to_string()).await?;
            self.log(task, &outcome)?;
            return Ok(verdict.end);
        }
        self.streams(stdout, stderr).await?;
        self.log(task, &outcome)?;
        if verdict.end != End::Succeeded {
            let why =
                verdict.sentence.clone().unwrap_or_else(|| format!("exit code {}", verdict.code));
            let why = if verdict.end == End::Failed && verdict.sentence.is_some() {
                format!("exit code {}: {why}", verdict.code)
            } else {
                why
            };
            self.end_line_of_stderr();
            for line in crate::verdict::left_out(result) {
                self.front.out.warning(&line);
            }
            let title = in_a_line(&task.title);
            self.front.out.error(&format!("command {} ({title}): {why}", task.number));
            if !self.hinted && verdict.end == End::Failed {
                let action = task.action.as_deref().unwrap_or(&self.args.action);
                for hint in hints::for_failure(argv, action, result, &self.front.caller) {
                    self.hinted = true;
                    self.front.out.hint(&hint);
                }
            }
        }
        Ok(verdict.end)
    }

    /// Records that a command has finished: once what it wrote was taken, so that no later run leaves it out unseen.
    fn log(&mut self, task: &Task, outcome: &Outcome) -> Result<(), RunError> {
        let Outcome { result, verdict, stdout, started, .. } = outcome;
        let (Some(log), End::Succeeded | End::Failed) = (&mut self.log, verdict.end) else {
            return Ok(());
        };
        // GNU parallel's way: who dies by a signal has no exit value.
        let signal = result.signal().unwrap_or_default();
        let exit = if signal == 0 { u32::from(verdict.code) } else { 0 };
        log.append(&Entry {
            number: task.number,
            host: &result.worker(),
            started: *started,
            runtime: result.execution_time().unwrap_or_default(),
            received: u64::try_from(stdout.len()).unwrap_or(u64::MAX),
            exit,
            signal,
            command: &task.title,
        })
    }

    async fn not_run(&mut self, task: &Task, error: &RunError) -> Result<(), RunError> {
        let why = crate::error::chain(error);
        if self.args.json {
            let mut map = serde_json::Map::new();
            map.insert("number".into(), task.number.into());
            if let Some(id) = &task.id {
                map.insert("task".into(), id.as_str().into());
            }
            map.insert("command".into(), task.title.as_str().into());
            map.insert("end".into(), End::NotRun.name().into());
            map.insert("exit_code".into(), exit::NOT_RUN.into());
            map.insert("error_class".into(), error.class().name().into());
            map.insert("message".into(), why.into());
            return self.line(&serde_json::Value::from(map).to_string()).await;
        }
        self.end_line_of_stderr();
        let title = in_a_line(&task.title);
        self.front.out.error(&format!("command {} ({title}) was not run: {why}", task.number));
        Ok(())
    }

    async fn line(&mut self, text: &str) -> Result<(), RunError> {
        self.front.out.wipe_bar();
        Ok(self.streams.stdout(format!("{text}\n").as_bytes()).await?)
    }

    /// What one command wrote, after a line's end if the last command left one open.
    async fn streams(&mut self, stdout: &[u8], stderr: &[u8]) -> Result<(), RunError> {
        if stdout.is_empty() && stderr.is_empty() {
            return Ok(());
        }
        self.front.out.wipe_bar();
        if let Some(last) = stdout.last() {
            if self.torn[0] {
                self.streams.stdout(b"\n").await?;
            }
            self.streams.stdout(stdout).await?;
            self.torn[0] = *last != b'\n';
        }
        if let Some(last) = stderr.last() {
            self.end_line_of_stderr();
            self.streams.stderr(stderr).await?;
            self.torn[1] = *last != b'\n';
        }
        Ok(())
    }

    fn end_line_of_stderr(&mut self) {
        if std::mem::take(&mut self.torn[1]) {
            self.front.out.to_stderr(b"\n");
        }
    }

    fn summarize(&mut self) {
        self.end_line_of_stderr();
        let out = &self.front.out;
        out.wipe_bar();
        let troubled = self.progress.failed + self.progress.not_run > 0;
        if out.watched() || out.is_verbose() || (troubled && !self.args.json) {
            out.note(&self.progress.summary(self.began.elapsed()));
        }
    }
}

/// When a result's command began, by the worker's clock, or else now.
fn start_of(result: &hands_client::JobResult) -> SystemTime {
    let time = result.metadata().and_then(|m| m.execution_start_timestamp.as_ref());
    time.and_then(|t| {
        let nanos = u32::try_from(t.nanos).ok()?;
        Some(SystemTime::UNIX_EPOCH + Duration::new(u64::try_from(t.seconds).ok()?, nanos))
    })
    .unwrap_or_else(SystemTime::now)
}

/// Ends what runs, where anything does.
async fn leave<F>(
    running: FuturesUnordered<F>,
    cluster: &Cluster,
    front: &FrontEnd,
    signals: &mut Signals,
) {
    let is_idle = running.is_empty();
    drop(running);
    if !is_idle {
        front.cancel_all(cluster, signals).await;
    }
}
