//! One stream of one attempt, kept until the hub has the result.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use hands_tree::Hasher;
use hands_types::{Digest, DigestFunction};

/// Above this many bytes a stream moves to a file.
const IN_MEMORY: usize = 1 << 20;

/// A stream: append at the end, read anywhere. In memory up to 1 MiB, then in a file that has no name, so that nothing
/// is left of it whatever happens to this process.
#[derive(Debug)]
pub(crate) struct Spool {
    directory: PathBuf,
    memory: Vec<u8>,
    file: Option<File>,
    length: u64,
    hasher: Hasher,
}

impl Spool {
    pub(crate) fn new(directory: &Path, function: DigestFunction) -> Self {
        let hasher = Hasher::new(function);
        Self { directory: directory.to_owned(), memory: Vec::new(), file: None, length: 0, hasher }
    }

    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    pub(crate) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.file.is_none() && self.memory.len() + bytes.len() > IN_MEMORY {
            let file = unnamed(&self.directory)?;
            file.write_all_at(&self.memory, 0)?;
            self.memory = Vec::new();
            self.file = Some(file);
        }
        match &self.file {
            Some(file) => file.write_all_at(bytes, self.length)?,
            None => self.memory.extend_from_slice(bytes),
        }
        self.length += bytes.len() as u64;
        self.hasher.update(bytes);
        Ok(())
    }

    /// At most `most` bytes from `offset` on; none at the end.
    pub(crate) fn read(&self, offset: u64, most: usize) -> io::Result<Bytes> {
        let left = self.length.saturating_sub(offset);
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(most);
        if length == 0 {
            return Ok(Bytes::new());
        }
        match &self.file {
            Some(file) => {
                let mut bytes = vec![0; length];
                file.read_exact_at(&mut bytes, offset)?;
                Ok(bytes.into())
            }
            None => {
                let at = usize::try_from(offset).unwrap_or(usize::MAX);
                Ok(Bytes::copy_from_slice(&self.memory[at..at + length]))
            }
        }
    }

    /// The digest of all that was appended so far.
    pub(crate) fn digest(&self) -> Digest {
        self.hasher.clone().finish()
    }

    /// All of it, if it is at most `most` bytes.
    pub(crate) fn whole(&self, most: usize) -> Option<Bytes> {
        (self.file.is_none() && self.memory.len() <= most)
            .then(|| Bytes::copy_from_slice(&self.memory))
    }
}

/// A file without a name; on file systems that know no such thing, one whose name is removed at once.
fn unnamed(directory: &Path) -> io::Result<File> {
    use rustix::fs::{Mode, OFlags};
    use rustix::io::Errno;
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    match rustix::fs::open(directory, flags, Mode::RUSR | Mode::WUSR) {
        Ok(fd) => Ok(File::from(fd)),
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::NOENT) => {
            let mut name = [0; 8];
            rustix::rand::getrandom(&mut name, rustix::rand::GetRandomFlags::empty())?;
            let path = directory.join(format!("spool-{:016x}", u64::from_ne_bytes(name)));
            let mut options = File::options();
            options.read(true).write(true).create_new(true).mode(0o600);
            let file = options.open(&path)?;
            std::fs::remove_file(&path)?;
            Ok(file)
        }
        Err(errno) => Err(errno.into()),
    }
}
