//! What the scanner asks its owner: about files, and about the compiler.

use std::sync::Arc;

/// Which file, and in which state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileId {
    /// With `inode`, what makes two paths the same file.
    pub device: u64,
    /// See `device`.
    pub inode: u64,
    /// Another number whenever the content may be another: a digest, or a hash of size and times.
    pub version: u64,
}

/// What is at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// A file that can be opened, by way of symbolic links if need be.
    File(FileId),
    /// Nothing, or a part of the path is no directory.
    Absent,
    /// A directory, which is as good as nothing where a header is looked for.
    Directory,
    /// Something that the compiler would stumble over: no permission, a loop of links, a device.
    Odd,
}

/// The files, as the compiler would see them.
pub trait Files {
    /// A number. As long as it is the same, the scanner takes earlier answers of [`Files::probe`] for still true.
    fn epoch(&self) -> u64;

    /// What is at an absolute path.
    fn probe(&mut self, path: &[u8]) -> Probe;

    /// The content of a file that [`Files::probe`] has found at this path; nothing when it is that no longer.
    fn contents(&mut self, path: &[u8], id: FileId) -> Option<Arc<[u8]>>;
}

/// The compiler, for what only it knows.
pub trait Compiler {
    /// The value of a call such as `__has_attribute(noreturn)` in an `#if`, for `function` and `argument` as they are
    /// spelled, without white space; nothing when it is not known. Each is asked once for a setup.
    fn answer(&mut self, function: &[u8], argument: &[u8]) -> Option<i64>;
}
