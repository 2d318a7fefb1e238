//! Reading a request together with the handles that ride on it.

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;

use hands_proto::v1::SnapshotRequest;
use prost::Message;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use tokio::io::Interest;
use tokio::net::UnixStream;

/// Longest request, bytes: some ten thousand inputs.
const MAX_REQUEST: usize = 4 << 20;
/// Handles in one message; the kernel's own bound.
const MAX_HANDLES: usize = 253;
/// Handles in one request.
const MAX_ALL: usize = 4096;

/// One request and its handles; none when the other side has closed.
pub(super) async fn receive(
    stream: &UnixStream,
) -> io::Result<Option<(SnapshotRequest, Vec<OwnedFd>)>> {
    let mut bytes: Vec<u8> = Vec::new();
    let mut handles = Vec::new();
    loop {
        let wanted = match bytes.first_chunk::<4>() {
            None => 4,
            Some(length) => {
                4 + usize::try_from(u32::from_be_bytes(*length)).map_err(io::Error::other)?
            }
        };
        if wanted > MAX_REQUEST {
            return Err(invalid("a request that is too long"));
        }
        if bytes.len() >= 4 && bytes.len() == wanted {
            let request = SnapshotRequest::decode(&bytes[4..]).map_err(io::Error::other)?;
            return Ok(Some((request, handles)));
        }
        // Never beyond this request: the next one's handles must not come with it.
        let mut buffer = vec![0; (wanted - bytes.len()).min(64 << 10)];
        let received =
            stream.async_io(Interest::READABLE, || read(stream, &mut buffer, &mut handles)).await?;
        if received == 0 {
            return if bytes.is_empty() {
                Ok(None)
            } else {
                Err(io::ErrorKind::UnexpectedEof.into())
            };
        }
        bytes.extend_from_slice(&buffer[..received]);
        if handles.len() > MAX_ALL {
            return Err(invalid("too many handles"));
        }
    }
}

fn read(stream: &UnixStream, buffer: &mut [u8], handles: &mut Vec<OwnedFd>) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_HANDLES))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    #[cfg(target_os = "linux")]
    let flags = RecvFlags::CMSG_CLOEXEC;
    #[cfg(not(target_os = "linux"))]
    let flags = RecvFlags::empty();
    let received = recvmsg(stream, &mut [IoSliceMut::new(buffer)], &mut control, flags)?;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(fds) = message {
            for fd in fds {
                #[cfg(not(target_os = "linux"))]
                rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::CLOEXEC)?;
                handles.push(fd);
            }
        }
    }
    if received.flags.contains(rustix::net::ReturnFlags::CTRUNC) {
        return Err(invalid("handles that did not fit"));
    }
    Ok(received.bytes)
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}
