//! Names of a directory, and paths made of them.

use std::ffi::CStr;
use std::fmt::Write as _;
use std::os::fd::BorrowedFd;

use super::CollectError;
use super::open::read_error;

/// Longest path that is collected, bytes: what the kernel takes in one call, so that programs can use it elsewhere.
pub(crate) const LONGEST_PATH: usize = 4095;

/// Reads a directory: its names without `.` and `..`, sorted; `most` of them at most. Each name that is not UTF-8, and so
/// can't be an output, is handed to `odd` as text, with such bytes as `\xNN`: none is kept, for there may be millions.
pub(crate) fn names(
    fd: BorrowedFd<'_>,
    path: &str,
    most: u64,
    odd: &mut dyn FnMut(&str) -> Result<(), CollectError>,
) -> Result<Vec<String>, CollectError> {
    let mut names = Vec::new();
    // Reads by a descriptor of its own, because the position belongs to the open file.
    for entry in rustix::fs::Dir::read_from(fd).map_err(read_error(path))? {
        if names.len() as u64 >= most {
            break;
        }
        let entry = entry.map_err(read_error(path))?;
        match entry.file_name().to_str() {
            Ok("." | "..") => {}
            Ok(name) => names.push(name.to_owned()),
            Err(_) => odd(&readable(entry.file_name()))?,
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// What is said of a name that [`names`] does not give.
pub(crate) fn not_utf8(directory: &str, name: &str) -> CollectError {
    let path = joined(directory.trim_end_matches('/'), name);
    CollectError::NotAnOutput { path, why: "has a name that is not UTF-8" }
}

/// A path below a directory; either may be empty.
pub(crate) fn joined(directory: &str, name: &str) -> String {
    let mut path = directory.to_owned();
    push(&mut path, name);
    path
}

pub(crate) fn push(path: &mut String, name: &str) {
    if !path.is_empty() && !name.is_empty() {
        path.push('/');
    }
    path.push_str(name);
}

pub(crate) fn pop(path: &mut String) {
    path.truncate(path.rfind('/').unwrap_or(0));
}

fn readable(name: &CStr) -> String {
    let mut text = String::new();
    for chunk in name.to_bytes().utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            // Writing to a string does not fail.
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}
