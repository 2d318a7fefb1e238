//! Paths inside an input root.

use std::fmt;

/// A relative path that stays where it starts: UTF-8, `/` between names, no `.` or `..`, no empty name, no NUL. The
/// empty path is the root itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelPath(String);

impl RelPath {
    /// Checks a path. A trailing slash is dropped; anything else that is not canonical is an error.
    pub fn new(text: &str) -> Result<Self, PathError> {
        let text = text.strip_suffix('/').unwrap_or(text);
        let fail = |why| Err(PathError { path: text.to_owned(), why });
        if text.contains('\0') {
            return fail("holds a NUL");
        }
        if text.starts_with('/') {
            return fail("is absolute");
        }
        if !text.is_empty() {
            for name in text.split('/') {
                match name {
                    "" => return fail("has an empty name"),
                    "." => return fail("holds `.`"),
                    ".." => return fail("leaves the input root"),
                    _ => {}
                }
            }
        }
        Ok(Self(text.to_owned()))
    }

    /// Resolves `.`, `..` and doubled slashes as a shell user means them; fails where the path would leave its root.
    pub fn normalized(text: &str) -> Result<Self, PathError> {
        let mut names: Vec<&str> = Vec::new();
        for name in text.split('/') {
            match name {
                "" | "." => {}
                ".." if names.pop().is_none() => {
                    return Err(PathError { path: text.to_owned(), why: "leaves the input root" });
                }
                ".." => {}
                name => names.push(name),
            }
        }
        if text.starts_with('/') {
            return Err(PathError { path: text.to_owned(), why: "is absolute" });
        }
        Self::new(&names.join("/"))
    }

    /// Whether `path`, as a shell user means it, stays inside a root when it is taken from a directory `depth` names below
    /// that root. Looks at the path alone, so that one long directory costs nothing for each of many paths in it.
    pub fn check_below(depth: usize, path: &str) -> Result<(), PathError> {
        let fail = |why| Err(PathError { path: path.to_owned(), why });
        let mut depth = depth;
        for name in path.split('/') {
            match name {
                "" | "." => {}
                ".." => match depth.checked_sub(1) {
                    Some(above) => depth = above,
                    None => return fail("leaves the input root"),
                },
                _ => depth += 1,
            }
        }
        if path.contains('\0') {
            return fail("holds a NUL");
        }
        Ok(())
    }

    /// The text, without a leading or trailing slash.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The names from the root down; none for the root itself.
    pub fn names(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/').filter(|n| !n.is_empty())
    }

    /// This path with `below` appended.
    #[must_use]
    pub fn join(&self, below: &Self) -> Self {
        match (self.0.is_empty(), below.0.is_empty()) {
            (true, _) => below.clone(),
            (_, true) => self.clone(),
            _ => Self(format!("{}/{}", self.0, below.0)),
        }
    }

    /// The directory that holds this path; none for the root.
    pub fn parent(&self) -> Option<Self> {
        if self.0.is_empty() {
            return None;
        }
        Some(Self(self.0.rsplit_once('/').map_or(String::new(), |(dir, _)| dir.to_owned())))
    }
}

impl fmt::Display for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "." } else { &self.0 })
    }
}

/// A path that an input root can't have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathError {
    /// The path as it was given.
    pub path: String,
    /// What is wrong, as the end of the sentence "the path …".
    pub why: &'static str,
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the path {} {}", self.path.escape_debug(), self.why)
    }
}

impl std::error::Error for PathError {}

/// Whether a declared output is a pattern and not a name: it has `*` or `?` in it. A bracket is a character like others.
pub fn is_output_pattern(path: &str) -> bool {
    path.contains(['*', '?'])
}

#[cfg(test)]
mod tests;
