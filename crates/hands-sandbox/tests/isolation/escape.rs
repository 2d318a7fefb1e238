//! Attempts to get out, and to leave something for the next action.

use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};

use hands_sandbox::{Network, Privilege, SlotConfig};

use crate::harness::{Bench, SLOT, run_on};

/// What an action may try to leave for the next one in what both use.
const LEFT: [&str; 10] =
    ["files", "ipc", "port", "abstract", "keyring", "memfd", "inflight", "orphan", "unsent", "pty"];

pub(crate) fn run(b: &mut Bench<'_>) {
    let tcp = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let port = tcp.local_addr().expect("its address").port().to_string();
    let name = SocketAddr::from_abstract_name("hands-test-host").expect("a name");
    let _abstract_socket = UnixListener::bind_addr(&name).expect("an abstract socket");
    let host_pid = std::process::id().to_string();
    for attempt in [
        "write-root",
        "write-lower",
        "pids",
        "mount",
        "ptrace-init",
        "sockets",
        "status",
        "sysctl",
        "other-inputs",
        "ioctl",
    ] {
        b.passes(attempt, &[attempt]);
    }
    b.passes("signal", &["signal", &host_pid]);
    b.passes("the host's loopback", &["loopback", &port]);
    b.passes("the host's abstract socket", &["abstract"]);
    b.passes("ptrace within the action", &["ptrace-within"]);
    b.passes("files can be written where they should", &["write-work"]);
    for kind in LEFT {
        let left = b.inside(&[&format!("leave-{kind}")]);
        // Only what lives until the kernel's next garbage collection may make a slot unfit, and it must be noticed.
        let fit = !left.outcome.dirty || ["inflight", "orphan"].contains(&kind);
        if left.outcome.dirty {
            b.slot = b.launcher.slot(SLOT).expect("a slot in the place of a dirty one");
        }
        let found = b.inside(&[&format!("find-{kind}")]);
        let good = left.exited(0) && found.exited(0) && fit && !found.outcome.dirty;
        b.check(
            &format!("{kind} left behind"),
            good,
            format!("{} / {}", left.note(), found.note()),
        );
    }
    let ran = b.run(&["grep", "-c", "hands-", "/proc/self/cgroup"]);
    b.check("cgroup names are hidden", ran.out == "0\n", ran.note());
    network(b);
    debuggers(b);
    namespaces(b);
}

fn network(b: &mut Bench<'_>) {
    let quiet = b.run(&["true"]);
    let tried = b.run(&[
        "python3",
        "-c",
        "import socket; socket.create_connection(('198.51.100.1', 80), 1)",
    ]);
    let looked_up = b.run(&["getent", "hosts", "example.org"]);
    let again = b.run(&["getent", "hosts", "localhost"]);
    let seen = [&quiet, &tried, &looked_up, &again].map(|r| r.outcome.network_attempted);
    b.check(
        "attempts to leave are noticed",
        seen == [false, true, true, false],
        format!("{seen:?} {}", tried.note()),
    );
    let config = SlotConfig { index: 1, network: Network::Host, privilege: Privilege::None };
    let mut host = b.launcher.slot(config).expect("a slot with the host's network");
    let tcp = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let port = tcp.local_addr().expect("its address").port();
    let connect = format!("import socket; socket.create_connection(('127.0.0.1', {port}), 1)");
    let ran = run_on(&mut host, &["python3", "-c", &connect], |_| {});
    b.check("the host's network where it is asked for", ran.exited(0), ran.note());
    drop(host);
    let config = SlotConfig { index: 1, network: Network::None, privilege: Privilege::None };
    let mut none = b.launcher.slot(config).expect("a slot without a network");
    let bind = "import socket; s = socket.create_server(('127.0.0.1', 0)); socket.create_connection(s.getsockname(), 1)";
    let ran = run_on(&mut none, &["python3", "-c", bind], |_| {});
    b.check("no loopback where none is asked for", !ran.exited(0), ran.note());
    let ran = b.run(&["python3", "-c", bind]);
    b.check("a loopback of its own", ran.exited(0), ran.note());
}

