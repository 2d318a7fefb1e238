//! From a buffer's cells to what a terminal understands (ECMA-48).

use std::fmt::Write as _;

use ratatui::buffer::Buffer;
use ratatui::style::{Color, Modifier};

/// Appends what turns one picture into another of the same size.
pub(super) fn changes(text: &mut String, shown: &Buffer, next: &Buffer, color: bool) {
    // Where the next symbol would go by itself.
    let mut cursor = None;
    let mut style = (Color::Reset, Modifier::empty());
    for (x, y, cell) in shown.diff(next) {
        if cursor != Some((x, y)) {
            // Writing to a string does not fail.
            let _infallible = write!(text, "\x1b[{};{}H", y + 1, x + 1);
        }
        let wanted = (if color { cell.fg } else { Color::Reset }, cell.modifier);
        if style != wanted {
            text.push_str(&select(wanted));
            style = wanted;
        }
        text.push_str(cell.symbol());
        // After a wide character terminals disagree about where the cursor is.
        cursor = cell.symbol().is_ascii().then_some((x + 1, y));
    }
    if style != (Color::Reset, Modifier::empty()) {
        text.push_str("\x1b[0m");
    }
}

/// Selects a rendition, whatever was selected before. Only what this crate draws with is known.
fn select((color, modifier): (Color, Modifier)) -> String {
    let mut text = "\x1b[0".to_owned();
    for (flag, code) in [(Modifier::BOLD, ";1"), (Modifier::DIM, ";2"), (Modifier::REVERSED, ";7")]
    {
        if modifier.contains(flag) {
            text.push_str(code);
        }
    }
    text.push_str(match color {
        Color::Red => ";31",
        Color::Green => ";32",
        Color::Yellow => ";33",
        Color::Cyan => ";36",
        _ => "",
    });
    text.push('m');
    text
}
