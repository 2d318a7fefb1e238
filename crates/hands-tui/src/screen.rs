//! The person's terminal as a surface to draw on. The way back from it is the kit's.

mod ansi;

use std::io::{self, Write as _};

use hands_front::terminal::{RawMode, stdout_size};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

/// The terminal while it is ours.
#[derive(Debug)]
pub(crate) struct Screen {
    shown: Buffer,
    color: bool,
    _mode: RawMode,
}

impl Screen {
    /// Takes the terminal.
    pub(crate) fn enter(color: bool) -> io::Result<Self> {
        Ok(Self { shown: Buffer::empty(Rect::ZERO), color, _mode: RawMode::enter_screen()? })
    }

    /// Draws a whole picture; what stands there already is not sent again.
    pub(crate) fn draw(&mut self, paint: impl FnOnce(Rect, &mut Buffer)) -> io::Result<()> {
        let (rows, columns) = stdout_size().unwrap_or((24, 80));
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

fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}
