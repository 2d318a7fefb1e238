//! `hands shell`: a prompt whose lines run on the cluster, each by itself in a fresh directory.

mod reader;

use std::cell::{Cell, RefCell};

use hands_client::{Cluster, ClusterKind, ImageSource};
use hands_front::{Around, Caught, End, FrontEnd, RunError, Signals, Trace, spec, traced, verdict};
use hands_types::error::exit;
use tokio::task::spawn_blocking;

use crate::args::ShellArgs;
use crate::batch::shell_argv;
use crate::follow::{Ended, Manner, Whose, follow};
use crate::streams::Streams;
use crate::{engine, hints, image, run};
use reader::{LineReader, Typed};

const PROMPT: &str = "hands> ";

/// Runs the prompt; its exit code is that of the last line, as a shell's is.
pub async fn shell(args: ShellArgs, front: &FrontEnd) -> u8 {
    let path = args.trace.as_deref();
    let traced =
        traced(path, "shell", front, async |trace| Box::pin(try_shell(&args, front, trace)).await);
    match traced.await {
        Ok(code) => code,
        Err(error) => {
            error.print(&front.out);
            error.exit_code(true)
        }
    }
}

async fn try_shell(args: &ShellArgs, front: &FrontEnd, trace: &Trace) -> Result<u8, RunError> {
    let mut signals = Signals::listen().map_err(RunError::Terminal)?;
    spec::warn_of_unset(&args.action, &front.caller, &front.out);
    let connecting = Box::pin(trace.span("connecting", front.connect("shell")));
    let cluster = match signals.unless(connecting).await {
        Ok(cluster) => cluster?,
        Err(caught) => return Ok(caught.exit_code()),
    };
    engine::check(&args.action, cluster.kind(), cluster.peer())?;
    if let Some(sentence) = engine::loses_times(&args.action, &cluster) {
        front.out.warning(&sentence);
    }
    if let Some(sentence) = image::warning(&args.action, &cluster) {
        front.out.warning(&sentence);
    }
    let image = image::open(&args.action)?;
    if let Some(image) = &image {
        // What is wrong with it is told before anybody types.
        let reading = trace.span("reading the image", image::read(image, &cluster, front));
        match signals.unless(reading).await {
            Ok(read) => drop(read?),
            Err(caught) => return Ok(caught.exit_code()),
        }
    }
    let mut reader = LineReader::new(front.caller.history.clone())?;
    let interactive = reader.is_terminal();
    if interactive {
        front
            .out
            .note("each line runs on the cluster, by itself in a fresh directory; Ctrl-D leaves");
    }
    let mut code = exit::OK;
    let hinted = Cell::new(false);
    let image = image.as_ref();
    let place = Place { args, cluster: &cluster, front, trace, image, interactive, hinted };
    loop {
        let reading = spawn_blocking(move || {
            let typed = reader.read(PROMPT);
            (reader, typed)
        });
        let read = tokio::select! {
            read = reading => read,
            // In the line editor Ctrl-C is a key, so a signal comes from elsewhere, or to a script on stdin.
            caught = signals.next() => return Ok(caught.exit_code()),
        };
        let (back, typed) = read.map_err(|_| RunError::Bug("reading a line panicked"))?;
        reader = back;
        let line = match typed? {
            Typed::End => return Ok(code),
            Typed::Interrupted => continue,
            Typed::Line(line) => line,
        };
        match Meaning::of(line.trim()) {
            Meaning::Nothing => {}
            Meaning::Leave(asked) => return Ok(asked.unwrap_or(code)),
            Meaning::ChangeDirectory => {
                front.out.hint("each line runs by itself; write `cd DIR && COMMAND` on one line");
            }
            Meaning::Run(line) => {
                match run_line(line, &place, &mut signals).await {
                    Ok(Line { caught: Some(caught), .. })
                        if !interactive || caught != Caught::Interrupt =>
                    {
                        return Ok(caught.exit_code());
                    }
                    Ok(line) => code = line.code,
                    Err(error @ (RunError::Closed | RunError::Stdout(_))) => return Err(error),
                    // One line that could not be run is no reason to leave.
                    Err(error) => {
                        error.print(&front.out);
                        code = error.exit_code(true);
                    }
                }
            }
        }
    }
}

/// What a line asks for.
#[derive(Debug, PartialEq, Eq)]
enum Meaning<'a> {
    Nothing,
    Leave(Option<u8>),
    ChangeDirectory,
    Run(&'a str),
}

