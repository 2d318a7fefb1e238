//! One action from request to end: streams out, input in, deadline, cancel.

use std::os::fd::OwnedFd;
use std::pin::pin;
use std::time::{Duration, SystemTime};

use hands_sandbox::{Outcome, Request, Slot, Status, Stdio, Step};
use hands_types::limits::MAX_STREAM;
use tokio::sync::mpsc;

use crate::command;
use crate::error::ExecError;
use crate::outcome::{ActionTree, End, Ran, Timings, Usage};
use crate::pool::{Kind, Pool, Warm};
use crate::request::{ControlEvent, ExecIo, ExecRequest, InputEvent, Piece, Stream};
use crate::stdin::Feeder;
use crate::streams::{self, Read, ReadEnd};
use crate::terminal;

pub(crate) async fn run(
    pool: &Pool,
    defaults: &[(String, String)],
    request: ExecRequest,
    io: ExecIo,
    cancel: impl Future<Output = ()>,
) -> Result<Ran, ExecError> {
    let mut cancel = pin!(cancel);
    let kind = Kind { network: request.network, privilege: request.privilege };
    let mut held = tokio::select! {
        biased;
        () = &mut cancel => return Ok(never_started()),
        held = pool.acquire(kind) => held?,
    };
    let slot = &held.warm()?.slot;
    let ends = Ends::open(slot, &request)?;
    let tree_needs_slot = request.tree && slot.holds_tree(request.scratch);
    let (sandbox_request, mut streams) = ends.into_request(request, defaults)?;
    let mut warm = held.take()?;
    if let Err(error) = warm.slot.begin(sandbox_request) {
        // Nothing was started; the slot is as good as before unless it is gone.
        if !matches!(error, hands_sandbox::SandboxError::Gone { .. }) {
            held.put(warm);
        }
        return Err(error.into());
    }

    let mut killed_for = None;
    let outcome = follow(&mut warm, &mut streams, io, cancel, &mut killed_for).await?;
    if !outcome.dirty {
        held.put(warm);
    }
    Ok(conclude(outcome, killed_for, streams.closed, tree_needs_slot.then_some(held)))
}

/// Why we killed the action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum KilledFor {
    Cancel,
    TooMuch(Stream),
}

/// Our ends of the action's streams.
struct Streams {
    /// One for a terminal.
    outputs: Vec<ReadEnd>,
    feeder: Option<Feeder>,
    /// One was closed while the action ran.
    closed: bool,
}

impl Streams {
    fn control(&mut self, event: ControlEvent) -> std::io::Result<()> {
        match (event, &self.feeder) {
            (ControlEvent::Close(stream), _) => self.close(stream),
            (ControlEvent::Resize(rows, columns), Some(feeder)) => feeder.resize(rows, columns)?,
            (ControlEvent::Signal(number), Some(feeder)) => feeder.signal(number)?,
            (ControlEvent::Resize(..) | ControlEvent::Signal(_), None) => {}
        }
        Ok(())
    }

    /// Closes our end of a pipe that nobody reads any more. What has been in it is lost, as in any pipe.
    fn close(&mut self, stream: Stream) {
        let before = self.outputs.len();
        self.outputs.retain(|end| end.stream != stream || !end.is_pipe);
        self.closed |= self.outputs.len() < before;
    }
}

