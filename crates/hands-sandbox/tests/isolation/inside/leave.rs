//! Attempts to leave something for the next action, and to find it.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, IntoRawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};

use super::{raw, require};

const FILES: [&str; 5] =
    ["/tmp/leak", "/job/leak", "/dev/shm/leak", "/var/tmp/leak", "/home/action/leak"];
const IPC_KEY: i32 = 0x1234;

pub(crate) fn run(name: &str, _argument: &str) -> bool {
    match name {
        "leave-files" => FILES.iter().for_each(|p| fs::write(p, "x").expect(p)),
        "find-files" => FILES.iter().for_each(|p| require(!fs::exists(p).unwrap_or(true), p)),
        "leave-ipc" => {
            let flags = libc::IPC_CREAT | 0o666;
            // SAFETY: plain System V calls.
            let made = unsafe {
                [
                    libc::shmget(IPC_KEY, 4096, flags),
                    libc::semget(IPC_KEY, 1, flags),
                    libc::msgget(IPC_KEY, flags),
                ]
            };
            require(made.iter().all(|&id| id >= 0), "could not make any");
        }
        "find-ipc" => {
            // SAFETY: plain System V calls.
            let found = unsafe {
                [
                    libc::shmget(IPC_KEY, 4096, 0o666),
                    libc::semget(IPC_KEY, 1, 0o666),
                    libc::msgget(IPC_KEY, 0o666),
                ]
            };
            require(found.iter().all(|&id| id < 0), "System V objects");
        }
        "leave-port" => {
            let listener = TcpListener::bind("127.0.0.1:8080").expect("bind");
            let ours = TcpStream::connect("127.0.0.1:8080").expect("connect");
            let (theirs, _) = listener.accept().expect("accept");
            drop(theirs); // the listener's side closes first and would keep TIME_WAIT on 8080
            drop(ours);
            let _left = TcpListener::bind("0.0.0.0:80").expect("a low port").into_raw_fd();
        }
        "find-port" => [8080, 80].into_iter().for_each(free_port),
        "leave-abstract" => {
            let name = SocketAddr::from_abstract_name("left").expect("a name");
            let _left = UnixListener::bind_addr(&name).expect("bind").into_raw_fd();
        }
        "find-abstract" => {
            let name = SocketAddr::from_abstract_name("left").expect("a name");
            require(UnixListener::bind_addr(&name).is_ok(), "the name is taken");
        }
        // add_key("user", "left", "x", 1, KEY_SPEC_USER_KEYRING)
        "leave-keyring" | "find-keyring" => {
            let (kind, description) = (c"user".as_ptr() as usize, c"left".as_ptr() as usize);
            require(raw(libc::SYS_add_key, kind, description, 0) == libc::EPERM, "add_key");
            require(raw(libc::SYS_request_key, kind, description, 0) == libc::EPERM, "request_key");
        }
        "leave-memfd" => {
            // SAFETY: a literal; the descriptor is left open on purpose.
            let fd = unsafe { libc::memfd_create(c"left".as_ptr(), 0) };
            require(fd >= 0, "memfd");
        }
        "find-memfd" => {
            let open: Vec<_> = fs::read_dir("/proc/self/fd").expect("fd").flatten().collect();
            let left = open
                .iter()
                .filter_map(|e| fs::read_link(e.path()).ok())
                .any(|p| p.to_string_lossy().contains("left"));
            require(!left, "an inherited memory file");
        }
        "leave-inflight" => inflight(),
        "find-inflight" => free_port(8081),
        "leave-orphan" => orphan(),
        "find-orphan" => free_port(8082),
        "leave-unsent" => unsent(),
        "find-unsent" => free_port(8083),
        "leave-pty" => {
            // SAFETY: a literal; the descriptor is left open on purpose.
            let fd = unsafe { libc::open(c"/dev/ptmx".as_ptr(), libc::O_RDWR) };
            require(fd >= 0, "a terminal");
        }
        "find-pty" => {
            let names = fs::read_dir("/dev/pts").expect("pts").flatten().map(|e| e.file_name());
            require(names.into_iter().all(|n| n == "ptmx"), "a terminal");
        }
        _ => return false,
    }
    true
}

/// Binds without SO_REUSEADDR, which std sets.
fn free_port(port: u16) {
    // SAFETY: locals.
    unsafe {
        let s = libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0);
        let mut address: libc::sockaddr_in = std::mem::zeroed();
        address.sin_family = u16::try_from(libc::AF_INET).unwrap_or(0);
        address.sin_port = port.to_be();
        let length = u32::try_from(size_of::<libc::sockaddr_in>()).unwrap_or(0);
        require(libc::bind(s, (&raw const address).cast(), length) == 0, "the port is still taken");
    }
}

/// A listening socket that only a cycle of sockets in each other's queues keeps alive: the kernel frees it when it
/// collects garbage, not when the processes die.
fn inflight() {
    let listener = TcpListener::bind("127.0.0.1:8081").expect("bind");
    let (a, b) = UnixStream::pair().expect("a pair");
    send_fd(&a, b.as_raw_fd());
    send_fd(&b, a.as_raw_fd());
    send_fd(&a, listener.as_raw_fd());
}

/// A connection that was closed on one side, in FIN_WAIT2, whose other side nobody closes: it waits in a cycle of queues.
fn orphan() {
    let listener = TcpListener::bind("127.0.0.1:8082").expect("bind");
    let ours = TcpStream::connect("127.0.0.1:8082").expect("connect");
    let (theirs, _) = listener.accept().expect("accept");
    let (a, b) = UnixStream::pair().expect("a pair");
    send_fd(&a, b.as_raw_fd());
    send_fd(&b, a.as_raw_fd());
    send_fd(&a, theirs.as_raw_fd());
    drop(ours);
}

/// Connections full of bytes that nobody has read, one of them not even accepted.
fn unsent() {
    use std::io::Write;
    let listener = TcpListener::bind("127.0.0.1:8083").expect("bind");
    for accept in [true, false] {
        let mut ours = TcpStream::connect("127.0.0.1:8083").expect("connect");
        ours.set_nonblocking(true).expect("non-blocking");
        while ours.write(&[0; 65536]).is_ok() {}
        if accept {
            let _left = listener.accept().expect("accept").0.into_raw_fd();
        }
        let _left = ours.into_raw_fd();
    }
}

fn send_fd(over: &UnixStream, fd: i32) {
    let mut byte = [1u8];
    let mut part = libc::iovec { iov_base: byte.as_mut_ptr().cast(), iov_len: 1 };
    let mut control = [0u64; 4];
    // SAFETY: the header points at locals that outlive the call.
    unsafe {
        let mut message: libc::msghdr = std::mem::zeroed();
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = libc::CMSG_SPACE(4) as usize;
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        (*header).cmsg_level = libc::SOL_SOCKET;
        (*header).cmsg_type = libc::SCM_RIGHTS;
        (*header).cmsg_len = libc::CMSG_LEN(4) as usize;
        libc::CMSG_DATA(header).cast::<i32>().write_unaligned(fd);
        require(libc::sendmsg(over.as_raw_fd(), &raw const message, 0) == 1, "sendmsg");
    }
}
