//! `hands batch`: many commands, as many at once as the cluster takes.
//!
//! All commands go over one session, a few hundred bytes each; a command's output comes with its result and is printed whole,
//! so that no two commands meet inside a line.

mod joblog;
pub(crate) mod json;
mod left;
mod pool;
mod progress;
mod source;
mod template;
#[cfg(test)]
mod tests;
mod unrun;

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use hands_client::{ActionId, ClientError, Cluster, ClusterKind, Event, Session};
use hands_front::{
    Caught, End, FrontEnd, Live, Own, RunError, Signals, Trace, spec, terminal, traced,
};
use hands_types::error::exit;
use tokio::time::{Duration, MissedTickBehavior, interval};

use crate::args::BatchArgs;
use crate::quote::in_a_line;
use crate::streams::Streams;
use crate::{again, hints, image, report};
use joblog::{Entry, Finished, JobLog};
use left::OnTheirWay;
use pool::{Before, Flying, Landed, Outcome, Pool};
use progress::Progress;
use source::Task;
pub(crate) use source::shell_argv;
use unrun::Unrun;

/// How often the bar is drawn.
const REDRAW: Duration = Duration::from_millis(100);
/// Commands in flight at a hub of ours, which takes more of one client, but not without a bound.
const ON_A_HUB: usize = 200_000;
/// How long a reader may take what is shown when a batch is left.
const LAST_WORDS: Duration = Duration::from_millis(200);
/// Bytes for stdout beyond which nothing is gathered.
const GATHERED: usize = 32 << 10;
/// Results whose outputs are on their way at once.
const LANDING: usize = 64;
/// Commands whose inputs are on their way at once.
const BEGINNING: usize = 64;
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
        gathered: Vec::new(),
        began: Instant::now(),
        on_their_way: OnTheirWay::default(),
        unrun: Unrun::default(),
        progress: Progress {
            total: tasks.len(),
            before: tasks.len() - left.len(),
            not_begun: left.len(),
            ..Progress::default()
        },
        torn: [false; 2],
        hinted: false,
    };
    let failed_before = finished.values().any(|ok| !ok);
    if !left.is_empty() {
        let prepared = async {
            let cluster = trace.span("connecting", front.connect("batch")).await?;
            let jobs = args.jobs.unwrap_or_else(|| default_jobs(&cluster));
            Ok::<_, RunError>((cluster, jobs))
        };
        let (cluster, jobs) = tokio::select! {
            prepared = prepared => prepared?,
            caught = signals.next() => return Ok(caught.exit_code()),
        };
        let caught = front.telling(&cluster, run.all(&cluster, &left, jobs, &mut signals)).await;
        run.tell_unrun();
        run.tell_half_done();
        let caught = caught?;
        if let Some(code) = caught {
            run.wipe();
            front.out.note(&run.progress.summary(run.began.elapsed()));
            return Ok(code);
        }
    }
    run.progress.not_begun = 0;
    if tasks.is_empty() {
        front.out.note(&source::none(&args));
    } else if left.is_empty() {
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

/// All, so that the scheduler can choose among all; an engine of unknown size gets what keeps it busy.
fn default_jobs(cluster: &Cluster) -> usize {
    match cluster.kind() {
        ClusterKind::Engine => ON_AN_ENGINE,
        ClusterKind::Agent | ClusterKind::Hub => ON_A_HUB,
    }
}

/// What is left when a batch comes to its end.
enum Left {
    Nothing,
    /// Commands that are not to be run to their ends.
    Skipped,
    /// The same, because of a signal.
    Caught(Caught),
}

/// One batch under way.
struct Run<'a> {
    front: &'a FrontEnd,
    args: &'a BatchArgs,
    trace: &'a Trace,
    log: Option<JobLog>,
    streams: Streams,
    /// For stdout: a write of its own for each of thousands of commands costs more than all the rest of them.
    gathered: Vec<u8>,
    began: Instant,
    progress: Progress,
    on_their_way: OnTheirWay,
    unrun: Unrun,
    /// Whether the last that stdout and stderr got did not end a line.
    torn: [bool; 2],
    hinted: bool,
}

