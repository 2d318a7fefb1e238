//! Where messages begin in the body of a gRPC call.

/// Bytes before each message: whether it is compressed, and its length, big-endian (gRPC over HTTP/2, "Length-Prefixed-Message").
const PREFIX: usize = 5;

/// Follows a body as it comes, in pieces of any length.
#[derive(Debug, Default)]
pub struct Prefixes {
    prefix: [u8; PREFIX],
    /// Bytes of the prefix that are there.
    known: usize,
    /// Bytes of the message that are still to come.
    left: usize,
}

impl Prefixes {
    /// Whether a message has ended and no other has begun.
    pub const fn is_between(&self) -> bool {
        self.left == 0 && self.known == 0
    }

    /// Takes the next bytes of the body and tells the length of each message that begins in them.
    pub fn follow<E>(
        &mut self,
        mut data: &[u8],
        mut begins: impl FnMut(usize) -> Result<(), E>,
    ) -> Result<(), E> {
        while !data.is_empty() {
            if self.left > 0 {
                let passed = data.len().min(self.left);
                data = &data[passed..];
                self.left -= passed;
                continue;
            }
            let taken = data.len().min(PREFIX - self.known);
            self.prefix[self.known..self.known + taken].copy_from_slice(&data[..taken]);
            data = &data[taken..];
            self.known += taken;
            if self.known == PREFIX {
                let [_, length @ ..] = self.prefix;
                self.left = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
                self.known = 0;
                begins(self.left)?;
            }
        }
        Ok(())
    }
}
