//! Where the clients are.

use std::io::Write as _;
use std::path::PathBuf;

/// A client's program, or directory, as its variable says; none where it could not be had, which is then said.
/// The variable holds a path, or `absent: ` and the reason.
pub(crate) fn tool(variable: &str) -> Option<PathBuf> {
    let why = match std::env::var(variable) {
        Ok(value) => match value.strip_prefix("absent: ") {
            None => return Some(PathBuf::from(value)),
            Some(why) => why.to_owned(),
        },
        Err(_) => "it is not set: `cargo xtask clients` installs what can be installed".to_owned(),
    };
    // Past the harness, which keeps what a passed test prints; and at the start of a line.
    let line = format!("\nskipped: {variable}: {why}\n");
    std::io::stdout().write_all(line.as_bytes()).unwrap();
    None
}
