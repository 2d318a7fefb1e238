//! The person's terminal as a surface to draw on, and the way back from it.
//!
//! Owns raw mode and the alternate screen. Both are given back by whoever comes first: [`Screen`] when it is dropped, or
//! the panic hook.

mod ansi;

use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, PoisonError};

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use rustix::termios::{self, OptionalActions, Termios};

/// The alternate screen, cleared, without a cursor.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[2J";
const LEAVE: &str = "\x1b[0m\x1b[?25h\x1b[?1049l";

/// How the terminal was; taken by whoever restores it first.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// Whether there is a terminal to draw on and to read keys from.
pub fn is_possible() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}

/// Rows and columns of the terminal on stdout.
pub(crate) fn size() -> Option<(u16, u16)> {
    let size = termios::tcgetwinsize(io::stdout()).ok()?;
    Some((size.ws_row, size.ws_col)).filter(|(rows, columns)| *rows > 0 && *columns > 0)
}

/// Gives the terminal back as it was found, if a dashboard has it. Also for the panic hook.
pub fn restore() {
    let before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some(before) = before else { return };
    let mut out = io::stdout();
    let left = out.write_all(LEAVE.as_bytes()).and_then(|()| out.flush());
    let restored = termios::tcsetattr(io::stdin(), OptionalActions::Now, &before);
    if left.is_err() || restored.is_err() {
        // The terminal has gone; there is nothing to restore.
    }
}

/// The terminal while it is ours.
#[derive(Debug)]
pub(crate) struct Screen {
    shown: Buffer,
    color: bool,
}

impl Screen {
    /// Takes the terminal.
    pub(crate) fn enter(color: bool) -> io::Result<Self> {
        let stdin = io::stdin();
        let before = termios::tcgetattr(&stdin)?;
        let mut raw = before.clone();
        raw.make_raw();
        *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = Some(before);
        let screen = Self { shown: Buffer::empty(Rect::ZERO), color };
        termios::tcsetattr(&stdin, OptionalActions::Drain, &raw)?;
        write(ENTER)?;
        Ok(screen)
    }

    /// Draws a whole picture; what stands there already is not sent again.
    pub(crate) fn draw(&mut self, paint: impl FnOnce(Rect, &mut Buffer)) -> io::Result<()> {
        let (rows, columns) = size().unwrap_or((24, 80));
        let area = Rect::new(0, 0, columns, rows);
        let mut text = String::new();
        if area != self.shown.area {
            self.shown = Buffer::empty(area);
            text.push_str("\x1b[0m\x1b[2J");
        }
        let mut next = Buffer::empty(area);
        paint(area, &mut next);
        ansi::changes(&mut text, &self.shown, &next, self.color);
        self.shown = next;
        write(&text)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore();
    }
}

fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}
