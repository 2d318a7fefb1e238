//! Bytes that wait on the disk until it is known what they are.

use std::os::unix::fs::FileExt as _;

use crate::error::StoreError;
use crate::files::Temp;
use crate::read::CHUNK;
use crate::store::Store;
use crate::write::ensure_bounded;

/// What came of something that becomes a blob at most later. It counts as what is unfinished, and is gone when it is dropped.
#[derive(Debug)]
pub struct Spool {
    store: Store,
    temp: Temp,
}

impl Store {
    /// Begins with nothing.
    pub fn spool(&self) -> Result<Spool, StoreError> {
        Ok(Spool { store: self.clone(), temp: self.inner.temp()? })
    }
}

impl Spool {
    /// Appends what came next.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let inner = &self.store.inner;
        let n = bytes.len() as u64;
        ensure_bounded(inner, n, n)?;
        inner.ensure_room(n)?;
        self.temp.write(bytes)
    }

    /// Hands out all of it from its beginning, piece by piece.
    pub fn each<E: From<StoreError>>(
        &self,
        mut each: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut buffer = vec![0; CHUNK];
        let mut at = 0;
        loop {
            let n = match self.temp.file().read_at(&mut buffer, at) {
                Ok(0) => return Ok(()),
                Ok(n) => n,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(StoreError::io("read", self.temp.path())(error).into()),
            };
            each(&buffer[..n])?;
            at += n as u64;
        }
    }
}
