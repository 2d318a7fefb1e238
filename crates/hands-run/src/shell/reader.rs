//! Where the prompt's lines come from: a line editor on a terminal, plain lines elsewhere.

use std::io::{self, BufRead, BufReader, IsTerminal};
use std::path::PathBuf;

use hands_front::RunError;
use hands_front::stdio::{self, Stdin};
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{Behavior, Config, Editor};

/// Lines that the history keeps.
const HISTORY: usize = 1000;

/// What was typed at the prompt.
#[derive(Debug)]
pub(crate) enum Typed {
    Line(String),
    /// Ctrl-C: the line is dropped.
    Interrupted,
    /// Ctrl-D, or the end of the input.
    End,
}

/// Reads lines. Blocks; belongs on a thread that may.
pub(crate) enum LineReader {
    Terminal { editor: Box<Editor<(), FileHistory>>, history: Option<PathBuf> },
    Plain(BufReader<Stdin>),
}

impl LineReader {
    /// A line editor where stdin and stdout are a terminal. A history that can't be read begins empty.
    pub(crate) fn new(history: Option<PathBuf>) -> Result<Self, RunError> {
        if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
            return Ok(Self::Plain(BufReader::new(Stdin)));
        }
        let config = Config::builder().max_history_size(HISTORY).map_err(terminal)?;
        let config =
            config.history_ignore_space(true).history_ignore_dups(true).map_err(terminal)?;
        // The editor takes "not now" for an error; the terminal opened anew does not say it.
        let behavior =
            if stdio::is_non_blocking() { Behavior::PreferTerm } else { Behavior::Stdio };
        let config = config.behavior(behavior).auto_add_history(true);
        let mut editor = Editor::with_config(config.build()).map_err(terminal)?;
        if let Some(file) = &history
            && let Err(ReadlineError::Io(error)) = editor.load_history(file)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(RunError::Read { path: file.clone(), source: error });
        }
        Ok(Self::Terminal { editor: Box::new(editor), history })
    }

    pub(crate) const fn is_terminal(&self) -> bool {
        matches!(self, Self::Terminal { .. })
    }

    /// The next line, without its end.
    pub(crate) fn read(&mut self, prompt: &str) -> Result<Typed, RunError> {
        match self {
            Self::Plain(input) => {
                let mut line = String::new();
                let read = input.read_line(&mut line);
                let length = read
                    .map_err(|source| RunError::Read { path: "standard input".into(), source })?;
                if length == 0 {
                    return Ok(Typed::End);
                }
                Ok(Typed::Line(line.trim_end_matches('\n').to_owned()))
            }
            Self::Terminal { editor, history } => match editor.readline(prompt) {
                Ok(line) => {
                    // Written at once, so that a prompt that is killed loses nothing.
                    if let Some(file) = history
                        && let Err(error) = editor.append_history(file)
                    {
                        let source = io::Error::other(error);
                        return Err(RunError::write(file, source));
                    }
                    Ok(Typed::Line(line))
                }
                Err(ReadlineError::Interrupted) => Ok(Typed::Interrupted),
                Err(ReadlineError::Eof) => Ok(Typed::End),
                Err(error) => Err(terminal(error)),
            },
        }
    }
}

fn terminal(error: ReadlineError) -> RunError {
    RunError::Terminal(io::Error::other(error))
}
