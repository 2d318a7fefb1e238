//! The slot's network namespace, made once and inherited: a fresh one per action would double its cost.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;

use hands_sandbox_child::sys::{self, call};
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use super::setup::{Step, named};
use crate::config::Network;

/// Sees what an action left in the network namespace, and whether it tried to leave it.
#[derive(Debug)]
pub(crate) struct NetworkWatch {
    sockets: Vec<File>,
    clean: Vec<Vec<u8>>,
    routes: [Option<File>; 2],
    unroutable: u64,
}

/// Nothing of TCP may outlive an action: no TIME_WAIT, no remembered metrics. Low ports need no capability.
const SETTINGS: [(&str, &str, bool); 4] = [
    ("ipv4/tcp_max_tw_buckets", "0", true),
    ("ipv4/tcp_no_metrics_save", "1", true),
    ("ipv4/ip_unprivileged_port_start", "0", false),
    ("unix/max_dgram_qlen", "512", false),
];

/// Sets up this process's network namespace.
pub(crate) fn prepare(network: Network) -> Step<NetworkWatch> {
    if network == Network::Loopback {
        named("the loopback", loopback_up())?;
    }
    for (key, value, needed) in SETTINGS {
        let written = std::fs::write(format!("/proc/sys/net/{key}"), value);
        if needed {
            named(key, written)?;
        }
    }
    let mut sockets = vec![named("sockstat", File::open("/proc/net/sockstat"))?];
    // Absent where IPv6 is switched off.
    sockets.extend(File::open("/proc/net/sockstat6").ok());
    let routes = ["/proc/net/snmp", "/proc/net/snmp6"].map(|path| File::open(path).ok());
    let clean = sockets.iter().map(usage).collect();
    let mut watch = NetworkWatch { sockets, clean, routes, unroutable: 0 };
    watch.unroutable = watch.count_unroutable();
    Ok(watch)
}

fn loopback_up() -> io::Result<()> {
    const SIOCSIFFLAGS: usize = 0x8914;
    let sock = rustix::net::socket_with(
        AddressFamily::INET,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    // SAFETY: a structure of integers; the ioctl reads it.
    unsafe {
        let mut request: libc::ifreq = std::mem::zeroed();
        for (to, from) in request.ifr_name.iter_mut().zip(c"lo".to_bytes()) {
            *to = from.cast_signed() as libc::c_char;
        }
        request.ifr_ifru.ifru_flags = i16::try_from(libc::IFF_UP | libc::IFF_RUNNING).unwrap_or(0);
        let fd = sys::arg(sock.as_raw_fd());
        call(libc::SYS_ioctl, fd, SIOCSIFFLAGS, (&raw const request) as usize, 0, 0)
            .map(drop)
            .map_err(crate::kernel::error)
    }
}

impl NetworkWatch {
    /// Whether a socket of an action is left.
    pub(crate) fn is_dirty(&self) -> bool {
        self.sockets.iter().zip(&self.clean).any(|(file, clean)| usage(file) != *clean)
    }

    /// Whether somebody tried to reach an address without a route since [`NetworkWatch::forget`].
    pub(crate) fn was_tried(&self) -> bool {
        self.count_unroutable() > self.unroutable
    }

    /// Looks from here on. The kernel writes two pages of numbers for it: not while somebody waits for an answer.
    pub(crate) fn forget(&mut self) {
        self.unroutable = self.count_unroutable();
    }

    fn count_unroutable(&self) -> u64 {
        let [v4, v6] = &self.routes;
        v4.as_ref().and_then(no_routes_v4).unwrap_or(0)
            + v6.as_ref().and_then(no_routes_v6).unwrap_or(0)
    }
}

/// The parts of sockstat that tell whether a socket is left in this network namespace (not the memory totals, which
/// are the machine's).
fn usage(file: &File) -> Vec<u8> {
    let mut buffer = [0u8; 1024];
    let length = file.read_at(&mut buffer, 0).unwrap_or(0);
    let mut keep = Vec::with_capacity(128);
    for line in buffer[..length].split(|&b| b == b'\n') {
        let mut words = line.split(|&b| b == b' ');
        keep.extend_from_slice(words.next().unwrap_or_default());
        while let (Some(key), Some(value)) = (words.next(), words.next()) {
            if matches!(key, b"used" | b"inuse" | b"tw") {
                keep.extend_from_slice(key);
                keep.extend_from_slice(value);
            }
        }
    }
    keep
}

/// `OutNoRoutes` of /proc/net/snmp: a line of names, then a line of values.
fn no_routes_v4(file: &File) -> Option<u64> {
    let mut buffer = [0u8; 1024];
    let length = file.read_at(&mut buffer, 0).ok()?;
    let text = std::str::from_utf8(&buffer[..length]).ok()?;
    let mut lines = text.lines();
    let place = lines.next()?.split(' ').position(|name| name == "OutNoRoutes")?;
    lines.next()?.split(' ').nth(place)?.parse().ok()
}

/// `Ip6OutNoRoutes` of /proc/net/snmp6, among the first lines.
fn no_routes_v6(file: &File) -> Option<u64> {
    let mut buffer = [0u8; 2048];
    let length = file.read_at(&mut buffer, 0).ok()?;
    let text = std::str::from_utf8(&buffer[..length]).ok()?;
    text.lines().find_map(|line| line.strip_prefix("Ip6OutNoRoutes")?.trim().parse().ok())
}