impl Run<'_> {
    /// Runs all tasks; comes back early with an exit code when a signal ends the batch, and cancels then what runs.
    async fn all(
        &mut self,
        cluster: &Cluster,
        tasks: &[&Task],
        jobs: usize,
        signals: &mut Signals,
    ) -> Result<Option<u8>, RunError> {
        let session = match signals.unless(cluster.session()).await {
            Ok(session) => session?,
            Err(caught) => return Ok(Some(caught.exit_code())),
        };
        let mut ended = self.all_over(cluster, &session, tasks, jobs, signals).await;
        // What has ended is shown, if its reader takes it: a further signal is heard meanwhile.
        if matches!(ended, Ok(Left::Caught(_))) {
            drop(signals.unless(tokio::time::timeout(LAST_WORDS, self.flush())).await);
        } else if !matches!(ended, Err(RunError::Closed)) {
            ended = match signals.unless(self.flush()).await {
                Ok(Ok(())) => ended,
                Ok(Err(error)) => ended.and(Err(error)),
                Err(caught) => ended.and(Ok(Left::Caught(caught))),
            };
        }
        if !matches!(ended, Ok(Left::Nothing)) || session.has_left_behind() {
            self.end_line_of_stderr();
            let own = Own::Session(&session);
            self.progress.cancelled = self.front.give_up(cluster, own, signals).await;
        }
        Ok(match ended? {
            Left::Nothing | Left::Skipped => None,
            Left::Caught(caught) => Some(caught.exit_code()),
        })
    }

    async fn all_over(
        &mut self,
        cluster: &Cluster,
        session: &Session,
        tasks: &[&Task],
        jobs: usize,
        signals: &mut Signals,
    ) -> Result<Left, RunError> {
        let (args, front) = (self.args, self.front);
        let watched = front.out.watched() && !args.json;
        let image = image::open(&args.action)?;
        if let Some(sentence) = image::warning(&args.action, cluster) {
            front.out.warning(&sentence);
        }
        let (action, trace) = (&args.action, self.trace);
        let pool = Pool::new(cluster, session, front, action, trace, watched, image);
        let mut live = Live::default();
        let mut todo = tasks.iter().copied();
        // Those whose inputs had gone, or that the cluster forgot.
        let mut again: VecDeque<(&Task, Before)> = VecDeque::new();
        let mut begins = FuturesUnordered::new();
        // Fewer than may be where the hub has no room for them.
        let mut most = jobs;
        let mut flying: HashMap<ActionId, Flying<'_>> = HashMap::new();
        let mut landing = FuturesUnordered::new();
        let mut tick = interval(REDRAW);
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            while begins.len() < BEGINNING
                && flying.len() + landing.len() + begins.len() < most
                && let Some((task, before)) =
                    again.pop_front().or_else(|| Some((todo.next()?, Before::default())))
            {
                begins.push(pool.begin(task, before));
            }
            self.progress.running = flying.len() + landing.len();
            self.progress.under_way = flying.len() + begins.len();
            self.progress.not_fetched = landing.len();
            self.progress.not_begun = again.len() + todo.len();
            if self.progress.running == 0 && begins.is_empty() && self.gathered.is_empty() {
                return Ok(Left::Nothing);
            }
            let (task, over) = tokio::select! {
                biased;
                caught = signals.next() => return Ok(Left::Caught(caught)),
                _ = tick.tick(), if watched => {
                    let (rows, columns) = terminal::stderr_size();
                    let mut lines = live.lines(rows, columns, Instant::now());
                    lines.push(self.progress.line(self.began.elapsed(), columns));
                    front.out.draw(&lines);
                    continue;
                }
                Some((task, landed)) = landing.next(), if !landing.is_empty() => {
                    self.on_their_way.end(task);
                    match landed {
                    Ok(Landed::Over(outcome)) => (task, Ok(outcome)),
                    Ok(Landed::Again(before)) => {
                        again.push_back((task, before));
                        if before.lost > 0 {
                            let task: &Task = task;
                            front.out.always(&format!("command {}: {}", task.number, again::SENT_AGAIN));
                        }
                        continue;
                    }
                    Err(error) => (task, Err(error)),
                    }
                }
                // Outputs come at their own pace, and results wait for them where they are small.
                (id, event) = session.next_event(), if landing.len() < LANDING => {
                    match &event {
                        Ok(Event::Started { .. }) => if let Some(flying) = flying.get(&id) {
                            live.begins(id, in_a_line(&flying.task.title).as_ref(), Instant::now());
                        },
                        // What was lost begins anew where it is started.
                        Ok(Event::Done(_) | Event::Again { .. } | Event::Lost { .. }) | Err(_) => live.ends(&id),
                        Ok(_) => {}
                    }
                    match event {
                        Ok(Event::Done(result)) => {
                            most = jobs.min(most + 1);
                            if let Some(flying) = flying.remove(&id) {
                                self.on_their_way.begin(flying.task, &result);
                                landing.push(pool.land(flying, *result));
                            }
                            continue;
                        }
                        Ok(event) => {
                            if let (Some(sentence), Some(flying)) = (again::sentence(&event), flying.get(&id)) {
                                front.out.always(&format!("command {}: {sentence}", flying.task.number));
                            }
                            continue;
                        }
                        Err(error) => {
                            let Some(Flying { task, mut reruns, mut before, .. }) = flying.remove(&id) else { continue };
                            // There is no room for so many: it is its turn again when another has ended.
                            if error.is_for_want_of_room() && !flying.is_empty() {
                                most = flying.len();
                                again.push_front((task, before));
                                continue;
                            }
                            if matches!(error, ClientError::Forgotten { .. }) && reruns.lose(1).is_ok() {
                                front.out.always(&format!("command {}: {}", task.number, again::FORGOTTEN));
                                before.lost = reruns.lost();
                                again.push_back((task, before));
                                continue;
                            }
                            (task, Err(error.into()))
                        }
                    }
                }
                Some((task, begun)) = begins.next(), if !begins.is_empty() => {
                    match begun {
                        Ok((id, begun)) => {
                            flying.insert(id, begun);
                            continue;
                        }
                        Err(error) => (task, Err(error)),
                    }
                }
                // Nothing else is ready.
                () = std::future::ready(()), if !self.gathered.is_empty() => {
                    match signals.unless(self.flush()).await {
                        Ok(flushed) => flushed?,
                        Err(caught) => return Ok(Left::Caught(caught)),
                    }
                    continue;
                }
            };
            self.progress.under_way = flying.len() + begins.len();
            self.progress.not_fetched = landing.len();
            // Whoever reads what we print may have stopped for good.
            let end = match signals.unless(self.finish(task, over)).await {
                Ok(end) => end?,
                Err(caught) => return Ok(Left::Caught(caught)),
            };
            if args.fail_fast && end != End::Succeeded {
                let under_way = flying.len() + landing.len() + begins.len();
                let skipped = under_way + again.len() + todo.len();
                if skipped > 0 {
                    front.out.note(&format!(
                        "{} not run to the end, because of --fail-fast",
                        progress::commands(skipped)
                    ));
                }
                return Ok(if under_way > 0 { Left::Skipped } else { Left::Nothing });
            }
        }
    }

    async fn finish(
        &mut self,
        task: &Task,
        outcome: Result<Box<Outcome>, RunError>,
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
        let Outcome { result, verdict, stdout, stderr, .. } = &*outcome;
        match verdict.end {
            End::Succeeded => self.progress.succeeded += 1,
            End::Failed => self.progress.failed += 1,
            End::Cancelled | End::NotRun => self.progress.not_run += 1,
        }
        // A failure's own words stand behind all that was written before, and the job log names nothing that was not.
        let is_plain = verdict.end == End::Succeeded && stderr.is_empty() && self.log.is_none();
        if self.args.json {
            let mut map = report::result(result, verdict, &task.title);
            map.insert("number".into(), task.number.into());
            if let Some(id) = &task.id {
                map.insert("task".into(), id.as_str().into());
            }
            report::stream(&mut map, "stdout", stdout);
            report::stream(&mut map, "stderr", stderr);
            self.line(&serde_json::Value::from(map).to_string()).await?;
            if self.log.is_some() {
                self.flush().await?;
            }
            self.log(task, &outcome)?;
            return Ok(verdict.end);
        }
        self.streams(stdout, stderr).await?;
        if !is_plain {
            self.flush().await?;
        }
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
            for line in hands_front::verdict::left_out(result) {
                self.front.out.warning(&line);
            }
            let title = in_a_line(&task.title);
            self.front.out.error(&format!("command {} ({title}): {why}", task.number));
            crate::run::give_hints(self.front, verdict);
            if !self.hinted && verdict.end == End::Failed {
                let action = task.action.as_deref().unwrap_or(&self.args.action);
                for hint in hints::for_failure(&task.argv, action, result, &self.front.caller) {
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
        let why = hands_front::chain(error);
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
        let said = self.unrun.note(&why);
        if !said.is_named {
            return Ok(());
        }
        self.flush().await?;
        self.end_line_of_stderr();
        if let Some(sentence) = said.before {
            self.front.out.error(&sentence);
        }
        let title = in_a_line(&task.title);
        self.front.out.error(&format!("command {} ({title}) was not run: {why}", task.number));
        Ok(())
    }

    async fn line(&mut self, text: &str) -> Result<(), RunError> {
        self.gathered.extend_from_slice(text.as_bytes());
        self.gathered.push(b'\n');
        if self.gathered.len() < GATHERED { Ok(()) } else { self.flush().await }
    }

    /// Writes what was gathered.
    async fn flush(&mut self) -> Result<(), RunError> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        self.front.out.wipe_bar();
        let gathered = std::mem::take(&mut self.gathered);
        Ok(self.streams.stdout(&gathered).await?)
    }

    /// What one command wrote, after a line's end if the last command left one open.
    async fn streams(&mut self, stdout: &[u8], stderr: &[u8]) -> Result<(), RunError> {
        if let Some(last) = stdout.last() {
            if self.torn[0] {
                self.gathered.push(b'\n');
            }
            self.gathered.extend_from_slice(stdout);
            self.torn[0] = *last != b'\n';
        }
        if self.gathered.len() >= GATHERED {
            self.flush().await?;
        }
        if let Some(last) = stderr.last() {
            self.flush().await?;
            self.front.out.wipe_bar();
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

    /// Ends what is on the terminal's last line.
    fn wipe(&mut self) {
        self.end_line_of_stderr();
        self.front.out.wipe_bar();
    }

    /// Says of how many commands it was not said that they were not run.
    fn tell_unrun(&mut self) {
        if let Some(sentence) = self.unrun.rest() {
            self.wipe();
            self.front.out.error(&sentence);
        }
    }

    /// Says which outputs were on their way when the batch was left.
    fn tell_half_done(&mut self) {
        for sentence in self.on_their_way.sentences() {
            self.wipe();
            self.front.out.note(&sentence);
        }
    }

    fn summarize(&mut self) {
        self.wipe();
        let out = &self.front.out;
        let troubled = self.progress.failed + self.progress.not_run > 0;
        if out.watched() || out.is_verbose() || (troubled && !self.args.json) {
            out.note(&self.progress.summary(self.began.elapsed()));
        }
    }
}
