//! From a command to the strings that execve takes.

use std::ffi::CString;

use hands_types::platform::{FIXED_LANG, FIXED_PATH};

use crate::error::ExecError;
use crate::request::{Command, Terminal};

/// Set to `1` in every action, so that programs of ours know where they are.
pub const INSIDE_VARIABLE: &str = "HANDS_INSIDE";

/// The command's arguments.
pub(crate) fn arguments(command: &Command) -> Result<Vec<CString>, ExecError> {
    if command.arguments.first().is_none_or(String::is_empty) {
        return Err(ExecError::EmptyCommand);
    }
    command
        .arguments
        .iter()
        .enumerate()
        .map(|(i, argument)| {
            CString::new(argument.as_str()).map_err(|_| ExecError::BadArgument {
                what: format!("argument {i}"),
                why: "it holds a NUL",
            })
        })
        .collect()
}

/// The command's environment, in its order, then what is missing from it. `HOME` and `TMPDIR` are the sandbox's to add.
pub(crate) fn environment(
    command: &Command,
    terminal: Option<&Terminal>,
    defaults: &[(String, String)],
) -> Result<Vec<CString>, ExecError> {
    let own = &command.environment;
    let mut environment = Vec::with_capacity(own.len() + defaults.len() + 4);
    for (name, value) in own {
        let bad = |why| ExecError::BadArgument {
            what: format!("the variable {}", name.escape_debug()),
            why,
        };
        if name.is_empty() || name.contains('=') {
            return Err(bad("its name is empty or holds `=`"));
        }
        environment
            .push(CString::new(format!("{name}={value}")).map_err(|_| bad("it holds a NUL"))?);
    }
    let missing = |name: &str| own.iter().all(|(n, _)| n != name);
    let mut add = |name: &str, value: &str| {
        if missing(name)
            && let Ok(variable) = CString::new(format!("{name}={value}"))
        {
            environment.push(variable);
        }
    };
    add(INSIDE_VARIABLE, "1");
    if let Some(terminal) = terminal
        && !terminal.term.is_empty()
    {
        add("TERM", &terminal.term);
    }
    for (name, value) in defaults {
        add(name, value);
    }
    if !defaults.iter().any(|(name, _)| name == "PATH") {
        add("PATH", FIXED_PATH);
    }
    if !defaults.iter().any(|(name, _)| name == "LANG") {
        add("LANG", FIXED_LANG);
    }
    Ok(environment)
}
