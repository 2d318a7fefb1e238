//! `hands run`: one command, as if it ran here.

pub(crate) mod script;

use std::cell::RefCell;
use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;

use bytes::Bytes;
use hands_client::{Cluster, ClusterKind, JobResult, JobStream, Logs, check_place};
use hands_front::args::{ActionArgs, value};
use hands_front::{
    Around, Caught, End, FrontEnd, Own, RunError, Signals, Trace, Verdict, eye, shell_quoted, spec,
    traced, verdict,
};
use hands_types::error::exit;

use crate::args::RunArgs;
use crate::engine;
use crate::follow::{Ended, Manner, Whose, follow};
use crate::streams::Streams;
use crate::tty;
use crate::{again, hints, image, report};

/// Runs the command and returns the process's exit code.
pub async fn run(args: RunArgs, front: &FrontEnd) -> u8 {
    let path = args.trace.clone();
    let ended = traced(path.as_deref(), "run", front, async |trace| {
        Box::pin(try_run(args, front, trace)).await
    });
    ended.await.unwrap_or_else(|error| {
        error.print(&front.out);
        error.exit_code(true)
    })
}

async fn try_run(args: RunArgs, front: &FrontEnd, trace: &Trace) -> Result<u8, RunError> {
    let mut signals = Signals::listen().map_err(RunError::Terminal)?;
    let mut argv: Vec<String> =
        args.command.iter().map(value::text).collect::<Result<_, _>>().map_err(RunError::Usage)?;
    let title = title_of(&argv);
    if argv.first().is_some_and(|first| first == "-") {
        if args.stdin || args.tty {
            return Err(RunError::Usage(
                "`-` reads the script from standard input, which --stdin and --tty want too"
                    .to_owned(),
            ));
        }
        argv = match signals.unless(script::read(argv.split_off(1))).await {
            Ok(argv) => argv?,
            Err(caught) => return Ok(caught.exit_code()),
        };
    }
    spec::warn_of_unset(&args.action, &front.caller, &front.out);
    let mut spec = spec::job(&args.action, argv, title, None, &front.caller)?;
    if args.tty {
        spec.terminal = Some(tty::terminal(&front.caller)?);
    }
    spec.stdin = args.stdin;
    spec.detach = args.detach;
    if args.detach || args.json {
        spec.logs = Logs::No;
    }
    let outputs = spec::outputs(&args.action)?;

    let image = image::open(&args.action)?;
    if !args.detach {
        check_places(&args.action, &outputs, front)?;
    }
    let connecting = Box::pin(trace.span("connecting", front.connect("run")));
    let cluster = match signals.unless(connecting).await {
        Ok(cluster) => cluster?,
        Err(caught) => return Ok(caught.exit_code()),
    };
    engine::check_run(&args, cluster.kind(), cluster.peer())?;
    let sentences =
        [engine::loses_times(&args.action, &cluster), image::warning(&args.action, &cluster)];
    for sentence in sentences.iter().flatten() {
        front.out.warning(sentence);
    }
    let takes_live_input = cluster.kind() != ClusterKind::Engine;
    let mut is_stdin_sent = false;
    let mut sent_again = false;
    let mut streams = Streams::default();
    let (job, mut flight, ended, argv, title) = loop {
        let submitting = async {
            let mut spec = spec.clone();
            front.give_layers(&cluster, &args.action, &mut spec, &RefCell::default()).await?;
            let mut around = Around::default();
            if let Some(image) = &image {
                let reading = image::read(image, &cluster, front);
                let root = trace.span("reading the image", reading).await?;
                if spec.argv.is_empty() {
                    spec.argv = image::command_of(&root)?;
                    spec.title = title_of(&spec.argv);
                }
                around = image::apply(&root, &mut spec, &args.action, &cluster, front).await?;
            }
            if cluster.kind() == ClusterKind::Engine && image.is_none() {
                around.below = spec.flatten();
            }
            let said = (spec.argv.clone(), spec.title.clone());
            let (stdin, pouring) = match args.stdin && !takes_live_input {
                true => {
                    let (part, pouring) = engine::stdin_part(&spec)?;
                    engine::redirect_stdin(&mut spec);
                    is_stdin_sent = true;
                    (Some(part), Some(pouring))
                }
                false => (None, None),
            };
            around.above = stdin;
            let times = spec.times;
            let snapshot = async {
                let inputs = &args.action.input;
                let snapshot = front.snapshot_with(&cluster, inputs, times, around);
                let pouring = async {
                    match pouring {
                        Some(pouring) => pouring.await,
                        None => Ok(()),
                    }
                };
                Ok::<_, RunError>(tokio::try_join!(snapshot, pouring)?.0)
            };
            let snapshot = trace.span("sending inputs", snapshot).await?;
            // Not for each run of what is meant to begin anew.
            let is_told = front.out.is_verbose() && !sent_again;
            if let Some(snapshot) = snapshot.as_ref().filter(|_| is_told)
                && let Some(hint) =
                    hints::ignored_outputs(&args.action, &outputs, snapshot, &front.caller)?
            {
                front.out.hint(&hint);
            }
            spec.input_root = snapshot.map(|s| s.root);
            let flight = trace.action(&said.1);
            Ok::<_, RunError>((cluster.submit(spec).await?, flight, said))
        };
        let (mut job, flight, (argv, title)) = tokio::select! {
            submitted = front.telling(&cluster, submitting) => submitted?,
            caught = signals.next() => {
                // The hub may have the action although it has not said so.
                front.cancel_all(&cluster, &mut signals).await;
                return Ok(caught.exit_code());
            }
        };
        if let Some(note) = job.note() {
            front.out.warning(note);
        }
        if args.detach {
            let id = tokio::select! {
                id = front.telling(&cluster, job.accepted()) => id?,
                caught = signals.next() => {
                    // Nobody knows its name, so that nobody could end it.
                    front.give_up(&cluster, Own::Job(&job), &mut signals).await;
                    return Ok(caught.exit_code());
                }
            };
            let line = if args.json {
                serde_json::json!({ "id": id, "command": title }).to_string()
            } else {
                id.clone()
            };
            if let Err(error) = front.out.data_line(&line).map_err(RunError::from) {
                error.print(&front.out);
                front.out.hint(&format!("action {id} runs; `hands cancel {id}` ends it"));
                return Ok(error.exit_code(true));
            }
            return Ok(exit::OK);
        }
        let ended = if args.tty {
            let session = tty::run(&cluster, &mut job, &mut signals, &front.out, Whose::Ours);
            front.telling(&cluster, session).await?
        } else {
            let show = (!args.json).then_some(&mut streams);
            let manner = Manner {
                whose: Whose::Ours,
                stdin: args.stdin && takes_live_input,
                has_outputs: !outputs.is_empty(),
            };
            let following = follow(&cluster, &mut job, show, &mut signals, &front.out, manner);
            front.telling(&cluster, following).await?
        };
        match &ended {
            // What was typed or piped meanwhile can't be had again, nor what was shown.
            Ended::Done(result, None)
                if !sent_again
                    && !spec.stdin
                    && !is_stdin_sent
                    && lacks_inputs(result)
                    && !streams.is_spent()
                    && spec.budget().lose(begun(result)).is_ok() =>
            {
                sent_again = true;
                let mut reruns = spec.budget();
                if begun(result) > 0 && reruns.lose(begun(result)).is_ok() {
                    streams.end_line().await;
                    front.out.always(again::SENT_AGAIN);
                    spec.retry = reruns.left();
                }
            }
            Ended::Done(..) | Ended::Left(_) | Ended::Closed => {
                break (job, flight, ended, argv, title);
            }
        }
    };
    let (result, cancelled) = match ended {
        Ended::Done(result, cancelled) => (result, cancelled),
        Ended::Left(caught) => {
            if job.id().is_empty() {
                front.give_up(&cluster, Own::Job(&job), &mut signals).await;
            }
            return Ok(caught.exit_code());
        }
        Ended::Closed => return Ok(exit::SIGPIPE),
    };
    flight.has_result(&result);
    let mut verdict = verdict::of(&result, &outputs);
    if streams.is_cut() {
        verdict.was_cut_short(&result);
    }
    if streams.is_unwritable() {
        verdict.was_not_written();
    }
    if let (Some(caught), End::Cancelled | End::NotRun) = (cancelled, verdict.end) {
        verdict.code = caught.exit_code();
        verdict.sentence = None;
    }
    if let Some(caught) = settle_unless(&mut signals, &cluster, &result, &mut verdict, front).await
    {
        return Ok(caught.exit_code());
    }
    flight.ends(&verdict);
    for sentence in hints::not_kept(&args.action, &result) {
        front.out.warning(&sentence);
    }
    if let Some(sentence) = hints::wrong_clock(&args.action, &result) {
        front.out.warning(&sentence);
    }
    if args.json {
        give_hints(front, &verdict);
        let printing = async {
            let stdout = stream_of(&cluster, &result, JobStream::Stdout, &mut verdict).await;
            let stderr = stream_of(&cluster, &result, JobStream::Stderr, &mut verdict).await;
            let mut map = report::result(&result, &verdict, &title);
            report::stream(&mut map, "stdout", &stdout);
            report::stream(&mut map, "stderr", &stderr);
            let line = format!("{}\n", serde_json::Value::from(map));
            streams.stdout(line.as_bytes()).await?;
            Ok::<_, RunError>(verdict.code)
        };
        return match signals.unless(printing).await {
            Ok(printed) => printed,
            Err(caught) => Ok(caught.exit_code()),
        };
    }
    tell(front, &result, &verdict);
    if verdict.end == End::Failed && !args.tty && !streams.is_cut() {
        for hint in hints::for_failure(&argv, &args.action, &result, &front.caller) {
            front.out.hint(&hint);
        }
    }
    Ok(verdict.code)
}

