//! Streams: unmixed, whole, held back, bounded, fed.

use std::time::{Duration, Instant};

use bytes::Bytes;
use hands_exec::{ControlEvent, End, ExecIo, InputEvent, Isolation, Stream};
use tokio::sync::mpsc;

use crate::bench::{Bench, shell};

pub(crate) async fn run(bench: &mut Bench<'_>) {
    let done = bench.sh("echo out; echo err >&2; echo out2; echo dev >/dev/stderr").await;
    bench.check("unmixed", done.out() == "out\nout2\n" && done.err == b"err\ndev\n", done.note());
    let done = bench.sh("head -c 30000000 /dev/zero; head -c 7 /dev/zero >&2").await;
    let lengths = (done.out.len(), done.err.len());
    bench.check("all of a torrent", lengths == (30_000_000, 7), format!("{lengths:?}"));
    live(bench).await;
    closed_beside_unread_input(bench).await;
    back_pressure(bench).await;
    stdin(bench).await;
    abandoned(bench).await;
    if bench.level == Isolation::Full {
        bound(bench).await;
    }
}

/// What is written comes before the action ends: it ends only when that was seen.
async fn live(bench: &mut Bench<'_>) {
    let (output, mut pieces) = mpsc::channel(4);
    let (input, events) = mpsc::channel(4);
    let mut request = shell("echo first; read line; echo got $line");
    request.stdin = true;
    let io = ExecIo { output, input: Some(events), control: None };
    let (ran, seen) =
        tokio::join!(bench.executor.run(request, io, std::future::pending()), async {
            let first = pieces.recv().await;
            input
                .send(InputEvent::Data(Bytes::from_static(b"line\n")))
                .await
                .expect("the action takes input");
            let mut all = first.map(|p| p.bytes.to_vec()).unwrap_or_default();
            while let Some(piece) = pieces.recv().await {
                all.extend_from_slice(&piece.bytes);
            }
            String::from_utf8_lossy(&all).into_owned()
        });
    bench.check("live", ran.is_ok() && seen == "first\ngot line\n", seen);
}

/// A stream is closed although the action has not read its input.
async fn closed_beside_unread_input(bench: &mut Bench<'_>) {
    let (output, mut pieces) = mpsc::channel(4);
    let (input, events) = mpsc::channel(64);
    let (control, controls) = mpsc::channel(1);
    for _ in 0..16 {
        input.try_send(InputEvent::Data(vec![0; 64 << 10].into())).expect("a place");
    }
    let mut request = shell("exec yes");
    request.stdin = true;
    request.deadline = Some(Duration::from_secs(20));
    let io = ExecIo { output, input: Some(events), control: Some(controls) };
    let (ran, ()) = tokio::join!(bench.executor.run(request, io, std::future::pending()), async {
        pieces.recv().await;
        control.send(ControlEvent::Close(Stream::Stdout)).await.expect("the action takes it");
        while pieces.recv().await.is_some() {}
    });
    let good = ran.as_ref().is_ok_and(|ran| matches!(ran.end, End::Signaled(13)));
    bench.check("closed beside unread input", good, format!("{ran:?}"));
}

/// A reader that does not read holds the action back, and nothing is lost.
async fn back_pressure(bench: &mut Bench<'_>) {
    let (output, mut pieces) = mpsc::channel(1);
    let mut request = shell("head -c 20000000 /dev/zero; echo done >&2");
    request.deadline = Some(Duration::from_secs(20));
    let io = ExecIo { output, input: None, control: None };
    let executor = bench.executor.clone();
    let mut running = std::pin::pin!(executor.run(request, io, std::future::pending()));
    // Nothing is taken: the action must not end. Time has to pass to see that.
    let early = tokio::time::timeout(Duration::from_millis(300), &mut running).await;
    bench.check("held back", early.is_err(), "it ended");
    let (ran, length) = tokio::join!(running, async {
        let mut length = 0;
        while let Some(piece) = pieces.recv().await {
            length += usize::from(piece.stream == Stream::Stdout) * piece.bytes.len();
        }
        length
    });
    bench.check("and nothing lost", ran.is_ok() && length == 20_000_000, length);
}

async fn stdin(bench: &mut Bench<'_>) {
    let never = std::future::pending;
    let done = bench.run(shell("cat; echo end"), None, never()).await;
    bench.check("empty stdin", done.out() == "end\n", done.note());
    let data = |bytes: Vec<u8>| InputEvent::Data(bytes.into());
    let events = vec![data(b"hello ".to_vec()), data(vec![b'x'; 3_000_000]), InputEvent::Eof];
    let done = bench.run(shell("wc -c"), Some(events), never()).await;
    bench.check("much stdin", done.out().trim() == "3000006", done.note());
    let events = vec![data(vec![b'x'; 3_000_000])];
    let done = bench.run(shell("exec true"), Some(events), never()).await;
    bench.check("stdin that nobody reads", done.exited(0), done.note());
}

async fn abandoned(bench: &mut Bench<'_>) {
    let (output, pieces) = mpsc::channel(1);
    drop(pieces);
    let begun = Instant::now();
    let ran = bench
        .executor
        .run(
            shell("sleep 1000"),
            ExecIo { output, input: None, control: None },
            std::future::pending(),
        )
        .await;
    let good = ran.as_ref().is_ok_and(|r| r.end == hands_exec::End::Cancelled);
    bench.check(
        "nobody listens",
        good && begun.elapsed() < Duration::from_secs(10),
        format!("{ran:?}"),
    );
}

async fn bound(bench: &mut Bench<'_>) {
    let (output, mut pieces) = mpsc::channel(16);
    let io = ExecIo { output, input: None, control: None };
    let mut request = shell("exec cat /dev/zero");
    request.deadline = None;
    let (ran, length) =
        tokio::join!(bench.executor.run(request, io, std::future::pending()), async {
            let mut length: u64 = 0;
            while let Some(piece) = pieces.recv().await {
                length += piece.bytes.len() as u64;
            }
            length
        });
    let good = ran.as_ref().is_ok_and(|r| r.end == hands_exec::End::TooMuchOutput(Stream::Stdout));
    bench.check(
        "1 GiB and not a byte more",
        good && length == 1 << 30,
        format!("{length} {ran:?}"),
    );
}
