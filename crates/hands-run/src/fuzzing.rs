//! What no line of JSON may do, whatever its bytes are: for `fuzz/` and for the tests.

#[cfg(test)]
mod tests;

use hands_front::args::ActionArgs;

use crate::batch::json;

/// Reads bytes as one command of a batch.
pub fn json_lines(data: &[u8]) {
    let line = String::from_utf8_lossy(data);
    match json::task(1, &line, &ActionArgs::default()) {
        Ok(task) => {
            assert!(!task.argv.is_empty(), "a command has a name");
            assert!(!task.title.contains('\n'), "a title is one line");
        }
        Err(error) => {
            assert!((1..=line.len() + 1).contains(&error.column), "{error:?} is in the line");
            assert!(!error.why.is_empty(), "a reason is given");
        }
    }
}
