//! Logs of the programs that stay: hub, worker and agent. They go to stderr, which for the agent is its log file.

use tracing::Level;

use crate::cli::{LogArgs, LogForm, LogLevel};

/// Sets the process's subscriber up. Called once, before any other thread.
pub(crate) fn start(args: &LogArgs) {
    let level = match args.level {
        LogLevel::Error => Level::ERROR,
        LogLevel::Warn => Level::WARN,
        LogLevel::Info => Level::INFO,
        LogLevel::Debug => Level::DEBUG,
        LogLevel::Trace => Level::TRACE,
    };
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        // It would say on stderr that stderr can't be written, and panic over that: a full disk must not end a server.
        .log_internal_errors(false)
        .with_target(false);
    match args.form {
        LogForm::Text => subscriber.init(),
        LogForm::Json => subscriber.json().init(),
    }
}
