//! The person's own terminal: its size, raw mode, and the way back from it whatever happens.

pub(crate) mod escapes;
pub(crate) mod session;
#[cfg(test)]
mod tests;

use std::io::{self, IsTerminal};
use std::sync::{Mutex, PoisonError};

use rustix::termios::{self, OptionalActions, Termios};

/// How the terminal was before we made it raw; taken by whoever restores it first (the guard, or a panic).
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// The terminal in raw mode. Dropping it gives the terminal back as it was.
#[derive(Debug)]
pub(crate) struct RawMode(());

impl RawMode {
    /// Makes the terminal on stdin raw.
    pub(crate) fn enter() -> io::Result<Self> {
        let stdin = io::stdin();
        let before = termios::tcgetattr(&stdin)?;
        let mut raw = before.clone();
        raw.make_raw();
        *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = Some(before);
        let mode = Self(());
        termios::tcsetattr(&stdin, OptionalActions::Drain, &raw)?;
        Ok(mode)
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        restore();
    }
}

/// Gives the terminal back as it was found, if it was changed. Also for the panic hook.
pub fn restore() {
    let before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(before) = before
        && termios::tcsetattr(io::stdin(), OptionalActions::Now, &before).is_err()
    {
        // The terminal has gone; there is nothing to restore.
    }
}

/// Rows and columns of the terminal on stdin, or else stdout.
pub(crate) fn size() -> Option<(u16, u16)> {
    let size =
        termios::tcgetwinsize(io::stdin()).or_else(|_| termios::tcgetwinsize(io::stdout())).ok()?;
    Some((size.ws_row, size.ws_col)).filter(|(rows, columns)| *rows > 0 && *columns > 0)
}

/// Columns of stdout where it is a terminal.
pub(crate) fn stdout_width() -> Option<usize> {
    let stdout = io::stdout();
    if !stdout.is_terminal() {
        return None;
    }
    let columns = termios::tcgetwinsize(&stdout).ok()?.ws_col;
    Some(if columns == 0 { 80 } else { usize::from(columns) })
}

/// Columns of stderr where it is a terminal.
pub(crate) fn stderr_width() -> usize {
    let columns = termios::tcgetwinsize(io::stderr()).map_or(0, |s| s.ws_col);
    if columns == 0 { 80 } else { usize::from(columns) }
}
