//! Attempts to get out.

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};

use super::{fork, raw, require};

pub(crate) fn run(name: &str, argument: &str) -> bool {
    match name {
        "write-root" => {
            for p in [
                "/x",
                "/usr/x",
                "/etc/x",
                "/scratch/x",
                "/../scratch/x",
                "/proc/1/cwd/scratch/x",
                "/dev/x",
                "/var/x",
                "/run/x",
                "/home/x",
            ] {
                require(fs::write(p, "x").is_err(), p);
            }
        }
        "write-lower" => {
            for p in [
                "/cache/root0/input.txt",
                "/../cache/root0/new",
                "/proc/1/cwd/cache/new",
                "/proc/1/cwd/../cache/new",
                "/../disk/x",
            ] {
                require(fs::write(p, "x").is_err(), p);
            }
            fs::write("/job/input.txt", "changed").expect("the overlay takes writes");
            fs::rename("/job/src/a.c", "/job/b.c").expect("rename across directories");
        }
        "other-inputs" => {
            for p in
                ["/cache", "/../cache", "/proc/1/cwd", "/proc/1/root", "/proc/self/cwd/../../cache"]
            {
                require(fs::read_dir(p).is_err(), p);
            }
        }
        "write-work" => {
            fs::create_dir("/job/d").expect("mkdir");
            fs::remove_dir_all("/job/src").expect("remove an input directory");
            for p in ["/tmp/x", "/dev/shm/x", "/var/tmp/x", "/home/action/x", "/dev/null"] {
                fs::write(p, "x").expect(p);
            }
            fs::write("/job/src", "a file where a directory was").expect("replace");
        }
        "pids" => {
            let pids = fs::read_dir("/proc").expect("proc").flatten();
            let pids: Vec<u32> =
                pids.filter_map(|e| e.file_name().to_str()?.parse().ok()).collect();
            require(pids.iter().all(|&p| p <= 2), &format!("{pids:?}"));
        }
        "signal" => {
            let host: i32 = argument.parse().expect("a process id");
            // SAFETY: must fail.
            require(unsafe { libc::kill(host, libc::SIGKILL) } != 0, &format!("kill {host}"));
            // Where landlock knows nothing of signals (before Linux 6.12), an ordinary user's worker shares its user with
            // the action, and the call succeeds; but the kernel shields a namespace's first process: nothing reaches it.
            // SAFETY: a plain call.
            unsafe { libc::kill(1, libc::SIGKILL) };
            let status = fs::read_to_string("/proc/1/status").expect("its status");
            require(status.contains("ShdPnd:\t0000000000000000"), "kill 1");
        }
        "mount" => mount_calls(),
        "ioctl" => {
            // SAFETY: must fail, with a pointer to a byte.
            let typed = unsafe { libc::ioctl(0, libc::TIOCSTI, c"x".as_ptr()) };
            require(
                typed == -1 && std::io::Error::last_os_error().raw_os_error() == Some(libc::EPERM),
                "TIOCSTI",
            );
        }
        "ptrace-init" => {
            let attach = raw(libc::SYS_ptrace, libc::PTRACE_ATTACH as usize, 1, 0);
            require(attach == libc::EPERM, "attach to init");
            for f in ["mem", "syscall", "environ", "fd", "maps"].map(|f| format!("/proc/1/{f}")) {
                require(fs::read(&f).is_err() && fs::read_dir(&f).is_err(), &f);
            }
        }
        "ptrace-within" => ptrace_within(),
        "sockets" => {
            for family in [libc::AF_VSOCK, libc::AF_ALG, libc::AF_PACKET, libc::AF_BLUETOOTH] {
                let made = raw(libc::SYS_socket, family.cast_unsigned() as usize, 1, 0);
                require(made == libc::EAFNOSUPPORT, &format!("family {family}"));
            }
            require(
                raw(libc::SYS_socket, libc::AF_INET as usize, libc::SOCK_RAW as usize, 1)
                    == libc::EPERM,
                "raw",
            );
            require(TcpStream::connect("198.51.100.1:80").is_err(), "outside");
        }
        "status" => status(),
        "sysctl" => {
            for f in [
                "/proc/sys/net/ipv4/ip_forward",
                "/proc/sys/net/ipv4/tcp_max_tw_buckets",
                "/proc/sys/user/max_user_namespaces",
                "/proc/sys/kernel/core_pattern",
                "/proc/sysrq-trigger",
                "/proc/sys/kernel/msgmax",
                "/proc/1/oom_score_adj",
            ] {
                let written =
                    fs::OpenOptions::new().write(true).open(f).and_then(|mut h| h.write(b"1"));
                require(written.is_err(), f);
            }
        }
        "loopback" => require(
            TcpStream::connect(format!("127.0.0.1:{argument}")).is_err(),
            "the host's loopback",
        ),
        "abstract" => {
            let name = SocketAddr::from_abstract_name("hands-test-host").expect("a name");
            require(UnixStream::connect_addr(&name).is_err(), "the host's abstract socket");
        }
        _ => return false,
    }
    true
}