fn title_of(argv: &[String]) -> String {
    argv.iter().map(|word| shell_quoted(word)).collect::<Vec<_>>().join(" ")
}

/// Refuses an output before the command runs for which there is no place here. Where its directories are sent, whoever
/// makes them there says it.
pub(crate) fn check_places(
    args: &ActionArgs,
    outputs: &[String],
    front: &FrontEnd,
) -> Result<(), RunError> {
    let directory = &front.caller.directory;
    let mut unsent = outputs.iter().filter(|o| !hints::is_sent(args, directory, Path::new(o)));
    let Some(first) = unsent.next() else { return Ok(()) };
    let below = File::open(directory)
        .map_err(|source| RunError::Read { path: directory.clone(), source })?;
    for output in std::iter::once(first).chain(unsent) {
        check_place(below.as_fd(), output)?;
    }
    Ok(())
}

/// Whether the command was not run because inputs went from the store after they were sent: evicted, or spoiled by the
/// disk. Sent once more, they are there again.
pub(crate) fn lacks_inputs(result: &JobResult) -> bool {
    result.failure.as_ref().is_some_and(|failure| !failure.missing.is_empty())
}

/// How many attempts of a command were started, of which there is no result.
pub(crate) fn begun(result: &JobResult) -> u32 {
    u32::try_from(result.lost().len()).unwrap_or(u32::MAX)
}