/// Moves bytes both ways until the action is over and all that it wrote is handed on.
async fn follow(
    warm: &mut Warm,
    streams: &mut Streams,
    io: ExecIo,
    mut cancel: std::pin::Pin<&mut impl Future<Output = ()>>,
    killed_for: &mut Option<KilledFor>,
) -> Result<Outcome, ExecError> {
    let ExecIo { output, mut input, mut control } = io;
    let mut buffer = Vec::new();
    let mut outcome = None;
    // A place in the channel is taken before a stream is read: no place, no read, and the action's writes block.
    let mut place: Option<mpsc::Permit<'_, Piece>> = None;
    while outcome.is_none() || streams.outputs.iter().any(|s| !s.ended) {
        // When all of the action is dead, whatever can be read at once is all there is, even if a descriptor of
        // the pipe lives on somewhere, such as in a socket's queue.
        if outcome.is_some() && place.is_some() {
            let Some(at) = streams.outputs.iter().position(|s| !s.ended) else { break };
            let found = streams.outputs[at].read_rest(&mut buffer);
            if !take(&mut streams.outputs[at], found, &mut place, killed_for, warm)? {
                streams.outputs[at].ended = true;
            }
            continue;
        }
        let open = streams.outputs.iter().any(|s| !s.ended);
        let [first, second] = pair(&streams.outputs);
        let read_now = place.is_some() && outcome.is_none();
        let mut act = Act::Nothing;
        tokio::select! {
            biased;
            () = &mut cancel, if *killed_for != Some(KilledFor::Cancel) => act = Act::Cancel,
            result = readable(first), if read_now => act = Act::Read(0, result),
            result = readable(second), if read_now => act = Act::Read(1, result),
            // Whether or not there is room for input: an action that reads none of it must hear of this all the same.
            event = next_event(&mut control) => act = Act::Control(event),
            ended = warm.finished(), if outcome.is_none() => outcome = Some(ended?),
            reserved = output.reserve(), if place.is_none() && open => match reserved {
                Ok(permit) => place = Some(permit),
                // Nobody wants the output, so nobody wants the action.
                Err(_) => act = Act::Abandon,
            },
            event = next_event(&mut input), if has_room(streams.feeder.as_ref()) => act = Act::Input(event),
            result = writable(streams.feeder.as_ref()) => {
                result.map_err(ExecError::system("write to the action's standard input"))?;
                act = Act::Feed;
            }
        }
        match act {
            Act::Nothing => {}
            Act::Cancel => {
                *killed_for = Some(KilledFor::Cancel);
                warm.slot.kill()?;
            }
            Act::Abandon => {
                *killed_for = Some(KilledFor::Cancel);
                streams.outputs.clear();
                warm.slot.kill()?;
            }
            Act::Read(at, result) => {
                result.map_err(ExecError::system("read the action's output"))?;
                let found = streams.outputs[at].try_read(&mut buffer);
                take(&mut streams.outputs[at], found, &mut place, killed_for, warm)?;
            }
            Act::Input(event) => {
                if event.is_none() {
                    input = None;
                }
                if let Some(feeder) = &mut streams.feeder {
                    feeder.take(event).map_err(ExecError::system("feed the action"))?;
                }
            }
            Act::Control(event) => match event {
                None => control = None,
                Some(event) => {
                    streams.control(event).map_err(ExecError::system("control the action"))?;
                }
            },
            Act::Feed => {
                if let Some(feeder) = &mut streams.feeder {
                    feeder.write().map_err(ExecError::system("feed the action"))?;
                }
            }
        }
    }
    outcome.ok_or(ExecError::Sandbox(hands_sandbox::SandboxError::Gone { who: "spawner" }))
}

/// What a turn of the loop found to do.
enum Act {
    Nothing,
    Cancel,
    Abandon,
    Read(usize, std::io::Result<()>),
    Input(Option<InputEvent>),
    Control(Option<ControlEvent>),
    Feed,
}

/// Puts what a read found into the reserved place. Says whether there was anything; keeps the place if there was not.
fn take(
    stream: &mut ReadEnd,
    found: std::io::Result<Read>,
    place: &mut Option<mpsc::Permit<'_, Piece>>,
    killed_for: &mut Option<KilledFor>,
    warm: &Warm,
) -> Result<bool, ExecError> {
    let bytes = match found.map_err(ExecError::system("read the action's output"))? {
        Read::Nothing => return Ok(false),
        Read::End => return Ok(true),
        Read::Piece(bytes) => bytes,
    };
    let over = stream.total.saturating_sub(MAX_STREAM);
    if over > 0 {
        if !matches!(killed_for, Some(KilledFor::TooMuch(_))) {
            *killed_for = Some(KilledFor::TooMuch(stream.stream));
            warm.slot.kill()?;
        }
        // The bound is exact: what is beyond it is dropped, and so is the rest of the stream.
        stream.ended = true;
    }
    let keep = usize::try_from((bytes.len() as u64).saturating_sub(over)).unwrap_or(0);
    if keep > 0
        && let Some(place) = place.take()
    {
        place.send(Piece { stream: stream.stream, bytes: bytes.slice(..keep) });
    }
    Ok(true)
}

fn pair(outputs: &[ReadEnd]) -> [Option<&ReadEnd>; 2] {
    let mut ends = outputs.iter();
    [ends.next(), ends.next()]
}

async fn readable(end: Option<&ReadEnd>) -> std::io::Result<()> {
    match end {
        Some(end) if !end.ended => end.readable().await,
        Some(_) | None => std::future::pending().await,
    }
}

fn has_room(feeder: Option<&Feeder>) -> bool {
    feeder.is_none_or(Feeder::has_room)
}

async fn writable(feeder: Option<&Feeder>) -> std::io::Result<()> {
    match feeder {
        Some(feeder) if feeder.is_blocked() => feeder.writable().await,
        Some(_) | None => std::future::pending().await,
    }
}

async fn next_event<T>(events: &mut Option<mpsc::Receiver<T>>) -> Option<T> {
    match events {
        Some(events) => events.recv().await,
        None => std::future::pending().await,
    }
}

/// Both ends of what connects us with the action.
struct Ends {
    ours: Streams,
    theirs: Stdio,
}