fn mount_calls() {
    let at = |s: &std::ffi::CStr| s.as_ptr() as usize;
    require(raw(libc::SYS_mount, at(c"t"), at(c"/tmp"), at(c"tmpfs")) == libc::EPERM, "mount");
    require(raw(libc::SYS_umount2, at(c"/job"), 2, 0) == libc::EPERM, "umount");
    for flag in [libc::CLONE_NEWUSER, libc::CLONE_NEWNS] {
        require(
            raw(libc::SYS_unshare, flag.cast_unsigned() as usize, 0, 0) == libc::EPERM,
            "unshare",
        );
    }
    let flags = (libc::CLONE_NEWUSER | libc::SIGCHLD) as usize;
    require(raw(libc::SYS_clone, flags, 0, 0) == libc::EPERM, "clone of a user namespace");
    require(raw(libc::SYS_clone3, 0, 88, 0) == libc::ENOSYS, "clone3");
    require(raw(libc::SYS_fsopen, at(c"tmpfs"), 0, 0) == libc::EPERM, "fsopen");
    require(raw(libc::SYS_keyctl, 0, usize::MAX - 3, 1) == libc::EPERM, "keyctl");
    require(raw(libc::SYS_bpf, 0, 0, 0) == libc::EPERM, "bpf");
    require(raw(libc::SYS_io_uring_setup, 1, 0, 0) == libc::EPERM, "io_uring");
}

fn status() {
    let s = fs::read_to_string("/proc/self/status").expect("status");
    for want in [
        "CapEff:\t0000000000000000",
        "CapPrm:\t0000000000000000",
        "CapInh:\t0000000000000000",
        "CapBnd:\t0000000000000000",
        "CapAmb:\t0000000000000000",
        "NoNewPrivs:\t1",
        "Seccomp:\t2",
        "Uid:\t1000\t1000\t1000\t1000",
    ] {
        require(s.contains(want), want);
    }
    let fds = fs::read_dir("/proc/self/fd").expect("fd").count();
    require(fds == 4, &format!("{fds} descriptors")); // three and the directory itself
    require(
        fs::read_to_string("/proc/net/dev").expect("dev").lines().count() == 3,
        "interfaces beside lo",
    );
}

/// A debugger attaches to a process of its own action.
fn ptrace_within() {
    let child = fork();
    if child == 0 {
        loop {
            // SAFETY: waits for a signal.
            unsafe { libc::pause() };
        }
    }
    // SAFETY: traces our own child; pointers are null or locals.
    unsafe {
        let none = std::ptr::null_mut::<libc::c_void>();
        require(libc::ptrace(libc::PTRACE_ATTACH, child, none, none) == 0, "attach to a child");
        let mut status = 0;
        require(
            libc::waitpid(child, &raw mut status, 0) == child && libc::WIFSTOPPED(status),
            "stopped",
        );
        let maps = fs::read_to_string(format!("/proc/{child}/maps")).unwrap_or_default();
        require(!maps.is_empty(), "its maps");
        let memory =
            fs::OpenOptions::new().read(true).write(true).open(format!("/proc/{child}/mem"));
        require(memory.is_ok(), "its memory, for writing");
        libc::ptrace(libc::PTRACE_DETACH, child, none, none);
        libc::kill(child, libc::SIGKILL);
        require(libc::waitpid(child, &raw mut status, 0) == child, "its end");
    }
}