/// Puts a result's outputs in place, unless a signal comes first: then what is half written is taken away again.
pub(crate) async fn settle_unless(
    signals: &mut Signals,
    cluster: &Cluster,
    result: &JobResult,
    verdict: &mut Verdict,
    front: &FrontEnd,
) -> Option<Caught> {
    match signals.unless(settle(cluster, result, verdict, front)).await {
        Ok(()) => None,
        Err(caught) => {
            let how = how_to_have_outputs(result);
            front.out.note(&format!("not all outputs are here; {how}"));
            Some(caught)
        }
    }
}

/// Puts a result's outputs in place. The command has been run also where they can't be had.
pub(crate) async fn settle(
    cluster: &Cluster,
    result: &JobResult,
    verdict: &mut Verdict,
    front: &FrontEnd,
) {
    if let Err(error) = bring(cluster, result, front).await {
        let why = format!("its outputs can't be had: {}", hands_front::chain(&error));
        verdict.was_not_brought(why, error.exit_code(true));
        verdict.hints.extend(error.hint());
        verdict.hints.push(how_to_have_outputs(result));
    }
}

async fn bring(cluster: &Cluster, result: &JobResult, front: &FrontEnd) -> Result<(), RunError> {
    if result.output_paths().next().is_none() {
        return Ok(());
    }
    let directory = &front.caller.directory;
    let below = File::open(directory)
        .map_err(|source| RunError::Read { path: directory.clone(), source })?;
    cluster.fetch_outputs(result, below.as_fd()).await?;
    Ok(())
}