fn debuggers(b: &mut Bench<'_>) {
    let source =
        "#include <stdlib.h>\nint main(void){ void *volatile p = malloc(7); p = 0; return 0; }";
    let build = format!(
        "cd /tmp && echo '{source}' > l.c && gcc -g -fsanitize=address,leak l.c -o l && ./l"
    );
    let ran = b.run_with(&["sh", "-c", &build], |r| r.cwd = "/tmp".into());
    if ran.err.contains("gcc: not found") || ran.err.contains("cannot find -lasan") {
        eprintln!("SKIPPED LeakSanitizer: no gcc with sanitizers");
    } else {
        b.check(
            "LeakSanitizer",
            ran.exited(23) || ran.err.contains("7 byte(s) leaked"),
            ran.note(),
        );
    }
    let script =
        ["gdb", "-batch", "-ex", "break exit", "-ex", "run", "-ex", "backtrace", "/bin/true"];
    let ran = b.run_with(&script, |r| r.set_home = true);
    if ran.outcome.start_error.is_some() {
        eprintln!("SKIPPED gdb: not installed");
    } else {
        b.check("gdb", ran.exited(0) && ran.out.contains("#0 "), ran.note());
    }
    let ran = b.run(&["strace", "-f", "-o", "/tmp/trace", "sh", "-c", "true; true"]);
    if ran.outcome.start_error.is_none() {
        b.check("strace", ran.exited(0), ran.note());
    }
}

fn namespaces(b: &mut Bench<'_>) {
    let nested =
        ["unshare", "--user", "--map-root-user", "--mount", "--net", "--pid", "--fork", "sh", "-c"];
    let mut argv: Vec<&str> = nested.to_vec();
    argv.push("mount -t tmpfs none /tmp && touch /tmp/x && mount -t proc proc /proc && ip link set lo up 2> /dev/null; id -u");
    let ran = b.run(&argv);
    b.check("no nested user namespace", !ran.exited(0), ran.note());
    let config = SlotConfig { index: 1, privilege: Privilege::Userns, ..SLOT };
    let mut slot = b.launcher.slot(config).expect("a slot with nested namespaces");
    let ran = run_on(&mut slot, &argv, |_| {});
    b.check(
        "nested namespaces where they are asked for",
        ran.exited(0) && ran.out == "0\n",
        ran.note(),
    );
    let ran = run_on(&mut slot, &["sh", "-c", "! touch /usr/x /etc/x && ! ls /cache"], |_| {});
    b.check("which see no more of the host", ran.exited(0), ran.note());
    // What lies beneath the root stays there, for a chroot's oldest way out and for one who takes the root away.
    for out in [
        "import os; d = os.open('/', 0); os.chroot('/tmp'); os.fchdir(d); [os.chdir('..') for _ in range(9)]; \
         os.chroot('.'); print(sorted(os.listdir('.')), sorted(os.listdir('/')))",
        "import os, subprocess; subprocess.run(['umount', '-l', '/']); print(os.listdir('/'), os.listdir('/..'))",
        "import os, ctypes; c = ctypes.CDLL(None); os.chdir('/tmp'); c.mount(b'/tmp', b'/tmp', None, 4096, None); \
         os.chdir('/tmp'); print(c.syscall(155, b'.', b'.')); c.umount2(b'.', 2); os.chdir('/'); \
         c.umount2(b'/', 2); print(os.listdir('..'), os.listdir('/'))",
    ] {
        let mut argv = nested.to_vec();
        argv.truncate(argv.len() - 2);
        argv.extend(["python3", "-c", out]);
        let ran = run_on(&mut slot, &argv, |_| {});
        let beneath = ["'cache'", "'disk'", "'scratch'"].iter().any(|name| ran.out.contains(name));
        b.check("nor what lies beneath the root", ran.exited(0) && !beneath, ran.note());
    }
}
