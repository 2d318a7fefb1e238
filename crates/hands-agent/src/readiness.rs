//! Between the start and the first answer: becoming a process of one's own, and telling the front-end that waits.

use std::fs::OpenOptions;
use std::io::{self, Write};

use hands_client::{READY, REFUSED};

use crate::AgentError;

/// Makes this process the agent's and nobody's who started it: descriptors, signals, limits, processors, directory and the
/// session of the terminal. Returns what could not be undone, as sentences. To be called first thing in `main`.
pub fn detach() -> Vec<String> {
    #[cfg(target_os = "linux")]
    let left = hands_sandbox::start_clean();
    #[cfg(not(target_os = "linux"))]
    let left = Vec::new();
    // Fails for a process group's leader only: somebody started the agent by hand, and has its terminal.
    if let Err(error) = rustix::process::setsid() {
        tracing::debug!(%error, "the agent stays in its session");
    }
    left
}

/// The front-end's ear: this process's stdout. One line goes there, then it is closed.
#[derive(Debug)]
pub struct Readiness {
    to: Box<dyn Sink>,
}

trait Sink: Write + Send + std::fmt::Debug {}
impl<T: Write + Send + std::fmt::Debug> Sink for T {}

impl Readiness {
    /// Over stdout, which is put to rest afterwards.
    pub fn stdout() -> Self {
        Self { to: Box::new(Stdout) }
    }

    /// To whatever else: tests.
    pub fn to(writer: impl Write + Send + std::fmt::Debug + 'static) -> Self {
        Self { to: Box::new(writer) }
    }

    /// The agent listens.
    pub(crate) fn ready(self) {
        self.say(READY);
    }

    /// It does not, and this is why.
    pub(crate) fn refused(self, error: &AgentError) {
        // One line: what other programs said may have several.
        let sentence = error.to_string().replace('\n', " ");
        self.say(&format!("{REFUSED} {} {sentence}", error.class().name()));
    }

    fn say(mut self, line: &str) {
        // A front-end that has gone does not need to know.
        if let Err(error) = writeln!(self.to, "{line}").and_then(|()| self.to.flush()) {
            tracing::debug!(%error, "nobody waited for the agent's start");
        }
    }
}

#[derive(Debug)]
struct Stdout;

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::io::write(rustix::stdio::stdout(), bytes)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Stdout {
    fn drop(&mut self) {
        // The front-end may wait for the pipe's end.
        let quiet = OpenOptions::new().write(true).open("/dev/null");
        if let Err(error) = quiet.and_then(|null| Ok(rustix::stdio::dup2_stdout(null)?)) {
            tracing::warn!(%error, "stdout stays open");
        }
    }
}
