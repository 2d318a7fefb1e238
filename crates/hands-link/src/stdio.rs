//! Standard input and output as one stream: whoever started this process carries the bytes to the hub.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};

use rustix::fs::{FileType, fstat};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;
use tokio::net::unix::pipe;

use crate::stream::ByteStream;

/// The two standard streams, taken away from all others in this process.
#[derive(Debug)]
pub struct Stdio {
    input: OwnedFd,
    output: OwnedFd,
}

impl Stdio {
    /// Takes them. From now on what reads standard input finds its end, and what is written to standard output goes to
    /// standard error: nothing but the stream's own bytes can get among them. To be called before any thread or process is
    /// started, for those would have the streams, too.
    pub fn take() -> io::Result<Self> {
        // Both are closed in what is executed.
        let input = io::stdin().as_fd().try_clone_to_owned()?;
        let output = io::stdout().as_fd().try_clone_to_owned()?;
        rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
        rustix::stdio::dup2_stdout(rustix::stdio::stderr())?;
        Ok(Self { input, output })
    }

    /// As a stream. Must be called within a tokio runtime. They have to be pipes or sockets: a file has no other end, and a
    /// terminal changes what passes.
    pub fn stream(self) -> io::Result<impl ByteStream + 'static> {
        let input: Box<dyn AsyncRead + Send + Unpin> = match kind(&self.input)? {
            FileType::Fifo => Box::new(pipe::Receiver::from_owned_fd(self.input)?),
            FileType::Socket => Box::new(socket(self.input)?),
            _ => return Err(neither("standard input")),
        };
        let output: Box<dyn AsyncWrite + Send + Unpin> = match kind(&self.output)? {
            FileType::Fifo => Box::new(pipe::Sender::from_owned_fd(self.output)?),
            FileType::Socket => Box::new(socket(self.output)?),
            _ => return Err(neither("standard output")),
        };
        Ok(tokio::io::join(input, output))
    }
}

fn kind(fd: &OwnedFd) -> io::Result<FileType> {
    Ok(FileType::from_raw_mode(fstat(fd)?.st_mode))
}

/// A stream socket of any family: bytes pass through all of them alike.
fn socket(fd: OwnedFd) -> io::Result<UnixStream> {
    let socket = std::os::unix::net::UnixStream::from(fd);
    socket.set_nonblocking(true)?;
    UnixStream::from_std(socket)
}

fn neither(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("{what} is neither a pipe nor a socket"))
}
