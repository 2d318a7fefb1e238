//! `hands doctor`: what this machine can do, found by trying; what actions see of it; how to mend what is missing.

mod checks;
#[cfg(target_os = "linux")]
mod kernel;
#[cfg(target_os = "linux")]
mod sandbox;

#[cfg(not(target_os = "linux"))]
use std::path::PathBuf;

use hands_config::{Environment, Flags, Places, Settings};
use hands_front::eye::wrapped;
use hands_front::{Out, StdoutError, chain, printable};
use hands_types::error::exit;
use serde_json::json;

use crate::cli::DoctorArgs;
use crate::problem::{self, Problem};
#[cfg(target_os = "linux")]
use sandbox::exposed;

/// One thing that was looked at.
#[derive(Debug)]
pub(crate) struct Check {
    pub(crate) name: &'static str,
    pub(crate) state: State,
    /// What was found.
    pub(crate) found: String,
    /// How to mend it, where there is something to mend.
    pub(crate) cure: Option<String>,
}

/// How good it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum State {
    /// As it should be.
    Good,
    /// For information.
    Note,
    /// Everything works, with less.
    Weak,
    /// Something does not work.
    Bad,
}

impl State {
    const fn word(self) -> &'static str {
        match self {
            Self::Good => "ok",
            Self::Note => "-",
            Self::Weak => "weak",
            Self::Bad => "FAILS",
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Good => "ok",
            Self::Note => "note",
            Self::Weak => "weak",
            Self::Bad => "fails",
        }
    }
}

impl Check {
    pub(crate) fn good(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, state: State::Good, found: found.into(), cure: None }
    }

    pub(crate) fn note(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, state: State::Note, found: found.into(), cure: None }
    }

    pub(crate) fn weak(
        name: &'static str,
        found: impl Into<String>,
        cure: impl Into<String>,
    ) -> Self {
        Self { name, state: State::Weak, found: found.into(), cure: Some(cure.into()) }
    }

    pub(crate) fn bad(
        name: &'static str,
        found: impl Into<String>,
        cure: impl Into<String>,
    ) -> Self {
        Self { name, state: State::Bad, found: found.into(), cure: Some(cure.into()) }
    }
}

/// Looks at everything and prints it. 0 if actions can run here, 3 if not.
pub(crate) fn run(args: &DoctorArgs, environment: &Environment, out: &Out) -> Result<u8, Problem> {
    let mut all = Vec::new();
    match Places::find(environment) {
        Ok(places) => {
            match Settings::load(&places, environment, &Flags::default()) {
                Ok(settings) => {
                    let mut expose = settings.worker.expose;
                    expose.extend(hands_config::trusted_exposures(&places)?);
                    all.extend(exposed(environment, &expose));
                }
                Err(error) => all.push(Check::bad(
                    "settings",
                    chain(&error),
                    error.hint().unwrap_or_else(|| "correct it".to_owned()),
                )),
            }
            let first = checks::of_machine(&places)?;
            all.splice(0..0, first);
        }
        Err(error) => {
            all.push(Check::bad("places", chain(&error), error.hint().unwrap_or_default()));
        }
    }
    for check in &all {
        let printed = if args.json {
            out.data_line(
                &json!({
                    "check": check.name,
                    "state": check.state.name(),
                    "found": check.found,
                    "cure": check.cure,
                })
                .to_string(),
            )
        } else {
            print(check, out)
        };
        if let Err(error) = printed {
            return problem::unprinted(error);
        }
    }
    let worst = all.iter().map(|c| c.state).max().unwrap_or(State::Good);
    Ok(if worst == State::Bad { exit::CLUSTER } else { exit::OK })
}

/// Nothing runs here, so nothing is seen.
#[cfg(not(target_os = "linux"))]
fn exposed(_environment: &Environment, _expose: &[PathBuf]) -> Vec<Check> {
    Vec::new()
}

fn print(check: &Check, out: &Out) -> Result<(), StdoutError> {
    const WIDTH: usize = 80;
    const INDENT: usize = 25;
    let head = format!("{:<6} {:<17} ", check.state.word(), check.name);
    let mut text = head;
    for (index, line) in wrapped(&printable(&check.found), WIDTH - INDENT).iter().enumerate() {
        if index > 0 {
            text.push_str(&" ".repeat(INDENT));
        }
        text.push_str(line);
        text.push('\n');
    }
    for (index, line) in
        check.cure.iter().flat_map(|cure| wrapped(cure, WIDTH - INDENT - 2)).enumerate()
    {
        text.push_str(&" ".repeat(INDENT));
        text.push_str(if index == 0 { "→ " } else { "  " });
        text.push_str(&line);
        text.push('\n');
    }
    out.data(text.as_bytes())
}
