//! Whether outputs can be put in place, as far as that can be seen before the action runs.

use std::os::fd::BorrowedFd;

use hands_tree::Pattern;
use rustix::io::Errno;

use super::place::{is_link, open_beneath};
use crate::{ClientError, printable};

/// Looks for what would be in the way of an output (or of what a pattern matches) below a directory: a link that leads out
/// of it or to nothing, and a file where a directory must be. The rest shows when the output is there.
pub fn check_place(below: BorrowedFd<'_>, output: &str) -> Result<(), ClientError> {
    // An output that is no pattern has fixed names only.
    let Ok(pattern) = Pattern::new(output) else { return Ok(()) };
    let mut here = String::new();
    let mut above = open_beneath(below, ".");
    for name in pattern.fixed_parents() {
        if !here.is_empty() {
            here.push('/');
        }
        here.push_str(name);
        let Ok(directory) = &above else { return Ok(()) };
        let opened = open_beneath(below, &here);
        let why = match &opened {
            Ok(_) => {
                above = opened;
                continue;
            }
            Err(Errno::XDEV | Errno::LOOP) => "is a link that leads out of the current directory",
            Err(Errno::NOENT) if is_link(directory, name) => "is a link to nothing",
            Err(Errno::NOTDIR) => "is not a directory",
            // It will be made; and what else is wrong is said when it is.
            Err(_) => return Ok(()),
        };
        let (path, why) = (printable(output).into_owned(), format!("`{}` {why}", printable(&here)));
        return Err(ClientError::NoPlace { path, why });
    }
    Ok(())
}
