//! `hands status`, `logs`, `wait`, `attach`, `fetch`: one action at a time.

use std::fs::File;
use std::os::fd::AsFd;

use hands_client::{Cluster, Event, Job, JobInfo, JobResult, JobState, JobStream, Logs, TOOL};
use hands_front::eye::bytes;
use hands_front::{Facts, FrontEnd, Out, RunError, Signals, Trace, traced, verdict};
use hands_types::error::exit;
use serde_json::{Map, Value, json};
use tokio::time::{Duration, timeout};

use crate::args::{AttachArgs, FetchArgs, JobArgs, LogsArgs, WaitArgs};
use crate::follow::{Ended, Manner, Whose, follow};
use crate::jobs::describe::{job_json, rfc3339, state, time};
use crate::jobs::list::ended;
use crate::streams::Streams;
use crate::tty;
use crate::{again, report, run};

/// How long a running action's stream is silent before what it has so far counts as printed.
const SILENCE: Duration = Duration::from_millis(250);

/// Shows one action in full.
pub async fn status(args: JobArgs, front: &FrontEnd) -> u8 {
    ended(try_status(&args, front).await, front)
}

/// Says in one sentence what an action waits for.
pub async fn why(args: JobArgs, front: &FrontEnd) -> u8 {
    ended(try_why(&args, front).await, front)
}

/// Prints what an action wrote.
pub async fn logs(args: LogsArgs, front: &FrontEnd) -> u8 {
    ended(try_logs(&args, front).await, front)
}

/// Brings an action's outputs here.
pub async fn fetch(args: FetchArgs, front: &FrontEnd) -> u8 {
    ended(try_fetch(&args, front).await, front)
}

/// Waits for actions; the exit code is the first one that is not 0, as `run` would have it.
pub async fn wait(args: WaitArgs, front: &FrontEnd) -> u8 {
    let path = args.trace.as_deref();
    let waited = traced(path, "wait", front, async |trace| try_wait(&args, front, trace).await);
    passed(waited.await, front)
}

/// Follows an action as if it had been run here.
pub async fn attach(args: AttachArgs, front: &FrontEnd) -> u8 {
    let path = args.trace.as_deref();
    let left = traced(path, "attach", front, async |trace| {
        Box::pin(try_attach(&args, front, trace)).await
    });
    passed(left.await, front)
}

fn passed(result: Result<u8, RunError>, front: &FrontEnd) -> u8 {
    result.unwrap_or_else(|error| {
        error.print(&front.out);
        error.exit_code(true)
    })
}

async fn try_status(args: &JobArgs, front: &FrontEnd) -> Result<u8, RunError> {
    let job = front.connect("status").await?.get(&args.id).await?;
    if args.json {
        front.out.data_line(&job_json(&job).to_string())?;
        return Ok(exit::OK);
    }
    let mut lines = vec![
        ("id", job.id.clone()),
        ("tool", job.tool.clone()),
        ("kind", job.mnemonic.clone()),
        ("target", job.target.clone()),
        ("command", job.title.clone()),
        ("state", state(&job)),
        ("time", time(&job)),
        ("waiting", job.waiting.clone()),
        ("worker", job.worker.clone()),
        ("created", job.created.map_or_else(String::new, rfc3339)),
        ("started", job.started.map_or_else(String::new, rfc3339)),
        ("finished", job.finished.map_or_else(String::new, rfc3339)),
        ("message", job.message.clone()),
        ("action", job.action_digest.clone()),
        ("invocation", job.invocation.clone()),
    ];
    if let Some(failure) = &job.failure {
        lines.push(("error", failure.message.clone()));
    }
    if job.attempt > 1 {
        lines.push(("attempt", job.attempt.to_string()));
    }
    for lost in &job.lost {
        let text = format!("attempt {} on {}: {}", lost.attempt, lost.worker, lost.reason);
        lines.push(("lost", text));
    }
    if job.detached {
        lines.push(("detached", "yes".to_owned()));
    }
    if let Some(usage) = &job.usage {
        lines.push(("isolation", usage.isolation.clone()));
        lines.push((
            "cpu",
            format!("{} ms user, {} ms system", usage.user_us / 1_000, usage.system_us / 1_000),
        ));
        lines.push(("memory", format!("{} at most", bytes(usage.peak_memory))));
    }
    let mut facts = Facts::default();
    facts.extend(lines);
    facts.print(&front.out)?;
    Ok(exit::OK)
}

async fn try_why(args: &JobArgs, front: &FrontEnd) -> Result<u8, RunError> {
    let job = front.connect("why").await?.get(&args.id).await?;
    let sentence = why_sentence(&job);
    if args.json {
        let object = json!({ "id": job.id, "state": state(&job), "why": sentence });
        front.out.data_line(&object.to_string())?;
    } else {
        front.out.data_line(&Out::foreign(&sentence))?;
    }
    Ok(exit::OK)
}

