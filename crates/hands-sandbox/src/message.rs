//! Requests and outcomes as packets.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path};
use std::time::Duration;

use hands_sandbox_child::{Report, step};
use hands_types::limits::MAX_ROOT_LAYERS;
use rustix::fs::MemfdFlags;

use crate::outcome::{Marks, StartError, Status, Step};
use crate::wire::{self, MAX_PACKET, Reader, Writer};
use crate::{InputRoot, Outcome, Request, SandboxError, Scratch, Stdio};

/// Kind of packet: a request whose body follows.
pub(crate) const REQUEST: u64 = 1;
/// Kind of packet: a request whose body is the first descriptor's content.
pub(crate) const REQUEST_IN_FILE: u64 = 2;
/// Kind of packet: kill the action of the number that follows.
pub(crate) const KILL: u64 = 3;

const NONE: u64 = u64::MAX;
const MAX_LOWERS: usize = 8;

/// Checks a request and writes its body.
pub(crate) fn encode_request(
    request: &Request,
    sequence: u64,
    copies_only: bool,
) -> Result<Vec<u8>, SandboxError> {
    check(request, copies_only)?;
    let mut body = Writer::default();
    body.u64(sequence).path(&request.root_at).path(&request.cwd);
    body.u64(request.lowers.len() as u64);
    for lower in &request.lowers {
        body.path(lower);
    }
    body.u64(request.root.len() as u64);
    for layer in &request.root {
        body.path(layer);
    }
    body.u64(request.layers.len() as u64);
    for layer in &request.layers {
        body.path(&layer.dir).path(&layer.at);
    }
    body.texts(request.argv.iter().map(|s| s.to_bytes()));
    body.texts(request.env.iter().map(|s| s.to_bytes()));
    let (tty, stdin) = match &request.stdio {
        Stdio::Pipes { stdin, .. } => (false, stdin.is_some()),
        Stdio::Tty { .. } => (true, true),
    };
    let deadline =
        request.deadline.map_or(NONE, |d| u64::try_from(d.as_micros()).unwrap_or(NONE - 1));
    body.u64(request.set_home.into()).u64((request.input == InputRoot::Copy).into());
    body.u64(tty.into()).u64(stdin.into()).u64(deadline);
    body.u64(request.limits.memory.unwrap_or(NONE));
    body.u64(request.limits.pids.map_or(NONE, u64::from));
    body.u64(request.limits.nofile.unwrap_or(NONE));
    body.u64(match request.scratch {
        Scratch::Tmpfs { size } => size.min(NONE - 1),
        Scratch::Disk => NONE,
    });
    body.u64(request.tree.into());
    Ok(body.0)
}

fn check(request: &Request, copies_only: bool) -> Result<(), SandboxError> {
    let invalid = |text: String| Err(SandboxError::Invalid(text));
    if request.argv.is_empty() {
        return invalid("the command has no arguments, not even a program".to_owned());
    }
    if request.lowers.len() > MAX_LOWERS {
        return invalid(format!(
            "an input root of {} staged trees: at most {MAX_LOWERS} are possible",
            request.lowers.len()
        ));
    }
    if request.root.len() > MAX_ROOT_LAYERS {
        return invalid(format!(
            "a root of {} layers: at most {MAX_ROOT_LAYERS} are possible",
            request.root.len()
        ));
    }
    let layers = request.layers.iter().map(|l| &l.dir);
    for dir in request.lowers.iter().chain(layers).chain(&request.root) {
        let plain = dir.components().all(|c| matches!(c, Component::Normal(_)));
        let special = dir.as_os_str().as_encoded_bytes().iter().any(|b| b":,\\\0".contains(b));
        if !plain || special || dir.as_os_str().is_empty() {
            return invalid(format!("the staged tree {} is no plain relative path", dir.display()));
        }
    }
    for at in request.layers.iter().map(|l| &l.at).chain([&request.root_at]) {
        if !is_plain_absolute(at) || at == Path::new("/") {
            return invalid(format!("nothing can be mounted at {}", at.display()));
        }
    }
    if !is_plain_absolute(&request.cwd) {
        return invalid(format!(
            "the working directory {} is no plain absolute path",
            request.cwd.display()
        ));
    }
    if copies_only && !(request.layers.is_empty() && request.root.is_empty()) {
        return invalid(
            "layers need mounts, which the isolation level process does without".to_owned(),
        );
    }
    Ok(())
}

fn is_plain_absolute(path: &Path) -> bool {
    path.is_absolute()
        && path.components().skip(1).all(|c| matches!(c, Component::Normal(_)))
        && !path.as_os_str().as_encoded_bytes().contains(&0)
}

