//! What a job's end means to the person: one exit code, and a sentence where the code alone would puzzle.

use hands_client::{Code, JobResult, printable};
use hands_types::error::exit;
use hands_types::is_output_pattern;

/// Entries that were left out which are named on a terminal.
const LEFT_OUT_SHOWN: usize = 20;

/// How a job ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The exit code of `hands run`.
    pub code: u8,
    /// What became of the command.
    pub end: End,
    /// What is to be said, if anything.
    pub sentence: Option<String>,
    /// What may help, said behind that.
    pub hints: Vec<String>,
    /// Declared outputs that are missing after success.
    pub missing: Vec<String>,
}

/// What became of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It ran and ended with 0, and all outputs are there.
    Succeeded,
    /// It ran, and failed in a way of its own.
    Failed,
    /// Somebody cancelled it.
    Cancelled,
    /// It was not run, or not to its end, for a reason of ours.
    NotRun,
}

impl End {
    /// The word in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::NotRun => "not-run",
        }
    }
}

impl Verdict {
    /// Some of what the command wrote was not shown, because its reader had gone. It ends in silence, as a program that
    /// SIGPIPE ends here; and what was not shown is no success, unless the command itself met the closed stream and had its
    /// own idea of it.
    pub fn was_cut_short(&mut self, result: &JobResult) {
        let met_it = result.usage().is_some_and(|usage| usage.output_closed);
        match self.end {
            End::Succeeded if !met_it => self.code = exit::SIGPIPE,
            End::Cancelled => {
                self.code = exit::SIGPIPE;
                self.sentence = None;
            }
            End::Failed if self.code == exit::SIGPIPE => self.sentence = None,
            End::Succeeded | End::Failed | End::NotRun => {}
        }
    }

    /// Some of what the command wrote could not be brought here: no success, which has this exit code.
    pub fn was_not_brought(&mut self, why: String, code: u8) {
        if self.end == End::Succeeded {
            (self.end, self.code) = (End::Failed, code);
        }
        self.sentence = Some(match self.sentence.take() {
            Some(sentence) => format!("{sentence}; {why}"),
            None => why,
        });
    }

    /// Some of what the command wrote could not be written here, which was said: no success.
    pub fn was_not_written(&mut self) {
        if self.end == End::Succeeded {
            self.code = exit::NOT_RUN;
        }
    }
}

/// What is missing, in at most two phrases: paths, and patterns.
fn lacks_missing(missing: &[String]) -> [Option<String>; 2] {
    let (patterns, paths): (Vec<&String>, Vec<_>) =
        missing.iter().partition(|path| is_output_pattern(path));
    let named = |all: &[&String]| {
        let [first, rest @ ..] = all else { return None };
        let more = if rest.is_empty() { "" } else { &format!(" and {} more", rest.len()) };
        Some(format!("{}{more}", printable(first)))
    };
    let paths = named(&paths).map(|named| format!("its output {named} is missing"));
    let patterns = named(&patterns).map(|named| format!("nothing matches its output {named}"));
    [paths, patterns]
}

fn lacks_left_out(result: &JobResult) -> Option<String> {
    match result.left_out.total {
        0 => None,
        1 => Some("an entry of its outputs could not be brought".to_owned()),
        n => Some(format!("{n} entries of its outputs could not be brought")),
    }
}

/// What was left out of the outputs, a line for each entry as far as they are named.
pub fn left_out(result: &JobResult) -> Vec<String> {
    let named = result.left_out.entries.iter().take(LEFT_OUT_SHOWN);
    let mut lines: Vec<String> =
        named.map(|entry| format!("left out: the output `{}` {}", entry.path, entry.why)).collect();
    let more = result.left_out.total.saturating_sub(lines.len() as u64);
    if more > 0 {
        lines.push(format!("left out: {more} more"));
    }
    lines
}

/// Judges a result; `declared` are the outputs that the caller asked for.
pub fn of(result: &JobResult, declared: &[String]) -> Verdict {
    let mut verdict = of_command(result, declared);
    if let Some(why) = &result.unread {
        verdict.was_not_brought(why.clone(), exit::NOT_RUN);
    }
    verdict
}

fn of_command(result: &JobResult, declared: &[String]) -> Verdict {
    let message = Some(result.message.clone()).filter(|m| !m.is_empty());
    if let Some(code) = result.exit_code() {
        let missing: Vec<String> = if code == 0 {
            result.missing_outputs(declared).into_iter().map(str::to_owned).collect()
        } else {
            Vec::new()
        };
        let lacks = lacks_missing(&missing).into_iter().chain([lacks_left_out(result)]);
        let lacks: Vec<String> = lacks.flatten().collect();
        if code == 0 && !lacks.is_empty() {
            return Verdict {
                code: exit::FAILED,
                end: End::Failed,
                sentence: Some(format!("the command succeeded, but {}", lacks.join(", and "))),
                hints: Vec::new(),
                missing,
            };
        }
        let end = if code == 0 { End::Succeeded } else { End::Failed };
        // Codes are eight bits wide wherever a command can end; a foreign engine that says otherwise gets the last one.
        let (code, odd) = u8::try_from(code).map_or_else(
            |_| {
                let odd = format!("the engine gives exit code {code}, as after a death by signal");
                (u8::MAX, Some(odd))
            },
            |code| (code, None),
        );
        let sentence = message.filter(|_| code != 0).or(odd);
        return Verdict { code, end, sentence, hints: Vec::new(), missing };
    }
    let failure = result.failure.as_ref();
    let said = failure.map(|f| f.message.clone()).filter(|m| !m.is_empty()).or(message);
    if result.timed_out() {
        let killed = result.process_code().unwrap_or_default();
        return Verdict {
            code: u8::try_from(killed).ok().filter(|c| *c != 0).unwrap_or(128 + 9),
            end: End::Failed,
            sentence: said.or_else(|| Some("the command was ended at its time limit".to_owned())),
            hints: Vec::new(),
            missing: Vec::new(),
        };
    }
    let cancelled = failure.is_some_and(|f| f.code == Code::Cancelled);
    Verdict {
        code: exit::NOT_RUN,
        hints: Vec::new(),
        end: if cancelled { End::Cancelled } else { End::NotRun },
        sentence: said.or_else(|| {
            Some(
                if cancelled {
                    "the action was cancelled"
                } else {
                    "the cluster gave no result and no reason"
                }
                .to_owned(),
            )
        }),
        missing: Vec::new(),
    }
}