fn why_sentence(job: &JobInfo) -> String {
    let attempt =
        if job.attempt > 1 { format!(", attempt {}", job.attempt) } else { String::new() };
    match job.state {
        // Running as far as anybody knows, but its worker is away.
        JobState::Queued | JobState::Running if !job.waiting.is_empty() => {
            format!("{}{attempt}", job.waiting)
        }
        JobState::Queued => "waiting: it is about to start".to_owned(),
        JobState::Running => {
            format!("nothing: it has been running for {} on {}{attempt}", time(job), job.worker)
        }
        JobState::Unknown => {
            "unknown: the cluster has a word for it that this version of hands has not; update it"
                .to_owned()
        }
        JobState::Done => {
            let how = match &job.failure {
                Some(failure) => failure.message.clone(),
                None => state(job),
            };
            format!("nothing: it has ended ({how})")
        }
    }
}

async fn try_logs(args: &LogsArgs, front: &FrontEnd) -> Result<u8, RunError> {
    let cluster = front.connect("logs").await?;
    let known = cluster.get(&args.id).await?;
    let wants = |stream| match stream {
        JobStream::Stdout => !args.stderr,
        JobStream::Stderr => !args.stdout,
    };
    let mut printer = LogPrinter { streams: Streams::default(), json: args.json };
    let mut job: Job = cluster.follow(&known.id, Logs::Live).await?;
    if args.json {
        // Each line says whose it is.
        job.restart(JobStream::Stdout);
        job.restart(JobStream::Stderr);
    } else {
        Streams::restart_on_terminals(&mut job);
    }
    let so_far = known.state != JobState::Done && !args.follow;
    let mut code = exit::OK;
    loop {
        let event = if so_far {
            // A stream of a running action has no end to read to, and does not say where it is now: what it has comes
            // at once, and then there is silence.
            match timeout(SILENCE, job.next()).await {
                Ok(event) => event?,
                Err(_) => break,
            }
        } else {
            job.next().await?
        };
        match event {
            Some(Event::Output { stream, attempt, data }) if wants(stream) => {
                printer.print(stream, attempt, &data).await?;
            }
            Some(event @ (Event::Again { .. } | Event::Lost { .. })) => {
                printer.streams.end_line().await;
                front.out.always(&again::sentence(&event).unwrap_or_default());
            }
            Some(Event::Done(result)) if result.unread.is_some() => {
                front.out.error(&result.unread.unwrap_or_default());
                code = exit::CLUSTER;
            }
            Some(_) => {}
            None => break,
        }
    }
    Ok(code)
}

struct LogPrinter {
    streams: Streams,
    json: bool,
}

impl LogPrinter {
    async fn print(
        &mut self,
        stream: JobStream,
        attempt: u32,
        data: &[u8],
    ) -> Result<(), RunError> {
        if data.is_empty() {
            return Ok(());
        }
        let name = match stream {
            JobStream::Stdout => "stdout",
            JobStream::Stderr => "stderr",
        };
        if self.json {
            let mut map = Map::new();
            map.insert("stream".into(), json!(name));
            map.insert("attempt".into(), json!(attempt));
            report::stream(&mut map, "data", data);
            let line = format!("{}\n", Value::from(map));
            return Ok(self.streams.stdout(line.as_bytes()).await?);
        }
        match stream {
            JobStream::Stdout => Ok(self.streams.stdout(data).await?),
            JobStream::Stderr => Ok(self.streams.stderr(data).await?),
        }
    }
}

async fn try_wait(args: &WaitArgs, front: &FrontEnd, trace: &Trace) -> Result<u8, RunError> {
    let mut signals = Signals::listen().map_err(RunError::Terminal)?;
    // Whoever waits only watches: the actions go on without them.
    match signals.unless(Box::pin(wait_for_all(args, front, trace))).await {
        Ok(code) => code,
        Err(caught) => Ok(caught.exit_code()),
    }
}

async fn wait_for_all(args: &WaitArgs, front: &FrontEnd, trace: &Trace) -> Result<u8, RunError> {
    let cluster = trace.span("connecting", front.connect("wait")).await?;
    let mut streams = Streams::default();
    let mut code = exit::OK;
    for id in &args.id {
        let known = cluster.get(id).await?;
        let title = known.title.clone();
        let mut flight = trace.watched(&title);
        let job = cluster.follow(id, Logs::No).await?;
        let tell = |event: &Event| {
            if let Some(sentence) = again::sentence(event) {
                front.out.always(&sentence);
            }
        };
        let result = front.telling(&cluster, job.wait_telling(tell)).await?;
        flight.has_result(&result);
        let verdict = verdict::of(&result, &declared(&cluster, &known, &result).await?);
        flight.ends(&verdict);
        if args.json {
            let map = report::result(&result, &verdict, &title);
            streams.stdout(format!("{}\n", Value::from(map)).as_bytes()).await?;
        } else {
            run::tell(front, &result, &verdict);
        }
        if result.output_paths().next().is_some() {
            let id = &known.id;
            front
                .out
                .note(&format!("action {id} has outputs; `hands fetch {id}` brings them here"));
        }
        if code == exit::OK {
            code = verdict.code;
        }
    }
    Ok(code)
}

