//! The only way to a person: data on stdout, everything else on stderr.
//!
//! Owns what decides how text looks (colour, width, verbosity). A closed stdout is not an error that anyone wants to
//! read about: it comes back as [`StdoutError::Closed`], and the program ends in silence. A closed stderr is ignored,
//! since nobody is left to be told.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::io::{self, IsTerminal};
use std::time::Duration;

use crate::args::{ColorWhen, GlobalArgs};
use crate::stdio::{Target, write_all};
use hands_client::printable;

/// Writes to standard output, or to standard error, before there is an [`Out`]: help, and what is wrong with arguments.
pub fn print_raw(to_stderr: bool, text: &str) -> Result<(), StdoutError> {
    let target = if to_stderr { Target::Stderr } else { Target::Stdout };
    Ok(write_all(target, text.as_bytes())?)
}

/// Why standard output does not take what we have.
#[derive(Debug)]
pub enum StdoutError {
    /// Whoever read it has gone.
    Closed,
    /// It goes to a file that can't be written: a full disk, for one. Data is lost, so this must be said.
    Write(io::Error),
}

impl From<io::Error> for StdoutError {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe { Self::Closed } else { Self::Write(error) }
    }
}

/// How to print. One for the program.
#[derive(Debug)]
pub struct Out {
    quiet: bool,
    verbose: u8,
    color_out: bool,
    color_err: bool,
    err_is_terminal: bool,
    /// Lines of ours end in CR LF while the terminal is raw.
    raw: Cell<bool>,
    /// Lines at stderr's end that show how far something is: they are wiped before anything else is printed.
    drawn: Cell<usize>,
    /// Warnings that are said once.
    said: RefCell<BTreeSet<String>>,
}

impl Out {
    /// Decides from flags, `NO_COLOR` (by its presence, `no_color`) and what stdout and stderr are.
    pub fn new(global: &GlobalArgs, no_color: bool) -> Self {
        let err_is_terminal = io::stderr().is_terminal();
        let color = |is_terminal| match global.color {
            ColorWhen::Auto => is_terminal && !no_color,
            ColorWhen::Always => true,
            ColorWhen::Never => false,
        };
        Self {
            quiet: global.quiet,
            verbose: global.verbose,
            color_out: color(io::stdout().is_terminal()),
            color_err: color(err_is_terminal),
            err_is_terminal,
            raw: Cell::new(false),
            drawn: Cell::new(0),
            said: RefCell::default(),
        }
    }

    /// Whether a person watches stderr.
    pub fn watched(&self) -> bool {
        self.err_is_terminal && !self.quiet
    }

    /// Whether more than the necessary was asked for.
    pub fn is_verbose(&self) -> bool {
        self.verbose > 0
    }

    /// Whether less than usual was asked for.
    pub fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Whether stderr is coloured, or else stdout.
    pub fn colors(&self, stderr: bool) -> bool {
        if stderr { self.color_err } else { self.color_out }
    }

    /// Whether stdout is coloured.
    pub fn is_colored(&self) -> bool {
        self.color_out
    }

    pub fn set_raw(&self, raw: bool) {
        self.raw.set(raw);
    }

    /// One line for the person, unless they asked for quiet.
    pub fn note(&self, text: &str) {
        if !self.quiet {
            self.line("", "hands", text);
        }
    }

    /// As [`Out::note`], where the terminal may take nothing any more: whoever leaves does not wait longer than this for it.
    pub async fn note_within(&self, text: &str, patience: Duration) {
        if self.quiet {
            return;
        }
        self.wipe_bar();
        let line = self.lined("", "hands", text);
        let writing =
            tokio::task::spawn_blocking(move || write_all(Target::Stderr, line.as_bytes()));
        if !matches!(tokio::time::timeout(patience, writing).await, Ok(Ok(Ok(())))) {
            // Nobody is there to be told.
        }
    }

    /// One line that is said even when quiet: what was done may have been done twice.
    pub fn always(&self, text: &str) {
        self.line("33", "again", text);
    }

    /// Why nothing happens yet.
    pub fn waiting(&self, reason: &str) {
        if !self.quiet {
            self.line("33", "waiting", reason.strip_prefix("waiting: ").unwrap_or(reason));
        }
    }

