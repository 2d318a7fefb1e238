//! Packets between the worker, its launcher and its spawners. Both ends are the same build of the same program, so
//! the format has no version and native byte order.

use std::ffi::CStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};

/// Largest packet; what is larger travels in a memory file.
pub(crate) const MAX_PACKET: usize = 48 << 10;
/// Most descriptors in a packet.
pub(crate) const MAX_FDS: usize = 4;

/// Appends fields to a packet.
#[derive(Debug, Default)]
pub(crate) struct Writer(pub(crate) Vec<u8>);

impl Writer {
    pub(crate) fn u64(&mut self, value: u64) -> &mut Self {
        self.0.extend_from_slice(&value.to_ne_bytes());
        self
    }

    pub(crate) fn i32(&mut self, value: i32) -> &mut Self {
        self.u64(u64::from(value.cast_unsigned()))
    }

    /// Bytes without NUL, as a C string.
    pub(crate) fn text(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self.0.push(0);
        self
    }

    pub(crate) fn path(&mut self, path: &Path) -> &mut Self {
        self.text(path.as_os_str().as_bytes())
    }

    pub(crate) fn texts<'a>(
        &mut self,
        texts: impl ExactSizeIterator<Item = &'a [u8]>,
    ) -> &mut Self {
        self.u64(texts.len() as u64);
        for text in texts {
            self.text(text);
        }
        self
    }
}

/// Takes fields from a packet. None is a malformed packet.
#[derive(Debug)]
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn u64(&mut self) -> Option<u64> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_ne_bytes(*head))
    }

    pub(crate) fn i32(&mut self) -> Option<i32> {
        Some(u32::try_from(self.u64()?).ok()?.cast_signed())
    }

    pub(crate) fn count(&mut self) -> Option<usize> {
        // Every element takes at least a byte: a larger number is malformed.
        usize::try_from(self.u64()?).ok().filter(|&n| n <= self.0.len())
    }

    pub(crate) fn flag(&mut self) -> Option<bool> {
        Some(self.u64()? != 0)
    }

    pub(crate) fn text(&mut self) -> Option<&'a CStr> {
        let text = CStr::from_bytes_until_nul(self.0).ok()?;
        self.0 = &self.0[text.to_bytes_with_nul().len()..];
        Some(text)
    }

    pub(crate) fn path(&mut self) -> Option<PathBuf> {
        Some(PathBuf::from(std::ffi::OsStr::from_bytes(self.text()?.to_bytes())))
    }

    pub(crate) fn string(&mut self) -> Option<String> {
        Some(self.text()?.to_string_lossy().into_owned())
    }

    pub(crate) fn texts(&mut self) -> Option<Vec<&'a CStr>> {
        (0..self.count()?).map(|_| self.text()).collect()
    }
}

/// Sends one packet with descriptors.
pub(crate) fn send(sock: impl AsFd, data: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let sent =
        rustix::net::sendmsg(sock, &[io::IoSlice::new(data)], &mut control, SendFlags::NOSIGNAL)?;
    if sent == data.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

/// Receives one packet; 0 bytes mean that the other side is gone.
pub(crate) fn receive(sock: impl AsFd, data: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let message = rustix::net::recvmsg(
        sock,
        &mut [io::IoSliceMut::new(data)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    let mut fds = Vec::new();
    for part in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = part {
            fds.extend(rights);
        }
    }
    Ok((message.bytes, fds))
}

/// A connected pair of packet sockets.
pub(crate) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
    Ok(socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
}