async fn try_attach(args: &AttachArgs, front: &FrontEnd, trace: &Trace) -> Result<u8, RunError> {
    let mut signals = Signals::listen().map_err(RunError::Terminal)?;
    let finding = async {
        let cluster = trace.span("connecting", front.connect("attach")).await?;
        let known = cluster.get(&args.id).await?;
        let job = cluster.follow(&known.id, Logs::Live).await?;
        Ok::<_, RunError>((cluster, known, job))
    };
    let (cluster, known, mut job) = match signals.unless(Box::pin(finding)).await {
        Ok(found) => found?,
        Err(caught) => return Ok(caught.exit_code()),
    };
    let mut flight = trace.watched(&known.title);
    let is_done = known.state == JobState::Done;
    let ended = if known.has_terminal && !is_done {
        // A session that somebody else began: it needs a terminal here, too.
        tty::terminal(&front.caller)?;
        let session = tty::run(&cluster, &mut job, &mut signals, &front.out, Whose::Watched);
        front.telling(&cluster, session).await?
    } else {
        let mut streams = Streams::default();
        let shown = Some(&mut streams);
        let manner = Manner { whose: Whose::Watched, stdin: false, has_outputs: false };
        let following = follow(&cluster, &mut job, shown, &mut signals, &front.out, manner);
        front.telling(&cluster, following).await?
    };
    let result = match ended {
        Ended::Done(result, _) => result,
        Ended::Left(caught) => {
            if !is_done {
                front.out.note(&left(&known));
            }
            return Ok(caught.exit_code());
        }
        Ended::Closed => return Ok(exit::SIGPIPE),
    };
    flight.has_result(&result);
    let judging = declared(&cluster, &known, &result);
    let verdict = match signals.unless(judging).await {
        Ok(declared) => verdict::of(&result, &declared?),
        Err(caught) => return Ok(caught.exit_code()),
    };
    flight.ends(&verdict);
    run::tell(front, &result, &verdict);
    Ok(verdict.code)
}

/// What is said to somebody who has watched an action and leaves it.
fn left(known: &JobInfo) -> String {
    let id = &known.id;
    if known.detached {
        format!(
            "left action {id}, which goes on: `hands attach {id}` comes back, `hands cancel {id}` ends it"
        )
    } else {
        format!(
            "left action {id}, which goes on while somebody else waits for it; `hands cancel {id}` ends it"
        )
    }
}

async fn try_fetch(args: &FetchArgs, front: &FrontEnd) -> Result<u8, RunError> {
    // Without them a signal would end us at once, and what is half written would stay.
    let mut signals = Signals::listen().map_err(RunError::Terminal)?;
    match signals.unless(fetch_all(args, front)).await {
        Ok(code) => code,
        Err(caught) => Ok(caught.exit_code()),
    }
}

async fn fetch_all(args: &FetchArgs, front: &FrontEnd) -> Result<u8, RunError> {
    let cluster = front.connect("fetch").await?;
    let known = cluster.get(&args.id).await?;
    if known.state != JobState::Done {
        return Err(RunError::Usage(format!(
            "action {} is not done; `hands wait {}` waits for it",
            known.id, known.id
        )));
    }
    let result = cluster.follow(&known.id, Logs::No).await?.wait().await?;
    let below = File::open(&args.directory)
        .map_err(|source| RunError::Read { path: args.directory.clone(), source })?;
    let fetched = cluster.fetch_outputs(&result, below.as_fd()).await?;
    for output in &fetched.written {
        if args.json {
            front
                .out
                .data_line(&json!({ "path": output.path, "bytes": output.bytes }).to_string())?;
        } else {
            front.out.data_line(&Out::foreign(&output.path))?;
        }
    }
    let verdict = verdict::of(&result, &declared(&cluster, &known, &result).await?);
    for line in verdict::left_out(&result) {
        front.out.warning(&line);
    }
    let lacks = !verdict.missing.is_empty() || result.left_out.total > 0;
    if let (true, Some(sentence)) = (lacks, &verdict.sentence) {
        front.out.error(sentence);
        return Ok(verdict.code);
    }
    if fetched.written.is_empty() && !front.out.is_quiet() {
        front.out.note("the action has no outputs");
    }
    Ok(exit::OK)
}

/// What the action of a `hands run` promised to make, where that has to be there: other tools may declare what need not be.
async fn declared(
    cluster: &Cluster,
    known: &JobInfo,
    result: &JobResult,
) -> Result<Vec<String>, RunError> {
    match result.action {
        Some(action) if result.is_success() && known.tool == TOOL => {
            Ok(cluster.declared_outputs(action).await?)
        }
        _ => Ok(Vec::new()),
    }
}