impl<'a> Meaning<'a> {
    fn of(line: &'a str) -> Self {
        let mut words = line.split_whitespace();
        match (words.next(), words.next(), words.next()) {
            (None, ..) => Self::Nothing,
            // Several lines that were pasted as one are a script, whatever the first of them says.
            _ if line.contains('\n') => Self::Run(line),
            (Some(word), ..) if word.starts_with('#') => Self::Nothing,
            (Some("exit" | "quit" | "logout"), None, None) => Self::Leave(None),
            (Some("exit"), Some(code), None) => {
                code.parse().map_or(Self::Run(line), |code| Self::Leave(Some(code)))
            }
            (Some("cd"), _, None) => Self::ChangeDirectory,
            _ => Self::Run(line),
        }
    }
}

/// Where lines run.
struct Place<'a> {
    args: &'a ShellArgs,
    cluster: &'a Cluster,
    front: &'a FrontEnd,
    trace: &'a Trace,
    /// Read anew for each line, for the store may have let go of it: what did not change costs next to nothing.
    image: Option<&'a ImageSource>,
    interactive: bool,
    /// Whether it was said that an output's directory is not sent.
    hinted: Cell<bool>,
}

/// How a line ended.
struct Line {
    code: u8,
    /// The signal that ended it. One that is no key ends the shell, too.
    caught: Option<Caught>,
}

impl Line {
    const fn ended_by(caught: Caught) -> Self {
        Self { code: caught.exit_code(), caught: Some(caught) }
    }
}

async fn run_line(line: &str, place: &Place<'_>, signals: &mut Signals) -> Result<Line, RunError> {
    let Place { args, cluster, front, trace, image, interactive, ref hinted } = *place;
    let argv = shell_argv(line);
    let submitting = async {
        let mut spec = spec::job(&args.action, argv.clone(), line.to_owned(), None, &front.caller)?;
        front.give_layers(cluster, &args.action, &mut spec, &RefCell::default()).await?;
        let outputs = spec::outputs(&args.action)?;
        let mut around = Around::default();
        if let Some(source) = image {
            let reading = image::read(source, cluster, front);
            let image = trace.span("reading the image", reading).await?;
            around = image::apply(&image, &mut spec, &args.action, cluster, front).await?;
        } else if cluster.kind() == ClusterKind::Engine {
            around.below = spec.flatten();
        }
        let snapshot = front.snapshot_with(cluster, &args.action.input, spec.times, around);
        let snapshot = trace.span("sending inputs", snapshot).await?;
        spec.input_root = snapshot.as_ref().map(|s| s.root);
        if let Some(snapshot) = snapshot.filter(|_| !hinted.get())
            && let Some(hint) =
                hints::ignored_outputs(&args.action, &outputs, &snapshot, &front.caller)?
        {
            hinted.set(true);
            front.out.hint(&hint);
        }
        run::check_places(&args.action, &outputs, front)?;
        let flight = trace.action(line);
        Ok::<_, RunError>((cluster.submit(spec).await?, outputs, flight))
    };
    let (mut job, outputs, mut flight) = tokio::select! {
        submitted = front.telling(cluster, submitting) => submitted?,
        caught = signals.next() => return Ok(Line::ended_by(caught)),
    };
    if let Some(note) = job.note() {
        front.out.warning(note);
    }
    let mut streams = Streams::default();
    let manner =
        Manner { whose: Whose::Ours, stdin: false, has_outputs: !args.action.output.is_empty() };
    let following = follow(cluster, &mut job, Some(&mut streams), signals, &front.out, manner);
    let (result, cancelled) = match front.telling(cluster, following).await? {
        Ended::Done(result, cancelled) => (result, cancelled),
        Ended::Left(caught) => return Ok(Line::ended_by(caught)),
        Ended::Closed => return Err(RunError::Closed),
    };
    flight.has_result(&result);
    let mut verdict = verdict::of(&result, &outputs);
    if let (Some(caught), End::Cancelled | End::NotRun) = (cancelled, verdict.end) {
        verdict.code = caught.exit_code();
        verdict.sentence = None;
    }
    if streams.is_unwritable() {
        verdict.was_not_written();
    }
    let settled = run::settle_unless(signals, cluster, &result, &mut verdict, front).await;
    if let Some(sentence) = hints::wrong_clock(&args.action, &result) {
        front.out.warning(&sentence);
    }
    if let Some(caught) = settled {
        return Ok(Line::ended_by(caught));
    }
    flight.ends(&verdict);
    if streams.is_cut() {
        return Err(RunError::Closed);
    }
    if interactive {
        run::tell(front, &result, &verdict);
    } else if verdict.code != 0 {
        for line in verdict::left_out(&result) {
            front.out.warning(&line);
        }
        front.out.note(
            &verdict.sentence.clone().unwrap_or_else(|| format!("exit code {}", verdict.code)),
        );
        run::give_hints(front, &verdict);
    }
    if verdict.end == End::Failed {
        for hint in hints::for_failure(&argv, &args.action, &result, &front.caller) {
            front.out.hint(&hint);
        }
    }
    Ok(Line { code: verdict.code, caught: cancelled })
}
