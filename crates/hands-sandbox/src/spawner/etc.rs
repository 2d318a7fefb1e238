//! `/etc` as actions see it: our own files for names and users, copies of what programs need, and nothing else.

use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::Mode;

use super::root::{has_names, make_file};
use crate::config::Network;
use crate::{HOME_INSIDE, UID_INSIDE};

/// What an honest program needs. Never accounts, keys or anything that only root may read.
const COPIED: &[&str] = &[
    "alternatives",
    "bash.bashrc",
    "ca-certificates",
    "crypto-policies",
    "debian_version",
    "fonts",
    "gai.conf",
    "host.conf",
    "inputrc",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "localtime",
    "locale.alias",
    "locale.conf",
    "lsb-release",
    "magic",
    "mailcap",
    "mime.types",
    "mke2fs.conf",
    "os-release",
    "perl",
    "pki/ca-trust",
    "pki/java",
    "pki/tls/cert.pem",
    "pki/tls/certs",
    "pki/tls/openssl.cnf",
    "profile",
    "profile.d",
    "protocols",
    "python",
    "python2.7",
    "python3",
    "rpc",
    "services",
    "ssl/cert.pem",
    "ssl/certs",
    "ssl/openssl.cnf",
    "terminfo",
    "timezone",
    "xdg",
];
/// Copied whatever follows.
const PREFIXES: &[&str] = &["java", "python3.", "gcc", "clang", "maven", "gradle", "go"];
const LARGEST_FILE: u64 = 4 << 20;
const LARGEST_TOTAL: u64 = 32 << 20;
const DEEPEST: usize = 6;

/// Fills `etc` beneath a root.
pub(crate) fn fill(root: BorrowedFd<'_>, network: Network) -> io::Result<()> {
    let mut left = LARGEST_TOTAL;
    for name in names() {
        let mut inside = PathBuf::from("etc");
        for parent in name.parent().into_iter().flat_map(Path::iter) {
            inside.push(parent);
            make(root, &inside)?;
        }
        copy(root, &Path::new("/etc").join(&name), &Path::new("etc").join(&name), 0, &mut left)?;
    }
    own_files(root, network)
}

/// What is copied, relative to `/etc`.
fn names() -> Vec<PathBuf> {
    let mut names: Vec<PathBuf> = COPIED.iter().map(PathBuf::from).collect();
    for entry in fs::read_dir("/etc").into_iter().flatten().flatten() {
        let name = entry.file_name();
        if name.to_str().is_some_and(|n| PREFIXES.iter().any(|p| n.starts_with(p))) {
            names.push(PathBuf::from(name));
        }
    }
    names
}

/// What of the host's own `/etc` is visible where nothing can be mounted.
pub(crate) fn visible() -> Vec<PathBuf> {
    let own = ["passwd", "group", "nsswitch.conf", "hosts", "resolv.conf", "hostname", "mtab"]
        .map(PathBuf::from);
    names().into_iter().chain(own).map(|name| Path::new("/etc").join(name)).collect()
}

fn own_files(root: BorrowedFd<'_>, network: Network) -> io::Result<()> {
    let write =
        |name: &str, text: &str| make_file(root, Path::new("etc").join(name), text.as_bytes());
    let user = UID_INSIDE;
    let home = HOME_INSIDE;
    write(
        "passwd",
        &format!(
            "root:x:0:0:root:/root:/bin/sh\nuser:x:{user}:{user}:user:{home}:/bin/sh\n\
             nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
        ),
    )?;
    write("group", &format!("root:x:0:\ntty:x:5:\nuser:x:{user}:\nnogroup:x:65534:\n"))?;
    write(
        "nsswitch.conf",
        "passwd: files\ngroup: files\nhosts: files dns\nnetworks: files\nservices: files\nprotocols: files\n",
    )?;
    write("hostname", "hands\n")?;
    write("mtab", "")?;
    if has_names(network) {
        let hosts = fs::read("/etc/hosts").unwrap_or_default();
        make_file(root, "etc/hosts", &hosts)?;
        let servers = fs::read("/etc/resolv.conf").unwrap_or_default();
        return make_file(root, "etc/resolv.conf", &servers);
    }
    write("hosts", "127.0.0.1 localhost hands\n::1 localhost ip6-localhost ip6-loopback\n")?;
    // An address to which there is no route (RFC 5737): a look-up fails at once instead of asking the loopback, and the
    // kernel counts the attempt, which is how the user gets the hint about `--network host`.
    write("resolv.conf", "nameserver 192.0.2.1\noptions attempts:1 timeout:1\n")
}

/// Copies a file, a link or a directory. What can't be read by everybody is left out; so is what is too large.
fn copy(
    root: BorrowedFd<'_>,
    host: &Path,
    inside: &Path,
    depth: usize,
    left: &mut u64,
) -> io::Result<()> {
    let Ok(metadata) = fs::symlink_metadata(host) else { return Ok(()) };
    if metadata.is_symlink() {
        return copy_link(root, host, inside, left);
    }
    if metadata.mode() & 0o004 == 0 {
        return Ok(());
    }
    if metadata.is_dir() && depth < DEEPEST && metadata.mode() & 0o001 != 0 {
        make(root, inside)?;
        for entry in fs::read_dir(host).into_iter().flatten().flatten() {
            if entry.file_name() != OsStr::new("private") {
                copy(root, &entry.path(), &inside.join(entry.file_name()), depth + 1, left)?;
            }
        }
    } else if metadata.is_file() {
        copy_file(root, host, inside, &metadata, left)?;
    }
    Ok(())
}

fn copy_file(
    root: impl AsFd,
    host: &Path,
    inside: &Path,
    metadata: &Metadata,
    left: &mut u64,
) -> io::Result<()> {
    if metadata.len() > LARGEST_FILE || metadata.len() > *left {
        return Ok(());
    }
    *left -= metadata.len();
    // A file that goes away meanwhile is one that is not there.
    let Ok(content) = fs::read(host) else { return Ok(()) };
    make_file(root.as_fd(), inside, &content)?;
    if metadata.mode() & 0o111 != 0 {
        rustix::fs::chmodat(
            root,
            inside,
            Mode::from_raw_mode(0o755),
            rustix::fs::AtFlags::empty(),
        )?;
    }
    Ok(())
}

/// A link to what actions see stays a link; one to elsewhere (`localtime` in `/var`) becomes what it points to.
fn copy_link(root: BorrowedFd<'_>, host: &Path, inside: &Path, left: &mut u64) -> io::Result<()> {
    let Ok(target) = fs::read_link(host) else { return Ok(()) };
    let resolved = host.parent().unwrap_or(host).join(&target);
    let visible =
        ["/usr", "/opt", "/nix", "/etc", "/bin", "/lib"].iter().any(|p| resolved.starts_with(p));
    if visible {
        return match rustix::fs::symlinkat(&target, root, inside) {
            Err(rustix::io::Errno::EXIST) => Ok(()),
            done => Ok(done?),
        };
    }
    match fs::metadata(host) {
        Ok(m) if m.is_file() && m.mode() & 0o004 != 0 => copy_file(root, host, inside, &m, left),
        _ => Ok(()),
    }
}

fn make(root: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    match rustix::fs::mkdirat(root, path, Mode::from_raw_mode(0o755)) {
        Err(rustix::io::Errno::EXIST) => Ok(()),
        done => Ok(done?),
    }
}
