//! Terminals: size, resize, the interrupt key, signals, end of file.

use bytes::Bytes;
use hands_exec::{ControlEvent, ExecIo, InputEvent, Terminal};
use tokio::sync::mpsc;

use crate::bench::{Bench, shell};

pub(crate) async fn run(bench: &mut Bench<'_>) {
    let out =
        dialog(bench, "test -t 0 && stty size; echo $TERM >/dev/tty; echo err >&2", &[]).await;
    bench.check("size, TERM, one stream", out == "31 117\r\nxterm-test\r\nerr\r\n", &out);
    let out = dialog(bench, "test \"$(tty)\" = \"$(readlink /proc/self/fd/0)\" && tty", &[]).await;
    bench.check("its name", out.starts_with("/dev/pts/"), &out);
    let script = "trap 'stty size; exit 0' WINCH; echo ready; while :; do sleep 0.05; done";
    let out =
        dialog(bench, script, &[("ready", Step::Control(ControlEvent::Resize(50, 60)))]).await;
    bench.check("resize", out.ends_with("50 60\r\n"), &out);
    let script = "trap 'echo interrupted; exit 7' INT; echo ready; while :; do sleep 0.05; done";
    let out = dialog(bench, script, &[("ready", data(b"\x03"))]).await;
    bench.check("the interrupt key", out.contains("interrupted"), &out);
    let script = "trap 'echo hung up; exit 0' HUP; echo ready; while :; do sleep 0.05; done";
    let out = dialog(bench, script, &[("ready", Step::Control(ControlEvent::Signal(1)))]).await;
    bench.check("a signal", out.contains("hung up"), &out);
    let out = dialog(
        bench,
        "echo ready; read a; cat; echo over",
        &[("ready", data(b"line\n")), ("line", Step::Input(InputEvent::Eof))],
    )
    .await;
    bench.check("end of file", out.ends_with("over\r\n"), &out);
    // An interactive shell with job control must believe in its terminal.
    let script = "exec bash --norc --noprofile -i";
    let steps = [("$", data(b"jobs; echo a$((40+2))b\n")), ("a42b", data(b"exit\n"))];
    let out = dialog(bench, script, &steps).await;
    bench.check("job control", out.contains("a42b") && !out.contains("no job control"), &out);
}

enum Step {
    Input(InputEvent),
    Control(ControlEvent),
}

fn data(bytes: &'static [u8]) -> Step {
    Step::Input(InputEvent::Data(Bytes::from_static(bytes)))
}

/// Runs a script on a terminal; when some words have come, the next event is sent.
async fn dialog(bench: &Bench<'_>, script: &str, steps: &[(&str, Step)]) -> String {
    let (output, mut pieces) = mpsc::channel(4);
    let (input, events) = mpsc::channel(4);
    let (control, controls) = mpsc::channel(4);
    let mut request = shell(script);
    request.terminal = Some(Terminal { rows: 31, columns: 117, term: "xterm-test".to_owned() });
    let io = ExecIo { output, input: Some(events), control: Some(controls) };
    let (ran, text) =
        tokio::join!(bench.executor.run(request, io, std::future::pending()), async {
            let mut text = String::new();
            let mut steps = steps.iter();
            let mut next = steps.next();
            while let Some(piece) = pieces.recv().await {
                text.push_str(&String::from_utf8_lossy(&piece.bytes));
                if let Some((words, event)) = next
                    && text.contains(words)
                {
                    match event {
                        Step::Input(event) => input.send(event.clone()).await.ok(),
                        Step::Control(event) => control.send(*event).await.ok(),
                    }
                    .expect("the action takes input");
                    next = steps.next();
                }
            }
            text
        });
    match ran {
        Ok(ran) if matches!(ran.end, hands_exec::End::Exited(_)) => text,
        other => format!("{other:?} {text}"),
    }
}
