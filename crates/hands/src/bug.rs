//! What happens when we are wrong ourselves: the terminal is given back, one sentence says whose fault it is, and the
//! exit code is 70. A thread that the machine refuses is told by a panic, too, and is none of ours.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::convert::Infallible;
use std::io::Write;
use std::panic::PanicHookInfo;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use hands_types::error::exit;
use tokio::signal::unix::{SignalKind, signal};

/// How the runtime says that it can't have a thread.
const NO_THREAD: &str = "OS can't spawn worker thread: ";
/// Whether that was what ended us.
static WAS_REFUSED: AtomicBool = AtomicBool::new(false);

/// Replaces Rust's own message, which speaks of threads, by one for people.
pub(crate) fn install_hook() {
    std::panic::set_hook(Box::new(|panic| {
        hands_front::terminal::restore();
        tell(panic);
    }));
}

/// The exit code of a program that panicked.
pub(crate) fn exit_code(passes_through: bool) -> ExitCode {
    ExitCode::from(match (WAS_REFUSED.load(Ordering::Relaxed), passes_through) {
        (false, _) => exit::BUG,
        (true, true) => exit::NOT_RUN,
        (true, false) => exit::CLUSTER,
    })
}

/// Builds with assertions take SIGUSR1 as a bug of ours, so that a test can meet one. In all others it ends the program,
/// as it ends any.
pub(crate) async fn on_request() -> Infallible {
    if cfg!(debug_assertions)
        && let Ok(mut asked) = signal(SignalKind::user_defined1())
        && asked.recv().await.is_some()
    {
        panic!("it was asked for by SIGUSR1");
    }
    std::future::pending().await
}

fn tell(panic: &PanicHookInfo<'_>) {
    let what = panic.payload_as_str().unwrap_or("no message");
    if let Some(why) = what.strip_prefix(NO_THREAD) {
        WAS_REFUSED.store(true, Ordering::Relaxed);
        say(&format!(
            "error: this machine does not let us start a thread: {why}\n\
             hint: `ulimit -v` and `ulimit -u` show its limits\n"
        ));
        return;
    }
    let place = panic.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
    let mut text = format!(
        "error: this is a bug in hands {}: {what} (at {place})\n\
         hint: please report it together with the command and this message\n",
        env!("CARGO_PKG_VERSION")
    );
    let trace = Backtrace::capture();
    if trace.status() == BacktraceStatus::Captured {
        text += &trace.to_string();
    }
    say(&text);
}

fn say(text: &str) {
    // A hook that panics because stderr is closed would abort the program.
    if std::io::stderr().write_all(text.as_bytes()).is_err() {
        // Nobody is left to be told.
    }
}
