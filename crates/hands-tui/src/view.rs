//! The picture: pure, from what the hub told to cells or lines.

mod tables;

use hands_client::{Overview, printable};
use hands_front::eye::{bar, bytes};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Line;

use crate::times::{between, short};
use tables::Section;

/// Everything that is shown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'a> {
    pub(crate) overview: &'a Overview,
    /// Whom we ask.
    pub(crate) peer: &'a str,
    /// Why what is shown is old.
    pub(crate) trouble: Option<&'a str>,
}

/// Lines above the tables.
const HEAD: u16 = 2;

impl View<'_> {
    /// Paints a whole screen, the last line of which says what keys do.
    pub(crate) fn paint(&self, area: Rect, buffer: &mut Buffer) {
        let [first, second] = self.head();
        buffer.set_line(0, 0, &first, area.width);
        if area.height > 1 {
            buffer.set_line(0, 1, &second, area.width);
        }
        let sections = tables::sections(self.overview);
        let room = area.height.saturating_sub(HEAD + 1);
        let heights = share(room, &sections.each_ref().map(Section::height));
        let mut y = HEAD;
        for (section, height) in sections.iter().zip(heights) {
            section.paint(Rect::new(0, y, area.width, height), buffer);
            y += height;
        }
        if area.height > HEAD {
            let foot = match self.trouble {
                Some(why) => Line::styled(printable(why).into_owned(), Color::Red),
                None => Line::styled("q quits", Modifier::DIM),
            };
            buffer.set_line(0, area.height - 1, &foot, area.width);
        }
    }

    /// The same without a screen's bounds: every row, in lines of at most `width` columns.
    pub(crate) fn text(&self, width: u16) -> String {
        let sections = tables::sections(self.overview);
        let rows: u16 = sections.iter().map(Section::height).sum();
        let area = Rect::new(0, 0, width, HEAD + rows);
        let mut buffer = Buffer::empty(area);
        let [first, second] = self.head();
        buffer.set_line(0, 0, &first, width);
        buffer.set_line(0, 1, &second, width);
        let mut y = HEAD;
        for section in &sections {
            section.paint(Rect::new(0, y, width, section.height()), &mut buffer);
            y += section.height();
        }
        lines(&buffer)
    }

    fn head(&self) -> [Line<'static>; 2] {
        let overview = self.overview;
        let hub = &overview.hub;
        let up = short(between(hub.started, overview.now));
        let (slots, busy) = match overview.slots {
            // An earlier hub, which names all of its workers.
            0 => overview.workers.iter().fold((0, 0), |(slots, busy), worker| {
                (slots + u64::from(worker.slots), busy + u64::from(worker.busy))
            }),
            slots => (slots, overview.busy),
        };
        let title = format!("{}, version {}, up {up}", self.peer, hub.version);
        let bold = Style::new().add_modifier(Modifier::BOLD);
        let sums = format!(
            "slots {} {busy}/{slots}  queued {}  running {}  store {} of {}",
            bar(busy, slots, 10),
            hub.queued,
            hub.running,
            bytes(hub.store_bytes),
            bytes(hub.store_quota),
        );
        [Line::styled(printable(&title).into_owned(), bold), Line::from(sums)]
    }
}

/// Shares `room` among sections that want these heights: none gets more than it wants, and what one leaves goes to the
/// others, the first ones first.
pub(crate) fn share<const N: usize>(room: u16, wanted: &[u16; N]) -> [u16; N] {
    let mut given = [0; N];
    let mut left = room;
    loop {
        let mut hungry = given.iter_mut().zip(wanted).filter(|(g, w)| **g < **w).peekable();
        if left == 0 || hungry.peek().is_none() {
            return given;
        }
        for (given, _) in hungry {
            if left > 0 {
                *given += 1;
                left -= 1;
            }
        }
    }
}

/// A buffer as lines without trailing blanks.
fn lines(buffer: &Buffer) -> String {
    let mut text = String::new();
    for y in 0..buffer.area.height {
        let mut line = String::new();
        for x in 0..buffer.area.width {
            line.push_str(buffer[(x, y)].symbol());
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}