    /// Prints a warning that this program has not printed yet.
    pub(crate) fn warning_once(&self, text: &str) {
        if self.said.borrow_mut().insert(text.to_owned()) {
            self.warning(text);
        }
    }

    /// What is not wrong yet but may surprise.
    pub fn warning(&self, text: &str) {
        if !self.quiet {
            self.line("33", "warning", text);
        }
    }

    /// What failed. Printed even when quiet.
    pub fn error(&self, text: &str) {
        self.line("31;1", "error", text);
    }

    /// The next step, after a warning or an error.
    pub fn hint(&self, text: &str) {
        if !self.quiet {
            self.line("36", "hint", text);
        }
    }

    fn line(&self, color: &str, label: &str, text: &str) {
        self.to_stderr(self.lined(color, label, text).as_bytes());
    }

    fn lined(&self, color: &str, label: &str, text: &str) -> String {
        // Lines stay lines: some sentences have several.
        let text = text.lines().map(printable).collect::<Vec<_>>().join("\n");
        let end = if self.raw.get() { "\r\n" } else { "\n" };
        let text = if self.raw.get() { text.replace('\n', "\r\n") } else { text };
        let label = if self.color_err && !color.is_empty() {
            format!("\x1b[{color}m{label}:\x1b[0m")
        } else {
            format!("{label}:")
        };
        format!("{label} {text}{end}")
    }

    /// Bytes of an action's stderr, or a line of ours that is whole already.
    pub fn to_stderr(&self, bytes: &[u8]) {
        self.wipe_bar();
        if write_all(Target::Stderr, bytes).is_err() {
            // Nobody is left to be told.
        }
    }

    /// How far a long request is, in place of what was said last. For a person who watches.
    pub fn progress(&self, text: &str) {
        if self.watched() {
            self.draw_bar(text);
        }
    }

    /// Draws the progress bar in place of what was drawn last; a person must be watching.
    pub fn draw_bar(&self, text: &str) {
        self.draw(&[text.to_owned()]);
    }

    /// The same with several lines. One that is wider than the terminal is cut by it.
    pub fn draw(&self, lines: &[String]) {
        let text = drawing(self.drawn.get(), lines);
        if write_all(Target::Stderr, text.as_bytes()).is_ok() {
            self.drawn.set(lines.len());
        }
    }

    /// Takes away what was drawn.
    pub fn wipe_bar(&self) {
        let drawn = self.drawn.replace(0);
        if drawn > 0 && write_all(Target::Stderr, drawing(drawn, &[]).as_bytes()).is_err() {
            // Nobody is left to be told.
        }
    }

    /// Data. Nothing is kept back: what was printed is there even if we are killed next.
    pub fn data(&self, bytes: &[u8]) -> Result<(), StdoutError> {
        self.wipe_bar();
        Ok(write_all(Target::Stdout, bytes)?)
    }

    /// A line of data.
    pub fn data_line(&self, text: &str) -> Result<(), StdoutError> {
        self.data(format!("{text}\n").as_bytes())
    }

    /// `text` in bold, for headings on stdout.
    pub fn bold(&self, text: &str) -> String {
        if self.color_out { format!("\x1b[1m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// A name from elsewhere, safe to print.
    pub fn foreign(text: &str) -> String {
        printable(text).into_owned()
    }
}

/// What a terminal is sent to show these lines in place of the last `before`, at the last of which its cursor stands. Its
/// own way to break lines is off meanwhile: it knows how wide its characters are.
fn drawing(before: usize, lines: &[String]) -> String {
    let up = "\x1b[A".repeat(before.saturating_sub(1));
    let mut text = format!("\r{up}");
    if lines.is_empty() {
        text.push_str("\x1b[J");
        return text;
    }
    text.push_str("\x1b[?7l");
    for (index, line) in lines.iter().enumerate() {
        text.push_str(if index == 0 { "" } else { "\r\n" });
        text.push_str(line);
        text.push_str("\x1b[K");
    }
    text.push_str(if lines.len() < before { "\x1b[J\x1b[?7h" } else { "\x1b[?7h" });
    text
}
