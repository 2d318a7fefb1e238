//! What no directory may do, whatever its bytes are: for `fuzz/` and for the tests.

#[cfg(test)]
mod tests;

use hands_types::DigestFunction;

use crate::directory::parse_directory;

/// Reads bytes as a `Directory`.
pub fn directories(data: &[u8]) {
    let Ok(directory) = parse_directory(data, DigestFunction::Sha256) else {
        return;
    };
    let mut last: Option<&str> = None;
    for node in directory.nodes() {
        let name = node.name();
        assert!(!name.is_empty() && name != "." && name != "..", "{name:?} is a name");
        assert!(!name.contains(['/', '\0']), "{name:?} is one component");
        assert!(last < Some(name), "{name:?} comes after {last:?}");
        last = Some(name);
    }
}