/// How outputs that are not here are had.
fn how_to_have_outputs(result: &JobResult) -> String {
    match result.id.as_str() {
        // The action cache had it before it was an operation.
        "" => "the same command brings the outputs once more, from the cache".to_owned(),
        id => format!("`hands fetch {id}` brings the outputs once more, `-C DIR` to another place"),
    }
}

/// What may help, behind the sentence that it belongs to.
pub(crate) fn give_hints(front: &FrontEnd, verdict: &Verdict) {
    for hint in &verdict.hints {
        front.out.hint(hint);
    }
}

/// What the command wrote. It has been run also where that can't be had.
pub(crate) async fn stream_of(
    cluster: &Cluster,
    result: &JobResult,
    stream: JobStream,
    verdict: &mut Verdict,
) -> Bytes {
    let error = match cluster.stream_of(result, stream).await {
        Ok(bytes) => return bytes,
        Err(error) => RunError::from(error),
    };
    let name = match stream {
        JobStream::Stdout => "standard output",
        JobStream::Stderr => "standard error",
    };
    let why = format!("its {name} can't be had: {}", hands_front::chain(&error));
    verdict.was_not_brought(why, error.exit_code(true));
    Bytes::new()
}

/// Says what the exit code alone does not.
pub(crate) fn tell(front: &FrontEnd, result: &JobResult, verdict: &Verdict) {
    let out = &front.out;
    for line in verdict::left_out(result) {
        out.warning(&line);
    }
    if let Some(sentence) = &verdict.sentence {
        out.error(sentence);
    }
    give_hints(front, verdict);
    if out.watched() || out.is_verbose() {
        out.note(&closing(result, verdict));
        if !result.remark.is_empty() {
            out.note(&format!("the engine says: {}", result.remark));
        }
    }
}

/// The closing line: exit code, worker, time, isolation.
fn closing(result: &JobResult, verdict: &Verdict) -> String {
    let mut parts = vec![format!("exit code {}", verdict.code)];
    if result.cached {
        parts.push("from the cache".to_owned());
    } else {
        let worker = result.worker();
        if !worker.is_empty() {
            parts.push(format!("worker {worker}"));
        }
    }
    if let Some(time) = result.execution_time() {
        parts.push(eye::time(time));
    }
    if let Some(usage) = result.usage() {
        if usage.oom_killed {
            parts.push("out of memory".to_owned());
        }
        if !usage.isolation.is_empty() {
            parts.push(format!("isolation {}", usage.isolation));
        }
        if usage.attempt > 1 {
            parts.push(format!("attempt {}", usage.attempt));
        }
    }
    parts.join(", ")
}
