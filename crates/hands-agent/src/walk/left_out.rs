//! What of the inputs stays here, for whoever sends them to be told.

/// Paths of one kind that are told by name.
const MAX_NAMED: usize = 20;
/// Bytes of the places of ignored directories that are told.
const MAX_PLACES: usize = 256 << 10;

/// What is here, or was, and not in the tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LeftOut {
    /// Listed, and gone when it was looked at.
    pub(crate) vanished: Paths,
    /// Pipes, sockets and devices, each with the word for what it is.
    pub(crate) unfit: Paths,
    /// Named by ignore files.
    pub(crate) ignored: Paths,
    /// Directories that ignore files name, or of whose entries they leave nothing: their places in the input root.
    pub(crate) ignored_directories: Vec<String>,
    place_bytes: usize,
}

/// Some paths of many.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Paths {
    /// The first ones, for a message.
    pub(crate) names: Vec<String>,
    pub(crate) count: u64,
}

impl Paths {
    pub(super) fn add(&mut self, path: impl FnOnce() -> String) {
        self.count += 1;
        if self.names.len() < MAX_NAMED {
            self.names.push(path());
        }
    }
}

impl LeftOut {
    pub(super) fn add_ignored_directory(&mut self, place: String) {
        self.place_bytes = self.place_bytes.saturating_add(place.len());
        if self.place_bytes <= MAX_PLACES {
            self.ignored_directories.push(place);
        }
    }
}