impl Ends {
    fn open(slot: &Slot, request: &ExecRequest) -> Result<Self, ExecError> {
        match &request.terminal {
            Some(terminal) => {
                let (master, slave) = terminal::open(slot, terminal)?;
                let watch = || {
                    let feeder = Feeder::new(master.try_clone()?, true)?;
                    let outputs = vec![ReadEnd::new(Stream::Stdout, master, false)?];
                    Ok::<_, std::io::Error>(Self {
                        ours: Streams { outputs, feeder: Some(feeder), closed: false },
                        theirs: Stdio::Tty { slave },
                    })
                };
                watch().map_err(ExecError::system("watch a terminal"))
            }
            None => {
                Self::pipes(request.stdin).map_err(ExecError::system("open the action's streams"))
            }
        }
    }

    fn pipes(with_stdin: bool) -> std::io::Result<Self> {
        let (out_read, stdout) = streams::output_pipe()?;
        let (err_read, stderr) = streams::output_pipe()?;
        let (stdin, feeder): (Option<OwnedFd>, _) = if with_stdin {
            let (read, write) = streams::input_pipe()?;
            (Some(read), Some(Feeder::new(write, false)?))
        } else {
            (None, None)
        };
        let outputs = vec![
            ReadEnd::new(Stream::Stdout, out_read, true)?,
            ReadEnd::new(Stream::Stderr, err_read, true)?,
        ];
        Ok(Self {
            ours: Streams { outputs, feeder, closed: false },
            theirs: Stdio::Pipes { stdin, stdout, stderr },
        })
    }

    fn into_request(
        self,
        request: ExecRequest,
        defaults: &[(String, String)],
    ) -> Result<(Request, Streams), ExecError> {
        let argv = command::arguments(&request.command)?;
        let defaults = if request.root.is_empty() { defaults } else { &[] };
        let env = command::environment(&request.command, request.terminal.as_ref(), defaults)?;
        let below = request.command.working_directory.as_str();
        let cwd =
            if below.is_empty() { request.root_at.clone() } else { request.root_at.join(below) };
        let sandbox = Request {
            lowers: request.lowers,
            root: request.root,
            layers: request.layers,
            root_at: request.root_at,
            cwd,
            argv,
            env,
            set_home: true,
            input: request.input,
            stdio: self.theirs,
            deadline: request.deadline,
            limits: request.limits,
            scratch: request.scratch,
            tree: request.tree,
        };
        Ok((sandbox, self.ours))
    }
}

fn conclude(
    outcome: Outcome,
    killed_for: Option<KilledFor>,
    output_closed: bool,
    slot: Option<crate::pool::HeldSlot>,
) -> Ran {
    let clock = Clock::now();
    let end = match (killed_for, outcome.start_error) {
        (Some(KilledFor::Cancel), _) => End::Cancelled,
        (Some(KilledFor::TooMuch(stream)), _) => End::TooMuchOutput(stream),
        (None, Some(error)) if error.is_not_found() => End::NotFound,
        (None, Some(error)) if error.is_not_executable() => End::NotExecutable(error.errno),
        (None, Some(error)) if error.step == Step::WorkingDirectory => {
            End::BadWorkingDirectory(error.errno)
        }
        (None, Some(error)) => End::NotStarted(error.step.name().to_owned(), error.errno),
        (None, None) if outcome.timed_out => End::TimedOut,
        (None, None) => match outcome.status {
            Status::Exited(code) => End::Exited(code),
            Status::Signaled(signal) => End::Signaled(signal),
        },
    };
    let marks = outcome.marks;
    let executed = if marks.executed == 0 { marks.received } else { marks.executed };
    Ran {
        end,
        timings: Timings {
            executed: clock.at(executed),
            ended: clock.at(if marks.ended == 0 { marks.all_dead } else { marks.ended }),
        },
        usage: Usage {
            user_us: outcome.user_us,
            system_us: outcome.sys_us,
            // What a cgroup counts is above what the slot held before; one process is never more than all.
            peak_memory: outcome.peak_memory.unwrap_or(0).max(outcome.max_rss),
        },
        oom_killed: outcome.oom_killed,
        network_attempted: outcome.network_attempted,
        output_closed,
        tree: outcome.tree.map(|root| ActionTree { root, slot }),
    }
}

/// An action that was cancelled while it waited for its slot.
fn never_started() -> Ran {
    let now = SystemTime::now();
    Ran {
        end: End::Cancelled,
        timings: Timings { executed: now, ended: now },
        usage: Usage::default(),
        oom_killed: false,
        network_attempted: false,
        output_closed: false,
        tree: None,
    }
}

/// Both clocks at one moment, to turn the sandbox's monotonic marks into wall-clock times.
struct Clock {
    wall: SystemTime,
    monotonic_us: u64,
}

impl Clock {
    fn now() -> Self {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
        let micros = u64::try_from(now.tv_nsec / 1000).unwrap_or(0);
        Self { wall: SystemTime::now(), monotonic_us: seconds * 1_000_000 + micros }
    }

    /// 0 is a stage that was not reached: now.
    fn at(&self, mark: u64) -> SystemTime {
        let ago = if mark == 0 { 0 } else { self.monotonic_us.saturating_sub(mark) };
        self.wall.checked_sub(Duration::from_micros(ago)).unwrap_or(self.wall)
    }
}
