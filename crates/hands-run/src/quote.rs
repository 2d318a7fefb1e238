//! Commands in lines about them.

use std::borrow::Cow;

use hands_types::DigestFunction;
use hands_types::text::cut;

/// Characters of a command that a line about it shows, in bytes.
const LINE: usize = 300;
/// Longest command that a job log has in full, bytes.
const LOGGED: usize = 4096;

/// A command in a line about it.
pub(crate) fn in_a_line(command: &str) -> Cow<'_, str> {
    cut(command, LINE)
}

/// A command in a job log: what is too long for a table is named by its digest, so that another one is told apart.
pub(crate) fn in_a_log(command: &str) -> Cow<'_, str> {
    if command.len() <= LOGGED {
        return Cow::Borrowed(command);
    }
    let digest = hands_tree::hash(DigestFunction::Sha256, command.as_bytes());
    let beginning = cut(command, LINE);
    Cow::Owned(format!("{beginning} ({} bytes, sha256 {})", command.len(), digest.hex()))
}
