//! Plain tables: aligned with spaces, no frames, so that they can be cut, sorted and pasted.

use hands_client::printable;

use crate::out::{Out, StdoutError};

/// Rows under headings. All cells are taken for foreign text and made safe.
#[derive(Debug)]
pub struct Table {
    headings: Vec<&'static str>,
    rows: Vec<Vec<String>>,
    /// Column that gives way when a row is wider than the screen.
    shrinks: usize,
}

impl Table {
    /// A table; the column number `shrinks` is cut when the terminal is too narrow.
    pub fn new(headings: &[&'static str], shrinks: usize) -> Self {
        Self { headings: headings.to_vec(), rows: Vec::new(), shrinks }
    }

    /// Adds a row with as many cells as there are headings.
    pub fn row(&mut self, cells: Vec<String>) {
        let cells = cells.iter().map(|c| printable(c).into_owned()).collect();
        self.rows.push(cells);
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Lays the table out; `width` cuts the column that shrinks, none leaves all cells whole (for pipes).
    pub fn lines(&self, width: Option<usize>) -> Vec<String> {
        let mut widths: Vec<usize> = self.headings.iter().map(|h| h.chars().count()).collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        if let Some(width) = width {
            let total = widths.iter().sum::<usize>() + 2 * (widths.len() - 1);
            let least = self.headings[self.shrinks].len().max(8);
            let cut = total.saturating_sub(width);
            widths[self.shrinks] =
                widths[self.shrinks].saturating_sub(cut).max(least.min(widths[self.shrinks]));
        }
        let headings = self.headings.iter().map(|h| (*h).to_owned()).collect();
        std::iter::once(&headings).chain(&self.rows).map(|row| lay_out(row, &widths)).collect()
    }

    /// Prints the table, or nothing at all when it has no rows.
    pub fn print(&self, out: &Out) -> Result<(), StdoutError> {
        if self.is_empty() {
            return Ok(());
        }
        let mut lines = self.lines(crate::terminal::stdout_width());
        lines[0] = out.bold(&lines[0]);
        lines.push(String::new());
        out.data(lines.join("\n").as_bytes())
    }
}

fn lay_out(row: &[String], widths: &[usize]) -> String {
    let mut line = String::new();
    for (i, (cell, width)) in row.iter().zip(widths).enumerate() {
        if i > 0 {
            line.push_str("  ");
        }
        let length = cell.chars().count();
        if length > *width {
            line.extend(cell.chars().take(width.saturating_sub(1)));
            line.push('…');
        } else {
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', width - length));
        }
    }
    line.truncate(line.trim_end().len());
    line
}
