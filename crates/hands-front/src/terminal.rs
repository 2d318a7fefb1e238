//! The person's own terminal: its size, raw mode, the whole screen, and the way back from both whatever happens.

#[cfg(test)]
mod tests;

use std::io::{self, IsTerminal, Write as _};
use std::sync::{Mutex, PoisonError};

use rustix::termios::{self, OptionalActions, Termios};

/// The alternate screen, cleared, without a cursor.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[2J";
const LEAVE: &str = "\x1b[0m\x1b[?25h\x1b[?1049l";

/// How the terminal was before we took it.
#[derive(Debug)]
struct Before {
    modes: Termios,
    /// Whether the alternate screen is shown.
    has_screen: bool,
}

/// Taken by whoever restores the terminal first: the guard, or a panic.
static BEFORE: Mutex<Option<Before>> = Mutex::new(None);

/// The terminal in raw mode. Dropping it gives the terminal back as it was.
#[derive(Debug)]
pub struct RawMode(());

impl RawMode {
    /// Makes the terminal on stdin raw.
    pub fn enter() -> io::Result<Self> {
        Self::take(false)
    }

    /// The same, with the whole screen to draw on and no cursor.
    pub fn enter_screen() -> io::Result<Self> {
        let mode = Self::take(true)?;
        let mut out = io::stdout().lock();
        out.write_all(ENTER.as_bytes())?;
        out.flush()?;
        Ok(mode)
    }

    fn take(has_screen: bool) -> io::Result<Self> {
        let stdin = io::stdin();
        let modes = termios::tcgetattr(&stdin)?;
        let mut raw = modes.clone();
        raw.make_raw();
        *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = Some(Before { modes, has_screen });
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
    let Some(Before { modes, has_screen }) = before else { return };
    let mut out = io::stdout();
    let left = match has_screen {
        true => out.write_all(LEAVE.as_bytes()).and_then(|()| out.flush()),
        false => Ok(()),
    };
    let restored = termios::tcsetattr(io::stdin(), OptionalActions::Now, &modes);
    if left.is_err() || restored.is_err() {
        // The terminal has gone; there is nothing to restore.
    }
}

/// Whether there is a terminal to draw on and to read keys from.
pub fn is_interactive() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}

/// Rows and columns of the terminal on stdin, or else stdout.
pub fn size() -> Option<(u16, u16)> {
    let size =
        termios::tcgetwinsize(io::stdin()).or_else(|_| termios::tcgetwinsize(io::stdout())).ok()?;
    Some((size.ws_row, size.ws_col)).filter(|(rows, columns)| *rows > 0 && *columns > 0)
}

/// Rows and columns of the terminal on stdout.
pub fn stdout_size() -> Option<(u16, u16)> {
    let size = termios::tcgetwinsize(io::stdout()).ok()?;
    Some((size.ws_row, size.ws_col)).filter(|(rows, columns)| *rows > 0 && *columns > 0)
}

/// Columns of stdout where it is a terminal.
pub fn stdout_width() -> Option<usize> {
    let stdout = io::stdout();
    if !stdout.is_terminal() {
        return None;
    }
    let columns = termios::tcgetwinsize(&stdout).ok()?.ws_col;
    Some(if columns == 0 { 80 } else { usize::from(columns) })
}

/// Rows and columns of the terminal on stderr, or the usual ones where it does not tell.
pub fn stderr_size() -> (u16, usize) {
    let size = termios::tcgetwinsize(io::stderr()).ok();
    let size =
        size.map(|s| (s.ws_row, s.ws_col)).filter(|(rows, columns)| *rows > 0 && *columns > 0);
    let (rows, columns) = size.unwrap_or((24, 80));
    (rows, usize::from(columns))
}
