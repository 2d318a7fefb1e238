//! Where a batch's commands come from: plain lines, JSON lines, or a template and its arguments. The whole list is
//! read and checked before anything runs, so that a mistake in line 900 costs nothing.

use std::ffi::OsString;
use std::io::Read;
use std::path::Path;

use hands_front::args::ActionArgs;
use hands_front::stdio::Stdin;
use hands_front::{RunError, shell_quoted};

use crate::args::BatchArgs;
use crate::batch::{json, template};

/// One command of a batch.
#[derive(Clone, Debug)]
pub(crate) struct Task {
    /// From 1, in the order of the list.
    pub(crate) number: usize,
    /// What the user calls it; JSON lines only.
    pub(crate) id: Option<String>,
    /// For people and the job log, on one line.
    pub(crate) title: String,
    pub(crate) argv: Vec<String>,
    /// The batch's flags with this command's own on top; none when it has none of its own.
    pub(crate) action: Option<Box<ActionArgs>>,
}

impl Task {
    /// A line for a shell.
    pub(crate) fn shell(number: usize, line: &str) -> Self {
        Self { number, id: None, title: line.to_owned(), argv: shell_argv(line), action: None }
    }
}

/// How a shell command is run: by the worker's `sh`.
pub(crate) fn shell_argv(command: &str) -> Vec<String> {
    vec!["/bin/sh".to_owned(), "-c".to_owned(), command.to_owned()]
}

/// Reads the list that the arguments name.
pub(crate) fn tasks(args: &BatchArgs) -> Result<Vec<Task>, RunError> {
    if !args.command.is_empty() {
        return template::tasks(&args.command, &args.action, || read(Path::new("-")));
    }
    let Some(file) = &args.file else { return Ok(Vec::new()) };
    if !args.stray.is_empty() {
        let words =
            std::iter::once(file.as_os_str()).chain(args.stray.iter().map(OsString::as_os_str));
        let words: Vec<_> =
            words.map(|w| shell_quoted(&w.to_string_lossy()).into_owned()).collect();
        return Err(RunError::Usage(format!(
            "there is one file of commands, and a command stands after `--`: hands batch -- {}",
            words.join(" ")
        )));
    }
    if let Some((flag, path)) = template::in_flags(&args.action) {
        return Err(RunError::Usage(format!(
            "{flag} {path}: a list of commands has no arguments to fill in here; give them after `:::`, or make the line a JSON object with an {} of its own",
            flag.trim_start_matches('-'),
        )));
    }
    parse(&file.display().to_string(), &read(file)?, &args.action)
}

/// What is said of a list that has come to nothing.
pub(crate) fn none(args: &BatchArgs) -> String {
    let why = match &args.file {
        Some(file) if file != Path::new("-") => format!("{} holds no command", file.display()),
        Some(_) => "standard input holds no command".to_owned(),
        None if args.command.iter().any(|word| word == ":::") => {
            "no argument stands after `:::`".to_owned()
        }
        None => "standard input holds no argument".to_owned(),
    };
    format!("nothing to run: {why}")
}

/// Reads lines, of which each is a shell command or a JSON object.
pub(crate) fn parse(name: &str, text: &str, action: &ActionArgs) -> Result<Vec<Task>, RunError> {
    let name = if name == "-" { "standard input" } else { name };
    let mut tasks = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            continue;
        }
        let number = tasks.len() + 1;
        let task = if trimmed.starts_with('{') {
            json::task(number, line, action).map_err(|error| RunError::Column {
                file: name.to_owned(),
                line: index + 1,
                column: error.column,
                why: error.why,
            })?
        } else {
            Task::shell(number, trimmed)
        };
        tasks.push(task);
    }
    Ok(tasks)
}

fn read(file: &Path) -> Result<String, RunError> {
    let mut bytes = Vec::new();
    let done = if file == Path::new("-") {
        Stdin.read_to_end(&mut bytes)
    } else {
        std::fs::File::open(file).and_then(|mut f| f.read_to_end(&mut bytes))
    };
    done.map_err(|source| RunError::Read { path: file.to_owned(), source })?;
    String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line_start = before.iter().rposition(|&b| b == b'\n').map_or(0, |i| i + 1);
        RunError::Column {
            file: file.display().to_string(),
            line: before.iter().filter(|&&b| b == b'\n').count() + 1,
            column: before.len() - line_start + 1,
            why: "not UTF-8".to_owned(),
        }
    })
}