/// Sends a request's body and its streams.
pub(crate) fn send_request(
    sock: &OwnedFd,
    body: &[u8],
    streams: &[BorrowedFd<'_>],
) -> Result<(), SandboxError> {
    let mut packet = Writer::default();
    let sent = if body.len() < MAX_PACKET - 64 {
        packet.u64(REQUEST).0.extend_from_slice(body);
        wire::send(sock, &packet.0, streams)
    } else {
        let fail = |e: std::io::Error| SandboxError::system("write a long request")(e);
        let file = rustix::fs::memfd_create("hands-request", MemfdFlags::CLOEXEC)
            .map_err(|e| fail(e.into()))?;
        let mut file = std::fs::File::from(file);
        std::io::Write::write_all(&mut file, body).map_err(fail)?;
        packet.u64(REQUEST_IN_FILE);
        let mut fds = vec![file.as_fd()];
        fds.extend_from_slice(streams);
        wire::send(sock, &packet.0, &fds)
    };
    sent.map_err(|e| match e.kind() {
        std::io::ErrorKind::BrokenPipe => SandboxError::Gone { who: "spawner" },
        _ => SandboxError::system("send a request")(e),
    })
}

/// A request as a spawner sees it; borrows from the packet.
#[derive(Debug)]
pub(crate) struct Order<'a> {
    pub(crate) sequence: u64,
    pub(crate) root_at: &'a CStr,
    pub(crate) cwd: &'a CStr,
    pub(crate) lowers: Vec<&'a CStr>,
    /// The layers of a root of the action's own; empty for the host's.
    pub(crate) root: Vec<&'a CStr>,
    pub(crate) layers: Vec<(&'a CStr, &'a CStr)>,
    pub(crate) argv: Vec<&'a CStr>,
    pub(crate) env: Vec<&'a CStr>,
    pub(crate) set_home: bool,
    pub(crate) copy: bool,
    pub(crate) tty: bool,
    pub(crate) stdin: bool,
    pub(crate) deadline: Option<Duration>,
    pub(crate) memory: Option<u64>,
    pub(crate) pids: Option<u64>,
    pub(crate) nofile: Option<u64>,
    /// Bytes of tmpfs; none for disk.
    pub(crate) scratch: Option<u64>,
    pub(crate) tree: bool,
}

impl<'a> Order<'a> {
    pub(crate) fn decode(body: &'a [u8]) -> Option<Self> {
        let mut r = Reader(body);
        let some = |value: u64| (value != NONE).then_some(value);
        Some(Self {
            sequence: r.u64()?,
            root_at: r.text()?,
            cwd: r.text()?,
            lowers: r.texts()?,
            root: r.texts()?,
            layers: (0..r.count()?).map(|_| Some((r.text()?, r.text()?))).collect::<Option<_>>()?,
            argv: r.texts()?,
            env: r.texts()?,
            set_home: r.flag()?,
            copy: r.flag()?,
            tty: r.flag()?,
            stdin: r.flag()?,
            deadline: some(r.u64()?).map(Duration::from_micros),
            memory: some(r.u64()?),
            pids: some(r.u64()?),
            nofile: some(r.u64()?),
            scratch: some(r.u64()?),
            tree: r.flag()?,
        })
    }
}

/// What a spawner adds to the report of init and command.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ending {
    pub(crate) timed_out: bool,
    pub(crate) killed: bool,
    pub(crate) oom_killed: bool,
    pub(crate) network_attempted: bool,
    pub(crate) dirty: bool,
    pub(crate) peak_memory: Option<u64>,
}

pub(crate) fn encode_outcome(sequence: u64, report: &Report, ending: &Ending) -> Vec<u8> {
    let mut packet = Writer::default();
    packet.u64(sequence).u64(report.step.into()).i32(report.errno).i32(report.status);
    for flag in
        [ending.timed_out, ending.killed, ending.oom_killed, ending.network_attempted, ending.dirty]
    {
        packet.u64(flag.into());
    }
    packet.u64(report.user_us).u64(report.sys_us).u64(report.max_rss_kib);
    packet.u64(ending.peak_memory.unwrap_or(NONE));
    for mark in report.marks {
        packet.u64(mark);
    }
    packet.0
}

pub(crate) fn decode_outcome(
    packet: &[u8],
    sequence: u64,
    mut fds: Vec<OwnedFd>,
) -> Option<Outcome> {
    let mut r = Reader(packet);
    if r.u64()? != sequence {
        return None;
    }
    let step = match u32::try_from(r.u64()?).ok()? {
        0 => None,
        step::MOUNT => Some(Step::Mount),
        step::INPUT_ROOT => Some(Step::InputRoot),
        step::LAYER => Some(Step::Layer),
        step::PROCESS => Some(Step::Process),
        step::STDIO => Some(Step::Stdio),
        step::CWD => Some(Step::WorkingDirectory),
        step::RESTRICT => Some(Step::Restrict),
        step::EXECUTE => Some(Step::Execute),
        _ => return None,
    };
    let errno = r.i32()?;
    let status = r.i32()?;
    let status = if libc::WIFSIGNALED(status) {
        Status::Signaled(libc::WTERMSIG(status))
    } else {
        Status::Exited(libc::WEXITSTATUS(status))
    };
    Some(Outcome {
        status,
        start_error: step.map(|step| StartError { step, errno }),
        timed_out: r.flag()?,
        killed: r.flag()?,
        oom_killed: r.flag()?,
        network_attempted: r.flag()?,
        dirty: r.flag()?,
        user_us: r.u64()?,
        sys_us: r.u64()?,
        max_rss: r.u64()?.saturating_mul(1024),
        peak_memory: r.u64().map(|peak| (peak != NONE).then_some(peak))?,
        marks: Marks {
            received: r.u64()?,
            mounted: r.u64()?,
            executed: r.u64()?,
            ended: r.u64()?,
            all_dead: r.u64()?,
        },
        tree: fds.pop(),
    })
}
